"""Sums of distances along coordinates, from a tree of signed counts (Section 4 of the paper, made linear).

The data on ``[lower, upper]`` are rounded to ``N = 2^L`` cells. The mean of ``|t - q|`` over an interval has a closed
form, and the sum over rows, each taken as uniform in its cell, telescopes over the binary tree of intervals:

    sum_x |x - q|  =  n m_root(q)  +  sum_v D_v (m_left(v)(q) - m_right(v)(q)) / 2 ,   D_v = #left(v) - #right(v).

Only n and the differences D_v are needed, and only they are released: a row changes n and one difference a level, by
one. (The paper adds noise to all counts, and reads from them sums over shells of growing distance: `shells`.) For a
node that q is not in, the bracket is half its width, so the noise of level l adds ``(R/8)^2 2^-l`` times that of a
difference, whatever n: the answers are unbiased, with an error of about 5 R / eps. Privacy is spent on level l in
proportion to ``2^(-l/3)``, or for Gaussian noise ``rho_l`` to ``2^(-l/2)``.

Inverting the transform gives noisy counts of all cells, that answer the same; with their prefix sums a query of the
absolute distance is one look-up a coordinate. Other functions ``f(|t - q|)`` are tabulated at the cells' edges by a
convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64
from scipy.fft import irfft, rfft

from harmonia.core.errors import InputError
from harmonia.kernels.private_kde.functions import evaluate
from harmonia.kernels.private_kde.sketch import Sketch, chunks
from harmonia.parts.privacy.mechanism import Blocks

Profile = Callable[[np.ndarray], np.ndarray]

_GRID = 64
"""Queries at which variances of tabulated profiles are computed; between them they are interpolated."""


class HaarSketch(Sketch):
    """Signed counts of every coordinate's tree.

    Arguments:
        lower, upper: Ends of each coordinate's interval; rows outside are moved to the edge.
        depth: Levels L of differences: ``2^L`` cells.
        profile: The function f of the distance along a coordinate; the distance itself if None.
    """

    def __init__(
        self,
        lower: Float64[np.ndarray, " d"],
        upper: Float64[np.ndarray, " d"],
        depth: int,
        profile: Profile | None = None,
    ) -> None:
        self.lower, self.upper, self.depth, self.profile = lower, upper, depth, profile
        width = upper - lower
        if profile is None:
            level = 2.0 ** np.arange(depth)[:, None]
            count_cost, costs = (width.sum() / 3) ** 2, width**2 / 16 / level
        else:
            roots, spread = zip(*(self._coefficients(float(w)) for w in width))
            count_cost = np.sum([root.mean() for root in roots]) ** 2
            costs = np.stack([part.mean(0) for part in spread], 1)
            if not (costs.any() or count_cost > 0):
                raise InputError("the function is 0 everywhere", "no distance", "Give one of the distance.")
            costs, count_cost = costs.clip(1e-12 * count_cost), max(count_cost, 1e-12 * costs.max())
        ones = np.ones(1 + depth * len(lower))
        sizes = np.r_[1, np.repeat(2 ** np.arange(depth), len(lower))]
        self.blocks = Blocks(sizes, ones, ones, np.r_[count_cost, costs.ravel()], ones > 0)

    def sums(self, x: Float64[np.ndarray, "n d"], step: Float64[np.ndarray, " size"]) -> Float64[np.ndarray, " size"]:
        counts = cell_counts(x, self.lower, self.upper, self.depth).astype(np.float64)
        levels = []
        for _ in range(self.depth):
            levels.append((counts[:, 0::2] - counts[:, 1::2]).ravel())
            counts = counts[:, 0::2] + counts[:, 1::2]
        return np.concatenate([[float(len(x))], *levels[::-1]])

    def cells(self, released: Float64[np.ndarray, " size"]) -> Float64[np.ndarray, "d cells"]:
        """Noisy counts of the cells: the inverse of the transform."""
        d = len(self.lower)
        counts, start = np.full((d, 1), released[0]), 1
        for level in range(self.depth):
            difference = released[start : start + d * 2**level].reshape(d, -1)
            start += difference.size
            counts = np.stack([counts + difference, counts - difference], 2).reshape(d, -1) / 2
        return counts

    def prepare(self, released: Float64[np.ndarray, " size"]) -> Any:
        cells = self.cells(released)
        return _prefixes(cells) if self.profile is None else _Tabulated(cells, self._table(cells))

    def answer(self, prepared: Any, y: Float64[np.ndarray, "q d"]) -> Float64[np.ndarray, " q"]:
        total = np.zeros(len(y))
        width = (self.upper - self.lower) / 2**self.depth
        for part in chunks(len(y), 8):
            for j, w in enumerate(width):
                at = (y[part, j] - self.lower[j]) / w
                if self.profile is None:
                    total[part] += w * prepared.distances(j, at)
                else:
                    total[part] += prepared.interpolated(j, at, lambda z, w=w: evaluate(self.profile, z * w))
        return total

    def variance(
        self, variances: Float64[np.ndarray, " blocks"], y: Float64[np.ndarray, "q d"]
    ) -> Float64[np.ndarray, " q"]:
        by_level = variances[1:].reshape(self.depth, -1)
        width = self.upper - self.lower
        roots, rest = np.zeros(len(y)), np.zeros(len(y))
        for j, w in enumerate(width):
            at = (y[:, j] - self.lower[j]) / w
            if self.profile is None:
                root, coefficients = _absolute_coefficients(at, self.depth)
                roots, rest = roots + w * root, rest + w**2 * (coefficients @ by_level[:, j])
            else:
                root, coefficients = self._coefficients(float(w))
                grid = np.linspace(0, 1, len(root))
                own_root, own = np.interp(at, grid, root), np.interp(at, grid, coefficients @ by_level[:, j])
                for q in np.flatnonzero((at < 0) | (at > 1)):
                    middles = (np.arange(2**self.depth) + 0.5) / 2**self.depth
                    own_root[q], squares = _transformed(evaluate(self.profile, np.abs(at[q] - middles) * w))
                    own[q] = squares @ by_level[:, j]
                roots, rest = roots + own_root, rest + own
        return variances[0] * roots**2 + rest

    def state(self) -> dict[str, np.ndarray]:
        if self.profile is not None and not isinstance(self.profile, Power):
            raise InputError("a function cannot be saved", repr(self.profile), "Save its answers, or use a metric.")
        power = self.profile.p if self.profile is not None else 1.0
        return {"lower": self.lower, "upper": self.upper, "depth": np.array(self.depth), "power": np.array(power)}

    @classmethod
    def restore(cls, state: dict[str, np.ndarray]) -> HaarSketch:
        power = float(state["power"])
        return cls(state["lower"], state["upper"], int(state["depth"]), None if power == 1.0 else Power(power))

    def _table(self, cells: Float64[np.ndarray, "d cells"]) -> Float64[np.ndarray, "d edges"]:
        """Sums at the edges of the cells, by one convolution a coordinate."""
        n = cells.shape[1]
        found = np.empty((len(cells), n + 1))
        for j, w in enumerate((self.upper - self.lower) / n):
            means = _cell_means(self._scaled(float(w)), n)
            kernel = np.r_[means[::-1], means]  # cells left of an edge, nearest last; cells right of it
            size = 4 * n
            product = irfft(rfft(cells[j][::-1], size) * rfft(kernel, size), size)
            found[j] = product[n - 1 : 2 * n][::-1]
        return found

    def _coefficients(self, width: float) -> tuple[np.ndarray, np.ndarray]:
        assert self.profile is not None
        return _profile_coefficients(self.profile, width, self.depth)

    def _scaled(self, width: float) -> Profile:
        assert self.profile is not None
        profile = self.profile
        return lambda z: profile(z * width)


@dataclass(frozen=True)
class Power:
    """``|t|^p``.

    Attributes:
        p: The exponent.
    """

    p: float

    def __call__(self, z: np.ndarray) -> np.ndarray:
        return np.abs(z) ** self.p


def cell_counts(
    x: Float64[np.ndarray, "n d"], lower: Float64[np.ndarray, " d"], upper: Float64[np.ndarray, " d"], depth: int
) -> np.ndarray:
    """How many rows each of the ``2^depth`` cells of each coordinate holds, (d, cells)."""
    d, n = len(lower), 2**depth
    counts = np.zeros(d * n, dtype=np.int64)
    scale, offset = n / (upper - lower), n * np.arange(d)
    for part in chunks(len(x), d):
        with np.errstate(over="ignore"):  # an endless distance from the end is in the last cell too
            codes = ((x[part] - lower) * scale).clip(0, n - 1).astype(np.int64)
        codes += offset
        counts += np.bincount(codes.ravel(), minlength=d * n)
    return counts.reshape(d, n)


class _Prefixes(NamedTuple):
    """Prefix sums of the cells' counts, and of counts times midpoints in units of a cell."""

    cells: np.ndarray
    counts: np.ndarray
    moments: np.ndarray

    def distances(self, j: int, at: np.ndarray) -> np.ndarray:
        """Sums of ``|t - at|``, in cells."""
        last = self.cells.shape[1]
        k = np.floor(at).clip(0, last - 1).astype(np.int64)
        inside = at - k
        own = np.where((inside >= 0) & (inside <= 1), (inside**2 + (1 - inside) ** 2) / 2, np.abs(inside - 0.5))
        before, after = self.counts[j, k], self.counts[j, last] - self.counts[j, k + 1]
        sums = self.moments[j, last] - self.moments[j, k + 1] - self.moments[j, k]
        return at * (before - after) + sums + self.cells[j, k] * own


def _prefixes(cells: Float64[np.ndarray, "d n"]) -> _Prefixes:
    middle = np.arange(cells.shape[1]) + 0.5
    sums = (np.pad(np.cumsum(values, 1), ((0, 0), (1, 0))) for values in (cells, cells * middle))
    return _Prefixes(cells, *sums)


class _Tabulated(NamedTuple):
    cells: np.ndarray
    table: np.ndarray

    def interpolated(self, j: int, at: np.ndarray, profile: Profile) -> np.ndarray:
        """Sums of a profile of distances in cells; outside the tabulated interval by the definition."""
        n = self.cells.shape[1]
        found = np.interp(at, np.arange(n + 1), self.table[j])
        outside = np.flatnonzero((at < 0) | (at > n))
        for part in chunks(len(outside), n):
            rows = outside[part]
            found[rows] = profile(np.abs(at[rows, None] - np.arange(n) - 0.5)) @ self.cells[j]
        return found


def _cell_means(profile: Profile, count: int) -> Float64[np.ndarray, " count"]:
    """Means of a profile over ``[k, k + 1]``, by Gauss and Legendre's rule of eight points."""
    nodes, weights = np.polynomial.legendre.leggauss(8)
    return evaluate(profile, np.arange(count)[:, None] + (nodes + 1) / 2) @ weights / 2


def _absolute_coefficients(at: Float64[np.ndarray, " q"], depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Of ``|t - at|`` on [0, 1]: the mean, and by level the sum of squared coefficients of the differences."""

    def mean(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        inside = (at >= low) & (at <= high)
        own = ((at - low) ** 2 + (high - at) ** 2) / (2 * (high - low))
        return np.where(inside, own, np.abs(at - (low + high) / 2))

    found = []
    for level in range(depth):
        width = 2.0**-level
        low = np.floor(at / width).clip(0, 2**level - 1) * width
        path = (mean(low, low + width / 2) - mean(low + width / 2, low + width)) / 2
        found.append((2**level - 1) * (width / 4) ** 2 + path**2)
    return mean(np.zeros(1), np.ones(1)), np.stack(found, 1)


@lru_cache(maxsize=256)
def _profile_coefficients(profile: Profile, width: float, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """As `_absolute_coefficients` at evenly spaced queries, by transforming the means over all cells."""
    n = 2**depth
    means = _cell_means(lambda z: profile(z * (width / n)), n)
    roots, squares = [], []
    for edge in np.linspace(0, n, min(_GRID, n) + 1).round().astype(np.int64):
        root, levels = _transformed(np.r_[means[:edge][::-1], means[: n - edge]])
        roots.append(root)
        squares.append(levels)
    return np.array(roots), np.array(squares)


def _transformed(values: Float64[np.ndarray, " cells"]) -> tuple[float, np.ndarray]:
    """The mean, and by level the sum of squared coefficients, of values over all cells."""
    levels = []
    while len(values) > 1:
        levels.append(np.square(values[0::2] - values[1::2]).sum() / 4)
        values = (values[0::2] + values[1::2]) / 2
    return float(values[0]), np.array(levels[::-1])
