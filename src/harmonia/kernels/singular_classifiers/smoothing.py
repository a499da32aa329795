"""Sums of singular weights over all training points, tile by tile: exact in the logarithm, memory of one tile.

``S_c(x) = log sum_{i in class c} exp(log v_i + log w(|x - x_i|^2 / 2))`` by a running maximum. A point that lies on
training points has infinite weights; there only those points count, by their ``v_i``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.scale import map_blocks

LogWeight = Callable[[Tensor], Tensor]
"""The logarithm of a weight as a function of ``eps = |x - x'|^2 / 2`` in [0, 1]."""

TILE = 2**15 - 1
"""Pairs in a tile on a processor: it stays in the cache, and is just too small for torch to share among threads, which
would have to wait for each other at every operation."""

TILE_ON_GPU = 2**25

COINCIDENT = 1e-30
"""Unit vectors nearer than this, as ``|x - x'|^2 / 2``, differ by rounding only."""

_LEAST = -1e300
"""Stands for the logarithm of 0 where a difference of two would not be a number."""

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
        return self._by_rows(x, partial(self._log_sums, x))

    def means(
        self, x: Float[Tensor, "m ambient"] | None, values: Float[Tensor, "n outputs"]
    ) -> Float[Tensor, "m outputs"]:
        """Weighted means of the values of all points."""
        return self._by_rows(x, partial(self._means, x, torch.cat([values, values.new_ones(len(values), 1)], 1)))

    def _by_rows(self, x: Tensor | None, function: Callable[[slice], Tensor]) -> Tensor:
        """Blocks of rows, as many at a time as there are threads; operations on their small tiles run on one each."""
        m, height = len(self.points if x is None else x), math.isqrt(self.tile)
        blocks = [slice(top, min(top + height, m)) for top in range(0, m, height)]
        workers = torch.get_num_threads()
        done = map_blocks(function, blocks, engine="threads", workers=workers, label="Weighing training points")
        return torch.cat(list(done))

    def _log_sums(self, x: Tensor | None, rows: slice) -> Tensor:
        largest = self.points.new_full((rows.stop - rows.start, len(self.groups)), -math.inf)
        total, met = torch.zeros_like(largest), torch.zeros_like(largest)
        for group, columns, log_weights, together in self._tiles(x, rows):
            before = largest[:, group]
            now = torch.maximum(before, log_weights.amax(1))
            base = now.clamp(min=_LEAST)
            total[:, group] *= (before - base).exp()
            total[:, group] += log_weights.sub_(base[:, None]).exp_().sum(1)
            largest[:, group] = now
            if together is not None:
                met[:, group] += together.to(largest) @ self._weights(columns)
        sums = total.log() + largest.clamp(min=_LEAST)
        return torch.where(met.sum(1, keepdim=True) > 0, met.log(), sums)

    def _means(self, x: Tensor | None, values: Tensor, rows: slice) -> Tensor:
        largest = self.points.new_full((rows.stop - rows.start,), -math.inf)
        total = values.new_zeros(len(largest), values.shape[1])
        met = torch.zeros_like(total)
        for _, columns, log_weights, together in self._tiles(x, rows):
            now = torch.maximum(largest, log_weights.amax(1))
            base = now.clamp(min=_LEAST)
            total *= (largest - base).exp()[:, None]
            total += log_weights.sub_(base[:, None]).exp_() @ values[columns]
            largest = now
            if together is not None:
                met += (together.to(values) * self._weights(columns)) @ values[columns]
        total = torch.where(met[:, -1:] > 0, met, total)
        return total[:, :-1] / total[:, -1:]

    def _tiles(self, x: Tensor | None, rows: slice) -> Iterator[_Tile]:
        at = self.points if x is None else x
        width = max(1, self.tile // (rows.stop - rows.start))
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
        return _Tile(group, columns, log_weights, together)

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
