"""Replaying a trace under any policy: what would have happened, in the same terms for all.

At step k a policy sees demand up to k and orders r_k units. More units serve from ``k + ceil(delay / interval)`` on,
fewer from ``k + 1`` on. A step is violated when demand exceeds what the units that serve can give. Demand itself does
not react to shortage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.media import Series
from harmonia.sequences.harmony.foresight import Foresight
from harmonia.sequences.harmony.planning import Prices
from harmonia.sequences.harmony.recommendation import Recommendation
from harmonia.sequences.harmony.rules import Policy
from harmonia.sequences.harmony.scaler import ResourceScaler


class Outcome(NamedTuple):
    """What a policy did to a trace.

    Attributes:
        name: Of the policy.
        units: That served at each evaluated step.
        demand: At these steps.
        violations: Share of steps with demand above capacity.
        shortage: Resource hours that were missing.
        waste: Resource hours that were not used.
        changes: Changes a day.
        cost: At the given prices, moves included, in prices times steps.
    """

    name: str
    units: Int64[ndarray, " steps"]
    demand: Float64[ndarray, " steps"]
    violations: float
    shortage: float
    waste: float
    changes: float
    cost: float

    def violated(self, capacity: float) -> Bool[ndarray, " steps"]:
        """Which steps were violated."""
        return self.demand > self.units * capacity


@dataclass(frozen=True)
class Setting:
    """The rules of a replay.

    Attributes:
        capacity: Resource of a unit.
        delay: Steps until more units serve.
        hours: Of a step.
        prices: Of excess, shortage and moves.
        min_units, max_units: Bounds that hold for every policy.
    """

    capacity: float
    delay: int = 1
    hours: float = 1 / 6
    prices: Prices = field(default_factory=Prices)
    min_units: int = 1
    max_units: int = 1000


def replay(
    trace: Series, column: str, policy: Policy, setting: Setting, *, first: int, last: int | None = None
) -> Outcome:
    """Let a policy decide from row `first` on; the steps after it are evaluated.

    Raises:
        InputError: no such variable, or nothing to evaluate.
    """
    if column not in trace.names:
        raise InputError("there is no such variable", f"'{column}'", f"Variables: {', '.join(trace.names)}.")
    place = list(trace.names).index(column)
    demand = trace.values[:, place]
    last = len(trace) - 1 if last is None else last
    if not 0 < first < last < len(trace):
        raise InputError("a replay needs steps after its warm-up", f"{first} to {last} of {len(trace)}", "Shorten it.")
    policy.begin(trace, place, first, setting.capacity)
    serving = ordered = int(np.clip(np.ceil(demand[first] / setting.capacity), setting.min_units, setting.max_units))
    arriving: list[tuple[int, int]] = []  # (step from which on, units)
    units = np.empty(last - first, dtype=np.int64)
    for step in track(range(first, last), policy.name):
        wanted = policy.decide(step, demand[: step + 1], ordered)
        wanted = int(np.clip(wanted, setting.min_units, setting.max_units))
        if wanted > serving:
            kept = [(when, count) for when, count in arriving if count <= wanted]
            highest = max((count for _, count in kept), default=serving)
            arriving = kept + ([(step + setting.delay, wanted)] if wanted > highest else [])
        else:
            serving, arriving = wanted, []
        ordered = wanted
        for when, count in list(arriving):
            if when <= step + 1:
                serving = max(serving, count)
        arriving = [(when, count) for when, count in arriving if when > step + 1]
        units[step - first] = serving
    return outcome(policy.name, units, demand[first + 1 : last + 1], setting)


def outcome(
    name: str, units: Int64[ndarray, " steps"], demand: Float64[ndarray, " steps"], setting: Setting
) -> Outcome:
    """Add up what units did to demand."""
    usable = units * setting.capacity
    short, spare = np.maximum(0.0, demand - usable), np.maximum(0.0, usable - demand)
    moves = np.abs(np.diff(usable))
    prices = setting.prices
    cost = prices.over * spare.sum() + prices.under * short.sum() + prices.change * moves.sum()
    return Outcome(
        name=name,
        units=units,
        demand=demand,
        violations=float((short > 1e-12).mean()),
        shortage=float(short.sum() * setting.hours),
        waste=float(spare.sum() * setting.hours),
        changes=float((moves > 0).sum() / (len(units) * setting.hours / 24)),
        cost=float(cost + prices.switch * (moves > 0).sum()),
    )


class Harmony(Policy):
    """The method as a policy: forecast, plan, adapt.

    Arguments:
        foresight: Forecasts for each step.
        scaler: Decides.
        name: For tables and pictures.
        throttled: Rows of the trace in which demand was at its limit; none unless given.
    """

    def __init__(
        self,
        foresight: Foresight,
        scaler: ResourceScaler,
        name: str = "HARMONY",
        throttled: Bool[ndarray, " rows"] | None = None,
    ) -> None:
        self._foresight, self.scaler, self.name, self._throttled = foresight, scaler, name, throttled
        self.recommendations: list[Recommendation] = []

    def begin(self, trace: Series, column: int, first: int, capacity: float) -> None:
        super().begin(trace, column, first, capacity)
        self._foresight.begin(trace, first)

    def decide(self, step: int, seen: Float64[ndarray, " seen"], current: int) -> int:
        self.scaler.observe(float(seen[-1]), self._throttled is not None and bool(self._throttled[step]))
        found = self.scaler.recommend(self._foresight.at(step), current)
        self.recommendations.append(found)
        return found.target


def cheapest(outcomes: Sequence[Outcome], violations: float) -> Outcome | None:
    """The outcome of least waste among those with at most so many violations; None when there is none."""
    kept = [each for each in outcomes if each.violations <= violations + 1e-12]
    return min(kept, key=lambda each: each.waste, default=None)
