"""Exact one-dimensional integrals over the scale: the trapezoidal rule in log s2.

With ``u = log s2`` the integrand ``h(e^u) e^u (2 pi e^u)^(-n/2) exp(-q e^(-u) / 2)`` is analytic and dies out at both
ends, for which the trapezoidal rule converges geometrically (Trefethen & Weideman 2014): a few hundred nodes reach
rounding, whatever the number n of data. Importance sampling from the prior (the paper's way) instead loses all but
about ``n^(-1/2)`` of its samples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from scipy.special import logsumexp

from harmonia.core.errors import InputError
from harmonia.kernels.scale_mixtures.predictive import Reals

NEGLIGIBLE = 60.0
"""Integrands below e^-60 of their maximum are left out: they matter only for densities that are as small."""

_ENDS = 700.0
"""Scales from e^-700 to e^700, the range of float64, are searched."""


class Integral(NamedTuple):
    """Nodes of a quadrature and what they add up to; arrays of q are on the leading axes.

    Attributes:
        values: Values of s2 (..., nodes).
        weights: Their shares of the integral (..., nodes).
        log_total: Logarithm of the integral (...).
    """

    values: Float64[np.ndarray, "*batch nodes"]
    weights: Float64[np.ndarray, "*batch nodes"]
    log_total: Float64[np.ndarray, "*batch"]


def integrate(log_prior: Callable[[np.ndarray], np.ndarray], count: int, q: Reals) -> Integral:
    """``integral h(s2) (2 pi s2)^(-count/2) exp(-q / 2 s2) d s2`` for one or many q.

    Arguments:
        log_prior: ``log h``, elementwise, at best analytic.
        count: n, the number of data; 0 integrates the prior.
        q: Quadratic forms.

    Raises:
        InputError: an integral that does not exist.

    Example:
        >>> from scipy import stats
        >>> found = integrate(stats.invgamma(2, scale=2).logpdf, 0, 0.0)
        >>> abs(float(found.log_total)) < 1e-12, round(float(found.weights @ found.values), 8)
        (True, 2.0)
    """
    q = np.asarray(q, dtype=np.float64)
    flat = q.reshape(-1, 1)

    def log_integrand(u: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            s2 = np.exp(u)
            value = log_prior(s2) + u - count / 2 * (np.log(2 * np.pi) + u) - flat / (2 * s2)
        return np.where(np.isnan(value), -np.inf, value)

    low, high = _support(log_integrand, len(flat))
    nodes, before = 64, np.full(len(flat), np.nan)
    while True:
        u = low + (high - low) * np.linspace(0, 1, nodes)
        terms = log_integrand(u)
        total = logsumexp(terms, axis=1) + np.log((high - low)[:, 0] / (nodes - 1))
        if nodes >= 8192 or (np.abs(total - before) < 1e-13 * np.maximum(1, np.abs(total))).all():
            break
        nodes, before = 2 * nodes, total
    weights = np.exp(terms - logsumexp(terms, axis=1, keepdims=True))
    shape = (*q.shape, nodes)
    return Integral(np.exp(u).reshape(shape), weights.reshape(shape), total.reshape(q.shape))


def _support(log_integrand: Callable[[np.ndarray], np.ndarray], rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the integrand matters: zoom in on it from a coarse grid, row by row."""
    low, high = np.full((rows, 1), -_ENDS), np.full((rows, 1), _ENDS)
    grid = np.linspace(0, 1, 513)
    for _ in range(12):
        u = low + (high - low) * grid
        value = log_integrand(u)
        matters = value > value.max(1, keepdims=True) - NEGLIGIBLE
        if not np.isfinite(value.max(1)).all() or (matters[:, 0] & (low[:, 0] == -_ENDS)).any():
            raise _no_posterior()
        first = np.maximum(matters.argmax(1) - 1, 0)
        last = np.minimum(len(grid) - matters[:, ::-1].argmax(1), len(grid) - 1)
        if (matters[:, -1] & (high[:, 0] == _ENDS)).any():
            raise _no_posterior()
        new_low, new_high = (np.take_along_axis(u, index[:, None], 1) for index in (first, last))
        settled = (new_high - new_low > 0.5 * (high - low)).all()
        low, high = new_low, new_high
        if settled:
            break
    return low, high


def _no_posterior() -> InputError:
    return InputError(
        "the scale has no posterior under this prior",
        "an integral that does not converge",
        "Give targets that vary, or a prior with no mass near 0 and infinity, such as InverseGamma(2, 2).",
    )
