"""The scikit-learn faces: conformance, kernels of every kind, what is chosen, what is refused."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits
from sklearn.ensemble import RandomForestRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GridSearchCV, KFold, ShuffleSplit, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from harmonia.core.errors import InputError
from harmonia.kernels.self_distillation import (
    SelfDistilledEstimator,
    SelfDistilledKernelClassifier,
    SelfDistilledKernelRidge,
)
from harmonia.parts import infwidth


@parametrize_with_checks(
    [
        SelfDistilledKernelRidge(),
        SelfDistilledKernelRidge("linear", lam="opt", steps=3, tune="gcv"),
        SelfDistilledKernelRidge("linear", lam=0.1, steps=math.inf, tune="loo"),
        SelfDistilledKernelRidge(alpha=0.3, steps=4, landmarks=100),
        SelfDistilledKernelClassifier(tune="val"),
        SelfDistilledEstimator(Ridge()),
        SelfDistilledEstimator(LogisticRegression()),
        SelfDistilledEstimator(DecisionTreeClassifier(random_state=0), alpha=0.5, steps=3),
    ]
)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return (X - X.mean(0)) / X.std(0), y


def test_first_step_is_scikit_learns_kernel_ridge(diabetes):
    X, y = diabetes
    ours = SelfDistilledKernelRidge(gamma=0.05, lam=0.7, alpha=0.3, fit_intercept=False).fit(X[:200], y[:200])
    theirs = KernelRidge(kernel="rbf", gamma=0.05, alpha=0.7).fit(X[:200], y[:200])
    np.testing.assert_allclose(ours.predict(X[200:], step=1), theirs.predict(X[200:]), rtol=1e-8)
    limit = KernelRidge(kernel="rbf", gamma=0.05, alpha=0.7 / 0.3).fit(X[:200], y[:200])
    np.testing.assert_allclose(ours.predict(X[200:], step=math.inf), limit.predict(X[200:]), rtol=1e-8)


def test_linear_kernel_is_ridge_with_an_intercept(diabetes):
    X, y = diabetes
    ours = SelfDistilledKernelRidge("linear", lam=3.0, steps=1).fit(X, y)
    theirs = Ridge(alpha=3.0).fit(X, y)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-9)
    assert len(ours.spectrum_.eigenvalues) == 10  # by features, not by the matrix
    left_out = SelfDistilledKernelRidge("linear", lam=3.0, steps=1, alpha="opt", tune="loo").fit(X, y)
    judged = RidgeCV(alphas=[3.0], store_cv_results=True).fit(X, y)
    assert left_out.scores_[0] == pytest.approx(judged.cv_results_.mean())


def test_kernels_of_every_kind_agree(diabetes):
    X, y = diabetes
    X, y, new = X[:120], y[:120], X[120:150]
    options = {"lam": 0.5, "alpha": [0.2, 1.4], "steps": 3}
    expected = SelfDistilledKernelRidge(gamma=0.05, **options).fit(X, y).predict(new)
    for kernel in (lambda a, b: rbf_kernel(a, b, gamma=0.05), RBF(math.sqrt(10))):
        np.testing.assert_allclose(SelfDistilledKernelRidge(kernel, **options).fit(X, y).predict(new), expected)
    given = SelfDistilledKernelRidge("precomputed", **options).fit(rbf_kernel(X, gamma=0.05), y)
    np.testing.assert_allclose(given.predict(rbf_kernel(new, X, gamma=0.05)), expected)
    near = SelfDistilledKernelRidge(gamma=0.05, landmarks=119, **options).fit(X, y)
    np.testing.assert_allclose(near.predict(new), expected, rtol=1e-2)
    # Three outputs at once are three regressions.
    many = SelfDistilledKernelRidge(gamma=0.05, **options).fit(X, np.stack([y, -y, y**2], 1))
    np.testing.assert_allclose(many.predict(new)[:, 1], -expected)


def test_infinitely_wide_networks_are_kernels(diabetes):
    X, y = diabetes
    net = infwidth.Sequential(infwidth.Dense(1.4, 0.1), infwidth.ReLU(), infwidth.Dense(1.4, 0.1))
    options = {"lam": 5.0, "alpha": 0.5, "steps": 4, "time": 1e4}
    model = SelfDistilledKernelRidge(net, **options).fit(X[:100], y[:100])

    def tangent(a, b):
        import torch

        return net.kernel(torch.from_numpy(a), torch.from_numpy(b), get="ntk").numpy()

    same = SelfDistilledKernelRidge(tangent, **options).fit(X[:100], y[:100])
    np.testing.assert_allclose(model.predict(X[100:120]), same.predict(X[100:120]))
    bayesian = SelfDistilledKernelRidge(infwidth.NetworkKernel(net, "nngp"), lam=5.0).fit(X[:100], y[:100])
    assert bayesian.score(X[100:], y[100:]) > 0.3


@pytest.mark.parametrize("tune", ["val", "cv", "gcv", "loo"])
def test_sign_of_the_best_weight(diabetes, tune):
    X, y = diabetes
    readings = [
        SelfDistilledKernelRidge(gamma=0.05, lam=lam, tune=tune).fit(X, y).best_weight_.value for lam in (0.02, 60.0)
    ]
    assert readings[0] < 0.5
    assert readings[1] > 1.5


@pytest.mark.parametrize("tune", ["cv", "gcv", "loo"])
def test_joint_choice_is_no_worse_than_ridge_alone(diabetes, tune):
    X, y = diabetes
    X, y = X[:120], y[:120]
    ridge, joint = (SelfDistilledKernelRidge(lam="opt", steps=s, tune=tune).fit(X, y) for s in (1, 3))
    assert joint.scores_.min() <= ridge.scores_[0] + 1e-9
    assert joint.score(X, y) > 0
    forever = SelfDistilledKernelRidge(lam="opt", alpha=0.5, steps=math.inf, tune=tune).fit(X, y)
    assert forever.scores_[0] == pytest.approx(ridge.scores_[0], rel=0.01)


def test_distilling_repairs_a_wrong_penalty(diabetes):
    X, y = diabetes
    scores = {
        steps: cross_val_score(SelfDistilledKernelRidge(gamma=0.05, lam=100.0, steps=steps), X, y).mean()
        for steps in (1, 2, 3)
    }
    assert scores[2] > scores[1] + 0.1
    assert scores[3] > scores[1] + 0.1


def test_steps_and_diagnostics(diabetes):
    X, y = diabetes
    model = SelfDistilledKernelRidge(lam=0.5, alpha=0.3, steps=5).fit(X[:100], y[:100])
    path = model.path(X[100:110])
    assert path.shape == (5, 10)
    for step in range(1, 6):
        np.testing.assert_allclose(model.predict(X[100:110], step=step), path[step - 1])
    np.testing.assert_allclose(model.predict(X[100:110]), path[-1])
    assert (np.diff(model.effective_dof_) < 0).all()
    assert model.spectrum_.gains.shape == (5, 100)
    np.testing.assert_allclose(model.spectrum_.gains.sum(1) + 1, model.effective_dof_)
    assert model.spectrum_.power.sum() == pytest.approx(1)
    forever = SelfDistilledKernelRidge(lam=0.5, alpha=0.3, steps=math.inf).fit(X[:100], y[:100])
    np.testing.assert_allclose(forever.predict(X[100:110]), model.predict(X[100:110], step=math.inf))
    np.testing.assert_allclose(forever.predict(X[100:110], step=2), path[1])
    assert forever.path(X[:3]).shape == (1, 3)
    other = SelfDistilledKernelRidge(lam=0.5, alpha=0.8, steps=5).fit(X[:100], y[:100])
    np.testing.assert_allclose(model.path(X[:5], alpha=0.8), other.path(X[:5]))
    np.testing.assert_allclose(model.predict(X[:5], step=math.inf, alpha=0.8), other.predict(X[:5], step=math.inf))
    np.testing.assert_allclose(forever.path(X[:5], alpha=0.8)[0], other.predict(X[:5], step=math.inf))
    np.testing.assert_allclose(model.path(X[:50], alpha=[0.3, 0.8])[:, :, :5], [model.path(X[:5]), other.path(X[:5])])
    np.testing.assert_allclose(model.path(X[:3], alpha=[0.3, 0.8])[1], other.path(X[:3]))
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X[:5]), model.predict(X[:5]))


def test_splitters_and_grid_search(diabetes):
    X, y = diabetes
    X, y = X[:100], y[:100]
    first = SelfDistilledKernelRidge(cv=ShuffleSplit(1, random_state=0)).fit(X, y)
    second = SelfDistilledKernelRidge(cv=KFold(4)).fit(X, y)
    assert first.alphas_ != second.alphas_
    search = GridSearchCV(SelfDistilledKernelRidge(tune="gcv"), {"gamma": [0.01, 0.1], "lam": [0.1, 1.0]}, cv=3)
    assert search.fit(X, y).best_score_ > 0.2
    kernel = GridSearchCV(SelfDistilledKernelRidge("precomputed"), {"lam": [0.1, 1.0]}, cv=3)
    kernel.fit(rbf_kernel(X), y)


def test_classes():
    X, y = load_digits(return_X_y=True)
    X, names = X / 16, np.array([f"digit {label}" for label in y])
    model = SelfDistilledKernelClassifier(gamma=0.25, lam=0.1, steps=3).fit(X[:300], names[:300])
    assert model.score(X[300:700], names[300:700]) > 0.85
    assert model.path(X[:4]).shape == (3, 4, 10)
    np.testing.assert_allclose(model.path(X[:4]).sum(2), 1)
    two = SelfDistilledKernelClassifier(gamma=0.1).fit(X[:300], y[:300] > 4)
    assert two.decision_function(X[:4]).shape == (4,)
    assert two.score(X[300:700], y[300:700] > 4) > 0.85


BAD = [
    ({"kernel": "rbff"}, "no such kernel"),
    ({"kernel": 3}, "no such kernel"),
    ({"kernel": lambda a, b: np.ones(3)}, "wrong shape"),
    ({"kernel": lambda a, b: np.full((len(a), len(b)), np.nan)}, "not finite"),
    ({"lam": -1.0}, "'lam'"),
    ({"lam": math.nan}, "'lam'"),
    ({"lam": "best"}, "'lam'"),
    ({"alpha": "best"}, "'alpha'"),
    ({"alpha": math.nan}, "finite"),
    ({"alpha": 1.5, "clip": True}, "between 0 and 1"),
    ({"alpha": [0.5, 0.5], "steps": 2}, "one fewer"),
    ({"alpha": 0.0, "steps": math.inf}, "zero function"),
    ({"alpha": 0.0, "steps": math.inf, "lam": "opt", "tune": "loo"}, "zero function"),
    ({"alpha": -1.0, "steps": math.inf, "lam": 1e-3}, "diverges"),
    ({"steps": 0}, "'steps'"),
    ({"steps": 2.5}, "'steps'"),
    ({"tune": "aic"}, "tune"),
    ({"time": -1.0}, "time"),
    ({"time": 5.0, "tune": "loo"}, "ridge"),
    ({"lam": 0.0, "tune": "loo"}, "ridge"),
    ({"landmarks": 3, "tune": "loo"}, "landmarks"),
    ({"kernel": "precomputed"}, "square"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_parameters(arguments, message, diabetes):
    X, y = diabetes
    with pytest.raises(InputError, match=message):
        SelfDistilledKernelRidge(**arguments).fit(X[:20], y[:20])


def test_bad_data_and_steps(diabetes, monkeypatch):
    X, y = diabetes
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"NaN|infinity"):
            SelfDistilledKernelRidge().fit(np.array([[0.0], [bad]]), np.zeros(2))
    with pytest.raises(ValueError):
        SelfDistilledKernelRidge().fit(np.array([["a"], ["b"]]), np.zeros(2))
    with pytest.raises(ValueError):
        SelfDistilledKernelRidge().fit(np.zeros((0, 2)), np.zeros(0))
    model = SelfDistilledKernelRidge(lam=0.1, steps=3).fit(X[:50], y[:50])
    for step in (0, 4, 1.5, math.inf):
        with pytest.raises(InputError, match="step"):
            model.predict(X, step=step)
    with pytest.warns(UserWarning, match="negative eigenvalue"):
        SelfDistilledKernelRidge("sigmoid", gamma=1.0, alpha=0.5).fit(X[:50], y[:50])
    monkeypatch.setattr("harmonia.kernels.self_distillation.rows.free_memory", lambda: 1000.0)
    with pytest.raises(InputError, match="landmarks=1000"):
        SelfDistilledKernelRidge().fit(X, y)
    monkeypatch.setattr("harmonia.kernels.self_distillation.rows.free_memory", lambda: 1201.0)
    with pytest.raises(InputError, match="each of 5 rows"):
        SelfDistilledKernelRidge(tune="loo").fit(X[:5], np.stack([y[:5]] * 9, 1))
    monkeypatch.undo()
    assert SelfDistilledKernelRidge(landmarks=40).fit(X, y).score(X, y) > 0.3


def test_without_a_penalty_there_is_nothing_to_distil():
    X = np.random.default_rng(0).standard_normal((20, 3))
    y = X[:, 0]
    model = SelfDistilledKernelRidge(lam=0.0, gamma=1.0, alpha=0.2, steps=4).fit(X, y)
    np.testing.assert_allclose(model.path(X), np.tile(y, (4, 1)), atol=1e-8)


def test_any_regressor(diabetes):
    X, y = diabetes
    exact = SelfDistilledEstimator(Ridge(alpha=400.0), alpha=0.3, steps=3).fit(X, y)
    kernel = SelfDistilledKernelRidge("linear", lam=400.0, alpha=0.3, steps=3).fit(X, y)
    for step in (1, 2, 3):
        np.testing.assert_allclose(exact.predict(X, step=step), kernel.predict(X, step=step))
    tuned = SelfDistilledEstimator(Ridge(alpha=400.0), steps=3, cv=4).fit(X, y)
    same = SelfDistilledKernelRidge("linear", lam=400.0, steps=3, cv=4, clip=True).fit(X, y)
    np.testing.assert_allclose(tuned.scores_, same.scores_)
    np.testing.assert_allclose(tuned.alphas_, same.alphas_)
    assert tuned.best_weight_.value == pytest.approx(same.best_weight_.value)
    assert tuned.best_weight_.reading == "over-regularised"
    forest = SelfDistilledEstimator(RandomForestRegressor(10, max_depth=5, random_state=0), cv=2).fit(X[:150], y[:150])
    assert forest.score(X[150:], y[150:]) > 0.25


def test_classifier_targets_are_mixed_losses(diabetes):
    X, y = diabetes
    y = (y > np.median(y)).astype(int)
    base = LogisticRegression(C=0.05)
    model = SelfDistilledEstimator(base, alpha=0.4).fit(X, y)
    soft = clone(base).fit(X, y).predict_proba(X)[:, 1]
    target = 0.4 * y + 0.6 * soft

    def loss(weights):  # cross entropy with soft targets and the penalty of scikit-learn
        score = X @ weights[1:] + weights[0]
        entropy = np.logaddexp(0, score) - target * score
        return entropy.sum() + weights[1:] @ weights[1:] / (2 * 0.05)

    from scipy.optimize import minimize

    best = minimize(loss, np.zeros(X.shape[1] + 1), method="L-BFGS-B", options={"ftol": 1e-14, "gtol": 1e-9}).x
    fitted = model.estimators_[1]
    np.testing.assert_allclose(np.append(fitted.intercept_, fitted.coef_), best, atol=2e-3)


def test_any_classifier():
    X, y = load_digits(return_X_y=True)
    wrong = np.random.default_rng(0).random(400) < 0.3
    noisy = np.where(wrong, (y[:400] + 3) % 10, y[:400])
    model = SelfDistilledEstimator(LogisticRegression(C=1.0, max_iter=300), cv=3)
    pipeline = make_pipeline(StandardScaler(), model).fit(X[:400], noisy)
    shares = pipeline.predict_proba(X[400:500])
    np.testing.assert_allclose(shares.sum(1), 1)
    plain = pipeline[-1].predict(pipeline[:-1].transform(X[400:900]), step=1)
    assert pipeline.score(X[400:900], y[400:900]) >= (plain == y[400:900]).mean()
    assert 0 <= pipeline[-1].alphas_[0] < 0.5  # overfitted to wrong labels: lean on the model
    with pytest.raises(AttributeError):
        SelfDistilledEstimator(Ridge()).predict_proba(X)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (SelfDistilledEstimator(KNeighborsClassifier()), "sample_weight"),
        (SelfDistilledEstimator(LogisticRegression(), alpha=1.5), "between 0 and 1"),
        (SelfDistilledEstimator(LogisticRegression(), alpha=[0.5, 0.5]), "Give 1"),
        (SelfDistilledEstimator(LogisticRegression(), alpha="best"), "'opt'"),
        (SelfDistilledEstimator(LogisticRegression(), steps=0), "'steps'"),
        (SelfDistilledEstimator(LogisticRegression()), "two rows of every class"),
    ],
)
def test_what_the_wrapper_refuses(model, message):
    X = np.arange(6.0)[:, None]
    with pytest.raises(InputError, match=message):
        model.fit(X, [0, 0, 0, 0, 0, 1])
