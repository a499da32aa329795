"""The jobs: tables of numbers and of classes in, predictions, a diagnosis and pictures out; claims hold."""

from __future__ import annotations

import numpy as np
import polars
import pytest
from typer.testing import CliRunner

from harmonia.core.claim import HOLDS, claims_in
from harmonia.core.errors import InputError
from harmonia.core.progress import Silent, watched
from harmonia.core.registry import find
from harmonia.core.task import find_job, jobs_in
from harmonia.data.tables import wine
from harmonia.kernels.self_distillation import claim, table_model, task
from harmonia.kernels.self_distillation.toy import toy
from harmonia.media import Figure, Table

JOBS = jobs_in(task)


class Heard(Silent):
    def __init__(self) -> None:
        self.words: list[str] = []

    def say(self, message: str) -> None:
        self.words.append(message)


def sine(rows=60, gaps=6):
    """A noisy sine; the last rows have no target."""
    generator = np.random.default_rng(0)
    x = generator.uniform(-3, 3, rows)
    y = np.sin(2 * x) + 0.3 * generator.standard_normal(rows)
    known = np.arange(rows) < rows - gaps
    word = np.where(x > 0, "right", "left")
    return Table(polars.DataFrame({"x": x, "side": word, "y": [v if k else None for v, k in zip(y, known)]}))


def test_a_table_of_numbers(tmp_path):
    heard = Heard()
    with watched(heard):
        found = find_job(JOBS, "distil").run({"table": sine(), "target": "y", "gamma": "2"})
    assert found["diagnosis"] in heard.words
    frame = found["predictions"].frame
    assert frame.columns == ["row", "y", "ordinary", "distilled", "role"]
    assert frame["role"].to_list() == ["left out"] * 54 + ["new"] * 6
    assert frame["y"].null_count() == 6
    truth = np.sin(2 * sine().numeric(["x"])[:, 0])
    assert np.corrcoef(frame["distilled"], truth)[0, 1] > 0.9
    assert found["score"] > 0.6
    left_out = frame.filter(polars.col("role") == "left out")
    residual = left_out["y"] - left_out["distilled"]
    assert found["score"] == pytest.approx(
        1 - residual.pow(2).sum() / (left_out["y"] - left_out["y"].mean()).pow(2).sum()
    )
    steps = found["steps"].frame
    assert steps["step"].to_list() == [1, 2, 3]
    assert steps["held_out_error"][1] <= steps["held_out_error"][0]
    written = find_job(JOBS, "distil").save(found, tmp_path, "sine")
    assert sorted(path.suffix for path in written) == [".csv"] * 2 + [".png"] * 4


@pytest.mark.parametrize(("lam", "word"), [(1e-4, "under-regularised"), (30.0, "over-regularised")])
def test_a_wrong_penalty_is_told_and_repaired(lam, word):
    found = task.distil(sine(), target="y", gamma=2.0, lam=lam)
    assert word in found["diagnosis"]
    assert found["penalty"] == lam
    assert found["score"] > found["ordinary_score"]


def test_a_table_of_classes():
    frame = wine().frame.with_columns(
        polars.when(polars.int_range(polars.len()) % 9 == 0).then(None).otherwise(polars.col("class")).alias("class")
    )
    found = task.distil(Table(frame), target="class")
    predictions = found["predictions"].frame
    new = predictions.filter(polars.col("role") == "new")
    assert (new["distilled"] == wine().frame["class"].gather((new["row"] - 1).to_list())).mean() > 0.9
    assert found["score"] > 0.95
    numbers = wine().frame.with_columns(polars.col("class").str.slice(6).cast(polars.Int64))
    assert task.distil(Table(numbers), target="class", goal="classification")["score"] > 0.95


def test_words_alone_and_a_given_weight():
    generator = np.random.default_rng(0)
    colour = generator.choice(["red", "green", "blue"], 40)
    table = Table(polars.DataFrame({"colour": colour, "y": (colour == "red") + 0.1 * generator.standard_normal(40)}))
    found = task.distil(table, alpha=0.0, steps=2)
    assert found["steps"].frame["weight"].to_list() == [1.0, 0.0]
    assert found["ordinary_score"] > 0.9


def test_many_rows_are_approximated(monkeypatch):
    monkeypatch.setattr(table_model, "MOST_EXACT", 90)
    heard = Heard()
    with watched(heard):
        found = task.distil(sine(200, 0), target="y", gamma=2.0)
    assert any("approximated from 30 of 200" in words for words in heard.words)
    assert found["score"] > 0.7


def test_the_example_is_the_papers():
    found = find_job(JOBS, "example").run({"alpha": "0.25"})
    errors = found["errors"].frame
    assert errors["alpha_0.25"].to_list() == [0.16477, 0.15309, 0.14958, 0.14903, 0.14946, 0.15011, 0.1525]
    assert errors["alpha_0"][6] == pytest.approx(np.square(toy().truth).mean(), abs=1e-5)
    assert isinstance(found["fits"], Figure)


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        ({"a": [1.0] * 5, "y": [1.0, 2.0, 3.0, 4.0, 5.0]}, {}, "too few rows"),
        ({"a": [1.0, None] * 6, "y": [1.0, 2.0] * 6}, {}, "row 2"),
        ({"a": [1.0, 2.0] * 6, "y": [1.0] * 12}, {}, "nothing to learn"),
        ({"a": [1.0, 2.0] * 6, "y": ["u", "v"] * 6}, {"goal": "regression"}, "no numbers"),
        ({"a": [1.0, 2.0] * 6, "y": [1.0, 2.0] * 6}, {"target": "z"}, "no column 'z'"),
        ({"y": [1.0, 2.0] * 6}, {}, "no column to learn from"),
    ],
)
def test_bad_tables(frame, options, message):
    with pytest.raises(InputError, match=message):
        task.distil(Table(polars.DataFrame(frame)), **options)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--lam", "0"], "out of range"),
        (["--alpha", "1.5"], "out of range"),
        (["--steps", "1"], "out of range"),
        (["--steps", "many"], "whole number"),
        (["--target", "zzz"], "no column"),
        (["missing.csv"], "missing.csv"),
    ],
)
def test_bad_words_on_the_command_line(words, message, tmp_path):
    from harmonia.app.cli import app

    result = CliRunner().invoke(app, ["run", "self-distillation", *words, "--out", str(tmp_path)])
    assert result.exit_code != 0
    told = result.output + str(result.exception)
    assert message in " ".join(told.split())
    assert "Traceback" not in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "measured", [one for one in claims_in(claim) if one.tier == "quick"], ids=lambda one: one.name[:50]
)
def test_quick_claims_hold(measured):
    assert measured.check().verdict in HOLDS


def test_card_is_complete():
    method = find("self-distillation")
    assert method.built
    assert len(method.card.errata) >= 3
    assert {peer.name for peer in method.card.peers} >= {"scikit-learn"}
