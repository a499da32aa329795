"""The layer that learns: a positive definite matrix in place of the kernel between inducing points.

With the kernel that comes in, ``K = L L^T`` and ``A = L^-1 K_it``, and a learned ``G = F F^T``, whose relative factor
is ``R = L^-1 F``, the points of data follow as a Gaussian process does that is conditioned on the inducing points:

    G_ti = K_ti K^-1 G = A^T R F^T,    G_t = |R^T A|^2 + K_t - |A|^2

``R = I`` is the fixed kernel. The price of another matrix is ``dof KL(N(0, G) || N(0, K))``, which depends on R alone.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.kernels.dkm.triple import TripleLayer, Whitening, triangle, untriangle
from harmonia.parts.gram import gaussian_kl, gaussian_kl_of_relative_factor, jittered_cholesky

Objective = Literal["kl", "taylor"]


def gram_kl(g: Float[Tensor, "p p"], k: Float[Tensor, "p p"]) -> Float[Tensor, ""]:
    """``KL(N(0, G) || N(0, K)) = (tr K^-1 G - log |K^-1 G| - P) / 2``: the price of a learned Gram matrix.

    Example:
        >>> float(gram_kl(torch.eye(3), torch.eye(3)))
        0.0
    """
    return gaussian_kl(g, k)


def taylor_divergence(factor: Tensor, k: Tensor) -> Tensor:
    """``|G^-1 K - I|^2 / 4`` (Frobenius), with ``G = F F^T``, in place of `gram_kl` (arXiv:2410.06171).

    It tolerates float32. The divergence to second order around ``G = K`` is the same sum over squared eigenvalues; as
    ``G^-1 K`` is not symmetric, its norm is larger than that unless G and K commute.
    """
    relative = torch.cholesky_solve(k, factor) - torch.eye(len(k), dtype=k.dtype, device=k.device)
    return relative.square().sum() / 4


class Learned(NamedTuple):
    """What points need of a layer: ``L^-1``, R and F."""

    inverse: Tensor
    relative: Tensor
    factor: Tensor


class Passed(NamedTuple):
    """What became of the inducing points in the last pass: the kernel that came in, G, and the price of the latter."""

    kernel: Tensor
    gram: Tensor
    price: Tensor


class GramLayer(TripleLayer):
    """A learned Gram matrix between inducing points.

    Arguments:
        size: Inducing points P.
        dof: The price of learning: degrees of freedom nu; 0 is free, infinity a fixed kernel.
        objective: The price itself: ``"kl"``, or ``"taylor"``, which tolerates float32.
        relative: Whether the parameter V is of R, so that V = 0 is the fixed kernel wherever it moves; else of F, as in
            the official code, which copies the kernel in the first pass.
        wishart: Columns of the Wishart noise of training, as a share of P (the official ``1 / gamma``); 0: none. Drawn
            from torch's default generator, as dropout is, which `harmonia.parts.training` seeds in every step.
        floor: Added to the diagonal of G with Wishart noise, in training and after.

    Raises:
        InputError: parameters out of range; a kernel that is not positive definite; a variance that became negative.
    """

    def __init__(
        self,
        size: int,
        dof: float,
        *,
        objective: Objective = "kl",
        relative: bool = True,
        wishart: float = 0.0,
        floor: float = 0.1,
    ) -> None:
        super().__init__()
        if not dof >= 0:
            raise InputError("degrees of freedom are not negative", dof, "Give 0 or more, or infinity.")
        if not wishart >= 0:
            raise InputError("the share of Wishart columns is not negative", wishart, "Give 0, or e.g. 0.25.")
        self.dof, self.objective, self.relative, self.wishart, self.floor = dof, objective, relative, wishart, floor
        self.V = nn.Parameter(torch.full((size, size), 0.0 if relative else math.nan, dtype=torch.float64))
        self.passed: Passed
        self.place = "a layer"  # a machine numbers its layers

    def divergence(self) -> Tensor:
        return self.dof * self.passed.price

    def start_at(self, k: Tensor) -> None:
        """Set G to the kernel, as the official code does in the first pass."""
        with torch.no_grad():
            self.V.copy_(untriangle(jittered_cholesky(k)[0] * math.sqrt(len(k))))

    def inducing(self, ii: Tensor) -> tuple[Tensor, Learned]:
        whitening = Whitening.of(ii)
        if self.relative:
            relative = triangle(self.V)
            factor = whitening.factor @ relative
        else:
            if self.V.detach()[0, 0].isnan():
                self.start_at(ii)
            factor = triangle(self.V) / math.sqrt(len(ii))
            relative = whitening.inverse @ factor
        kl = self.objective == "kl"
        price = gaussian_kl_of_relative_factor(relative) if kl else taylor_divergence(factor, ii)
        if self.wishart:
            factor = self._noised(factor)
            relative = whitening.inverse @ factor
        gram = factor @ factor.mT
        self.passed = Passed(ii.detach(), gram.detach(), price)
        return gram, Learned(whitening.inverse, relative, factor)

    def points(self, ti: Tensor, t: Tensor, known: Learned) -> tuple[Tensor, Tensor]:
        whitened = ti @ known.inverse.mT
        learned = whitened @ known.relative
        found = learned.square().sum(-1) + t - whitened.square().sum(-1)
        return learned @ known.factor.mT, not_negative(found, self.place)

    def _noised(self, factor: Tensor) -> Tensor:
        """Stochastic kernel regularisation (arXiv:2410.06171): a Wishart draw around G, plus the floor."""
        unit = self.floor * torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
        if self.training:
            columns = math.ceil(self.wishart * len(factor))
            draw = torch.randn(len(factor), columns, dtype=factor.dtype, device=factor.device)
            factor = factor @ draw / math.sqrt(columns)
        return jittered_cholesky(factor @ factor.mT + unit)[0]


def not_negative(variance: Tensor, place: str) -> Tensor:
    """Variances, with those that rounding made negative set to 0.

    Arguments:
        variance: Variances.
        place: Where they arose, for the error.

    Raises:
        InputError: one that is clearly negative.
    """
    lowest = float(variance.detach().min()) if variance.numel() else 0.0
    if lowest >= 0:
        return variance
    if -lowest > math.sqrt(torch.finfo(variance.dtype).eps) * float(variance.detach().mean().abs()):
        raise InputError(
            f"a predictive variance of {place} became negative",
            f"{lowest:.3g}",
            "Use float64, more jitter, or Wishart noise.",
        )
    return variance.clamp(min=0)
