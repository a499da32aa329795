"""`ResourceScaler`: from a predictive distribution to a number of units, with reasons."""

from __future__ import annotations

import math
import re
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harmonia.core.errors import InputError
from harmonia.parts.forecasting import Forecast
from harmonia.sequences.harmony.adaptation import Adaptation, AdaptiveLevel
from harmonia.sequences.harmony.demand import LEVELS, Demand
from harmonia.sequences.harmony.planning import Limits, Prices, best_plan, budget_plan, stage_costs
from harmonia.sequences.harmony.recommendation import Bounds, Recommendation

MOST_LEVELS = 200
"""Largest number of allocations that a plan chooses from."""

_UNITS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(duration: str | float | int) -> float:
    """A duration in seconds: a number of them, or words such as ``10min``, ``30s``, ``1h``, ``2d``.

    Raises:
        InputError: no such duration.

    Example:
        >>> seconds("10min"), seconds("1.5h"), seconds(30.0)
        (600.0, 5400.0, 30.0)
    """
    if isinstance(duration, (int, float)):
        return float(duration)
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", duration)
    if not found or found[2] not in _UNITS:
        raise InputError("this is no duration", f"'{duration}'", "Write 30s, 10min, 1h or 2d.")
    return float(found[1]) * _UNITS[found[2]]


@dataclass
class ResourceScaler:
    """Chooses units so that cost is least while the SLA holds with the stated probability.

    A unit serves ``unit_capacity * target_utilization`` of demand; a violation is demand above what all units serve.
    Demand is read from the forecast at a level that adapts to how often it was exceeded (`AdaptiveLevel`), and the
    plan over the horizon is found by dynamic programming (`harmonia.sequences.harmony.planning`).

    Arguments:
        unit_capacity: Resource of one unit (cores of a replica, GB, ...).
        target_utilization: Share of it that may be used.
        sla: Share of steps in which demand may exceed what is usable.
        cost_over, cost_under, cost_change, cost_switch: See `Prices`, per unit of resource.
        interval: Between two control steps.
        startup_delay: Until an added unit serves.
        cooldown: After a change, in which nothing is taken away.
        min_units, max_units: Bounds.
        max_step: Most units that one change adds or takes; 0 for any.
        budget: Keep the SLA on average over the horizon rather than at every step.
        adaptation: ``bayes``, ``conformal`` or ``none``.

    Example:
        >>> from harmonia.parts.forecasting import SampleForecast
        >>> futures = np.random.default_rng(0).normal(10, 1, (2000, 1, 6, 1))
        >>> scaler = ResourceScaler(unit_capacity=1.0, target_utilization=1.0, sla=0.01)
        >>> scaler.recommend(SampleForecast(futures), current=8).target
        13
    """

    unit_capacity: float
    target_utilization: float = 0.7
    sla: float = 0.01
    cost_over: float = 1.0
    cost_under: float = 20.0
    cost_change: float = 0.1
    cost_switch: float = 0.0
    interval: str | float = "10min"
    startup_delay: str | float = "10min"
    cooldown: str | float = "0s"
    min_units: int = 1
    max_units: int = 100
    max_step: int = 0
    budget: bool = False
    adaptation: Adaptation = "bayes"
    level: AdaptiveLevel = field(init=False)

    def __post_init__(self) -> None:
        if not (self.unit_capacity > 0 and 0 < self.target_utilization <= 1):
            got = f"capacity {self.unit_capacity}, utilisation {self.target_utilization}"
            raise InputError("a unit has a capacity of which a share is used", got, "Pass a positive capacity.")
        if not 1 <= self.min_units <= self.max_units:
            got = f"{self.min_units} to {self.max_units}"
            raise InputError("bounds of units rise from 1", got, "Pass 1 <= min_units <= max_units.")
        self._step = seconds(self.interval)
        if self._step <= 0:
            raise InputError("the interval is positive", self.interval, "Pass 10min, say.")
        self._prices = Prices(self.cost_over, self.cost_under, self.cost_change, self.cost_switch)
        self._delay = max(1, math.ceil(seconds(self.startup_delay) / self._step))
        self._pause = math.ceil(seconds(self.cooldown) / self._step)
        self.level = AdaptiveLevel(self.sla, self.adaptation)
        self._told: deque[Demand] = deque(maxlen=self._delay)  # of the one step that each decided about
        self._changed: float | None = None
        self._last: float | None = None

    @property
    def serves(self) -> float:
        """Demand that one unit serves."""
        return self.unit_capacity * self.target_utilization

    def units(self, demand: float) -> int:
        """Units that serve a demand, within the bounds."""
        return int(np.clip(self._whole(demand), self.min_units, self.max_units))

    def _whole(self, demand: float) -> int:
        return max(0, math.ceil(demand / self.serves - 1e-9))

    def recommend(self, dist: Forecast | Demand, current: int, now: float | None = None) -> Recommendation:
        """Choose the units to order now.

        Arguments:
            dist: What is known of the next steps' demand, one window.
            current: Units that serve now or have been ordered.
            now: Time in seconds; one interval after the last call unless given.

        Raises:
            InputError: an SLA finer than the forecast can tell, or a forecast shorter than the start-up delay.
        """
        demand = dist if isinstance(dist, Demand) else Demand.of(dist)[0]
        if demand.resolution > self.sla:
            got = f"{self.sla:g}, with {1 / demand.resolution:.0f} samples"
            raise InputError("the SLA is finer than the forecast's samples tell", got, "Draw more, or use splines.")
        if demand.values.shape[1] < self._delay:
            got = f"{demand.values.shape[1]} steps"
            raise InputError(f"the start-up delay covers {self._delay} steps", got, "Forecast further.")
        self._told.append(Demand(demand.values[:, [self._delay - 1]]))
        now = self._now(now)
        requirement = demand.requirement(self.level.value)
        grid = self._grid(demand, requirement, current)
        usable = grid * self.serves
        start = int(np.searchsorted(grid, np.clip(current, grid[0], grid[-1])))
        waiting = self._waiting(now)
        # Places of a thinned grid are several units apart.
        places = max(1, self.max_step // max(1, int(grid[1] - grid[0]) if len(grid) > 1 else 1)) if self.max_step else 0
        limits = Limits(self._delay, self._pause, places)
        if self.budget:
            path, cost = budget_plan(demand, usable, start, self.sla, self._prices, limits, waiting)
        else:
            stage = stage_costs(demand, usable, requirement, self._prices)
            path, _ = best_plan(stage, usable, start, self._prices, limits, waiting)
            cost = self._cost(demand, usable, path, start)
        plan = tuple(int(grid[place]) for place in path)
        target = max(plan[: self._delay])
        covered = slice(0, self._delay)
        beyond, median = demand.exceedance(target * self.serves)[covered], demand.requirement(0.5)[covered]
        wanted = max(self._whole(value) for value in requirement[covered])
        if target != current:
            self._changed = now
        bounds = Bounds(self.min_units, self.max_units, self.max_step)
        binding = bounds.binding(target, wanted, current, waiting > 0)
        said = bounds.reason(binding, target, current, wanted, float(requirement[covered].max()))
        return Recommendation(
            target=target,
            lower=self.units(float(median.max())),
            upper=self.units(float(demand.requirement(0.001)[covered].max())),
            uncapped=wanted,
            plan=plan,
            requirement=tuple(map(float, requirement)),
            p_violation=float(beyond.max()),
            expected_cost=cost,
            expected_waste=float(demand.expected_costs(np.array([target * self.serves]), 1.0, 0.0)[covered].mean()),
            level=self.level.value,
            binding=binding,
            fallback=False,
            reason=f"{said}; P(violation) {beyond.max():.2%}{self._drifted()}",
        )

    def react(
        self, demand: float | None, current: int, now: float | None = None, why: str = "stale data"
    ) -> Recommendation:
        """The rule for when there is no forecast: the ratio rule on the last sound demand, never below `current`.

        Arguments:
            demand: The last sound demand; None when there is none.
            current: Units that serve now.
            now: Time in seconds.
            why: What is wrong, for the reason.
        """
        self._now(now)
        self._told.clear()
        wanted = current if demand is None else self._whole(demand / 0.8)  # a fifth in reserve
        target = int(np.clip(max(current, wanted), self.min_units, self.max_units))
        said = "no sound demand is known" if demand is None else f"the last sound demand was {demand:.3g}"
        return Recommendation(
            target=target,
            lower=target,
            upper=target,
            uncapped=wanted,
            plan=(target,),
            requirement=(),
            p_violation=math.nan,
            expected_cost=math.nan,
            expected_waste=math.nan,
            level=self.level.value,
            binding="fallback",
            fallback=True,
            reason=f"{why}: {said}; nothing is taken away until forecasts are back",
        )

    def observe(self, demand: float, throttled: bool = False) -> bool:
        """Learn the demand of the step that is over; returns whether it exceeded what was asked for.

        A demand is compared with the forecast that decided about its step, `startup_delay` earlier. One that was
        throttled is a lower bound (`AdaptiveLevel`).
        """
        if len(self._told) < self._delay or not np.isfinite(demand):
            return False
        level = self._told[0].level_of(demand)
        violated = level < self.level.value
        self.level.observe(level, throttled)
        return violated

    def _now(self, now: float | None) -> float:
        if now is None:
            now = 0.0 if self._last is None else self._last + self._step
        self._last = now
        return now

    def _waiting(self, now: float) -> int:
        if self._changed is None:
            return 0
        return max(0, math.ceil(self._pause - (now - self._changed) / self._step - 1e-9))

    def _grid(self, demand: Demand, requirement: np.ndarray, current: int) -> np.ndarray:
        """Units to choose from: all that may matter, thinned where they are too many."""
        low = min(self._whole(float(demand.requirement(0.7).min())), current)
        high = max(self._whole(float(max(requirement.max(), demand.requirement(0.001).max()))), current)
        bounds = np.clip([low, high + 1], self.min_units, self.max_units)
        grid = np.unique(np.linspace(bounds[0], bounds[1], MOST_LEVELS).round().astype(np.int64))
        inside = int(np.clip(current, self.min_units, self.max_units))
        return np.union1d(grid, [inside])

    def _cost(self, demand: Demand, usable: np.ndarray, path: list[int], start: int) -> float:
        """What a plan is expected to cost, without the price of missing the SLA."""
        stage = demand.expected_costs(usable, self._prices.over, self._prices.under)
        moves = np.abs(np.diff(usable[[start, *path]]))
        fixed = self._prices.switch * (moves > 0).sum()
        return float(stage[np.arange(len(path)), path].sum() + self._prices.change * moves.sum() + fixed)

    def _drifted(self) -> str:
        if abs(self.level.value - self.sla) <= 0.1 * self.sla:
            return ""
        way = "more often" if self.level.value < self.sla else "less often"
        return f"; forecasts were exceeded {way} than they said, so the level is {self.level.value:.3g}"

    def state(self) -> dict[str, Any]:
        """What survives a restart, as plain values."""
        return {
            "level": self.level.state(),
            "changed": self._changed,
            "now": self._last,
            "told": [demand.values[:, 0].tolist() for demand in self._told],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Raises:
            InputError: it is not such a state.
        """
        try:
            self.level.restore(state["level"])
            self._changed = None if state["changed"] is None else float(state["changed"])
            self._last = None if state["now"] is None else float(state["now"])
            tables = [np.array(values, dtype=np.float64) for values in state["told"]]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("this is no saved state of a scaler", error, "Delete it to start afresh.") from error
        self._told.extend(Demand(values[:, None]) for values in tables if values.shape == LEVELS.shape)
