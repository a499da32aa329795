"""What predicts: learn from past series, then say from a window of the past what comes next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Float64
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.media import Series
from harmonia.parts.forecasting.forecast import Forecast, SampleForecast

F = TypeVar("F", bound="Forecaster")
P = TypeVar("P", bound="PointForecaster")


class Forecaster(ABC):
    """Predicts the next `horizon` values of series from their last `lookback` values.

    A forecast sees nothing but the window it is given, so it cannot know the future; what was learnt comes from `fit`.

    Attributes:
        lookback: Length of the window.
        horizon: Steps to predict.
    """

    lookback: int
    horizon: int

    @abstractmethod
    def fit(self: F, series: Sequence[Series]) -> F:
        """Learn from series that have the same variables.

        Raises:
            InputError: series that are too short, or differ in their variables.
        """

    @abstractmethod
    def forecast(self, values: Float[ndarray, "batch lookback variables"], times: ndarray | None = None) -> Forecast:
        """Predict what follows each window.

        Arguments:
            values: Windows of the past, the latest value last.
            times: Their times, ``[batch, lookback]``, for forecasters that know the calendar.
        """


class PointForecaster(Forecaster):
    """A rule that predicts one number, with errors as it made them on the series it was fitted to.

    `fit` predicts at up to `draws` earlier origins and keeps the errors of whole horizons; a forecast is the rule's
    prediction plus each of them, so that steps keep their dependence.
    """

    draws: int = 200
    errors_: Float64[ndarray, "draws horizon variables"]

    @abstractmethod
    def learn(self, series: Sequence[Series]) -> None:
        """Learn the rule's parameters."""

    @abstractmethod
    def point(
        self, values: Float64[ndarray, "batch lookback variables"]
    ) -> Float64[ndarray, "batch horizon variables"]:
        """Predict one number each."""

    def fit(self: P, series: Sequence[Series]) -> P:
        usable = [each for each in series if len(each) >= self.lookback + self.horizon]
        if not usable:
            got = max((len(each) for each in series), default=0)
            raise InputError(
                f"a series needs {self.lookback + self.horizon} values to fit to", got, "Pass longer ones."
            )
        self.learn(usable)
        errors = []
        for each in usable:
            last = len(each) - self.horizon
            count = min(-(-self.draws // len(usable)), last - self.lookback + 1)
            starts = np.unique(np.linspace(self.lookback, last, count).astype(np.int64))
            windows = np.stack([each.values[at - self.lookback : at] for at in starts])
            truths = np.stack([each.values[at : at + self.horizon] for at in starts])
            errors.append(truths - self.point(windows))
        self.errors_ = np.concatenate(errors)
        return self

    def forecast(
        self, values: Float[ndarray, "batch lookback variables"], times: ndarray | None = None
    ) -> SampleForecast:
        if values.shape[1] != self.lookback:
            raise InputError(f"a window has {self.lookback} values", values.shape[1], "Pass the last ones.")
        return SampleForecast(self.point(np.asarray(values, dtype=np.float64))[None] + self.errors_[:, None])
