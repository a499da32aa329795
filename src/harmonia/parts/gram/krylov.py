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
    # Vectors are rows: a few of them times a large matrix is twice as fast as the matrix times a few columns.
    y = start.to(matrix).T.contiguous()
    last = _independent(y, float(y.norm()))
    basis, rotated = matrix.new_zeros(0, len(matrix)), matrix.new_zeros(0, 0)
    steps, check, scale = 0, 8, 0.0
    while len(last) and len(basis) + len(last) <= len(matrix) // 2:
        known, basis = len(basis), torch.cat([basis, last])
        image = last @ matrix
        scale = max(scale, float(image.norm()))
        row = image @ basis.T
        rotated = torch.nn.functional.pad(rotated, (0, len(last), 0, len(last)))
        rotated[known:], rotated[:known, known:] = row, row[:, :known].T
        image = image - row @ basis
        # Orthogonal to what is known to rounding only when projected twice.
        last = _independent(image - (image @ basis.T) @ basis, scale)
        steps += 1
        if steps >= check or not len(last):
            check = steps + max(8, steps // 4)
            values, vectors = torch.linalg.eigh((rotated + rotated.T) / 2)
            values = values.clamp(min=0)
            found = (vectors * gain(values)) @ (vectors.T @ (basis @ y.T))
            if not len(last) or found[known:].norm() <= tolerance * found.norm():
                return Ritz(values.flip(0), (basis.T @ vectors).flip(1))
    if not len(last):
        return Ritz(matrix.new_zeros(1), matrix.new_zeros(len(matrix), 1))  # Y = 0
    everything = EigenCache(matrix)
    return Ritz(everything.values, everything.vectors)


def _independent(vectors: Tensor, scale: float) -> Tensor:
    """Orthonormal basis of what the rows span."""
    _, sizes, right = torch.linalg.svd(vectors, full_matrices=False)
    return right[sizes > _DEPENDENT * max(scale, 1e-300)]
