"""Balance of all functions of the kernel's space at once, without anchors.

Minimise ``KL(w || w0) + MMD(w)^2 / (2 ridge)`` over weights of mean 1. Its dual is over one function f of the space,

    min_f  log 1/n sum_o w0_o exp f(u_o, i_o) - mean_D f + ridge / 2 |f|^2,        w = w0 exp(f) / Z,

and the MMD is the largest imbalance of any function of norm 1. Under a product kernel ``f(u, i) = a_u B b_i^T`` with
``a a^T = K_U``, ``b b^T = K_I`` and ``|f| = |B|``: in these coordinates the problem is smooth and well conditioned.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, Int
from numpy import ndarray
from scipy.optimize import minimize
from scipy.sparse import csr_array

from harmonia.core.errors import InputError
from harmonia.parts.gram import EigenCache, Kernel, kernel_matrix
from harmonia.tables.kernel_balancing.pairs import PairKernel

_RANK_TOLERANCE = 1e-7
"""Directions of a Gram matrix with less than this share of its largest eigenvalue change nothing that can be seen."""

_PRECISION = 1e-7
"""Largest derivative of the dual at which it counts as solved; `gap` says what that is worth."""


class FunctionsBalanced(NamedTuple):
    """Weights that balance all functions.

    Attributes:
        weights: Of mean 1.
        function: The dual solution f, for every pair of user and item.
        divergence: ``KL(w || w0)`` in nats.
        gap: How much lower the objective could be at most, a certificate from duality.
        steps: Iterations.
    """

    weights: Float64[ndarray, " n"]
    function: Float64[ndarray, "users items"]
    divergence: float
    gap: float
    steps: int


def balance_functions(
    pairs: PairKernel,
    users: Int[ndarray, " n"],
    items: Int[ndarray, " n"],
    base_weights: Float64[ndarray, " n"],
    ridge: float,
) -> FunctionsBalanced:
    """Weights near the given ones under which every function has nearly its mean over all pairs.

    Raises:
        InputError: a ridge that is not positive: exact balance of all functions needs weights that need not exist.
    """
    if not 0 < ridge < np.inf:
        raise InputError("balancing all functions needs a positive ridge", ridge, "Give one, such as 1e-5.")
    by_user, by_item = _root(pairs.user_kernel, pairs.users), _root(pairs.item_kernel, pairs.items)
    log_base, n = np.log(base_weights / base_weights.mean()), len(users)
    mean = np.outer(by_user.mean(0), by_item.mean(0))
    shape = mean.shape

    def weigh(b: ndarray) -> tuple[ndarray, ndarray, float]:
        f = ((by_user @ b)[users] * by_item[items]).sum(1)
        top = (log_base + f).max()
        weights = np.exp(log_base + f - top)
        total = weights.mean()
        return f, weights / total, float(top + np.log(total))

    def imbalance(weights: ndarray) -> ndarray:
        sparse = csr_array((weights / n, (users, items)), shape=pairs.shape)
        return by_user.T @ (sparse @ by_item) - mean

    def dual(flat: ndarray) -> tuple[float, ndarray]:
        b = flat.reshape(shape)
        _, weights, log_total = weigh(b)
        value = log_total - float((b * mean).sum()) + ridge / 2 * float(np.square(b).sum())
        return value, (imbalance(weights) + ridge * b).ravel()

    options = {"maxiter": 2000, "maxfun": 4000, "maxcor": 20, "ftol": 0.0, "gtol": _PRECISION}
    found = minimize(dual, np.zeros(mean.size), jac=True, method="L-BFGS-B", options=options)
    b = found.x.reshape(shape)
    f, weights, log_total = weigh(b)
    divergence = float((weights * f).mean()) - log_total
    primal = divergence + float(np.square(imbalance(weights)).sum()) / (2 * ridge)
    return FunctionsBalanced(weights, by_user @ b @ by_item.T, divergence, primal + dual(found.x)[0], int(found.nit))


def _root(kernel: Kernel, x: torch.Tensor) -> Float64[ndarray, "n rank"]:
    """``a`` with ``a a^T = K``."""
    cache = EigenCache(kernel_matrix(kernel, x))
    kept = cache.values > _RANK_TOLERANCE * cache.values[0]
    return (cache.vectors[:, kept] * cache.values[kept].sqrt()).numpy()
