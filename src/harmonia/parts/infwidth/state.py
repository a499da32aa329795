"""What a layer of an infinitely wide network maps: the covariance of its inputs and the tangent kernel so far.

At infinite width the pre-activations of a layer are a Gaussian process (Neal 1996; Lee et al. 2018, arXiv:1711.00165;
Jacot et al. 2018, arXiv:1806.07572, Prop. 1), so two inputs are described by one covariance and one tangent kernel per
pair of spatial positions. `KernelState` holds them for a block of pairs, together with the same description of every
input with itself, whose diagonal gives the variances that activations need.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor

Spatial = Literal["none", "diag", "full"]


@dataclass(frozen=True)
class KernelState:
    """The kernels of a block of input pairs after some layers.

    ``spatial`` says which pairs of positions are kept: ``"none"`` (inputs are vectors), ``"diag"`` (equal positions,
    shape ``(*batch, *S)``), ``"full"`` (all pairs, interleaved: ``(*batch, H, H', W, W')``). ``batch`` is ``(n1, n2)``,
    or ``(n,)`` for a *paired* state, which compares input ``i`` of one side with input ``i`` of the other only.

    Arguments:
        nngp: Covariance ``E[f(x) f(x')]`` of one channel, given the layers so far.
        ntk: Tangent kernel, or None if it is not wanted.
        spatial: Which pairs of positions are kept.
        left: Paired state of every first input with itself; None in a paired state of inputs with themselves.
        right: The same for the second inputs; the same object as `left` when both sides are the same inputs.
        paired: Whether pairs are (i, i) instead of all (i, j).
        is_gaussian: Whether channels are independent centred Gaussians: true after an affine layer.
        fan_in: Number of channels, where known: for layers in standard parameterisation.
    """

    nngp: Tensor
    ntk: Tensor | None
    spatial: Spatial
    left: KernelState | None = None
    right: KernelState | None = None
    paired: bool = False
    is_gaussian: bool = False
    fan_in: int | None = None

    @property
    def x1_is_x2(self) -> bool:
        """Whether both sides are the same inputs."""
        return self.left is self.right

    @property
    def q1(self) -> Tensor:
        """Covariance of every first input with itself."""
        return self.nngp if self.left is None else self.left.nngp

    @property
    def q2(self) -> Tensor:
        """Covariance of every second input with itself."""
        return self.nngp if self.right is None else self.right.nngp

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape: ``()``, ``(T,)``, ``(H, W)``; of the first inputs, where the two sides differ."""
        sizes = tuple(self.nngp.shape[1 if self.paired else 2 :])
        return sizes[::2] if self.spatial == "full" else sizes

    def variances(self) -> tuple[Tensor, Tensor]:
        """Variances of the two sides, shaped to broadcast against `nngp`."""
        first, second = (_variance(self if side is None else side) for side in (self.left, self.right))
        dimensions = first.ndim - 1
        if self.spatial == "full":  # positions p and p' sit on alternating axes
            for axis in range(dimensions):
                first, second = first.unsqueeze(2 * axis + 2), second.unsqueeze(2 * axis + 1)
        return (first, second) if self.paired else (first.unsqueeze(1), second.unsqueeze(0))

    def with_kernels(self, nngp: Tensor, ntk: Tensor | None, **changes: Any) -> KernelState:
        """The same state with other kernels."""
        return replace(self, nngp=nngp, ntk=ntk, **changes)


def _variance(paired: KernelState) -> Tensor:
    return position_diagonal(paired.nngp, 1) if paired.spatial == "full" else paired.nngp


def position_diagonal(full: Tensor, batch_dims: int) -> Tensor:
    """Equal positions of a ``"full"`` covariance: ``(*batch, H, H', W, W') -> (*batch, H, W)``.

    Example:
        >>> import torch
        >>> position_diagonal(torch.arange(8.0).reshape(2, 2, 2), 1)
        tensor([[0., 3.],
                [4., 7.]])
    """
    for _ in range((full.ndim - batch_dims) // 2):  # `diagonal` takes the front pair and appends it behind
        full = full.diagonal(dim1=batch_dims, dim2=batch_dims + 1)
    return full
