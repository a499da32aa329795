"""An equation solved in the span of a Gaussian process: Galerkin's method with the prior's own functions.

The prior on a tensor grid is a Kronecker product, so its functions are products of functions of one axis
(`AxisBasis`); those that keep the boundary conditions are the process conditioned on them. The residual is made
orthogonal to all of them. For a sum of operators of one axis each, as Poisson's or Helmholtz' equation, that is a
Kronecker sum, solved directly in the eigenvectors of the small matrices; anything else (variable coefficients,
mixed derivatives, nonlinear equations by Newton's method) is solved by GMRES with that as the preconditioner.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator as Products
from scipy.sparse.linalg import gmres
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.gp_hm.basis import AxisBasis
from harmonia.kernels.gp_hm.operators import Equation, Linearised, Order, linearised
from harmonia.parts.gram import Kronecker, along

_SINGULAR = 1e-11
"""Eigenvalues this small, relative to the largest, are zero: nothing of a solution lies there."""

_OPEN = 1e-3
"""The least eigenvalue, relative to the next, that says that the equation leaves a function undecided."""


class Solution(NamedTuple):
    """A solution and how well it keeps the equation.

    Attributes:
        z: Its whitened coordinates in the prior; ``sum(z^2)`` is its squared norm there.
        residual: ``N[u] - source`` on the grid.
        relative: Root mean square of the residual, relative to that of the source and of the equation's terms.
        newton: Newton steps (1 for a linear equation).
        undecided: Whether the equation and its conditions leave a direction of the solution open.
        respond: To the z by which the solution moves when the source changes by the given values on the grid.
    """

    z: Tensor
    residual: Tensor
    relative: float
    newton: int
    undecided: bool
    respond: Callable[[Tensor], Tensor]


class Fields:
    """Derivatives on the grid of functions given by their whitened coordinates z."""

    def __init__(self, bases: Sequence[AxisBasis]) -> None:
        self.bases = bases

    def of(self, z: Float[Tensor, "..."], order: Order) -> Float[Tensor, "..."]:
        """One derivative on the grid."""
        return Kronecker(*(basis.on_grid(m) for basis, m in zip(self.bases, order))).on_grid(z)

    def lifted(self, near: Float[Tensor, "..."] | None = None) -> Float[Tensor, "..."]:
        """The z nearest to zero, or to `near`, that meets all boundary conditions.

        A Boolean sum over the axes (a Coons patch of the prior's own functions). Where conditions of two axes
        contradict each other in a corner, those of the later axis hold.
        """
        shape = tuple(basis.rank for basis in self.bases)
        z = torch.zeros(shape, dtype=torch.float64) if near is None else near
        for axis, basis in enumerate(self.bases):
            if not basis.rows:
                continue
            wanted = torch.stack([row.values for row in basis.rows], dim=axis)
            for other, across in enumerate(self.bases):
                if other != axis:
                    wanted = along(wanted, across.scale.T, other)
            z = z + along(wanted - along(z, basis.conditions, axis), basis.lift, axis)
        return z


class KroneckerSum:
    """``sum_i I x .. C_i .. x I + shift``, inverted in the eigenvectors of the C_i; a single C_1 by elimination.

    Arguments:
        matrices: One small matrix an axis, not necessarily symmetric.
        shift: A number.

    Attributes:
        undecided: Whether an eigenvalue of the sum is zero, or far below all others.
    """

    def __init__(self, matrices: Sequence[Float[Tensor, "_ _"]], shift: float) -> None:
        self._factors = None
        if len(matrices) == 1:
            factors, pivots = torch.linalg.lu_factor(matrices[0] + shift * torch.eye(len(matrices[0])))
            sizes = factors.diagonal().abs()
            if sizes.min() > _SINGULAR * sizes.max():
                self._factors = factors, pivots
                self.undecided = self._one_is_open()
                return
        pairs = [torch.linalg.eig(matrix) for matrix in matrices]
        self._vectors = Kronecker(*(vectors for _, vectors in pairs))
        self._inverses = Kronecker(*(torch.linalg.inv(vectors) for _, vectors in pairs))
        total = torch.full((), shift, dtype=torch.complex128)
        for values, _ in pairs:
            total = total[..., None] + values
        sizes = total.abs()
        open_ = sizes <= _SINGULAR * sizes.max()
        least = sizes.reshape(-1).topk(min(2, sizes.numel()), largest=False).values
        self.undecided = bool(least[0] <= _OPEN * least[-1]) and sizes.numel() > 1
        self._reciprocal = torch.where(open_, 0.0, 1 / torch.where(open_, 1.0, total))

    def _one_is_open(self) -> bool:
        """Inverse iteration with two vectors: whether the least singular value lies far below the second."""
        assert self._factors is not None
        n = len(self._factors[0])
        found = torch.randn(n, min(2, n), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        for _ in range(4):
            found = torch.linalg.lu_solve(*self._factors, torch.linalg.qr(found)[0])
        sizes = torch.linalg.svdvals(found)
        return len(sizes) > 1 and bool(sizes[1] <= _OPEN * sizes[0])

    def solve(self, b: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The solution, with nothing along directions whose eigenvalue is zero."""
        if self._factors is not None:
            return torch.linalg.lu_solve(*self._factors, b[:, None])[:, 0]
        waves = self._inverses.on_grid(b.to(torch.complex128)) * self._reciprocal
        return self._vectors.on_grid(waves).real


class _Projected:
    """A linearised equation, projected on the orthonormal functions of the grid."""

    def __init__(self, bases: Sequence[AxisBasis], coefficients: dict[Order, Tensor]) -> None:
        self._bases = bases
        self._terms = [
            (values, Kronecker(*(basis.derivative(m) for basis, m in zip(bases, order))))
            for order, values in coefficients.items()
        ]
        self._test = Kronecker(*(basis.orthonormal[0] for basis in bases))
        self._coefficients = coefficients

    def project(self, values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """``Q^T values``, along every axis."""
        return self._test.T.on_grid(values)

    def __call__(self, y: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return self.project(torch.stack([values * term.on_grid(y) for values, term in self._terms]).sum(0))

    @cached_property
    def inverse(self) -> KroneckerSum:
        """The inverse of its part that acts along single axes, with mean coefficients; in one dimension of all."""
        dimensions = len(self._bases)
        matrices, shift = [], 0.0
        for axis, basis in enumerate(self._bases):
            matrix = torch.zeros(2 * (basis.orthonormal[0].shape[1],), dtype=torch.float64)
            for order, values in self._coefficients.items():
                if order[axis] and sum(order) == order[axis]:
                    weight = values[:, None] if dimensions == 1 else values.mean()
                    matrix = matrix + basis.orthonormal[0].T @ (weight * basis.derivative(order[axis]))
            matrices.append(matrix)
        identity = self._coefficients.get((0,) * dimensions)
        if identity is not None and dimensions == 1:
            q = self._bases[0].orthonormal[0]
            matrices[0] = matrices[0] + q.T @ (identity[:, None] * q)
        elif identity is not None:
            shift = float(identity.mean())
        return KroneckerSum(matrices, shift)

    def solve(self, b: Float[Tensor, "..."], tolerance: float) -> Float[Tensor, "..."]:
        """``Q^T L Q y = b``: directly, then by GMRES as far as that was not exact."""
        y = self.inverse.solve(b)
        size = float(b.norm())
        if not size or float((b - self(y)).norm()) <= tolerance * size:
            return y
        shape, count = b.shape, b.numel()

        def flat(function):
            return lambda x: function(torch.from_numpy(np.array(x)).reshape(shape)).reshape(-1).numpy()

        operator = Products((count, count), flat(self), dtype=np.float64)
        inverse = Products((count, count), flat(self.inverse.solve), dtype=np.float64)
        found, _ = gmres(
            operator,
            b.reshape(-1).numpy(),
            x0=y.reshape(-1).numpy(),
            M=inverse,
            rtol=tolerance,
            restart=min(40, count),
            maxiter=5,
        )
        return torch.from_numpy(found).reshape(shape)


def solve(
    equation: Equation,
    orders: Sequence[Order],
    bases: Sequence[AxisBasis],
    source: Float[Tensor, "..."],
    start: Float[Tensor, "..."] | None = None,
    tolerance: float = 1e-10,
    max_newton: int = 30,
) -> Solution:
    """Solve ``N[u] = source`` with boundary conditions, for given kernels.

    Arguments:
        equation: N.
        orders: The derivatives it uses.
        bases: The prior of each axis with its conditions.
        source: On the grid.
        start: Whitened coordinates of a first guess, for nonlinear equations.
        tolerance: Of the projected residual, relative to the largest term.
        max_newton: Most steps of Newton's method.

    Raises:
        InputError: a solution that does not stay finite.
    """
    fields, points = Fields(bases), torch.meshgrid(*(basis.lags.x for basis in bases), indexing="ij")
    z = fields.lifted(start)
    steps = 0

    def measure(z: Tensor) -> tuple[Linearised, Tensor, float]:
        values = {order: fields.of(z, order) for order in orders}
        near = linearised(equation, values, points)
        sizes = [float((near.coefficients[order] * values[order]).norm()) for order in orders]
        return near, near.value - source, max([float(source.norm()), *sizes]) or 1.0

    near, residual, size = measure(z)
    projected = _Projected(bases, near.coefficients)
    error = float(projected.project(residual).norm())
    while steps < max_newton and not error <= tolerance * size:
        steps += 1
        y = projected.solve(-projected.project(residual), tolerance=1e-3 * tolerance if steps == 1 else tolerance)
        move, length = _to_z(bases, y), 1.0
        while True:
            candidate = z + length * move
            near, moved, size = measure(candidate)
            projected = _Projected(bases, near.coefficients)
            smaller = float(projected.project(moved).norm())
            if smaller < error or length < 1e-3:
                break
            length /= 2
        if not math.isfinite(smaller):
            raise InputError(
                "the solution does not stay finite", f"residual {smaller}", "Check equation and conditions."
            )
        stalled = not smaller < 0.9 * error
        if smaller < error:
            z, residual, error = candidate, moved, smaller
        if stalled:
            break

    def respond(change: Tensor) -> Tensor:
        return _to_z(bases, projected.solve(projected.project(change), tolerance=1e-3))

    return Solution(z, residual, float(residual.norm()) / size, max(steps, 1), projected.inverse.undecided, respond)


def _to_z(bases: Sequence[AxisBasis], y: Tensor) -> Tensor:
    """From coordinates along the orthonormal functions of the grid to whitened ones."""
    for axis, basis in enumerate(bases):
        y = torch.movedim(basis.to_z(torch.movedim(y, axis, 0)), 0, axis)
    return y
