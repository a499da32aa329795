"""What predicts: learn from past series, then say from a window of the past what comes next."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Float64
from numpy import ndarray
from sklearn.exceptions import NotFittedError

from harmonia.core.errors import InputError
from harmonia.media import Series
from harmonia.parts.forecasting.forecast import Forecast, SampleForecast

F = TypeVar("F", bound="Forecaster")
P = TypeVar("P", bound="PointForecaster")


class NotFitted(InputError, NotFittedError):
    """Something was asked of a forecaster that has learnt nothing yet; scikit-learn's callers know it too."""


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

    def _refuse_unfitted(self, learnt: str) -> None:
        """Without the attribute that learning leaves there is no answer."""
        if not hasattr(self, learnt):
            raise NotFitted("this forecaster knows nothing yet", "no fit", "Call fit first.")


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

    def fit(self: P, series: Series | Sequence[Series]) -> P:
        """Learn from a series, or from several that have the same variables, and keep the errors made on them.

        Raises:
            InputError: no series, too short ones, or ones that differ in their variables; no horizon or no draws.
        """
        series = series_of(series)
        if self.horizon < 1 or self.draws < 1:
            got = f"horizon={self.horizon}, draws={self.draws}"
            raise InputError("a forecast has one step and one draw at least", got, "Pass positive numbers.")
        usable = [each for each in series if len(each) >= self.lookback + self.horizon]
        if not usable:
            needed, longest = self.lookback + self.horizon, max(len(each) for each in series)
            raise InputError(f"a series needs {needed} values to fit to", longest, "Pass longer ones.")
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
        self._refuse_unfitted("errors_")
        windows = np.asarray(values, dtype=np.float64)
        wanted = (self.lookback, self.errors_.shape[2])
        if windows.ndim != 3 or windows.shape[1:] != wanted:
            what = f"a window has {wanted[0]} values of {wanted[1]} variables"
            raise InputError(what, f"shape {windows.shape}", "Pass [windows, values, variables], the latest last.")
        return SampleForecast(self.point(windows)[None] + self.errors_[:, None])


def series_of(series: Any) -> list[Series]:
    """A series, or several with the same variables, as a list.

    Raises:
        InputError: none, something else than series, or variables that differ.

    Example:
        >>> len(series_of(Series(np.arange(3.0))))
        1
    """
    several = [series] if isinstance(series, Series) else list(series)
    strange = [type(each).__name__ for each in several if not isinstance(each, Series)]
    if strange or not several:
        got = strange[0] if strange else "none"
        raise InputError("a forecaster is fitted to series", got, "Wrap values: Series(values).")
    names = {tuple(each.names) for each in several}
    if len(names) != 1:
        raise InputError("all series have the same variables", sorted(names), "Pass such series.")
    return several
