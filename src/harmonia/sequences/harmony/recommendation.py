"""What a decision says: the units, what they cost and risk, and what decided, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Recommendation:
    """What to run, and why.

    Attributes:
        target: Units to order now.
        lower, upper: Units for the median, and for the 99.9% quantile of demand or the requirement where that is more;
            within the bounds, and widened to hold the target.
        uncapped: The target without `min_units`, `max_units` and `max_step`.
        plan: Units at each coming step.
        requirement: Demand to be met at each step, in units of the resource.
        p_violation: Largest probability, over the steps that the target covers, that demand exceeds its capacity.
        expected_cost: Of the plan, moves included.
        expected_waste: Units of resource that the target leaves unused, mean over the steps it covers.
        level: The tail probability at which demand was read, after adaptation.
        binding: What decided: ``sla``, ``cost``, ``cooldown``, ``max_units``, ``min_units``, ``max_step``, ``budget``,
            ``fallback``.
        fallback: Whether the reactive rule decided, for lack of fresh or sound data.
        reason: The same in a sentence.
    """

    target: int
    lower: int
    upper: int
    uncapped: int
    plan: tuple[int, ...]
    requirement: tuple[float, ...]
    p_violation: float
    expected_cost: float
    expected_waste: float
    level: float
    binding: str
    fallback: bool
    reason: str


class Choice(NamedTuple):
    """Units that were chosen, and those they are judged by.

    Attributes:
        target: Units to order now.
        wanted: Units that meet the SLA at every step the target covers.
        uncapped: The target without bounds.
        current: Units that serve now.
    """

    target: int
    wanted: int
    uncapped: int
    current: int


@dataclass(frozen=True)
class Bounds:
    """What keeps a target from being the units that are best.

    Attributes:
        least, most: Units.
        step: Most units that one change moves; 0 for any.
    """

    least: int
    most: int
    step: int = 0

    def binding(self, choice: Choice, waiting: bool, budget: bool) -> str:
        """What decided (`Recommendation.binding`); `budget` is whether the SLA is kept on average only."""
        target, wanted, uncapped, current = choice
        if target < uncapped and target == self.most:
            return "max_units"
        if target > uncapped and target == self.least:
            return "min_units"
        if target != uncapped and self.step:
            return "max_step"
        if target == wanted:
            return "sla"
        if target < wanted:
            return "budget" if budget else "cost"
        if target == self.least:
            return "min_units"
        return "cooldown" if waiting and target == current else "cost"

    def reason(self, binding: str, choice: Choice, need: float) -> str:
        """The same in a sentence; `need` is the demand that the SLA asks to serve."""
        target, wanted, uncapped, current = choice
        move = "keep" if target == current else "add" if target > current else "remove"
        dear = f"{wanted} would do for the SLA, but shortage and moves cost more than {target - wanted} spare"
        because = {
            "sla": f"demand stays below {need:.3g} with the promised probability, which takes {wanted}",
            "cost": dear if target > wanted else f"{wanted} would be needed, but the move costs more than it is worth",
            "cooldown": f"{wanted} would do, but nothing is taken away within the cool-down",
            "max_units": f"{uncapped} would be best, and {self.most} is the most",
            "min_units": f"{wanted} would do, and {self.least} is the least",
            "max_step": f"{uncapped} would be best, and a change moves at most {self.step}",
            "budget": f"{wanted} would keep the SLA at every step, but it is kept on average over the horizon",
        }[binding]
        return f"{move} {abs(target - current) or current}: {because}"
