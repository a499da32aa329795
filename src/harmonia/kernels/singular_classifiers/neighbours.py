"""Sums of singular weights over the nearest training points only, found by a k-d tree, and what that leaves out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import KDTree
from torch import Tensor

from harmonia.kernels.singular_classifiers.smoothing import COINCIDENT, LogWeight


class NeighbourSums:
    """As `SingularSums`, over the `k` nearest points: much faster for many points of few dimensions.

    One neighbour is the limit of an infinite exponent. Of points that coincide at most `k` are looked at.

    Arguments:
        points: Unit vectors, ``(n, ambient)``, those of a group one after another.
        sizes: Number of points of each group.
        log_weight: The kernel.
        log_v: Logarithms of the points' own weights, or None where all are 1.
        k: Neighbours.

    Example:
        >>> from harmonia.kernels.singular_classifiers.smoothing import PowerLaw
        >>> points = torch.eye(3, dtype=torch.float64)
        >>> at = torch.tensor([[0.8, 0.6, 0.0]], dtype=torch.float64)
        >>> NeighbourSums(points, [1, 2], PowerLaw(2.0), None, 2).log_sums(at).exp()
        tensor([[2.5000, 1.2500]], dtype=torch.float64)
    """

    def __init__(
        self,
        points: Float[Tensor, "n ambient"],
        sizes: Sequence[int],
        log_weight: LogWeight,
        log_v: Float[Tensor, " n"] | None,
        k: int,
    ) -> None:
        self.points, self.log_weight, self.log_v, self.k = points, log_weight, log_v, min(k, len(points))
        self._group = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
        self._groups = len(sizes)
        self._tree = KDTree(points.cpu().numpy())

    def log_sums(self, x: Float[Tensor, "m ambient"] | None = None) -> Float[Tensor, "m groups"]:
        """``S_c(x)`` for every group; with no `x`, at every training point without its own weight."""
        log_weights, index = self._nearest(x)
        group = self._group[index]
        columns = [log_weights.masked_fill(group != c, -math.inf).logsumexp(1) for c in range(self._groups)]
        return torch.stack(columns, 1).to(self.points.device)

    def means(
        self, x: Float[Tensor, "m ambient"] | None, values: Float[Tensor, "n outputs"]
    ) -> Float[Tensor, "m outputs"]:
        """Weighted means of the values of the nearest points."""
        log_weights, index = self._nearest(x)
        shares = log_weights.softmax(1)
        return (shares[..., None] * values.cpu()[index]).sum(1).to(self.points.device)

    def neglected(self, x: Float[Tensor, "m ambient"]) -> Float[Tensor, " m"]:
        """The largest share that the points beyond the nearest `k` can have in all weights; no probability changes by
        more if they are counted."""
        log_weights, _ = self._nearest(x)
        beyond = math.log(max(len(self.points) - self.k, 1e-300)) + log_weights[:, -1]
        if self.log_v is not None:
            beyond += float(self.log_v.max() - self.log_v.min())
        return torch.sigmoid(beyond - log_weights.logsumexp(1)).nan_to_num(0.0)

    def _nearest(self, x: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logarithms of weights of the nearest points, nearest first, and which they are.

        Where points coincide with `x`, only their own weights count.
        """
        at = self.points if x is None else x
        k = min(self.k + (x is None), len(self.points))
        distances, found = self._tree.query(at.cpu().numpy(), np.arange(1, k + 1))
        eps, index = torch.from_numpy(distances).square_().div_(2).clamp_(max=1.0), torch.from_numpy(found)
        together = eps < COINCIDENT
        log_v = torch.zeros_like(eps) if self.log_v is None else self.log_v.cpu()[index]
        own = torch.zeros_like(together)
        if x is None:
            own = index == torch.arange(len(index))[:, None]
            own[:, -1] |= ~own.any(1)  # hidden behind points that coincide with it: leave out another
            together &= ~own
        log_weights = self.log_weight(eps.clamp(min=COINCIDENT)) + log_v
        log_weights = torch.where(together.any(1, keepdim=True), log_v.masked_fill(~together, -math.inf), log_weights)
        return log_weights.masked_fill_(own, -math.inf), index
