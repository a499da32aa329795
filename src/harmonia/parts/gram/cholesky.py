"""One Cholesky factor of a kernel matrix plus noise: solves, log-determinant, whitening."""

from __future__ import annotations

from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError

_JITTERS = (0.0, 1e-14, 1e-12, 1e-10, 1e-8, 1e-6)
"""What is added to the diagonal, relative to its mean, until the factorisation succeeds."""


class Cholesky:
    """``K + noise = L L^T`` in float64, with the least jitter that makes it positive definite.

    Arguments:
        matrix: Symmetric positive semi-definite kernel matrix.
        noise: Added to its diagonal.

    Attributes:
        factor: The lower triangle L.
        jitter: What had to be added besides, absolute; 0 for a well-conditioned matrix.

    Raises:
        InputError: a matrix that is not square, not finite, or far from positive definite; a negative noise.

    Example:
        >>> found = Cholesky(torch.tensor([[2.0, 1.0], [1.0, 2.0]]), noise=1.0)
        >>> round(float(found.logdet.exp()), 6)
        8.0
        >>> [round(value, 6) for value in found.solve(torch.tensor([4.0, 4.0])).tolist()]
        [1.0, 1.0]
    """

    def __init__(self, matrix: Float[Tensor, "n m"], noise: float = 0.0) -> None:
        if matrix.shape[0] != matrix.shape[1]:
            raise InputError("a kernel matrix must be square", tuple(matrix.shape), "Pass k(X, X).")
        if not noise >= 0:
            raise InputError("the noise cannot be negative", noise, "Give noise >= 0.")
        shifted = matrix.double() + noise * torch.eye(len(matrix), dtype=torch.float64, device=matrix.device)
        if not shifted.isfinite().all():
            raise InputError("the kernel matrix is not finite", "NaN or infinity", "Check the inputs and the kernel.")
        self.factor, self.jitter = jittered_cholesky(shifted)

    @cached_property
    def logdet(self) -> Float[Tensor, ""]:
        """``log |K + noise|``."""
        return 2 * self.factor.diagonal().log().sum()

    def solve(self, b: Float[Tensor, "n *k"]) -> Float[Tensor, "n *k"]:
        """``(K + noise)^{-1} b``."""
        columns = b.to(self.factor) if b.ndim > 1 else b.to(self.factor)[:, None]
        return torch.cholesky_solve(columns, self.factor).reshape(b.shape)

    def whiten(self, b: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """``L^{-1} b``; its columns' squared norms are ``b^T (K + noise)^{-1} b``."""
        return torch.linalg.solve_triangular(self.factor, b.to(self.factor), upper=False)

    @cached_property
    def inverse(self) -> Float[Tensor, "n n"]:
        """``(K + noise)^{-1}`` itself, for gradients and leave-one-out formulas."""
        return torch.cholesky_inverse(self.factor)


def jittered_cholesky(matrix: Float[Tensor, "n n"]) -> tuple[Float[Tensor, "n n"], float]:
    """The lower triangular factor, in the matrix's own precision, and the least jitter that it takes, absolute.

    Raises:
        InputError: a matrix that is far from positive definite, or not finite.

    Example:
        >>> factor, jitter = jittered_cholesky(torch.tensor([[4.0]]))
        >>> factor, jitter
        (tensor([[2.]]), 0.0)
    """
    scale = float(matrix.detach().diagonal().mean()) if len(matrix) else 0.0
    for relative in _JITTERS:
        jitter = relative * scale
        shifted = matrix if relative == 0 else matrix + jitter * torch.eye(len(matrix)).to(matrix)
        factor, failed = torch.linalg.cholesky_ex(shifted)
        if not failed:
            return factor, jitter
    raise InputError(
        "the kernel matrix is not positive definite",
        f"{len(matrix)} rows with a mean diagonal of {scale:.3g}",
        "Give more noise, or a kernel that is positive semi-definite.",
    )
