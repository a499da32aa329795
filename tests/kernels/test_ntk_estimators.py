"""The scikit-learn face: conformance, numbers against the definition, choices of ridge and time, uncertainty."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch
from scipy.optimize import approx_fprime
from sklearn.datasets import load_diabetes, load_digits
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import WhiteKernel
from sklearn.utils.estimator_checks import parametrize_with_checks

from harmonia.core.errors import InputError
from harmonia.kernels.ntk import NTKClassifier, NTKKernel, NTKRegressor, mlp
from harmonia.kernels.ntk.estimators import winning_shares
from harmonia.parts import infwidth


@parametrize_with_checks([NTKRegressor(), NTKClassifier(), NTKRegressor(depth=1, kernel="nngp", ridge="loo")])
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return (X - X.mean(0)) / X.std(0), y


def test_prediction_is_the_formula(diabetes):
    X, y = diabetes
    model = NTKRegressor(depth=2, activation="erf", ridge=1e-2).fit(X[:100], y[:100])
    x = torch.from_numpy(X)
    nngp, ntk = mlp(2, "erf").kernel(x[:140])
    ridge = 1e-2 * ntk[:100, :100].diagonal().mean()
    a = ntk[100:, :100] @ torch.linalg.inv(ntk[:100, :100] + ridge * torch.eye(100, dtype=torch.float64))
    z = torch.from_numpy((y[:100] - y[:100].mean()) / y[:100].std())
    mean, covariance = model.predict(X[100:140], return_cov=True)
    np.testing.assert_allclose(mean, (a @ z) * y[:100].std() + y[:100].mean(), rtol=1e-9)
    joint = a @ nngp[:100, 100:]
    expected = nngp[100:, 100:] + a @ nngp[:100, :100] @ a.T - joint - joint.T
    np.testing.assert_allclose(covariance, expected * y[:100].var(), rtol=1e-7, atol=1e-6)
    _, deviation = model.predict(X[100:140], return_std=True)
    np.testing.assert_allclose(deviation**2, np.diag(covariance), rtol=1e-6)


def test_many_targets_are_as_many_regressions(diabetes):
    X, y = diabetes
    both = np.stack([y, X[:, 0] ** 2], 1)
    model = NTKRegressor(ridge=0.1).fit(X[:150], both[:150])
    mean, covariance = model.predict(X[150:160], return_cov=True)
    assert covariance.shape == (10, 10, 2)
    for column in range(2):
        single = NTKRegressor(ridge=0.1).fit(X[:150], both[:150, column])
        np.testing.assert_allclose(mean[:, column], single.predict(X[150:160]))
        np.testing.assert_allclose(covariance[..., column], single.predict(X[150:160], return_cov=True)[1])


def test_time_and_ridge_are_chosen(diabetes):
    X, y = diabetes
    plain = NTKRegressor(ridge=0.0).fit(X[:200], y[:200])
    stopped = NTKRegressor(ridge=0.0, time="cv").fit(X[:200], y[:200])
    pulled = NTKRegressor(ridge="loo").fit(X[:200], y[:200])
    assert 0 < stopped.time_ < math.inf
    assert pulled.ridge_ > 0
    assert stopped.score(X[200:], y[200:]) > plain.score(X[200:], y[200:]) + 0.05
    assert pulled.score(X[200:], y[200:]) > plain.score(X[200:], y[200:]) + 0.05
    np.testing.assert_allclose(plain.predict(X[200:], time=stopped.time_), stopped.predict(X[200:]))
    np.testing.assert_allclose(plain.predict(X[200:], time=0.0), y[:200].mean())


def test_intervals_cover(diabetes):
    X, y = diabetes
    model = NTKRegressor(ridge="loo").fit(X[:250], y[:250])
    low, high = model.predict_interval(X[250:], coverage=0.8)
    assert 0.7 < ((low <= y[250:]) & (y[250:] <= high)).mean() < 0.9
    left_out, spread = model.predict_left_out()
    assert (spread > 0).all()
    relative = model.ridge_ / float(model.ensemble_.ntk.diagonal().mean())
    without = NTKRegressor(ridge=relative).fit(X[1:250], y[1:250])
    assert left_out[0] == pytest.approx(without.predict(X[:1])[0], rel=0.05)
    with pytest.raises(InputError, match="coverage"):
        model.predict_interval(X, coverage=1.0)


def test_digits():
    X, y = load_digits(return_X_y=True)
    X = (X - X.mean(0)) / 16
    model = NTKClassifier().fit(X[:600], y[:600])
    assert model.score(X[600:1000], y[600:1000]) > 0.94
    shares = model.predict_proba(X[600:1000])
    np.testing.assert_array_equal(shares.argmax(1), model.predict(X[600:1000]))
    np.testing.assert_allclose(shares.sum(1), 1)
    assert (model.predict_proba_left_out().argmax(1) == y[:600]).mean() > 0.93
    sure = shares.max(1) > np.quantile(shares.max(1), 0.5)
    right = shares.argmax(1) == y[600:1000]
    assert right[sure].mean() > right[~sure].mean()


def test_convolutional_network_reads_rows_as_images():
    X, y = load_digits(return_X_y=True)
    X, y = (X[:120] - X.mean(0)) / 16, y[:120]
    net = infwidth.Sequential(
        infwidth.Conv2d(3, padding="same", w_std=2**0.5), infwidth.ReLU(), infwidth.Flatten(), infwidth.Dense()
    )
    model = NTKClassifier(net, input_shape=(1, 8, 8)).fit(X[:80], y[:80])
    assert model.score(X[80:], y[80:]) > 0.6
    with pytest.raises(InputError, match="input_shape"):
        NTKClassifier(net, input_shape=(1, 7, 8)).fit(X[:80], y[:80])


def test_labels_of_any_kind_and_pickling():
    X = np.array([[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.9, 0.2]])
    model = NTKClassifier(depth=1).fit(X, ["left", "left", "right", "right"])
    again = pickle.loads(pickle.dumps(model))
    assert list(again.predict(X)) == ["left", "left", "right", "right"]
    assert model.decision_function(X).shape == (4,)


def test_winning_shares_against_sampling():
    scores = np.array([[0.3, -0.2, 1.0], [0.0, 0.0, 0.0], [9.0, -9.0, 0.0]])
    draws = scores + np.random.default_rng(0).standard_normal((200_000, 3, 3))
    counted = np.stack([(draws.argmax(2) == c).mean(0) for c in range(3)], 1)
    np.testing.assert_allclose(winning_shares(scores), counted, atol=4e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"net": "transformer"}, "no network"),
        ({"activation": "swash"}, "activation"),
        ({"depth": -1}, "hidden layers"),
        ({"kernel": "rbf"}, "kernel"),
        ({"solver": "lu"}, "solver"),
        ({"ridge": -1.0}, "ridge"),
        ({"ridge": "cv"}, "ridge"),
        ({"time": "soon"}, "time"),
        ({"time": -1.0}, "time"),
    ],
)
def test_bad_parameters(arguments, message):
    with pytest.raises(InputError, match=message):
        NTKRegressor(**arguments).fit(np.eye(4), np.arange(4.0))


def test_bad_data():
    with pytest.raises(ValueError, match="NaN"):
        NTKRegressor().fit(np.array([[0.0], [np.nan]]), np.zeros(2))
    with pytest.raises(InputError, match="rows 0 and 2"):
        NTKRegressor(ridge=0.0).fit(np.array([[1.0], [2.0], [1.0]]), np.array([0.0, 1.0, 2.0])).predict(np.eye(1))
    with pytest.raises(InputError, match="one uncertainty"):
        NTKRegressor().fit(np.eye(3), np.arange(3.0)).predict(np.eye(3), return_std=True, return_cov=True)


def test_too_many_rows_are_refused_or_solved_without_a_matrix(monkeypatch, diabetes):
    X, y = diabetes
    direct = NTKRegressor(ridge=1e-3).fit(X[:300], y[:300])
    monkeypatch.setattr("harmonia.kernels.ntk.estimators.physical_memory", lambda: 1000)
    with pytest.raises(InputError, match="GiB needed"):
        NTKRegressor(solver="direct").fit(np.eye(20), np.arange(20.0))
    lean = NTKRegressor(ridge=1e-3).fit(X[:300], y[:300])
    assert lean.ensemble_ is None
    np.testing.assert_allclose(lean.predict(X[300:]), direct.predict(X[300:]), rtol=1e-3)
    for refused in (lambda: lean.predict(X, return_std=True), lambda: lean.predict(X, time=1.0), lean.predict_left_out):
        with pytest.raises(InputError, match="infinite time only"):
            refused()
    with pytest.raises(InputError, match="given ridge"):
        NTKRegressor(ridge="loo").fit(X, y)
    with pytest.raises(InputError, match="above 0"):
        NTKRegressor(ridge=0.0).fit(X, y)
    with pytest.raises(InputError, match="did not converge"):
        NTKRegressor(ridge=1e-14, depth=0).fit(X, y)


def test_lost_signals_are_told():
    X, y = np.random.default_rng(0).standard_normal((6, 3)), np.arange(6.0)
    with pytest.warns(UserWarning, match="explodes: variances"):
        NTKRegressor(depth=20, w_std=2.5).fit(X, y)
    with pytest.warns(UserWarning, match="dies"):
        NTKRegressor(depth=20, w_std=0.5, b_std=0.0).fit(X, y)
    with pytest.raises(InputError, match="overflows"):
        NTKRegressor(depth=400, w_std=10.0).fit(X, y)


@pytest.mark.parametrize("kernel", ["ntk", "nngp"])
@pytest.mark.parametrize("activation", ["relu", "erf"])
def test_gradients_of_the_gaussian_process_kernel(kernel, activation):
    X = np.random.default_rng(0).standard_normal((6, 3))
    k = NTKKernel(1.3, 0.4, depth=2, activation=activation, kernel=kernel)
    value, slope = k(X, eval_gradient=True)
    np.testing.assert_allclose(value, k(X))
    np.testing.assert_allclose(np.diag(value), k.diag(X))
    for i in range(6):
        for j in range(6):
            numeric = approx_fprime(k.theta, lambda t, i=i, j=j: k.clone_with_theta(t)(X)[i, j], 1e-6)
            np.testing.assert_allclose(slope[i, j], numeric, rtol=1e-4, atol=1e-5)


def test_gaussian_process_learns_its_scales():
    X = np.linspace(-2, 2, 30)[:, None]
    y = np.sin(2 * X[:, 0]) + 0.05 * np.random.default_rng(0).standard_normal(30)
    gp = GaussianProcessRegressor(NTKKernel(depth=1, activation="erf") + WhiteKernel(0.01), normalize_y=True)
    gp.fit(X, y)
    start = gp.log_marginal_likelihood(gp.kernel.theta)
    assert gp.log_marginal_likelihood_value_ > start + 1
    assert gp.score(X, y) > 0.98
    fixed = NTKKernel(b_std=0.0, b_std_bounds="fixed")
    assert fixed(X, eval_gradient=True)[1].shape == (30, 30, 1)
    assert NTKKernel(w_std_bounds="fixed", b_std_bounds="fixed")(X, eval_gradient=True)[1].shape == (30, 30, 0)
    with pytest.raises(InputError, match="second"):
        fixed(X, X, eval_gradient=True)
