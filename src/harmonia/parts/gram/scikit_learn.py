"""Kernels of ours for scikit-learn: its Gaussian processes learn their hyperparameters, its machines call them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float64
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel
from torch import Tensor
from torch.autograd import forward_ad

from harmonia.core.errors import InputError
from harmonia.parts.gram.kernels import KernelFunction


class SklearnKernel(Kernel):
    """A kernel function as a kernel of ``sklearn.gaussian_process``, with exact gradients, and as a callable of arrays.

    Arguments:
        kernel: The function, whose `KernelFunction.hyperparameters` are learned on a logarithmic scale.
        limits: Range searched for each of them, or ``"fixed"`` to keep all.

    Example:
        >>> from sklearn.gaussian_process import GaussianProcessRegressor
        >>> from sklearn.svm import SVR
        >>> from harmonia.parts.gram import Matern
        >>> X = np.linspace(0, 1, 30)[:, None]
        >>> y = np.sin(6 * X[:, 0])
        >>> kernel = SklearnKernel(Matern(lengthscale=3.0))
        >>> gp = GaussianProcessRegressor(kernel, alpha=1e-6).fit(X, y)
        >>> bool(gp.kernel_.kernel.lengthscale < 1), bool(SVR(kernel=gp.kernel_).fit(X, y).score(X, y) > 0.9)
        (True, True)
    """

    kernel: KernelFunction
    limits: tuple[float, float] | Literal["fixed"]

    def __init__(self, kernel, limits=(1e-3, 1e3)):  # untyped: scikit-learn clones by these names
        self.kernel = kernel
        self.limits = limits

    @property
    def hyperparameters(self) -> list[Hyperparameter]:
        """What is learned: sizes and ranges by name."""
        return [
            Hyperparameter(name, "numeric", self.limits, value.numel() if isinstance(value, Tensor) else 1)
            for name, value in self.kernel.hyperparameters().items()
        ]

    @property
    def theta(self) -> Float64[np.ndarray, " h"]:
        """Logarithms of the hyperparameters."""
        if self.limits == "fixed":
            return np.empty(0)
        return np.log([float(n) for value in self.kernel.hyperparameters().values() for n in _numbers(value)])

    @theta.setter
    def theta(self, theta: Float64[np.ndarray, " h"]) -> None:
        values = np.exp(theta)
        if len(values):
            self.kernel = self._with(torch.from_numpy(values), plain=True)

    @property
    def bounds(self) -> Float64[np.ndarray, "h 2"]:
        """Logarithms of the ranges."""
        return np.log(np.tile(np.array(self.limits), (len(self.theta), 1))) if len(self.theta) else np.empty((0, 2))

    def __call__(self, X: Any, Y: Any = None, eval_gradient: bool = False) -> Any:
        """Kernel matrix (n, m), and with `eval_gradient` its derivatives (n, n, h) by `theta`."""
        x = _tensor(X)
        if not eval_gradient:
            with torch.no_grad():
                return self.kernel(x, None if Y is None else _tensor(Y)).numpy()
        if Y is not None:
            raise InputError("the gradient is taken of the kernel of X with itself", "a second Y", "Leave out Y.")
        theta = torch.from_numpy(self.theta)
        slopes = []
        for direction in torch.eye(len(theta), dtype=torch.float64):
            with forward_ad.dual_level():
                # It also requires grad, for then the engine guards square roots that end at zero.
                dual = forward_ad.make_dual(theta.clone().requires_grad_(), direction)
                slope = forward_ad.unpack_dual(self._with(dual.exp())(x)).tangent
                slopes.append(x.new_zeros(len(x), len(x)) if slope is None else slope.detach())
        return self(X), np.empty((len(x), len(x), 0)) if not slopes else torch.stack(slopes, 2).numpy()

    def diag(self, X: Any) -> Float64[np.ndarray, " n"]:
        """Diagonal of the kernel matrix."""
        with torch.no_grad():
            return self.kernel.diagonal(_tensor(X)).numpy()

    def is_stationary(self) -> bool:
        return False

    def __repr__(self) -> str:
        return f"SklearnKernel({self.kernel!r})"

    def _with(self, values: Tensor, plain: bool = False) -> KernelFunction:
        """The kernel with other hyperparameters; `plain` ones that are numbers, where they were numbers."""
        found: dict[str, Any] = {}
        for name, value in self.kernel.hyperparameters().items():
            size = value.numel() if isinstance(value, Tensor) else 1
            first, values = values[:size], values[size:]
            if isinstance(value, Tensor):
                found[name] = first.reshape(value.shape)
            else:
                found[name] = float(first) if plain else first[0]
        return self.kernel.with_hyperparameters(found)


def _numbers(value: Any) -> list[float]:
    return value.flatten().tolist() if isinstance(value, Tensor) else [value]


def _tensor(X: Any) -> Tensor:
    return torch.as_tensor(np.atleast_2d(np.asarray(X, dtype=np.float64)))
