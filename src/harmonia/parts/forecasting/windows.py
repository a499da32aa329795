"""Windows of series for training, splits in time, and marks of the calendar."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.media import Series
from harmonia.parts.forecasting.forecaster import series_of

MARKS = ("month", "day", "weekday", "hour")
"""Marks of the calendar, in this order."""


def calendar_marks(times: ndarray, *, scaled: bool = True) -> Float64[ndarray, "*batch marks"]:
    """Month, day of the month, weekday (Monday is 0) and hour of times; zeros where times are plain numbers.

    Arguments:
        times: ``datetime64`` or numbers.
        scaled: Map each to [-0.5, 0.5]; otherwise the integers.

    Example:
        >>> calendar_marks(np.array(["2018-07-24T13:20"], "datetime64[m]"), scaled=False).tolist()
        [[7.0, 24.0, 1.0, 13.0]]
    """
    if times.dtype.kind != "M":
        return np.zeros((*times.shape, len(MARKS)))
    days, months = times.astype("datetime64[D]"), times.astype("datetime64[M]")
    month = months.astype(np.int64) % 12
    day = (days - months.astype("datetime64[D]")).astype(np.int64)
    weekday = (days.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
    hour = (times - days).astype("timedelta64[h]").astype(np.int64)
    marks = np.stack([month, day, weekday, hour], -1).astype(np.float64)
    return marks / np.array([11, 30, 6, 23]) - 0.5 if scaled else marks + np.array([1, 1, 0, 0])


def chronological(series: Series, fractions: Sequence[float] = (0.7, 0.1, 0.2)) -> list[Series]:
    """Cut a series into parts that follow each other, by their shares of its length.

    Raises:
        InputError: shares that do not sum to 1, or a part that would be empty.

    Example:
        >>> [len(part) for part in chronological(Series(np.arange(10.0)))]
        [7, 1, 2]
    """
    if abs(sum(fractions) - 1) > 1e-9 or min(fractions) <= 0:
        raise InputError("shares of a series are positive and sum to 1", fractions, "Pass for instance 0.7, 0.1, 0.2.")
    ends = np.round(np.cumsum(fractions) * len(series)).astype(np.int64)
    starts = np.r_[0, ends[:-1]]
    if (starts >= ends).any():
        raise InputError("the series is too short to be cut", len(series), "Pass a longer one.")
    return [Series(series.values[a:b], series.names, series.times[a:b]) for a, b in zip(starts, ends)]


class Windows:
    """All windows of some series, each with what follows it; nothing is copied until a batch is drawn.

    Arguments:
        series: One, or several with the same variables.
        lookback: Length of the past.
        horizon: Length of what follows.

    Raises:
        InputError: variables that differ, or no series that is long enough.

    Example:
        >>> windows = Windows([Series(np.arange(10.0)), Series(np.arange(6.0))], lookback=3, horizon=2)
        >>> len(windows), windows.at([0, 6])[1][:, :, 0].tolist()
        (8, [[3.0, 4.0], [3.0, 4.0]])
    """

    def __init__(self, series: Series | Sequence[Series], lookback: int, horizon: int) -> None:
        series = series_of(series)
        self.lookback, self.horizon = lookback, horizon
        counts = [max(0, len(each) - lookback - horizon + 1) for each in series]
        if not sum(counts):
            longest = max(len(each) for each in series)
            mend = "Pass longer series, or lower lookback or horizon."
            raise InputError(f"a window needs {lookback + horizon} successive values", longest, mend)
        offsets = np.cumsum([0, *(len(each) for each in series)])[:-1]
        self._starts = torch.cat([offset + torch.arange(count) for offset, count in zip(offsets.tolist(), counts)])
        self._values = torch.from_numpy(np.concatenate([each.values for each in series]))
        marks = np.concatenate([calendar_marks(each.times) for each in series])
        self._marks = torch.from_numpy(marks)

    def __len__(self) -> int:
        return len(self._starts)

    def at(self, index: Sequence[int] | Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Past ``[b, lookback, v]``, future ``[b, horizon, v]`` and marks of the past, float64."""
        start = self._starts[torch.as_tensor(index)][:, None]
        past = start + torch.arange(self.lookback)
        future = start + self.lookback + torch.arange(self.horizon)
        return self._values[past], self._values[future], self._marks[past]

    def draw(self, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """A random batch, with replacement."""
        return self.at(torch.randint(len(self), (size,), generator=generator))
