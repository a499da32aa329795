"""What the two classifiers share: features as angles, the feature map, its warnings."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy import ndarray
from sklearn.base import BaseEstimator
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils import Tags
from sklearn.utils.validation import validate_data
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.quantum_kernels.device import DeviceNoise
from harmonia.kernels.quantum_kernels.entanglement import Entanglement
from harmonia.kernels.quantum_kernels.feature_maps import PauliFeatureMap, ZFeatureMap, ZZFeatureMap
from harmonia.kernels.quantum_kernels.kernel import QuantumKernel

FeatureMapLike = Literal["zz", "z"] | PauliFeatureMap | Callable[[int], PauliFeatureMap]

_SINGLE_ABOVE = 12
"""States of more qubits are complex64: half the memory, kernels to about 1e-6."""


class QuantumClassifier(BaseEstimator):
    """Base of the classifiers: angles and states of their inputs."""

    feature_map: FeatureMapLike
    reps: int
    entanglement: Entanglement
    bandwidth: Any
    scaling: Literal["minmax"] | None
    shots: int | None
    noise: float | DeviceNoise

    def _fit_kernel(self, X: ndarray) -> Tensor:
        """Learn the scaling, build the kernel; gives the angles."""
        if self.scaling not in ("minmax", None):
            raise InputError("no such scaling", repr(self.scaling), "Use 'minmax', or None for angles.")
        kernel = QuantumKernel(self._feature_map(X.shape[1]), self.bandwidth)
        self.scaler_ = MinMaxScaler((0, 2 * np.pi)).fit(X) if self.scaling else None
        self.kernel_ = kernel
        return self._angles_with_warning(X)

    def _feature_map(self, features: int) -> PauliFeatureMap:
        if isinstance(self.feature_map, str):
            maps = {"zz": ZZFeatureMap, "z": ZFeatureMap}
            if self.feature_map not in maps:
                raise InputError("no such feature map", repr(self.feature_map), "Use 'zz', 'z' or a PauliFeatureMap.")
            return maps[self.feature_map](features, reps=self.reps, entanglement=self.entanglement)
        return self.feature_map if isinstance(self.feature_map, PauliFeatureMap) else self.feature_map(features)

    def to_angles(self, X: Float64[ndarray, "n features"]) -> Float[Tensor, "n features"]:
        """Inputs as angles, before the bandwidth."""
        scaled = X if self.scaler_ is None else self.scaler_.transform(X)
        dtype = torch.float32 if X.shape[1] > _SINGLE_ABOVE else torch.float64
        return torch.from_numpy(np.ascontiguousarray(scaled)).to(dtype)

    def _angles_with_warning(self, X: ndarray) -> Tensor:
        if self.scaler_ is None and (X.min() < 0 or X.max() > 2 * np.pi + 1e-9):
            warnings.warn(
                "features outside [0, 2 pi] are used as angles: products of pi - x become random phases; "
                "use scaling='minmax'",
                stacklevel=4,
            )
        return self.to_angles(X)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.non_deterministic = self.shots is not None
        return tags

    def _new_angles(self, X: Any) -> Tensor:
        return self._angles_with_warning(validate_data(self, X, dtype=np.float64, reset=False))
