"""Networks of infinite width and finite depth: how they approach their limit.

    Sigma_0 = K_0 = xi,   Sigma_{l+1} = phi^(Sigma_l),   K_{l+1} = Sigma_{l+1} + K_l phi^'(Sigma_l)

is the tangent kernel of a network without biases on the unit sphere (Jacot et al. 2018). At depth 100 its entries span
hundreds of orders of magnitude, so the recursion runs on logarithms, with ``1 - Sigma`` beside where inputs are near.
"""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray
from scipy.interpolate import CubicSpline
from sklearn.base import ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.singular_classifiers.base import SphereEstimator
from harmonia.kernels.singular_classifiers.duals import Dual
from harmonia.kernels.singular_classifiers.koenigs import LogTable, table_nodes
from harmonia.kernels.singular_classifiers.smoothing import COINCIDENT, TILE, half_square_distances
from harmonia.parts.gram import EigenCache, kernel_matrix

_BLOCK = math.isqrt(TILE)

_AT_ONCE = 1024
"""New inputs whose kernel with all training points is kept at once."""

_NEGLIGIBLE = 1e-8
"""Largest sum of a row's off-diagonal entries, relative to the diagonal, for which the matrix counts as diagonal."""


def log_deep_ntk(
    dual: Dual, eps: Float64[ndarray, "*batch"], xi: Float64[ndarray, "*batch"], depth: int
) -> Float64[ndarray, "*batch"]:
    """``log K_depth`` of inputs on the sphere.

    Arguments:
        dual: Of the activation.
        eps: ``1 - x.x'``, precise where it is small.
        xi: ``x.x'``, precise where it is small.
        depth: Hidden layers.

    Example:
        >>> from harmonia.kernels.singular_classifiers.duals import dual_of
        >>> half = np.array([0.5])
        >>> np.exp(log_deep_ntk(dual_of(lambda x: x), half, half, depth=3))  # a deep linear network: (L + 1) xi
        array([2.])
    """
    shape = np.shape(eps)
    eps = np.array(eps).ravel()
    with np.errstate(divide="ignore"):
        log_sigma = np.maximum(np.log(np.ravel(xi)), -1e300)
    log_kernel, log_slope = log_sigma.copy(), np.empty_like(eps)
    for _ in range(depth):
        near = eps < 0.5
        far = ~near
        log_slope[near], log_slope[far] = dual.log_slope_near_one(eps[near]), dual.log_slope(log_sigma[far])
        eps[near], log_sigma[far] = dual.rest(eps[near]), dual.log_value(log_sigma[far])
        log_sigma[near], eps[far] = np.log1p(-eps[near]), -np.expm1(log_sigma[far])
        log_kernel = np.logaddexp(log_sigma, log_kernel + log_slope)
    return log_kernel.reshape(shape)


class DeepKernel:
    """``log K_depth`` between unit vectors: a function of one angle, so that any depth costs the same for a pair.

    Arguments:
        dual: Of the activation.
        depth: Hidden layers.

    Attributes:
        log_scale: ``log K_depth(1)``, the kernel of a point with itself.

    Raises:
        InputError: a kernel that overflows even in the logarithm.
    """

    def __init__(self, dual: Dual, depth: int) -> None:
        self.log_scale = float(log_deep_ntk(dual, np.zeros(1), np.ones(1), depth)[0])
        u = table_nodes()
        values = log_deep_ntk(dual, 1 / (1 + np.exp(-u)), 1 / (1 + np.exp(u)), depth)
        if not (np.isfinite(values).all() and math.isfinite(self.log_scale)):
            raise InputError("the kernel of so deep a network overflows", depth, "Use less depth, or its limit.")
        self._table = LogTable(CubicSpline(u, values), per_octave=128)

    def __call__(
        self, x1: Float64[Tensor, "n ambient"], x2: Float64[Tensor, "m ambient"] | None = None
    ) -> Float64[Tensor, "n m"]:
        """The matrix of logarithms between two sets of unit vectors, or of one with itself."""
        eps = half_square_distances(x1, x1 if x2 is None else x2)
        return self._table(eps).masked_fill_(eps < COINCIDENT, self.log_scale)

    def matrix(
        self, x1: Float64[Tensor, "n ambient"], x2: Float64[Tensor, "m ambient"] | None = None
    ) -> Float64[Tensor, "n m"]:
        """The same, by small blocks on all threads."""
        return kernel_matrix(self, x1, x2, block=_BLOCK, engine="threads", workers=torch.get_num_threads())


class DeepNTKClassifier(ClassifierMixin, SphereEstimator):
    """Infinitely wide networks of finite depth, trained to the end: kernel regression on the labels, without a ridge.

    As the depth grows this becomes the nearest neighbour, the majority vote, or `SingularKernelClassifier`, as
    `activation_taxonomy` says. On the sphere the kernel is a function of one angle, so any depth costs the same.

    Arguments:
        depth: Hidden layers.
        activation: ``"optimal"``, or any continuous activation.
        dim: As of `SingularKernelClassifier`, for ``activation="optimal"``; without ``"loo"``.
        feature_map, device: As of `SingularKernelClassifier`.

    Attributes:
        classes_: Labels.
        kernel_: The kernel.
        is_diagonal_: Whether the kernel matrix is diagonal for all purposes, so that nothing had to be solved.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> bool(DeepNTKClassifier(depth=50).fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.9)
        True
    """

    def __init__(  # untyped: scikit-learn's constructors take anything, and `fit` checks
        self, depth=10, *, activation="optimal", dim="features", feature_map="sphere", device="auto"
    ):
        self.depth = depth
        self.activation = activation
        self.dim = dim
        self.feature_map = feature_map
        self.device = device

    def fit(self, X: Any, y: Any) -> DeepNTKClassifier:
        """Solve for the weights of the training points."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        if not isinstance(self.depth, Integral) or self.depth < 1:
            raise InputError("the depth is a whole number of hidden layers, at least 1", self.depth, "Change it.")
        if self.dim == "loo":
            raise InputError("finite depth has no leave-one-out choice of the dimension", "dim='loo'", "Use 'mle'.")
        self.classes_, index = np.unique(y, return_inverse=True)
        points = self._fit_sphere(X)
        dual = self._dual(self._dimension(points))
        self.kernel_ = DeepKernel(dual, int(self.depth))
        self._points = torch.from_numpy(points).to(self._device())
        kernel = self.kernel_.matrix(self._points).sub_(self.kernel_.log_scale).exp_()
        labels = torch.eye(len(self.classes_), dtype=torch.float64, device=kernel.device)[torch.from_numpy(index)]
        off_diagonal = float(kernel.clone().fill_diagonal_(0.0).amax()) * len(kernel)
        self.is_diagonal_ = off_diagonal < _NEGLIGIBLE
        self._weights = labels if self.is_diagonal_ else _solve(kernel, labels)
        return self

    def decision_function(self, X: Any) -> ndarray:
        """Outputs of the network (m, classes), for two classes their difference (m,), in units of the largest kernel
        entry of the point: the bare outputs vanish with depth everywhere but on the training points."""
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Any) -> ndarray:
        """The class with the largest output."""
        check_is_fitted(self)
        return self.classes_[self._scores(X).argmax(1)]

    def log_largest(self, X: Any) -> ndarray:
        """Logarithm of the largest kernel entry of each input, relative to that of an input with itself.

        It bounds the network's outputs: as regression, the limit of infinite depth is 0 off the training points.
        """
        check_is_fitted(self)
        log_kernel = self.kernel_.matrix(self._on_sphere(X), self._points)
        return (log_kernel.amax(1) - self.kernel_.log_scale).cpu().numpy()

    def _scores(self, X: Any) -> ndarray:
        check_is_fitted(self)
        found = []
        for x in self._on_sphere(X).split(_AT_ONCE):
            log_kernel = self.kernel_.matrix(x, self._points)
            found.append(log_kernel.sub_(log_kernel.amax(1, keepdim=True)).exp_() @ self._weights)
        return torch.cat(found).cpu().numpy()

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = False
        return tags


def _solve(kernel: Tensor, labels: Tensor) -> Tensor:
    """``K^-1 Y``; of a singular matrix (repeated points, shallow networks) the least-squares solution."""
    factor, failed = torch.linalg.cholesky_ex(kernel)
    if not failed and float(factor.diagonal().amin()) > 1e-7:
        return torch.cholesky_solve(labels, factor)
    cache = EigenCache(kernel)
    return cache.filter(torch.where(cache.values > 1e-12 * cache.values[0], 1 / cache.values, 0.0)) @ labels
