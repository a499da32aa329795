"""The load that is promised: 1,000 workloads in a minute on one core, measured and answered over HTTP."""

from __future__ import annotations

import json
import time
import urllib.request

import numpy as np
import pytest

from harmonia.data.traces import synthetic_trace
from harmonia.media import Series
from harmonia.sequences.harmony import recommender as module
from harmonia.sequences.harmony.configuration import ServiceConfig, WorkloadConfig
from harmonia.sequences.harmony.recommender import Recommender
from harmonia.sequences.harmony.rehearsal import measuring
from harmonia.sequences.harmony.server import serving

TRACE = synthetic_trace(0, days=14)
NOW = float(TRACE.times[-1].astype("datetime64[s]").astype(np.int64))


def service(address, folder, count):
    workloads = [
        WorkloadConfig(
            name=f"w{place}",
            unit="cores",
            unit_capacity=0.25,
            demand=f'cpu{{workload="w{place}"}}',
            indicators={"load": f'load{{workload="w{place}"}}'},
            max_units=200,
        )
        for place in range(count)
    ]
    settings = ServiceConfig(workloads=workloads, prometheus=address, state=str(folder), steps=2)
    return Recommender(settings, clock=lambda: NOW)


def traces(count):
    scales = np.random.default_rng(0).uniform(0.3, 3, count)
    return {
        f"w{i}": Series(scale * TRACE.values[:, :2], TRACE.names[:2], TRACE.times) for i, scale in enumerate(scales)
    }


def read(address):
    with urllib.request.urlopen(address, timeout=60) as answer:
        return answer.read().decode()


@pytest.mark.slow
def test_a_thousand_workloads_a_minute_over_http(tmp_path):
    with measuring(traces(1000)) as prometheus:
        found = service(prometheus, tmp_path, 1000)
        begun = time.process_time()
        found.refresh()
        with serving(found) as address:
            told = json.loads(read(f"{address}/recommendations"))["recommendations"]
            one = json.loads(read(f"{address}/recommendations/w7"))
            metrics = read(f"{address}/metrics")
        took = time.process_time() - begun  # of the server of measurements too, which is another's work in life
    assert took < 60
    assert len(told) == 1000
    assert one == told[7]
    assert not any(each["fallback"] for each in told)
    assert metrics.count("harmony_recommended_replicas{") == 3000


def test_workloads_keep_their_own_measurements(tmp_path):
    """What is read at once lands where it belongs: units follow the scale of each workload."""
    given = traces(6)
    with measuring(given) as prometheus:
        told = service(prometheus, tmp_path, 6).refresh().recommendations
    peaks = [given[name].values[-144:, 1].max() for name in told]
    assert np.argsort([each["requirement"][0] for each in told.values()]).tolist() == np.argsort(peaks).tolist()


def test_a_server_that_hangs_does_not_stop_decisions(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", -1.0)
    with measuring(traces(2)) as prometheus:
        told = service(prometheus, tmp_path, 3).refresh().recommendations
    assert [each["fallback"] for each in told.values()] == [True] * 3
    assert "slow" in told["w0"]["problems"][0]
