"""Sums of singular weights over all training points, tile by tile: exact in the logarithm, memory of one tile.

``S_c(x) = log sum_{i in class c} exp(log v_i + log w(|x - x_i|^2 / 2))`` by a running maximum. A point that lies on
training points has infinite weights; there only those points count, by their ``v_i``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

LogWeight = Callable[[Tensor], Tensor]
"""The logarithm of a weight as a function of ``eps = |x - x'|^2 / 2`` in [0, 1]."""

TILE = 2**16
"""Pairs in a tile on a processor, so that what the operations on it share stays in its cache."""

TILE_ON_GPU = 2**25

COINCIDENT = 1e-30
"""Unit vectors nearer than this, as ``|x - x'|^2 / 2``, differ by rounding only."""

_CLOSE = 1e-6
"""Below, ``1 - x.x'`` has lost digits, and is computed again from the difference."""


@dataclass(frozen=True)
class PowerLaw:
    """The Hilbert kernel ``|x - x'|^-alpha``, scale-free (Devroye, Gyorfi & Krzyzak 1998).

    Exponent 0 gives all points the same weight; an infinite one leaves the nearest only.

    Example:
        >>> PowerLaw(2.0)(torch.tensor([0.5])).exp()
        tensor([1.])
    """

    alpha: float

    def __call__(self, eps: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        return (2 * eps).log_().mul_(-min(self.alpha, 1e12) / 2)


class _Tile(NamedTuple):
    rows: slice
    group: int
    columns: slice
    log_weights: Tensor
    together: Tensor | None


class SingularSums:
    """Sums over training points, which come in groups.

    Arguments:
        points: Unit vectors, ``(n, ambient)``, those of a group one after another.
        sizes: Number of points of each group.
        log_weight: The kernel.
        log_v: Logarithms of the points' own weights, or None where all are 1.
        tile: Pairs in a tile.

    Example:
        >>> points = torch.eye(3, dtype=torch.float64)
        >>> at = torch.tensor([[0.8, 0.6, 0.0]], dtype=torch.float64)
        >>> SingularSums(points, [1, 2], PowerLaw(2.0)).log_sums(at).exp()
        tensor([[2.5000, 1.7500]], dtype=torch.float64)
    """

    def __init__(
        self,
        points: Float[Tensor, "n ambient"],
        sizes: Sequence[int],
        log_weight: LogWeight,
        log_v: Float[Tensor, " n"] | None = None,
        tile: int | None = None,
    ) -> None:
        self.points, self.log_weight, self.log_v = points, log_weight, log_v
        ends = torch.tensor([0, *sizes]).cumsum(0).tolist()
        self.groups = [slice(start, stop) for start, stop in pairwise(ends)]
        self.tile = tile or (TILE_ON_GPU if points.is_cuda else TILE)

    def log_sums(self, x: Float[Tensor, "m ambient"] | None = None) -> Float[Tensor, "m groups"]:
        """``S_c(x)`` for every group; with no `x`, at every training point without its own weight."""
        m = len(self.points) if x is None else len(x)
        largest = self.points.new_full((m, len(self.groups)), -math.inf)
        total = torch.zeros_like(largest)
        met: Tensor | None = None
        for rows, group, columns, log_weights, together in self._tiles(x):
            before = largest[rows, group]
            now = torch.maximum(before, log_weights.amax(1))
            base = now.clamp(min=-1e300)  # where there is no weight yet
            total[rows, group] *= (before - base).exp()
            total[rows, group] += log_weights.sub_(base[:, None]).exp_().sum(1)
            largest[rows, group] = now
            if together is not None:
                met = torch.zeros_like(largest) if met is None else met
                met[rows, group] += together.to(largest) @ self._weights(columns)
        sums = total.log() + largest.clamp(min=-1e300)
        if met is not None:
            sums = torch.where(met.sum(1, keepdim=True) > 0, met.log(), sums)
        return sums

    def means(
        self, x: Float[Tensor, "m ambient"] | None, values: Float[Tensor, "n outputs"]
    ) -> Float[Tensor, "m outputs"]:
        """Weighted means of the values of all points."""
        m = len(self.points) if x is None else len(x)
        values = torch.cat([values, values.new_ones(len(values), 1)], 1)
        largest = self.points.new_full((m,), -math.inf)
        total = values.new_zeros(m, values.shape[1])
        met: Tensor | None = None
        for rows, _, columns, log_weights, together in self._tiles(x):
            before = largest[rows]
            now = torch.maximum(before, log_weights.amax(1))
            base = now.clamp(min=-1e300)
            total[rows] *= (before - base).exp()[:, None]
            total[rows] += log_weights.sub_(base[:, None]).exp_() @ values[columns]
            largest[rows] = now
            if together is not None:
                met = torch.zeros_like(total) if met is None else met
                met[rows] += (together.to(values) * self._weights(columns)) @ values[columns]
        if met is not None:
            total = torch.where(met[:, -1:] > 0, met, total)
        return total[:, :-1] / total[:, -1:]

    def _tiles(self, x: Tensor | None) -> Iterator[_Tile]:
        at = self.points if x is None else x
        height = max(1, min(len(at), math.isqrt(self.tile)))
        width = max(1, self.tile // height)
        for top in range(0, len(at), height):
            rows = slice(top, min(top + height, len(at)))
            for number, group in enumerate(self.groups):
                for left in range(group.start, group.stop, width):
                    columns = slice(left, min(left + width, group.stop))
                    yield self._tile_of(at, rows, number, columns, left_out=x is None)

    def _tile_of(self, at: Tensor, rows: slice, group: int, columns: slice, left_out: bool) -> _Tile:
        eps = half_square_distances(at[rows], self.points[columns])
        if left_out:
            eps.diagonal(rows.start - columns.start).fill_(1.0)
        together = None
        if float(eps.amin()) < COINCIDENT:
            together = eps < COINCIDENT
        log_weights = self.log_weight(eps)
        if self.log_v is not None:
            log_weights += self.log_v[columns]
        if together is not None:
            log_weights.masked_fill_(together, -math.inf)
        if left_out:
            log_weights.diagonal(rows.start - columns.start).fill_(-math.inf)
        return _Tile(rows, group, columns, log_weights, together)

    def _weights(self, columns: slice) -> Tensor:
        if self.log_v is None:
            return self.points.new_ones(columns.stop - columns.start)
        return self.log_v[columns].exp()


def half_square_distances(x: Float[Tensor, "n ambient"], y: Float[Tensor, "m ambient"]) -> Float[Tensor, "n m"]:
    """``|x - y|^2 / 2 = 1 - x.y`` of unit vectors in float64, precise also where they are near."""
    eps = 1 - x @ y.T
    if float(eps.amin()) < _CLOSE:
        rows, columns = (eps < _CLOSE).nonzero(as_tuple=True)
        at_once = max(1, TILE // x.shape[1])
        for i, j in zip(rows.split(at_once), columns.split(at_once)):
            eps[i, j] = (x[i] - y[j]).square().sum(1) / 2
    return eps.clamp_(max=1.0)
