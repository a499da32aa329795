"""Weighted logistic matrix factorisation, fitted by L-BFGS on its exact gradient.

The probability, or the rating scaled to [0, 1], of a pair is ``sigma(z)`` with ``z = m + b_u + c_i + p_u . q_i``.
All losses of the method have one form, for with labels y' imputed everywhere the cross-entropy is linear in them:

    naive, IPS:     mean_O w (softplus(z) - y z)
    doubly robust:  mean_D (softplus(z) - y' z) - mean_O w (y - y') z

over observed pairs O and all pairs D, plus ``decay / 2`` times the squares of all parameters but m. Gradients are
products of a sparse or dense matrix of residuals with the factors: an iteration over a whole data set costs as much as
a few minibatches.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64, Int
from numpy import ndarray
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.sparse.linalg import svds
from scipy.special import expit

_START = 0.1
"""Deviation of the factors to begin with."""


@dataclass(frozen=True)
class Factors:
    """Parameters of a factorisation.

    Attributes:
        mean: m.
        user_bias, item_bias: b, c.
        users, items: Rows p_u and q_i.
    """

    mean: float
    user_bias: Float64[ndarray, " users"]
    item_bias: Float64[ndarray, " items"]
    users: Float64[ndarray, "users k"]
    items: Float64[ndarray, "items k"]

    @classmethod
    def start(cls, users: int, items: int, k: int, generator: np.random.Generator) -> Factors:
        """Small random factors without biases."""
        p, q = (_START * generator.standard_normal((count, k)) for count in (users, items))
        return cls(0.0, np.zeros(users), np.zeros(items), p, q)

    def logits(self, users: Int[ndarray, " n"], items: Int[ndarray, " n"]) -> Float64[ndarray, " n"]:
        """z of some pairs; rows below 0 are unknown users or items, of whom only the mean is assumed."""
        u, i = users >= 0, items >= 0
        if u.all() and i.all():
            own = np.einsum("nk,nk->n", self.users[users], self.items[items])
            return self.mean + self.user_bias[users] + self.item_bias[items] + own
        found = np.full(len(users), self.mean)
        found[u] += self.user_bias[users[u]]
        found[i] += self.item_bias[items[i]]
        both = u & i
        found[both] += np.einsum("nk,nk->n", self.users[users[both]], self.items[items[both]])
        return found

    def all_logits(self) -> Float64[ndarray, "users items"]:
        """z of all pairs."""
        return self.mean + self.user_bias[:, None] + self.item_bias + self.users @ self.items.T

    def flat(self) -> ndarray:
        """All parameters in a row."""
        parts = (np.array([self.mean]), self.user_bias, self.item_bias, self.users.ravel(), self.items.ravel())
        return np.concatenate(parts)

    def like(self, flat: ndarray) -> Factors:
        """Parameters of the same shapes from a row."""
        (u, k), i = self.users.shape, len(self.items)
        ends = np.cumsum([1, u, i, u * k])
        mean, b, c, p, q = np.split(flat, ends)
        return Factors(float(mean[0]), b, c, p.reshape(u, k), q.reshape(i, k))


@dataclass(frozen=True)
class Observed:
    """Observed pairs with labels in [0, 1] and weights."""

    users: Int[ndarray, " n"]
    items: Int[ndarray, " n"]
    labels: Float64[ndarray, " n"]
    weights: Float64[ndarray, " n"]

    def rows(self, chosen: Bool[ndarray, " n"]) -> Observed:
        """Some of the pairs."""
        return Observed(self.users[chosen], self.items[chosen], self.labels[chosen], self.weights[chosen])

    def matrix(self, values: Float64[ndarray, " n"], shape: tuple[int, int]) -> csr_array:
        """A value at each pair, as a sparse matrix of users and items."""
        order, items = self._by_user
        starts = np.concatenate([[0], np.cumsum(np.bincount(self.users, minlength=shape[0]))])
        return csr_array((values[order], items, starts), shape=shape)

    @cached_property
    def _by_user(self) -> tuple[Int[ndarray, " n"], Int[ndarray, " n"]]:
        """The order in which users follow each other, and the items in it: sorted once, not in every iteration."""
        order = np.lexsort((self.items, self.users))
        return order, self.items[order]


def fit_factors(
    start: Factors,
    observed: Observed,
    decay: float,
    *,
    imputed: Float64[ndarray, "users items"] | None = None,
    iterations: int = 300,
    precision: float = 1e-9,
) -> Factors:
    """Parameters that minimise a loss, from those given.

    Arguments:
        start: Where to begin.
        observed: What is known.
        decay: Of all parameters but the mean.
        imputed: Labels for all pairs, for the doubly robust loss; IPS without.
        iterations: At most so many of L-BFGS.
        precision: Relative change of the loss at which it ends.
    """
    found = minimize(
        lambda flat: loss_and_gradient(start.like(flat), observed, decay, imputed),
        start.flat(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": iterations, "maxfun": 2 * iterations, "ftol": precision, "gtol": 1e-7},
    )
    return start.like(found.x)


def least_decay(observed: Observed, imputed: Float64[ndarray, "users items"]) -> float:
    """The weight decay from which on the doubly robust loss surely has a minimum.

    Corrections C, ``w (y - y') / n`` at observed pairs, enter the loss as ``-<C, Z>`` with no curvature, and
    ``<C, P Q^T> <= |C| (|P|^2 + |Q|^2) / 2`` for the spectral norm: with a weaker decay factors can grow for ever.
    """
    corrections = observed.weights * (observed.labels - imputed[observed.users, observed.items]) / len(observed.users)
    matrix = observed.matrix(corrections, imputed.shape)
    if min(imputed.shape) < 3 or not corrections.any():
        return float(np.linalg.norm(matrix.toarray(), 2))
    return float(svds(matrix, k=1, return_singular_vectors=False, random_state=0)[0])


def loss_and_gradient(
    factors: Factors, observed: Observed, decay: float, imputed: Float64[ndarray, "users items"] | None = None
) -> tuple[float, Float64[ndarray, " parameters"]]:
    """The loss above and its derivatives by all parameters, in the order of `Factors.flat`."""
    u, i, w, n = observed.users, observed.items, observed.weights, len(observed.users)
    shape = len(factors.users), len(factors.items)
    z = factors.logits(u, i)
    if imputed is None:
        loss = float(w @ (np.logaddexp(0, z) - observed.labels * z)) / n
        residuals = w * (expit(z) - observed.labels) / n
        slope: csr_array | ndarray = observed.matrix(residuals, shape)
    else:
        everywhere, size = factors.all_logits(), shape[0] * shape[1]
        corrections = w * (observed.labels - imputed[u, i]) / n
        loss = float((np.logaddexp(0, everywhere) - imputed * everywhere).sum()) / size - float(corrections @ z)
        slope = (expit(everywhere) - imputed) / size
        slope -= observed.matrix(corrections, shape).toarray()
    flat = factors.flat()
    flat[0] = 0.0  # the mean is free
    by_user, by_item = np.asarray(slope.sum(1)).ravel(), np.asarray(slope.sum(0)).ravel()
    gradient = np.concatenate(
        [[by_user.sum()], by_user, by_item, (slope @ factors.items).ravel(), (slope.T @ factors.users).ravel()]
    )
    return loss + decay / 2 * float(flat @ flat), gradient + decay * flat
