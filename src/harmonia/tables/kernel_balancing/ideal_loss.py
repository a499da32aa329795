"""Estimates of the ideal loss, the mean error over *all* pairs, from errors at the observed ones."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from harmonia.core.errors import InputError


def estimate_ideal_loss(
    errors: Float64[ndarray, " n"],
    weights: Float64[ndarray, " rows"] | None = None,
    *,
    imputed: Float64[ndarray, " guesses"] | None = None,
    imputed_mean: float | None = None,
) -> float:
    """The mean error over all pairs, estimated from those observed.

    With weights ``sum w e / sum w`` (self-normalised IPS); with imputed errors ``e'`` besides, doubly robust,
    ``mean_D e' + sum w (e - e') / sum w``; with neither, the naive mean.

    Arguments:
        errors: At the observed pairs.
        weights: Inverse propensities, or balancing weights.
        imputed: A guess of the error at each observed pair.
        imputed_mean: Mean of the guesses over all pairs, observed or not.

    Raises:
        InputError: arrays that do not fit, weights without a positive sum, or one of the imputed arguments alone.

    Example:
        >>> estimate_ideal_loss(np.array([0.0, 1.0]), np.array([3.0, 1.0]))
        0.25
    """
    if not errors.size or not np.isfinite(errors).all():
        raise InputError("there must be finite errors", f"{errors.size} numbers", "Pass one for each observed pair.")
    w = np.ones(len(errors)) if weights is None else weights
    if w.shape != errors.shape or not w.sum() > 0:
        raise InputError("weights do not fit the errors", w.shape, f"Pass {len(errors)} numbers of positive sum.")
    if imputed is None and imputed_mean is None:
        return float((w * errors).sum() / w.sum())
    if imputed is None or imputed_mean is None or imputed.shape != errors.shape:
        raise InputError("doubly robust estimates need both", "one of them", "Pass imputed and imputed_mean.")
    return imputed_mean + float((w * (errors - imputed)).sum() / w.sum())
