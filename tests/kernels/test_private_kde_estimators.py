"""The estimators: exact without noise, unbiased and of the stated error with it, conformant, saved without the rows."""

from __future__ import annotations

import io
import json
import math
import pickle
from fractions import Fraction

import numpy as np
import pandas
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer
from sklearn.utils.estimator_checks import parametrize_with_checks

from harmonia.core.errors import InputError
from harmonia.kernels.private_kde import (
    ExponentialSum,
    PrivacyAccountant,
    PrivateDistanceSum,
    PrivateKDE,
    PrivateSimilarityClassifier,
    Similarity,
    median_distance,
    private_rms_distance,
    reciprocal_exponentials,
    sum_of_exponentials,
)
from harmonia.kernels.private_kde.fourier import FourierSketch
from harmonia.kernels.private_kde.haar import HaarSketch
from harmonia.kernels.private_kde.hermite import HermiteSketch
from harmonia.parts.privacy.noise import Randomness, continuous, draw

REPRODUCIBLE = {"random_state": 0, "unsafe_reproducible": True}
FREE = {"eps": math.inf, "secure": False, "random_state": 0}


@parametrize_with_checks(
    [
        PrivateDistanceSum(bounds=(-50.0, 50.0), depth=6, **REPRODUCIBLE),
        PrivateKDE(n_features=20, delta=1e-6, **REPRODUCIBLE),
        PrivateSimilarityClassifier(n_features=400, eps=1e4, bandwidth=3.0, **REPRODUCIBLE),
        PrivateSimilarityClassifier("sqeuclidean", eps=1e4, bounds=100.0, **REPRODUCIBLE),
    ]
)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(0).beta(2, 5, (400, 3)) * [1.0, 2.0, 0.5]


@pytest.fixture(scope="module")
def queries():
    return np.random.default_rng(1).uniform(-0.5, 2.5, (40, 3))


BOUNDS = ([0.0, 0.0, 0.0], [1.0, 2.0, 0.5])


@pytest.mark.parametrize(
    ("metric", "exact"),
    [
        ("l1", lambda x, y: cdist(x, y, "cityblock")),
        ("sqeuclidean", lambda x, y: cdist(x, y, "sqeuclidean")),
        ("lp", lambda x, y: (np.abs(x[:, None] - y) ** 1.5).sum(2)),
    ],
    ids=["l1", "sqeuclidean", "lp"],
)
def test_distances_without_noise(rows, queries, metric, exact):
    found = PrivateDistanceSum(metric, bounds=BOUNDS, **FREE).fit(rows)
    expected = exact(rows, queries).sum(0)
    np.testing.assert_allclose(found.query(queries), expected, rtol=1e-9 if metric == "sqeuclidean" else 3e-5)
    np.testing.assert_allclose(-found.score_samples(queries), expected / 400, rtol=1e-5)


def test_l1_is_exact_on_the_grid():
    """Rows at the middles of cells, queries at their ends, inside and outside."""
    generator = np.random.default_rng(0)
    x = (generator.integers(0, 16, (50, 2)) + 0.5) / 16
    y = generator.integers(-8, 24, (30, 2)) / 16
    found = PrivateDistanceSum(bounds=(0.0, 1.0), depth=4, **FREE).fit(x).query(y)
    np.testing.assert_allclose(found, cdist(x, y, "cityblock").sum(0), rtol=1e-9)


def test_rows_outside_are_moved_to_the_edge():
    found = PrivateDistanceSum(bounds=(0.0, 1.0), **FREE).fit([[5.0], [-3.0]]).query([[0.0], [1.0]])
    np.testing.assert_allclose(found, 1.0, atol=1e-3)
    ball = PrivateDistanceSum("sqeuclidean", bounds=1.0, **FREE).fit([[3.0, 4.0]])
    np.testing.assert_allclose(ball.query([[0.6, 0.8]]), 0, atol=1e-9)


def test_a_function_of_the_distance_along_a_coordinate(rows, queries):
    found = PrivateDistanceSum(lambda z: 1 / (1 + z), bounds=(0.0, 2.0), **FREE).fit(rows[:, :1])
    np.testing.assert_allclose(
        found.query(queries[:, :1]), (1 / (1 + np.abs(rows[:, :1] - queries[:, 0]))).sum(0), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("model", "exact"),
    [
        (PrivateDistanceSum(ranges=BOUNDS, bounds=(0.0, 1.0), **FREE), "cityblock"),
        (PrivateKDE(method="hermite", order=12, bandwidth=0.7, ranges=BOUNDS, bounds=(0.0, 1.0), **FREE), None),
    ],
    ids=["l1", "kernel"],
)
def test_ranges_are_the_units(model, exact, rows, queries):
    """Rows outside are moved to the end, also where they are huge; queries are not."""
    outside = np.array([[-1e308, 0.5, 1.7e308], [3.0, 2.0, 0.0]])
    found = clone(model).fit(np.concatenate([rows, outside])).query(queries)
    x, y = np.concatenate([rows, outside]).clip(*BOUNDS) / BOUNDS[1], queries / BOUNDS[1]
    expected = cdist(x, y, exact) if exact else np.exp(-cdist(x / 0.7, y / 0.7, "sqeuclidean"))
    np.testing.assert_allclose(found, expected.sum(0), rtol=1e-3, atol=1e-2)
    with pytest.raises(InputError, match="bounds"):
        clone(model).set_params(ranges=(0.0, 0.0)).fit(rows)


def test_shells_are_within_their_factor(rows, queries):
    """Between the exact sum and 1 + alpha times it, up to half a cell a row."""
    inside = queries.clip(0, [1, 2, 0.5])
    exact = cdist(rows, inside, "cityblock").sum(0)
    for alpha in (0.3, 0.05):
        found = PrivateDistanceSum(bounds=BOUNDS, method="shells", alpha=alpha, depth=12, **FREE).fit(rows)
        ratio = found.query(inside) / exact
        assert ((ratio > 0.995) & (ratio < 1.005 * (1 + alpha))).all()


def test_l2_is_the_mean_over_directions(rows, queries):
    exact = cdist(rows, queries).sum(0)
    errors = [
        PrivateDistanceSum("l2", bounds=BOUNDS, n_directions=64, eps=math.inf, secure=False, random_state=s)
        .fit(rows)
        .query(queries)
        / exact
        - 1
        for s in range(12)
    ]
    assert abs(np.mean(errors)) < 4 * np.std(np.mean(errors, 1)) / math.sqrt(12) + 1e-3
    stated = PrivateDistanceSum("l2", bounds=BOUNDS, n_directions=64).expected_error(400, 3).sampling
    assert np.std(errors) < stated
    one = PrivateDistanceSum("l2", bounds=(0.0, 1.0), **FREE).fit(rows[:, :1])
    np.testing.assert_allclose(one.query([[0.3]]), np.abs(rows[:, 0] - 0.3).sum(), rtol=1e-4)


@pytest.mark.parametrize(
    "model",
    [
        PrivateDistanceSum(bounds=BOUNDS, depth=5),
        PrivateDistanceSum(bounds=BOUNDS, depth=5, delta=1e-5, noise="gaussian"),
        PrivateDistanceSum(bounds=BOUNDS, depth=5, method="shells"),
        PrivateDistanceSum("lp", bounds=BOUNDS, depth=5),
        PrivateDistanceSum("sqeuclidean", bounds=BOUNDS),
        PrivateDistanceSum("sqeuclidean", bounds=BOUNDS, delta=1e-5, noise="gaussian"),
        PrivateDistanceSum("l2", bounds=BOUNDS, depth=5, n_directions=5, random_state=0),
        PrivateKDE(n_features=20, random_state=0),
        PrivateKDE("cauchy", n_features=20, delta=1e-5, noise="gaussian", random_state=0),
        PrivateKDE("laplace", n_features=20, secure=False, random_state=0),
        PrivateKDE(method="hermite", bounds=BOUNDS, order=3),
    ],
    ids=[
        "l1",
        "l1 gaussian",
        "shells",
        "lp",
        "squared",
        "squared gaussian",
        "l2",
        "features",
        "features gaussian",
        "floating",
        "hermite",
    ],
)
def test_noise_is_unbiased_and_as_large_as_stated(model, rows, queries):
    """4000 releases, answered through the coefficients of the sums: mean and variance within sampling error."""
    model = model.fit(rows)
    sketch, mechanism, y = model.sketch_, model.mechanism_, queries[:6]
    coefficients = np.stack([sketch.estimate(unit, y) for unit in np.eye(sketch.blocks.size)])
    source = Randomness(seed=0)
    noise = np.stack([mechanism.add_noise(np.zeros(sketch.blocks.size), source) for _ in range(3)])
    if mechanism.budget.secure:
        scale = mechanism.each_step()
        drawn = draw(mechanism.kind, 4000 * sketch.blocks.size, Randomness(seed=0)).reshape(4000, -1)
        np.testing.assert_allclose(noise[0], discrete_first(mechanism, scale))
    else:
        scale = np.repeat(mechanism.scales, sketch.blocks.sizes)
        drawn = continuous(mechanism.kind, 4000 * sketch.blocks.size, source).reshape(4000, -1)
    errors = drawn * scale @ coefficients
    stated = model.noise_std(y)
    assert (np.abs(errors.mean(0)) < 4.5 * stated / math.sqrt(4000)).all()
    assert np.square(errors / stated).mean() == pytest.approx(1.0, abs=0.1)
    if not isinstance(sketch, FourierSketch):
        np.testing.assert_allclose(model.query(y, return_std=True)[1], stated)
    expected = model.expected_error(400, 3)
    assert 0.3 < expected.noise * 400 / stated.mean() < 3
    assert expected.total >= expected.noise


def discrete_first(mechanism, step):
    """The noise that the first release of a seeded source has."""
    return draw(mechanism.kind, len(step), Randomness(seed=0)) * step


KERNELS = ["gaussian", "exponential", "laplace", "cauchy", "inverse", "inverse-l1"]


@pytest.mark.parametrize("kernel", [*KERNELS, lambda z: 1 / np.sqrt(1 + z)], ids=[*KERNELS, "a function"])
def test_kernel_sums(rows, queries, kernel):
    """Mean over draws of the features is the exact sum; the error a draw states is the error it has."""
    exact = Similarity.of(kernel).matrix(rows, queries, 0.8).sum(0)
    found = [
        PrivateKDE(kernel, bandwidth=0.8, n_features=200, eps=math.inf, secure=False, random_state=s)
        .fit(rows)
        .query(queries, return_std=True)
        for s in range(30)
    ]
    values, stds = (np.array(column) for column in zip(*found))
    assert (np.abs(values.mean(0) - exact) < 4.5 * values.std(0) / math.sqrt(30) + 2e-3 * exact).all()
    ratio = np.sqrt(np.square(values - exact).mean() / np.square(stds).mean())
    assert 0.8 < ratio < 1.2 if kernel in KERNELS[:3] else ratio < 1.2


def test_stated_error_covers_noise_and_sampling(rows, queries):
    exact = Similarity.of("gaussian").matrix(rows, queries).sum(0)
    scores = []
    for s in range(25):
        model = PrivateKDE(n_features=100, eps=1.0, delta=1e-5, random_state=s, unsafe_reproducible=True).fit(rows)
        found, std = model.query(queries, return_std=True)
        scores.append((found - exact) / std)
    assert np.std(scores) == pytest.approx(1.0, abs=0.2)


def test_projection_and_orthogonal_directions(queries):
    x = np.random.default_rng(0).standard_normal((300, 256)) / 8
    exact = Similarity.of("gaussian").matrix(x, x[:20], 2.0).mean(0)
    for options in ({"project_dim": 128}, {"directions": "orthogonal"}, {"directions": "sorf"}):
        model = PrivateKDE(bandwidth=2.0, n_features=4000, **options, **FREE).fit(x)
        np.testing.assert_allclose(model.score_samples(x[:20]), exact, atol=0.06)


def test_fast_gauss_transform(rows, queries):
    """Exact up to the terms that are left out."""
    exact = Similarity.of("gaussian").matrix(rows, queries, 0.7).sum(0)
    errors = []
    for order, reach in ((4, 4.0), (8, 10.0), (14, 30.0)):
        sketch = HermiteSketch(*map(np.array, BOUNDS), 0.7, order, reach)
        found = sketch.estimate(sketch.sums(rows, np.zeros(sketch.blocks.size)), queries)
        errors.append(np.abs(found - exact).max() / exact.max())
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-6


def test_sums_of_exponentials():
    z = np.linspace(0, 100, 5001)
    for terms, most in ((8, 8.3e-3), (16, 6.5e-4)):
        assert np.abs(reciprocal_exponentials(terms)(z) - 1 / (1 + z)).max() < most
    for f in (lambda z: 1 / (1 + z), lambda z: np.exp(-2 * z), lambda z: 0.5 + np.exp(-z)):
        found = sum_of_exponentials(f, tol=1e-3)
        assert (found.weights > 0).all()
        assert np.abs(found(z) - f(z)).max() <= 1.2e-3
        assert found.total == pytest.approx(f(0.0), abs=1e-3)
    for f in (np.cos, lambda z: np.exp(-(z**2)), lambda z: 1 + z, lambda z: 1 / z, lambda z: 1.0):
        with pytest.raises(InputError, match="function"):
            sum_of_exponentials(f)
    given = PrivateKDE(ExponentialSum(np.array([1.0]), np.array([2.0])), **FREE).fit([[0.0]])
    np.testing.assert_allclose(given.query([[1.0]]), 2 * math.exp(-1), atol=0.1)


def test_batches_share_the_budget(rows, queries):
    """Their exact sums are those of all rows; the noise adds, the epsilon does not."""
    whole = PrivateKDE(n_features=20, **FREE).fit(rows)
    parts = PrivateKDE(n_features=20, **FREE)
    for part in np.array_split(rows, 4):
        parts.partial_fit(part)
    np.testing.assert_allclose(parts.query(queries), whole.query(queries))
    noisy = PrivateDistanceSum(bounds=BOUNDS)
    for part in np.array_split(rows, 4):
        noisy.partial_fit(part)
    assert noisy.privacy_spent().epsilon == 1.0
    np.testing.assert_allclose(
        noisy.noise_std(queries), 2 * PrivateDistanceSum(bounds=BOUNDS).fit(rows).noise_std(queries)
    )
    noisy.fit(rows)
    assert noisy.privacy_spent().epsilon == 2.0
    assert noisy.n_batches_ == 1


def test_seeds(rows, queries):
    """The seed is of the features; the noise differs, unless it is asked to be predictable."""
    one, two = (PrivateKDE(n_features=10, random_state=0).fit(rows) for _ in range(2))
    assert torch.equal(one.sketch_.frequencies.weight, two.sketch_.frequencies.weight)
    assert not np.array_equal(one.query(queries), two.query(queries))
    same = [PrivateKDE(n_features=10, **REPRODUCIBLE).fit(rows).query(queries) for _ in range(2)]
    np.testing.assert_array_equal(*same)


def test_post_processing(rows):
    model = PrivateKDE(n_features=20, eps=0.01, post_process=True, **REPRODUCIBLE).fit(rows)
    scores = model.score_samples(np.random.default_rng(0).uniform(-5, 5, (50, 3)))
    assert scores.min() == 0
    assert scores.max() <= 1


def test_bandwidths(rows):
    exact = math.sqrt(np.mean(cdist(rows, rows, "sqeuclidean")))
    accountant = PrivacyAccountant(eps=1.0)
    found = private_rms_distance(np.tile(rows, (50, 1)), eps=1.0, bounds=BOUNDS, accountant=accountant)
    assert found == pytest.approx(exact, rel=0.02)
    assert accountant.spent().epsilon == 1.0
    assert private_rms_distance(rows[:1], eps=1e-3, bounds=BOUNDS) > 0
    assert 0.5 * exact < median_distance(rows) < 1.5 * exact
    with pytest.raises(InputError, match="equal"):
        median_distance(np.ones((5, 2)))


MODELS = {
    "l1": PrivateDistanceSum(bounds=BOUNDS, depth=6),
    "shells": PrivateDistanceSum(bounds=BOUNDS, depth=6, method="shells"),
    "lp": PrivateDistanceSum("lp", bounds=BOUNDS, depth=6),
    "l2": PrivateDistanceSum("l2", bounds=BOUNDS, depth=6, delta=1e-6, random_state=1),
    "squared": PrivateDistanceSum("sqeuclidean", bounds=2.0, delta=1e-6),
    "features": PrivateKDE(n_features=20, project_dim=2, delta=1e-6),
    "sorf": PrivateKDE("inverse", n_features=20, directions="sorf"),
    "hermite": PrivateKDE(method="hermite", bounds=BOUNDS, order=3),
    "classes": PrivateSimilarityClassifier(n_features=20, delta=1e-6),
    "dot": PrivateSimilarityClassifier("dot", bounds=3.0),
}


@pytest.mark.parametrize("name", MODELS)
def test_saved_sketches_answer_the_same_and_hold_no_row(name, rows, queries, tmp_path):
    labels = np.where(rows[:, 0] > 0.3, "far", "near")
    model = MODELS[name].fit(rows, labels) if name in ("classes", "dot") else MODELS[name].fit(rows)
    again = type(model).load(model.save(tmp_path / "sketch.npz"))
    ask = (lambda m: m.decision_function(queries)) if name in ("classes", "dot") else (lambda m: m.query(queries, True))
    np.testing.assert_allclose(ask(again), ask(model), rtol=1e-12)
    assert again.privacy_spent() == model.privacy_spent()
    raw = {row.tobytes() for row in rows} | {value.tobytes() for value in rows.ravel()}
    with np.load(tmp_path / "sketch.npz") as file:
        numbers = {
            value.tobytes() for key in file.files if file[key].dtype == np.float64 for value in file[key].ravel()
        }
    assert not numbers & raw
    assert not any(row in pickle.dumps(model) for row in raw)
    np.testing.assert_allclose(ask(pickle.loads(pickle.dumps(model))), ask(model))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("far", [1e300, 1.7e308])
def test_huge_rows_and_queries(name, far, rows, queries, tmp_path):
    """Their answers are finite, or refused where the distance itself is too large for a number."""
    huge = np.array([[far, -far, far], [-far, 0.1, 0.2], [far, far, far]])
    x, labels = np.concatenate([rows, huge]), np.where(np.arange(len(rows) + 3) % 2, "far", "near")
    model = clone(MODELS[name]).fit(x, labels)
    assert np.isfinite(model.released_).all()
    assert np.isfinite(answers(model, queries)).all()
    model = type(model).load(model.save(tmp_path / "a.npz"))
    if name in ("features", "sorf", "hermite", "classes"):
        assert np.isfinite(answers(model, huge)).all()
    elif name in ("lp", "squared") or far > 1e305:
        with pytest.raises(InputError, match="finite"):
            answers(model, huge)
    else:
        assert np.isfinite(answers(model, huge)).all()


def answers(model, queries):
    if isinstance(model, PrivateSimilarityClassifier):
        return model.decision_function(queries)
    return model.query(queries)


def test_what_a_saved_sketch_keeps(rows, queries, tmp_path):
    """The budget of its release, whatever was set later; of parameters those that are plain values."""
    model = PrivateKDE(lambda z: 2 / (1 + z), n_features=20, eps=np.float64(0.5), post_process=True).fit(rows)
    stated = model.noise_std(queries)
    again = PrivateKDE.load(model.set_params(eps=9.0).save(tmp_path / "a.npz"))
    np.testing.assert_array_equal(again.noise_std(queries), stated)
    np.testing.assert_array_equal(again.score_samples(queries), model.score_samples(queries))
    assert again.privacy_spent().epsilon == 0.5
    with pytest.raises(InputError, match="no such kernel"):
        again.fit(rows)
    boxed = PrivateDistanceSum(bounds=tuple(map(np.array, BOUNDS)), depth=np.int64(4)).fit(rows)
    again = PrivateDistanceSum.load(boxed.save(tmp_path / "b.npz")).fit(rows)
    assert again.depth == 4


def test_one_frequency_tells_no_error(rows):
    assert np.isinf(PrivateKDE(n_features=2).fit(rows).query(rows[:3], return_std=True)[1]).all()


@pytest.mark.parametrize(
    "names",
    [
        np.array(["far", "near"]),
        np.array(["far", "near"], dtype=object),
        pandas.Series(["far", "near"]),
        np.array([-3, 5]),
        np.array([False, True]),
        np.array([1.0, 2.0]),
    ],
    ids=["words", "objects", "series", "int", "bool", "float"],
)
def test_saved_classes_keep_their_kind(names, rows, queries, tmp_path):
    labels = names[(rows[:, 0] > 0.3).astype(int)]
    model = PrivateSimilarityClassifier(bandwidth=0.3, n_features=40, eps=50.0).fit(rows, labels)
    again = PrivateSimilarityClassifier.load(model.save(tmp_path / "a.npz"))
    assert again.classes_.dtype == model.classes_.dtype
    assert [type(label) for label in again.classes_] == [type(label) for label in model.classes_]
    np.testing.assert_array_equal(again.predict(queries), model.predict(queries))


def test_classes_that_no_file_holds_are_not_saved(rows, tmp_path):
    """A word that ends in a zero character would come back without it."""
    labels = np.array(["far", "far\0"], dtype=object)[(rows[:, 0] > 0.3).astype(int)]
    model = PrivateSimilarityClassifier(n_features=4).fit(rows, labels)
    with pytest.raises(InputError, match="classes cannot be saved"):
        model.save(tmp_path / "a.npz")
    assert not list(tmp_path.iterdir())


def test_an_object_with_rows_is_not_saved(rows, tmp_path):
    model = PrivateKDE(n_features=4).fit(rows)
    model.kept_ = rows
    for save in (lambda: model.save(tmp_path / "a.npz"), lambda: pickle.dumps(model)):
        with pytest.raises(InputError, match="never released"):
            save()
    assert not list(tmp_path.iterdir())


def changed(file, **changes):
    with np.load(file) as old:
        content = {key: old[key] for key in old.files} | changes
    buffer = io.BytesIO()
    np.savez(buffer, **{key: value for key, value in content.items() if value is not None})
    return buffer.getvalue()


def test_wrong_files_are_refused(rows, tmp_path):
    path = PrivateKDE(n_features=4).fit(rows).save(tmp_path / "sketch.npz")
    header = json.loads(str(np.load(path)["header"]))
    bad = tmp_path / "bad.npz"
    for content, message in (
        (b"", "no saved sketch"),
        (path.read_bytes()[:200], "no saved sketch"),
        (changed(path, extra=np.ones(2)), "missing or unknown"),
        (changed(path, released=None), "no saved sketch"),
        (changed(path, released=np.ones(2)), "do not fit"),
        (changed(path, header=np.array(json.dumps(header | {"format": "2"}))), "no saved PrivateKDE"),
        (changed(path, header=np.array(json.dumps(header | {"charges": [{}]}))), "no saved sketch"),
        (changed(path, header=np.array(json.dumps(header | {"n_features_in": 2}))), "no saved sketch"),
        (changed(path, **{"sketch/frequencies.weight": None}), "no saved sketch"),
        (changed(path, **{"sketch/frequencies.weight": np.ones(4)}), "no saved sketch"),
        (changed(path, **{"sketch/frequencies.weight": np.ones((2, 7))}), "no saved sketch"),
        (changed(path, **{"sketch/count": np.array(10**15)}), "do not fit"),
    ):
        bad.write_bytes(content)
        with pytest.raises(InputError, match=message):
            PrivateKDE.load(bad)
    with pytest.raises(InputError, match="no saved PrivateDistanceSum"):
        PrivateDistanceSum.load(path)
    with pytest.raises(InputError, match="not there"):
        PrivateKDE.load(tmp_path / "none.npz")
    with pytest.raises(InputError, match="suffix"):
        PrivateKDE(n_features=4).fit(rows).save(tmp_path / "a.csv")
    with pytest.raises(InputError, match="predictable noise"):
        PrivateKDE(n_features=4, **REPRODUCIBLE).fit(rows).save(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (PrivateDistanceSum(), "bounds are missing"),
        (PrivateDistanceSum(bounds=(1.0, 0.0)), "bounds must be finite"),
        (PrivateDistanceSum(bounds=([0.0] * 2, [1.0] * 2)), "radius, or lower and upper"),
        (PrivateDistanceSum(bounds="wide"), "radius, or lower and upper"),
        (PrivateDistanceSum("l3", bounds=1.0), "no such metric"),
        (PrivateDistanceSum(bounds=1.0, method="tree"), "no such method"),
        (PrivateDistanceSum("l2", bounds=1.0, method="shells"), "shells are for l1"),
        (PrivateDistanceSum(bounds=1.0, depth=40), "depth"),
        (PrivateDistanceSum("lp", bounds=1.0, p=0), "'p' is"),
        (PrivateDistanceSum(bounds=1.0, eps=0), "'eps' is"),
        (PrivateDistanceSum(bounds=1.0, delta=2), "'delta' is"),
        (PrivateDistanceSum(bounds=1.0, secure="yes"), "'secure' is"),
        (PrivateDistanceSum(bounds=1.0, neighbours="some"), "neighbours"),
        (PrivateKDE("sinc"), "no such kernel"),
        (PrivateKDE(np.exp, distance="l3"), "no such distance"),
        (PrivateKDE(bandwidth="median"), "'bandwidth' is"),
        (PrivateKDE(n_features=5), "even"),
        (PrivateKDE(n_features=0), "'n_features' is"),
        (PrivateKDE(method="tree"), "no such method"),
        (PrivateKDE(method="hermite"), "bounds are missing"),
        (PrivateKDE(method="hermite", bounds=1.0, bandwidth=1e-4), "too many cells"),
        (PrivateKDE("laplace", method="hermite"), "Gaussian kernel"),
        (PrivateKDE("inverse-l1", project_dim=2), "not l1"),
        (PrivateKDE(accountant=PrivacyAccountant(eps=0.5)), "budget does not allow"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_parameters(model, message, rows):
    with pytest.raises(InputError, match=message):
        model.fit(rows)
    assert not getattr(model, "ledger_", PrivacyAccountant()).charges


def test_bad_rows_cost_nothing(rows):
    model = PrivateKDE(n_features=4).fit(rows)
    for bad in (np.full((2, 3), np.nan), np.ones((2, 4)), np.empty((0, 3))):
        with pytest.raises(ValueError):
            model.partial_fit(bad)
        with pytest.raises(ValueError):
            model.query(bad)
    assert len(model.ledger_.charges) == 1


def test_classes(rows):
    labels = np.where(rows[:, 0] > 0.3, "b", "a")
    model = PrivateSimilarityClassifier(classes=["a", "b", "c"], bandwidth=0.3, eps=1e6, **REPRODUCIBLE).fit(
        rows, labels
    )
    assert model.score(rows, labels) > 0.9
    assert model.decision_function(rows).shape == (400, 3)
    with pytest.raises(InputError, match="not named"):
        model.partial_fit(rows[:2], ["a", "d"])
    with pytest.raises(InputError, match="two classes"):
        PrivateSimilarityClassifier().fit(rows[:3], [1, 1, 1])
    stream = PrivateSimilarityClassifier("dot", bounds=3.0, eps=1e6, **REPRODUCIBLE)
    for part, names in zip(np.array_split(rows, 4), np.array_split(labels, 4)):
        stream.partial_fit(part, names, classes=["a", "b"])
    once = PrivateSimilarityClassifier("dot", bounds=3.0, eps=1e6, **REPRODUCIBLE).fit(rows, labels)
    np.testing.assert_allclose(stream.decision_function(rows), once.decision_function(rows), atol=1e-3)
    assert stream.privacy_spent().epsilon == pytest.approx(1e6)


def test_pipeline_and_grid_search_pay(rows):
    labels = (rows[:, 0] > 0.3).astype(int)
    accountant = PrivacyAccountant(eps=60.0)
    model = make_pipeline(
        FunctionTransformer(),
        Normalizer(),
        PrivateSimilarityClassifier(eps=5.0, delta=0.0, n_features=200, accountant=accountant, **REPRODUCIBLE),
    )
    search = GridSearchCV(model, {"privatesimilarityclassifier__bandwidth": [0.3, 1.0]}, cv=3).fit(rows, labels)
    assert search.best_score_ > 0.6
    assert accountant.spent().epsilon == pytest.approx(35.0)


def test_haar_sketch_is_a_wavelet_transform(rows):
    """Cells from the signed counts are the counts themselves."""
    sketch = HaarSketch(np.zeros(3), np.array(BOUNDS[1]), 5)
    cells = sketch.cells(sketch.sums(rows, np.zeros(sketch.blocks.size)))
    for j, width in enumerate(BOUNDS[1]):
        np.testing.assert_allclose(cells[j], np.histogram(rows[:, j], 32, (0, width))[0])


REFUSED = {
    "kernel": (PrivateKDE(n_features=20), {"bandwidth": "median"}),
    "budget": (PrivateKDE(n_features=20), {"accountant": PrivacyAccountant(eps=0.5)}),
    "distance": (PrivateDistanceSum(bounds=BOUNDS, depth=6), {"accountant": PrivacyAccountant(eps=0.5)}),
    "columns": (PrivateDistanceSum(bounds=BOUNDS, depth=6), {"bounds": ([0.0] * 2, [1.0] * 2)}),
    "tiny": (PrivateDistanceSum(bounds=BOUNDS, depth=6), {"eps": 1e-12}),
    "classes": (PrivateSimilarityClassifier(n_features=20), {"accountant": PrivacyAccountant(eps=0.5)}),
    "unnamed": (PrivateSimilarityClassifier(n_features=20), {"classes": ["near", "elsewhere"]}),
}


def ask(model, queries):
    if isinstance(model, PrivateSimilarityClassifier):
        return model.decision_function(queries)
    return np.concatenate([*model.query(queries, return_std=True), model.noise_std(queries), [model.n_rows_]])


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_release_changes_nothing(name, rows, queries, tmp_path):
    """What was paid for still answers; an estimator that was refused from the start is not fitted."""
    model, change = REFUSED[name]
    labels = np.where(rows[:, 0] > 0.3, "far", "near")
    frame = pandas.DataFrame(rows, columns=["a", "b", "c"])
    model = clone(model).fit(frame, labels)
    before, state = ask(model, frame), dict(vars(model))
    model.set_params(**change)
    with pytest.raises(InputError):
        model.fit(rows, labels)
    model.set_params(**{key: state[key] for key in change})
    np.testing.assert_array_equal(ask(model, frame), before)
    assert model.privacy_spent().epsilon == 1.0
    assert {key: id(value) for key, value in vars(model).items()} == {key: id(value) for key, value in state.items()}
    first = clone(model).set_params(**change)
    for call in (first.fit, first.partial_fit):
        with pytest.raises(InputError):
            call(frame, labels)
    assert set(vars(first)) == set(first.get_params())
    for use in (lambda: ask(first, rows), first.privacy_spent, lambda: first.save(tmp_path / "a.npz")):
        with pytest.raises(NotFittedError):
            use()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: PrivateKDE(lambda z: math.exp(-z)).fit(x), "fails on an array"),
        (lambda x: PrivateDistanceSum(lambda z: math.exp(-z), bounds=1.0).fit(x), "fails on an array"),
        (lambda x: PrivateDistanceSum(lambda z: 1.0, bounds=1.0).fit(x), "a finite number for every distance"),
        (lambda x: PrivateDistanceSum(lambda z: z * np.nan, bounds=1.0).fit(x), "a finite number for every distance"),
        (lambda x: PrivateDistanceSum(lambda z: 0 * z, bounds=1.0).fit(x), "0 everywhere"),
        (lambda x: PrivateKDE(lambda z: 1 / np.log(z + math.e)).fit(x), "falls too slowly"),
        (lambda x: reciprocal_exponentials(1), "'terms' is"),
        (lambda x: reciprocal_exponentials(8, 1.0, 0.0), "go upward"),
        (lambda x: ExponentialSum([1.0, 2.0], [2.0, -1.0]), "none below 0"),
        (lambda x: ExponentialSum([1.0], [2.0, 3.0]), "as many weights"),
        (lambda x: ExponentialSum(["fast"], [1.0]), "as many weights"),
        (lambda x: sum_of_exponentials(np.exp, tol=0.0), "'tol' and 'zmax'"),
        (lambda x: PrivateKDE(accountant="mine").fit(x), "'accountant' is"),
        (lambda x: PrivateKDE(eps=True).fit(x), "'eps' is"),
        (lambda x: PrivateKDE(delta=None).fit(x), "'delta' is"),
        (lambda x: PrivateKDE(bandwidth=1e-300).fit(x), "'bandwidth' is"),
    ],
)
def test_what_cannot_be_used_is_named(call, message, rows):
    with pytest.raises(InputError, match=message):
        call(rows)


def test_numbers_and_lists_of_any_kind(rows, queries, tmp_path):
    for eps in (np.int64(1), np.float32(1), Fraction(1)):
        model = PrivateKDE(ExponentialSum([1.0], [2]), eps=eps, n_features=20).fit(rows)
        assert PrivateKDE.load(model.save(tmp_path / "a.npz")).privacy_spent().epsilon == 1.0
    assert PrivateDistanceSum("lp", p=np.int64(2), bounds=BOUNDS, depth=4).fit(rows).n_rows_ > 1


def test_a_budget_without_delta_is_named(rows):
    """Epsilon is enough, and the message says so."""
    accountant = PrivacyAccountant(eps=10.0)
    model = PrivateKDE(delta=1e-6, noise="gaussian", n_features=20, accountant=accountant)
    with pytest.raises(InputError, match=r"too little delta .* Give the accountant delta=1e-06 or more"):
        model.fit(rows)


@pytest.mark.parametrize("kernel", [lambda z: 1 / (1 + z), lambda z: 1 / np.sqrt(1 + z), lambda z: 0.5 + np.exp(-z)])
def test_functions_are_met_at_every_distance(kernel):
    z = np.r_[0.0, np.geomspace(1e-4, 1e14, 4001)]
    assert np.abs(Similarity.of(kernel).profile(z) - kernel(z)).max() < 1.2e-3
