"""Completely monotone functions as short sums of exponentials (Sections 8 and 9).

``f(z) = sum_j w_j e^(-t_j z)`` with w >= 0 turns a sketch of ``e^(-z)`` at many bandwidths into one of f. The number of
terms grows with the logarithm of the precision: `reciprocal_exponentials` shows it for ``1 / (1 + z)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.optimize import nnls

from harmonia.core.errors import InputError


@dataclass(frozen=True, eq=False)
class ExponentialSum:
    """``f(z) = sum_j w_j e^(-t_j z)``.

    Attributes:
        rates: t.
        weights: w, not negative.
        error: Largest error where it was fitted.
    """

    rates: Float64[np.ndarray, " terms"]
    weights: Float64[np.ndarray, " terms"]
    error: float = 0.0

    def __call__(self, z: Float64[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
        return np.exp(-np.asarray(z)[..., None] * self.rates) @ self.weights

    @property
    def total(self) -> float:
        """``f(0)``."""
        return float(self.weights.sum())


def reciprocal_exponentials(terms: int, low: float = -7.0, high: float = 3.2) -> ExponentialSum:
    """``1 / (1 + z) = int_0^inf e^-t e^-tz dt``, with ``t = e^u`` by a sum over even steps of u.

    Exact to rounding for an endless range; the first node also stands for the flat end below it.

    Example:
        >>> z = np.linspace(0, 100, 1001)
        >>> [float(np.abs(reciprocal_exponentials(m)(z) - 1 / (1 + z)).max().round(4)) for m in (8, 16)]
        [0.0081, 0.0006]
    """
    u = np.linspace(low, high, terms)
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
    if not (tol > 0 and np.isfinite(zmax) and zmax > 0):
        raise InputError("'tol' and 'zmax' are positive numbers", f"{tol}, {zmax}", "Change them.")
    z = np.unique(np.r_[0.0, np.geomspace(zmax * 1e-5, zmax, 600), np.linspace(0, zmax, 200)])
    with np.errstate(all="ignore"):
        wanted = np.asarray(f(z), dtype=np.float64)
    if wanted.shape != z.shape or not np.isfinite(wanted).all() or wanted[0] <= 0:
        raise InputError(
            "the function must give finite numbers, f(0) > 0", wanted.ravel()[:3], "Give one of distances."
        )
    best = np.inf
    count = 25
    while count <= most:
        rates = np.r_[0.0, np.geomspace(0.1 / zmax, 1e3 / (zmax * 1e-3), count)]
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
