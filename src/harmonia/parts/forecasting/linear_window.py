"""The linear rule that networks for forecasting are measured by: a window to a horizon, the same for all variables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from scipy.linalg import solve

from harmonia.core.errors import InputError
from harmonia.media import Series
from harmonia.parts.forecasting.forecaster import PointForecaster


class LinearWindow(PointForecaster):
    """DLinear (arXiv 2205.13504) solved in closed form: ``y = W x + b``, one W for every variable.

    DLinear splits a window into a moving average and the rest and maps both linearly; the split is linear itself, so
    that the two maps are one, and least squares finds what its training approaches. Values are standardised by the
    fitted series, and, if asked, windows by their own mean and spread (RLinear).

    Arguments:
        horizon: Steps to predict.
        lookback: Length of the window.
        penalty: Weight of the squared coefficients, relative to the number of rows.
        own_scale: Normalise each window by itself.
        draws: Errors that are kept.

    Example:
        >>> wave = np.sin(np.arange(200) / 5)
        >>> rule = LinearWindow(horizon=3, lookback=12, penalty=1e-9).fit([Series(wave)])
        >>> found = rule.point(wave[None, -12:, None])[0, :, 0]
        >>> bool(np.abs(found - np.sin(np.arange(200, 203) / 5)).max() < 1e-3)
        True
    """

    def __init__(
        self, horizon: int, lookback: int, penalty: float = 1e-3, own_scale: bool = False, draws: int = 200
    ) -> None:
        if horizon < 1 or lookback < 1:
            raise InputError("a forecast has a horizon and a window", (horizon, lookback), "Give 1 or more.")
        self.horizon, self.lookback, self.penalty, self.own_scale, self.draws = (
            horizon, lookback, penalty, own_scale, draws
        )  # fmt: skip

    def learn(self, series: Sequence[Series]) -> None:
        """Solve the normal equations of all windows of all variables."""
        values = np.concatenate([each.values for each in series])
        deviation = values.std(0)
        self.mean_, self.scale_ = values.mean(0), np.where(deviation > 0, deviation, 1.0)
        size = self.lookback + 1
        gram, moment = np.zeros((size, size)), np.zeros((size, self.horizon))
        rows = 0
        for each in series:
            scaled = (each.values - self.mean_) / self.scale_
            windows = np.lib.stride_tricks.sliding_window_view(scaled, self.lookback + self.horizon, axis=0)
            for variable in range(windows.shape[1]):
                past, future = np.split(windows[:, variable], [self.lookback], axis=1)
                mean, spread = self._own(past)
                inputs = np.concatenate([(past - mean) / spread, np.ones((len(past), 1))], axis=1)
                gram += inputs.T @ inputs
                moment += inputs.T @ ((future - mean) / spread)
                rows += len(past)
        free = np.r_[np.ones(self.lookback), 0.0]  # the intercept is not shrunk
        solved = solve(gram + self.penalty * rows * np.diag(free) + 1e-9 * np.eye(size), moment, assume_a="pos")
        self.weight_, self.bias_ = solved[:-1].T, solved[-1]

    def _own(self, past: ndarray) -> tuple[ndarray, ndarray]:
        """Mean and spread over time of windows ``[..., lookback]``."""
        if not self.own_scale:
            return np.zeros((*past.shape[:-1], 1)), np.ones((*past.shape[:-1], 1))
        return past.mean(-1, keepdims=True), np.sqrt(past.var(-1, keepdims=True) + 1e-5)

    def point(
        self, values: Float64[ndarray, "batch lookback variables"]
    ) -> Float64[ndarray, "batch horizon variables"]:
        self._refuse_unfitted("weight_")
        past = np.moveaxis((values - self.mean_) / self.scale_, 1, 2)
        mean, spread = self._own(past)
        found = ((past - mean) / spread) @ self.weight_.T + self.bias_
        return np.moveaxis(found * spread + mean, 2, 1) * self.scale_ + self.mean_
