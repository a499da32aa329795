"""The jobs end to end on small traces, the quick claims, the card, and bad input on the command line."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from harmonia.core.claim import HOLDS, claims_in
from harmonia.core.errors import InputError
from harmonia.core.progress import watched
from harmonia.core.registry import find
from harmonia.core.task import find_job, jobs_in
from harmonia.data.traces import synthetic_trace
from harmonia.media import Series
from harmonia.sequences.harmony import claim, task
from harmonia.sequences.harmony.study import demand_column
from harmonia.sequences.harmony.trace import read_trace

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
    assert (rows["p_above_usable_capacity"] <= 1).all()
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
    assert found["policies"].frame["violations_above_capacity"].is_between(0, 1).all()


def test_costs_and_limits_reach_every_job(trace):
    """Shortage that is dear asks for more; bounds hold for the method and its rivals alike."""
    small = {"trace": trace, "steps": "4"}
    dear, cheap = (
        find_job(JOBS, "recommend").run({**small, "cost_under": price})["target"] for price in ("5000", "1.1")
    )
    assert dear > cheap
    bounds = {"min_units": "9", "max_units": "12", "max_step": "1"}
    assert find_job(JOBS, "recommend").run({**small, **bounds, "current": "9"})["target"] in (9, 10)
    found = find_job(JOBS, "replay").run({**small, **bounds, "horizon": "4", "cost_switch": "5"})
    steps = found["steps"].frame
    units = steps.select([name for name in steps.columns if name not in ("time", "cpu")]).to_numpy()
    assert 9 <= units.min() <= units.max() <= 12
    ours = steps["HARMONY at 1.0%"].to_numpy()
    assert np.abs(np.diff(ours)).max() <= 1
    with pytest.raises(InputError, match="bounds"):
        task.plan(trace, min_units=5, max_units=2)


def test_what_a_head_cannot_tell_is_left_out(trace):
    rows = find_job(JOBS, "replay").run({"trace": trace, "steps": "4", "horizon": "4", "distribution": "quantile"})
    ours = [name for name in rows["policies"].frame["policy"] if name.startswith("HARMONY")]
    assert ours == ["HARMONY at 1.0%", "HARMONY at 3.0%", "HARMONY at 10.0%"]
    with pytest.raises(InputError, match="finer"):
        task.replay(trace, steps=4, horizon=4, distribution="quantile", sla=0.001)


class TestFiles:
    """The same demand in files: whole, with gaps, as an answer of Prometheus."""

    times = np.datetime64("2024-01-01T00:00", "m") + 10 * np.arange(200)
    demand = 5 + 2 * np.sin(np.arange(200) / 12)

    def written(self, folder, rows=slice(None), empty=()):
        lines = [
            f"{time},{'' if row in empty else value}" for row, (time, value) in enumerate(zip(self.times, self.demand))
        ]
        path = folder / "t.csv"
        path.write_text("\n".join(["time,cpu", *np.array(lines)[rows]]) + "\n")
        return path

    def answer(self, folder, *metrics):
        pairs = [[int(at), str(v)] for at, v in zip(self.times.astype("datetime64[s]").astype(int), self.demand)]
        result = [{"metric": metric, "values": pairs[place:]} for place, metric in enumerate(metrics)]
        path = folder / "q.json"
        path.write_text(json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}))
        return path

    def test_gaps_are_filled_and_told(self, tmp_path):
        heard = []
        keep = np.delete(np.arange(200), [70, 71, 120])
        with watched(SimpleNamespace(say=heard.append, step=lambda *_: None)):
            series = read_trace(self.written(tmp_path, rows=keep, empty=(30, 199)))
        np.testing.assert_array_equal(series.times, self.times[:199])
        np.testing.assert_allclose(series.values[:, 0], self.demand[:199], atol=0.02)
        assert any("4 missing values, 2.0%" in each for each in heard)
        assert any("the last 1 rows" in each for each in heard)

    @pytest.mark.parametrize(
        ("rows", "empty", "what"),
        [
            (slice(None), range(30, 80), "too much"),
            (np.r_[0:50, 120:200], (), "too much"),
            (slice(None), range(200), "whole|numbers"),
        ],
        ids=["cells", "rows", "all"],
    )
    def test_too_many_are_refused(self, rows, empty, what, tmp_path):
        with pytest.raises(InputError, match=what):
            read_trace(self.written(tmp_path, rows, empty))

    def test_uneven_times_stay_uneven(self, tmp_path):
        path = tmp_path / "t.csv"
        path.write_text("time,cpu\n0,1\n10,2\n15,3\n40,4\n")
        assert read_trace(path).times.tolist() == [0, 10, 15, 40]

    def test_files_without_times(self, tmp_path):
        path = tmp_path / "t.csv"
        path.write_text("cpu,load\n" + "".join(f"{v},{'' if v == 7 else v}\n" for v in range(1, 20)))
        assert read_trace(path).values[6].tolist() == [7.0, 7.0]

    def test_answers_of_prometheus(self, tmp_path):
        one = read_trace(self.answer(tmp_path, {}))
        assert (one.names, len(one)) == (("value",), 200)
        np.testing.assert_array_equal(one.times, self.times)
        two = read_trace(self.answer(tmp_path, {"pod": "a"}, {"pod": "b"}))
        assert two.names == ('value{pod="a"}', 'value{pod="b"}')
        assert np.isfinite(two.values).all()
        empty = '{"status":"success","data":{"resultType":"matrix","result":[]}}'
        (tmp_path / "none.json").write_text(empty)
        with pytest.raises(InputError, match="no samples"):
            read_trace(tmp_path / "none.json")

    @pytest.mark.parametrize("kind", ["gaps", "answer"])
    def test_plans_are_made_of_them(self, kind, tmp_path):
        path = self.written(tmp_path, empty=(30,)) if kind == "gaps" else self.answer(tmp_path, {})
        small = {"steps": "2", "lookback": "24", "horizon": "3", "classical": "false"}
        assert find_job(JOBS, "plan").run({"trace": str(path), **small})["target"] >= 1


def test_levels_are_told(trace):
    heard = []
    with watched(SimpleNamespace(say=heard.append, step=lambda *_: None)):
        task.recommend(trace, steps=1)
    assert "Levels by name, from load to device: 1: load; 2: cpu." in heard


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

    def test_negative_demand_in_every_job(self, trace):
        negative = Series(-trace.values, trace.names, trace.times)
        for use in (
            lambda: task.recommend(negative, steps=1),
            lambda: task.fit([trace, negative], lookback=24, horizon=3, epochs=0.1),
        ):
            with pytest.raises(InputError, match="not negative"):
                use()

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
