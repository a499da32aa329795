"""Covariance functions with hyperparameters: infinitely wide networks, scikit-learn's kernels, gpytorch's kernels.

The marginal likelihood needs of a covariance only ``k(x, x')`` and, for its gradient, the number
``sum_ij G_ij dK_ij / dtheta`` for a given G. Kernels in torch give it by reverse-mode derivatives of one tile at a
time: nothing of size n^2 is stored per hyperparameter, and a tile stays in the processor's cache.
"""

from __future__ import annotations

import copy
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from sklearn.gaussian_process.kernels import Kernel as SklearnKernel
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.kernels.ntk import mlp
from harmonia.parts import infwidth
from harmonia.parts.gram import Tile, over_tiles, tiles

Build = Callable[..., infwidth.Sequential]
Pull = Callable[[Tensor], np.ndarray]

SCALE_BOUNDS = (1e-3, 30.0)
"""The range of the learned scales of networks."""

TILE = 256
"""Rows and columns of a tile: of float64 numbers, half a megabyte."""

MOST_KEPT = 1000
"""With more rows, tiles are computed again for their gradient: less memory than to keep what it needs."""


class Covariance(ABC):
    """A covariance function and its hyperparameters on an unconstrained scale.

    Attributes:
        theta: Hyperparameters that are learned, mostly logarithms (p,).
        bounds: The range of each (p, 2).
    """

    theta: Float64[np.ndarray, " p"]
    bounds: Float64[np.ndarray, "p 2"]

    def with_theta(self, theta: Float64[np.ndarray, " p"]) -> Covariance:
        """The same function with other hyperparameters."""
        other = copy.copy(self)
        other.theta = np.asarray(theta, dtype=np.float64)
        return other

    @abstractmethod
    def matrix(self, x1: Tensor, x2: Tensor | None = None) -> Float[Tensor, "n1 n2"]:
        """``k(x1, x2)``; of `x1` with itself if `x2` is None."""

    @abstractmethod
    def diagonal(self, x: Tensor) -> Float[Tensor, " n"]:
        """``k(x_i, x_i)``."""

    @abstractmethod
    def gradient(self, x: Tensor, weights: Float[Tensor, "n n"]) -> Float64[np.ndarray, " p"]:
        """Derivatives of ``sum_ij weights_ij k(x_i, x_j)`` by `theta`, for symmetric weights."""

    def linearize(self, x: Tensor) -> tuple[Tensor, Pull]:
        """``k(x, x)``, and `gradient` as a function of the weights, where the two may share work."""
        return self.matrix(x), partial(self.gradient, x)

    @abstractmethod
    def describe(self) -> dict[str, float]:
        """The hyperparameters by name, for people."""


class _Graph(NamedTuple):
    """A tile of a kernel matrix and the hyperparameters that it can be differentiated by."""

    tile: Tile
    theta: Tensor
    values: Tensor

    def gradient(self, weights: Tensor) -> Tensor:
        """Of the weighted sum of the tile and, off the diagonal, of its mirror image."""
        twice = 1.0 if self.tile.rows == self.tile.columns else 2.0
        return torch.autograd.grad(self.values, self.theta, twice * weights[self.tile.rows, self.tile.columns])[0]


class NetworkCovariance(Covariance):
    """The NNGP kernel of an infinitely wide network, as a function of positive scales.

    Arguments:
        build: Function of the scales, numbers or tensors, to a network.
        scales: Starting values by name; those that are 0 stay 0.

    Example:
        >>> def build(w_std, b_std):
        ...     return infwidth.Sequential(infwidth.Dense(w_std, b_std), infwidth.ReLU(), infwidth.Dense())
        >>> covariance = NetworkCovariance(build, {"w_std": 2.0, "b_std": 0.0})
        >>> x = torch.eye(2, dtype=torch.float64)
        >>> covariance.matrix(x)[0, 0], covariance.gradient(x, torch.eye(2, dtype=torch.float64))
        (tensor(1., dtype=torch.float64), array([4.]))
    """

    def __init__(self, build: Build, scales: dict[str, float]) -> None:
        for name, value in scales.items():
            if not 0 <= value < math.inf:
                raise InputError(f"'{name}' is a number >= 0", value, "Change it.")
        self.build, self.scales = build, scales
        self.free = [name for name, value in scales.items() if value > 0]
        self.theta = np.log([scales[name] for name in self.free])
        self.bounds = np.tile(np.log(SCALE_BOUNDS), (len(self.free), 1))

    def network(self, values: Sequence[float | Tensor] | None = None) -> infwidth.Sequential:
        """The network with the current scales, or others."""
        values = [math.exp(t) for t in self.theta] if values is None else values
        return self.build(**{**self.scales, **dict(zip(self.free, values))})

    def matrix(self, x1: Tensor, x2: Tensor | None = None) -> Float[Tensor, "n1 n2"]:
        return self.network().kernel(x1, x2, get="nngp")

    def diagonal(self, x: Tensor) -> Float[Tensor, " n"]:
        return self.network().diagonal(x, get="nngp")

    def gradient(self, x: Tensor, weights: Float[Tensor, "n n"]) -> Float64[np.ndarray, " p"]:
        if not self.free:
            return np.zeros(0)
        found = over_tiles(lambda tile: self._graph(x, tile).gradient(weights), _plan(x), "Gradient")
        return torch.stack(list(found)).sum(0).numpy()

    def linearize(self, x: Tensor) -> tuple[Tensor, Pull]:
        if not self.free or x.ndim > 2 or len(x) > MOST_KEPT:
            return super().linearize(x)
        graphs = list(over_tiles(lambda tile: self._graph(x, tile), _plan(x), "Kernel"))
        matrix = x.new_empty(len(x), len(x))
        for (rows, columns), values in ((graph.tile, graph.values.detach()) for graph in graphs):
            matrix[rows, columns] = values
            matrix[columns, rows] = values.mT
        return matrix, lambda weights: torch.stack([graph.gradient(weights) for graph in graphs]).sum(0).numpy()

    def _graph(self, x: Tensor, tile: Tile) -> _Graph:
        theta = torch.tensor(self.theta, requires_grad=True)
        other = None if tile.rows == tile.columns else x[tile.columns]
        return _Graph(tile, theta, self.network(list(theta.exp())).kernel(x[tile.rows], other, get="nngp"))

    def describe(self) -> dict[str, float]:
        return {**self.scales, **{name: math.exp(t) for name, t in zip(self.free, self.theta)}}


class SklearnCovariance(Covariance):
    """A kernel of ``sklearn.gaussian_process``."""

    def __init__(self, kernel: SklearnKernel) -> None:
        self.kernel = kernel
        self.theta = np.asarray(kernel.theta, dtype=np.float64)
        self.bounds = np.asarray(kernel.bounds, dtype=np.float64).reshape(-1, 2)

    def with_theta(self, theta: Float64[np.ndarray, " p"]) -> SklearnCovariance:
        return SklearnCovariance(self.kernel.clone_with_theta(theta))

    def matrix(self, x1: Tensor, x2: Tensor | None = None) -> Float[Tensor, "n1 n2"]:
        return torch.from_numpy(np.asarray(self.kernel(x1.numpy(), None if x2 is None else x2.numpy())))

    def diagonal(self, x: Tensor) -> Float[Tensor, " n"]:
        return torch.from_numpy(np.asarray(self.kernel.diag(x.numpy()), dtype=np.float64))

    def gradient(self, x: Tensor, weights: Float[Tensor, "n n"]) -> Float64[np.ndarray, " p"]:
        slopes = self.kernel(x.numpy(), eval_gradient=True)[1]
        return np.einsum("ij,ijp->p", weights.numpy(), slopes)

    def describe(self) -> dict[str, float]:
        free = [h for h in self.kernel.hyperparameters if not h.fixed]
        names = [f"{h.name}_{i}" if h.n_elements > 1 else h.name for h in free for i in range(h.n_elements)]
        return {name: math.exp(t) for name, t in zip(names, self.theta)}


class GPyTorchCovariance(Covariance):
    """A kernel of gpytorch; `theta` holds its raw parameters."""

    def __init__(self, kernel: nn.Module) -> None:
        self.kernel = copy.deepcopy(kernel).double()
        self.parameters = [p for p in self.kernel.parameters() if p.requires_grad]
        flat = [p.detach().flatten() for p in self.parameters]
        self.theta = torch.cat(flat).numpy().copy() if flat else np.zeros(0)
        self.bounds = np.tile([-12.0, 12.0], (len(self.theta), 1))

    def _load(self) -> Any:
        torch.nn.utils.vector_to_parameters(torch.from_numpy(self.theta), self.parameters)
        return self.kernel

    def matrix(self, x1: Tensor, x2: Tensor | None = None) -> Float[Tensor, "n1 n2"]:
        with torch.no_grad():
            return self._load()(x1, x1 if x2 is None else x2).to_dense()

    def diagonal(self, x: Tensor) -> Float[Tensor, " n"]:
        with torch.no_grad():
            return self._load()(x, diag=True)

    def gradient(self, x: Tensor, weights: Float[Tensor, "n n"]) -> Float64[np.ndarray, " p"]:
        if not self.parameters:
            return np.zeros(0)
        kernel = self._load()
        total = torch.zeros(len(self.theta), dtype=torch.float64)
        for tile in tiles(len(x), len(x), 4 * TILE):
            part = (kernel(x[tile.rows], x[tile.columns]).to_dense() * weights[tile.rows, tile.columns]).sum()
            total += torch.cat([g.flatten() for g in torch.autograd.grad(part, self.parameters)])
        return total.numpy()

    def describe(self) -> dict[str, float]:
        with torch.no_grad():
            self._load()
            named = self.kernel.named_parameters_and_constraints()  # type: ignore[operator]
            values = [(name, p if c is None else c.transform(p)) for name, p, c in named if p.requires_grad]
        return {
            name.replace("raw_", "") + (f"_{i}" if value.numel() > 1 else ""): float(v)
            for name, value in values
            for i, v in enumerate(value.flatten())
        }


def as_covariance(
    kernel: Any, depth: int = 4, activation: str = "relu", w_std: float | None = None, b_std: float | None = None
) -> Covariance:
    """The covariance meant by `kernel`.

    Arguments:
        kernel: ``"nngp-mlp"``, ``"nngp-resnet"``, an `harmonia.kernels.infwidth.Sequential` or a torch network (with
            scales as they are), a function ``(w_std, b_std) -> Sequential`` whose scales are learned, or a kernel of
            scikit-learn or gpytorch.
        depth: Hidden layers, or residual blocks, of the named networks.
        activation: Of the named networks, as of `harmonia.kernels.ntk.mlp`.
        w_std: Where the scale of the weights starts; by default sqrt 2 for ReLU-like activations, else 1.5.
        b_std: The same of the biases; by default 0.1 and 0.3.

    Raises:
        InputError: none of these.
    """
    if isinstance(kernel, SklearnKernel):
        return SklearnCovariance(kernel)
    if isinstance(kernel, infwidth.Sequential):
        return NetworkCovariance(_Fixed(kernel), {})
    if isinstance(kernel, nn.Module):
        if hasattr(kernel, "covar_dist"):
            return GPyTorchCovariance(kernel)
        return NetworkCovariance(_Fixed(infwidth.from_torch(kernel)), {})
    if isinstance(kernel, str) and kernel in _NAMED:
        first: Any = mlp(depth, activation, w_std, b_std).layers[0]  # knows the activation's own scales
        build = _Named(kernel, depth, activation)
        return NetworkCovariance(build, {"w_std": float(first.w_std), "b_std": float(first.b_std)})
    if callable(kernel):
        names = list(inspect.signature(kernel).parameters)
        if names != ["w_std", "b_std"]:
            raise InputError(
                "a kernel function takes w_std and b_std", f"({', '.join(names)})", "Change its arguments."
            )
        return NetworkCovariance(
            kernel, {"w_std": 1.5 if w_std is None else w_std, "b_std": 0.1 if b_std is None else b_std}
        )
    raise InputError(
        "this is no kernel",
        repr(kernel),
        f"Give one of {', '.join(map(repr, _NAMED))}, a network, or a kernel of scikit-learn or gpytorch.",
    )


@dataclass(frozen=True)
class _Fixed:
    """A given network, whose scales stay as they are."""

    network: infwidth.Sequential

    def __call__(self) -> infwidth.Sequential:
        return self.network


_NAMED = ("nngp-mlp", "nngp-resnet")


@dataclass(frozen=True)
class _Named:
    """A named architecture as a function of its scales. The readout has unit weights and no bias: s2 scales it."""

    name: str
    depth: int
    activation: str

    def __call__(self, w_std: float | Tensor, b_std: float | Tensor) -> infwidth.Sequential:
        readout = infwidth.Dense(1.0)
        if self.name == "nngp-mlp":
            return infwidth.Sequential(*mlp(self.depth, self.activation, w_std, b_std).layers[:-1], readout)
        first, activation, dense = mlp(1, self.activation, w_std, b_std).layers
        blocks = [infwidth.Residual(activation, dense) for _ in range(self.depth)]
        return infwidth.Sequential(first, *blocks, activation, readout)


def _plan(x: Tensor) -> list[Tile]:
    """Tiles of a symmetric matrix."""
    size = max(1, math.isqrt(TILE**2 // math.prod(x.shape[2:])))
    return tiles(len(x), len(x), size, symmetric=True)
