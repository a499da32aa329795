"""Kernels as functions of Gram matrices: what an infinitely wide layer makes of inner products.

Every kernel of this kind needs of two points only ``(G_ij, G_i, G_j)``. `jitter` is noise of the variance
``jitter (1 + G_i)`` on every point: it keeps matrices well conditioned.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.kernels.dkm.triple import TripleLayer
from harmonia.parts import infwidth
from harmonia.parts.gram.angles import safe_sqrt


class GramKernel(TripleLayer):
    """A kernel of Gram matrices.

    Arguments:
        jitter: Relative and absolute noise of every point; the official code has 1e-4.
    """

    def __init__(self, jitter: float = 1e-4) -> None:
        super().__init__()
        if not 0 <= jitter < math.inf:
            raise InputError("'jitter' is a number >= 0", jitter, "Give e.g. 1e-6.")
        self.jitter = jitter

    @abstractmethod
    def of_products(self, k: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
        """The kernel of two points by their inner product `k` and squared lengths, which broadcast to it."""

    def of_itself(self, q: Tensor) -> Tensor:
        """The kernel of a point with itself."""
        return self.of_products(q, q, q)

    def of_inducing(self, q: Tensor) -> Tensor:
        """The same of an inducing point."""
        return self.of_itself(q)

    def inducing(self, ii: Tensor) -> tuple[Tensor, Tensor]:
        q = ii.diagonal()
        found = self.of_products(ii, q[:, None], q)
        return found + (self._noisy(self.of_inducing(q)) - found.diagonal()).diag(), q

    def points(self, ti: Tensor, t: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        return self.of_products(ti, t[..., None], known), self._noisy(self.of_itself(t))

    def _noisy(self, q: Tensor) -> Tensor:
        return q * (1 + self.jitter) + self.jitter


class LinearGramKernel(GramKernel):
    """``K(G) = G``: layers of a deep linear network."""

    def of_products(self, k: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
        return k


class SqExpGramKernel(GramKernel):
    """``exp(G_ij - (G_i + G_j) / 2)``: the squared exponential kernel of features with these inner products."""

    def of_products(self, k: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
        return torch.exp(k - (q1 + q2) / 2)


class ScaledGramKernel(GramKernel):
    """A kernel times a learned weight plus a learned bias, the variances of a layer's weights and biases."""

    def __init__(self, jitter: float = 1e-4, weight: float = 1.0, bias: float = 0.1) -> None:
        super().__init__(jitter)
        if not (weight > 0 and bias > 0):
            raise InputError("variances of weights and biases are positive", (weight, bias), "Change them.")
        self.log_weight_var = nn.Parameter(torch.tensor(math.log(weight), dtype=torch.float64))
        self.log_bias_var = nn.Parameter(torch.tensor(math.log(bias), dtype=torch.float64))

    @abstractmethod
    def unit(self, k: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
        """The kernel before both, ``q`` of a point with itself."""

    def of_products(self, k: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
        return self.unit(k, q1, q2) * self.log_weight_var.exp() + self.log_bias_var.exp()

    def of_itself(self, q: Tensor) -> Tensor:
        return q * self.log_weight_var.exp() + self.log_bias_var.exp()


class ArcCosineGramKernel(ScaledGramKernel):
    """An infinitely wide layer of ReLU units: ``(sqrt(r^2 - g^2) + (pi - acos(g / r)) g) / pi`` (Cho & Saul 2009).

    ``r^2 = G_i G_j`` after the jitter, so that different points never seem to coincide.

    Example:
        >>> kernel = ArcCosineGramKernel(jitter=0.0, bias=1e-12)
        >>> kernel.of_products(torch.tensor(0.0), torch.tensor(1.0), torch.tensor(1.0)).round(decimals=4)
        tensor(0.3183, dtype=torch.float64, grad_fn=<RoundBackward1>)
    """

    def unit(self, k: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
        return _RELU.dual(k, self._noisy(q1), self._noisy(q2), derivative=False)[0]

    def of_inducing(self, q: Tensor) -> Tensor:
        return self.of_itself(self._noisy(q))


_RELU = infwidth.ABReLU(0.0, math.sqrt(2.0))


class NormalizedGaussianGramKernel(ScaledGramKernel):
    """``sqrt(G_i G_j) exp(G_ij / sqrt(G_i G_j) - 1)``: Gaussian in the angle (the kernel of the best image model).

    A point of length 0 has no angle; the factor in front makes its kernel 0.
    """

    def unit(self, k: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
        r = safe_sqrt(q1 * q2)
        return r * torch.exp(k / torch.where(r > 0, r, 1.0) - 1)


KERNELS: dict[str, type[GramKernel]] = {
    "relu": ArcCosineGramKernel,
    "normalized-gaussian": NormalizedGaussianGramKernel,
    "sqexp": SqExpGramKernel,
    "linear": LinearGramKernel,
}


def gram_kernel(name: str, jitter: float) -> GramKernel:
    """A kernel by its name.

    Raises:
        InputError: an unknown name.
    """
    if name not in tuple(KERNELS):
        raise InputError("no such kernel", repr(name), f"Use one of: {', '.join(KERNELS)}.")
    return KERNELS[name](jitter)
