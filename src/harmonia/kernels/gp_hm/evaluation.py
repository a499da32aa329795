"""A solution at any points: values, derivatives and standard deviations from its whitened coordinates."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.kernels.gp_hm.basis import AxisBasis
from harmonia.kernels.gp_hm.galerkin import KroneckerSum
from harmonia.kernels.gp_hm.operators import Order
from harmonia.parts.gram import Kronecker, along

_CHUNK = 4096


def contract(rows: Sequence[Float[Tensor, "m _"]], z: Float[Tensor, "..."]) -> Float[Tensor, " m"]:
    """``sum_{ij..} rows_1[p, i] rows_2[p, j] ... z[i, j, ...]`` for each point p.

    Example:
        >>> contract([torch.eye(2), torch.eye(2)], torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor([1., 4.])
    """
    found = (rows[0] @ z.reshape(len(z), -1)).reshape(-1, *z.shape[1:])
    for row in rows[1:]:
        found = torch.einsum("pi...,pi->p...", found, row)
    return found


def at_points(
    bases: Sequence[AxisBasis], z: Float[Tensor, "..."], points: Float[Tensor, "m d"], order: Order
) -> Float[Tensor, " m"]:
    """The solution, or a derivative, at scattered points."""
    parts = points.split(_CHUNK)
    return torch.cat([contract([b.at(p[:, i], order[i]) for i, b in enumerate(bases)], z) for p in parts])


def on_grid(
    bases: Sequence[AxisBasis], z: Float[Tensor, "..."], axes: Sequence[Float[Tensor, " m"]], order: Order
) -> Float[Tensor, "..."]:
    """The same on a tensor grid, at the cost of two small products an axis."""
    return Kronecker(*(basis.at(x, m) for basis, x, m in zip(bases, axes, order))).on_grid(z)


class Spread:
    """Variance of the solution: of what the grid does not see of the prior, and of what the residual leaves open.

    The prior's variance given the values on the grid is ``prod k_i(0) - prod |phi_i(x)|^2``. A residual of standard
    deviation s at every grid point adds ``s^2 |phi(x)^T V (1 / sums) V^{-1} Q^T|^2``, of which the off-diagonal terms
    of ``V^{-1} V^{-T}`` are left out (they vanish for symmetric operators), so that everything stays a product.

    Arguments:
        bases: Of the axes.
        inverse: Of the equation.
        deviation: Root mean square of the residual.
    """

    def __init__(self, bases: Sequence[AxisBasis], inverse: KroneckerSum, deviation: float) -> None:
        self._bases = bases
        self._maps = [b.to_z(v.real) + 1j * b.to_z(v.imag) for b, v in zip(bases, inverse.vectors.factors)]
        weights = inverse.reciprocal.abs().square() * deviation**2
        for axis, matrix in enumerate(inverse.inverses.factors):
            weights = along(weights, torch.diag(matrix.abs().square().sum(1)), axis)
        self._weights = weights
        one = torch.zeros(1, dtype=torch.float64)
        self._prior = math.prod(float(basis.kernel.k(one)) for basis in bases)

    def _squares(self, axis: int, x: Float[Tensor, " m"]) -> tuple[Tensor, Tensor]:
        phi = self._bases[axis].at(x)
        return phi.square().sum(1), (phi.to(torch.complex128) @ self._maps[axis]).abs().square()

    def at_points(self, points: Float[Tensor, "m d"]) -> Float[Tensor, " m"]:
        """Standard deviations at scattered points."""
        found = []
        for part in points.split(_CHUNK):
            pairs = [self._squares(axis, part[:, axis]) for axis in range(len(self._bases))]
            seen = torch.stack([pair[0] for pair in pairs]).prod(0)
            found.append((self._prior - seen).clamp(min=0) + contract([pair[1] for pair in pairs], self._weights))
        return torch.cat(found).sqrt()

    def on_grid(self, axes: Sequence[Float[Tensor, " m"]]) -> Float[Tensor, "..."]:
        """The same on a tensor grid."""
        pairs = [self._squares(axis, x) for axis, x in enumerate(axes)]
        seen = torch.ones((), dtype=torch.float64)
        for pair in pairs:
            seen = seen[..., None] * pair[0]
        return ((self._prior - seen).clamp(min=0) + Kronecker(*(p[1] for p in pairs)).on_grid(self._weights)).sqrt()
