"""The paper's own structure for l1 distances: noisy counts of a binary tree, read in shells (Section 4).

Every node of every coordinate's tree holds its count plus noise, the same on all levels. A query groups the rows on
each side of it by distance into shells ``(R / (1+a)^(k+1), R / (1+a)^k]``; a shell's rows are a range of cells, the sum
of O(log n) nodes; times the outer distance this is right up to a factor 1 + a and noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64

from harmonia.kernels.private_kde.haar import cell_counts
from harmonia.kernels.private_kde.sketch import Sketch, chunks
from harmonia.parts.privacy.mechanism import Blocks


class ShellSketch(Sketch):
    """Counts of every coordinate's tree; the root's, how many rows there are, is shared.

    Arguments:
        lower, upper: Ends of each coordinate's interval.
        depth: Levels below the root.
        alpha: Relative width of a shell.
    """

    def __init__(
        self, lower: Float64[np.ndarray, " d"], upper: Float64[np.ndarray, " d"], depth: int, alpha: float = 0.1
    ) -> None:
        self.lower, self.upper, self.depth, self.alpha = lower, upper, depth, alpha
        sizes = np.r_[1, np.repeat(2 ** np.arange(1, depth + 1), len(lower))]
        ones = np.ones(len(sizes))
        self.blocks = Blocks(sizes, ones, ones, ones, ones > 0)

    def sums(self, x: Float64[np.ndarray, "n d"], step: Float64[np.ndarray, " size"]) -> Float64[np.ndarray, " size"]:
        counts, levels = cell_counts(x, self.lower, self.upper, self.depth).astype(np.float64), []
        for _ in range(self.depth):
            levels.append(counts.ravel())
            counts = counts[:, 0::2] + counts[:, 1::2]
        return np.concatenate([[float(len(x))], *levels[::-1]])

    def answer(
        self, prepared: Float64[np.ndarray, " size"], y: Float64[np.ndarray, "q d"]
    ) -> Float64[np.ndarray, " q"]:
        inside = np.clip(y, self.lower, self.upper)
        found = prepared[0] * np.abs(y - inside).sum(1)
        _, weights = self._shells()
        for part, level, node, taken in self._nodes(inside):
            start = 1 + len(self.lower) * (2**level - 2) if level else 0
            index = start + node + (2**level * np.arange(len(self.lower))[:, None] if level else 0)
            found[part] += (prepared[np.where(taken, index, 0)] * taken * weights).sum((1, 2))
        return found

    def variance(
        self, variances: Float64[np.ndarray, " blocks"], y: Float64[np.ndarray, "q d"]
    ) -> Float64[np.ndarray, " q"]:
        inside = np.clip(y, self.lower, self.upper)
        root = np.abs(y - inside).sum(1)
        found = np.zeros(len(y))
        _, weights = self._shells()
        for part, level, _, taken in self._nodes(inside):
            if level:
                by_coordinate = variances[1:].reshape(self.depth, -1)[level - 1]
                found[part] += (by_coordinate[:, None] * taken * weights**2).sum((1, 2))
            else:
                root[part] += (taken * weights).sum((1, 2))
        return found + variances[0] * root**2

    def state(self) -> dict[str, np.ndarray]:
        numbers = {"depth": np.array(self.depth), "alpha": np.array(self.alpha)}
        return {"lower": self.lower, "upper": self.upper, **numbers}

    @classmethod
    def restore(cls, state: dict[str, np.ndarray]) -> ShellSketch:
        return cls(state["lower"], state["upper"], int(state["depth"]), float(state["alpha"]))

    def _shells(self) -> tuple[Float64[np.ndarray, " ends"], Float64[np.ndarray, "d shells"]]:
        """Ends of the shells from 0 outward as shares of the width, and each one's outer distance."""
        count = math.ceil(self.depth * math.log(2) / math.log1p(self.alpha))
        outer = (1 + self.alpha) ** -np.arange(count, -1, -1.0)
        return np.r_[0.0, outer], outer * (self.upper - self.lower)[:, None]

    def _nodes(self, y: Float64[np.ndarray, "q d"]) -> Iterator[tuple[slice, int, np.ndarray, np.ndarray]]:
        """The nodes that make up each shell: queries, level, node, and whether it is taken, (q, d, shells).

        From the leaves up: an end that is odd takes the node there, then both ends move to the level above.
        """
        ends, weights = self._shells()
        for part in chunks(len(y), weights.size):
            at = ((y[part] - self.lower) / (self.upper - self.lower))[..., None]
            for sign in (1, -1):
                edges = np.rint((at + sign * ends) * 2**self.depth).clip(0, 2**self.depth).astype(np.int64)
                low, high = np.sort(np.stack([edges[..., :-1], edges[..., 1:]]), axis=0)
                for level in range(self.depth, -1, -1):
                    left, right = (low < high) & (low & 1 == 1), (low < high) & (high & 1 == 1)
                    if level == 0:
                        left, right = np.zeros_like(left), low < high
                    yield part, level, low, left
                    yield part, level, high - 1, right & ~(left & (low == high - 1))
                    low, high = (low + left) >> 1, (high - right) >> 1
