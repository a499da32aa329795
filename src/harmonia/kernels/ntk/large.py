"""Kernel regression on very many rows: conjugate gradients on a matrix that is never stored."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.core.progress import say, track
from harmonia.parts.gram import KernelOperator


def ridge_by_conjugate_gradients(
    operator: KernelOperator,
    targets: Float[Tensor, "n k"],
    ridge: float,
    *,
    rank: int = 500,
    tolerance: float = 1e-5,
    iterations: int = 200,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "n k"]:
    """Solve ``(K + ridge) alpha = y`` by products with K.

    Each iteration computes K once. The preconditioner is the Nystrom approximation of K from `rank` rows,
    ``P = B B^T + ridge``, applied by Woodbury's identity, which leaves only the small eigenvalues to the iterations.

    Arguments:
        operator: Symmetric kernel operator.
        targets: Right-hand sides.
        ridge: Absolute ridge, above 0.
        rank: Rows of the preconditioner.
        tolerance: Largest relative residual.
        iterations: Most iterations before it gives up.
        generator: Chooses the rows.

    Raises:
        InputError: no ridge, or no convergence.

    Example:
        >>> class Linear:
        ...     def __call__(self, x1, x2=None):
        ...         return x1 @ (x1 if x2 is None else x2).T
        >>> x = torch.tensor([[1.0], [2.0]], dtype=torch.float64)
        >>> alpha = ridge_by_conjugate_gradients(KernelOperator(Linear(), x), 6 * x, 1.0)
        >>> [round(v, 4) for v in alpha.flatten().tolist()]
        [1.0, 2.0]
    """
    if not ridge > 0:
        raise InputError("conjugate gradients need a ridge above 0", ridge, "Give e.g. ridge=1e-6, or solver='direct'.")
    targets = targets.double()
    n = len(targets)
    rows = torch.randperm(n, generator=generator)[: min(rank, n)]
    cross = operator.rows(rows).double().T
    core = cross[rows]
    core = core + 1e-10 * core.diagonal().mean() * torch.eye(len(rows), dtype=torch.float64)
    basis = torch.linalg.solve_triangular(torch.linalg.cholesky(core), cross.T, upper=False).T
    small = torch.linalg.cholesky(basis.T @ basis + ridge * torch.eye(len(rows), dtype=torch.float64))

    def precondition(v: Tensor) -> Tensor:
        return (v - basis @ torch.cholesky_solve(basis.T @ v, small)) / ridge

    alpha = torch.zeros_like(targets)
    residual = targets.clone()
    direction = precondition(residual)
    power = (residual * direction).sum(0)
    goal = tolerance * targets.norm(dim=0).clamp_min(torch.finfo(torch.float64).tiny)
    for step in track(range(iterations), "Conjugate gradients"):
        product = operator @ direction + ridge * direction
        stride = power / (direction * product).sum(0).clamp_min(torch.finfo(torch.float64).tiny)
        alpha += stride * direction
        residual -= stride * product
        if (residual.norm(dim=0) <= goal).all():
            say(f"Conjugate gradients converged in {step + 1} iterations.")
            return alpha
        better = precondition(residual)
        after = (residual * better).sum(0)
        direction = better + after / power.clamp_min(torch.finfo(torch.float64).tiny) * direction
        power = after
    worst = float((residual.norm(dim=0) / targets.norm(dim=0)).max())
    raise InputError(
        f"conjugate gradients did not converge in {iterations} iterations",
        f"a relative residual of {worst:.1e}",
        "Give a larger ridge.",
    )
