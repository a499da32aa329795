"""Whether stated uncertainties are true: intervals by their coverage, class probabilities by their accuracy."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from harmonia.core.errors import InputError


def central_coverage(pit: Float64[np.ndarray, " n"], levels: Float64[np.ndarray, " k"]) -> Float64[np.ndarray, " k"]:
    """Share of targets inside of central intervals, by the probability that the intervals state.

    Arguments:
        pit: Probability integral transforms: predictive distribution functions at what was observed.
        levels: Stated probabilities.

    Raises:
        InputError: transforms outside of [0, 1].

    Example:
        >>> central_coverage(np.array([0.05, 0.4, 0.6, 0.97]), np.array([0.5, 0.95]))
        array([0.5, 1. ])
    """
    if len(pit) == 0 or not ((pit >= 0) & (pit <= 1)).all():
        raise InputError("probability integral transforms lie in [0, 1]", pit, "Pass cdf(y) of every target.")
    return (np.abs(2 * pit - 1)[:, None] <= levels).mean(0)


class Reliability(NamedTuple):
    """By bin of confidence: mean confidence, share that was right, number of predictions."""

    confidence: Float64[np.ndarray, " bins"]
    accuracy: Float64[np.ndarray, " bins"]
    size: Int64[np.ndarray, " bins"]

    @property
    def error(self) -> float:
        """Expected calibration error: the mean distance of confidence and accuracy (Guo et al. 2017)."""
        gaps = np.abs(self.confidence - self.accuracy)
        return float((self.size * gaps).sum() / self.size.sum())


def reliability(
    probabilities: Float64[np.ndarray, "n classes"], labels: Int64[np.ndarray, " labels"], bins: int = 10
) -> Reliability:
    """How often the predicted class is right, by the probability it was given; empty bins are left out.

    Arguments:
        probabilities: Of the classes, by row.
        labels: Index of the true class.
        bins: Bins of equal width over [0, 1].

    Raises:
        InputError: labels that do not fit the probabilities.

    Example:
        >>> found = reliability(np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6]]), np.array([0, 1, 1]), bins=5)
        >>> found.accuracy.tolist(), round(found.error, 3)
        ([1.0, 0.5], 0.367)
    """
    if len(labels) != len(probabilities) or len(labels) == 0:
        got = f"{len(labels)} labels for {len(probabilities)} rows"
        raise InputError("one label belongs to each row of probabilities", got, "Pass as many.")
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    index = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    count = np.bincount(index, minlength=bins)
    kept = count > 0
    means = (np.bincount(index, weights, bins)[kept] / count[kept] for weights in (confidence, right))
    return Reliability(next(means), next(means), count[kept])
