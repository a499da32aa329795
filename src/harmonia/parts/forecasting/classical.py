"""Exponential smoothing and Theta by statsmodels, as rules among the others.

Both are refitted to every window, as they are used in practice, and never see anything but the window.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from harmonia.core.errors import InputError, require
from harmonia.media import Series
from harmonia.parts.forecasting.forecaster import PointForecaster


class _Refitted(PointForecaster):
    """One model a window and variable.

    Arguments:
        season: Steps of a season; 1 for none.
        horizon: Steps to predict.
        seasons: Seasons that a window holds.
        draws: Errors that are kept; each costs one fit.
    """

    def __init__(self, season: int, horizon: int, seasons: int = 4, draws: int = 60) -> None:
        if season < 1 or seasons < 2:
            raise InputError("a window holds two seasons at least", (season, seasons), "Pass more.")
        self.season, self.horizon, self.draws = season, horizon, draws
        self.lookback = max(season * seasons, 24)

    def learn(self, series: Sequence[Series]) -> None:
        """Nothing to learn: every window is fitted anew."""

    @abstractmethod
    def predicted(self, values: Float64[ndarray, " lookback"]) -> Float64[ndarray, " horizon"]:
        """Fit to one variable of one window and predict."""

    def point(
        self, values: Float64[ndarray, "batch lookback variables"]
    ) -> Float64[ndarray, "batch horizon variables"]:
        found = np.empty((len(values), self.horizon, values.shape[2]))
        for row, window in enumerate(values):
            for variable in range(values.shape[2]):
                found[row, :, variable] = self._safely(window[:, variable])
        return found

    def _safely(self, values: Float64[ndarray, " lookback"]) -> Float64[ndarray, " horizon"]:
        """The model's prediction; the last value where a constant window leaves nothing to fit."""
        if np.ptp(values) == 0:
            return np.full(self.horizon, values[-1])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predicted = self.predicted(values)
        return np.where(np.isfinite(predicted), predicted, values[-1])


class ETS(_Refitted):
    """Exponential smoothing with an additive level, a damped additive trend and an additive season.

    Example:
        >>> wave = np.tile([0.0, 1.0, 3.0, 1.0], 12)
        >>> rule = ETS(season=4, horizon=2, seasons=6, draws=2).fit([Series(wave)])
        >>> rule.forecast(wave[None, -24:, None]).mean[0, :, 0].round(2).tolist()
        [0.0, 1.0]
    """

    def predicted(self, values: Float64[ndarray, " lookback"]) -> Float64[ndarray, " horizon"]:
        smoothing = require("statsmodels.tsa.holtwinters", extra="forecasting")
        seasonal = {"seasonal": "add", "seasonal_periods": self.season} if self.season > 1 else {}
        model = smoothing.ExponentialSmoothing(
            values, trend="add", damped_trend=True, initialization_method="heuristic", **seasonal
        )
        return np.asarray(model.fit().forecast(self.horizon), dtype=np.float64)


class Theta(_Refitted):
    """The Theta method (Assimakopoulos and Nikolopoulos, 2000) on the series without its season.

    Example:
        >>> wave = np.tile([5.0, 6.0, 8.0, 6.0], 24)
        >>> rule = Theta(season=4, horizon=2, seasons=6, draws=2).fit([Series(wave)])
        >>> rule.forecast(wave[None, -24:, None]).mean[0, :, 0].round(2).tolist()
        [5.0, 6.0]
    """

    def predicted(self, values: Float64[ndarray, " lookback"]) -> Float64[ndarray, " horizon"]:
        theta = require("statsmodels.tsa.forecasting.theta", extra="forecasting")
        model = theta.ThetaModel(values, period=self.season, deseasonalize=self.season > 1, method="additive")
        return np.asarray(model.fit().forecast(self.horizon), dtype=np.float64)
