"""The jobs: tables of every kind in, predictions and figures out; what cannot be learnt is said."""

from __future__ import annotations

import math

import numpy as np
import polars
import pytest

from harmonia.core.claim import HOLDS, claims_in
from harmonia.core.errors import InputError
from harmonia.core.progress import Silent, watched
from harmonia.core.registry import find
from harmonia.core.task import find_job, jobs_in
from harmonia.data.tables import wine
from harmonia.kernels.ntk import claim, task
from harmonia.kernels.ntk.finite import loglog_slope
from harmonia.kernels.ntk.networks import ACTIVATIONS, as_network, mlp, scales
from harmonia.media import Figure, Table

QUICK = {"width": 16, "steps": 3}
JOBS = jobs_in(task)


class Heard(Silent):
    def __init__(self) -> None:
        self.words: list[str] = []

    def say(self, message: str) -> None:
        self.words.append(message)


@pytest.fixture
def mixed():
    """Numbers, words, names and gaps; the last rows have no target."""
    generator = np.random.default_rng(0)
    number = generator.standard_normal(24)
    word = generator.choice(["red", "green"], 24)
    target = [float(v) + (w == "red") if i < 20 else None for i, (v, w) in enumerate(zip(number, word))]
    return Table(
        polars.DataFrame(
            {"number": number, "word": word, "name": [f"row {i}" for i in range(24)], "flag": number > 0, "y": target}
        )
    )


def test_regression_predicts_new_rows_and_leaves_out_known_ones(mixed, tmp_path):
    heard = Heard()
    with watched(heard):
        fitted = find_job(JOBS, "fit").run({"table": mixed, **QUICK})
    assert any("name" in words and "Left out" in words for words in heard.words)
    frame = fitted["predictions"].frame
    assert frame.columns == ["row", "y", "prediction", "low", "high", "spread", "role"]
    assert frame["role"].to_list() == ["left out"] * 20 + ["new"] * 4
    assert frame["y"].null_count() == 4
    assert (
        frame.select((polars.col("low") < polars.col("prediction")) & (polars.col("prediction") < polars.col("high")))
        .to_series()
        .all()
    )
    truth = mixed.column("number").to_numpy() + (mixed.column("word").to_numpy() == "red")
    assert np.corrcoef(frame["prediction"].to_numpy()[20:], truth[20:])[0, 1] > 0.9
    assert fitted["score"] > 0.7
    written = find_job(JOBS, "fit").save(fitted, tmp_path, "ntk")
    assert {path.suffix for path in written} == {".csv", ".png"}
    assert len(written) == 6


def test_classification_gives_shares(mixed):
    table = wine()
    frame = table.frame.with_columns(
        polars.when(polars.int_range(polars.len()) % 9 == 0).then(None).otherwise(polars.col("class")).alias("class")
    )
    fitted = task.fit(Table(frame), depth=1, time=math.inf, **QUICK)
    predictions = fitted["predictions"].frame
    new = predictions.filter(polars.col("role") == "new")
    right = (new["prediction"] == table.frame["class"].gather((new["row"] - 1).to_list())).mean()
    assert right > 0.9
    assert fitted["score"] > 0.93
    assert fitted["time"] == math.inf
    shares = predictions.select(polars.col("^share of .*$"))
    np.testing.assert_allclose(shares.sum_horizontal().to_numpy(), 1)


def test_same_seed_same_predictions(mixed):
    first, second = (task.fit(mixed, seed=3, **QUICK)["predictions"].frame for _ in range(2))
    assert first.equals(second)


def test_kernel_of_a_table():
    looked = find_job(JOBS, "kernel").run({"table": wine(), "target": "class", "depth": "1"})
    assert looked["matrix"].frame.shape == (178, 178)
    assert looked["condition"] > 1
    assert 0.2 < looked["alignment"] < 1
    assert isinstance(looked["picture"], Figure)
    small = Table(polars.DataFrame({"a": [1.0, 2.0, 4.0]}))
    assert math.isnan(task.kernel(small)["alignment"])


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        ({"a": [1.0, 2.0], "y": [1.0, 2.0]}, {}, "too few rows"),
        ({"a": [1.0, None, 3.0, 4.0], "y": [1.0, 2.0, 3.0, 4.0]}, {}, "row 2"),
        ({"a": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 1.0, 1.0, 1.0]}, {}, "nothing to learn"),
        ({"a": [1.0, 2.0, 3.0, 4.0], "y": ["u", "v", "u", "v"]}, {"goal": "regression"}, "no numbers"),
        ({"a": [1.0, 2.0, 3.0, 4.0], "y": [1.0, 2.0, 3.0, 4.0]}, {"target": "z"}, "no column 'z'"),
        ({"y": [1.0, 2.0, 3.0, 4.0]}, {}, "no column to learn from"),
        ({"a": [1.0, 1.0, 2.0, 3.0], "y": [1.0, 2.0, 3.0, 4.0]}, {"ridge": 0.0, "time": math.inf}, "rows 0 and 1"),
    ],
)
def test_bad_tables(frame, options, message):
    with pytest.raises(InputError, match=message):
        task.fit(Table(polars.DataFrame(frame)), **options, **QUICK)


def test_target_with_gaps_cannot_order_a_kernel():
    with pytest.raises(InputError, match="gaps"):
        task.kernel(Table(polars.DataFrame({"a": [1.0, 2.0, 3.0], "y": [1.0, 2.0, None]})), target="y")


def test_large_kernels_are_no_tables():
    with pytest.raises(InputError, match="no sensible table"):
        task.kernel(Table(polars.DataFrame({"a": np.arange(3001.0)})))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_makes_a_network(activation):
    import torch

    kernel = mlp(2, activation).kernel(torch.eye(3, dtype=torch.float64), get="ntk")
    assert kernel.isfinite().all()
    assert torch.linalg.eigvalsh(kernel).min() > 0
    assert mlp(2, activation).to_torch(8, (3,))(torch.zeros(1, 3)).isfinite().all()


def test_networks():
    import torch
    from torch import nn

    assert scales("relu", b_std=0.0)[1] == 0.0
    lifted = as_network(nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 1)))
    assert lifted.kernel(torch.eye(3), get="nngp").shape == (3, 3)
    with pytest.raises(InputError, match="activation"):
        mlp(1, "swish?")
    assert loglog_slope([1, 10], [1.0, 100.0]) == pytest.approx(2)


INSTANT = (
    claim.kernels_are_golden,
    claim.convolutions_are_golden,
    claim.predictions_are_golden,
    claim.kernel_is_positive,
    claim.quadratic_kernel_is_degenerate,
    claim.digits_are_classified,
)
LONGER = [one for one in claims_in(claim) if one.tier == "quick" and one not in INSTANT]


@pytest.mark.parametrize(
    "measured",
    [*INSTANT, *(pytest.param(one, marks=pytest.mark.slow) for one in LONGER)],
    ids=lambda one: one.name[-50:],
)
def test_quick_claims_hold(measured):
    assert measured.check().verdict in HOLDS


def test_card_is_complete():
    method = find("ntk")
    assert method.built
    assert len(method.card.errata) >= 4
    assert {peer.name for peer in method.card.peers} >= {"neural-tangents", "scikit-ntk"}
