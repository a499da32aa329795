"""Estimators: learning, scikit-learn's conventions, species, priors, files, and every kind of bad input."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import polars
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks as checks

from harmonia.core.errors import InputError, WeightsError
from harmonia.symmetry import (
    GeoPriorCombiner,
    LocationClassifier,
    LocationRegressor,
    PresenceOnlySpeciesModel,
    SpatialBlocks,
    SphericalHarmonicsFeatures,
)
from harmonia.symmetry.location_encoder.models import load_model
from harmonia.symmetry.location_encoder.points import (
    area_weights,
    check_points,
    checkerboard,
    fibonacci_points,
    random_points,
)

FAST = {"degree": 6, "hidden": 32, "max_epochs": 40, "learning_rate": 3e-3}
X = random_points(1500)
TEST = random_points(1000, seed=9)


def belt(points: np.ndarray) -> np.ndarray:
    """Three classes that no straight line in degrees separates."""
    x, z = np.cos(np.deg2rad(points[:, 0])) * np.cos(np.deg2rad(points[:, 1])), np.sin(np.deg2rad(points[:, 1]))
    return np.where(z > 0.4, "north", np.where(x > 0, "near", "far"))


@pytest.fixture(scope="module")
def classifier() -> LocationClassifier:
    return LocationClassifier(**FAST).fit(X, belt(X))


@pytest.fixture(scope="module")
def regressor() -> LocationRegressor:
    return LocationRegressor(**FAST).fit(X, 100 + 20 * np.sin(np.deg2rad(X[:, 1])))


def test_classifier_learns_and_gives_probabilities(classifier: LocationClassifier) -> None:
    assert classifier.score(TEST, belt(TEST)) > 0.93
    probabilities = classifier.predict_proba(TEST)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    assert classifier.classes_.tolist() == ["far", "near", "north"]
    assert classifier.decision_function(TEST).shape == (1000, 3)


def test_two_classes_weights_and_validation_points() -> None:
    y = X[:, 1] > 0
    model = LocationClassifier(**FAST).fit(X, y, sample_weight=area_weights(X), X_val=TEST, y_val=TEST[:, 1] > 0)
    assert model.score(TEST, TEST[:, 1] > 0) > 0.95
    assert model.decision_function(TEST).shape == (1000,)
    assert model.predict(TEST).dtype == bool
    ignored = LocationClassifier(**FAST).fit(X, y, sample_weight=(X[:, 1] > -30).astype(float))
    counted = TEST[TEST[:, 1] > -30]
    assert ignored.score(counted, counted[:, 1] > 0) > 0.93


def test_regressor_learns_and_knows_where_it_does_not_know(regressor: LocationRegressor) -> None:
    assert regressor.score(TEST, 100 + 20 * np.sin(np.deg2rad(TEST[:, 1]))) > 0.98
    north = X[X[:, 1] > 0]
    model = LocationRegressor(**FAST).fit(north, np.cos(np.deg2rad(3 * north[:, 1])))
    _, sd = model.predict([[0.0, 45.0], [0.0, -45.0]], return_std=True)
    assert sd[1] > 2 * sd[0]
    two = LocationRegressor(**FAST).fit(X, X)
    assert two.predict(TEST).shape == (1000, 2)


def test_same_seed_same_predictions(classifier: LocationClassifier) -> None:
    again = LocationClassifier(**FAST).fit(X, belt(X))
    np.testing.assert_array_equal(again.predict_proba(TEST), classifier.predict_proba(TEST))
    other = LocationClassifier(**FAST, random_state=1).fit(X, belt(X))
    assert not np.array_equal(other.predict_proba(TEST), classifier.predict_proba(TEST))
    fcnet = [LocationClassifier(network="fcnet", **{**FAST, "max_epochs": 2}).fit(X, belt(X)) for _ in range(2)]
    np.testing.assert_array_equal(fcnet[0].predict_proba(TEST), fcnet[1].predict_proba(TEST))


def test_maps(classifier: LocationClassifier, regressor: LocationRegressor, tmp_path: Path) -> None:
    shown = classifier.predict_map(10.0)
    assert shown.values.shape == (18, 36)
    points = shown.grid.points()
    assert (classifier.classes_[shown.values.ravel().astype(int)] == classifier.predict(points)).all()
    north = classifier.predict_map(10.0, of="probability", label="north")
    np.testing.assert_allclose(north.values.ravel(), classifier.predict_proba(points)[:, 2], atol=1e-5)
    assert classifier.predict_map(10.0, of="entropy").values.min() >= 0
    np.testing.assert_allclose(regressor.predict_map(10.0).values.ravel(), regressor.predict(points), atol=1e-3)
    assert (regressor.predict_map(10.0, of="sd").values > 0).all()
    with np.load(shown.write(tmp_path / "map.npz")) as stored:
        assert stored["classes"].tolist() == ["far", "near", "north"]
        assert stored["values"].shape == (len(stored["latitude"]), len(stored["longitude"]))
    assert shown.write(tmp_path / "map.png").stat().st_size > 10_000
    with pytest.raises(InputError, match="kind of file"):
        shown.write(tmp_path / "map.tif")
    with pytest.raises(InputError, match="does not occur"):
        classifier.predict_map(10.0, of="probability", label="south")


def test_species_ranges_from_presence_alone() -> None:
    rng = np.random.default_rng(0)
    bears = X[X[:, 1] > 40]
    penguins = X[X[:, 1] < -40]
    points = np.concatenate([bears, penguins])
    names = np.array(["bear"] * len(bears) + ["penguin"] * len(penguins))
    order = rng.permutation(len(points))
    model = PresenceOnlySpeciesModel(**FAST).fit(points[order], names[order])
    north, equator, south = model.suitability([[10.0, 70.0], [10.0, 0.0], [10.0, -70.0]])
    assert north[0] > 0.5 > max(north[1], equator[0], equator[1])
    assert south[1] > 0.5 > south[0]
    assert (model.predict([[0.0, 70.0], [0.0, -70.0]]) == ["bear", "penguin"]).all()
    assert model.predict_map(15.0, species="bear").values.shape == (12, 24)
    assert model.predict_map(15.0).classes == ("bear", "penguin")
    with pytest.raises(InputError, match="not in the records"):
        model.predict_map(15.0, species="fox")
    combined = GeoPriorCombiner(model, ["bear", "penguin", "fox"]).combine([[0.4, 0.4, 0.2]], [[0.0, 75.0]])
    assert combined.argmax() == 0
    np.testing.assert_allclose(combined.sum(), 1)
    with pytest.raises(InputError, match="one column a class"):
        GeoPriorCombiner(model).combine([[1.0, 0.0, 0.0]], [[0.0, 0.0]])
    with pytest.raises(InputError, match="share no class"):
        GeoPriorCombiner(model, ["fox"])


def test_files(classifier: LocationClassifier, regressor: LocationRegressor, tmp_path: Path) -> None:
    again = load_model(classifier.checkpoint().write(tmp_path / "classes.safetensors"))
    np.testing.assert_array_equal(again.predict(TEST), classifier.predict(TEST))
    np.testing.assert_allclose(
        again.predict_map(30.0, of="entropy").values, classifier.predict_map(30.0, of="entropy").values, atol=1e-3
    )
    number = load_model(regressor.checkpoint().write(tmp_path / "numbers.safetensors"))
    for ours, expected in zip(number.predict(TEST, return_std=True), regressor.predict(TEST, return_std=True)):
        np.testing.assert_allclose(ours, expected, rtol=1e-3)
    path = classifier.encoder_.checkpoint().write(tmp_path / "encoder.safetensors")
    with pytest.raises(WeightsError, match="no fitted location model"):
        load_model(path)


@pytest.mark.parametrize(
    "estimator",
    [LocationClassifier(), LocationRegressor(), PresenceOnlySpeciesModel(), SphericalHarmonicsFeatures()],
    ids=lambda e: type(e).__name__,
)
@pytest.mark.parametrize(
    "check",
    [
        checks.check_estimator_cloneable,
        checks.check_estimator_repr,
        checks.check_no_attributes_set_in_init,
        checks.check_parameters_default_constructible,
        checks.check_get_params_invariance,
        checks.check_set_params,
        checks.check_estimators_unfitted,
        checks.check_fit1d,
        checks.check_complex_data,
        checks.check_n_features_in_after_fitting,
    ],
    ids=lambda c: c.__name__,
)
def test_scikit_learn_conventions(check: object, estimator: BaseEstimator) -> None:
    """The checks of scikit-learn that do not bring points with columns other than longitude and latitude."""
    name = type(estimator).__name__
    if check is checks.check_estimators_unfitted and not hasattr(estimator, "predict"):
        pytest.skip("a transformer that does not predict")
    if check is checks.check_n_features_in_after_fitting:
        fitted = clone(estimator).set_params(degree=2)
        fitted.fit(X[:50], X[:50, 0] > 0)
        assert fitted.n_features_in_ == 2
        return
    check(name, clone(estimator))  # type: ignore[operator]


def test_estimators_work_inside_scikit_learn() -> None:
    pipeline = make_pipeline(SphericalHarmonicsFeatures(degree=5), LogisticRegression(max_iter=500))
    assert cross_val_score(pipeline, X, belt(X), cv=SpatialBlocks(3, block=20.0)).mean() > 0.9
    assert pipeline.fit(X, belt(X))[0].get_feature_names_out()[1] == "Y_1_-1"
    fast = LocationClassifier(**{**FAST, "max_epochs": 8})
    assert cross_val_score(fast, X, belt(X), cv=2).mean() > 0.6


def test_spatial_blocks_keep_neighbours_together() -> None:
    blocks = SpatialBlocks(4, block=15.0)
    assert blocks.get_n_splits() == 4
    seen = np.concatenate([test for _, test in blocks.split(X)])
    assert sorted(seen) == list(range(len(X)))
    train, test = next(blocks.split(X))
    angles = np.rad2deg(np.arccos(np.clip(_unit(X[test]) @ _unit(X[train]).T, -1, 1))).min(1)
    shuffled = np.random.default_rng(0).permutation(len(X))
    at_random = np.rad2deg(
        np.arccos(np.clip(_unit(X[shuffled[: len(test)]]) @ _unit(X[shuffled[len(test) :]]).T, -1, 1))
    ).min(1)
    assert np.median(angles) > 1.5 * np.median(at_random)
    with pytest.raises(InputError, match="fewer occupied blocks"):
        next(SpatialBlocks(5, block=60.0).split(X[:1]))


def _unit(points: np.ndarray) -> np.ndarray:
    lon, lat = np.deg2rad(points).T
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)


def test_lattice_and_checkerboard_are_the_papers() -> None:
    phi = (1 + 5**0.5) / 2
    lattice = fibonacci_points(200)
    for i, (lon, lat) in zip((-100, -1, 0, 57, 99), lattice[[0, 99, 100, 157, 199]]):
        assert lat == pytest.approx(np.rad2deg(np.arcsin(2 * i / 201)))
        expected = (i % phi) * 360 / phi
        assert lon == pytest.approx(expected - 360 if expected > 180 else expected)
    assert (checkerboard(lattice) == np.arange(-100, 100) % 16).all()


def test_data_frames_and_the_order_of_columns() -> None:
    pandas = pytest.importorskip("pandas")
    y = X[:, 1] > 0
    frame = pandas.DataFrame(X[:300], columns=["lon", "lat"])
    model = LocationClassifier(**{**FAST, "max_epochs": 3}).fit(frame, y[:300])
    assert model.feature_names_in_.tolist() == ["lon", "lat"]
    with pytest.raises(ValueError, match="swapped"):
        model.predict(frame[["lat", "lon"]])
    near = frame[frame["lon"].abs() < 80]
    with pytest.raises(ValueError, match="feature names"):
        model.predict(near[["lat", "lon"]])
    by_polars = LocationClassifier(**{**FAST, "max_epochs": 3}).fit(polars.from_pandas(frame), y[:300])
    np.testing.assert_array_equal(by_polars.predict_proba(frame), model.predict_proba(frame))
    swapped = LocationClassifier(**{**FAST, "max_epochs": 3}, coordinate_order="latlon").fit(X[:300, ::-1], y[:300])
    np.testing.assert_array_equal(swapped.predict_proba(frame.to_numpy()[:, ::-1]), model.predict_proba(frame))


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([[0.0, 95.0], [10.0, 0.0]], "swapped"),
        ([[51.9, 105.6], [40.0, -120.0]], "swapped"),
        ([[0.0, 0.0], [120.0, 95.0]], "row 2"),
        ([[0.0, 0.0], [np.nan, 5.0], [3.0, np.inf]], "rows 2, 3"),
        ([[400.0, 0.0]], "longitudes run"),
        ([[-181.0, 0.0]], "longitudes run"),
        ([[0.0, 0.0, 0.0]], "two columns"),
        ([0.0, 0.0], "two columns"),
        (np.zeros((0, 2)), "no points"),
        ([["a", "b"]], "numbers in degrees"),
    ],
)
def test_bad_points_are_named_by_row(points: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_points(points)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=words):
        LocationClassifier().fit(points, np.zeros(len(points)))  # type: ignore[arg-type]


def test_longitudes_to_360_are_wrapped() -> None:
    np.testing.assert_allclose(check_points([[200.0, 10.0], [360.0, 0.0]]), [[-160.0, 10.0], [0.0, 0.0]])


def test_bad_targets_and_parameters() -> None:
    y = (X[:, 1] > 0).astype(object)
    missing = y.copy()
    missing[7] = None
    bad = ((y[:5], "one label"), (missing, "row 8"), (np.ones(len(X)), "one class"), (X[:, 0], "not classes"))
    for labels, words in bad:
        with pytest.raises(InputError, match=words):
            LocationClassifier().fit(X, labels)
    values = X[:, 0].copy()
    values[3] = np.nan
    for numbers, words in ((values, "row 4"), (X[:5, 0], "one value"), (belt(X), "not numbers")):
        with pytest.raises(InputError, match=words):
            LocationRegressor().fit(X, numbers)
    for weights in (np.ones(3), -np.ones(len(X)), np.zeros(len(X))):
        with pytest.raises(InputError, match="weights"):
            LocationRegressor().fit(X, X[:, 0], sample_weight=weights)
    for parameters in ({"val_fraction": 1.5}, {"learning_rate": -1.0}, {"max_epochs": 0}, {"batch_size": 0}):
        with pytest.raises(InputError, match=f"'{next(iter(parameters))}' is out of range"):
            LocationRegressor(**parameters).fit(X, X[:, 0])
    with pytest.raises(InputError, match="one without the other"):
        LocationRegressor().fit(X, X[:, 0], X_val=TEST)
    with pytest.raises(InputError, match="diverged"):
        LocationRegressor(network="linear", degree=3, learning_rate=1e30).fit(X, X[:, 0])


def test_a_linear_map_with_too_many_coefficients_warns() -> None:
    with pytest.warns(UserWarning, match="overfit"):
        LocationRegressor(network="linear", degree=12, max_epochs=1).fit(X[:50], X[:50, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LocationRegressor(network="linear", degree=4, max_epochs=1).fit(X, X[:, 0])
