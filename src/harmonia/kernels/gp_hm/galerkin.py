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
from harmonia.kernels.gp_hm.kernel import HIGHEST_ORDER
from harmonia.kernels.gp_hm.operators import Equation, Linearised, Order, linearised
from harmonia.parts.gram import Kronecker, along

_SINGULAR = 1e-11
"""Eigenvalues this small, relative to the largest, are zero: nothing of a solution lies there."""

_OPEN = 1e-3
"""An eigenvalue, relative to the next larger one, that says that the equation leaves functions undecided."""


class Solution(NamedTuple):
    """A solution and how well it keeps the equation.

    Attributes:
        z: Its whitened coordinates in the prior; ``sum(z^2)`` is its squared norm there.
        residual: ``N[u] - source`` on the grid.
        relative: Root mean square of the residual, relative to `Measured.size`.
        undecided: Whether the equation and its conditions leave directions of the solution open.
        respond: To the z by which the solution moves when the source changes by the given values on the grid.
    """

    z: Tensor
    residual: Tensor
    relative: float
    undecided: bool
    respond: Callable[[Tensor], Tensor]


class Measured(NamedTuple):
    """An equation at a solution.

    Attributes:
        near: The equation there.
        residual: ``N[u] - source`` on the grid.
        size: Norm of the source or of the equation's largest term. A term counts at least as that of half a wave of the
            size of u over the domain, and as what rounding (the root of `jitter`) leaves of the grid's fastest wave:
            where source and terms vanish, as for a constant, rounding would else be measured by itself.
    """

    near: Linearised
    residual: Tensor
    size: float


class Fields:
    """Derivatives on the grid of functions given by their whitened coordinates z."""

    def __init__(self, bases: Sequence[AxisBasis]) -> None:
        self.bases = bases

    def of(self, z: Float[Tensor, "..."], order: Order) -> Float[Tensor, "..."]:
        """One derivative on the grid."""
        return Kronecker(*(basis.on_grid(m) for basis, m in zip(self.bases, order))).on_grid(z)

    def measured(
        self, equation: Equation, orders: Sequence[Order], z: Float[Tensor, "..."], source: Float[Tensor, "..."]
    ) -> Measured:
        """An equation at the solution z."""
        axes = [basis.lags.x for basis in self.bases]
        values = {order: self.of(z, order) for order in orders}
        near = linearised(equation, values, torch.meshgrid(*axes, indexing="ij"))
        zero = (0,) * len(axes)
        u = values[zero] if zero in values else self.of(z, zero)
        slow = [math.pi / float(x[-1] - x[0]) for x in axes]
        fast = [wave * (len(x) - 1) for wave, x in zip(slow, axes)]
        rounding = math.sqrt(self.bases[0].jitter)
        sizes = [float(source.norm())]
        for order in orders:
            sizes.append(float((near.coefficients[order] * values[order]).norm()))
            least, most = (math.prod(map(pow, waves, order)) for waves in (slow, fast))
            sizes.append(max(least, rounding * most) * float((near.coefficients[order] * u).norm()))
        return Measured(near, near.value - source, max(sizes) or 1.0)

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
        undecided: Whether eigenvalues of the sum are zero, or far below all others.
    """

    def __init__(self, matrices: Sequence[Float[Tensor, "_ _"]], shift: float) -> None:
        self._factors = None
        if len(matrices) == 1:
            factors, pivots = torch.linalg.lu_factor(matrices[0] + shift * torch.eye(len(matrices[0])))
            sizes = factors.diagonal().abs()
            if sizes.min() > _SINGULAR * sizes.max():
                self._factors = factors, pivots
                self.undecided = self._some_are_open()
                return
        pairs = [torch.linalg.eig(matrix) for matrix in matrices]
        self._vectors = Kronecker(*(vectors for _, vectors in pairs))
        self._inverses = Kronecker(*(torch.linalg.inv(vectors) for _, vectors in pairs))
        total = torch.full((), shift, dtype=torch.complex128)
        for values, _ in pairs:
            total = total[..., None] + values
        sizes = total.abs()
        open_ = sizes <= _SINGULAR * sizes.max()
        self.undecided = _gap(sizes.reshape(-1).sort().values[: max(2, sizes.numel() // 2)])
        self._reciprocal = torch.where(open_, 0.0, 1 / torch.where(open_, 1.0, total))

    def _some_are_open(self) -> bool:
        """Inverse iteration for the least singular values, one more than an equation can leave open."""
        assert self._factors is not None
        n = len(self._factors[0])
        count = min(max(HIGHEST_ORDER.values()) + 1, max(2, n // 2), n)
        found = torch.randn(n, count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        for _ in range(4):
            found = torch.linalg.lu_solve(*self._factors, torch.linalg.qr(found)[0])
        return _gap(1 / torch.linalg.svdvals(found))

    def solve(self, b: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The solution, with nothing along directions whose eigenvalue is zero."""
        if self._factors is not None:
            return torch.linalg.lu_solve(*self._factors, b[:, None])[:, 0]
        waves = self._inverses.on_grid(b.to(torch.complex128)) * self._reciprocal
        return self._vectors.on_grid(waves).real


def _gap(sizes: Float[Tensor, " n"]) -> bool:
    """Whether some of increasing sizes lie far below all that follow."""
    return bool((sizes[:-1] <= _OPEN * sizes[1:]).any())


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
        InputError: an equation that is not finite at the first guess, or a solution that does not stay finite.
    """
    fields = Fields(bases)
    z = fields.lifted(start)
    steps = 0

    def measure(z: Tensor) -> tuple[_Projected, Tensor, float, float]:
        near, residual, size = fields.measured(equation, orders, z, source)
        projected = _Projected(bases, near.coefficients)
        error = float(projected.project(residual).norm()) if near.finite else math.inf
        return projected, residual, size, error

    projected, residual, size, error = measure(z)
    if not math.isfinite(error):
        raise not_finite()
    while steps < max_newton and not error <= tolerance * size:
        steps += 1
        y = projected.solve(-projected.project(residual), tolerance=1e-3 * tolerance if steps == 1 else tolerance)
        move, length = _to_z(bases, y), 1.0
        while True:
            candidate = z + length * move
            projected, moved, size, smaller = measure(candidate)
            if smaller < error or length < 1e-3:
                break
            length /= 2
        if not math.isfinite(smaller):
            got = f"residual {smaller}"
            raise InputError("the solution does not stay finite", got, "Check equation and conditions.")
        stalled = not smaller < 0.9 * error
        if smaller < error:
            z, residual, error = candidate, moved, smaller
        if stalled:
            break

    def respond(change: Tensor) -> Tensor:
        return _to_z(bases, projected.solve(projected.project(change), tolerance=1e-3))

    return Solution(z, residual, float(residual.norm()) / size, projected.inverse.undecided, respond)


def not_finite() -> InputError:
    """Of an equation, or of its derivative by u."""
    mend = "Check coefficients and source, and whether it allows the values on the sides, e.g. u = 0 in 1/u or sqrt(u)."
    return InputError("the equation is not finite at a guess of its solution", "NaN or infinity", mend)


def _to_z(bases: Sequence[AxisBasis], y: Tensor) -> Tensor:
    """From coordinates along the orthonormal functions of the grid to whitened ones."""
    for axis, basis in enumerate(bases):
        y = torch.movedim(basis.to_z(torch.movedim(y, axis, 0)), 0, axis)
    return y
