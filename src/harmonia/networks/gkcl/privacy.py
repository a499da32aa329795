"""Sums over rows with noise, so that what is remembered may be given away: differential privacy by Gaussian noise.

A row of features f, ``|f| <= 1``, of class y adds ``f f^T`` to the matrix, ``f e_y^T`` to its products with the classes
and ``e_y`` to their numbers, each of length at most 1. The symmetric matrix is noised as its triangle, in which entries
off the diagonal count sqrt(2) times so that lengths stay the same. Everything else follows from these three.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from harmonia.core.errors import InputError
from harmonia.parts.gram import NormalEquations
from harmonia.parts.privacy import Blocks, Budget, Mechanism, Randomness

_SLACK = 1e-3
"""By how much lengths are declared larger than they are: for the rounding of sums to the grid of the noise."""

_COUNT_COST = 0.01
"""Weight of the noise of the classes' numbers beside that of the sums; no prediction depends on them."""


def private_sums(
    sums: NormalEquations, epsilon: float, delta: float, source: Randomness
) -> tuple[NormalEquations, float]:
    """Sums over one row more or less cannot be told from these; and the least penalty that outweighs their noise.

    The noise of the matrix is a symmetric Gaussian one, whose largest eigenvalue is near ``sigma sqrt(2 d)``: with this
    penalty the sums stay positive definite.

    Arguments:
        sums: Over rows of features of length at most 1 and their classes, one-hot.
        epsilon, delta: The budget.
        source: Of the noise.

    Raises:
        InputError: no such budget, or one too small for the grid of the noise.
    """
    d, k = sums.cross.shape
    rows, columns = torch.tril_indices(d, d)
    twice = torch.where(rows == columns, 1.0, math.sqrt(2)).double()
    length = 1 + _SLACK
    blocks = Blocks.of(
        (len(rows), d * length, length, 1.0, False),
        (d * k, math.sqrt(d) * length, length, 1.0, False),
        (k, length, length, _COUNT_COST, True),
    )
    mechanism = Mechanism.calibrate(blocks, Budget(epsilon, delta, noise="gaussian"))
    if (np.sqrt(blocks.sizes) * mechanism.steps > _SLACK / 2).any():
        raise InputError("the budget is too small for any answer", f"epsilon={epsilon:g}", "Give more.")
    parts = (sums.gram[rows, columns] * twice, sums.cross.flatten(), sums.target_sum)
    released = torch.from_numpy(mechanism.add_noise(torch.cat(parts).numpy(), source))
    triangle, cross, counts = released.split(blocks.sizes.tolist())
    gram = torch.zeros(d, d, dtype=torch.float64)
    gram[rows, columns] = gram[columns, rows] = triangle / twice
    cross = cross.reshape(d, k)
    noisy = NormalEquations(gram, cross, cross.sum(1), counts, counts, max(1, round(float(counts.sum()))))
    return noisy, float(mechanism.scales[0]) * math.sqrt(2 * d)
