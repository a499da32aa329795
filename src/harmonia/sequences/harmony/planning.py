"""Which number of units at which step: dynamic programming over the horizon.

The plan a_1, ..., a_H minimises ``sum_t [c_o E(a_t - D_t)^+ + c_u E(D_t - a_t)^+ + c_s |a_t - a_(t-1)|
+ c_b 1(a_t != a_(t-1))]`` over a grid of allocations such that

* a_t reaches the requirement of step t (the quantile that keeps the SLA) wherever it can,
* nothing is added before the start-up delay is over, since it had to be ordered earlier,
* nothing is taken away within the cool-down after the last change, and no step is larger than allowed.

The state is the allocation and the steps that are left of the cool-down; one step costs O(A^2 + A C).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.sequences.harmony.demand import Demand

SHORTFALL = 1e6
"""Price of each missing unit of a requirement: so high that a reachable one is always met."""


@dataclass(frozen=True)
class Prices:
    """What things cost, in any one currency.

    Attributes:
        over: Of a unit of resource that is not used, for one step.
        under: Of a unit of demand that is not served, for one step.
        change: Of moving by one unit of resource.
        switch: Of moving at all.
    """

    over: float = 1.0
    under: float = 20.0
    change: float = 0.1
    switch: float = 0.0

    def __post_init__(self) -> None:
        free = min(self.change, self.switch) >= 0 and max(self.change, self.switch) < np.inf
        if not (0 < self.over < np.inf and 0 < self.under < np.inf and free):
            raise InputError("prices are positive; those of changes may be zero", self, "Pass such prices.")


@dataclass(frozen=True)
class Limits:
    """What moves are possible, in steps of the plan.

    Attributes:
        delay: Steps until an addition serves; at least 1.
        cooldown: Steps after a change in which nothing is taken away.
        max_step: Most grid places that one move passes; 0 for any.
    """

    delay: int = 1
    cooldown: int = 0
    max_step: int = 0

    def __post_init__(self) -> None:
        if self.delay < 1 or self.cooldown < 0 or self.max_step < 0:
            raise InputError("delays count from 1, the others from 0", self, "Pass such numbers of steps.")


def best_plan(
    stage: Float64[ndarray, "horizon grid"],
    usable: Float64[ndarray, " grid"],
    start: int,
    prices: Prices,
    limits: Limits,
    waiting: int = 0,
) -> tuple[list[int], float]:
    """The plan of least cost, as places in the grid, and its cost.

    Arguments:
        stage: Cost of each allocation at each step.
        usable: The allocations, rising.
        start: Place of the present allocation.
        prices: Of moves.
        limits: Of moves.
        waiting: Steps that are left of the cool-down.

    Example:
        >>> stage = np.array([[5.0, 0.0, 5.0], [5.0, 5.0, 0.0]])
        >>> best_plan(stage, np.array([1.0, 2.0, 3.0]), 0, Prices(), Limits())
        ([1, 2], 0.2)
    """
    horizon, count = stage.shape
    if not 0 <= start < count:
        raise InputError("the present allocation is not in the grid", start, f"Pass 0 to {count - 1}.")
    gap = np.abs(np.arange(count)[:, None] - np.arange(count))
    move = prices.change * np.abs(usable[:, None] - usable) + prices.switch * (gap > 0)
    if limits.max_step:
        move = np.where(gap > limits.max_step, np.inf, move)
    up = np.where(np.tri(count, dtype=bool), np.inf, move)
    down = np.where(np.tri(count, dtype=bool).T, np.inf, move)
    cooldown = max(limits.cooldown, waiting)
    value = np.zeros((cooldown + 1, count))
    choices: list[tuple[ndarray, ndarray, ndarray]] = []
    for step in range(horizon - 1, -1, -1):
        value = value + stage[step]
        after = value[limits.cooldown]  # a move starts the cool-down
        raise_cost, raise_to = _least(up + after) if step + 1 >= limits.delay else _never(count)
        lower_cost, lower_to = _least(down + after)
        stay = value[np.r_[0, np.arange(cooldown)]]  # one step less to wait
        best, choice = np.minimum(stay, raise_cost), np.where(raise_cost < stay, 1, 0)
        free = lower_cost < best[0]
        best[0], choice[0] = np.where(free, lower_cost, best[0]), np.where(free, 2, choice[0])
        choices.append((choice, raise_to, lower_to))
        value = best
    path, place, left = [], start, waiting
    for choice, raise_to, lower_to in reversed(choices):
        taken = choice[left, place]
        if taken:
            place, left = int((raise_to if taken == 1 else lower_to)[place]), limits.cooldown
        else:
            left = max(0, left - 1)
        path.append(place)
    return path, float(value[waiting, start])


def _least(costs: ndarray) -> tuple[ndarray, ndarray]:
    place = costs.argmin(1)
    return np.take_along_axis(costs, place[:, None], 1)[:, 0], place


def _never(count: int) -> tuple[ndarray, ndarray]:
    return np.full(count, np.inf), np.zeros(count, dtype=np.int64)


def stage_costs(
    demand: Demand,
    usable: Float64[ndarray, " grid"],
    requirement: Float64[ndarray, " horizon"],
    prices: Prices,
) -> Float64[ndarray, "horizon grid"]:
    """Expected cost of each allocation at each step, and the price of missing the requirement."""
    short = np.maximum(0.0, requirement[:, None] - usable)
    return demand.expected_costs(usable, prices.over, prices.under) + SHORTFALL * short


def budget_plan(
    demand: Demand,
    usable: Float64[ndarray, " grid"],
    start: int,
    sla: float,
    prices: Prices,
    limits: Limits,
    waiting: int = 0,
) -> tuple[list[int], float]:
    """The cheapest plan whose violations average `sla` over the horizon, rather than at every step.

    A price on the probability of a violation is raised by bisection until the average is kept.
    """
    costs = demand.expected_costs(usable, prices.over, prices.under)
    beyond = np.stack([demand.exceedance(a) for a in usable], axis=1)
    low, high = 0.0, 1.0

    def planned(price: float) -> tuple[list[int], float, float]:
        path, cost = best_plan(costs + price * beyond, usable, start, prices, limits, waiting)
        return path, cost, float(beyond[np.arange(len(path)), path].mean())

    while planned(high)[2] > sla and high < SHORTFALL:
        low, high = high, 4 * high
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if planned(middle)[2] > sla else (low, middle)
    path, cost, violated = planned(high)
    return path, cost - high * violated * len(path)
