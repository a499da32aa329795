"""The jobs: tables of numbers and classes, functions, a network made smaller; bad tables are refused; claims hold."""

from __future__ import annotations

import numpy as np
import polars
import pytest

from harmonia.core.claim import HOLDS
from harmonia.core.errors import InputError
from harmonia.core.task import find_job, jobs_in
from harmonia.data.tables import diabetes, wine
from harmonia.kernels.snnk import comparison, compression, task
from harmonia.kernels.snnk.claims import adapters, laws
from harmonia.media import Table

JOBS = jobs_in(task)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(task, "WIDTHS", (16, 64))
    monkeypatch.setattr(comparison, "EPOCHS", 5)
    monkeypatch.setattr(task, "trials", lambda split, seed: comparison.trials(split, seed, (16, 64), (4, 8)))


def test_numbers(tmp_path):
    frame = diabetes().frame
    gaps = polars.when(polars.int_range(polars.len()) < 400).then(polars.col("progression"))
    table = Table(frame.with_columns(gaps.alias("progression")))
    fitted = find_job(JOBS, None).run({"table": table})
    rows = fitted["predictions"].frame
    assert rows["role"].to_list() == ["left out"] * 400 + ["new"] * 42
    assert rows["prediction"].null_count() == 0
    assert fitted["score"] > 0.4
    truth = frame["progression"][400:].to_numpy()
    assert np.corrcoef(rows["prediction"][400:].to_numpy(), truth)[0, 1] > 0.6
    models = fitted["models"].frame
    assert set(models["model"]) == {
        comparison.ONE,
        comparison.TWO,
        comparison.NARROW,
        comparison.FOURIER,
        comparison.LINEAR,
    }
    assert models.filter(polars.col("model") == comparison.ONE)["parameters"].to_list() == [17, 65]
    written = find_job(JOBS, None).save(fitted, tmp_path, "t")
    assert sorted(path.suffix for path in written) == [".csv", ".csv", ".png", ".png", ".png"]


def test_classes_without_comparison():
    frame = wine().frame.with_columns(
        polars.when(polars.int_range(polars.len()) % 9 > 0).then(polars.col("class")).alias("class")
    )
    fitted = task.fit(Table(frame), features=64, depth=3, compare=False)
    predictions = fitted["predictions"].frame
    new = predictions.filter(polars.col("role") == "new")
    assert (new["prediction"] == wine().frame["class"].gather((new["row"] - 1).to_list())).mean() > 0.9
    shares = predictions.select(polars.col("^probability of .*$"))
    np.testing.assert_allclose(shares.sum_horizontal().to_numpy(), 1)
    assert fitted["score"] > 0.94
    assert fitted["parameters"] == 3 * 65


def test_a_function():
    shown = find_job(JOBS, "kernel").run({"function": "sin", "features": "256", "draws": "6", "length": "0.7"})
    assert shown["estimates"].frame.columns == ["z", "sin", "mean", "deviation"]
    assert 0 < shown["error"] < 0.15


def test_a_network_made_smaller(monkeypatch):
    monkeypatch.setattr("harmonia.kernels.snnk.compression.EPOCHS", 30)
    smaller = find_job(JOBS, "compress").run({"table": wine(), "hidden": "32,16"})
    frame = smaller["models"].frame
    assert frame["features"].to_list() == [0, 16, 32, 64, 128, 256, 512]
    assert frame["accuracy"][-1] > frame["accuracy"][0] - 0.08
    assert frame["error of layer 1"][1] > frame["error of layer 1"][-1]


@pytest.mark.parametrize(("often", "rare"), [("a" * 10, "b" * 2), ("a" * 8, "bbccddeeffgghhii")])
def test_every_class_has_rows_to_learn_from(often, rare):
    kinds = list(often + rare)
    table = Table(polars.DataFrame({"x": np.sin(np.arange(len(kinds))), "kind": kinds}))
    for seed in range(12):
        split = task._Data.of(table, "", "auto").split(seed)
        assert set(split.y) == set(kinds)
    trained = compression.compress(split, [4], [16])
    assert all(0 <= one.score <= 1 for one in trained)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (
            {"features": 8192, "table": Table(polars.DataFrame({"x": np.arange(9000.0), "y": np.arange(9000.0)}))},
            "many",
        ),
        ({"table": Table(polars.DataFrame({"x": [1.0, 2.0], "y": [1.0, 2.0]}))}, "too few rows"),
        ({"table": Table(polars.DataFrame({"x": np.arange(20.0), "y": ["a"] * 19 + ["b"]}))}, "two rows"),
        ({"table": Table(polars.DataFrame({"x": [None, *np.arange(19.0)], "y": np.arange(20.0)}))}, "no number"),
        ({"target": "nothing", "table": Table(polars.DataFrame({"x": [1.0], "y": [2.0]}))}, "no column"),
    ],
    ids=["large", "few", "rare", "missing", "unknown"],
)
def test_bad_tables(given, match):
    with pytest.raises(InputError, match=match):
        find_job(JOBS, "fit").run(given)


def test_bad_options():
    with pytest.raises(InputError, match="hidden layers"):
        find_job(JOBS, "compress").run({"table": wine(), "hidden": "many"})
    with pytest.raises(InputError, match="no such choice"):
        find_job(JOBS, "kernel").run({"function": "what"})


@pytest.mark.parametrize(
    "claim",
    [
        laws.relu_mean,
        laws.generalised_second_moment,
        laws.bundling_is_exact,
        laws.forgetting_is_exact,
        adapters.adapter_size,
    ],
    ids=lambda claim: claim.name[:30],
)
def test_quick_claims(claim):
    assert claim.check().verdict in HOLDS
