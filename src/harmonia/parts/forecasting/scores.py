"""Scores of forecasts: proper ones for distributions, scaled ones for points. Smaller is better.

The continuous ranked probability score of a distribution F at y is ``int (F(x) - 1[x >= y])^2 dx``, the mean absolute
error of a distribution: in the units of the data, and equal to ``|y - x|`` for a point forecast x.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64
from numpy import ndarray
from scipy.special import ndtr

from harmonia.core.errors import InputError


def crps_samples(
    samples: Float[ndarray, "draws *shape"], observed: Float[ndarray, "*shape"], *, fair: bool = False
) -> Float64[ndarray, "*shape"]:
    """CRPS of samples, ``mean |x - y| - mean |x - x'| / 2``, by sorting: O(n log n) in the number of draws.

    Arguments:
        samples: Draws on the first axis.
        observed: What happened.
        fair: Leave out the pairs of a draw with itself: the unbiased score of the distribution that was drawn from
            (Ferro 2014). Otherwise that of the draws as they are.

    Raises:
        InputError: a fair score of a single draw.

    Example:
        >>> crps_samples(np.array([0.0, 1.0]), np.array(0.0)).item()
        0.25
    """
    count = len(samples)
    if fair and count < 2:
        raise InputError("the fair score needs two draws", count, "Pass more, or fair=False.")
    ordered = np.sort(samples, axis=0)
    weights = (2.0 * np.arange(count) - count + 1) / (count * (count - 1 if fair else count))
    spread = np.tensordot(weights, ordered, axes=1)
    return np.asarray(np.abs(ordered - observed).mean(0) - spread)


def crps_normal(
    mean: Float[ndarray, "*shape"], std: Float[ndarray, "*shape"], observed: Float[ndarray, "*shape"]
) -> Float64[ndarray, "*shape"]:
    """CRPS of normal distributions, ``s (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi))`` with ``z = (y - m) / s``.

    Its limit where s is 0 is ``|y - m|``, as for a point forecast.

    Example:
        >>> round(crps_normal(np.array(0.0), np.array(1.0), np.array(0.0)).item(), 4)
        0.2337
    """
    far, point = observed - mean, np.equal(std, 0)
    z = far / np.where(point, 1.0, std)
    density = np.exp(-0.5 * np.square(z)) / np.sqrt(2 * np.pi)
    score = std * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))
    return np.asarray(np.where(point, np.abs(far), score), dtype=np.float64)


def pinball(
    quantiles: Float[ndarray, "levels *shape"], levels: Float[ndarray, " levels"], observed: Float[ndarray, "*shape"]
) -> Float64[ndarray, "levels *shape"]:
    """Pinball loss of quantiles, ``max(p (y - q), (p - 1) (y - q))``; twice its mean over all levels is the CRPS.

    Example:
        >>> pinball(np.array([3.0]), np.array([0.9]), np.array(5.0)).tolist()
        [1.8]
    """
    error = observed - quantiles
    p = np.asarray(levels, dtype=np.float64).reshape(-1, *[1] * observed.ndim)
    return np.maximum(p * error, (p - 1) * error)


def energy_score(
    samples: Float[ndarray, "draws *batch dim"], observed: Float[ndarray, "*batch dim"]
) -> Float64[ndarray, "*batch"]:
    """Energy score of vectors, ``mean |x - y| - mean |x - x'| / 2``: the CRPS in several dimensions.

    The second term is over all pairs, one draw at a time.

    Example:
        >>> energy_score(np.array([[0.0, 0.0], [3.0, 4.0]]), np.zeros(2)).item()
        1.25
    """
    near = np.linalg.norm(samples - observed, axis=-1).mean(0)
    spread = np.mean([np.linalg.norm(samples - draw, axis=-1).mean(0) for draw in samples], axis=0)
    return np.asarray(near - 0.5 * spread)


def interval_coverage(
    low: Float[ndarray, "*shape"], high: Float[ndarray, "*shape"], observed: Float[ndarray, "*shape"]
) -> float:
    """Share of what happened that lies inside of its interval."""
    return float(((low <= observed) & (observed <= high)).mean())


def mase_scale(values: Float[ndarray, "time variables"], season: int = 1) -> Float64[ndarray, " variables"]:
    """What errors are divided by for MASE: the mean step from one season to the next on the series that was fitted to.

    A variable that never changes has no such scale; it gets NaN.

    Raises:
        InputError: less than two seasons.

    Example:
        >>> mase_scale(np.array([[1.0], [3.0], [2.0]])).tolist()
        [1.5]
    """
    if len(values) <= season:
        raise InputError(f"the scale needs more than {season} values", len(values), "Pass a longer series.")
    scale = np.abs(values[season:] - values[:-season]).mean(0)
    return np.where(scale > 0, scale, np.nan)
