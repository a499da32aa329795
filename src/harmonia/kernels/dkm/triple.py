"""The triple that stands for a Gram matrix of inducing points and of any number of others, and maps between triples.

Between inducing points (i) and points of data (t) a deep kernel machine needs ``G_ii`` (P, P), ``G_ti`` (..., P) and of
``G_tt`` only the diagonal ``G_t`` (...); leading dimensions of t are rows, or rows and positions in an image. What
happens to ``G_ii`` does not depend on the data: every layer splits into `inducing`, done once, and `points`, done for
any rows in any portions, each for itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.parts.gram import jittered_cholesky


class GramTriple(NamedTuple):
    """``G_ii`` (P, P), ``G_ti`` (*t, P) and the diagonal ``G_t`` (*t)."""

    ii: Tensor
    ti: Tensor
    t: Tensor


class TripleLayer(nn.Module, ABC):
    """A map of triples."""

    @abstractmethod
    def inducing(self, ii: Tensor) -> tuple[Tensor, Any]:
        """The new ``G_ii``, and what `points` needs to know of it."""

    @abstractmethod
    def points(self, ti: Tensor, t: Tensor, known: Any) -> tuple[Tensor, Tensor]:
        """The new ``G_ti`` and ``G_t``."""

    def forward(self, triple: GramTriple) -> GramTriple:
        ii, known = self.inducing(triple.ii)
        return GramTriple(ii, *self.points(triple.ti, triple.t, known))

    def divergence(self) -> Tensor | float:
        """What the layer adds to the objective's penalty, as of the last pass over the inducing points."""
        return 0.0


class Stack(TripleLayer):
    """Layers one after the other.

    Example:
        >>> Stack([])(GramTriple(torch.eye(2), torch.ones(3, 2), torch.ones(3))).t
        tensor([1., 1., 1.])
    """

    def __init__(self, layers: Sequence[TripleLayer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def __iter__(self) -> Any:
        return iter(self.layers)

    def inducing(self, ii: Tensor) -> tuple[Tensor, list[Any]]:
        known = []
        for layer in self:
            ii, own = layer.inducing(ii)
            known.append(own)
        return ii, known

    def points(self, ti: Tensor, t: Tensor, known: list[Any]) -> tuple[Tensor, Tensor]:
        for layer, own in zip(self, known, strict=True):
            ti, t = layer.points(ti, t, own)
        return ti, t

    def divergence(self) -> Tensor | float:
        return sum(layer.divergence() for layer in self)


class Mean(TripleLayer):
    """The mean of what several layers make of one triple: the kernel of a sum of independent functions, halved."""

    def __init__(self, branches: Sequence[TripleLayer]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def __iter__(self) -> Any:
        return iter(self.branches)

    def inducing(self, ii: Tensor) -> tuple[Tensor, list[Any]]:
        found = [branch.inducing(ii) for branch in self]
        return torch.stack([branch for branch, _ in found]).mean(0), [known for _, known in found]

    def points(self, ti: Tensor, t: Tensor, known: list[Any]) -> tuple[Tensor, Tensor]:
        found = [branch.points(ti, t, own) for branch, own in zip(self, known, strict=True)]
        return torch.stack([a for a, _ in found]).mean(0), torch.stack([b for _, b in found]).mean(0)

    def divergence(self) -> Tensor | float:
        return sum(branch.divergence() for branch in self)


class Whitening(NamedTuple):
    """``K_ii = L L^T`` with its factor and the factor's inverse."""

    factor: Tensor
    inverse: Tensor

    @classmethod
    def of(cls, ii: Tensor) -> Whitening:
        factor, _ = jittered_cholesky(ii)
        unit = torch.eye(len(ii), dtype=ii.dtype, device=ii.device)
        return cls(factor, torch.linalg.solve_triangular(factor, unit, upper=False))


def triangle(v: Float[Tensor, "*batch p p"]) -> Float[Tensor, "*batch p p"]:
    """A lower triangular matrix with a positive diagonal, of which the parameter holds the logarithm."""
    return v.tril(-1) + v.diagonal(dim1=-2, dim2=-1).exp().diag_embed()


def untriangle(factor: Tensor) -> Tensor:
    """The inverse of `triangle`."""
    return factor.tril(-1) + factor.diagonal().log().diag()
