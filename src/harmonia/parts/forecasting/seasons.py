"""How many steps a season has: what the calendar says, or, without dates, what the series repeats after."""

from __future__ import annotations

import numpy as np
from scipy.signal import detrend, find_peaks

from harmonia.core.errors import InputError
from harmonia.media import Series

_CALENDAR = (
    (np.timedelta64(1, "s"), np.timedelta64(12, "h"), np.timedelta64(1, "D")),
    (np.timedelta64(1, "D"), np.timedelta64(1, "D"), np.timedelta64(7, "D")),
)
CLEAR = 0.3
"""Autocorrelation from which a repetition counts."""


def usual_season(series: Series) -> int:
    """Steps of a day for steps of seconds to hours, of a week for days, of a year for weeks, months and quarters.

    Where times are plain numbers, the lag of the clearest repetition, averaged over variables; 1 where there is none,
    and at most a quarter of the series in any case.

    Example:
        >>> hours = np.datetime64("2024-01-01T00", "h") + np.arange(100)
        >>> usual_season(Series(np.zeros(100), index=hours)), usual_season(Series(np.sin(np.arange(99) * np.pi / 6)))
        (24, 12)
    """
    most = len(series) // 4
    season = _of_the_calendar(series) if series.times.dtype.kind == "M" else 0
    if not season:
        season = _of_the_values(series.values, most)
    return season if 1 <= season <= most else 1


def _of_the_calendar(series: Series) -> int:
    try:
        ahead = series.ahead(1)[0] - series.times[-1]
    except InputError:  # uneven steps
        return 0
    for shortest, longest, season in _CALENDAR:
        if shortest <= ahead <= longest:
            return round(season / ahead)
    days = ahead / np.timedelta64(1, "D")
    return round(365.25 / days) if 6 < days < 200 else 0


def _of_the_values(values: np.ndarray, most: int) -> int:
    if most < 2:
        return 1
    flat = detrend(values, axis=0)
    spread = flat.std(0)
    flat = flat[:, spread > 0] / spread[spread > 0]
    if not flat.size:
        return 1
    power = np.abs(np.fft.rfft(flat, 2 * len(flat), axis=0)) ** 2
    correlation = np.fft.irfft(power, axis=0)[: most + 2].mean(1) / len(flat)
    peaks, _ = find_peaks(correlation, height=CLEAR)
    return int(peaks[correlation[peaks].argmax()]) if len(peaks) else 1
