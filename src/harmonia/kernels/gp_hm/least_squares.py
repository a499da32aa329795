"""The paper's objective for given kernels, minimised at once: noisy equations, noisy measurements, error bars.

``1/2 |z|^2 + v/2 |N[u] - f|^2 + 1/2 sum_j (u(p_j) - y_j)^2 / s_j^2`` over the whitened coordinates z that keep the
boundary conditions, by a QR factorisation of ``[1; sqrt(v) L; ...]`` (normal equations would square a condition number
of 1e8) and, for nonlinear equations, by Gauss and Newton. The precision v of the equation has the closed form
``n / |N[u] - f|^2`` (variable projection), which the official code approaches by Adam.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.gp_hm.basis import AxisBasis
from harmonia.kernels.gp_hm.galerkin import Fields, not_finite
from harmonia.kernels.gp_hm.operators import Equation, Order
from harmonia.parts.gram import Kronecker

ENTRIES = 40_000_000
"""Most numbers in the matrix that is factorised."""

_PRECISE = 1e-12
"""The equation's noise is at least this, relative to the source."""


class Measurements(NamedTuple):
    """Values of u at scattered points, with the standard deviation of the noise of each."""

    points: Tensor
    values: Tensor
    noise: Tensor

    def with_others(self, others: Measurements | None) -> Measurements:
        """These after the others, if there are any."""
        return self if others is None else Measurements(*(torch.cat(pair) for pair in zip(others, self)))


class Posterior(NamedTuple):
    """The solution and its covariance.

    Attributes:
        z: Whitened coordinates.
        residual: ``N[u] - source`` on the grid.
        relative: Its size relative to `galerkin.Measured.size`.
        root: ``root root^T`` is the covariance of z, flattened.
    """

    z: Tensor
    residual: Tensor
    relative: float
    root: Tensor


def solve(
    equation: Equation,
    orders: Sequence[Order],
    bases: Sequence[AxisBasis],
    source: Float[Tensor, "..."],
    measurements: Measurements | None = None,
    noise: float | None = None,
    max_steps: int = 30,
    tolerance: float = 1e-9,
) -> Posterior:
    """Minimise the objective.

    Arguments:
        equation: N.
        orders: The derivatives it uses.
        bases: The prior of each axis with its conditions, which hold exactly.
        source: On the grid.
        measurements: Of u at scattered points.
        noise: Standard deviation of the equation's residual; learned in closed form unless given.
        max_steps: Most steps of Gauss-Newton and of the noise.
        tolerance: It stops when the solution moves less than this, relative.

    Raises:
        InputError: a problem whose matrix would be too large, an equation that is not finite at the first guess, or a
            solution that does not stay finite.
    """
    n, free = source.numel(), math.prod(basis.free.shape[1] for basis in bases)
    rows = n + free + (0 if measurements is None else len(measurements.values))
    if rows * free > ENTRIES:
        got = f"{rows:,} x {free:,} numbers"
        mend = "Take fewer points or a smaller 'freq_scale' (in a file 'max_frequency')."
        raise InputError("least squares need a matrix too large", got, mend)
    fields = Fields(bases)
    z = fields.lifted()
    to_z = Kronecker(*(basis.free for basis in bases))
    columns = {
        order: Kronecker(*(basis.on_grid(m) @ basis.free for basis, m in zip(bases, order))).dense() for order in orders
    }
    seen = None if measurements is None else pointwise(bases, measurements.points, (0,) * len(bases))
    # Along the conditions z is fixed; the prior's pull there is constant and drops out.
    y = torch.zeros(tuple(basis.free.shape[1] for basis in bases), dtype=torch.float64).reshape(-1)
    # Without a source nothing tells the size of the residual: the prior and the measurements come first, alone.
    base, deviation = z, noise if noise is not None else 1e-6 * _size(source) or math.inf
    steps = 0
    while True:
        near, residual, size = fields.measured(equation, orders, z, source)
        if not near.finite:
            raise not_finite()
        size /= math.sqrt(n)
        jacobian = torch.stack([near.coefficients[order].reshape(-1, 1) * columns[order] for order in orders]).sum(0)
        if noise is None and steps:
            deviation = max(float(residual.square().mean().sqrt()), _PRECISE * size)
        blocks = [torch.eye(free, dtype=torch.float64), jacobian / deviation]
        wanted = [torch.zeros(free, dtype=torch.float64), (jacobian @ y - residual.reshape(-1)) / deviation]
        if seen is not None and measurements is not None:
            blocks.append(seen @ to_z.dense() / measurements.noise[:, None])
            wanted.append((measurements.values - seen @ base.reshape(-1)) / measurements.noise)
        q, r = torch.linalg.qr(torch.cat(blocks))
        found = torch.linalg.solve_triangular(r, (q.T @ torch.cat(wanted))[:, None], upper=True)[:, 0]
        moved = float((found - y).norm()) / max(float(found.norm()), 1e-300)
        if steps and (moved <= tolerance or steps >= max_steps):
            break
        y, steps = found, steps + 1
        z = base + to_z.on_grid(y.reshape(to_z.columns))
        if not z.isfinite().all():
            raise InputError("the solution does not stay finite", "NaN", "Check equation and conditions.")
    root = to_z @ torch.linalg.solve_triangular(r, torch.eye(free, dtype=torch.float64), upper=True)
    return Posterior(z, residual, _size(residual) / size, root)


def pointwise(bases: Sequence[AxisBasis], points: Float[Tensor, "m d"], order: Order) -> Float[Tensor, "m k"]:
    """Products of the basis functions of all axes at scattered points, one row a point."""
    rows = bases[0].at(points[:, 0], order[0])
    for axis in range(1, len(bases)):
        rows = (rows[:, :, None] * bases[axis].at(points[:, axis], order[axis])[:, None]).reshape(len(points), -1)
    return rows


def _size(values: Tensor) -> float:
    return float(values.square().mean().sqrt())
