"""Keeping the promised rate of violations when the forecaster is wrong."""

from __future__ import annotations

from collections import deque
from typing import Any, Literal, get_args

import numpy as np
from numpy import ndarray
from scipy.special import betaincc

from harmonia.core.errors import InputError

PRIOR = 50.0
"""Strength of the prior, in steps, that the forecast is right."""

Adaptation = Literal["bayes", "conformal", "none"]


class AdaptiveLevel:
    """The level at which quantiles are read so that demand exceeds them as often as the SLA allows.

    Every observed demand has a level e* at which the forecast's requirement would just have met it
    (`Demand.level_of`); a requirement at level e is exceeded exactly when ``e* < e``.

    ``bayes``: the probability of that event at level e has a Beta posterior with a prior of 50 steps at the forecast's
    word, mean ``m(e) = (50 e + sum w 1[e* < e]) / (50 + sum w)`` with weights that fade; the level is the one with
    ``m(e) = sla``. When the last steps show, with 99% probability, a rate above three times the SLA, the past is
    forgotten (drift).

    ``conformal``: ``e += gain (sla - 1[violated])``, which keeps the long-run rate whatever happens (adaptive
    conformal inference, arXiv 2106.00170).

    A throttled demand was at least as large as measured, so its e* is at most the level u that is observed. By the
    forecast's own word e* is then uniform below u, and the step counts as ``P(e* < e | e* < u) = min(1, e / u)`` of a
    violation: neither ignored, which would hide violations, nor taken for one.

    Arguments:
        sla: Allowed rate.
        method: ``bayes``, ``conformal`` or ``none``.
        halflife: Steps after which an observation counts half; a week of ten minutes.
        gain: Step of the conformal rule.

    Raises:
        InputError: a rate that cannot be kept, or an unknown method.

    Example:
        >>> level = AdaptiveLevel(0.05)
        >>> for _ in range(200):
        ...     level.observe(-0.01 if _ % 5 == 0 else 0.5)     # a forecast that is exceeded every fifth time
        >>> level.value < 0
        True
    """

    recent = 36
    """Steps that the drift detector looks at."""

    def __init__(
        self, sla: float, method: Adaptation = "bayes", *, halflife: float = 1008.0, gain: float = 0.02
    ) -> None:
        if not 0 < sla < 0.5:
            raise InputError("an SLA allows violations in a share of steps between 0 and 0.5", sla, "Pass 0.01, say.")
        if method not in get_args(Adaptation):
            choices = ", ".join(get_args(Adaptation))
            raise InputError("there is no such adaptation", f"'{method}'", f"Use one of: {choices}.")
        self.sla, self.method, self.halflife, self.gain = sla, method, halflife, gain
        self.value = sla
        self._seen: deque[float] = deque(maxlen=max(1, round(6 * halflife)))
        self._throttled: deque[bool] = deque(maxlen=self._seen.maxlen)
        self._violated: deque[float] = deque(maxlen=self.recent)
        self.drifts = 0

    def observe(self, level: float, throttled: bool = False) -> None:
        """Learn the level at which the last demand would just have been met, or below which it lies."""
        violated = float(_shares(np.array([level]), np.array([throttled]), self.value)[0])
        self._violated.append(violated)
        if self.method == "conformal":
            self.value = min(0.5, self.value + self.gain * (self.sla - violated))
        elif self.method == "bayes":
            self._seen.append(level)
            self._throttled.append(throttled)
            if self.rate_above(3 * self.sla) > 0.99:
                self.drifts += 1
                for past in (self._seen, self._throttled, self._violated):
                    past.clear()
            self.value = self._solved()

    def rate_above(self, rate: float) -> float:
        """Posterior probability that the present rate of violations is above `rate`."""
        count, total = sum(self._violated), len(self._violated)
        weight = 5.0  # a weak prior, since the question is about the last steps only
        return float(betaincc(weight * self.sla + count, weight * (1 - self.sla) + total - count, rate))

    def _solved(self) -> float:
        """The largest level whose posterior mean is at most the SLA, by bisection; the mean rises with the level."""
        if not self._seen:
            return self.sla
        levels, throttled = np.array(self._seen), np.array(self._throttled)
        weights = 0.5 ** (np.arange(len(levels))[::-1] / self.halflife)
        allowed = self.sla * (PRIOR + weights.sum())
        order = np.argsort(levels[~throttled])
        rising, below = levels[~throttled][order], np.r_[0.0, weights[~throttled][order].cumsum()]
        bounds, unsure = levels[throttled], weights[throttled]
        low, high = min(float(levels.min()), 0.0), 0.5
        for _ in range(40):
            middle = (low + high) / 2
            violated = below[np.searchsorted(rising, middle)] + unsure @ _shares(bounds, True, middle)
            low, high = (middle, high) if PRIOR * max(middle, 0.0) + violated <= allowed else (low, middle)
        return low

    def state(self) -> dict[str, Any]:
        """What survives a restart, as plain values."""
        return {
            "value": self.value,
            "seen": list(self._seen),
            "throttled": [place for place, each in enumerate(self._throttled) if each],
            "violated": list(self._violated),
            "drifts": self.drifts,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a saved state."""
        value, drifts, at_limit = float(state["value"]), int(state["drifts"]), set(state["throttled"])
        seen, violated = list(map(float, state["seen"])), list(map(float, state["violated"]))
        self.value, self.drifts = value, drifts
        for past in (self._seen, self._throttled, self._violated):
            past.clear()
        self._seen.extend(seen)
        self._throttled.extend(place in at_limit for place in range(len(seen)))
        self._violated.extend(violated)


def _shares(levels: ndarray, throttled: ndarray | bool, level: float) -> ndarray:
    """How far each observation is a violation at a level: wholly, not at all, or in part where it was throttled."""
    part = np.where(throttled, max(level, 0.0) / np.maximum(levels, 1e-12), 0.0)
    return np.where(levels < level, 1.0, part.clip(max=1.0))
