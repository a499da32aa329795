"""What a layer of an infinitely wide network maps: the covariance of its inputs and the tangent kernel so far.

At infinite width the pre-activations of a layer are a Gaussian process (Neal 1996; Lee et al. 2018, arXiv:1711.00165;
Jacot et al. 2018, arXiv:1806.07572, Prop. 1), so two inputs are described by one covariance and one tangent kernel per
pair of spatial positions. `KernelState` holds them for a block of pairs, together with the same description of every
input with itself, whose diagonal gives the variances that activations need.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor

from harmonia.parts.infwidth.positions import position_diagonal

Spatial = Literal["none", "diag", "full"]
Pairing = Literal["all", "paired", "itself"]


@dataclass(frozen=True)
class KernelState:
    """The kernels of a block of input pairs after some layers.

    ``spatial`` says which pairs of positions are kept: ``"none"`` (inputs are vectors), ``"diag"`` (equal positions,
    shape ``(*batch, *S)``), ``"full"`` (all pairs, interleaved: ``(*batch, H, H', W, W')``). ``batch`` is ``(n1, n2)``
    when the inputs of one side are compared with ``"all"`` of the other, ``(n,)`` when they are compared ``"paired"``,
    one by one, or with ``"itself"``.

    Arguments:
        nngp: Covariance ``E[f(x) f(x')]`` of one channel, given the layers so far.
        ntk: Tangent kernel, or None if it is not wanted.
        spatial: Which pairs of positions are kept.
        left: State of every first input with itself, or None if no later layer asks for variances.
        right: The same for the second inputs; the same object as `left` when both sides are the same inputs.
        pairing: Which pairs of inputs there are.
        is_gaussian: Whether channels are independent centred Gaussians: true after an affine layer.
        fan_in: Number of channels, where known: for layers in standard parameterisation.
    """

    nngp: Tensor
    ntk: Tensor | None
    spatial: Spatial
    left: KernelState | None = None
    right: KernelState | None = None
    pairing: Pairing = "all"
    is_gaussian: bool = False
    fan_in: int | None = None

    @property
    def x1_is_x2(self) -> bool:
        """Whether both sides are the same inputs."""
        return self.left is self.right

    @property
    def first(self) -> KernelState:
        """Every first input with itself."""
        return self if self.pairing == "itself" else _tracked(self.left)

    @property
    def second(self) -> KernelState:
        """Every second input with itself."""
        return self if self.pairing == "itself" else _tracked(self.right)

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape: ``()``, ``(T,)``, ``(H, W)``; of the first inputs, where the two sides differ."""
        sizes = tuple(self.nngp.shape[self.batch_dims :])
        return sizes[::2] if self.spatial == "full" else sizes

    @property
    def batch_dims(self) -> int:
        """Number of leading axes that count inputs."""
        return 2 if self.pairing == "all" else 1

    def position_axes(self) -> list[tuple[int, ...]]:
        """Axes of `nngp` that belong to each spatial dimension: ``(H,)`` or ``(H, H')``."""
        first, width = self.batch_dims, (2 if self.spatial == "full" else 1)
        return [tuple(range(axis, axis + width)) for axis in range(first, self.nngp.ndim, width)]

    def sides(self) -> tuple[Tensor, Tensor]:
        """Variances of the two sides, one per input and position: ``(n1, *S)`` and ``(n2, *S)``."""
        return _variance(self.first), _variance(self.second)

    def against_pairs(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """One number per input and position of each side, shaped to broadcast against `nngp`."""
        if self.spatial == "full":  # positions p and p' sit on alternating axes
            for axis in range(first.ndim - 1):
                first, second = first.unsqueeze(2 * axis + 2), second.unsqueeze(2 * axis + 1)
        return (first, second) if self.pairing != "all" else (first.unsqueeze(1), second.unsqueeze(0))

    def mapped(self, linear: Callable[[Tensor], Tensor], **changes: Any) -> KernelState:
        """The same state after a linear map without weights, which acts on both kernels alike."""
        return self.with_kernels(linear(self.nngp), None if self.ntk is None else linear(self.ntk), **changes)

    def with_kernels(self, nngp: Tensor, ntk: Tensor | None, **changes: Any) -> KernelState:
        """The same state with other kernels."""
        return replace(self, nngp=nngp, ntk=ntk, **changes)


def _tracked(side: KernelState | None) -> KernelState:
    if side is None:
        raise RuntimeError("a layer asks for variances that its `requires` does not announce")
    return side


def _variance(side: KernelState) -> Tensor:
    return position_diagonal(side.nngp, 1) if side.spatial == "full" else side.nngp
