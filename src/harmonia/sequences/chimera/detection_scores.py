"""How good scores of anomalies are: F1 as it is and as it is often reported, and the volume under the surface.

Point adjustment counts a whole event as found once one of its moments is: a random score does well by it (Kim et al.,
AAAI 2022), so it never stands alone here. The volume under the surface (Paparrizos et al., VLDB 2022) needs no
threshold and forgives small shifts in time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64
from numpy import ndarray

from harmonia.core.checks import check_whole
from harmonia.core.errors import InputError


class AnomalyScores(NamedTuple):
    """All from 0 to 1, larger is better.

    Attributes:
        f1: Of single moments, at the threshold.
        f1_point_adjusted: With whole events as found once one moment is; inflated, for comparison with the literature.
        average_precision: Over all thresholds.
        vus_roc: Volume under the ROC surface.
        vus_pr: Volume under the precision-recall surface.
    """

    f1: float
    f1_point_adjusted: float
    average_precision: float
    vus_roc: float
    vus_pr: float


def anomaly_scores(
    labels: Bool[ndarray, " time"], scores: Float[ndarray, " time"], threshold: float, buffer: int = 20
) -> AnomalyScores:
    """Judge scores by labels.

    Arguments:
        labels: Which moments are anomalies.
        scores: Larger is more unusual.
        threshold: Above it counts as found.
        buffer: Largest width of the ramps at both ends of an event, for the volumes.

    Raises:
        InputError: other lengths, labels that are all alike, scores that are not finite, or a negative buffer.

    Example:
        >>> labels = np.zeros(100, bool)
        >>> labels[40:50] = True
        >>> scores = np.where(np.arange(100) == 44, 3.0, 0.1)
        >>> found = anomaly_scores(labels, scores, threshold=1.0)
        >>> round(found.f1, 2), found.f1_point_adjusted
        (0.18, 1.0)
    """
    labels, scores = np.asarray(labels, dtype=bool), np.asarray(scores, dtype=np.float64)
    if labels.shape != scores.shape or labels.all() or not labels.any():
        got = f"{labels.sum()} of {labels.size}, {scores.size} scores"
        raise InputError("some moments are anomalies, some are not, and each has a score", got, "Pass such labels.")
    if not np.isfinite(scores).all() or not np.isfinite(threshold):
        raise InputError("scores and their threshold are finite", "NaN or infinity", "Drop such moments.")
    buffer = check_whole("buffer", buffer, 0)
    flags = scores > threshold
    adjusted = flags.copy()
    for start, end in events(labels):
        adjusted[start:end] = flags[start:end].any()
    surfaces = np.array([_areas(labels, scores, width) for width in range(buffer + 1)])
    roc, pr = surfaces.mean(0)
    return AnomalyScores(_f1(labels, flags), _f1(labels, adjusted), float(surfaces[0, 1]), float(roc), float(pr))


def events(labels: Bool[ndarray, " time"]) -> list[tuple[int, int]]:
    """Where each run of anomalies begins, and where it has ended.

    Example:
        >>> events(np.array([False, True, True, False, True]))
        [(1, 3), (4, 5)]
    """
    edges = np.flatnonzero(np.diff(np.r_[False, labels, False].astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2])]


def _f1(labels: ndarray, flags: ndarray) -> float:
    hits = int((labels & flags).sum())
    return 2 * hits / max(int(labels.sum() + flags.sum()), 1)


def softened(labels: Bool[ndarray, " time"], width: int) -> Float64[ndarray, " time"]:
    """Labels with ramps ``sqrt(1 - d / width)``, d up to half of `width`, before and after each event."""
    soft = labels.astype(np.float64)
    for start, end in events(labels):
        for d in range(1, width // 2 + 1):
            for at in (start - d, end - 1 + d):
                if 0 <= at < len(soft):
                    soft[at] = max(soft[at], np.sqrt(1 - d / width))
    return soft


def _areas(labels: ndarray, scores: ndarray, width: int) -> tuple[float, float]:
    """Areas under both curves for one width of the ramps, over all thresholds."""
    soft = softened(labels, width)
    order = np.argsort(-scores, kind="stable")
    last = np.r_[np.flatnonzero(np.diff(scores[order])), len(scores) - 1]  # thresholds between distinct scores only
    hits, flagged = np.cumsum(soft[order])[last], last + 1.0
    positives = (labels.sum() + soft.sum()) / 2
    best = np.sort([scores[start:end].max() for start, end in events(soft > 0)])
    # The share of events of which at least one moment is found: rewards finding all over finding one well.
    found = 1 - np.searchsorted(best, scores[order][last], side="left") / len(best)
    recall = np.r_[0.0, np.minimum(hits / positives, 1) * (found if width else 1.0)]
    false = np.r_[0.0, (flagged - hits) / (len(scores) - positives)]
    precision = hits / flagged
    roc = np.trapezoid(np.r_[recall, 1.0], np.r_[np.minimum(false, 1), 1.0])
    return float(roc), float((np.diff(recall).clip(0) * precision).sum())
