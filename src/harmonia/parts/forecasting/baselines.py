"""The simple rules that every forecasting table must contain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from scipy.linalg import lstsq, solve

from harmonia.core.errors import InputError
from harmonia.media import Series
from harmonia.parts.forecasting.forecaster import PointForecaster


class Persistence(PointForecaster):
    """Tomorrow is like now: the last value.

    Arguments:
        horizon: Steps to predict.
        draws: Errors that are kept.
    """

    def __init__(self, horizon: int, draws: int = 200) -> None:
        self.lookback, self.horizon, self.draws = 1, horizon, draws

    def learn(self, series: Sequence[Series]) -> None:
        """Nothing to learn."""

    def point(
        self, values: Float64[ndarray, "batch lookback variables"]
    ) -> Float64[ndarray, "batch horizon variables"]:
        return np.repeat(values[:, -1:], self.horizon, axis=1)


class Drift(PointForecaster):
    """The line through the first and the last value of a window goes on.

    Arguments:
        horizon: Steps to predict.
        lookback: Length of the window; at least 2.
        draws: Errors that are kept.

    Raises:
        InputError: a window without two values.

    Example:
        >>> rule = Drift(horizon=2, lookback=3).fit([Series(np.arange(9.0))])
        >>> rule.forecast(np.array([[[1.0], [5.0], [3.0]]])).mean[0, :, 0].tolist()
        [4.0, 5.0]
    """

    def __init__(self, horizon: int, lookback: int, draws: int = 200) -> None:
        if lookback < 2:
            raise InputError("a line goes through two values", lookback, "Pass a lookback of 2 or more.")
        self.lookback, self.horizon, self.draws = lookback, horizon, draws

    def learn(self, series: Sequence[Series]) -> None:
        """Nothing to learn."""

    def point(
        self, values: Float64[ndarray, "batch lookback variables"]
    ) -> Float64[ndarray, "batch horizon variables"]:
        slope = (values[:, -1] - values[:, 0]) / (self.lookback - 1)
        return values[:, -1:] + slope[:, None] * np.arange(1, self.horizon + 1)[:, None]


class SeasonalNaive(PointForecaster):
    """The value of one season before.

    Arguments:
        season: Steps of a season; 144 for a day of ten-minute steps.
        horizon: Steps to predict.
        draws: Errors that are kept.

    Example:
        >>> day = np.tile(np.arange(4.0), 6)
        >>> rule = SeasonalNaive(season=4, horizon=2).fit([Series(day)])
        >>> rule.forecast(day[None, -4:, None]).mean[0, :, 0].tolist()
        [0.0, 1.0]
    """

    def __init__(self, season: int, horizon: int, draws: int = 200) -> None:
        if season < 1:
            raise InputError("a season has at least one step", season, "Pass a positive number.")
        self.lookback, self.season, self.horizon, self.draws = season, season, horizon, draws

    def learn(self, series: Sequence[Series]) -> None:
        """Nothing to learn."""

    def point(
        self, values: Float64[ndarray, "batch lookback variables"]
    ) -> Float64[ndarray, "batch horizon variables"]:
        return values[:, np.arange(self.horizon) % self.season]


class RidgeAR(PointForecaster):
    """Autoregression by ridge: a direct linear regression for each step and variable.

    ``y[t+h] = b_h + sum_i w_hi y[t-i]`` with i over the last `order` values and, where there is a season, over the
    values around ``t + h`` one season before. Values are standardised by the fitted series.

    Arguments:
        horizon: Steps to predict.
        order: Lags.
        season: Steps of a season; 0 for none.
        penalty: Weight of the squared coefficients, relative to the number of rows; 0 is least squares.
        draws: Errors that are kept.

    Raises:
        InputError: no lags, a negative season or penalty.

    Example:
        >>> line = Series(np.arange(60.0))
        >>> rule = RidgeAR(horizon=3, order=2, penalty=1e-9).fit([line])
        >>> rule.forecast(np.array([[[100.0], [101.0]]])).mean[0, :, 0].round(3).tolist()
        [102.0, 103.0, 104.0]
    """

    def __init__(self, horizon: int, order: int = 12, season: int = 0, penalty: float = 1e-3, draws: int = 200) -> None:
        if order < 1 or season < 0:
            raise InputError("lags are counted from one, a season from zero", (order, season), "Pass such numbers.")
        if not penalty >= 0:
            raise InputError("a penalty is not negative", penalty, "Pass 0 or more.")
        self.horizon, self.order, self.season, self.penalty, self.draws = horizon, order, season, penalty, draws
        self.lookback = max(order, season + order // 4)

    def learn(self, series: Sequence[Series]) -> None:
        """Solve the normal equations of every step and variable."""
        values = np.concatenate([each.values for each in series])
        deviation = values.std(0)
        self.mean_, self.scale_ = values.mean(0), np.where(deviation > 0, deviation, 1.0)
        width = self.lookback + self.horizon
        windows = np.concatenate(
            [np.lib.stride_tricks.sliding_window_view(each.values, width, axis=0) for each in series]
        )
        scaled = (np.moveaxis(windows, -1, 1) - self.mean_) / self.scale_
        past, future = scaled[:, : self.lookback], scaled[:, self.lookback :]
        self.weights_ = [
            np.stack([self._solve(inputs, future[:, step, v]) for v, inputs in enumerate(self._inputs(past, step))])
            for step in range(self.horizon)
        ]

    def _solve(self, inputs: ndarray, target: ndarray) -> Float64[ndarray, " inputs"]:
        if not self.penalty:  # normal equations are singular where a variable is constant
            return lstsq(inputs, target)[0]
        free = np.r_[0.0, np.ones(inputs.shape[1] - 1)]  # the intercept is not shrunk
        gram = inputs.T @ inputs + self.penalty * len(inputs) * np.diag(free)
        return solve(gram, inputs.T @ target, assume_a="pos")

    def _lags(self, step: int) -> ndarray:
        """How far back from the end of the window the inputs of a step are; 1 is the last value."""
        last = np.arange(1, self.order + 1)
        if not self.season:
            return last
        near = np.arange(-(self.order // 4), self.order // 4 + 1)
        around = self.season - step % self.season + near
        return np.union1d(last, around[around >= 1])

    def _inputs(
        self, past: Float64[ndarray, "batch lookback variables"], step: int
    ) -> Float64[ndarray, "variables batch inputs"]:
        lagged = np.moveaxis(past[:, self.lookback - self._lags(step)], -1, 0)
        return np.concatenate([np.ones((*lagged.shape[:2], 1)), lagged], axis=2)

    def point(
        self, values: Float64[ndarray, "batch lookback variables"]
    ) -> Float64[ndarray, "batch horizon variables"]:
        self._refuse_unfitted("weights_")
        past = (values - self.mean_) / self.scale_
        steps = [np.einsum("vbi,vi->bv", self._inputs(past, h), self.weights_[h]) for h in range(self.horizon)]
        return np.stack(steps, axis=1) * self.scale_ + self.mean_
