"""What the estimators share: parameters, the way to the sphere, the dimension, and the kernel that follows from it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from numbers import Real
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.singular_classifiers.activations import LARGEST_DIMENSION, optimal_activation
from harmonia.kernels.singular_classifiers.duals import Dual, dual_of
from harmonia.kernels.singular_classifiers.koenigs import Koenigs
from harmonia.kernels.singular_classifiers.smoothing import LogWeight, PowerLaw
from harmonia.kernels.singular_classifiers.sphere import SphereMap, intrinsic_dimension
from harmonia.kernels.singular_classifiers.taxonomy import Taxonomy, taxonomy_of
from harmonia.parts.infwidth import Activation

Dimension = float | Literal["features", "mle", "loo"]
ActivationLike = Literal["optimal", "hilbert"] | Activation | Callable[[Tensor], Tensor]


class SphereEstimator(BaseEstimator):
    """Base of the estimators whose inputs are mapped to the sphere."""

    dim: Dimension
    feature_map: Literal["sphere", "softplus", "raw"]
    activation: ActivationLike
    device: str

    def _fit_sphere(self, X: Float64[ndarray, "n d"]) -> Float64[ndarray, "n ambient"]:
        self.sphere_ = SphereMap(self.feature_map).fit(X)
        return self.sphere_(X)

    def _on_sphere(self, X: Any) -> Tensor:
        """New inputs as unit vectors, where the training points are."""
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return torch.from_numpy(self.sphere_(X)).to(self._device())

    def _device(self) -> torch.device:
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return torch.device(self.device)

    def _dimension(self, points: Float64[ndarray, "n ambient"]) -> float:
        """The dimension that `dim` asks for; of ``"loo"`` the one around which it looks."""
        features = points.shape[1] - 1
        if self.dim == "features":
            return float(min(max(features, 1), LARGEST_DIMENSION))
        if self.dim in ("mle", "loo"):
            return min(max(intrinsic_dimension(points), 1.0), max(features, 1.0))
        if isinstance(self.dim, Real) and not isinstance(self.dim, bool) and 0 < float(self.dim) <= LARGEST_DIMENSION:
            return float(self.dim)
        raise InputError(
            f"the dimension is a number above 0 and at most {LARGEST_DIMENSION:.0f}, or a word",
            repr(self.dim),
            "Use 'features', 'mle', 'loo' or a number.",
        )

    def _dual(self, dimension: float) -> Dual:
        """Of the activation."""
        if isinstance(self.activation, str):
            if self.activation != "optimal":
                raise InputError(
                    "no such activation", repr(self.activation), "Use 'optimal', or a function such as torch.tanh."
                )
            return dual_of(optimal_activation(dimension))
        return dual_of(self.activation)


def limiting_kernel(dual: Dual) -> tuple[LogWeight, Taxonomy]:
    """The kernel of infinite depth, which the activation's class decides.

    Raises:
        InputError: an activation of no class with a limit.
    """
    found = taxonomy_of(dual)
    if found.kind == "singular kernel":
        return Koenigs(dual).table, found
    if math.isnan(found.alpha):
        raise InputError(
            "this activation has no infinite-depth classifier", found, "Use DeepNTKClassifier at finite depth."
        )
    if found.kind == "majority vote":
        warnings.warn(
            "your network is a majority vote at infinite depth: subtract the Gaussian mean of its activation",
            stacklevel=4,
        )
    return PowerLaw(found.alpha), found
