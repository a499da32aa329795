"""A smooth function of user and item fitted to values at observed pairs: kernel ridge regression at anchors.

``f = c + sum_j b_j k(., x_j)`` minimises ``mean w (v - f)^2 + ridge |f - c|^2``, with c the weighted mean: one linear
system in as many unknowns as anchors. Under a product kernel f is known at all pairs as one product of small matrices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int
from numpy import ndarray

from harmonia.parts.gram import Cholesky
from harmonia.tables.kernel_balancing.anchors import random_anchors
from harmonia.tables.kernel_balancing.pairs import PairKernel


@dataclass(frozen=True)
class Regression:
    """A fitted function.

    Attributes:
        pairs: All pairs and their kernel.
        anchors: The x_j.
        centre: c.
        coefficients: The b_j.
        norm: ``|f - c|`` in the kernel's space.
    """

    pairs: PairKernel
    anchors: Int[ndarray, "anchors 2"]
    centre: float
    coefficients: Float64[ndarray, " anchors"]
    norm: float

    def at(self, users: Int[ndarray, " n"], items: Int[ndarray, " n"]) -> Float64[ndarray, " n"]:
        """f at some pairs."""
        return self.centre + self.pairs.features(users, items, self.anchors) @ self.coefficients

    def everywhere(self) -> Float64[ndarray, "users items"]:
        """f at all pairs."""
        return self.centre + self.pairs.combination(self.anchors, self.coefficients)

    @property
    def mean(self) -> float:
        """Mean of f over all pairs."""
        return self.centre + float(self.pairs.mean(self.anchors) @ self.coefficients)


def regress(
    pairs: PairKernel,
    users: Int[ndarray, " n"],
    items: Int[ndarray, " n"],
    values: Float64[ndarray, " n"],
    weights: Float64[ndarray, " n"],
    *,
    n_anchors: int = 300,
    ridge: float = 1e-3,
    random_state: int = 0,
) -> Regression:
    """Fit values at observed pairs by a function of their covariates.

    Example:
        >>> from harmonia.tables.kernel_balancing import semi_synthetic
        >>> truth = semi_synthetic()
        >>> pairs = PairKernel.of("gaussian", 1.0, truth.user_features, truth.item_features)
        >>> ones = np.ones(len(truth.users))
        >>> found = regress(pairs, truth.users, truth.items, truth.errors[truth.observed], ones)
        >>> bool(np.corrcoef(found.everywhere().ravel(), truth.errors.ravel())[0, 1] > 0.8)
        True
    """
    anchors = random_anchors(pairs, n_anchors, np.random.default_rng(random_state))
    features = pairs.features(users, items, anchors)
    own = pairs.features(anchors[:, 0], anchors[:, 1], anchors)
    centre = float(np.average(values, weights=weights))
    gram = (features * weights[:, None]).T @ features / len(values)
    moments = features.T @ (weights * (values - centre)) / len(values)
    system = Cholesky(torch.from_numpy(gram + ridge * own))
    coefficients = system.solve(torch.from_numpy(moments)).numpy()
    return Regression(pairs, anchors, centre, coefficients, float(np.sqrt(max(0.0, coefficients @ own @ coefficients))))
