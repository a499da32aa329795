"""Jobs of the location encoder: a map learnt from points, predictions of a model elsewhere, embeddings of places."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import polars
import torch
from numpy.typing import NDArray
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.core.task import Field
from harmonia.core.weights import Checkpoint, locate
from harmonia.data.maps import cities, land_ocean
from harmonia.media import Figure, Table
from harmonia.symmetry.location_encoder import figures
from harmonia.symmetry.location_encoder.classifier import LocationClassifier
from harmonia.symmetry.location_encoder.encoder import LocationEncoder
from harmonia.symmetry.location_encoder.encodings import EncodingName
from harmonia.symmetry.location_encoder.grid import Grid
from harmonia.symmetry.location_encoder.maps import LAND
from harmonia.symmetry.location_encoder.models import load_model
from harmonia.symmetry.location_encoder.places import Places, hold_out, nearest_rows, scores_by_latitude, target_of
from harmonia.symmetry.location_encoder.points import Points
from harmonia.symmetry.location_encoder.pretrained import load_geoclip, load_satclip
from harmonia.symmetry.location_encoder.regressor import LocationRegressor
from harmonia.symmetry.location_encoder.species import PresenceOnlySpeciesModel

NEIGHBOURS = 5
"""Nearest points whose mean is the rival of a regression; one nearest point is that of a classification."""

CITIES = 2000
"""Places of the embedded example."""


class Fitted(TypedDict):
    map: Annotated[Figure, Field("what was learnt, everywhere, with the score in bands of latitude")]
    uncertainty: Annotated[Figure, Field("where the model is unsure: standard deviation, or entropy of the classes")]
    scores: Annotated[Table, Field("score on held-out points by latitude, beside nearest neighbours and a constant")]
    score: Annotated[float, Field("accuracy, or R2 of numbers, on held-out points")]
    model: Annotated[Checkpoint, Field("the fitted model, for `predict`")]


class Predicted(TypedDict):
    predictions: Annotated[Table, Field("the table with a prediction, and its probability, for each row")]
    map: Annotated[Figure, Field("the model's map with the points on it")]


class Embedded(TypedDict):
    embeddings: Annotated[Table, Field("the table with one column for each feature")]
    map: Annotated[Figure, Field("the three main directions of the features as lightness and hues")]


def _land_or_ocean() -> Table:
    points = land_ocean(10_000, seed=0)
    return Table(
        polars.DataFrame(
            {
                "longitude": points.lonlat[:, 0],
                "latitude": points.lonlat[:, 1],
                "land_or_ocean": np.where(points.land, "land", "ocean"),
            }
        )
    )


def _large_cities() -> Table:
    return Table(cities().frame.head(CITIES))


def fit(
    points: Annotated[Table, Field("places with longitude, latitude and what is to be learnt", example=_land_or_ocean)],
    *,
    target: Annotated[str, Field("column to learn; the last one unless given")] = "",
    lon: Annotated[str, Field("column of longitudes in degrees; found by name unless given")] = "",
    lat: Annotated[str, Field("column of latitudes in degrees; found by name unless given")] = "",
    goal: Annotated[
        Literal["auto", "classes", "numbers", "presence"],
        Field("auto: words are classes; presence: records of species, without absences"),
    ] = "auto",
    show: Annotated[str, Field("class or species whose probability is mapped; all unless given")] = "",
    encoding: Annotated[EncodingName, Field("sh is the paper's; the others are its baselines")] = "sh",
    network: Annotated[Literal["siren", "fcnet", "linear"], Field("network on top of the encoding")] = "siren",
    degree: Annotated[int, Field("degrees of the harmonics; details are about 180 / degree", ge=1, le=200)] = 12,
    hidden: Annotated[int, Field("units of a hidden layer", ge=1, le=2048)] = 64,
    epochs: Annotated[int, Field("most passes over the points", ge=1, le=10_000)] = 500,
    test: Annotated[float, Field("share of the points that is held out for the score", gt=0, lt=0.9)] = 0.2,
    split: Annotated[
        Literal["random", "blocks"], Field("blocks holds out whole regions: how well the map fills gaps")
    ] = "random",
    resolution: Annotated[float, Field("width of a map cell", unit="degrees", ge=0.1, le=10)] = 0.5,
    seed: Annotated[int, Field("random seed", ge=0)] = 0,
) -> Fitted:
    """Learn a map of the whole Earth from points with labels or numbers.

    The model is a smooth function on the sphere without seams or poles: spherical harmonics of the place, and a small
    sinusoidal network. It is tested on points that were held out, beside the nearest training points and the best
    constant.
    """
    places = Places.of(points, lon, lat)
    column = target_of(points, places, target)
    kind = goal if goal != "auto" else "numbers" if column.dtype.is_float() or _many_integers(column) else "classes"
    train, held_out = hold_out(places.points, test, split, seed)
    if len(train) < 10:
        raise InputError("there are too few points to learn from", len(train), "Give at least a dozen.")
    options: dict[str, Any] = {
        "encoding": encoding,
        "network": network,
        "degree": degree,
        "hidden": hidden,
        "max_epochs": epochs,
        "random_state": seed,
    }
    say(f"Learning from {len(train):,} points; {len(held_out):,} are held out.")
    learn, at = places.points[train], places.points[held_out]
    model: LocationClassifier | LocationRegressor | PresenceOnlySpeciesModel
    if kind == "numbers":
        values = points.numeric([column.name])[:, 0]
        model = LocationRegressor(**options).fit(learn, values[train])
        squares, score = _squared_errors(model, learn, at, values[train], values[held_out])
        scores = scores_by_latitude(at, squares, root=True)
        shown = replace(model.predict_map(resolution), label=column.name)
        unsure = model.predict_map(resolution, of="sd")
        verdict = f"{score:.0%} of the variance at held-out points"
    else:
        labels = column.cast(polars.String).to_numpy().astype(str)
        model = (PresenceOnlySpeciesModel if kind == "presence" else LocationClassifier)(**options)
        model.fit(learn, labels[train])
        hits = _hits(model, learn, at, labels[train], labels[held_out])
        score = float(hits["accuracy"].mean())
        scores = scores_by_latitude(at, hits)
        verdict = f"{score:.1%} right at held-out points"
        if isinstance(model, PresenceOnlySpeciesModel):
            shown = unsure = model.predict_map(resolution, species=show or None)
        else:
            wanted = {"of": "probability", "label": show} if show else {}
            shown, unsure = model.predict_map(resolution, **wanted), model.predict_map(resolution, of="entropy")
    name = (show or column.name).replace("_", " ")
    title = f"{name[:1].upper()}{name[1:]}, learnt from {len(train):,} points: {verdict}"
    error = "root mean square error" if kind == "numbers" else ""
    return {
        "map": Figure(shown.draw(title, beside=figures.bars_by_latitude(scores, error))),
        "uncertainty": Figure(unsure.draw(f"Where the map of {name} is unsure")),
        "scores": scores,
        "score": score,
        "model": model.checkpoint(),
    }


def predict(
    points: Annotated[Table, Field("places with longitude and latitude", example=_large_cities)],
    model: Annotated[Checkpoint, Field("a model that `fit` wrote", example=lambda: Checkpoint.read(LAND))],
    *,
    lon: Annotated[str, Field("column of longitudes; found by name unless given")] = "",
    lat: Annotated[str, Field("column of latitudes; found by name unless given")] = "",
    resolution: Annotated[float, Field("width of a map cell", unit="degrees", ge=0.1, le=10)] = 0.5,
) -> Predicted:
    """Apply a fitted model to other places."""
    places, fitted = Places.of(points, lon, lat), load_model(model)
    columns: dict[str, NDArray[Any]] = {"prediction": np.asarray(fitted.predict(places.points))}
    if isinstance(fitted, LocationClassifier):
        columns["probability"] = fitted.predict_proba(places.points).max(1)
    elif isinstance(fitted, LocationRegressor) and fitted.single_output_:
        columns["deviation"] = fitted.predict(places.points, return_std=True)[1]
    frame = points.frame.with_columns(polars.Series(name, values) for name, values in columns.items())
    shown = fitted.predict_map(resolution)
    title = f"{len(places.points):,} places on the model's map"
    return {"predictions": Table(frame), "map": Figure(shown.draw(title, points=places.points[:5000]))}


def embed(
    points: Annotated[Table, Field("places with longitude and latitude", example=_large_cities)],
    *,
    weights: Annotated[
        str, Field("embedded, geoclip, a model of `fit`, a SatCLIP .ckpt, or hub:microsoft/SatCLIP-ViT16-L40")
    ] = "embedded",
    lon: Annotated[str, Field("column of longitudes; found by name unless given")] = "",
    lat: Annotated[str, Field("column of latitudes; found by name unless given")] = "",
) -> Embedded:
    """Give each place learnt features, for another model to use.

    ``embedded`` is a small network that was trained to tell land from ocean; ``geoclip`` (512 features, from the
    package geoclip) and SatCLIP (256) were trained on photographs and satellite images and know far more of a place.
    """
    places = Places.of(points, lon, lat)
    encode = _encoder(weights)
    features = _rows(encode, places.points)
    names = [f"feature_{i}" for i in range(features.shape[1])]
    taken = set(names) & set(points.names)
    if taken:
        raise InputError("the table already has columns of features", sorted(taken)[0], "Drop or rename them.")
    frame = polars.concat([points.frame, polars.DataFrame(features, schema=names)], how="horizontal")
    grid = Grid.of(2.0 if weights == "geoclip" else 1.0)
    world = _rows(encode, grid.points())
    title = f"What the encoder tells apart ({features.shape[1]} features)"
    return {
        "embeddings": Table(frame),
        "map": Figure(figures.false_colours(grid, world, title, places.points[:5000])),
    }


JOBS = (fit, predict, embed)


def _many_integers(column: polars.Series) -> bool:
    return column.dtype.is_integer() and column.n_unique() > max(20, 0.05 * len(column))


def _hits(
    model: Any, train: Points, test: Points, known: NDArray[Any], truth: NDArray[Any]
) -> dict[str, NDArray[np.float64]]:
    """Hits of the model, of the nearest training point and of the commonest class."""
    names, counts = np.unique(known, return_counts=True)
    return {
        "accuracy": (model.predict(test) == truth).astype(float),
        "nearest_point": (known[nearest_rows(train, test, 1)[:, 0]] == truth).astype(float),
        "commonest_class": (names[counts.argmax()] == truth).astype(float),
    }


def _squared_errors(
    model: LocationRegressor, train: Points, test: Points, known: NDArray[np.float64], truth: NDArray[np.float64]
) -> tuple[dict[str, NDArray[np.float64]], float]:
    """Squared errors of the model, of the mean of the nearest points and of the mean; and R2."""
    neighbours = known[nearest_rows(train, test, NEIGHBOURS)].mean(1)
    squares = {
        "rmse": (model.predict(test) - truth) ** 2,
        f"nearest_{NEIGHBOURS}_points": (neighbours - truth) ** 2,
        "mean": (known.mean() - truth) ** 2,
    }
    spread = float(np.square(truth - truth.mean()).mean())
    return squares, 1 - float(squares["rmse"].mean()) / spread if spread > 0 else 0.0


def _encoder(weights: str) -> Callable[[Tensor], Tensor]:
    """The output of an encoder that was trained for features, or the last hidden layer of a fitted model."""
    if weights == "geoclip":
        return load_geoclip().encode
    if weights.endswith((".ckpt", ".pth")) or weights.startswith("hub:"):
        return load_satclip(weights).encode
    checkpoint = Checkpoint.read(locate(weights, embedded=LAND))
    encoder = LocationEncoder.from_checkpoint(checkpoint)
    return encoder.encode_hidden if "estimator" in checkpoint.metadata else encoder.encode


def _rows(encode: Callable[[Tensor], Tensor], points: Points) -> NDArray[np.float32]:
    return encode(torch.from_numpy(points)).to(torch.float32).numpy()
