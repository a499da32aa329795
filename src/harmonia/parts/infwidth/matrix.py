"""Large kernel matrices of infinitely wide networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.scale import Engine
from harmonia.parts import gram
from harmonia.parts.infwidth.network import Kernels, Name, Sequential


@dataclass(frozen=True)
class NetworkKernel:
    """Kernels of a network as a function ``k(x1, x2)``, for `harmonia.parts.gram`.

    Arguments:
        network: An infinitely wide network.
        get: ``"nngp"``, ``"ntk"``, or both for a stack ``(2, n1, n2)``.

    Example:
        >>> import torch
        >>> from harmonia.parts.gram import KernelOperator
        >>> from harmonia.parts.infwidth import Dense
        >>> KernelOperator(NetworkKernel(Sequential(Dense()), "nngp"), torch.eye(2)) @ torch.ones(2)
        tensor([0.5000, 0.5000])
    """

    network: Sequential
    get: Name | tuple[Name, Name] = "ntk"

    def __call__(self, x1: Tensor, x2: Tensor | None = None) -> Tensor:
        return _stacked(self.network.kernel(x1, x2, self.get))

    def diagonal(self, x: Tensor) -> Tensor:
        """``k(x_i, x_i)`` for all inputs."""
        return _stacked(self.network.diagonal(x, self.get))


def _stacked(kernels: Kernels | Tensor) -> Tensor:
    return kernels if isinstance(kernels, Tensor) else torch.stack(kernels)


def kernel_matrix(
    network: Sequential,
    x1: Float[Tensor, "n1 channels *positions"],
    x2: Float[Tensor, "n2 channels *others"] | None = None,
    get: Name | tuple[Name, Name] = ("nngp", "ntk"),
    *,
    block: int = 2048,
    out: Tensor | str | Path | None = None,
    engine: Engine = "serial",
    workers: int | None = None,
    devices: Sequence[str] = (),
) -> Kernels | Tensor:
    """The kernel matrices of a network by blocks: in parallel, on several devices, on disk and resumable.

    Arguments:
        network: An infinitely wide network that ends without positions.
        x1: Inputs.
        x2: Other inputs; None for the kernels of `x1` with itself.
        get: ``"nngp"``, ``"ntk"`` or both.
        block, out, engine, workers, devices: As `harmonia.parts.gram.kernel_matrix`; for both kernels, `out` is a stack
            ``(2, n1, n2)``.

    Example:
        >>> import torch
        >>> from harmonia.parts.infwidth import Dense
        >>> kernel_matrix(Sequential(Dense()), torch.eye(3), get="nngp", block=2)
        tensor([[0.3333, 0.0000, 0.0000],
                [0.0000, 0.3333, 0.0000],
                [0.0000, 0.0000, 0.3333]])
    """
    kernel = NetworkKernel(network, get)
    matrix = gram.kernel_matrix(kernel, x1, x2, block=block, out=out, engine=engine, workers=workers, devices=devices)
    return matrix if isinstance(get, str) else Kernels(*matrix)
