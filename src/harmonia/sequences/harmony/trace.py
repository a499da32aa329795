"""Measurements in a file, with the gaps that measurements have: read, filled in, told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.data.traces import resample
from harmonia.media import Series, Table
from harmonia.media.files import GIB, existing
from harmonia.sequences.harmony.answers import joined, named, read_prometheus


def measured(path: str | Path) -> tuple[ndarray, list[str], ndarray | None]:
    """Values ``[time, variables]`` with NaN for what is missing, names, and times (None without a column of them).

    Arguments:
        path: CSV, TSV or Parquet, or the JSON that Prometheus answers to ``/api/v1/query_range``.

    Raises:
        InputError: what `Series.read` and `read_prometheus` raise, except for missing values.
    """
    path = existing(Path(path), Series.kind, GIB)
    with path.open("rb") as file:
        is_json = file.read(64).lstrip().startswith(b"{")
    if not is_json:
        return Series.rows(Table.read(path), gaps=True)
    samples = read_prometheus(path.read_bytes())
    if not any(len(each.times) for each in samples):
        raise InputError("the answer holds no samples", path.name, "Check the query and its range.")
    times, values = joined(samples)
    return values, named(samples), (times * 1e6).round().astype(np.int64).astype("datetime64[us]")


def read_trace(path: str | Path) -> Series:
    """Measurements without gaps: empty cells, and rows that are not there, are filled in linearly, and it is told.

    The trace ends with the last row that is whole.

    Raises:
        InputError: what `measured` raises, no whole row, or more than a fifth of a variable missing.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.csv"
        >>> rows = [f"2024-01-01 0{hour}:00,{hour}" for hour in range(10) if hour not in (3, 4)]
        >>> _ = path.write_text("\\n".join(["time,cpu", *rows]))
        >>> read_trace(path).values[:, 0].tolist()
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]
        >>> _ = path.write_text("\\n".join(["time,cpu", *rows[:6], rows[6][:17], *rows[7:]]))
        >>> read_trace(path)
        Traceback (most recent call last):
        ...
        harmonia.core.errors.InputError: too much of 'cpu' is missing (got 3 of 10 steps). ...
    """
    values, names, index = measured(path)
    whole = np.flatnonzero(np.isfinite(values).all(1))
    if not len(whole):
        raise InputError("no row of the trace is whole", f"{len(values)} rows", "Drop the variable that is empty.")
    end = int(whole[-1]) + 1
    if end < len(values):
        say(f"Left out, for they are not whole: the last {len(values) - end} rows.")
    return _filled(values[:end], tuple(names), None if index is None else index[:end])


def _filled(values: ndarray, names: tuple[str, ...], index: ndarray | None) -> Series:
    """Rows of an even grid without gaps; times that lie on none are left as they are."""
    places, times = np.arange(len(values)), index
    if index is not None and len(index) > 1:
        steps = np.diff(index)
        step = np.quantile(steps.astype(np.int64) if index.dtype.kind == "M" else steps, 0.5, method="lower")
        passed = steps.astype(np.float64) / float(step)
        if np.allclose(passed, passed.round(), atol=1e-3) and passed.max() > 1.5:
            places = np.r_[0, passed.round().cumsum()].astype(np.int64)
            later = np.arange(places[-1] + 1) * step
            times = index[0] + (later.astype("timedelta64[us]") if index.dtype.kind == "M" else later)
    even = resample(places, values, names, 1).values
    missing = even.size - int(np.isfinite(values).sum())
    if missing:
        say(f"Filled in: {missing} missing values, {missing / even.size:.1%} of the trace.")
    return Series(even, names, times)
