"""Bundled estimators: conformance, one solve against scikit-learn's, streams, unlearning, export, tables, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits, load_wine
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from harmonia.core.errors import InputError
from harmonia.kernels.snnk import BundledSNNKClassifier, BundledSNNKRegressor

X, Y = load_diabetes(return_X_y=True)
SMALL = {"n_features": 32, "random_state": 0}


@parametrize_with_checks([BundledSNNKRegressor(**SMALL), BundledSNNKClassifier(**SMALL)])
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


@pytest.mark.parametrize("width", [20, 600])
def test_the_solve_is_ridge_regression_and_its_errors_are_those_of_refits(width):
    rows, y = X[:60], Y[:60]
    model = BundledSNNKRegressor(width, alpha=0.3, random_state=0).fit(rows, y)
    phi = model._phi(rows).numpy()
    theirs = RidgeCV([0.3]).fit(phi, y)
    np.testing.assert_allclose(model.predict(rows), theirs.predict(phi), rtol=1e-7)
    refit = []
    for row in range(3):
        kept = np.delete(np.arange(60), row)
        refit.append(RidgeCV([0.3]).fit(phi[kept], y[kept]).predict(phi[[row]])[0])
    np.testing.assert_allclose(model.left_out_predictions_[:3], refit, rtol=1e-7)


def test_the_penalty_has_the_least_left_out_error():
    model = BundledSNNKRegressor(64, random_state=0).fit(X, Y)
    errors = {
        alpha: BundledSNNKRegressor(64, alpha=alpha, random_state=0).fit(X, Y).solved_.errors
        for alpha in (model.alpha_ / 5, model.alpha_, 5 * model.alpha_)
    }
    assert min(errors, key=errors.get) == model.alpha_
    assert model.n_parameters_ == 65


def test_streams_are_the_same_as_one_fit():
    options = {"n_features": 48, "depth": 2, "standardize": False, "random_state": 0, "alpha": 0.5}
    whole = BundledSNNKRegressor(solver="sums", **options).fit(X, Y)
    rows = BundledSNNKRegressor(solver="rows", **options).fit(X, Y)
    stream = BundledSNNKRegressor(**options)
    for part in np.array_split(np.arange(len(X)), 5):
        stream.partial_fit(X[part], Y[part])
    np.testing.assert_allclose(whole.predict(X), rows.predict(X), rtol=1e-6)
    np.testing.assert_allclose(stream.predict(X), rows.predict(X), rtol=1e-6)
    assert stream.n_rows_ == len(X)


@pytest.mark.parametrize("rows", [60, 100, 150, 300, 440])
def test_sums_choose_the_penalty_that_rows_do(rows):
    """To within a step of the grid, also with fewer rows than features, where errors of small penalties are tiny."""
    x, y = X[:rows], Y[:rows]
    exact = BundledSNNKRegressor(512, random_state=0).fit(x, y)
    sums = BundledSNNKRegressor(512, random_state=0, solver="sums").fit(x, y)
    fewer = BundledSNNKRegressor(512, random_state=0).fit(x, y).forget(x[:1], y[:1])
    for model in (sums, fewer):
        assert abs(np.log10(model.alpha_ / exact.alpha_)) < 0.4
        assert model.score(X, Y) == pytest.approx(exact.score(X, Y), abs=0.02)
        assert model.solved_.relative_error == pytest.approx(exact.solved_.relative_error, rel=0.03)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("solver", ["rows", "sums"])
@pytest.mark.parametrize("width", [16, 512])
@pytest.mark.parametrize("value", [1.0, 0.1, 1e5])
def test_inputs_that_do_not_vary_predict_the_mean(solver, width, value):
    for standardize in (True, False):
        model = BundledSNNKRegressor(width, solver=solver, standardize=standardize, random_state=0)
        model.fit(np.full((50, 3), value), np.arange(50.0))
        np.testing.assert_allclose(model.predict(np.full((2, 3), value)), 24.5)


def test_forgotten_rows_leave_no_trace():
    options = {"n_features": 48, "standardize": False, "random_state": 0}
    never = BundledSNNKRegressor(**options).partial_fit(X[:300], Y[:300])
    seen = BundledSNNKRegressor(**options).partial_fit(X[:300], Y[:300]).partial_fit(X[300:], 1e3 * Y[300:])
    before = seen.predict(X[:10])
    seen.forget(X[300:], 1e3 * Y[300:])
    assert np.abs(before - never.predict(X[:10])).max() > 10
    np.testing.assert_allclose(seen.predict(X), never.predict(X), rtol=1e-5)
    digits, labels = load_digits(return_X_y=True)
    a = BundledSNNKClassifier(64, random_state=0, solver="sums").fit(digits[:500], labels[:500])
    b = BundledSNNKClassifier(64, random_state=0).partial_fit(digits[:500], labels[:500])
    b.partial_fit(digits[500:700], labels[500:700]).forget(digits[500:700], labels[500:700])
    np.testing.assert_allclose(a.decision_function(digits[700:]), b.decision_function(digits[700:]), atol=1e-6)


def test_the_temperature_stays_when_rows_go():
    digits, labels = load_digits(return_X_y=True)
    model = BundledSNNKClassifier(128, standardize=False, random_state=0).fit(digits[:900], labels[:900])
    before, temperature = model.predict_proba(digits[900:]), model.temperature_
    model.forget(digits[:1], labels[:1])
    assert model.temperature_ == temperature
    np.testing.assert_allclose(model.predict_proba(digits[900:]), before, atol=0.05)
    again = BundledSNNKClassifier(128, solver="sums", random_state=0).fit(digits[:900], labels[:900])
    with pytest.raises(InputError, match="temperature"):
        _ = again.temperature_


def test_the_temperature_is_found_once(monkeypatch):
    from harmonia.kernels.snnk import estimators

    calls = []
    exact = estimators.minimize_scalar
    monkeypatch.setattr(estimators, "minimize_scalar", lambda *a, **k: calls.append(1) or exact(*a, **k))
    wine, labels = load_wine(return_X_y=True)
    model = BundledSNNKClassifier(32, random_state=0).fit(wine, labels)
    assert not calls
    for _ in range(3):
        model.predict_proba(wine[:2])
    assert len(model.left_out_probabilities_) == len(wine)
    assert len(calls) == 1
    model.fit(wine[:120], labels[:120]).predict_proba(wine[:2])
    assert len(calls) == 2


@pytest.mark.parametrize("depth", [1, 3])
def test_export_to_torch(depth):
    model = BundledSNNKRegressor(24, depth=depth, random_state=0).fit(X, Y)
    module = model.to_torch()
    with torch.no_grad():
        np.testing.assert_allclose(module(torch.from_numpy(X))[:, 0].numpy(), model.predict(X), rtol=1e-9)
    assert sum(p.numel() for p in module.parameters()) == model.n_parameters_


@pytest.mark.parametrize("directions", ["gaussian", "orthogonal", "sorf"])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_digits_by_every_kind_of_features(directions, order):
    digits, labels = load_digits(return_X_y=True)
    model = BundledSNNKClassifier(256, order=order, directions=directions, standardize=False, random_state=0).fit(
        digits[:900] / 16, labels[:900]
    )
    assert model.score(digits[900:] / 16, labels[900:]) > 0.9


def test_float32_is_near_float64():
    digits, labels = load_digits(return_X_y=True)
    double = BundledSNNKClassifier(128, random_state=0, alpha=1.0).fit(digits, labels)
    single = BundledSNNKClassifier(128, random_state=0, alpha=1.0).fit(digits.astype(np.float32), labels)
    assert np.abs(double.decision_function(digits) - single.decision_function(digits.astype(np.float32))).max() < 1e-3


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_probabilities_are_calibrated_about_as_well_as_logistic_regression(loss):
    wine, labels = load_wine(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(wine, labels, random_state=0, stratify=labels)
    model = BundledSNNKClassifier(128, loss=loss, random_state=0).fit(train_x, train_y)
    shares = model.predict_proba(test_x)
    theirs = make_pipeline(StandardScaler(), LogisticRegression()).fit(train_x, train_y).predict_proba(test_x)
    np.testing.assert_allclose(shares.sum(1), 1)
    assert log_loss(test_y, shares) < log_loss(test_y, theirs) + 0.1
    assert (shares.argmax(1) == model.predict(test_x)).all()


def test_logistic_loss_is_minimal():
    """Of the penalised loss, against scikit-learn's solver on the same standardised features."""
    wine, labels = load_wine(return_X_y=True)
    model = BundledSNNKClassifier(40, loss="logistic", alpha=2.0, random_state=0).fit(wine, labels)
    phi = StandardScaler().fit_transform(model._phi(wine).numpy())
    theirs = LogisticRegression(C=1 / 2.0, tol=1e-8, max_iter=10_000).fit(phi, labels)
    np.testing.assert_allclose(model.predict_proba(wine), theirs.predict_proba(phi), atol=1e-3)


def test_in_a_pipeline_with_a_grid_on_a_table_of_words_and_numbers():
    statsmodels = pytest.importorskip("statsmodels.api")
    frame = statsmodels.datasets.fair.load_pandas().data[::8]
    x, y = frame.drop(columns="affairs").to_numpy(), (frame["affairs"] > 0).to_numpy()
    grid = GridSearchCV(
        make_pipeline(StandardScaler(), BundledSNNKClassifier(random_state=0)),
        {"bundledsnnkclassifier__n_features": [16, 64], "bundledsnnkclassifier__depth": [1, 2]},
        cv=3,
    )
    assert grid.fit(x, y).best_score_ > max(y.mean(), 1 - y.mean())


def test_bad_input():
    for wrong, match in (
        ({"n_features": 0}, "n_features"),
        ({"n_features": 512.0}, "n_features"),
        ({"n_features": None}, "n_features"),
        ({"n_features": (8, 8), "depth": 3}, "depth"),
        ({"depth": 0}, "depth"),
        ({"depth": 1.5}, "depth"),
        ({"alpha": -1.0}, "alpha"),
        ({"solver": "adam"}, "solver"),
        ({"order": 5}, "order"),
        ({"directions": "up"}, "directions"),
    ):
        with pytest.raises(InputError, match=match):
            BundledSNNKRegressor(**wrong).fit(X, Y)
    with pytest.raises(InputError, match="no such loss"):
        BundledSNNKClassifier(loss="hinge").fit(X, Y > 100)
    with pytest.raises(InputError, match="not named before"):
        BundledSNNKClassifier(16).partial_fit(X[:20], np.arange(20) % 2).partial_fit(X[:3], [0, 1, 7])
    with pytest.raises(InputError, match="two classes"):
        BundledSNNKClassifier(16).fit(X, np.zeros(len(X)))
    with pytest.raises(InputError, match="taken away"):
        BundledSNNKRegressor(16).partial_fit(X[:5], Y[:5]).forget(X, Y)
    with pytest.raises(InputError, match="sorf"):
        BundledSNNKRegressor(16, directions="sorf").fit(X, Y).to_torch()
    with pytest.raises(ValueError, match="NaN"):
        BundledSNNKRegressor(16).fit(np.where(X > 0.1, np.nan, X), Y)
