"""Forecasts and a whole cycle of the service beside statsforecast, and CRPS of samples beside scoringrules."""

import numpy as np

from harmonia.app.bench import Race

DAY = 144


def workloads(count, days):
    """Daily courses with noise, one workload a row; float64."""
    generator = np.random.default_rng(0)
    t = np.arange(days * DAY) / DAY
    level, phase = generator.uniform(5, 50, (count, 1)), generator.uniform(0, 1, (count, 1))
    return level * (1 + 0.5 * np.sin(2 * np.pi * (t + phase)) + 0.1 * generator.standard_normal((count, len(t))))


def our_intervals(count, days):
    from harmonia.media import Series
    from harmonia.sequences.harmony import HarmonyForecaster

    values = workloads(count, days)
    model = HarmonyForecaster(DAY, 12, epochs=0.2).fit([Series(row, ("demand",)) for row in values])
    levels = np.array([0.05, 0.5, 0.95])
    windows = values[:, -DAY:, None]

    def step():
        model.forecast(windows).quantile(levels)

    return step


def statsforecast_intervals(count, days):
    from statsforecast.models import MSTL, AutoETS

    values = workloads(count, days)

    def step():
        for row in values:
            MSTL(DAY, trend_forecaster=AutoETS(model="ZAN")).forecast(row, 12, level=[90])

    return step


def our_cycle(count, days):
    """Measure, forecast, decide and answer, all over HTTP; the server of measurements runs in the same process."""
    import contextlib
    import json
    import tempfile
    import urllib.request

    from harmonia.media import Series
    from harmonia.sequences.harmony import Recommender, ServiceConfig, WorkloadConfig, serving
    from harmonia.sequences.harmony.rehearsal import measuring

    times = np.datetime64("2024-01-01T00:00", "m") + 10 * np.arange(days * DAY)
    traces = {f"w{place}": Series(row[:, None], ("cpu",), times) for place, row in enumerate(workloads(count, days))}
    watched = [
        WorkloadConfig(name=name, unit="cores", unit_capacity=0.5, demand=f'cpu{{workload="{name}"}}')
        for name in traces
    ]
    now = float(times[-1].astype("datetime64[s]").astype(np.int64))
    running = contextlib.ExitStack()
    folder, prometheus = running.enter_context(tempfile.TemporaryDirectory()), running.enter_context(measuring(traces))
    settings = ServiceConfig(workloads=watched, prometheus=prometheus, state=folder, steps=20)
    service = Recommender(settings, clock=lambda: now)
    service.refresh()  # trains
    address = running.enter_context(serving(service))

    def step():
        service.refresh()
        with urllib.request.urlopen(f"{address}/recommendations", timeout=60) as answer:
            assert len(json.load(answer)["recommendations"]) == count

    step.running = running  # for as long as it is called
    return step


def samples(draws, points):
    generator = np.random.default_rng(0)
    return generator.gamma(2.0, 3.0, (draws, points)), generator.gamma(2.0, 3.0, points)


def our_crps(draws, points):
    from harmonia.parts.forecasting import crps_samples

    values, observed = samples(draws, points)
    return lambda: crps_samples(values, observed)


def scoringrules_crps(draws, points):
    import scoringrules

    values, observed = samples(draws, points)
    return lambda: np.asarray(scoringrules.crps_ensemble(observed, values, m_axis=0, estimator="qd"))


RACES = (
    Race(
        "statsforecast",
        "median and 90% interval of twelve ten-minute steps for 50 workloads with 7 days of history",
        our_intervals,
        statsforecast_intervals,
        {"count": 50, "days": 7},
        requirements=("statsforecast==2.1.1",),
        repeats=3,
        note="ours was trained beforehand; MSTL is fitted to each series at each forecast, as it is used",
    ),
    Race(
        "statsforecast",
        "1,000 workloads in a cycle of the service over HTTP; the peer forecasts only",
        our_cycle,
        statsforecast_intervals,
        {"count": 1000, "days": 7},
        threads=1,
        requirements=("statsforecast==2.1.1",),
        repeats=1,
        note="ours reads Prometheus, forecasts, decides, keeps its state and answers; it must take less than 60 s",
    ),
    Race(
        "scoringrules",
        "CRPS of 512 samples at 20,000 points",
        our_crps,
        scoringrules_crps,
        {"draws": 512, "points": 20_000},
        tolerance=1e-9,
        requirements=("scoringrules==0.10.0", "numba"),
        repeats=3,
    ),
)
