"""The rules that clusters scale by today, to compare with: HPA, VPA, a static size, an oracle, a margin on a forecast.

A policy sees the demand up to and including the present step and says how many units it wants.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.media import Series
from harmonia.sequences.harmony.foresight import Foresight


class Policy(ABC):
    """Says at every step how many units there should be.

    Attributes:
        name: For tables and pictures.
    """

    name: str

    def begin(self, trace: Series, column: int, first: int, capacity: float) -> None:
        """Get ready for a replay; everything learnt must come from rows before `first`.

        Arguments:
            trace: The whole trace; a row may be used from the step on at which it is seen.
            column: Of the demand.
            first: First step that is decided.
            capacity: Resource of one unit.
        """
        self.capacity = capacity

    @abstractmethod
    def decide(self, step: int, seen: Float64[ndarray, " seen"], current: int) -> int:
        """Units to have.

        Arguments:
            step: Row of the present step.
            seen: Demand up to and including it.
            current: Units that serve now or have been ordered.
        """


class HPA(Policy):
    """Kubernetes' horizontal autoscaler: ``desired = ceil(units * utilisation / target)``.

    Nothing happens while the ratio is within a tolerance of one; the largest of the recent recommendations counts,
    so that units are not taken away at once.

    Arguments:
        target: Utilisation to keep.
        tolerance: Of the ratio.
        stabilization: Steps of recommendations that are remembered: 300 s are one ten-minute step.
    """

    def __init__(self, target: float = 0.7, tolerance: float = 0.1, stabilization: int = 1) -> None:
        if not 0 < target <= 1 or stabilization < 1:
            got = f"target {target}, stabilisation {stabilization}"
            raise InputError("a target utilisation lies in (0, 1], a window has a step", got, "Pass such numbers.")
        self.target, self.tolerance = target, tolerance
        self._recent: deque[int] = deque(maxlen=stabilization)
        self.name = f"HPA at {target:.0%}"

    def decide(self, step: int, seen: Float64[ndarray, " seen"], current: int) -> int:
        ratio = seen[-1] / (current * self.capacity) / self.target
        desired = current if abs(ratio - 1) <= self.tolerance else max(1, math.ceil(current * ratio - 1e-9))
        self._recent.append(desired)
        return max(self._recent)


class VPA(Policy):
    """Kubernetes' vertical recommender: a percentile of a histogram whose samples lose half their weight a day.

    Buckets grow by 5%; the recommendation is the upper end of the percentile's bucket plus a margin. Kubernetes knows
    the resource, and begins with buckets of 10 millicores and of 10 MB. Demand comes here in any unit, so the first
    bucket is a share of what one unit can take: that of a unit of 250 millicores or 250 MB is Kubernetes' own.

    Arguments:
        percentile: 0.9 for the target.
        margin: Safety margin.
        halflife: Steps after which a sample counts half.
        least: Smallest recommendation, in units; 25 millicores of 250.
    """

    growth, smallest = 1.05, 0.04
    buckets = 600
    """Enough for a million million units."""

    def __init__(
        self, percentile: float = 0.9, margin: float = 0.15, halflife: float = 144.0, least: float = 0.1
    ) -> None:
        if not 0 < percentile <= 1 or halflife <= 0:
            raise InputError("a percentile lies in (0, 1]", percentile, "Pass 0.9, say.")
        self.percentile, self.margin, self.halflife, self.least = percentile, margin, halflife, least
        self.name = f"VPA p{100 * percentile:g} + {margin:.0%}"

    def begin(self, trace: Series, column: int, first: int, capacity: float) -> None:
        super().begin(trace, column, first, capacity)
        smallest, grown = self.smallest * capacity, self.growth ** np.arange(1, self.buckets + 1) - 1
        self._ends = smallest * grown / (self.growth - 1)
        self._weights = np.zeros(len(self._ends))
        for value in trace.values[:first, column]:
            self._add(value)

    def _add(self, value: float) -> None:
        self._weights *= 0.5 ** (1 / self.halflife)
        self._weights[min(int(np.searchsorted(self._ends, value)), len(self._ends) - 1)] += 1

    def recommendation(self) -> float:
        """The recommended resource."""
        share = self._weights.cumsum() / self._weights.sum()
        bucket = int(np.searchsorted(share, self.percentile - 1e-12))
        return max(self.least * self.capacity, float(self._ends[bucket]) * (1 + self.margin))

    def decide(self, step: int, seen: Float64[ndarray, " seen"], current: int) -> int:
        self._add(float(seen[-1]))
        return max(1, math.ceil(self.recommendation() / self.capacity - 1e-9))


class Static(Policy):
    """One size for ever: a quantile of the demand of the warm-up.

    Arguments:
        level: 1 for the peak.
        margin: On top.
    """

    def __init__(self, level: float = 1.0, margin: float = 0.0) -> None:
        self.level, self.margin = level, margin
        self.name = "static peak" if level == 1 else f"static p{100 * level:g}"
        self.name += f" + {margin:.0%}" if margin else ""

    def begin(self, trace: Series, column: int, first: int, capacity: float) -> None:
        super().begin(trace, column, first, capacity)
        size = np.quantile(trace.values[:first, column], self.level) * (1 + self.margin)
        self._units = max(1, math.ceil(size / capacity - 1e-9))

    def decide(self, step: int, seen: Float64[ndarray, " seen"], current: int) -> int:
        return self._units


class Oracle(Policy):
    """Knows the future: the fewest units that serve it. No rule can do better.

    Arguments:
        delay: Steps until an order serves.
    """

    name = "oracle"

    def __init__(self, delay: int = 1) -> None:
        self._delay = delay

    def begin(self, trace: Series, column: int, first: int, capacity: float) -> None:
        super().begin(trace, column, first, capacity)
        self._future = trace.values[:, column]

    def decide(self, step: int, seen: Float64[ndarray, " seen"], current: int) -> int:
        ahead = self._future[step + 1 : step + 1 + self._delay]
        return max(1, math.ceil(ahead.max(initial=0.0) / self.capacity - 1e-9))


class PointMargin(Policy):
    """A point forecast and a fixed margin: what is done when forecasts come without uncertainty.

    Arguments:
        foresight: Forecasts; their medians are used.
        margin: On top of the median.
        delay: Steps until an order serves.
    """

    def __init__(self, foresight: Foresight, margin: float = 0.2, delay: int = 1) -> None:
        self._foresight, self.margin, self._delay = foresight, margin, delay
        self.name = f"point forecast + {margin:.0%}"

    def begin(self, trace: Series, column: int, first: int, capacity: float) -> None:
        super().begin(trace, column, first, capacity)
        self._foresight.begin(trace, first)

    def decide(self, step: int, seen: Float64[ndarray, " seen"], current: int) -> int:
        median = self._foresight.at(step).requirement(0.5)[: self._delay].max()
        return max(1, math.ceil(median * (1 + self.margin) / self.capacity - 1e-9))
