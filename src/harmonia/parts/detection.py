"""How well a score tells two classes apart: rates at a threshold, and over all thresholds.

Labels are 1 for what is to be detected (a fake) and 0 for the rest; a score above the threshold says 1. The numbers are
scikit-learn's; added are the equal error rate and one call for all of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import ndarray
from numpy.typing import ArrayLike
from sklearn.metrics import f1_score, roc_auc_score, roc_curve

from harmonia.core.errors import InputError


class Detection(NamedTuple):
    """What a detector achieves on labelled scores; a rate of a class that does not occur is NaN.

    Attributes:
        f1: ``2 TP / (2 TP + FP + FN)`` of the class 1.
        sensitivity: Share of the 1 that is found (recall, true positive rate).
        specificity: Share of the 0 that is left alone (true negative rate).
        balanced_accuracy: Mean of the two.
        auc: Probability that a 1 scores above a 0, ties counting half.
        eer: Equal error rate, where as many of the 1 are missed as of the 0 are flagged.
    """

    f1: float
    sensitivity: float
    specificity: float
    balanced_accuracy: float
    auc: float
    eer: float


def detection(labels: ArrayLike, scores: ArrayLike, threshold: float = 0.5) -> Detection:
    """All numbers of `Detection` at once.

    Arguments:
        labels: 0 or 1.
        scores: Larger for 1.
        threshold: A score above it says 1.

    Raises:
        InputError: other labels, scores that are not finite, or not as many.

    Example:
        >>> detection([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9])
        Detection(f1=0.5, sensitivity=0.5, specificity=0.5, balanced_accuracy=0.5, auc=0.75, eer=0.5)
    """
    y, s = _checked(labels, scores)
    said = s > threshold
    found, left = (float(right.mean()) if len(right) else np.nan for right in (said[y], ~said[~y]))
    both = y.any() and not y.all()
    return Detection(
        f1=float(f1_score(y, said)) if y.any() else np.nan,
        sensitivity=found,
        specificity=left,
        balanced_accuracy=(found + left) / 2,
        auc=float(roc_auc_score(y, s)) if both else np.nan,
        eer=equal_error_rate(y, s),
    )


def equal_error_rate(labels: ArrayLike, scores: ArrayLike) -> float:
    """The rate at which misses and false alarms are equal, on the ROC curve with straight lines between its points.

    Example:
        >>> equal_error_rate([0, 0, 0, 0, 1, 1, 1, 1], [0.1, 0.2, 0.3, 0.7, 0.6, 0.8, 0.9, 1.0])
        0.25
    """
    y, s = _checked(labels, scores)
    if y.all() or not y.any():
        return float("nan")
    alarms, found, _ = roc_curve(y, s)
    # As the threshold falls, false alarms minus misses rises from -1 to 1.
    return float(np.interp(0.0, alarms + found - 1, alarms))


def _checked(labels: ArrayLike, scores: ArrayLike) -> tuple[ndarray, ndarray]:
    y, s = np.asarray(labels).ravel(), np.asarray(scores, dtype=np.float64).ravel()
    if len(y) != len(s) or not len(y):
        raise InputError("one score belongs to each label", f"{len(s)} scores, {len(y)} labels", "Pass as many.")
    if not np.isin(y, (0, 1)).all():
        raise InputError("labels are 0 and 1", np.unique(y)[:5], "Say which class is to be detected.")
    if not np.isfinite(s).all():
        raise InputError("the scores are not finite", "NaN or infinity", "Leave out what cannot be scored.")
    return y.astype(bool), s
