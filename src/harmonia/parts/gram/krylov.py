"""Functions of a kernel matrix applied to a few vectors, without its eigendecomposition: block Krylov subspaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.gram.eigen import EigenCache

_DEPENDENT = 1e-12
"""Directions shorter than this, relative to the matrix, add nothing to the subspace."""


class Ritz(NamedTuple):
    """Eigenpairs of a matrix restricted to a subspace: ``g(K) y ~ vectors g(values) vectors^T y`` for its y."""

    values: Tensor
    vectors: Tensor


def ritz_pairs(
    matrix: Float[Tensor, "n columns"],
    start: Float[Tensor, "rows k"],
    gain: Callable[[Tensor], Tensor],
    tolerance: float = 1e-9,
) -> Ritz:
    """Ritz pairs of a symmetric matrix in ``span(Y, K Y, K^2 Y, ...)``, enlarged until ``gain(K) Y`` has converged.

    Filters that are smoother than `gain` have then converged too. Kernel matrices whose eigenvalues decay need a few
    dozen products with the matrix, where an eigendecomposition costs as much as ten times their size.

    Arguments:
        matrix: Symmetric and positive semi-definite.
        start: The vectors Y that functions of the matrix are applied to.
        gain: The sharpest function wanted: that of the smallest ridge, or of the longest training.
        tolerance: Size of what the last enlargement added, relative to ``gain(K) Y``.

    Returns:
        Ritz values, largest first, and vectors. Where the subspace would exceed half of the space: all eigenpairs.

    Raises:
        InputError: a matrix and vectors that do not fit.

    Example:
        >>> x = torch.linspace(0, 1, 200, dtype=torch.float64)
        >>> matrix = torch.exp(-((x[:, None] - x) ** 2))
        >>> ritz = ritz_pairs(matrix, x[:, None], lambda value: 1 / (value + 1e-3))
        >>> ridge = ritz.vectors @ ((ritz.values / (ritz.values + 1e-3)) * (ritz.vectors.T @ x))
        >>> exact = torch.linalg.solve(matrix + 1e-3 * torch.eye(200), matrix @ x)
        >>> len(ritz.values) < 20, bool((ridge - exact).abs().max() < 1e-8)
        (True, True)
    """
    if matrix.ndim != 2 or len(matrix) != matrix.shape[1] or len(matrix) != len(start):
        shapes = f"{tuple(matrix.shape)} and {tuple(start.shape)}"
        raise InputError("matrix and vectors do not fit", shapes, "Pass k(X, X) and one row of vectors for each x.")
    start = start.to(matrix)
    last = _independent(start, float(start.norm()))
    basis, rotated = matrix.new_zeros(len(matrix), 0), matrix.new_zeros(0, 0)
    scale, check = 0.0, 8
    steps = 0
    while last.shape[1] and basis.shape[1] + last.shape[1] <= len(matrix) // 2:
        known, basis = basis.shape[1], torch.cat([basis, last], 1)
        image = matrix @ last
        scale = max(scale, float(image.norm()))
        column = basis.T @ image
        rotated = torch.nn.functional.pad(rotated, (0, last.shape[1], 0, last.shape[1]))
        rotated[:, known:], rotated[known:, :known] = column, column[:known].T
        image = image - basis @ column
        # Orthogonal to what is known to rounding only when projected twice.
        last = _independent(image - basis @ (basis.T @ image), scale)
        steps += 1
        if steps >= check or not last.shape[1]:
            check = steps + max(8, steps // 4)
            values, vectors = torch.linalg.eigh((rotated + rotated.T) / 2)
            values = values.clamp(min=0)
            found = (vectors * gain(values)) @ (vectors.T @ (basis.T @ start))
            if not last.shape[1] or found[known:].norm() <= tolerance * found.norm():
                return Ritz(values.flip(0), (basis @ vectors).flip(1))
    if not last.shape[1]:
        return Ritz(matrix.new_zeros(1), matrix.new_zeros(len(matrix), 1))  # Y = 0
    everything = EigenCache(matrix)
    return Ritz(everything.values, everything.vectors)


def _independent(vectors: Tensor, scale: float) -> Tensor:
    """Orthonormal basis of what the columns span."""
    left, sizes, _ = torch.linalg.svd(vectors, full_matrices=False)
    return left[:, sizes > _DEPENDENT * max(scale, 1e-300)]
