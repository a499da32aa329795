"""The jobs as the command line runs them, their pictures, and the embedded weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars
import pytest

from harmonia.core.errors import InputError
from harmonia.core.task import Job, jobs_in
from harmonia.core.weights import Checkpoint
from harmonia.media import Figure, Table
from harmonia.symmetry.location_encoder import maps, task
from harmonia.symmetry.location_encoder.encoder import LocationEncoder
from harmonia.symmetry.location_encoder.grid import Grid
from harmonia.symmetry.location_encoder.maps import LAND, WorldMap
from harmonia.symmetry.location_encoder.models import load_model
from harmonia.symmetry.location_encoder.points import random_points
from harmonia.symmetry.location_encoder.projections import EQUAL_EARTH, NORTH, SOUTH

FIT, PREDICT, EMBED = jobs_in(task)
QUICK = {"degree": "5", "hidden": "16", "epochs": "20", "resolution": "6"}


def places(count: int = 400) -> Table:
    points = random_points(count)
    return Table(
        polars.DataFrame(
            {
                "name": [f"p{i}" for i in range(count)],
                "Lng": points[:, 0],
                "Lat": points[:, 1],
                "temperature": 30 * np.cos(np.deg2rad(points[:, 1])),
                "half": np.where(points[:, 1] > 0, "north", "south"),
            }
        )
    )


@pytest.mark.parametrize(
    ("target", "goal", "score"), [("half", "auto", 0.9), ("temperature", "auto", 0.8), ("half", "presence", 0.8)]
)
def test_fit_then_predict(target: str, goal: str, score: float, tmp_path: Path) -> None:
    table = places()
    fitted = FIT.run({"points": table, "target": target, "goal": goal, **QUICK, "epochs": "60"})
    assert fitted["score"] > score
    scores = fitted["scores"].frame
    assert scores["latitude"][-1] == "all"
    assert scores["points"][:-1].sum() == scores["points"][-1] == 80
    model = fitted["model"].write(tmp_path / "model.safetensors")
    predicted = PREDICT.run({"points": table, "model": str(model), "resolution": "6"})
    frame = predicted["predictions"].frame
    assert frame.columns[:5] == table.names
    assert "prediction" in frame.columns
    written = FIT.save(fitted, tmp_path, "points")
    assert {path.suffix for path in written} == {".png", ".csv", ".safetensors"}


def test_baselines_and_blocks() -> None:
    fitted = FIT.run({"points": places(), "split": "blocks", "encoding": "wrap", "network": "linear", **QUICK})
    assert fitted["scores"].names == ["latitude", "points", "accuracy", "nearest_point", "commonest_class"]
    shown = FIT.run({"points": places(), "show": "north", **QUICK})
    assert isinstance(shown["map"], Figure)


def test_embed_with_embedded_weights_and_a_fitted_model(tmp_path: Path) -> None:
    table = places(50)
    features = EMBED.run({"points": table})["embeddings"]
    assert features.frame.shape == (50, 5 + 96)
    assert EMBED.run({"points": table})["embeddings"].frame.equals(features.frame)
    model = FIT.run({"points": places(), **QUICK})["model"].write(tmp_path / "model.safetensors")
    assert EMBED.run({"points": table, "weights": str(model)})["embeddings"].frame.width == 5 + 16


def test_embedded_weights_know_land_from_ocean() -> None:
    model = load_model(LAND)
    cities = [[2.35, 48.85], [-74.0, 40.75], [116.4, 39.9], [36.8, -1.3], [-30.0, 40.0], [150.0, 0.0], [0.0, 90.0]]
    assert model.predict(cities).tolist() == ["land"] * 4 + ["ocean"] * 3
    assert float(Checkpoint.read(LAND).metadata["accuracy"]) > 0.985
    assert len(maps.coastline()) > 50


def test_bad_tables_are_refused_with_the_column_and_row() -> None:
    good = places(30).frame
    cases: list[tuple[polars.DataFrame, dict[str, str], str]] = [
        (good.drop("Lng"), {}, "longitude"),
        (good, {"target": "halves"}, "Did you mean 'half'"),
        (good, {"target": "Lat"}, "learnt from itself"),
        (good.select("Lng", "Lat"), {}, "nothing to learn"),
        (good.with_columns(polars.lit(None).alias("half")), {}, "row 1"),
        (good.with_columns(polars.col("Lat") * 3), {}, "latitude"),
        (good.with_columns(polars.lit("word").alias("Lng")), {}, "no numbers"),
        (good.head(8), {}, "too few points"),
        (good.with_columns(polars.lit("x").alias("half")), {}, "one class"),
        (good, {"degree": "0"}, "out of range"),
        (good, {"encoding": "cube"}, "no such choice"),
        (good, {"show": "east", **QUICK}, "does not occur"),
    ]
    for frame, options, words in cases:
        with pytest.raises(InputError, match=words):
            FIT.run({"points": Table(frame), **options})
    with pytest.raises(InputError, match="no such file"):
        EMBED.run({"points": Table(good), "weights": "nothing.safetensors"})
    with pytest.raises(InputError, match="already has columns"):
        EMBED.run({"points": Table(good.rename({"name": "feature_3"}))})


def test_projections_invert() -> None:
    points = random_points(500)
    for projection in (EQUAL_EARTH, NORTH, SOUTH):
        x, y = projection.forward(*points.T)
        seen = np.isfinite(x)
        lon, lat = projection.inverse(x[seen], y[seen])
        np.testing.assert_allclose(lat, points[seen, 1], atol=1e-6)
        np.testing.assert_allclose(np.cos(np.deg2rad(lon - points[seen, 0])), 1, atol=1e-6)
        assert np.isnan(projection.inverse(np.array([9.0]), np.array([9.0]))[0]).all()


def test_a_map_of_many_classes_is_drawn() -> None:
    grid = Grid.of(10.0)
    shown = WorldMap(grid, np.arange(648).reshape(18, 36) % 40, "class", tuple(f"country {i}" for i in range(40)))
    figure = shown.draw("Forty classes", points=random_points(10))
    assert len(figure.axes) == 4


def test_jobs_are_described() -> None:
    assert [job.name for job in (FIT, PREDICT, EMBED)] == ["fit", "predict", "embed"]
    for job in (FIT, PREDICT, EMBED):
        assert isinstance(job, Job)
        assert all(parameter.field.help for parameter in job.parameters)
    assert LocationEncoder.from_checkpoint(LAND).config["degree"] == 40
