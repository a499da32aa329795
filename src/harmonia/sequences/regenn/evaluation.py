"""Forecasts of a panel beside the simple rules, all at the same origins of the same samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.core.progress import say, track
from harmonia.data.panel import Panel, typical_values
from harmonia.parts.forecasting import ETS, Drift, PointForecaster, Theta, baselines, origins

CLASSICAL_FITS = 240
"""How many windows times variables ETS and Theta, which take a fit each, are judged on where nothing else is said."""


@runtime_checkable
class Predicts(Protocol):
    """What can be judged: it predicts one number for each step after windows of the past."""

    lookback: int
    horizon: int

    def point(self, values: Float64[ndarray, "batch lookback v"]) -> Float64[ndarray, "batch horizon v"]:
        """Predict one number each."""


class PanelScores(NamedTuple):
    """How far forecasts were off, over all samples, origins, steps and variables at once.

    Attributes:
        mae: Mean absolute error, in the units of the data.
        rmse: Root of the mean squared error.
        msle: Mean squared difference of log(1 + x), negative predictions taken as 0; NaN where data are negative.
        mase: Absolute errors over those that the last value (of a season before) makes one step (season) ahead in the
            fitted part of the same sample and variable; the mean of all.
    """

    mae: float
    rmse: float
    msle: float
    mase: float

    @classmethod
    def of(
        cls,
        predicted: Float64[ndarray, "windows horizon v"],
        truth: Float64[ndarray, "windows horizon v"],
        known: Bool[ndarray, "windows horizon v"],
        scale: Float64[ndarray, "windows v"],
    ) -> PanelScores:
        """Score predictions where the truth is known; `scale` is that of MASE, NaN where a variable never changes."""
        error = (predicted - truth)[known]
        relative = (np.abs(predicted - truth) / scale[:, None])[known & ~np.isnan(scale)[:, None]]
        logs = np.log1p(predicted.clip(0)) - np.log1p(truth.clip(0))
        return cls(
            mae=float(np.abs(error).mean()),
            rmse=float(np.sqrt(np.square(error).mean())),
            msle=float(np.square(logs[known]).mean()) if truth[known].min() >= 0 else float("nan"),
            mase=float(relative.mean()) if len(relative) else float("nan"),
        )


def measure(scores: Mapping[str, PanelScores]) -> Literal["mase", "mae"]:
    """What forecasters are ranked by: MASE, or the plain error where nothing changed before and MASE has no scale.

    Example:
        >>> measure({"rule": PanelScores(mae=1.0, rmse=1.0, msle=1.0, mase=float("nan"))})
        'mae'
    """
    return "mase" if all(np.isfinite(each.mase) for each in scores.values()) else "mae"


def simple_rules(
    past: Panel, horizon: int, *, season: int = 1, window: int = 8, classical: bool = True
) -> dict[str, PointForecaster]:
    """The rules that stand in every table, fitted to a panel: those of any series, and the line through a window.

    Arguments:
        past: What may be learnt from.
        horizon: Steps to predict.
        season: Steps of a season; 1 for none.
        window: Steps of the line.
        classical: With ETS and Theta by statsmodels, which need a fit a window.

    Rules that need a longer past are left out, and the user is told.

    Raises:
        InputError: a season as long as the past.
    """
    _refuse_season(season, past.length)
    found: dict[str, PointForecaster] = {"drift": Drift(horizon, window)}
    left = []
    for name, rule in baselines(season, horizon, classical=classical).items():
        if not isinstance(rule, PointForecaster) or (season == 1 and name == "seasonal naive"):
            continue
        if rule.lookback + horizon <= past.length:
            found[name] = rule
        else:
            left.append(f"{name} needs {rule.lookback + horizon} times")
    if left:
        say(f"Left out of the comparison, before which there are {past.length} times: {', '.join(left)}.")
    series = past.filled().series()
    for rule in found.values():
        rule.learn(series)
    return found


def compare(
    forecasters: Mapping[str, Predicts],
    panel: Panel,
    start: int,
    *,
    season: int = 1,
    stride: int = 1,
    most: int = 0,
) -> dict[str, PanelScores]:
    """Score forecasts whose first step is `start` or later: the same windows for all, the past only.

    Arguments:
        forecasters: Fitted to the panel before `start`.
        panel: The whole panel; what is missing is not scored.
        start: First row that is forecast.
        season: Of the scale of MASE.
        stride: Steps from one origin to the next.
        most: Forecasts to judge, evenly spaced over samples and origins; all unless given, or, with ETS and Theta, as
            many as make `CLASSICAL_FITS`.

    Raises:
        InputError: no room for a forecast, or for the past that one needs; a season as long as that past; no value
            that is known to judge by.
    """
    _refuse_season(season, start)
    lookback, horizon = (max(getattr(each, name) for each in forecasters.values()) for name in ("lookback", "horizon"))
    at = origins(panel.length, start, horizon, stride)
    if not len(at) or start < lookback:
        got = f"{start} before and {panel.length - start} after the origin"
        raise InputError(f"forecasts need {lookback} times before and {horizon} after", got, "Pass a longer panel.")
    if not most and any(isinstance(each, (ETS, Theta)) for each in forecasters.values()):
        most = max(1, CLASSICAL_FITS // len(panel.names))
    count = len(panel.samples) * len(at)
    chosen = np.linspace(0, count - 1, min(most or count, count)).round().astype(np.int64)
    sample, origin = chosen // len(at), at[chosen % len(at)]
    values = panel.filled(typical_values(panel.values[:, :start])).values
    after = sample[:, None], origin[:, None] + np.arange(horizon)
    if not panel.present[after].any():
        got = f"no value at {panel.length - start} times from the {start + 1}th on"
        raise InputError("forecasts cannot be judged where nothing is known", got, "Leave blank times out.")
    scale = np.stack([_step(panel.values[i, :start], season) for i in range(len(panel.samples))])[sample]
    found = {}
    for name, each in track(list(forecasters.items()), "Forecasts"):
        past = values[sample[:, None], origin[:, None] + np.arange(-each.lookback, 0)]
        found[name] = PanelScores.of(each.point(past)[:, :horizon], values[after], panel.present[after], scale)
    return found


def _refuse_season(season: int, length: int) -> None:
    if season >= length:
        raise InputError(f"a season of {season} steps needs a longer past", f"{length} times", "Pass a shorter season.")


def _step(values: Float64[ndarray, "time v"], season: int) -> Float64[ndarray, " v"]:
    """The mean change over a season of each variable, NaN where it never changes; gaps are left out."""
    change = np.abs(values[season:] - values[:-season])
    known = ~np.isnan(change)
    mean = np.where(known, change, 0).sum(0) / np.maximum(known.sum(0), 1)
    return np.where(mean > 0, mean, np.nan)
