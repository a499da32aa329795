"""Completely monotone functions as short sums of exponentials (Sections 8 and 9).

``f(z) = sum_j w_j e^(-t_j z)`` with w >= 0 turns a sketch of ``e^(-z)`` at many bandwidths into one of f. The number of
terms grows with the logarithm of the precision: `reciprocal_exponentials` shows it for ``1 / (1 + z)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy.optimize import nnls

from harmonia.core.checks import check_whole, is_number
from harmonia.core.errors import InputError
from harmonia.kernels.private_kde.functions import evaluate


@dataclass(frozen=True, eq=False)
class ExponentialSum:
    """``f(z) = sum_j w_j e^(-t_j z)``.

    Attributes:
        rates: t.
        weights: w, not negative.
        error: Largest error where it was fitted.

    Raises:
        InputError: not one finite weight a rate, one that is negative, or all 0: a sketch draws rates in proportion to
            weights.
    """

    rates: Any  # arrays or lists of numbers, [terms]; arrays once they are checked
    weights: Any
    error: float = 0.0

    def __post_init__(self) -> None:
        try:
            rates, weights = (np.asarray(part, dtype=np.float64) for part in (self.rates, self.weights))
        except (TypeError, ValueError):
            rates = weights = np.empty(0)
        good = rates.ndim == 1 and rates.shape == weights.shape and np.isfinite(weights).all() and (weights >= 0).all()
        if not (good and weights.sum() > 0 and ((rates >= 0) & (rates <= 1e50)).all()):
            got = f"rates {self.rates!r}, weights {self.weights!r}"
            what = "a sum of exponentials has rates from 0 to 1e50 and as many weights, none below 0, not all 0"
            raise InputError(what, got, "Change them.")
        object.__setattr__(self, "rates", rates)
        object.__setattr__(self, "weights", weights)

    def __call__(self, z: Float64[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
        return np.exp(-np.asarray(z)[..., None] * self.rates) @ self.weights

    @property
    def total(self) -> float:
        """``f(0)``."""
        return float(self.weights.sum())


def reciprocal_exponentials(terms: int, low: float = -7.0, high: float = 3.2) -> ExponentialSum:
    """``1 / (1 + z) = int_0^inf e^-t e^-tz dt``, with ``t = e^u`` by a sum over even steps of u.

    Exact to rounding for an endless range; the first node also stands for the flat end below it.

    Raises:
        InputError: fewer than two terms, or ends that do not go upward.

    Example:
        >>> z = np.linspace(0, 100, 1001)
        >>> [float(np.abs(reciprocal_exponentials(m)(z) - 1 / (1 + z)).max().round(4)) for m in (8, 16)]
        [0.0081, 0.0006]
    """
    if not (is_number(low) and is_number(high) and -700 <= low < high <= 100):
        raise InputError("'low' and 'high' go upward, from -700 to 100", f"{low!r}, {high!r}", "Change them.")
    u = np.linspace(low, high, check_whole("terms", terms, 2, 1_000_000))
    return ExponentialSum(np.exp(u), np.exp(u - np.exp(u)) * (u[1] - u[0]))


def sum_of_exponentials(
    f: Callable[[np.ndarray], np.ndarray], tol: float = 1e-3, zmax: float = 100.0, most: int = 400
) -> ExponentialSum:
    """Few exponentials that give a completely monotone f on [0, zmax] up to `tol`.

    Rates are chosen from a fine logarithmic grid by non-negative least squares, which keeps few of them.

    Arguments:
        f: Of distances z >= 0, with ``f(0)`` finite, falling and convex in the sense that such a sum exists.
        tol: Largest error on [0, zmax].
        zmax: Largest distance of interest, known to the public.
        most: Rates on the grid at most.

    Raises:
        InputError: no such sum was found: f rises, is not convex, or asks for more than `tol` allows.

    Example:
        >>> found = sum_of_exponentials(lambda z: 1 / (1 + z), tol=1e-3)
        >>> found.error < 1e-3, len(found.rates) < 20
        (True, True)
    """
    if not (is_number(tol) and is_number(zmax) and tol > 0 and 0 < zmax <= 1e15):
        raise InputError("'tol' and 'zmax' are numbers above 0", f"{tol!r}, {zmax!r}", "Change them.")
    near = min(zmax, 100.0)  # a longer range must not make the grid near 0 coarse
    z = np.unique(np.r_[0.0, np.geomspace(near * 1e-5, zmax, 600), np.linspace(0, zmax, 200)])
    wanted = evaluate(f, z)
    if wanted[0] <= 0:
        raise InputError("the function must be above 0 at 0", wanted[0], "Give one that falls with the distance.")
    best = np.inf
    count = 25
    while count <= most:
        rates = np.r_[0.0, np.geomspace(0.1 / zmax, 1e3 / (near * 1e-3), count)]
        try:
            weights, _ = nnls(np.exp(-z[:, None] * rates), wanted, maxiter=30 * count)
        except RuntimeError:  # no convergence; a finer grid may
            weights = np.zeros(len(rates))
        error = float(np.abs(np.exp(-z[:, None] * rates) @ weights - wanted).max())
        best = min(best, error)
        if error <= tol:
            return ExponentialSum(rates[weights > 0], weights[weights > 0], error)
        count *= 2
    mend = "Give a completely monotone function (1/(1+z), e^-z, ...), a larger 'tol' or a smaller 'zmax'."
    raise InputError("no sum of exponentials is near this function", f"error {best:.2g} at best", mend)
