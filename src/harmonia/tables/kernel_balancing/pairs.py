"""All pairs of users and items under a product kernel: means over them, witnesses of imbalance, MMD, never listed.

With ``k((u, i), (u', i')) = k_U(u, u') k_I(i, i')`` the mean over all U I pairs is a product of two means, the Gram
matrix of all pairs is a Kronecker product, and weights on some pairs are a sparse matrix S with users as rows. Then

    witness = K_U S K_I / n - (mean K_U) (mean K_I)^T,        MMD^2 = <S / n - 1 / (U I), witness>,

where ``witness[u, i]`` is how much the weighted pairs and all pairs differ in the mean of the function k(., (u, i)).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float64, Int
from numpy import ndarray
from scipy.sparse import csr_array
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.gram import (
    Kernel,
    KernelOperator,
    Matern,
    SquaredExponential,
    kernel_matrix,
    mean_embedding,
    squared_distances,
)

KERNELS: dict[str, Callable[[float], Kernel]] = {
    "gaussian": lambda lengthscale: SquaredExponential(lengthscale),
    "exponential": lambda lengthscale: Matern(lengthscale, nu=0.5),
}

STORED = 4096
"""Gram matrices of up to so many users or items are kept; larger ones are computed anew in each product."""

_BLOCK = 16384
"""Rows of features that are multiplied at once."""


def median_distance(x: Float64[ndarray, "n features"], seed: int = 0) -> float:
    """Median Euclidean distance of different rows, of 2000 drawn ones where there are more; the mean if that is 0.

    Raises:
        InputError: rows that are all the same: they carry no information.

    Example:
        >>> median_distance(np.array([[0.0], [1.0], [3.0]]))
        2.0
    """
    if len(x) > 2000:
        x = x[np.random.default_rng(seed).choice(len(x), 2000, replace=False)]
    distances = squared_distances(torch.from_numpy(x), torch.from_numpy(x)).clamp(min=0).sqrt().numpy()
    distances = distances[np.triu_indices(len(x), 1)]
    found = float(np.median(distances)) if len(distances) else 0.0
    found = found or float(distances.mean() if len(distances) else 0.0)
    if not found > 0:
        raise InputError("the covariates carry no information", "equal rows", "Pass features that differ.")
    return found


def scaled_kernel(kernel: str | Kernel, bandwidth: float, x: Float64[ndarray, "n features"]) -> Kernel:
    """A kernel by name with a lengthscale of `bandwidth` median distances; a kernel object as it is.

    Raises:
        InputError: no such kernel, a bandwidth that is not positive, or equal rows.
    """
    if not isinstance(kernel, str):
        return kernel
    if kernel not in KERNELS:
        raise InputError("there is no such kernel", f"'{kernel}'", f"Use {', '.join(KERNELS)}, or a kernel object.")
    if not 0 < bandwidth < np.inf:
        raise InputError("the bandwidth must be positive", bandwidth, "Give a number of median distances, such as 1.")
    return KERNELS[kernel](bandwidth * median_distance(x))


@dataclass(frozen=True)
class PairKernel:
    """All pairs of users and items under the product of two kernels.

    Arguments:
        user_kernel, item_kernel: Kernel functions.
        users: Features of all users.
        items: Features of all items.

    Example:
        >>> kernel = SquaredExponential()
        >>> pairs = PairKernel(kernel, kernel, torch.zeros(3, 1).double(), torch.zeros(2, 1).double())
        >>> pairs.mean(np.array([[0, 0], [2, 1]]))
        array([1., 1.])
    """

    user_kernel: Kernel
    item_kernel: Kernel
    users: Tensor
    items: Tensor

    @classmethod
    def of(
        cls,
        kernel: str | Kernel,
        bandwidth: float,
        user_features: Float64[ndarray, "users p"],
        item_features: Float64[ndarray, "items q"],
    ) -> PairKernel:
        """The same kind of kernel for both, each with its own scale."""
        by_user, by_item = (scaled_kernel(kernel, bandwidth, x) for x in (user_features, item_features))
        return cls(by_user, by_item, torch.from_numpy(user_features), torch.from_numpy(item_features))

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of users and items."""
        return len(self.users), len(self.items)

    def features(
        self, users: Int[ndarray, " n"], items: Int[ndarray, " n"], anchors: Int[ndarray, "anchors 2"]
    ) -> Float64[ndarray, "n anchors"]:
        """``k((u_o, i_o), anchor_j)``: two small Gram matrices, gathered and multiplied."""
        by_user = self.user_kernel(self.users, self.users[anchors[:, 0]]).numpy()
        by_item = self.item_kernel(self.items, self.items[anchors[:, 1]]).numpy()
        found = by_user[users]
        for start in range(0, len(found), _BLOCK):  # no second array of this size
            rows = slice(start, start + _BLOCK)
            found[rows] *= by_item[items[rows]]
        return found

    def mean(self, anchors: Int[ndarray, "anchors 2"]) -> Float64[ndarray, " anchors"]:
        """Means of ``k(., anchor_j)`` over all pairs."""
        by_user, by_item = self._means
        return by_user[anchors[:, 0]] * by_item[anchors[:, 1]]

    def combination(
        self, anchors: Int[ndarray, "anchors 2"], coefficients: Float64[ndarray, " anchors"]
    ) -> Float64[ndarray, "users items"]:
        """``sum_j b_j k(., anchor_j)`` at all pairs."""
        by_user = self.user_kernel(self.users, self.users[anchors[:, 0]]).numpy()
        by_item = self.item_kernel(self.items, self.items[anchors[:, 1]]).numpy()
        return (by_user * coefficients) @ by_item.T

    def norms(self, anchors: Int[ndarray, "anchors 2"]) -> Float64[ndarray, " anchors"]:
        """Norms of the functions ``k(., anchor_j)``: ``k(anchor_j, anchor_j)^(1/2)``."""
        by_user = KernelOperator(self.user_kernel, self.users[anchors[:, 0]], block=64).diagonal()
        by_item = KernelOperator(self.item_kernel, self.items[anchors[:, 1]], block=64).diagonal()
        return (by_user * by_item).sqrt().numpy()

    @cached_property
    def _means(self) -> tuple[ndarray, ndarray]:
        """Means over all users, and over all items, at each of them."""
        if self._grams is not None:
            return self._grams[0].mean(0), self._grams[1].mean(0)
        by_user = mean_embedding(self.user_kernel, self.users, self.users)
        return by_user.numpy(), mean_embedding(self.item_kernel, self.items, self.items).numpy()

    @cached_property
    def _grams(self) -> tuple[ndarray, ndarray] | None:
        """Both Gram matrices, if they are small enough to be kept."""
        if max(self.shape) > STORED:
            return None
        by_user, by_item = kernel_matrix(self.user_kernel, self.users), kernel_matrix(self.item_kernel, self.items)
        return by_user.numpy(), by_item.numpy()

    def smooth(self, values: Float64[ndarray, "users items"]) -> Float64[ndarray, "users items"]:
        """``K_U values K_I``: the kernel of all pairs times a function of pairs."""
        if self._grams is not None:
            return self._grams[0] @ values @ self._grams[1]
        half = KernelOperator(self.user_kernel, self.users) @ torch.from_numpy(np.ascontiguousarray(values))
        return (KernelOperator(self.item_kernel, self.items) @ half.T.contiguous()).T.numpy()

    def excess(
        self, users: Int[ndarray, " n"], items: Int[ndarray, " n"], weights: Float64[ndarray, " n"]
    ) -> Float64[ndarray, "users items"]:
        """``S / n - 1 / (U I)``: the weighted distribution of pairs less the uniform one."""
        sparse = csr_array((weights / len(weights), (users, items)), shape=self.shape)
        return sparse.toarray() - 1 / (self.shape[0] * self.shape[1])

    def witness(
        self, users: Int[ndarray, " n"], items: Int[ndarray, " n"], weights: Float64[ndarray, " n"]
    ) -> Float64[ndarray, "users items"]:
        """Weighted mean less mean over all pairs of ``k(., (u, i))``, for every pair (u, i)."""
        return self.smooth(self.excess(users, items, weights))

    def mmd(
        self,
        users: Int[ndarray, " n"],
        items: Int[ndarray, " n"],
        weights: Float64[ndarray, " n"],
        witness: Float64[ndarray, "users items"] | None = None,
    ) -> float:
        """Largest difference of the two means over all functions of norm 1; their `witness` may be given if known."""
        found = self.witness(users, items, weights) if witness is None else witness
        return float(np.sqrt(max(0.0, float(weights @ found[users, items]) / len(weights) - float(found.mean()))))
