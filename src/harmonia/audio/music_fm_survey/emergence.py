"""Whether an ability appears suddenly, or only its score is discontinuous.

A kink is a break in the slope of score over log scale: one line against two joined ones, judged by BIC (segmented
regression). An ability "emerges" when its continuous proxy, too, has a kink (Schaeffer et al. 2023).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from numpy.typing import ArrayLike
from scipy.optimize import curve_fit
from scipy.special import expit

from harmonia.core.errors import InputError

DECISIVE = 10.0
"""Difference of BIC from which a kink is taken as shown (Kass & Raftery 1995: very strong)."""


class Kink(NamedTuple):
    """Where the slope breaks (in the units of x), by how much BIC prefers the break, and the slopes on both sides."""

    place: float
    evidence: float
    before: float
    after: float

    @property
    def shown(self) -> bool:
        """Whether the evidence is decisive."""
        return self.evidence > DECISIVE


class Emergence(NamedTuple):
    """The kinks of a score and of its continuous proxy, and what they say together."""

    score: Kink
    proxy: Kink
    verdict: str


def kink(scale: ArrayLike, score: ArrayLike) -> Kink:
    """The best break of two joined lines over log scale, and the evidence for it.

    ``BIC = n log(RSS / n) + p log n`` with p = 2 for one line and 4 for two (two slopes, an offset, the place).

    Raises:
        InputError: fewer than seven runs, or values that are not finite.

    Example:
        >>> scale = np.logspace(4, 8, 17)
        >>> found = kink(scale, np.maximum(0, np.log10(scale) - 6))
        >>> found.shown, round(float(np.log10(found.place)), 1)
        (True, 6.0)
    """
    x, y = np.log(np.asarray(scale, dtype=float)), np.asarray(score, dtype=float)
    if len(x) < 7 or len(x) != len(y) or not np.isfinite([*x, *y]).all():
        raise InputError("a kink needs seven runs with finite scores", f"{len(x)} runs", "Add runs.")
    order = np.argsort(x)
    x, y = x[order], y[order]
    places = np.linspace(x[2], x[-3], 200)
    fits = [_joined(x, y, place) for place in places]
    best = int(np.argmin([rss for rss, _ in fits]))
    rss, coefficients = fits[best]
    straight = np.polyval(np.polyfit(x, y, 1), x) - y
    floor = 1e-12 * max(1e-12, float(np.square(y - y.mean()).sum()))
    count = len(x)
    evidence = count * (np.log(np.square(straight).sum() + floor) - np.log(rss + floor)) - 2 * np.log(count)
    before = float(coefficients[1])
    return Kink(float(np.exp(places[best])), float(evidence), before, before + float(coefficients[2]))


def explain_emergence(scale: ArrayLike, score: ArrayLike, proxy: ArrayLike) -> Emergence:
    """Compare a discontinuous score with a continuous proxy of the same runs.

    Arguments:
        scale: Parameters, data or computation.
        score: Such as exact-match accuracy.
        proxy: Such as mean log-probability, or token-wise accuracy.

    Example:
        >>> scale = np.logspace(4, 8, 17)
        >>> token = 1 - 0.8 * (scale / 1e4) ** -0.2
        >>> explain_emergence(scale, token**10, np.log(token)).score.shown
        True
    """
    both = kink(scale, score), kink(scale, proxy)
    verdicts = {
        (True, True): "the proxy breaks as well: the ability itself appears",
        (True, False): "only the score breaks: the ability grows smoothly and the score makes it look sudden",
        (False, True): "the proxy breaks and the score does not",
        (False, False): "no break is shown",
    }
    return Emergence(*both, verdicts[both[0].shown, both[1].shown])


class DownstreamLaw(NamedTuple):
    """A score as a function of loss: ``low + (high - low) sigmoid(steepness (middle - loss))``."""

    low: float
    high: float
    steepness: float
    middle: float

    def __call__(self, loss: ArrayLike) -> Float64[ndarray, "*runs"]:
        """The score at a loss."""
        inside = self.steepness * (self.middle - np.asarray(loss, dtype=float))
        return np.asarray(self.low + (self.high - self.low) * expit(inside))

    @classmethod
    def fit(cls, loss: ArrayLike, score: ArrayLike, low: float = 0.0) -> DownstreamLaw:
        """The second stage of a two-stage law: first loss from scale, then score from loss.

        Arguments:
            loss: Of each run.
            score: Of each run.
            low: Score without any ability, such as chance.

        Raises:
            InputError: fewer than five runs, or a curve that cannot be fitted.

        Example:
            >>> loss = np.linspace(1, 4, 12)
            >>> law = DownstreamLaw.fit(loss, DownstreamLaw(0.1, 0.9, 3.0, 2.2)(loss), low=0.1)
            >>> round(law.middle, 2), round(law.high, 2)
            (2.2, 0.9)
        """
        x, y = np.asarray(loss, dtype=float), np.asarray(score, dtype=float)
        if len(x) < 5 or len(x) != len(y) or not np.isfinite([*x, *y]).all():
            raise InputError("a downstream law needs five runs", f"{len(x)} runs", "Add runs.")

        def curve(loss: ndarray, high: float, steepness: float, middle: float) -> ndarray:
            return low + (high - low) * expit(steepness * (middle - loss))

        start = (float(y.max()), 4 / max(float(np.ptp(x)), 1e-9), float(np.median(x)))
        try:
            high, steepness, middle = curve_fit(curve, x, y, start, maxfev=20_000)[0]
        except RuntimeError as error:
            raise InputError("no sigmoid fits these runs", error, "Add runs on both sides of the rise.") from None
        return cls(low, float(high), float(steepness), float(middle))


def _joined(x: ndarray, y: ndarray, place: float) -> tuple[float, ndarray]:
    design = np.stack([np.ones_like(x), x, np.maximum(0, x - place)], 1)
    coefficients, *_ = np.linalg.lstsq(design, y, rcond=None)
    return float(np.square(design @ coefficients - y).sum()), coefficients
