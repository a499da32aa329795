"""Estimates of the ideal loss, the mean error over *all* pairs, from errors at the observed ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from harmonia.core.checks import as_numbers
from harmonia.core.errors import InputError
from harmonia.tables.kernel_balancing.inputs import finite


def estimate_ideal_loss(
    errors: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    imputed: ArrayLike | None = None,
    imputed_mean: float | None = None,
) -> float:
    """The mean error over all pairs, estimated from those observed.

    With weights ``sum w e / sum w`` (self-normalised IPS); with imputed errors ``e'`` besides, doubly robust,
    ``mean_D e' + sum w (e - e') / sum w``; with neither, the naive mean.

    Arguments:
        errors: (n,) at the observed pairs.
        weights: (n,) inverse propensities, or balancing weights.
        imputed: (n,): a guess of the error at each observed pair.
        imputed_mean: Mean of the guesses over all pairs, observed or not.

    Raises:
        InputError: arrays that do not fit or are not finite, weights that are negative or all 0, or one of the imputed
            arguments alone.

    Example:
        >>> estimate_ideal_loss(np.array([0.0, 1.0]), np.array([3.0, 1.0]))
        0.25
    """
    e = as_numbers(errors, "errors")
    if e.ndim != 1 or not e.size or not np.isfinite(e).all():
        raise InputError("there must be finite errors", f"{e.size} numbers", "Pass one for each observed pair.")
    w = np.ones(len(e)) if weights is None else finite(weights, e.shape, "weights")
    if (w < 0).any() or not 0 < w.sum() < np.inf:
        mend = "Pass weights >= 0 with a positive, finite sum."
        raise InputError("weights do not fit the errors", f"{w.min()} to {w.max()}", mend)
    if imputed is None and imputed_mean is None:
        return float((w * e).sum() / w.sum())
    if imputed is None or imputed_mean is None:
        raise InputError("doubly robust estimates need both", "one of them", "Pass imputed and imputed_mean.")
    guess, mean = finite(imputed, e.shape, "imputed errors"), float(imputed_mean)
    if not np.isfinite(mean):
        raise InputError("the mean of imputed errors must be finite", mean, "Pass a number.")
    return mean + float((w * (e - guess)).sum() / w.sum())
