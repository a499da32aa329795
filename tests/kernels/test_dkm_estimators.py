"""The scikit-learn faces: conformance, what they promise of predictions, and other people's kernels machines."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pandas
import pytest
import torch
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from harmonia.core.errors import InputError
from harmonia.kernels import DeepKernelMachineClassifier, DeepKernelMachineRegressor
from harmonia.kernels.dkm import DeepKernelMachine, fitting
from harmonia.parts.gram import as_gpytorch

SMALL = {"n_inducing": 12, "max_iter": 15, "random_state": 0}


@parametrize_with_checks(
    [
        DeepKernelMachineRegressor(n_layers=1, n_inducing=8, max_iter=5, random_state=0),
        DeepKernelMachineClassifier(n_layers=1, n_inducing=8, max_iter=25, random_state=0),
    ]
)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return X * 100 + 3, y


@pytest.fixture(scope="module")
def fitted(diabetes):
    X, y = diabetes
    return DeepKernelMachineRegressor(**SMALL).fit(X[:200], y[:200])


def test_predictions_do_not_depend_on_their_batch_mates(fitted, diabetes):
    rows = diabetes[0][200:260]
    mean, std = fitted.predict(rows, return_std=True)
    alone = [fitted.predict(row[None], return_std=True) for row in rows]
    np.testing.assert_allclose(mean, np.concatenate([m for m, _ in alone]), rtol=1e-10)
    np.testing.assert_allclose(std, np.concatenate([s for _, s in alone]), rtol=1e-10)
    classes = DeepKernelMachineClassifier(**SMALL).fit(*load_iris(return_X_y=True))
    X = load_iris().data
    np.testing.assert_allclose(classes.predict_proba(X)[[3]], classes.predict_proba(X[[3]]), rtol=1e-10)


def test_predictions_follow_the_units(fitted, diabetes):
    X, y = diabetes
    moved = DeepKernelMachineRegressor(**SMALL).fit(7 - 3 * X[:200], 5 - 2 * y[:200])
    mean, std = fitted.predict(X[200:220], return_std=True)
    other, other_std = moved.predict(7 - 3 * X[200:220], return_std=True)
    np.testing.assert_allclose(other, 5 - 2 * mean, rtol=1e-4)
    np.testing.assert_allclose(other_std, 2 * std, rtol=1e-4)
    assert moved.elbo_ == pytest.approx(fitted.elbo_ - math.log(2), abs=1e-5)
    assert moved.noise_ == pytest.approx(4 * fitted.noise_, rel=1e-3)


def test_what_is_learned(fitted, diabetes):
    X, y = diabetes
    assert fitted.score(X[200:], y[200:]) > 0.4
    assert len(fitted.gram_matrices_) == len(fitted.replaced_kernels_) == 2
    for gram, kernel, price in zip(fitted.gram_matrices_, fitted.replaced_kernels_, fitted.layer_divergences_):
        relative = np.linalg.solve(kernel, gram)
        expected = (np.trace(relative) - np.linalg.slogdet(relative)[1] - len(gram)) / 2
        assert price == pytest.approx(expected, rel=1e-5)
    assert fitted.inducing_points_.shape == (12, 10)
    assert fitted.elbo_path_[-1] >= fitted.elbo_path_[0]
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(X[:5]), fitted.predict(X[:5]))
    np.testing.assert_array_equal(
        DeepKernelMachineRegressor(**SMALL).fit(X[:200], y[:200]).predict(X[:5]), fitted.predict(X[:5])
    )


def test_the_bound_is_a_gaussian_process_where_every_row_is_an_inducing_point():
    """dof = inf, fixed places: exact inference with the NNGP kernel, prediction and evidence."""
    generator = np.random.default_rng(0)
    X, y = generator.standard_normal((25, 3)), generator.standard_normal(25)
    model = DeepKernelMachineRegressor(
        n_inducing=25, dof=np.inf, learn_inducing=False, noise=0.3, max_iter=1, norm="none", random_state=0
    ).fit(X, y)
    kernel = model.deep_kernel_

    scaled = (y - y.mean()) / y.std()
    at = generator.standard_normal((4, 3))
    expected = kernel(at, X) @ np.linalg.solve(kernel(X) + 0.3 * np.eye(25), scaled)
    np.testing.assert_allclose((model.predict(at) - y.mean()) / y.std(), expected, rtol=1e-4, atol=1e-5)
    evidence = -0.5 * (
        scaled @ np.linalg.solve(kernel(X) + 0.3 * np.eye(25), scaled)
        + np.linalg.slogdet(2 * np.pi * (kernel(X) + 0.3 * np.eye(25)))[1]
    )
    assert model.elbo_ == pytest.approx(evidence / 25 - math.log(y.std()), abs=1e-3)


def test_many_rows_are_read_in_portions(diabetes, monkeypatch):
    X, y = diabetes
    options = {"n_inducing": 10, "max_iter": 4, "random_state": 0}
    whole = DeepKernelMachineRegressor(**options).fit(X[:120], y[:120])
    classes = (y[:120] > 140).astype(int)
    labels = DeepKernelMachineClassifier(**options).fit(X[:120], classes)
    monkeypatch.setattr(fitting, "PORTION", 37)
    parts = DeepKernelMachineRegressor(**options).fit(X[:120], y[:120])
    np.testing.assert_allclose(parts.predict(X[:9]), whole.predict(X[:9]), rtol=1e-6)
    other = DeepKernelMachineClassifier(**options).fit(X[:120], classes)
    np.testing.assert_allclose(other.predict_proba(X[:9]), labels.predict_proba(X[:9]), rtol=1e-6)


def test_minibatches(diabetes):
    X, y = diabetes
    model = DeepKernelMachineRegressor(n_inducing=20, batch_size=50, max_iter=150, random_state=0)
    assert model.fit(X[:300], y[:300]).score(X[300:], y[300:]) > 0.3
    flowers, kinds = load_iris(return_X_y=True)
    classifier = DeepKernelMachineClassifier(n_inducing=20, batch_size=30, max_iter=150, lr=0.05, random_state=0)
    assert classifier.fit(flowers, kinds).score(flowers, kinds) > 0.9


def test_learning_helps_where_the_kernel_is_wrong():
    """Products of signs: a fixed kernel sees little of them."""
    X = np.random.default_rng(0).standard_normal((300, 4))
    y = np.sign(X[:, 0] * X[:, 1])
    options = {"n_inducing": 40, "max_iter": 80, "random_state": 0}
    free, fixed = (DeepKernelMachineRegressor(dof=d, **options).fit(X[:200], y[:200]) for d in (0.1, np.inf))
    assert free.elbo_ > fixed.elbo_ + 0.3
    assert free.score(X[200:], y[200:]) > fixed.score(X[200:], y[200:]) + 0.2
    assert fixed.gram_matrices_ == []


@pytest.mark.parametrize(
    "options",
    [
        {"kernel": "sqexp"},
        {"kernel": "normalized-gaussian"},
        {"norm": "local"},
        {"objective": "taylor"},
        {"n_layers": 0},
        {"norm": "none", "kernel": "linear"},
    ],
    ids=lambda o: ", ".join(map(str, o.values())),
)
def test_choices(diabetes, options):
    X, y = diabetes
    assert DeepKernelMachineRegressor(**SMALL, **options).fit(X[:200], y[:200]).score(X[200:], y[200:]) > 0.35


def test_many_targets(diabetes):
    X, y = diabetes
    both = np.stack([y, X[:, 2]], 1)
    model = DeepKernelMachineRegressor(**SMALL).fit(X[:150], both[:150])
    mean, std = model.predict(X[150:160], return_std=True)
    assert mean.shape == std.shape == (10, 2)
    assert model.noise_.shape == (2,)


def test_the_kernel_elsewhere(diabetes):
    X, y = load_iris(return_X_y=True)
    model = DeepKernelMachineClassifier(n_inducing=15, max_iter=20, random_state=0).fit(X, y)
    assert SVC(kernel=model.deep_kernel_).fit(X, y).score(X, y) > 0.95
    x = torch.from_numpy(X[:7])
    matrix = model.deep_kernel_(x)
    torch.testing.assert_close(matrix, torch.from_numpy(model.deep_kernel_(X[:7])))
    torch.testing.assert_close(matrix.diagonal(), model.deep_kernel_.diagonal(x))
    pytest.importorskip("gpytorch")
    torch.testing.assert_close(as_gpytorch(model.deep_kernel_)(x).to_dense(), matrix)


def test_the_kernel_keeps_precision_and_wants_the_columns_of_the_training(fitted, diabetes):
    kernel, X = fitted.deep_kernel_, diabetes[0][:5]
    single = torch.from_numpy(X).float()
    for found in (kernel(single), kernel(single, single[:2]), kernel.features(single), kernel.diagonal(single)):
        assert found.dtype == torch.float32
    torch.testing.assert_close(kernel(single), kernel(single.double()).float())
    assert kernel(single.long()).dtype == torch.float64
    for wrong in (X[:, :-1], np.c_[X, X], X[0]):
        with pytest.raises(InputError, match="columns of the training"):
            kernel(wrong)
    x = single.double().requires_grad_()
    assert torch.autograd.grad(kernel(x).sum(), x)[0].abs().sum() > 0


def test_inducing_points_are_passed_once(fitted, diabetes, monkeypatch):
    expected = fitted.predict(diabetes[0][:5])
    again = pickle.loads(pickle.dumps(fitted))

    def frozen(machine):
        raise AssertionError("passed again")

    monkeypatch.setattr(DeepKernelMachine, "frozen", frozen)
    for model in (fitted, again):
        np.testing.assert_array_equal(model.predict(diabetes[0][:5]), expected)
        assert model.deep_kernel_(diabetes[0][:5]).shape == (5, 5)
    monkeypatch.undo()
    X, y = diabetes
    other = pickle.loads(pickle.dumps(fitted)).fit(X[:100], -y[:100])
    np.testing.assert_array_equal(
        other.predict(X[:5]), DeepKernelMachineRegressor(**SMALL).fit(X[:100], -y[:100]).predict(X[:5])
    )


@pytest.mark.parametrize("kind", [DeepKernelMachineRegressor, DeepKernelMachineClassifier])
def test_a_warm_start_from_fixed_kernels_goes_on_there(kind):
    X, y = load_iris(return_X_y=True)
    model = kind(n_inducing=8, dof=math.inf, max_iter=25, warm_start=True, random_state=0).fit(X, y)
    last = model.elbo_
    model.set_params(dof=1e3, max_iter=5).fit(X, y)
    assert model.elbo_path_[0] == pytest.approx(last, abs=1e-6)
    last = model.elbo_
    assert model.set_params(dof=10.0).fit(X, y).elbo_path_[0] >= last - 1e-6
    assert np.isfinite(model.set_params(n_layers=1).fit(X, y).elbo_)  # of other sizes: afresh


@pytest.mark.parametrize("X", [np.tile([[0.0], [1.0], [0.5]], (7, 2)), np.ones((21, 3))], ids=["balanced", "constant"])
@pytest.mark.filterwarnings("ignore:columns that do not vary")
def test_rows_at_the_mean_of_the_training(X):
    """They have the length 0, at which the normalised Gaussian kernel has no angle."""
    model = DeepKernelMachineRegressor(kernel="normalized-gaussian", **SMALL).fit(X, np.arange(21.0))
    at = np.vstack([X, X.mean(0)])
    assert np.isfinite(model.predict(at, return_std=True)).all()
    assert np.isfinite(model.deep_kernel_(at)).all()


def test_numbers_too_large(diabetes):
    X, y = diabetes[0][:60], diabetes[1][:60]
    model = DeepKernelMachineRegressor(**SMALL)
    with pytest.raises(InputError, match="cannot be squared"):
        model.fit(X, y * 1e200)
    with pytest.raises(InputError, match="cannot be squared"):
        model.fit(X * 1e200, y)
    with pytest.raises(InputError, match="too far"):
        model.fit(X, y).predict(X * 1e200)


def test_more_inducing_points_than_rows(diabetes):
    with pytest.warns(UserWarning, match="n_inducing=50 is more than the rows: all 20 are"):
        model = DeepKernelMachineRegressor(n_inducing=50, max_iter=2).fit(diabetes[0][:20], diabetes[1][:20])
    assert len(model.inducing_points_) == 20


def test_a_refused_fit_leaves_the_last_one(diabetes):
    X, y = diabetes
    model = DeepKernelMachineClassifier(**SMALL).fit(X[:60], y[:60] > 140)
    expected = model.predict_proba(X[:5])
    with pytest.raises(InputError, match="kernel"):
        model.set_params(kernel=["relu"]).fit(X[:60] * 2, y[:60] > 140)
    with pytest.raises(InputError, match="two classes"):
        model.set_params(kernel="relu").fit(X[:60] * 2, np.zeros(60))
    np.testing.assert_array_equal(model.predict_proba(X[:5]), expected)


def test_pipelines_and_searches():
    X, y = load_diabetes(return_X_y=True, as_frame=True)
    model = DeepKernelMachineRegressor(n_inducing=10, max_iter=8, random_state=0)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), model), {"deepkernelmachineregressor__dof": [0.1, 10.0]}, cv=2
    ).fit(X, y)
    assert search.best_score_ > 0.3


def test_columns_that_do_not_vary(diabetes):
    X, y = diabetes
    frame = pandas.DataFrame({"a": X[:60, 0], "still": 1.0, "b": X[:60, 2]})
    with pytest.warns(UserWarning, match="still"):
        model = DeepKernelMachineRegressor(**SMALL).fit(frame, y[:60])
    assert model.inducing_points_.shape[1] == 2
    np.testing.assert_allclose(model.predict(frame.assign(still=9.0)), model.predict(frame))
    frame.loc[3, "b"] = np.nan
    with pytest.raises(InputError, match="column b"):
        model.fit(frame, y[:60])


@pytest.mark.parametrize(
    "options",
    [
        {"n_layers": -1},
        {"n_inducing": 0},
        {"dof": -1.0},
        {"dof": math.nan},
        {"kernel": "cubic"},
        {"norm": "global"},
        {"objective": "mse"},
        {"lr": 0.0},
        {"max_iter": 0},
        {"batch_size": 0},
        {"noise": -1.0},
    ],
    ids=lambda o: next(iter(o)),
)
def test_bad_parameters(diabetes, options):
    with pytest.raises(InputError):
        DeepKernelMachineRegressor(**options).fit(diabetes[0][:30], diabetes[1][:30])


def test_bad_targets(diabetes):
    X, _ = diabetes
    with pytest.raises(ValueError):
        DeepKernelMachineRegressor(**SMALL).fit(X[:30], np.full(30, np.nan))
    with pytest.raises(InputError, match="two classes"):
        DeepKernelMachineClassifier(**SMALL).fit(X[:30], np.zeros(30))
