"""`ResourceScaler`: from a predictive distribution to a number of units, with reasons."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harmonia.core.errors import InputError
from harmonia.parts.forecasting import Forecast
from harmonia.sequences.harmony.adaptation import Adaptation, AdaptiveLevel
from harmonia.sequences.harmony.demand import Demand
from harmonia.sequences.harmony.planning import Limits, Prices, best_plan, budget_plan, stage_costs
from harmonia.sequences.harmony.recommendation import Bounds, Choice, Recommendation

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
        if not 0 <= duration < math.inf:
            raise InputError("a duration is not negative", duration, "Pass seconds, or words such as 10min.")
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
        target_utilization: Share of it that may be used. The forecast's uncertainty is held in reserve anyway: less
            than 1 is for units that slow down before they are full.
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
    target_utilization: float = 1.0
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
        self._told: dict[int, Demand] = {}  # by the slot of the one step that each decided about
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

    def recommend(
        self,
        dist: Forecast | Demand,
        current: int,
        now: float | None = None,
        *,
        measured: float | None = None,
        target: str | int | None = None,
    ) -> Recommendation:
        """Choose the units to order now.

        Arguments:
            dist: What is known of the next steps' demand, one window.
            current: Units that serve now or have been ordered.
            now: Time in seconds; one interval after the last call unless given.
            measured: Time in seconds of the last step that the forecast has seen; `now` unless given.
            target: Which variable is the demand, by name or place, where several are predicted.

        Raises:
            InputError: an SLA finer than the forecast can tell, a forecast shorter than the start-up delay, several
                windows, or several variables and none named.
        """
        demand = dist if isinstance(dist, Demand) else Demand.one(dist, target)
        if demand.resolution > self.sla:
            got = f"{self.sla:g}, where {demand.resolution:.2g} can be told"
            raise InputError("the SLA is finer than the forecast tells", got, "Draw more samples, or use splines.")
        if demand.values.shape[1] < self._delay:
            got = f"{demand.values.shape[1]} steps"
            raise InputError(f"the start-up delay covers {self._delay} steps", got, "Forecast further.")
        now = self._now(now)
        self._tell(demand, now if measured is None else measured)
        requirement = demand.requirement(self.level.value)
        waiting = self._waiting(now)
        bounds = Bounds(self.min_units, self.max_units, self.max_step)
        plan, cost = self._planned(demand, requirement, current, waiting, bounds)
        units = max(plan[: self._delay])
        uncapped = self._uncapped(demand, requirement, current, waiting, units)
        covered = slice(0, self._delay)
        beyond, median = demand.exceedance(units * self.serves)[covered], demand.requirement(0.5)[covered]
        highest = np.maximum(demand.requirement(0.001), requirement)[covered]
        wanted = max(self._whole(value) for value in requirement[covered])
        if units != current:
            self._changed = now
        choice = Choice(units, wanted, uncapped, current)
        binding = bounds.binding(choice, waiting > 0, self.budget)
        said = bounds.reason(binding, choice, float(requirement[covered].max()))
        return Recommendation(
            target=units,
            lower=min(units, self.units(float(median.max()))),
            upper=max(units, self.units(float(highest.max()))),
            uncapped=uncapped,
            plan=plan,
            requirement=tuple(map(float, requirement)),
            p_violation=float(beyond.max()),
            expected_cost=cost,
            expected_waste=float(demand.expected_costs(np.array([units * self.serves]), 1.0, 0.0)[covered].mean()),
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

        Raises:
            InputError: a demand that is not finite.
        """
        if demand is not None and not math.isfinite(demand):
            raise InputError("the last sound demand is a finite number", demand, "Pass None where there is none.")
        self._now(now)
        wanted = current if demand is None else max(current, self._whole(demand / 0.8))  # a fifth in reserve
        target = int(np.clip(wanted, self.min_units, self.max_units))
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

    def observe(self, demand: float, throttled: bool = False, at: float | None = None) -> bool:
        """Learn the demand of the step that is over; returns whether it exceeded what was asked for.

        A demand is compared with the forecast that decided about its step, `startup_delay` earlier; without one, or
        when its step was learnt already, nothing is learnt.

        Arguments:
            demand: What was measured.
            throttled: Whether it was at its limit, and so is a lower bound (`AdaptiveLevel`).
            at: Time of the measurement in seconds; one interval after the last call of `recommend` unless given.
        """
        told = self._told.pop(self._slot(self._next() if at is None else at), None)
        if told is None or not np.isfinite(demand):
            return False
        level = told.level_of(demand)
        violated = level < self.level.value
        self.level.observe(level, throttled)
        return violated

    def _tell(self, demand: Demand, measured: float) -> None:
        """Keep what is said about the step that is decided now; the first word about a step counts."""
        known = self._slot(measured)
        self._told = {slot: told for slot, told in self._told.items() if slot > known}
        self._told.setdefault(known + self._delay, Demand(demand.values[:, [self._delay - 1]]))

    def _slot(self, time: float) -> int:
        """Number of the interval in which a time lies; a time that rounding put just before one lies in it."""
        return math.floor(time / self._step + 1e-6)

    def _next(self) -> float:
        return 0.0 if self._last is None else self._last + self._step

    def _now(self, now: float | None) -> float:
        self._last = self._next() if now is None else now
        return self._last

    def _waiting(self, now: float) -> int:
        if self._changed is None:
            return 0
        return max(0, math.ceil(self._pause - (now - self._changed) / self._step - 1e-9))

    def _planned(
        self, demand: Demand, requirement: np.ndarray, current: int, waiting: int, bounds: Bounds
    ) -> tuple[tuple[int, ...], float]:
        """Units at each step within bounds, and what they are expected to cost."""
        grid = self._grid(demand, requirement, current, bounds)
        usable = grid * self.serves
        start = int(np.searchsorted(grid, np.clip(current, grid[0], grid[-1])))
        # Places of a thinned grid are several units apart.
        places = max(1, bounds.step // max(1, int(grid[1] - grid[0]) if len(grid) > 1 else 1)) if bounds.step else 0
        limits = Limits(self._delay, self._pause, places)
        if self.budget:
            path, cost = budget_plan(demand, usable, start, self.sla, self._prices, limits, waiting)
        else:
            stage = stage_costs(demand, usable, requirement, self._prices)
            path, _ = best_plan(stage, usable, start, self._prices, limits, waiting)
            cost = self._cost(demand, usable, path, start)
        return tuple(int(grid[place]) for place in path), cost

    def _uncapped(self, demand: Demand, requirement: np.ndarray, current: int, waiting: int, target: int) -> int:
        """The target of the plan without bounds, which is made only where they leave something out."""
        low, high = self._range(demand, requirement, current)
        if self.min_units <= max(1, low) and high <= self.max_units and not self.max_step:
            return target
        plan, _ = self._planned(demand, requirement, current, waiting, Bounds(1, max(1, high)))
        return max(plan[: self._delay])

    def _range(self, demand: Demand, requirement: np.ndarray, current: int) -> tuple[int, int]:
        """The fewest and the most units that may matter."""
        low = min(self._whole(float(demand.requirement(0.7).min())), current)
        high = max(self._whole(float(max(requirement.max(), demand.requirement(0.001).max()))), current)
        return low, high + 1

    def _grid(self, demand: Demand, requirement: np.ndarray, current: int, bounds: Bounds) -> np.ndarray:
        """Units to choose from: all that may matter, thinned where they are too many."""
        low, high = np.clip(self._range(demand, requirement, current), bounds.least, bounds.most)
        grid = np.unique(np.linspace(low, high, MOST_LEVELS).round().astype(np.int64))
        inside = int(np.clip(current, bounds.least, bounds.most))
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
            "told": [(slot, demand.values[:, 0].tolist()) for slot, demand in self._told.items()],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Raises:
            InputError: it is not such a state.
        """
        try:
            changed = None if state["changed"] is None else float(state["changed"])
            last = None if state["now"] is None else float(state["now"])
            told = {
                int(slot): Demand(np.array(values, dtype=np.float64).reshape(-1, 1)) for slot, values in state["told"]
            }
            self.level.restore(state["level"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("this is no saved state of a scaler", error, "Delete it to start afresh.") from error
        self._changed, self._last, self._told = changed, last, told
