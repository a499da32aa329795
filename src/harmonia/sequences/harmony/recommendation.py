"""What a decision says: the units, what they cost and risk, and what decided, in words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recommendation:
    """What to run, and why.

    Attributes:
        target: Units to order now.
        lower, upper: Units for the median and for the 99.9% quantile of demand.
        uncapped: The target without `min_units` and `max_units`.
        plan: Units at each coming step.
        requirement: Demand to be met at each step, in units of the resource.
        p_violation: Largest probability, over the steps that the target covers, that demand exceeds its capacity.
        expected_cost: Of the plan, moves included.
        expected_waste: Units of resource that the target leaves unused, mean over the steps it covers.
        level: The tail probability at which demand was read, after adaptation.
        binding: What decided: ``sla``, ``cost``, ``cooldown``, ``max_units``, ``min_units``, ``max_step``, ``delay``.
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


@dataclass(frozen=True)
class Bounds:
    """What keeps a target from being the units that the SLA takes.

    Attributes:
        least, most: Units.
        step: Most units that one change moves; 0 for any.
    """

    least: int
    most: int
    step: int = 0

    def binding(self, target: int, wanted: int, current: int, waiting: bool) -> str:
        """What decided (`Recommendation.binding`), when the SLA takes `wanted`."""
        if target < wanted:
            return "max_units" if target == self.most else "max_step" if self.step else "delay"
        if target == wanted:
            return "sla"
        if target == self.least:
            return "min_units"
        return "cooldown" if waiting and target == current else "cost"

    def reason(self, binding: str, target: int, current: int, wanted: int, need: float) -> str:
        """The same in a sentence; `need` is the demand that the SLA asks to serve."""
        move = "keep" if target == current else "add" if target > current else "remove"
        because = {
            "sla": f"demand stays below {need:.3g} with the promised probability, which takes {wanted}",
            "cost": f"{wanted} would do for the SLA, but shortage and moves cost more than {target - wanted} spare",
            "cooldown": f"{wanted} would do, but nothing is taken away within the cool-down",
            "max_units": f"{wanted} would be needed, and {self.most} is the most",
            "min_units": f"{wanted} would do, and {self.least} is the least",
            "max_step": f"{wanted} would be needed, and a change moves at most {self.step}",
            "delay": f"{wanted} would be needed, but nothing more can start in time",
        }[binding]
        return f"{move} {abs(target - current) or current}: {because}"
