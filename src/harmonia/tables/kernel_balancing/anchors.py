"""Which functions to balance: kernels at random pairs, at the pairs worst out of balance, or where the errors live.

A kernel centred at a pair of user and item, an *anchor*, is a bump around it. The paper balances few of them and
chooses well (its KB, WKB and AKB); the searches here are exact over all pairs instead of a few steps of Adam over a
minibatch of them.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float64, Int
from numpy import ndarray

from harmonia.parts.gram import Cholesky
from harmonia.tables.kernel_balancing.dual import Balanced, balance_moments
from harmonia.tables.kernel_balancing.pairs import PairKernel

Anchors = Literal["random", "worst", "adaptive", "all"]

_CANDIDATES = 3
"""The adaptive choice is among so many times the anchors wanted."""

_ROUNDS = 10
"""The worst pairs are searched so often."""


def random_anchors(pairs: PairKernel, count: int, generator: np.random.Generator) -> Int[ndarray, "anchors 2"]:
    """Different pairs, all equally likely."""
    users, items = pairs.shape
    chosen = generator.choice(users * items, min(count, users * items), replace=False, shuffle=False)
    return np.stack(np.divmod(chosen, items), 1)


def worst_anchors(
    pairs: PairKernel,
    users: Int[ndarray, " n"],
    items: Int[ndarray, " n"],
    base_weights: Float64[ndarray, " n"],
    count: int,
    tol: float,
    ridge: float,
) -> tuple[Int[ndarray, "anchors 2"], Balanced]:
    """The pairs whose kernels are worst out of balance, found in turn with the weights that balance those before.

    A cutting-plane method for the problem with one constraint for *every* pair: it ends early when none is violated,
    and the weights are then optimal for all of them.
    """
    weights, chosen = base_weights, np.empty((0, 2), dtype=np.int64)
    while True:
        witness = np.abs(pairs.witness(users, items, weights))
        more = min(max(1, -(-count // _ROUNDS)), count - len(chosen))
        chosen = np.concatenate([chosen, _peaks(pairs, witness, chosen, more)])
        found = balance_moments(
            pairs.features(users, items, chosen), pairs.mean(chosen), base_weights=base_weights, tol=tol, ridge=ridge
        )
        weights = found.weights
        if len(chosen) >= count or np.abs(pairs.witness(users, items, weights)).max() <= tol * (1 + 1e-6):
            return chosen, found


def _peaks(pairs: PairKernel, witness: ndarray, taken: ndarray, count: int) -> ndarray:
    """The highest points of a map; each one taken hides its neighbourhood, as far as the kernel reaches."""
    witness = witness.copy()
    witness[taken[:, 0], taken[:, 1]] = 0
    found = np.empty((count, 2), dtype=np.int64)
    for j in range(count):
        found[j] = np.unravel_index(witness.argmax(), witness.shape)
        u, i = found[j]
        by_user = pairs.user_kernel(pairs.users[[u]], pairs.users)[0].numpy()
        by_item = pairs.item_kernel(pairs.items[[i]], pairs.items)[0].numpy()
        near = np.outer(by_user / by_user[u], by_item / by_item[i])
        witness *= np.clip(1 - near, 0, None)
    return found


def adaptive_anchors(
    pairs: PairKernel,
    users: Int[ndarray, " n"],
    items: Int[ndarray, " n"],
    errors: Float64[ndarray, " n"],
    weights: Float64[ndarray, " n"],
    count: int,
    generator: np.random.Generator,
) -> Int[ndarray, "anchors 2"]:
    """The pairs whose kernels make up the present error of the recommender.

    A weighted ridge regression of the errors on kernels at random candidates; those are taken whose terms
    ``|c_j| k(x_j, x_j)^(1/2)`` are largest.
    """
    candidates = random_anchors(pairs, _CANDIDATES * count, generator)
    features = pairs.features(users, items, candidates)
    centred = errors - (weights * errors).mean()
    gram = (features * weights[:, None]).T @ features / len(errors)
    ridge = 1e-3 * float(gram.diagonal().mean())
    moments = features.T @ (weights * centred) / len(errors)
    coefficients = Cholesky(torch.from_numpy(gram), noise=ridge).solve(torch.from_numpy(moments)).numpy()
    return candidates[np.argsort(-np.abs(coefficients) * pairs.norms(candidates), kind="stable")[:count]]
