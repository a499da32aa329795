"""The jobs: numbers and classes in, intervals and probabilities out; quick claims hold; bad tables are refused."""

from __future__ import annotations

import numpy as np
import polars
import pytest

from harmonia.core.claim import HOLDS, claims_in
from harmonia.core.errors import InputError
from harmonia.core.registry import find
from harmonia.core.task import find_job, jobs_in
from harmonia.data.tables import diabetes, wine
from harmonia.kernels.scale_mixtures import claim, task
from harmonia.kernels.scale_mixtures.robustness import compare, split, with_outliers, with_shifted_inputs
from harmonia.media import Figure, Table

JOBS = jobs_in(task)


@pytest.fixture(scope="module")
def some():
    """Sixty patients; the last ten have no result."""
    frame = diabetes().frame.head(60)
    gaps = polars.when(polars.int_range(polars.len()) < 50).then(polars.col("progression"))
    return Table(frame.with_columns(gaps.alias("progression")))


@pytest.mark.parametrize("prior", ["invgamma", "burr", "gaussian"])
def test_numbers(some, prior, tmp_path):
    fitted = find_job(JOBS, "fit").run({"table": some, "depth": "1", "prior": prior})
    frame = fitted["predictions"].frame
    assert frame["role"].to_list() == ["left out"] * 50 + ["new"] * 10
    assert frame["log_density"].null_count() == 10
    assert (frame["5%"] < frame["50%"]).all()
    assert (frame["50%"] < frame["95%"]).all()
    known = frame.head(50)
    assert known["log_density"].mean() == pytest.approx(fitted["score"])
    inside = (known["5%"] < known["progression"]) & (known["progression"] < known["95%"])
    assert 0.75 < inside.mean() <= 1
    written = find_job(JOBS, "fit").save(fitted, tmp_path, "t")
    assert sorted(path.suffix for path in written) == [".csv", ".png", ".png", ".png"]


def test_classes():
    frame = wine().frame.with_columns(
        polars.when(polars.int_range(polars.len()) % 9 > 0).then(polars.col("class")).alias("class")
    )
    fitted = task.fit(Table(frame), depth=1, epochs=8)
    predictions = fitted["predictions"].frame
    new = predictions.filter(polars.col("role") == "new")
    assert (new["prediction"] == wine().frame["class"].gather((new["row"] - 1).to_list())).mean() > 0.9
    shares = predictions.select(polars.col("^probability of .*$"))
    np.testing.assert_allclose(shares.sum_horizontal().to_numpy(), 1)
    assert -1 < fitted["score"] < 0
    assert isinstance(fitted["calibration"], Figure)


def test_priors_are_compared(some):
    compared = find_job(JOBS, "priors").run({"table": some, "splits": "2", "depth": "1"})
    losses = compared["losses"].frame
    assert losses.shape == (12, 4)
    by = {(row["condition"], row["prior"]): row["loss"] for row in losses.iter_rows(named=True)}
    assert by["scale", "inverse gamma"] < by["clean", "inverse gamma"] + 0.2
    assert by["scale", "Gaussian"] > by["clean", "Gaussian"] + 1


def test_spoilt_data_are_spoilt_as_stated():
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((100, 5)), generator.standard_normal(100)
    clean = split(x, y, seed=0)
    assert len(clean.x) == 80
    np.testing.assert_allclose(clean.x.std(0), 1)
    moved = np.abs(with_outliers(clean, 0).y - clean.y)
    assert (moved > 9).sum() == 4
    shifted = with_shifted_inputs(clean, 0).test_x - clean.test_x
    assert sorted(shifted[0].round(9).tolist()) == [0, 0, 2, 2, 2]
    found = compare(x[:30], y[:30], [0], depth=1, conditions=("clean",))
    assert set(found["clean"]) == {"Gaussian", "inverse gamma", "Burr XII"}


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        ({"a": [1.0, 2.0], "y": [1.0, 2.0]}, {}, "too few rows"),
        ({"a": [1.0, None, 3.0, 4.0, 5.0], "y": [1.0, 2.0, 3.0, 4.0, 5.0]}, {}, "row 2"),
        ({"a": [1.0, 2.0, 3.0], "y": [1.0, 1.0, 1.0]}, {}, "nothing to learn"),
        ({"a": [1.0, 2.0, 3.0], "y": ["u", "v", "u"]}, {"goal": "regression"}, "no numbers"),
        ({"a": [1.0, 2.0, 3.0], "y": [1.0, 2.0, 4.0]}, {"target": "z"}, "no column 'z'"),
        ({"a": [1.0, 2.0, 3.0, 4.0, 5.0], "y": ["u", "v", "u", "v", "v"]}, {}, "every class"),
        ({"a": [1.0] * 3 + [2.0] * 3, "y": ["u", "v"] * 3}, {"prior": "burr"}, "inverse-gamma"),
    ],
)
def test_bad_tables(frame, options, message):
    with pytest.raises(InputError, match=message):
        task.fit(Table(polars.DataFrame(frame)), depth=1, **options)


def test_too_few_rows_to_compare():
    with pytest.raises(InputError, match="too few rows"):
        task.priors(Table(polars.DataFrame({"a": [1.0, 2.0, 3.0], "y": [1.0, 2.0, 4.0]})))


@pytest.mark.parametrize("measured", [c for c in claims_in(claim) if c.tier == "quick"], ids=lambda c: c.name[:40])
def test_quick_claims_hold(measured):
    assert measured.check().verdict in HOLDS


def test_card_is_complete():
    method = find("scale-mixtures")
    assert method.built
    assert len(method.card.errata) >= 4
    assert {peer.name for peer in method.card.peers} >= {"gpytorch"}
