"""The learned kernel as a function of two sets of rows, for other libraries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.dkm.network import Frozen


@dataclass(frozen=True)
class DeepKernel:
    """The last kernel of a trained machine, ``phi(x) . phi(x')`` with features seen from the inducing points.

    Arrays give arrays, for ``SVC(kernel=...)`` or ``KernelRidge``; tensors give tensors of their precision and device,
    differentiable by the inputs, for `harmonia.parts.gram` and, through ``as_gpytorch``, for gpytorch. Inside it is
    float64.

    Attributes:
        frozen: The trained network, its inducing points done with.
        width: Columns of the training data.
        kept: Columns that it reads.
        mean: What is subtracted from them.
        scale: What they are divided by.

    Example:
        >>> from sklearn.svm import SVR
        >>> from harmonia.kernels import DeepKernelMachineRegressor
        >>> x = np.linspace(-1, 1, 40)[:, None]
        >>> y = np.sign(x[:, 0])
        >>> kernel = DeepKernelMachineRegressor(n_inducing=10, max_iter=20, random_state=0).fit(x, y).deep_kernel_
        >>> bool(SVR(kernel=kernel, C=10).fit(x, y).score(x, y) > 0.8)
        True
    """

    frozen: Frozen
    width: int
    kept: np.ndarray
    mean: np.ndarray
    scale: np.ndarray

    def __call__(self, X: Any, Y: Any = None) -> Any:
        """The matrix ``k(X, Y)``; of `X` with itself if `Y` is None."""
        if isinstance(X, Tensor):
            features = self._features(X)
            return _like(X, features @ (features if Y is None else self._features(Y)).mT)
        with torch.no_grad():
            found = self(_tensor(X), None if Y is None else _tensor(Y))
        return found.numpy()

    def features(self, x: Tensor) -> Tensor:
        """``phi``, one row per input (n, P).

        Raises:
            InputError: inputs of another width than the machine was trained on.
        """
        return _like(x, self._features(x))

    def diagonal(self, x: Tensor) -> Tensor:
        """``|phi(x)|^2``."""
        return _like(x, self._features(x).square().sum(1))

    def _features(self, x: Tensor) -> Tensor:
        """In float64, where the machine is."""
        if x.ndim != 2 or x.shape[1] != self.width:
            raise InputError("inputs have the columns of the training data", tuple(x.shape), f"Pass (n, {self.width}).")
        inverse = self.frozen.posterior.inverse
        mean, scale = (torch.from_numpy(values).to(inverse) for values in (self.mean, self.scale))
        return self.frozen.features((x.to(inverse)[:, self.kept] - mean) / scale)[0]


def _like(x: Tensor, found: Tensor) -> Tensor:
    """On the device of the inputs, and in their precision where they have one."""
    return found.to(x) if x.is_floating_point() else found.to(x.device)


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64))
