"""From a sketch's sensitivities to its noise: how the budget is split, and the release itself.

A sketch is a vector of sums over rows, in blocks. A row changes a block by at most `l1` or `l2`, the block's
sensitivity in that norm, and an answer's variance is ``sum_b cost_b scale_b^2`` (twice that for Laplace noise). What
the budget allows, ``sum_b l1_b / scale_b <= ratio`` or ``sum_b (l2_b / scale_b)^2 <= ratio^2``, is spent where it
lowers that variance most: by Lagrange's condition Laplace scales are proportional to ``(l1 / cost)^(1/3)``, the squares
of Gaussian ones to ``l2 / sqrt(cost)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float64, Int

from harmonia.core.errors import InputError
from harmonia.parts.privacy.accounting import Charge, Neighbours, calibrated_ratio, check_budget
from harmonia.parts.privacy.noise import STEPS, NoiseKind, Randomness, continuous, draw

Choice = Literal["auto", "laplace", "gaussian"]

COUNT_COST = 0.1
"""Weight of the noise of the number of rows beside that of a sum of at most 1 a row, which is read as a share of it."""

ROUNDING = 1 + 1e-6
"""By how much norms are declared larger than they are in exact arithmetic.

Besides the last bits of a norm it covers those of matrix products: a row's part may be rounded differently in another
batch, by 1e-16 or so, and then, once in about 1e8 rows, be cut to a neighbouring step, 2^-24 of the noise away.
"""


@dataclass(frozen=True)
class Blocks:
    """The parts of a sketch, in the order of its vector.

    Attributes:
        sizes: Numbers in each block.
        l1, l2: Most that one row changes a block, in these norms.
        cost: Weight of a block's noise in the variance of an answer.
        whole: Whether a block holds sums of whole numbers.
    """

    sizes: Int[np.ndarray, " blocks"]
    l1: Float64[np.ndarray, " blocks"]
    l2: Float64[np.ndarray, " blocks"]
    cost: Float64[np.ndarray, " blocks"]
    whole: np.ndarray

    @classmethod
    def of(cls, *blocks: tuple[int, float, float, float, bool]) -> Blocks:
        """From one tuple a block: size, l1, l2, cost, whole."""
        sizes, l1, l2, cost, whole = zip(*blocks)
        numbers = [np.array(column, dtype=np.float64) for column in (l1, l2, cost)]
        return cls(np.array(sizes, dtype=np.int64), numbers[0], numbers[1], numbers[2], np.array(whole, dtype=bool))

    @property
    def size(self) -> int:
        """Numbers in all."""
        return int(self.sizes.sum())


@dataclass(frozen=True)
class Budget:
    """What a release may cost, and how its noise is made.

    Arguments:
        eps: Largest log ratio of probabilities on neighbouring data.
        delta: Probability by which that may fail; 0 allows Laplace noise only.
        neighbours: ``add-remove`` one row, or ``replace-one``, which doubles all sensitivities.
        noise: ``laplace``, ``gaussian``, or whichever of them gives the lower variance.
        secure: Exact noise on a grid, or floating-point noise.
    """

    eps: Any = 1.0  # a number, a number, a `Neighbours` and a `Choice`, checked below
    delta: Any = 0.0
    neighbours: Any = "add-remove"
    noise: Any = "auto"
    secure: bool = True

    def __post_init__(self) -> None:
        check_budget(self.eps, self.delta)
        object.__setattr__(self, "eps", float(self.eps))
        object.__setattr__(self, "delta", float(self.delta))
        for name, value, choices in (("neighbours", self.neighbours, Neighbours), ("noise", self.noise, Choice)):
            if value not in get_args(choices):
                raise InputError(f"no such '{name}'", repr(value), f"Use one of: {', '.join(get_args(choices))}.")
        if self.noise == "gaussian" and self.delta == 0:
            raise InputError("Gaussian noise needs delta > 0", self.delta, "Give e.g. delta=1e-6, or noise='laplace'.")


@dataclass(frozen=True)
class Mechanism:
    """Calibrated noise for the blocks of a sketch.

    Attributes:
        kind: ``laplace`` or ``gaussian``.
        scales: Of the noise in each block; all 0 for an infinite epsilon.
        steps: Grid of each block, of which contributions and noise are multiples; 0: none.
        ratio: Sensitivity over scale, in the mechanism's norm.
    """

    blocks: Blocks
    budget: Budget
    kind: NoiseKind
    scales: Float64[np.ndarray, " blocks"]
    steps: Float64[np.ndarray, " blocks"]
    ratio: float

    @classmethod
    def calibrate(cls, blocks: Blocks, budget: Budget) -> Mechanism:
        """The split of the budget with the least variance."""
        kinds: tuple[NoiseKind, ...] = ("laplace", "gaussian") if budget.delta > 0 else ("laplace",)
        if budget.noise != "auto":
            kinds = (budget.noise,)
        return min((cls._of(kind, blocks, budget) for kind in kinds), key=lambda found: found.cost)

    @classmethod
    def _of(cls, kind: NoiseKind, blocks: Blocks, budget: Budget) -> Mechanism:
        factor = 2.0 if budget.neighbours == "replace-one" else 1.0
        ratio = calibrated_ratio(kind, float(budget.eps), float(budget.delta), blocks.size if budget.secure else 0)
        if math.isinf(ratio):
            zero = np.zeros(len(blocks.sizes))
            return cls(blocks, budget, kind, zero, zero, ratio)
        if kind == "laplace":
            l1 = factor * blocks.l1
            scales = np.cbrt(l1 / blocks.cost)
            scales *= (l1 / scales).sum() / ratio
        else:
            l2 = factor * blocks.l2
            scales = np.sqrt(l2 / np.sqrt(blocks.cost))
            scales *= math.sqrt(np.square(l2 / scales).sum()) / ratio
        steps = np.zeros(len(scales))
        if budget.secure:
            if (scales[blocks.whole] > STEPS).any():
                raise InputError("the budget is too small for any answer", f"eps={budget.eps:g}", "Give more.")
            # A count is a whole number of steps, so 1 is: the scale grows, by a share of about scale / 2^24.
            steps = scales / STEPS
            steps[blocks.whole] = 1 / np.floor(1 / steps[blocks.whole])
            scales = steps * STEPS
        return cls(blocks, budget, kind, scales, steps, ratio)

    @property
    def cost(self) -> float:
        """Variance of a typical answer."""
        return float(self.blocks.cost @ self.variances)

    @property
    def variances(self) -> Float64[np.ndarray, " blocks"]:
        """Of the noise in each block."""
        return np.square(self.scales) * (2 if self.kind == "laplace" else 1)

    def charge(self, release: str, disjoint: str = "") -> Charge:
        """What a release costs; see `Charge` for `disjoint`."""
        delta = float(self.budget.delta) if self.kind == "gaussian" else 0.0
        numbers = self.blocks.size if self.budget.secure else 0
        return Charge(release, self.kind, self.ratio, float(self.budget.eps), delta, numbers, disjoint)

    def each_step(self) -> Float64[np.ndarray, " size"]:
        """The grid of every number of the sketch."""
        return np.repeat(self.steps, self.blocks.sizes)

    def add_noise(self, sums: Float64[np.ndarray, " size"], source: Randomness) -> Float64[np.ndarray, " size"]:
        """The release: sums, which with `secure` are multiples of the steps, and noise."""
        if not self.scales.any():
            return sums.copy()
        if not self.budget.secure:
            noise = continuous(self.kind, len(sums), source)
            return sums + np.repeat(self.scales, self.blocks.sizes) * noise
        step = self.each_step()
        return (np.rint(sums / step) + draw(self.kind, len(sums), source)) * step


def column_sums(
    values: Float64[np.ndarray, "rows size"], step: Float64[np.ndarray, " size"]
) -> Float64[np.ndarray, " size"]:
    """Sums over rows whose contributions are first cut to multiples of the step, so that no norm grows.

    Sums of whole numbers of steps are exact, in any order, below 2^53: floating-point sums would depend on the order of
    the rows and so have a larger sensitivity than they seem to. A step of 0 cuts nothing.
    """
    if not step.any():
        return values.sum(0)
    steps = np.multiply(values, 1 / step)
    return np.trunc(steps, out=steps).sum(0) * step
