"""A solution at any points: values, derivatives and standard deviations from its whitened coordinates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.kernels.gp_hm.basis import AxisBasis
from harmonia.kernels.gp_hm.operators import Order
from harmonia.parts.gram import Kronecker

_CHUNK = 4096
_NUMBERS = 1 << 24
"""Held at once on a grid."""


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
    bases: Sequence[AxisBasis], z: Float[Tensor, "..."], axes: Sequence[Float[Tensor, "_"]], order: Order
) -> Float[Tensor, "..."]:
    """The same on a tensor grid, at the cost of two small products an axis."""
    return Kronecker(*(basis.at(x, m) for basis, x, m in zip(bases, axes, order))).on_grid(z)


def unseen_on_grid(bases: Sequence[AxisBasis], rows: Sequence[Float[Tensor, "_ _"]]) -> Float[Tensor, "..."]:
    """Variance of the prior that the solver's grid does not see, ``prod k_i(0) - prod |phi_i(x_i)|^2``.

    Arguments:
        bases: Of the axes.
        rows: Their functions at the points of each axis.
    """
    seen = torch.ones((), dtype=torch.float64)
    for row in rows:
        seen = seen[..., None] * row.square().sum(1)
    return (prior_variance(bases) - seen).clamp(min=0)


def prior_variance(bases: Sequence[AxisBasis]) -> float:
    """Of the process itself, the same at all points."""
    one = torch.zeros(1, dtype=torch.float64)
    return math.prod(float(basis.kernel.k(one)) for basis in bases)


def posterior_on_grid(
    bases: Sequence[AxisBasis], root: Float[Tensor, "k free"], axes: Sequence[Float[Tensor, "_"]]
) -> Float[Tensor, "..."]:
    """Standard deviation on a tensor grid when z has the covariance ``R R^T``.

    Arguments:
        bases: Of the axes.
        root: R, with the coordinates of all axes in one, the last running fastest.
        axes: Points of each axis.
    """
    first, *others = rows = [basis.at(x) for basis, x in zip(bases, axes)]
    factors = root.reshape(*(basis.rank for basis in bases), -1)
    parts = first.split(max(1, _NUMBERS // (math.prod(map(len, others)) * root.shape[1])))
    known = torch.cat([Kronecker(part, *others).on_grid(factors).square().sum(-1) for part in parts])
    return (unseen_on_grid(bases, rows) + known).sqrt()


class Spread:
    """Variance of the solution: of what the grid does not see of the prior, and of what the equation leaves open.

    The first is ``v (prod k_i(0) - prod |phi_i(x)|^2)``, the prior's variance given the values on the grid, with the
    size of the prior that is most evident of these values, ``v = |z|^2 / n``. The second is the estimated error, with
    the shape of the solver's answers to noise in the source: nothing where conditions hold, more where the equation
    lets errors grow. Its size is not that of noise as large as the residual: the residual is orthogonal to all
    functions of the solver, made of waves that the solution hardly answers to, and noise is not.

    Arguments:
        bases: Of the axes.
        z: The solution's coordinates.
        respond: How they answer to a change of the source.
        error: Of the solution, relative; estimated.
        draws: Of noise; the shape is known to ``1 / sqrt(2 draws)``.
        seed: Of the draws.
    """

    def __init__(
        self,
        bases: Sequence[AxisBasis],
        z: Float[Tensor, "..."],
        respond: Callable[[Tensor], Tensor],
        error: float,
        draws: int = 32,
        seed: int = 0,
    ) -> None:
        self._bases = bases
        generator = torch.Generator().manual_seed(seed)
        shape = tuple(len(basis.lags.x) for basis in bases)
        answers = [respond(torch.randn(shape, generator=generator, dtype=torch.float64)) for _ in range(draws)]
        grid = Kronecker(*(basis.on_grid() for basis in bases))
        square = sum(float(grid.on_grid(answer).square().sum()) for answer in answers) / draws
        size = error * float(grid.on_grid(z).norm()) / math.sqrt(square) if square else 0.0
        self._draws = [size * answer for answer in answers]
        self._share = float(z.square().sum()) / math.prod(shape)

    def at_points(self, points: Float[Tensor, "m d"]) -> Float[Tensor, " m"]:
        """Standard deviations at scattered points."""
        order = (0,) * len(self._bases)
        seen = [basis.at(points[:, axis]).square().sum(1) for axis, basis in enumerate(self._bases)]
        variance = self._share * (prior_variance(self._bases) - torch.stack(seen).prod(0)).clamp(min=0)
        for z in self._draws:
            variance += at_points(self._bases, z, points, order).square() / len(self._draws)
        return variance.sqrt()

    def on_grid(self, axes: Sequence[Float[Tensor, "_"]]) -> Float[Tensor, "..."]:
        """The same on a tensor grid."""
        rows = Kronecker(*(basis.at(x) for basis, x in zip(self._bases, axes)))
        variance = self._share * unseen_on_grid(self._bases, rows.factors)
        for z in self._draws:
            variance += rows.on_grid(z).square() / len(self._draws)
        return variance.sqrt()
