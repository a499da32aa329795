"""The service: real HTTP, a real Prometheus, sound and unsound measurements, restarts, many workloads."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from harmonia.core.errors import InputError
from harmonia.data.traces import synthetic_trace
from harmonia.media import Series
from harmonia.sequences.harmony.configuration import ServiceConfig, WorkloadConfig
from harmonia.sequences.harmony.ingest import FileSource, clean, exposition, http_get, read_prometheus
from harmonia.sequences.harmony.recommender import Recommender
from harmonia.sequences.harmony.server import serving, stop_signal

STEP = 600
TRACE = synthetic_trace(0, days=4)
START = TRACE.times.astype("datetime64[s]").astype(np.int64).astype(float)


class Prometheus:
    """Answers range queries from a trace, as an HTTP client; its clock and its faults are set by the test."""

    def __init__(self, rows=400):
        self.rows, self.values = rows, TRACE.values.copy()
        self.late, self.broken = 0.0, ""

    @property
    def now(self):
        return float(START[self.rows - 1]) + self.late

    def __call__(self, url, parameters):
        if self.broken:
            return json.dumps({"status": "error", "error": self.broken}).encode()
        column = list(TRACE.names).index(parameters["query"])
        rows = [r for r in range(self.rows) if float(parameters["start"]) <= START[r] <= float(parameters["end"])]
        pairs = [[START[r], repr(float(self.values[r, column]))] for r in rows]
        result = [{"metric": {"pod": "a"}, "values": pairs}]
        return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()


def workload(name="shop", **changes):
    settings = {
        "unit": "cores",
        "unit_capacity": 0.5,
        "demand": "cpu",
        "indicators": {"load": "load"},
        "max_units": 200,
    }
    return WorkloadConfig(name=name, **settings | changes)


def config(folder, *workloads, **changes):
    settings = {"lookback": 48, "horizon": 4, "steps": 8}
    return ServiceConfig(workloads=list(workloads) or [workload()], state=str(folder), **settings | changes)


def recommender(folder, server, *workloads, **changes):
    return Recommender(config(folder, *workloads, **changes), get=server, clock=lambda: server.now)


def ask(address):
    with urllib.request.urlopen(address, timeout=5) as answer:
        return answer.read().decode(), answer.headers


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    server = Prometheus()
    found = recommender(tmp_path_factory.mktemp("state"), server)
    found.refresh()
    return found


class TestHttp:
    def test_json(self, running):
        with serving(running) as address:
            body, headers = ask(f"{address}/recommendations/shop")
            assert headers["Content-Type"] == "application/json"
            found = json.loads(body)
            container = found["recommendation"]["containerRecommendations"][0]
            assert set(container) == {"containerName", "target", "lowerBound", "upperBound", "uncappedTarget"}
            assert container["target"] == {"cpu": f"{500 * found['desiredReplicas']}m"}
            assert found["dryRun"] is True
            assert not found["fallback"]
            assert len(found["plan"]) == 4
            assert json.loads(ask(f"{address}/recommendations")[0])["recommendations"] == [found]
            assert json.loads(ask(f"{address}/healthz")[0])["refreshed"] > 0

    def test_metrics(self, running):
        with serving(running) as address:
            body, headers = ask(f"{address}/metrics")
        assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
        target = running.snapshot.recommendations["shop"]["desiredReplicas"]
        assert f'harmony_recommended_replicas{{workload="shop",quantile="0.99"}} {float(target)}' in body
        assert 'harmony_forecast{workload="shop",quantile="0.5",step="4"}' in body
        assert 'harmony_fallback{workload="shop"} 0.0' in body

    def test_unknown_addresses(self, running):
        with serving(running) as address:
            for path in ("/", "/recommendations/nobody", "/recommendations/shop/x", "/%2e%2e/etc"):
                with pytest.raises(urllib.error.HTTPError) as caught:
                    ask(address + path)
                assert caught.value.code == 404
                assert "known" in json.loads(caught.value.read())

    def test_before_the_first_look(self, tmp_path):
        with serving(recommender(tmp_path, Prometheus())) as address:
            with pytest.raises(urllib.error.HTTPError) as caught:
                ask(f"{address}/healthz")
            assert caught.value.code == 503

    def test_a_port_in_use(self, running):
        with serving(running) as address:
            taken = serving(running, port=int(address.rsplit(":", 1)[1]))
            with pytest.raises(InputError, match="cannot listen"):
                taken.__enter__()


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs the Debian package prometheus")
def test_a_real_prometheus_scrapes_it_and_gives_it_back(running, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with serving(running) as address:
        target = address.removeprefix("http://")
        (tmp_path / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s}\n"
            f"scrape_configs: [{{job_name: harmony, static_configs: [{{targets: ['{target}']}}]}}]\n"
        )
        command = [
            "prometheus",
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
        try:
            found = queried(
                f"http://127.0.0.1:{port}/api/v1/query_range", 'harmony_recommended_replicas{quantile="0.99"}'
            )
            steps = queried(f"http://127.0.0.1:{port}/api/v1/query_range", 'harmony_forecast{quantile="0.5"}')
        finally:
            process.terminate()
            process.wait(timeout=20)
    assert found[0].labels["workload"] == "shop"
    assert found[0].values[-1] == running.snapshot.recommendations["shop"]["desiredReplicas"]
    assert sorted(int(each.labels["step"]) for each in steps) == [1, 2, 3, 4]


def test_sigterm_sets_the_event_and_is_given_back():
    before = signal.getsignal(signal.SIGTERM)
    with stop_signal() as stopped:
        assert not stopped.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopped.wait(5)
    assert signal.getsignal(signal.SIGTERM) == before
    with ThreadPoolExecutor(1) as elsewhere:
        assert not elsewhere.submit(lambda: stop_signal().__enter__().is_set()).result()


def queried(url, query, patience=60.0):
    """Ask until there is an answer: Prometheus, another process, tells nobody when it has scraped."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        now = time.time()
        try:
            body = http_get(url, {"query": query, "start": str(now - 20), "end": str(now), "step": "1"})
            if found := read_prometheus(body):
                return found
        except InputError:
            pass
        time.sleep(0.5)
    raise AssertionError(f"no answer to {query}")


class TestUnsoundMeasurements:
    def refreshed(self, tmp_path, change, **workload_changes):
        server = Prometheus()
        found = recommender(tmp_path, server, workload(**workload_changes))
        before = found.refresh().recommendations["shop"]
        change(server)
        return before, found.refresh().recommendations["shop"]

    def test_stale(self, tmp_path):
        def change(server):
            server.late = 4 * STEP

        before, after = self.refreshed(tmp_path, change)
        assert after["fallback"]
        assert after["desiredReplicas"] >= before["desiredReplicas"]
        assert "2400 s old" in after["reason"]
        assert after["violationProbability"] is None

    def test_down(self, tmp_path):
        def change(server):
            server.broken = "too many samples"

        before, after = self.refreshed(tmp_path, change)
        assert after["fallback"]
        assert after["desiredReplicas"] >= before["desiredReplicas"]
        assert "too many samples" in after["problems"][0]

    def test_missing_and_absurd_values_are_left_out(self, tmp_path):
        def change(server):
            server.rows += 3
            server.values[380:384, 1] = np.nan
            server.values[390, 1], server.values[391, 1] = -5.0, 1e9

        before, after = self.refreshed(tmp_path, change)
        assert not after["fallback"]
        assert abs(after["desiredReplicas"] - before["desiredReplicas"]) < 20
        assert "2 absurd values of demand left out" in " ".join(after["problems"]).replace("cpu", "demand")

    def test_only_absurd_values(self, tmp_path):
        def change(server):
            server.values[:, 1] = -1.0

        _, after = self.refreshed(tmp_path, change)
        assert after["fallback"]

    def test_one_bad_workload_harms_no_other(self, tmp_path):
        bad = workload("bad", demand="nothing")
        server = Prometheus()

        def get(url, parameters):
            if parameters["query"] == "nothing":
                raise InputError("no answer", "nothing", "Wait.")
            return server(url, parameters)

        found = Recommender(config(tmp_path, workload(), bad), get=get, clock=lambda: server.now).refresh()
        assert found.recommendations["bad"]["fallback"]
        assert not found.recommendations["shop"]["fallback"]

    def test_cold_start(self, tmp_path):
        found = recommender(tmp_path, Prometheus(rows=30)).refresh().recommendations["shop"]
        assert found["fallback"]
        assert "cold start" in found["reason"]
        assert found["desiredReplicas"] >= 1


class TestThrottled:
    class Limited(Prometheus):
        """The trace's processor, throttled at four cores by a limit that is measured too."""

        limit = 4.0

        def __init__(self):
            super().__init__(rows=430)
            self.values[:, 1] = self.values[:, 1].clip(max=self.limit)

        def __call__(self, url, parameters):
            if parameters["query"] != "cpu_limit":
                return super().__call__(url, parameters)
            body = json.loads(super().__call__(url, parameters | {"query": "cpu"}))
            result = body["data"]["result"][0]
            result["values"] = [[time, str(self.limit)] for time, _ in result["values"]]
            return json.dumps(body).encode()

    def test_a_measured_limit_asks_for_more(self, tmp_path):
        shares = {}
        for limit in ("cpu_limit", float("inf")):
            server = self.Limited()
            found = recommender(tmp_path / str(limit), server, workload(limit=limit, sla=0.05), steps=40)
            shares[limit] = found.refresh().recommendations["shop"]
            assert found._workloads["shop"].throttled.any() == (limit == "cpu_limit")
        assert "at its limit in" in shares["cpu_limit"]["problems"][0]
        assert shares[float("inf")]["problems"] == []
        assert max(shares["cpu_limit"]["requirement"]) > max(shares[float("inf")]["requirement"])

    def test_it_is_told(self, tmp_path):
        server = self.Limited()
        server.values[420:430, 1] = 4.0
        found = recommender(tmp_path, server, workload(limit=4.0)).refresh()
        assert found.recommendations["shop"]["throttled"] is True
        assert 'harmony_demand_throttled{workload="shop"} 1.0' in found.metrics

    def test_a_column_of_a_file(self, tmp_path):
        used = TRACE.values[:, 1].clip(max=4.0)
        Series(np.c_[used, np.full(len(used), 4.0)], ("cpu", "most"), TRACE.times).write(tmp_path / "t.csv")
        given = workload(file=str(tmp_path / "t.csv"), indicators={}, limit="most")
        server = Prometheus()
        found = recommender(tmp_path, server, given)
        found.refresh()
        assert found._workloads["shop"].throttled.sum() == (used >= 3.92).sum()
        assert found._forecasters[next(iter(found._forecasters))][0].names_ == ("demand",)


def test_restarts_change_nothing(tmp_path):
    server = Prometheus(rows=300)
    first = recommender(tmp_path / "a", server, workload(cooldown="1h"))
    for _ in range(3):
        first.refresh()
        server.rows += 1
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    restarted = recommender(tmp_path / "b", server, workload(cooldown="1h"))
    one, two = (each.refresh().recommendations["shop"] for each in (first, restarted))
    assert one == two
    (tmp_path / "b" / "state.json").write_text("{")
    with pytest.raises(InputError, match="Delete it"):
        recommender(tmp_path / "b", server)


def test_units_are_converted(tmp_path):
    server = Prometheus()
    server.values[:, 1] *= 1000
    milli = recommender(tmp_path / "m", server, workload(unit="millicores")).refresh().recommendations["shop"]
    cores = recommender(tmp_path / "c", Prometheus(), workload()).refresh().recommendations["shop"]
    assert abs(milli["desiredReplicas"] - cores["desiredReplicas"]) <= 1


def test_files_are_read(tmp_path):
    TRACE.write(tmp_path / "shop.csv")
    lines = [
        "workloads:",
        "  - {name: shop, unit: cores, unit_capacity: 0.5, demand: cpu, indicators: {load: load}, file: shop.csv}",
        f"state: {tmp_path / 'state'}",
        "lookback: 48",
        "horizon: 4",
        "steps: 4",
    ]
    (tmp_path / "service.yaml").write_text("\n".join(lines))
    found = Recommender(ServiceConfig.read(tmp_path / "service.yaml")).refresh().recommendations["shop"]
    assert not found["fallback"]
    lines = [
        "[[workloads]]",
        'name = "shop"',
        'unit = "cores"',
        "unit_capacity = 0.5",
        'demand = "gpu"',
        'file = "shop.csv"',
    ]
    (tmp_path / "service.toml").write_text("\n".join(lines))
    missing = Recommender(ServiceConfig.read(tmp_path / "service.toml"))
    missing.folder = tmp_path / "s"
    assert "no column 'gpu'" in missing.refresh().recommendations["shop"]["problems"][0]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("workloads: []", "name of its own"),
        ("workloads: [{name: a, unit: cores, unit_capacity: 1, demand: x, colour: red}]", "colour"),
        ("workloads: [{name: a, unit: percent, unit_capacity: 1, demand: x}]", "percent"),
        ("workloads: [{name: a, unit_capacity: 1, demand: x}]", "unit"),
        ("workloads: [{name: a, unit: cores, unit_capacity: -1, demand: x}]", "capacity"),
        ("workloads: [{name: a, unit: cores, unit_capacity: 1, demand: x, startup_delay: soon}]", "duration"),
        (":::", "cannot be used"),
    ],
    ids=["none", "key", "percent", "no-unit", "capacity", "duration", "garbage"],
)
def test_bad_configurations(text, what, tmp_path):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError, match=what):
        ServiceConfig.read(tmp_path / "c.yaml")


def test_a_hundred_workloads_share_a_network(tmp_path):
    many = [workload(f"w{i}") for i in range(100)]
    found = recommender(tmp_path, Prometheus(), *many, steps=2)
    found.refresh()
    assert len(found._forecasters) == 1
    start = time.process_time()
    snapshot = found.refresh()
    assert time.process_time() - start < 6  # a thousand a minute on one core
    assert len(snapshot.recommendations) == 100


class TestPrometheusFormat:
    def test_answers(self):
        vector = '{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"+Inf"]}]}}'
        assert np.isnan(read_prometheus(vector)[0].values).all()
        for text, what in (
            ("<html>", "no answer of Prometheus"),
            ('{"status":"error","error":"bad query"}', "bad query"),
            ('{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}', "no series"),
            ('{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1]]}]}}', "answer"),
        ):
            with pytest.raises(InputError, match=what):
                read_prometheus(text)

    def test_labels_are_escaped(self):
        text = exposition({"m": ("Help.", [({"a": 'x"y\\z\n'}, 1.0), ({}, float("nan"))])})
        assert text.splitlines()[2:] == ['m{a="x\\"y\\\\z\\n"} 1.0']

    def test_queries_must_be_aggregated(self, tmp_path):
        empty = b'{"status":"success","data":{"resultType":"matrix","result":[]}}'
        found = Recommender(config(tmp_path), get=lambda url, parameters: empty, clock=lambda: 1e9).refresh()
        assert "gives 0 series" in found.recommendations["shop"]["problems"][0]

    def test_no_server(self):
        with pytest.raises(InputError, match="does not answer"):
            http_get("http://127.0.0.1:9", {})


class TestLearning:
    """Looks every minute at data of every ten minutes, in a file that grows."""

    def test_a_datum_is_compared_with_the_forecast_of_its_own_time(self, tmp_path):
        rows, path, learnt, told = 200, tmp_path / "w.csv", [], {}
        clock = [0.0]
        given = workload(file=str(path), indicators={}, startup_delay="30min")
        found = Recommender(config(tmp_path / "state", given), clock=lambda: clock[0])
        watched = found._workloads["shop"]
        watched.scaler.level.observe = lambda level, throttled=False: learnt.append(level)
        for minute in range(60):
            known = rows + minute // 10
            Series(TRACE.values[:known, [1]], ("cpu",), TRACE.times[:known]).write(path)
            clock[0] = START[rows - 1] + 60 * minute
            found.refresh()
            told.setdefault(known, watched.demand)
        demands = TRACE.values[rows + 2 : rows + 5, 1]
        expected = [told[rows + place].level_of(demand, step=2) for place, demand in enumerate(demands)]
        assert learnt == pytest.approx(expected)

    def test_prometheus_whose_grid_moves_with_the_clock(self, tmp_path):
        """A range that ends now has its samples at now, a minute later than at the last look."""
        learnt, clock = [], [float(START[400])]

        def get(url, parameters):
            times = np.arange(float(parameters["start"]), float(parameters["end"]) + 1, STEP)
            values = np.interp(times, START, TRACE.values[:, 1])
            pairs = [[t, str(v)] for t, v in zip(times, values) if t >= START[0]]
            body = {"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": pairs}]}}
            return json.dumps(body).encode()

        found = Recommender(config(tmp_path, workload(indicators={})), get=get, clock=lambda: clock[0])
        scaler = found._workloads["shop"].scaler
        scaler.level.observe = lambda level, throttled=False: learnt.append(level)
        for _ in range(60):
            found.refresh()
            clock[0] += 60.0
        assert len(learnt) == 5


def test_a_file_with_gaps_is_cleaned(tmp_path):
    lines = [f"{time},{value}" for time, value in zip(TRACE.times, TRACE.values[:, 1])]
    lines[100] = f"{TRACE.times[100]},"
    del lines[200]
    (tmp_path / "w.csv").write_text("\n".join(["time,cpu", *lines]))
    found = FileSource(tmp_path / "w.csv", ("cpu",), 600.0).read(0.0)
    assert len(found.series) == len(TRACE)
    assert found.problems == ("1 rows with gaps filled",)
    (tmp_path / "w.csv").write_text(
        "\n".join(["time,cpu", *(line.split(",")[0] + "," for line in lines[:150]), *lines[150:]])
    )
    with pytest.raises(InputError, match="too much of 'cpu'"):
        FileSource(tmp_path / "w.csv", ("cpu",), 600.0).read(0.0)


def test_clean_needs_something_sound():
    with pytest.raises(InputError, match="no row is sound"):
        clean(np.arange(5.0), np.full((5, 1), np.nan), ("x",), 1.0)
    times = 600 * np.arange(50.0)
    values = np.ones((50, 1))
    values[-2:] = np.nan
    found = clean(times, values, ("x",), 600.0)
    assert isinstance(found.series, Series)
    assert (found.end, len(found.series)) == (600 * 47, 48)


def test_the_state_folder_is_made(tmp_path):
    recommender(tmp_path / "deep" / "folder", Prometheus()).refresh()
    assert (Path(tmp_path) / "deep" / "folder" / "state.json").is_file()
