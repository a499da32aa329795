"""Demand as the decision sees it: quantiles of the next steps, in units of the resource.

`Demand` is a table of quantiles, from any forecast; `WorkloadModel` turns a forecast of traffic into one of demand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.parts.conjugate import NormalInverseGamma
from harmonia.parts.forecasting import Forecast
from harmonia.sequences.harmony.distribution import HarmonyForecast
from harmonia.sequences.harmony.throttling import AT_LIMIT

LEVELS = np.r_[(np.arange(200) + 0.5) / 200, 0.999, 0.9995, 0.9999]
"""Levels of the table: the middles of 200 equally likely parts, and three further into the upper tail."""

_MIDDLE = 100
"""Row of the table beside the median."""

_DEPTH = 0.08
"""How far below zero the level runs while the requirement grows by another distance from median to top."""


@dataclass(frozen=True)
class Demand:
    """Quantiles of demand at `LEVELS` for each step.

    Attributes:
        values: ``[levels, horizon]``, rising with the level.
        resolution: Smallest tail probability that the forecast could tell.

    Raises:
        InputError: another shape, or quantiles that are not finite.
    """

    values: Float64[ndarray, "levels horizon"]
    resolution: float = 0.0

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or len(self.values) != len(LEVELS) or not self.values.size:
            raise InputError(f"demand has the shape [{len(LEVELS)}, horizon]", self.values.shape, "Use Demand.of.")
        if not np.isfinite(self.values).all():
            raise InputError("demand is finite", "NaN or infinity", "Check the forecast and its input.")

    @classmethod
    def of(cls, forecast: Forecast, target: str | int | None = None) -> list[Demand]:
        """One for each window of a forecast.

        Arguments:
            forecast: Of the demand, and perhaps of other variables.
            target: Which variable is the demand, by name or place; needed where there are several.

        Raises:
            InputError: no such variable, or several and none named.
        """
        tables = forecast.quantile(LEVELS)[..., _place(forecast, target)]
        return [cls(tables[:, row], forecast.resolution) for row in range(tables.shape[1])]

    @classmethod
    def one(cls, forecast: Forecast, target: str | int | None = None) -> Demand:
        """That of the only window of a forecast.

        Raises:
            InputError: several windows, or what `of` raises.
        """
        if forecast.shape[0] != 1:
            raise InputError("a decision takes one window", forecast.shape[0], "Pass the forecast of one workload.")
        return cls.of(forecast, target)[0]

    @classmethod
    def of_samples(cls, samples: Float[ndarray, "draws horizon"]) -> Demand:
        """From equally likely futures."""
        return cls(np.quantile(samples, LEVELS, axis=0), 1 / len(samples))

    def requirement(self, level: float) -> Float64[ndarray, " horizon"]:
        """Demand that is exceeded with probability `level`, at each step.

        Levels below zero, to which adaptation may come when a forecast is too narrow, ask for more than the top of
        the table: by its distance from the median for every 0.08 below zero.
        """
        top, middle = self.values[-1], self.values[_MIDDLE]
        smallest = 1 - LEVELS[-1]
        if level < smallest:
            return top + (top - middle) * (smallest - level) / _DEPTH
        return np.array([np.interp(1 - level, LEVELS, column) for column in self.values.T])

    def level_of(self, demand: float, step: int = 0) -> float:
        """The level whose requirement is exactly `demand`: the inverse of `requirement` at one step."""
        column = self.values[:, step]
        if demand > column[-1]:
            spread = max(float(column[-1] - column[_MIDDLE]), 1e-9 * max(1.0, abs(float(column[-1]))))
            return float(1 - LEVELS[-1] - _DEPTH * (demand - column[-1]) / spread)
        return float(1 - np.interp(demand, column, LEVELS))

    def exceedance(self, allocation: float) -> Float64[ndarray, " horizon"]:
        """Probability that demand exceeds an allocation, at each step."""
        beyond = [np.interp(allocation, column, LEVELS, right=1.0) for column in self.values.T]
        return 1 - np.array(beyond)

    def expected_costs(
        self, allocations: Float64[ndarray, " allocations"], over: float, under: float
    ) -> Float64[ndarray, "horizon allocations"]:
        """``over E(a - D)^+ + under E(D - a)^+`` for every step and allocation.

        The distribution function is taken as straight lines between the rows of the table, so that both are integrals
        of it in closed form: ``E(a - D)^+ = int_(-inf)^a F(x) dx``.
        """
        found = np.empty((self.values.shape[1], len(allocations)))
        for step, column in enumerate(self.values.T):
            gaps = np.diff(column)
            area = np.r_[0.0, (gaps * (LEVELS[1:] + LEVELS[:-1]) / 2).cumsum()]  # integral of F up to each row
            row = np.searchsorted(column, allocations, side="right") - 1
            inner = row.clip(0, len(gaps) - 1)
            into = (allocations - column[inner]).clip(0, gaps[inner])
            rise = np.diff(LEVELS)[inner] / np.where(gaps[inner] > 0, gaps[inner], 1.0)
            above = (allocations - column[-1]).clip(0)
            excess = area[inner] + LEVELS[inner] * into + 0.5 * rise * into**2 + above
            mean = column[-1] - area[-1]
            found[step] = over * excess + under * (mean - allocations + excess)
        return found


def _place(forecast: Forecast, target: str | int | None) -> int:
    """Place of the demand among the variables of a forecast."""
    names = forecast.names if isinstance(forecast, HarmonyForecast) else tuple(map(str, range(forecast.shape[2])))
    if target is None and len(names) == 1:
        return 0
    if isinstance(target, str) and target in names:
        return names.index(target)
    if isinstance(target, int) and 0 <= target < len(names):
        return target
    what = "several variables are predicted" if target is None else f"no variable '{target}' is predicted"
    raise InputError(what, ", ".join(names), "Name the demand with `target`.")


def newsvendor(over: float, under: float) -> float:
    """The level of the best allocation when only excess and shortage cost: ``a* = F^-1(under / (under + over))``.

    Example:
        >>> newsvendor(1.0, 19.0)
        0.95
    """
    if not min(over, under) > 0:
        raise InputError("excess and shortage cost something", (over, under), "Pass positive prices.")
    return under / (under + over)


class WorkloadModel:
    """How much of a resource traffic needs: conjugate Bayesian regression that forgets.

    ``demand = w . (traffic, 1) + noise`` with a normal-inverse-gamma posterior (`harmonia.parts.conjugate`); what was
    learnt fades by `keep` each step, so that a new release of the service is learnt anew. A step at which the
    resource was used up to its `limit` shows only that demand was at least so large, and is learnt from as such.

    Arguments:
        features: Number of traffic indicators.
        keep: Share of what was learnt that is kept at each step.

    Example:
        >>> model = WorkloadModel(features=1)
        >>> for load in range(100):
        ...     model.observe(np.array([float(load)]), 2.0 + 0.5 * load)
        >>> bool(abs(model.expect(np.array([50.0])) - 27) < 0.5)
        True
    """

    def __init__(self, features: int = 1, keep: float = 0.995) -> None:
        self._prior = NormalInverseGamma.prior(features + 1, precision=1e-2, shape=1.0, rate=0.01)
        self.posterior = self._prior
        self.features, self.keep = features, keep

    def _inputs(self, traffic: Float[ndarray, "*batch features"]) -> torch.Tensor:
        if traffic.ndim < 1 or traffic.shape[-1] != self.features:
            raise InputError(f"traffic has {self.features} features", traffic.shape, "Pass [..., features].")
        return torch.from_numpy(np.concatenate([traffic, np.ones((*traffic.shape[:-1], 1))], axis=-1)).double()

    def observe(self, traffic: Float[ndarray, " features"], demand: float, limit: float = np.inf) -> None:
        """Learn from one step; `limit` is what the workload could use at most.

        Raises:
            InputError: another number of features, or a value that is not finite.
        """
        faded, inputs = self.posterior.forget(self.keep, self._prior), self._inputs(traffic)
        measured = torch.tensor(float(demand), dtype=torch.float64)
        learn = faded.update_above if demand >= AT_LIMIT * limit else faded.update
        self.posterior = learn(inputs, measured)

    def expect(self, traffic: Float[ndarray, " features"]) -> float:
        """Expected demand."""
        return float(self.posterior.predict(self._inputs(traffic)).location)

    def demand(self, traffic: Float[ndarray, "draws horizon features"], seed: int = 0) -> Demand:
        """Demand from futures of traffic: uncertainty of both is in it."""
        told = self.posterior.predict(self._inputs(traffic))
        generator = torch.Generator().manual_seed(seed)
        draws = told.sample(1, generator)[0].numpy()
        return Demand.of_samples(draws.clip(min=0))
