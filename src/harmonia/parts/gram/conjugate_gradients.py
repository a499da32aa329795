"""Conjugate gradients for many right-hand sides at once, preconditioned, with a report of how they converged."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Inexact
from torch import Tensor

from harmonia.core.errors import InputError

Map = Callable[[Tensor], Tensor]


class Solved(NamedTuple):
    """A solution and how far it can be trusted.

    Attributes:
        solution: x of ``A x = b``, one system a column.
        residual: ``|b - A x| / |b|`` of each column, by the recurrence; 0 for b = 0.
        converged: Whether each column reached the tolerance.
        iterations: Products with the matrix.
    """

    solution: Tensor
    residual: Tensor
    converged: Tensor
    iterations: int


def conjugate_gradients(
    matmul: Map,
    b: Inexact[Tensor, "n *columns"],
    *,
    preconditioner: Map | None = None,
    start: Inexact[Tensor, "n *columns"] | None = None,
    tolerance: float = 1e-10,
    max_iterations: int = 1000,
) -> Solved:
    """Solve ``A x = b`` for a symmetric (Hermitian) positive definite A that is only known by its products.

    Every column has its own step lengths (Hestenes and Stiefel 1952), so that systems of different difficulty do not
    disturb each other; columns that have converged stand still.

    Arguments:
        matmul: ``x -> A x`` on tensors of the shape of `b`.
        b: Right-hand sides, real or complex.
        preconditioner: ``r -> M^{-1} r`` with M close to A and positive definite.
        start: Where to begin; zero unless given.
        tolerance: Of the residual, relative to b.
        max_iterations: After so many products it stops, converged or not: look at the report.

    Raises:
        InputError: right-hand sides that are not finite, or a matrix that is not positive definite.

    Example:
        >>> matrix = torch.tensor([[2.0, 1.0], [1.0, 3.0]], dtype=torch.float64)
        >>> found = conjugate_gradients(lambda x: matrix @ x, torch.tensor([3.0, 4.0], dtype=torch.float64))
        >>> [round(value, 9) for value in found.solution.tolist()], bool(found.converged), found.iterations
        ([1.0, 1.0], True, 2)
    """
    if not torch.isfinite(b).all():
        raise InputError("the right-hand side is not finite", "NaN or infinity", "Check the inputs.")
    x = torch.zeros_like(b) if start is None else start.clone()
    residual = b - matmul(x) if start is not None else b.clone()
    products = 0 if start is None else 1
    size = b.abs().square().sum(0).sqrt()
    scale = torch.where(size > 0, size, 1.0)

    def relative() -> Float[Tensor, "*columns"]:
        return residual.abs().square().sum(0).sqrt() / scale

    def inner(left: Tensor, right: Tensor) -> Tensor:
        return (left.conj() * right).sum(0).real

    image = residual if preconditioner is None else preconditioner(residual)
    direction, slope = image.clone(), inner(residual, image)
    active: Bool[Tensor, "*columns"] = relative() > tolerance
    while active.any() and products < max_iterations:
        step = matmul(direction)
        products += 1
        curvature = inner(direction, step)
        if bool((active & ~(curvature > 0)).any()):
            raise InputError(
                "the matrix is not positive definite",
                f"the curvature {float(curvature[active].min() if curvature.ndim else curvature):.3g}",
                "Give one that is, e.g. with more noise.",
            )
        length = torch.where(active, slope / torch.where(active, curvature, 1.0), 0.0)
        x = x + length * direction
        residual = residual - length * step
        image = residual if preconditioner is None else preconditioner(residual)
        fresh = inner(residual, image)
        direction = image + torch.where(active, fresh / torch.where(slope > 0, slope, 1.0), 0.0) * direction
        slope = fresh
        active = active & (relative() > tolerance)
    final = relative()
    return Solved(x, final, final <= tolerance, products)
