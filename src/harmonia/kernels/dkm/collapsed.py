"""The output solved for: with Gaussian noise the best posterior at the inducing points has a closed form.

Of ``n`` rows with whitened features ``phi_j`` (m,) and variances ``r_j`` left unexplained, the bound over all
posteriors of the inducing values has the maximum (Titsias 2009)

    log N(y; 0, Phi Phi^T + s2 I) - sum_j r_j / (2 s2)

for each output, at ``N(B^-1 Phi^T y / s2, B^-1)`` in whitened coordinates, with ``B = I + Phi^T Phi / s2``. Rows enter
through four sums, so any number of them is read in portions.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.kernels.dkm.output import Posterior
from harmonia.parts.gram import jittered_cholesky


class Sums(NamedTuple):
    """``Phi^T Phi`` (m, m), ``Phi^T y`` (m, k), ``sum y^2`` and ``sum r`` over rows, and how many there are."""

    features: Tensor
    targets: Tensor
    square: Tensor
    residual: Tensor
    rows: int

    def __add__(self, other: object) -> Sums:
        assert isinstance(other, Sums)
        parts: zip[tuple[Any, Any]] = zip(self, other, strict=True)
        return Sums(*(a + b for a, b in parts))

    @classmethod
    def of(cls, features: Tensor, variance: Tensor, y: Tensor) -> Sums:
        """Of rows with whitened features (n, m), prior variances (n,) and targets (n, k)."""
        residual = (variance - features.square().sum(1)).sum()
        return cls(features.mT @ features, features.mT @ y, y.square().sum(), residual, len(y))


def collapsed_bound(sums: Sums, noise: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """The maximum of the bound over posteriors, in nats, summed over rows and outputs.

    Example:
        >>> one = torch.ones(1, 1, dtype=torch.float64)
        >>> sums = Sums.of(one, torch.ones(1, dtype=torch.float64), one)
        >>> round(float(collapsed_bound(sums, torch.tensor(1.0, dtype=torch.float64))), 6)  # log N(1; 0, 2)
        -1.515512
    """
    outputs = sums.targets.shape[1]
    factor = _system(sums, noise)
    explained = torch.linalg.solve_triangular(factor, sums.targets, upper=False).square().sum() / noise
    logdet = 2 * factor.diagonal().log().sum() + sums.rows * (2 * math.pi * noise).log()
    return -0.5 * (outputs * (logdet + sums.residual / noise) + (sums.square - explained) / noise)


def best_posterior(sums: Sums, noise: Float[Tensor, ""], inverse: Tensor) -> Posterior:
    """The posterior at which the bound is reached; `inverse` is ``L^-1`` of the kernel between inducing points."""
    factor = _system(sums, noise)
    mean = torch.cholesky_solve(sums.targets, factor) / noise
    covariance = torch.cholesky_inverse(factor)
    return Posterior(inverse, mean, jittered_cholesky((covariance + covariance.mT) / 2)[0])


def _system(sums: Sums, noise: Tensor) -> Tensor:
    unit = torch.eye(len(sums.features), dtype=sums.features.dtype, device=sums.features.device)
    return jittered_cholesky(unit + sums.features / noise)[0]
