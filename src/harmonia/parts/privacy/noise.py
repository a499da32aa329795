"""Noise on an integer grid, drawn without floating point: discrete Laplace and discrete Gaussian.

Noise drawn as a float leaks through its low bits: not every float can be the sum of a datum and such noise (Mironov
2012). Here statistics are whole multiples of a step, and the noise is a whole number of steps, drawn exactly by
comparing integers, after

    The Discrete Gaussian for Differential Privacy, Canonne, Kamath & Steinke, 2020 (arXiv:2004.00010), algorithms 1-3,

for whole arrays at once. The random bits are the operating system's, unless a seed is given, which makes the noise
predictable and is for tests only.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64

NoiseKind = Literal["laplace", "gaussian"]

STEPS = 1 << 24
"""Scale of the noise in steps of the grid."""

_RANGE = 1 << 62


class Randomness:
    """Uniform whole numbers: from the operating system, or from a seed.

    Example:
        >>> source = Randomness(seed=0)
        >>> bool((source.below(np.full(5, 3)) < 3).all())
        True
    """

    def __init__(self, seed: int | None = None) -> None:
        self._seeded = None if seed is None else np.random.default_rng(seed)

    def below(self, bounds: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        """Exactly uniform in ``0 .. bound - 1``, each for its own bound of at most 2^62."""
        drawn = self._bits(len(bounds))
        # Below the largest multiple of the bound remainders are uniform; what lies above is drawn again.
        above = drawn >= _RANGE - _RANGE % bounds
        while above.any():
            drawn[above] = self._bits(int(above.sum()))
            above = drawn >= _RANGE - _RANGE % bounds
        return drawn % bounds

    def generator(self) -> np.random.Generator:
        """For noise that is not exact: continuous, seeded from the same source."""
        return self._seeded or np.random.default_rng()

    def _bits(self, count: int) -> Int64[np.ndarray, " n"]:
        """62 random bits each."""
        if self._seeded is not None:
            return self._seeded.integers(0, _RANGE, count)
        return np.frombuffer(os.urandom(8 * count), np.uint64).astype(np.int64) & (_RANGE - 1)


def discrete_laplace(count: int, source: Randomness, scale: int = STEPS) -> Int64[np.ndarray, " count"]:
    """``P(k)`` proportional to ``exp(-|k| / scale)``.

    Example:
        >>> k = discrete_laplace(20_000, Randomness(seed=0), scale=5)
        >>> bool(abs(k.var() / 49.8 - 1) < 0.05)  # 2 r / (1 - r)^2 with r = exp(-1/5)
        True
    """

    def candidates(n: int) -> tuple[np.ndarray, np.ndarray]:
        remainder = source.below(np.full(n, scale))
        magnitude = remainder + scale * _geometric(n, source)
        negative = source.below(np.full(n, 2)) == 1
        # Zero is kept with one sign only, else it would come twice as often.
        kept = _happens_exp(remainder, np.full(n, scale), source) & ~(negative & (magnitude == 0))
        return np.where(negative, -magnitude, magnitude), kept

    return _until_kept(count, candidates)


def discrete_gaussian(count: int, source: Randomness, scale: int = STEPS) -> Int64[np.ndarray, " count"]:
    """``P(k)`` proportional to ``exp(-k^2 / (2 scale^2))``.

    Example:
        >>> k = discrete_gaussian(20_000, Randomness(seed=0), scale=5)
        >>> bool(abs(k.var() / 25 - 1) < 0.05)
        True
    """

    def candidates(n: int) -> tuple[np.ndarray, np.ndarray]:
        k = discrete_laplace(n, source, scale)
        # exp(-k^2 / 2s^2) = exp(-|k| / s) exp(-(|k| - s)^2 / 2s^2) up to a factor.
        whole, rest = np.divmod(np.square(np.abs(k) - scale), 2 * scale**2)
        kept = (_geometric(n, source) >= whole) & _happens_exp(rest, np.full(n, 2 * scale**2), source)
        return k, kept

    return _until_kept(count, candidates)


def continuous(kind: NoiseKind, count: int, source: Randomness) -> Float64[np.ndarray, " count"]:
    """Floating-point noise of scale 1: fast, and open to the attack named above."""
    generator = source.generator()
    return generator.laplace(size=count) if kind == "laplace" else generator.standard_normal(count)


def draw(kind: NoiseKind, count: int, source: Randomness) -> Int64[np.ndarray, " count"]:
    """Exact noise of scale `STEPS`."""
    return discrete_laplace(count, source) if kind == "laplace" else discrete_gaussian(count, source)


def rounding_distance(count: int) -> float:
    """Bound of the total variation between `count` discrete Gaussians and continuous ones rounded to the grid.

    Pointwise ``|P/Q - 1| <= max(1, z^2) / (8 S^2)`` to first order, with z = k/S, since a rounded Gaussian averages the
    density over half a step to both sides; so the divergence of one is at most ``1 / (16 S^4)``, and Pinsker's
    inequality gives ``sqrt(count / 32) / S^2``. Rounding is post-processing, so whatever holds for a continuous
    Gaussian mechanism holds for this one up to that distance.
    """
    return math.sqrt(count / 32) / STEPS**2


_BLOCK = 1 << 18
"""Draws at once: what fits in the processor's cache."""


def _until_kept(count: int, candidates: Callable[[int], tuple[np.ndarray, np.ndarray]]) -> Int64[np.ndarray, " count"]:
    """Rejection sampling."""
    found = np.empty(count, dtype=np.int64)
    done = 0
    while done < count:
        values, kept = candidates(min(_BLOCK, 2 * (count - done) + 16))
        values = values[kept][: count - done]
        found[done : done + len(values)] = values
        done += len(values)
    return found


def _happens_exp(
    numerators: Int64[np.ndarray, " n"], denominators: Int64[np.ndarray, " n"], source: Randomness
) -> Bool[np.ndarray, " n"]:
    """True with probability ``exp(-a / b)`` for 0 <= a <= b: algorithm 1.

    The number of successes in a row, of trials with probability ``(a/b) / k``, is even that often.
    """
    even = np.zeros(len(numerators), dtype=bool)
    alive = np.arange(len(numerators))
    k = 1
    while len(alive):
        success = source.below(k * denominators[alive]) < numerators[alive]
        if k % 2:
            even[alive[~success]] = True
        alive, k = alive[success], k + 1
    return even


def _geometric(count: int, source: Randomness) -> Int64[np.ndarray, " count"]:
    """``P(k) = (1 - 1/e) e^-k``."""
    found = np.zeros(count, dtype=np.int64)
    alive = np.arange(count)
    while len(alive):
        ones = np.ones(len(alive), dtype=np.int64)
        alive = alive[_happens_exp(ones, ones, source)]
        found[alive] += 1
    return found
