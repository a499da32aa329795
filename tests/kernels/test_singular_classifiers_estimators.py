"""The estimators: conformance, sums against the definition, leave-one-out, limits of depth, bad input."""

from __future__ import annotations

import math
import pickle
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_iris, load_wine
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from harmonia.core.errors import InputError
from harmonia.kernels.singular_classifiers import (
    DeepNTKClassifier,
    HermiteActivation,
    Koenigs,
    SingularKernelClassifier,
    SingularKernelRegressor,
    SphereMap,
    dual_of,
    intrinsic_dimension,
    optimal_activation,
)
from harmonia.kernels.singular_classifiers.consistency import MAJORITY, NEAREST
from harmonia.kernels.singular_classifiers.smoothing import PowerLaw, SingularSums, half_square_distances


def sphere(n: int, d: int, seed: int = 0) -> np.ndarray:
    z = np.abs(np.random.default_rng(seed).standard_normal((n, d + 1)))
    return z / np.linalg.norm(z, axis=1, keepdims=True)


@parametrize_with_checks(
    [
        SingularKernelClassifier(),
        SingularKernelClassifier(activation="hilbert", class_weight="balanced"),
        SingularKernelRegressor(),
        DeepNTKClassifier(),
    ]
)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


@pytest.mark.parametrize("tile", [1, 7, 64, 10**6])
def test_tiled_sums_are_the_definition(tile):
    x, at = torch.from_numpy(sphere(60, 3)), torch.from_numpy(sphere(25, 3, 1))
    g = Koenigs(dual_of(optimal_activation(3)))
    sizes, v = [10, 0, 30, 20], np.random.default_rng(2).uniform(0.1, 3, 60)
    weights = np.exp(g.log((np.square(at[:, None] - x[None]).sum(-1) / 2).numpy())) * v
    expected = np.stack([weights[:, a:b].sum(1) for a, b in ((0, 10), (10, 10), (10, 40), (40, 60))], 1)
    sums = SingularSums(x, sizes, g.table, torch.from_numpy(np.log(v)), tile)
    np.testing.assert_allclose(sums.log_sums(at).exp().numpy(), expected, rtol=1e-8)
    values = torch.randn(60, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    means = (weights @ values.numpy()) / weights.sum(1, keepdims=True)
    np.testing.assert_allclose(sums.means(at, values).numpy(), means, rtol=1e-7, atol=1e-9)


def test_distances_keep_their_digits():
    """Of unit vectors a distance t apart, down to t = 1e-12, where ``1 - x.x'`` is 0."""
    t = np.geomspace(1e-12, 0.5, 30)
    x = torch.tensor([[0.6, 0.8]], dtype=torch.float64)
    y = torch.from_numpy(np.stack([0.6 * np.cos(t) - 0.8 * np.sin(t), 0.8 * np.cos(t) + 0.6 * np.sin(t)], 1))
    found = half_square_distances(x, y).numpy()[0]
    np.testing.assert_allclose(np.sqrt(2 * found), 2 * np.sin(t / 2), rtol=1e-9, atol=3e-16)


@pytest.mark.parametrize("activation", ["optimal", "hilbert", torch.sin])
def test_leaving_one_out_is_fitting_without_it(activation):
    X, y = load_iris(return_X_y=True)
    X, y = sphere(40, 3), y[::3][:40]
    model = SingularKernelClassifier(activation=activation, feature_map="raw").fit(X, y)
    left_out = model.predict_proba_left_out()
    for i in (0, 13, 39):
        rest = np.arange(40) != i
        again = SingularKernelClassifier(activation=activation, feature_map="raw").fit(X[rest], y[rest])
        np.testing.assert_allclose(again.predict_proba(X[i : i + 1])[0], left_out[i], rtol=1e-7)
    assert model.loo_score() == pytest.approx((left_out.argmax(1) == y).mean())
    targets = np.random.default_rng(0).standard_normal(40)
    regressor = SingularKernelRegressor(activation=activation, feature_map="raw").fit(X, targets)
    again = SingularKernelRegressor(activation=activation, feature_map="raw").fit(X[1:], targets[1:])
    assert regressor.predict_left_out()[0] == pytest.approx(again.predict(X[:1])[0], rel=1e-7)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 30), st.floats(0.7, 60.0))
def test_interpolation_and_invariances(seed, d, dim):
    """Training labels are kept, order and rotation of coordinates do not matter, scaling features neither."""
    generator = np.random.default_rng(seed)
    X, at = generator.standard_normal((30, d)), generator.standard_normal((5, d))
    y = generator.integers(0, 3, 30)
    model = SingularKernelClassifier(dim).fit(X, y)
    assert (model.predict(X) == y).all()
    shares = model.predict_proba(at)
    np.testing.assert_allclose(shares.sum(1), 1)
    order, columns = generator.permutation(30), generator.permutation(d)
    again = SingularKernelClassifier(dim).fit(X[order][:, columns] * 3 + 1, y[order])
    if len(model.classes_) == len(again.classes_):
        np.testing.assert_allclose(again.predict_proba(at[:, columns] * 3 + 1), shares, atol=1e-6)


@pytest.mark.parametrize("d", [2, 20, 64, 300])
def test_nothing_overflows(d):
    """At d = 64 weights reach 1e600, and duplicates are infinite."""
    X = np.random.default_rng(0).uniform(size=(50, d))
    y = np.arange(50) % 2
    model = SingularKernelClassifier().fit(X, y)
    near = X + 1e-9
    assert (model.predict(near) == y).all()
    assert np.isfinite(model.decision_function(near)).all()
    assert np.isfinite(model.predict_proba(X)).all()
    assert np.isinf(model.decision_function(X)).all()


def test_duplicates_give_the_mix_of_their_labels():
    X = np.array([[0.0], [1.0], [1.0], [1.0], [2.0]])
    with pytest.warns(UserWarning, match="equal rows have different labels"):
        model = SingularKernelClassifier().fit(X, [0, 0, 1, 1, 0], sample_weight=[1, 1, 1, 2, 1])
    np.testing.assert_allclose(model.predict_proba([[1.0]]), [[0.25, 0.75]])
    np.testing.assert_allclose(SingularKernelRegressor().fit(X, [0.0, 1, 2, 3, 9]).predict([[1.0]]), 2.0)
    left_out = model.predict_proba_left_out()
    np.testing.assert_allclose(left_out[1], [0, 1])
    np.testing.assert_allclose(left_out[2], [1 / 3, 2 / 3])


def test_constant_features_count_for_nothing():
    X, y = load_iris(return_X_y=True)
    plain = SingularKernelClassifier(3.0).fit(X, y).predict_proba_left_out()
    more = SingularKernelClassifier(3.0).fit(np.hstack([X, np.full((150, 2), 7.0)]), y).predict_proba_left_out()
    assert (plain.argmax(1) == more.argmax(1)).mean() > 0.95
    flat = SingularKernelClassifier(1.0).fit(np.ones((6, 2)), [0, 0, 0, 0, 1, 1])
    np.testing.assert_allclose(flat.predict_proba(np.zeros((1, 2))), [[2 / 3, 1 / 3]], atol=1e-9)


@pytest.mark.parametrize("activation", ["optimal", "hilbert"])
def test_nearest_points_only(activation):
    """All of them are all; of some the difference stays within its bound."""
    X, at, y = sphere(400, 2), sphere(60, 2, 1), np.random.default_rng(2).integers(0, 3, 400)
    X[7], X[8] = X[9], X[9]
    v = np.random.default_rng(3).uniform(0.5, 2, 400)

    def model(neighbours):
        found = SingularKernelClassifier(activation=activation, feature_map="raw", neighbours=neighbours)
        return found.fit(X, y, sample_weight=v)

    whole, same, some = model(None), model(400), model(60)
    at = np.concatenate([at, X[:12]])
    np.testing.assert_allclose(same.predict_proba(at), whole.predict_proba(at), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(same.predict_proba_left_out(), whole.predict_proba_left_out(), rtol=1e-6, atol=1e-9)
    difference = np.abs(some.predict_proba(at) - whole.predict_proba(at)).max(1)
    assert (difference <= some.neglected_share(at) + 1e-9).all()
    assert some.neglected_share(at).max() < 1
    assert not whole.neglected_share(at).any()
    targets = np.random.default_rng(4).standard_normal((400, 2))
    options = {"activation": activation, "feature_map": "raw"}
    plain, near = (SingularKernelRegressor(neighbours=k, **options).fit(X, targets) for k in (None, 400))
    np.testing.assert_allclose(near.predict(at), plain.predict(at), rtol=1e-5, atol=1e-7)


def test_limits_of_the_exponent():
    """Exponent 0 counts classes, an infinite one looks at the nearest point, as scikit-learn does."""
    X, y = load_wine(return_X_y=True)
    points = SphereMap("sphere").fit(X)(X)
    nearest = SingularKernelClassifier(activation=NEAREST, feature_map="raw").fit(points[::2], y[::2])
    theirs = KNeighborsClassifier(1).fit(points[::2], y[::2])
    np.testing.assert_array_equal(nearest.predict(points[1::2]), theirs.predict(points[1::2]))
    with pytest.warns(UserWarning, match="majority vote at infinite depth"):
        majority = SingularKernelClassifier(activation=torch.relu).fit(X, y)
    np.testing.assert_allclose(majority.predict_proba(X[:1] + 1), [np.bincount(y) / len(y)])
    assert (nearest.alpha_, majority.alpha_) == (math.inf, 0.0)


def test_power_law_is_scikit_learn_s_weighted_neighbours():
    X, at, y = sphere(300, 3), sphere(40, 3, 1), np.random.default_rng(2).integers(0, 3, 300)
    ours = SingularKernelClassifier(2.5, activation="hilbert", feature_map="raw").fit(X, y)
    theirs = KNeighborsClassifier(300, weights=lambda d: d**-2.5, algorithm="brute").fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(at), theirs.predict_proba(at), rtol=1e-9)


@pytest.mark.parametrize(
    ("phi", "depth"), [(NEAREST, 40), (MAJORITY, 60), (optimal_activation(2), 1000)], ids=["1-NN", "vote", "singular"]
)
def test_depth_has_its_limit(phi, depth):
    X, at, y = sphere(13, 2, 5), sphere(200, 2, 6), np.random.default_rng(7).integers(0, 2, 13)
    deep = DeepNTKClassifier(depth, activation=phi, feature_map="raw").fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit = SingularKernelClassifier(activation=phi, feature_map="raw").fit(X, y)
    assert (deep.predict(at) == limit.predict(at)).mean() >= 0.97


def test_finite_depth_is_kernel_regression():
    """Against the engine's matrix and a plain solve."""
    from harmonia.parts import infwidth

    X, at, y = sphere(30, 3), sphere(20, 3, 1), np.random.default_rng(2).integers(0, 2, 30)
    phi = optimal_activation(3)
    layers = [layer for _ in range(4) for layer in (infwidth.Elementwise(phi), infwidth.Dense())]
    net = infwidth.Sequential(infwidth.Dense(2.0), *layers)
    x, z = torch.from_numpy(X), torch.from_numpy(at)
    alone = torch.linalg.solve(net.kernel(x, get="ntk"), torch.from_numpy(2.0 * y - 1))
    cross = net.kernel(z, x, get="ntk")
    expected = (cross @ alone / cross.amax(1)).numpy()
    model = DeepNTKClassifier(4, activation=phi, feature_map="raw").fit(X, y)
    diagonal = math.exp(model.kernel_.log_scale)
    np.testing.assert_allclose(model.decision_function(at), expected * diagonal, rtol=1e-6, atol=1e-6)
    assert not model.is_diagonal_
    assert DeepNTKClassifier(400, activation=phi, feature_map="raw").fit(X, y).is_diagonal_
    repeated = DeepNTKClassifier(3).fit(np.repeat(X[:5], 2, 0), [0, 0, 1, 1, 0, 0, 1, 1, 0, 0])
    np.testing.assert_array_equal(repeated.predict(X[:5]), [0, 1, 0, 1, 0])


def test_regression_interpolates_and_learns():
    generator = np.random.default_rng(0)
    X = generator.uniform(size=(800, 2))
    y = np.stack([np.sin(5 * X[:, 0]) * X[:, 1], X[:, 0]], 1)
    model = SingularKernelRegressor(dim="loo").fit(X[:600], y[:600])
    np.testing.assert_allclose(model.predict(X[:600]), y[:600], atol=1e-12)
    assert model.score(X[600:], y[600:]) > LinearRegression().fit(X[:600], y[:600]).score(X[600:], y[600:]) - 0.1
    assert model.loo_score() == pytest.approx(model.score(X[600:], y[600:]), abs=0.1)


@pytest.mark.parametrize("d", [1, 2, 4])
def test_intrinsic_dimension(d):
    """Of a flat piece of dimension d that lies askew in ten dimensions."""
    generator = np.random.default_rng(d)
    points = generator.uniform(size=(1500, d)) @ generator.standard_normal((d, 10))
    assert intrinsic_dimension(points) == pytest.approx(d, rel=0.15)
    assert intrinsic_dimension(np.repeat(points[:500], 3, 0)) == pytest.approx(d, rel=0.15)
    model = SingularKernelClassifier("mle").fit(points, generator.integers(0, 2, 1500))
    assert model.alpha_ == pytest.approx(d, rel=0.2)


def test_choosing_the_dimension_by_leaving_out():
    X, y = load_iris(return_X_y=True)
    plain = SingularKernelClassifier("mle").fit(X, y)
    chosen = SingularKernelClassifier("loo").fit(X, y)
    assert plain.dimension_ / 2 <= chosen.dimension_ <= 2 * plain.dimension_
    own = [model.predict_proba_left_out()[np.arange(150), y].clip(1e-6) for model in (plain, chosen)]
    assert -np.log(own[1]).mean() <= -np.log(own[0]).mean()


def test_sets_hold_the_true_class():
    generator = np.random.default_rng(0)
    X = generator.uniform(size=(1500, 2))
    y = (generator.uniform(size=1500) < np.where(X[:, 0] > 0.5, 0.8, 0.2)).astype(int)
    model = SingularKernelClassifier().fit(X[:700], y[:700])
    for coverage in (0.6, 0.9):
        sets = model.predict_set(X[700:], coverage)
        assert sets[np.arange(800), y[700:]].mean() == pytest.approx(coverage, abs=0.05)


def test_class_weights_move_the_vote():
    X, y = sphere(300, 2), np.r_[np.zeros(270), np.ones(30)]
    plain = SingularKernelClassifier(feature_map="raw").fit(X, y)
    balanced = SingularKernelClassifier(feature_map="raw", class_weight="balanced").fit(X, y)
    at = sphere(50, 2, 1)
    difference = balanced.decision_function(at) - plain.decision_function(at)
    np.testing.assert_allclose(difference, math.log(9), rtol=1e-9)


def test_feature_maps():
    X = np.random.default_rng(0).standard_normal((100, 3)) * [1, 100, 0.01]
    for kind in ("sphere", "softplus"):
        points = SphereMap(kind).fit(X)(X)
        assert points.shape == (100, 4)
        assert (points >= 0).all()
        np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1)
        assert len(np.unique(points.round(12), axis=0)) == 100
        beyond = SphereMap(kind).fit(X)(X + 1e4 * X.std(0))
        assert np.isfinite(beyond).all()
    np.testing.assert_allclose(SphereMap("raw").fit(sphere(5, 2))(sphere(5, 2)), sphere(5, 2))


def test_labels_of_any_kind_and_pickling():
    X = sphere(20, 2)
    y = np.where(X[:, 0] > 0.5, "left", "right")
    for model in (SingularKernelClassifier(), SingularKernelClassifier(activation=NEAREST), DeepNTKClassifier(5)):
        again = pickle.loads(pickle.dumps(model.fit(X, y)))
        np.testing.assert_array_equal(again.predict(X), y)


@pytest.mark.gpu
def test_devices_agree():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    X, at, y = sphere(500, 3), sphere(100, 3, 1), np.arange(500) % 3
    here, there = (SingularKernelClassifier(device=device).fit(X, y).predict_proba(at) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(here, there, rtol=1e-7)


X4, Y4 = np.eye(4)[:, :3] + 0.1, [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: SingularKernelClassifier(0.0).fit(X4, Y4), "dimension"),
        (lambda: SingularKernelClassifier(True).fit(X4, Y4), "dimension"),
        (lambda: SingularKernelClassifier("many").fit(X4, Y4), "dimension"),
        (lambda: SingularKernelClassifier(feature_map="cube").fit(X4, Y4), "feature map"),
        (lambda: SingularKernelClassifier(feature_map="raw").fit(X4, Y4), "non-negative unit sphere"),
        (lambda: SingularKernelClassifier(feature_map="raw").fit(-np.eye(3), [0, 1, 0]), "non-negative unit sphere"),
        (lambda: SingularKernelClassifier(activation="relu").fit(X4, Y4), "activation"),
        (lambda: SingularKernelClassifier(activation=torch.cos).fit(X4, Y4), "finite depth"),
        (lambda: SingularKernelClassifier(activation=torch.nn.Identity()).fit(X4, Y4), "finite depth"),
        (lambda: SingularKernelClassifier(block_size=0).fit(X4, Y4), "block size"),
        (lambda: SingularKernelClassifier(neighbours=0).fit(X4, Y4), "number of neighbours"),
        (lambda: SingularKernelClassifier().fit(X4, Y4).predict_set(X4, 1.0), "coverage"),
        (lambda: SingularKernelClassifier("mle").fit(X4[:2], [0, 1]), "three distinct points"),
        (lambda: SingularKernelClassifier().fit(X4[:1], [0]).loo_score(), "two training points"),
        (lambda: DeepNTKClassifier(0).fit(X4, Y4), "depth"),
        (lambda: DeepNTKClassifier(2.5).fit(X4, Y4), "depth"),
        (lambda: DeepNTKClassifier(5, dim="loo").fit(X4, Y4), "leave-one-out"),
        (lambda: DeepNTKClassifier(2000, activation=HermiteActivation([0, 0, 1.0])).fit(X4, Y4), "overflows"),
    ],
)
def test_bad_input(run, message):
    with pytest.raises(InputError, match=message):
        run()


def test_weights_that_are_all_zero():
    with pytest.raises(ValueError, match="non-zero number"):
        SingularKernelClassifier().fit(X4, Y4, sample_weight=np.zeros(4))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers(bad):
    X = X4.copy()
    X[0, 0] = bad
    with pytest.raises(ValueError, match="Input X contains"):
        SingularKernelClassifier().fit(X, Y4)


def test_power_law_in_the_limit():
    eps = torch.tensor([0.1, 0.2], dtype=torch.float64)
    near, far = PowerLaw(math.inf)(eps)
    assert near - far > 1e10
    np.testing.assert_allclose(PowerLaw(3.0)(eps).exp(), (2 * eps) ** -1.5)
    assert (PowerLaw(0.0)(eps) == 0).all()
