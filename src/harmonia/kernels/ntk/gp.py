"""Kernels of infinitely wide networks for scikit-learn's Gaussian processes, with gradients in their scales."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel
from torch.autograd import forward_ad

from harmonia.core.errors import InputError
from harmonia.kernels.ntk.networks import mlp

Bounds = tuple[float, float] | Literal["fixed"]


class NTKKernel(Kernel):
    """NTK or NNGP kernel of a fully connected network, as a kernel of ``sklearn.gaussian_process``.

    Arguments:
        w_std: Scale of the weights.
        b_std: Scale of the biases.
        depth: Hidden layers.
        activation: As of `NTKRegressor`.
        kernel: ``"ntk"`` or ``"nngp"``.
        w_std_bounds: Range searched by the marginal likelihood, or ``"fixed"``.
        b_std_bounds: The same for the biases.

    Example:
        >>> from sklearn.gaussian_process import GaussianProcessRegressor
        >>> from sklearn.gaussian_process.kernels import WhiteKernel
        >>> X = np.linspace(-1, 1, 20)[:, None]
        >>> y = np.sin(3 * X[:, 0])
        >>> gp = GaussianProcessRegressor(NTKKernel(depth=2, activation="erf") + WhiteKernel(1e-3)).fit(X, y)
        >>> bool(gp.score(X, y) > 0.99)
        True
    """

    w_std: float
    b_std: float
    depth: int
    activation: str
    kernel: Literal["ntk", "nngp"]
    w_std_bounds: Bounds
    b_std_bounds: Bounds

    def __init__(  # untyped: scikit-learn's optimiser passes numpy numbers
        self,
        w_std=1.5,
        b_std=0.3,
        depth=3,
        activation="relu",
        kernel="ntk",
        w_std_bounds=(0.1, 10.0),
        b_std_bounds=(1e-3, 10.0),
    ):
        self.w_std = w_std
        self.b_std = b_std
        self.depth = depth
        self.activation = activation
        self.kernel = kernel
        self.w_std_bounds = w_std_bounds
        self.b_std_bounds = b_std_bounds

    @property
    def hyperparameter_b_std(self) -> Hyperparameter:
        return Hyperparameter("b_std", "numeric", self.b_std_bounds)

    @property
    def hyperparameter_w_std(self) -> Hyperparameter:
        return Hyperparameter("w_std", "numeric", self.w_std_bounds)

    def __call__(self, X: Any, Y: Any = None, eval_gradient: bool = False) -> Any:
        """Kernel matrix (n, m), and with `eval_gradient` its derivatives (n, n, h) by the logarithms of the scales."""
        x = self._tensor(X)
        if not eval_gradient:
            with torch.no_grad():
                return self._matrix(x, None if Y is None else self._tensor(Y), self.w_std, self.b_std).numpy()
        if Y is not None:
            raise InputError("the gradient is taken of the kernel of X with itself", "a second Y", "Leave out Y.")
        slopes = []
        for chosen in (parameter.name for parameter in self.hyperparameters if not parameter.fixed):
            with forward_ad.dual_level():
                scales = {}
                for name in ("w_std", "b_std"):
                    # It also requires grad, for then the engine guards the square roots that end at zero.
                    scale = torch.tensor(float(getattr(self, name)), dtype=torch.float64, requires_grad=True)
                    speed = scale.detach() if name == chosen else torch.zeros_like(scale)
                    scales[name] = forward_ad.make_dual(scale, speed)
                value, slope = forward_ad.unpack_dual(self._matrix(x, None, **scales))
                slopes.append(torch.zeros_like(value) if slope is None else slope)
        if not slopes:
            return self(X), np.empty((len(x), len(x), 0))
        return value.detach().numpy(), torch.stack(slopes, 2).detach().numpy()

    def diag(self, X: Any) -> np.ndarray:
        """Diagonal of the kernel matrix, in linear time."""
        network = mlp(self.depth, self.activation, _plain(self.w_std), _plain(self.b_std))
        return network.diagonal(self._tensor(X), get=self.kernel).numpy()

    def is_stationary(self) -> bool:
        return False

    def __repr__(self) -> str:
        scales = f"w_std={self.w_std:.3g}, b_std={self.b_std:.3g}"
        return f"NTKKernel({scales}, depth={self.depth}, activation={self.activation!r}, kernel={self.kernel!r})"

    def _matrix(self, x: torch.Tensor, y: torch.Tensor | None, w_std: Any, b_std: Any) -> torch.Tensor:
        if self.kernel not in ("ntk", "nngp"):
            raise InputError("no such kernel", repr(self.kernel), "Use 'ntk' or 'nngp'.")
        return mlp(self.depth, self.activation, _plain(w_std), _plain(b_std)).kernel(x, y, get=self.kernel)

    @staticmethod
    def _tensor(X: Any) -> torch.Tensor:
        return torch.as_tensor(np.atleast_2d(np.asarray(X, dtype=np.float64)))


def _plain(scale: Any) -> float | torch.Tensor:
    return scale if isinstance(scale, torch.Tensor) else float(scale)
