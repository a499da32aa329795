"""Deep kernel machines without inducing points: one Gram matrix per layer, between all rows.

    L(G_1, ..., G_L) = log N(Y; 0, K(G_L) + s2 I) - sum_l nu_l KL(N(0, G_l) || N(0, K(G_{l-1})))

(arXiv:2108.13097). Every G_l is written as ``F R R^T F^T`` with ``F F^T = K(G_{l-1})``: then the divergence is that of
``R R^T`` from the identity, whatever the layers before, and R = I is the NNGP.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, SupportsFloat

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.core.checks import check_whole
from harmonia.core.errors import InputError
from harmonia.kernels.dkm.gram_kernels import GramKernel, gram_kernel
from harmonia.kernels.dkm.optimise import minimise
from harmonia.kernels.dkm.triple import triangle, untriangle
from harmonia.parts.gram import Cholesky, gaussian_kl_of_relative_factor, geodesic, jittered_cholesky

LogLikelihood = Callable[[Tensor], Tensor]
STARTS = ("nngp", "geodesic")


class DKMSolution(NamedTuple):
    """The optimum of the full objective.

    Attributes:
        gram_matrices: G_1, ..., G_L (n, n).
        top: ``K(G_L)``, the kernel of the outputs.
        objective: Its value, in nats.
        noise: Variance of the noise.
        evaluations: Evaluations of the objective.
    """

    gram_matrices: list[Tensor]
    top: Tensor
    objective: float
    noise: float
    evaluations: int


def inner_products(x: Float[Tensor, "n d"]) -> Float[Tensor, "n n"]:
    """``G_0 = X X^T / d``."""
    return x @ x.mT / x.shape[1]


def gram_chain(first: Tensor, kernel: GramKernel, relatives: Sequence[Tensor]) -> list[Tensor]:
    """``G_l = F R_l R_l^T F^T`` with ``F F^T = K(G_{l-1})``, from ``G_0`` on, without it."""
    found = []
    for relative in relatives:
        first = kernel.inducing(first)[0]
        factor = jittered_cholesky(first)[0] @ relative
        first = factor @ factor.mT
        found.append(first)
    return found


def gaussian_log_likelihood(y: Float[Tensor, "n k"], kernel: GramKernel, noise: Tensor) -> LogLikelihood:
    """``log N(Y; 0, K(G) + noise)`` as a function of G."""

    def of(gram: Tensor) -> Tensor:
        matrix = kernel.inducing(gram)[0]
        factor = jittered_cholesky(matrix + noise * torch.eye(len(matrix), dtype=matrix.dtype))[0]
        fit = torch.linalg.solve_triangular(factor, y, upper=False).square().sum()
        logdet = 2 * factor.diagonal().log().sum() + len(y) * math.log(2 * math.pi)
        return -0.5 * (fit + y.shape[1] * logdet)

    return of


def solve_dkm(
    x: Tensor,
    y: Tensor,
    *,
    kernel: str | GramKernel = "relu",
    n_layers: int = 2,
    dof: SupportsFloat | Sequence[float] = 1.0,
    noise: float = 0.1,
    max_iter: int = 1000,
    start: str = "nngp",
) -> DKMSolution:
    """The Gram matrices between all rows that maximise the objective, by L-BFGS; the kernel's parameters stay.

    Arguments:
        x: Inputs (n, d).
        y: Targets (n, k), centred.
        kernel: Of every layer: a name as of `DeepKernelMachineConfig`, or a `GramKernel`.
        n_layers: Learned Gram matrices.
        dof: nu, of every layer or one for each.
        noise: Variance of the targets' noise.
        max_iter: Most steps.
        start: ``"nngp"``: fixed kernels; ``"geodesic"``: on the shortest path from each kernel to ``Y Y^T / k``, where
            the optimum of linear layers lies.

    Raises:
        InputError: inputs or targets that are no finite matrices of as many rows; sizes, noise or degrees of freedom
            out of range; an unknown start.

    Example:
        >>> x = torch.linspace(-1, 1, 8, dtype=torch.float64)[:, None]
        >>> found = solve_dkm(x, x.sign(), dof=1.0)
        >>> fixed = solve_dkm(x, x.sign(), dof=1e9)
        >>> found.objective > fixed.objective
        True
    """
    if start not in STARTS:
        raise InputError("no such start", repr(start), f"Use one of: {', '.join(STARTS)}.")
    if not 0 < noise < math.inf:
        raise InputError("the noise is a positive variance", noise, "Give e.g. 0.1.")
    check_whole("n_layers", n_layers, 0)
    x, y = _matrix("x", x), _matrix("y", y)
    if len(x) != len(y):
        raise InputError("every row has its targets", f"{len(x)} inputs, {len(y)} targets", "Pass as many of both.")
    prices = np.asarray(dof, dtype=np.float64)
    if prices.shape not in ((), (n_layers,)):
        raise InputError(f"'dof' is one number, or one for each of {n_layers} layers", dof, "Change it or 'n_layers'.")
    function = gram_kernel(kernel, jitter=1e-6) if isinstance(kernel, str) else copy.deepcopy(kernel)
    function.requires_grad_(False)
    first = inner_products(x)
    likelihood = gaussian_log_likelihood(y, function, torch.tensor(noise, dtype=torch.float64))
    target = (y @ y.mT / y.shape[1] + noise * torch.eye(len(y), dtype=torch.float64)) if start == "geodesic" else None
    nus = np.broadcast_to(prices, n_layers).tolist()
    grams, value, evaluations = maximise(first, function, likelihood, nus, max_iter, target)
    top = function.inducing(grams[-1] if grams else first)[0]
    return DKMSolution(grams, top, value, noise, evaluations)


def _matrix(name: str, values: Tensor) -> Tensor:
    """A finite matrix in float64."""
    found = values.double()
    if found.ndim != 2 or not found.numel() or not found.isfinite().all():
        got = tuple(found.shape) if found.isfinite().all() else "NaN or infinity"
        raise InputError(f"'{name}' is a matrix of finite numbers", got, "Pass one row a point, without gaps.")
    return found


def maximise(
    first: Float[Tensor, "n n"],
    kernel: GramKernel,
    likelihood: LogLikelihood,
    dof: Sequence[float],
    max_iter: int = 1000,
    target: Tensor | None = None,
) -> tuple[list[Tensor], float, int]:
    """The same for any likelihood of the last Gram matrix.

    Arguments:
        first: ``G_0``.
        kernel: Of every layer.
        likelihood: Log likelihood as a function of ``G_L``.
        dof: nu of every layer.
        max_iter: Most steps.
        target: Start on the geodesic from each kernel to this matrix.

    Returns:
        The Gram matrices, the objective, and its number of evaluations.
    """
    if not all(0 <= nu < math.inf for nu in dof):
        raise InputError("degrees of freedom are not negative and finite", list(dof), "Use 1e9 for fixed kernels.")
    parameters = [nn.Parameter(v) for v in _start(first, kernel, len(dof), target)]

    def loss() -> Tensor:
        relatives = [triangle(v) for v in parameters]
        price = sum(nu * gaussian_kl_of_relative_factor(r) for nu, r in zip(dof, relatives, strict=True))
        return price - likelihood(gram_chain(first, kernel, relatives)[-1])

    if not dof:
        return [], float(likelihood(first)), 1
    found = minimise(loss, parameters, max_iter, tolerance=1e-15, gradient_tolerance=1e-9)
    with torch.no_grad():
        grams = gram_chain(first, kernel, [triangle(v) for v in parameters])
    return grams, -found.value, found.evaluations


def _start(first: Tensor, kernel: GramKernel, layers: int, target: Tensor | None) -> list[Tensor]:
    """Parameters V of the fixed kernels, or of points on geodesics to a target."""
    zero = torch.zeros_like(first)
    if target is None:
        return [zero.clone() for _ in range(layers)]
    found = []
    for layer in range(layers):
        first = kernel.inducing(first)[0]
        scaled = target * (first.diagonal().mean() / target.diagonal().mean())
        aim = geodesic(first, scaled, 1 / (layers + 1 - layer))
        whitening = Cholesky(first)
        relative = whitening.whiten(whitening.whiten(aim).mT)
        found.append(untriangle(jittered_cholesky((relative + relative.mT) / 2)[0]))
        first = aim
    return found
