"""The one fit of every bundled model: ridge regression on features, its penalty chosen by leaving rows out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.gram import EigenCache
from harmonia.parts.gram.ridge import NormalEquations, RidgePath

PENALTIES = 33
"""Candidates: 1e-10 to 1e2 of the features' mean energy, evenly in logarithm."""


@dataclass(frozen=True, eq=False)
class Solved:
    """A fit.

    Attributes:
        weights: One column an output.
        constant: Of every output.
        penalty: Of the ridge.
        left_out: Errors of rows left out, where rows were at hand.
        errors: Mean squared error of rows left out (or its estimate by generalised cross-validation), over outputs.
        spread: Mean squared deviation of the targets from their mean, over outputs.
        path: Penalties that were tried, and their errors.
        sums: Over the rows.
    """

    weights: Float[Tensor, "m outputs"]
    constant: Float[Tensor, " outputs"]
    penalty: float
    errors: float
    spread: float
    left_out: Float[Tensor, "n outputs"] | None = None
    path: tuple[tuple[float, float], ...] = ()
    sums: NormalEquations | None = None

    @property
    def relative_error(self) -> float:
        """Root mean square error over that of the mean as a guess."""
        return math.sqrt(self.errors / self.spread) if self.spread > 0 else 0.0


def solve(
    features: Float[Tensor, "n m"],
    targets: Float[Tensor, "n outputs"],
    penalty: float | None = None,
    *,
    intercept: bool = True,
) -> Solved:
    """Fit rows that are in memory; exact leave-one-out errors.

    Raises:
        InputError: fewer than two rows, values that are not finite, or a penalty that is not positive.
    """
    if len(features) < 2:
        raise InputError("a fit needs rows to leave out", f"{len(features)} row(s)", "Pass at least two.")
    f, y = features.double(), targets.double()
    sums = NormalEquations.of(f, y)
    mean = sums.sum / sums.count if intercept else torch.zeros_like(f[0])
    centred = f - mean
    if len(f) > f.shape[1]:
        gram, scale = sums.gram - sums.count * torch.outer(mean, mean), float(sums.gram.diagonal().max())
        cache = EigenCache.of_many_rows(centred, gram, scale=scale)
    else:
        cache = EigenCache.of_features(centred)
    ridge = RidgePath(cache, y, intercept=intercept)
    tried = _penalties(sums, float(cache.values.sum()), 1e-28)
    errors = ridge.errors(tried).sum(1).nan_to_num(nan=torch.inf)
    chosen = float(tried[int(errors.argmin())]) if penalty is None else float(penalty)
    weights = centred.T @ ridge.dual(chosen)
    left_out = ridge.left_out(chosen)
    spread = float((y - y.mean(0)).square().mean(0).sum())
    path = tuple(zip(tried.tolist(), errors.tolist()))
    constant = ridge.mean - mean @ weights
    return Solved(weights, constant, chosen, float(left_out.square().mean(0).sum()), spread, left_out, path, sums)


def solve_sums(sums: NormalEquations, penalty: float | None = None) -> Solved:
    """Fit rows of which only sums were kept; the penalty by generalised cross-validation."""
    centred = float(sums.gram.diagonal().sum() - sums.sum.square().sum() / max(sums.count, 1))
    tried = _penalties(sums, centred, 1e-14)
    errors = sums.generalised_cv(tried, intercept=True).sum(1)
    chosen = float(tried[int(errors.argmin())]) if penalty is None else float(penalty)
    weights, constant = sums.solve(chosen, intercept=True)
    spread = float((sums.energy - sums.target_sum.square() / sums.count).sum()) / sums.count
    path = tuple(zip(tried.tolist(), errors.tolist()))
    at = float(sums.generalised_cv(torch.tensor([chosen]).double(), intercept=True).sum())
    return Solved(weights, constant, chosen, at, spread, None, path, sums)


def _penalties(sums: NormalEquations, centred: float, rounding: float) -> Float[Tensor, " p"]:
    """For the energy of centred features; where that is but a rounding error, any penalty above it will do."""
    energy = float(sums.gram.diagonal().sum())
    scale = centred if centred > rounding * energy else energy
    return (scale / max(sums.count, 1) or 1.0) * torch.logspace(-10, 2, PENALTIES, dtype=torch.float64)
