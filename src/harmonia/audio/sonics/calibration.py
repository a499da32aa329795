"""From logits to numbers that mean something: probabilities, and how unusual a song is among real ones.

With songs of both kinds, Platt's scaling ``p = sigmoid(a s + c)`` with his targets ``(N1 + 1) / (N1 + 2)`` and
``1 / (N0 + 2)``, which keep it finite where the kinds are parted perfectly. With real songs alone, the share of them
that score as high, ``(1 + #{s_i >= s}) / (n + 1)``: among real songs like these it is at most x for a share of x, so a
bound on it bounds false alarms, whatever the network (conformal prediction).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.typing import ArrayLike
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from harmonia.core.errors import InputError

FEWEST = 5
"""Songs of a kind that a calibration needs."""


@dataclass(frozen=True)
class Calibration:
    """How logits of songs are read.

    Attributes:
        slope, intercept: Of Platt's scaling; 1 and 0 leave the network's own probability.
        real: Sorted logits of real songs; none where only the network's own threshold counts.
        threshold: Logit above which a song is called synthetic.
        note: What it was calibrated on, for reports.
    """

    slope: float = 1.0
    intercept: float = 0.0
    real: tuple[float, ...] = ()
    threshold: float = 0.0
    note: str = ""

    @classmethod
    def of_both(cls, logits: ArrayLike, labels: ArrayLike, note: str = "") -> Calibration:
        """Platt's scaling; the threshold lies where the probability is one half.

        Raises:
            InputError: too few songs of a kind, or synthetic songs that do not score above real ones.
        """
        s, y = np.asarray(logits, dtype=np.float64), np.asarray(labels).astype(bool)
        _enough(s[y], "synthetic")
        _enough(s[~y], "real")
        targets = np.where(y, (y.sum() + 1) / (y.sum() + 2), 1 / ((~y).sum() + 2))
        # A target between 0 and 1 is one song of each kind with these weights.
        model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
        model.fit(np.tile(s, 2)[:, None], np.repeat([1, 0], len(s)), np.concatenate([targets, 1 - targets]))
        slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
        if slope <= 0:
            got = f"slope {slope:.2g}"
            mend = "Use other weights, or train on songs like these."
            raise InputError("synthetic songs do not score above real ones here", got, mend)
        return cls(slope, intercept, tuple(np.sort(s[~y]).tolist()), -intercept / slope, note)

    @classmethod
    def of_real(cls, logits: ArrayLike, false_alarms: float = 0.05, note: str = "") -> Calibration:
        """The threshold that at most a share of real songs like these passes.

        Arguments:
            logits: Of real songs.
            false_alarms: That share.
            note: What songs they were.

        Raises:
            InputError: a share outside of (0, 1), or too few songs for it.
        """
        s = np.sort(np.asarray(logits, dtype=np.float64))
        _enough(s, "real")
        allowed = int(false_alarms * (len(s) + 1)) if 0 < false_alarms < 1 else 0
        if allowed < 1:
            got = f"{false_alarms:g} with {len(s)} songs"
            mend = f"Give at least {int(np.ceil(1 / max(false_alarms, 1e-6))) - 1} songs, or allow more."
            raise InputError("so few false alarms cannot be promised", got, mend)
        return cls(real=tuple(s.tolist()), threshold=float(s[len(s) - allowed]), note=note)

    def probability(self, logits: Float[ndarray, "*n"]) -> Float[ndarray, "*n"]:
        """Probability of synthetic, if half of all songs were."""
        return np.asarray(expit(self.slope * logits + self.intercept))

    def rarity(self, logit: float) -> float:
        """Share of the real songs, and this one, that score at least as high; NaN where none are known."""
        if not self.real:
            return float("nan")
        return (1 + len(self.real) - int(np.searchsorted(self.real, logit, side="left"))) / (len(self.real) + 1)


def _enough(logits: ndarray, kind: str) -> None:
    if len(logits) < FEWEST or not np.isfinite(logits).all():
        got = f"{int(np.isfinite(logits).sum())} that can be scored"
        raise InputError(f"a calibration needs at least {FEWEST} {kind} songs", got, "Give more songs.")
