"""The jobs end to end on small traces, the quick claims, the card, and bad input on the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from harmonia.core.claim import HOLDS, claims_in
from harmonia.core.errors import InputError
from harmonia.core.registry import find
from harmonia.core.task import find_job, jobs_in
from harmonia.data.traces import synthetic_trace
from harmonia.media import Series
from harmonia.sequences.harmony import claim, task
from harmonia.sequences.harmony.study import demand_column

JOBS = jobs_in(task)


@pytest.fixture(scope="module")
def trace():
    whole = synthetic_trace(0, days=5)
    return Series(whole.values[:, :2], whole.names[:2], whole.times)


@pytest.fixture(scope="module")
def planned(trace):
    options = {"steps": "8", "lookback": "48", "horizon": "6", "classical": "false"}
    return find_job(JOBS, "plan").run({"trace": trace, **options})


def test_plan(planned, tmp_path):
    rows = planned["plan"].frame
    assert rows.height == 6
    assert rows["units"][0] == planned["target"] >= 1
    assert ((rows["5%"] <= rows["50%"]) & (rows["50%"] <= rows["99%"])).all()
    assert (rows["p_violation"] <= 1).all()
    policies = dict(planned["policies"].frame.select("policy", "unused_hours").iter_rows())
    assert policies["oracle"] == min(policies.values())
    assert {"HPA at 70%", "VPA p90 + 15%", "static peak", "HARMONY at 1.0%"} <= set(policies)
    forecasters = planned["forecasts"].frame["forecaster"].to_list()
    assert {"HARMONY", "seasonal naive", "AR(12) ridge", "persistence"} <= set(forecasters)
    written = find_job(JOBS, "plan").save(planned, tmp_path, "t")
    assert sorted(path.suffix for path in written) == [".csv"] * 3 + [".png"] * 3


def test_fit_and_recommend(trace, tmp_path):
    fitted = find_job(JOBS, "fit").run({"traces": [trace], "lookback": "36", "horizon": "4", "epochs": "1"})
    weights = fitted["weights"].write(tmp_path / "weights.safetensors")
    found = find_job(JOBS, "recommend").run({"trace": trace, "weights": str(weights), "current": "9"})
    told = json.loads(found["recommendation"].text)
    assert told["target"] == found["target"]
    assert told["reason"] == found["reason"]
    with pytest.raises(InputError, match="does not predict"):
        find_job(JOBS, "recommend").run({"trace": trace, "weights": str(weights), "column": "load"})


def test_replay_writes_every_step(trace):
    found = find_job(JOBS, "replay").run({"trace": trace, "steps": "4", "horizon": "4"})
    steps = found["steps"].frame
    assert steps.height == len(trace) - int(2 / 3 * len(trace)) - 1
    assert "HPA at 70%" in steps.columns
    assert found["policies"].frame["violations"].is_between(0, 1).all()


def test_serve_stops_after_its_rounds(tmp_path):
    synthetic_trace(0, days=3).write(tmp_path / "a.csv")
    lines = ["workloads: [{name: a, unit: cores, unit_capacity: 1, demand: cpu, file: a.csv}]", "lookback: 36"]
    lines += ["horizon: 3", "steps: 4", f"state: {tmp_path / 'state'}"]
    (tmp_path / "c.yaml").write_text("\n".join(lines))
    given = {"config": str(tmp_path / "c.yaml"), "port": "0", "interval": "0s", "rounds": "2"}
    rows = find_job(JOBS, "serve").run(given)["recommendations"].frame
    assert rows["workload"].to_list() == ["a"]
    assert rows["desiredReplicas"][0] >= 1


def test_traces_without_dates_have_an_interval():
    values = 5 + 2 * np.sin(2 * np.pi * np.arange(400) / 24) + 0.1 * np.random.default_rng(0).standard_normal(400)
    found = task.plan(Series(values, ("calls",)), interval="1h", steps=4, horizon=3, lookback=24, classical=False)
    assert found["plan"].frame["time"].to_list() == [400.0, 401.0, 402.0]


def test_quick_claims_hold():
    for each in claims_in(claim):
        if each.tier == "quick":
            assert each.check(0).verdict in HOLDS, each.name


def test_full_claims_are_declared_with_their_bounds():
    full = [each for each in claims_in(claim) if each.tier == "full"]
    assert len(full) >= 12
    assert all(each.gate is not None for each in full)


def test_card():
    method = find("harmony")
    assert method.built
    assert {erratum.compat for erratum in method.card.errata} >= {'mask="zero"', "release"}


def test_demand_is_guessed_by_name(trace):
    assert demand_column(trace, "") == 1
    assert demand_column(Series(np.ones((3, 2)), ("a", "b")), "") == 1
    with pytest.raises(InputError, match="no such variable"):
        demand_column(trace, "gpu")


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "what"),
        [
            (lambda v: v[:60], "rows"),
            (lambda v: -v, "not negative"),
            (lambda v: np.ones_like(v), "constant"),
        ],
        ids=["short", "negative", "constant"],
    )
    def test_traces(self, trace, change, what):
        values = change(trace.values)
        with pytest.raises(InputError, match=what):
            task.plan(Series(values, trace.names, trace.times[: len(values)]), steps=1)

    def test_uneven_times(self, trace):
        times = trace.times.copy()
        times[-1] += np.timedelta64(1, "m")
        with pytest.raises(InputError, match="evenly"):
            task.plan(Series(trace.values, trace.names, times), steps=1)

    def test_constant_variables_are_left_out(self, trace):
        from harmonia.sequences.harmony.study import usable

        widened = Series(np.c_[trace.values, np.ones(len(trace))], (*trace.names, "limit"), trace.times)
        assert usable(widened).names == trace.names

    @pytest.mark.parametrize(
        ("words", "what"),
        [
            (["plan", "missing.csv"], "missing.csv"),
            (["plan", "--sla", "0.9"], "sla"),
            (["plan", "--distribution", "cauchy"], "cauchy"),
            (["serve", "--config", "missing.yaml"], "does not exist"),
        ],
        ids=["file", "sla", "distribution", "config"],
    )
    def test_on_the_command_line(self, words, what, monkeypatch, capsys):
        from harmonia.app import cli

        monkeypatch.setattr("sys.argv", ["harmonia", "run", "harmony", *words])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        said = capsys.readouterr()
        assert stopped.value.code == 2
        assert what in said.err + said.out
        assert "Traceback" not in said.err
