"""Positive semi-definite matrices: the nearest one, divergences of their Gaussians, geodesics between them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.gram.cholesky import Cholesky


def nearest_psd(matrix: Float[Tensor, "*batch n n"], floor: float = 0.0) -> Float[Tensor, "*batch n n"]:
    """The symmetric matrix without eigenvalues below `floor` that is nearest in the Frobenius norm.

    The symmetric part with its eigenvalues clipped (Higham 1988): for kernels that are not quite positive
    semi-definite, from noisy estimates, rounding or a similarity that is no kernel.

    Raises:
        InputError: a matrix that is not finite, or a negative floor.

    Example:
        >>> nearest_psd(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        tensor([[0.5000, 0.5000],
                [0.5000, 0.5000]])
    """
    if not floor >= 0:
        raise InputError("eigenvalues of a positive semi-definite matrix are not negative", floor, "Give floor >= 0.")
    if not matrix.isfinite().all():
        raise InputError("the matrix is not finite", "NaN or infinity", "Check the inputs and the kernel.")
    values, vectors = torch.linalg.eigh((matrix + matrix.mT) / 2)
    repaired = (vectors * values.clamp(min=floor)[..., None, :]) @ vectors.mT
    return (repaired + repaired.mT) / 2


def gaussian_kl(covariance: Float[Tensor, "n n"], other: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
    """``KL(N(0, G) || N(0, K)) = (tr K^-1 G - log |K^-1 G| - n) / 2``, in nats.

    Arguments:
        covariance: G.
        other: K.

    Raises:
        InputError: matrices that are not positive definite.

    Example:
        >>> float(gaussian_kl(torch.eye(2), 2 * torch.eye(2)))  # (1 + 2 log 2 - 2) / 2
        0.193147...
    """
    return gaussian_kl_of_factors(Cholesky(covariance).factor, Cholesky(other).factor)


def gaussian_kl_of_factors(factor: Float[Tensor, "n n"], other: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
    """The same by lower triangular factors ``G = F F^T`` and ``K = L L^T``, which are often there already."""
    relative = torch.linalg.solve_triangular(other, factor, upper=False)
    return gaussian_kl_of_relative_factor(relative)


def gaussian_kl_of_relative_factor(relative: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
    """The same by ``L^-1 F``, lower triangular with a positive diagonal."""
    return relative.square().sum() / 2 - relative.diagonal().log().sum() - len(relative) / 2


def geodesic(start: Float[Tensor, "n n"], end: Float[Tensor, "m m"], t: float) -> Float[Tensor, "n n"]:
    """The point ``A (A^-1 B)^t`` of the shortest path from A to B among positive definite matrices, in float64.

    The path of the affine-invariant metric (Bhatia 2007, Thm. 6.1.6); its middle is the geometric mean.

    Arguments:
        start: A.
        end: B, which may be singular for t >= 0.
        t: 0 at A, 1 at B.

    Raises:
        InputError: a start that is not positive definite, or matrices of different sizes.

    Example:
        >>> geodesic(torch.eye(2), torch.diag(torch.tensor([4.0, 9.0])), 0.5).diagonal()
        tensor([2., 3.], dtype=torch.float64)
    """
    if start.shape != end.shape:
        raise InputError("a path joins matrices of one size", f"{tuple(start.shape)} and {tuple(end.shape)}", "Check.")
    whitening = Cholesky(start)
    relative = whitening.whiten(whitening.whiten(end.double()).mT)
    values, vectors = torch.linalg.eigh((relative + relative.mT) / 2)
    root = whitening.factor @ vectors
    return (root * values.clamp(min=0).pow(t)) @ root.mT
