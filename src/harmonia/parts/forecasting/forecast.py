"""What a forecaster says about the next steps: a distribution, whatever it is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from jaxtyping import Float, Float64
from numpy import ndarray

from harmonia.core.errors import InputError


class Forecast(ABC):
    """Predictive distributions of ``[batch, horizon, variables]`` numbers, in the units of the data.

    Quantiles and distribution functions are those of each number by itself; `sample` draws whole futures, whose steps
    and variables belong together.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """Batch, horizon, variables."""

    @property
    @abstractmethod
    def mean(self) -> Float64[ndarray, "batch horizon variables"]:
        """Expectation of each number."""

    @abstractmethod
    def sample(self, count: int, seed: int = 0) -> Float64[ndarray, "count batch horizon variables"]:
        """Draw whole futures."""

    @abstractmethod
    def quantile(self, levels: Float[ndarray, " levels"]) -> Float64[ndarray, "levels batch horizon variables"]:
        """Quantiles of each number.

        Raises:
            InputError: a level outside of [0, 1].
        """

    @abstractmethod
    def cdf(self, values: Float[ndarray, "batch horizon variables"]) -> Float64[ndarray, "batch horizon variables"]:
        """Probability that each number is at most the value."""

    @property
    def resolution(self) -> float:
        """The smallest tail probability that quantiles can tell; 0 where they are exact."""
        return 0.0


def checked_levels(levels: Float[ndarray, " levels"]) -> Float64[ndarray, " levels"]:
    """The levels in float64.

    Raises:
        InputError: one lies outside of [0, 1].
    """
    array = np.asarray(levels, dtype=np.float64)
    if not ((array >= 0) & (array <= 1)).all():
        raise InputError("the level of a quantile lies in [0, 1]", array, "Pass probabilities.")
    return array


class SampleForecast(Forecast):
    """A forecast that is a set of equally likely futures; a single future is a point forecast.

    Arguments:
        values: The futures, ``[draws, batch, horizon, variables]``.

    Raises:
        InputError: no futures, or one that is not finite.

    Example:
        >>> forecast = SampleForecast(np.arange(5.0).reshape(5, 1, 1, 1))
        >>> forecast.mean.item(), forecast.quantile(np.array([0.25])).item(), forecast.cdf(np.ones((1, 1, 1))).item()
        (2.0, 1.0, 0.4)
    """

    def __init__(self, values: ndarray) -> None:
        if values.ndim != 4 or not values.size:
            raise InputError("futures have the shape [draws, batch, horizon, variables]", values.shape, "Pass some.")
        if not np.isfinite(values).all():
            raise InputError("a future is not finite", "NaN or infinity", "Check the forecaster and its input.")
        self.values = np.asarray(values, dtype=np.float64)

    @property
    def shape(self) -> tuple[int, int, int]:
        batch, horizon, variables = self.values.shape[1:]
        return batch, horizon, variables

    @property
    def mean(self) -> Float64[ndarray, "batch horizon variables"]:
        return self.values.mean(0)

    def sample(self, count: int, seed: int = 0) -> Float64[ndarray, "count batch horizon variables"]:
        """The futures themselves where there are exactly `count`, otherwise random ones of them."""
        if count == len(self.values):
            return self.values
        return self.values[np.random.default_rng(seed).integers(len(self.values), size=count)]

    def quantile(self, levels: Float[ndarray, " levels"]) -> Float64[ndarray, "levels batch horizon variables"]:
        return np.quantile(self.values, checked_levels(levels), axis=0)

    def cdf(self, values: Float[ndarray, "batch horizon variables"]) -> Float64[ndarray, "batch horizon variables"]:
        return (self.values <= values).mean(0)

    @property
    def resolution(self) -> float:
        return 1.0 / len(self.values)
