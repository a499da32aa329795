"""Sums of exponentials over time, in the memory of their square root.

The kernel of a diagonal system, ``K_l = Re sum_n w_n e^{l m_n}``, is a Vandermonde product of N L exponentials. With
``l = q c + r`` and ``c ~ sqrt(L)`` it is one real matrix product of tables of N L / c and N c exponentials::

    K_{q c + r} = Re sum_n (w_n e^{q c m_n}) e^{r m_n}

so it needs 2 sqrt(L) exponentials a mode instead of L, and no temporary of size N L. The transposed sum, which carries
a state over a whole sequence, is cut the same way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Inexact
from torch import Tensor


@dataclass(frozen=True)
class Powers:
    """``e^{l m}`` for l = 0 .. length - 1, as the tables that both sums are made of.

    Attributes:
        near: ``e^{r m}`` for r = 0 .. c - 1.
        far: ``e^{q c m}`` for as many q as reach the length.
        length: L.
    """

    near: Inexact[Tensor, "heads modes width"]
    far: Inexact[Tensor, "heads modes blocks"]
    length: int

    @classmethod
    def of(cls, log_multiplier: Inexact[Tensor, "heads modes"], length: int) -> Powers:
        """The tables for exponents m."""
        width = 2 ** round(math.log2(max(1, length)) / 2)
        return cls(_powers(log_multiplier, 1, width), _powers(log_multiplier, width, math.ceil(length / width)), length)

    def kernel(self, weights: Inexact[Tensor, "*batch heads modes"]) -> Float[Tensor, "*batch heads length"]:
        """See `diagonal_kernel`."""
        batch, heads = weights.shape[:-2], weights.shape[-2]
        # Rows of the product are (batch, block) pairs: all that is driven by one set of modes in one multiplication.
        rows = weights.reshape(-1, *weights.shape[-2:]).transpose(0, 1)
        outer = rows[:, :, None, :] * self.far.transpose(-1, -2).unsqueeze(1)
        table = _real_product(outer.flatten(1, 2), self.near)
        kernel = table.view(heads, len(rows[0]), -1)[..., : self.length]
        return kernel.transpose(0, 1).reshape(*batch, heads, self.length)

    def accumulate(self, u: Float[Tensor, "*batch heads length"]) -> Inexact[Tensor, "*batch heads modes"]:
        """See `accumulate`."""
        batch, heads = u.shape[:-2], u.shape[-2]
        (modes, width), blocks = self.near.shape[1:], self.far.shape[-1]
        # Zeros in front change nothing: they are the oldest inputs.
        padded = torch.nn.functional.pad(u, (blocks * width - self.length, 0))
        rows = padded.reshape(-1, heads, blocks, width).transpose(0, 1)
        within = _times_real(rows.flatten(1, 2), self.near.flip(-1).transpose(-1, -2)).view(heads, -1, blocks, modes)
        states = (within * self.far.flip(-1).transpose(-1, -2).unsqueeze(1)).sum(2)
        return states.transpose(0, 1).reshape(*batch, heads, modes)


def diagonal_kernel(
    weights: Inexact[Tensor, "*batch heads modes"], log_multiplier: Inexact[Tensor, "heads modes"], length: int
) -> Float[Tensor, "*batch heads length"]:
    """``K_l = Re sum_n w_n e^{l m_n}`` for l = 0 .. length - 1.

    Example:
        >>> diagonal_kernel(torch.tensor([[1.0, 1.0]]), torch.log(torch.tensor([[0.5, 0.1]])), 4)
        tensor([[2.0000, 0.6000, 0.2600, 0.1260]])
    """
    return Powers.of(log_multiplier, length).kernel(weights)


def accumulate(
    u: Float[Tensor, "*batch heads time"], log_multiplier: Inexact[Tensor, "heads modes"]
) -> Inexact[Tensor, "*batch heads modes"]:
    """``sum_j e^{(L - 1 - j) m_n} u_j``: what a sequence of L inputs leaves behind in every mode.

    Example:
        >>> accumulate(torch.tensor([[1.0, 0.0, 2.0]]), torch.log(torch.tensor([[0.5]])))
        tensor([[2.2500]])
    """
    return Powers.of(log_multiplier, u.shape[-1]).accumulate(u)


def _powers(log_multiplier: Tensor, stride: int, count: int) -> Tensor:
    """``e^{stride l m}`` for l = 0 .. count - 1 on a new last axis.

    The angle of a complex exponent grows with l; it is wrapped in float64, or float32 would lose it at long lags.
    """
    lags = stride * torch.arange(count, device=log_multiplier.device, dtype=torch.float64)
    if not log_multiplier.is_complex():
        return torch.exp(log_multiplier[..., None] * lags.to(log_multiplier.dtype))
    m = log_multiplier[..., None]
    decay = torch.exp(m.real * lags.to(m.real.dtype))
    angle = torch.remainder(m.imag.double() * lags, 2 * math.pi).to(m.real.dtype)
    return torch.complex(decay * torch.cos(angle), decay * torch.sin(angle))


def _real_product(a: Tensor, b: Tensor) -> Tensor:
    """Real part of ``a @ b`` as one real product of twice the inner size."""
    if not (a.is_complex() or b.is_complex()):
        return a @ b
    a = a if a.is_complex() else torch.complex(a, torch.zeros_like(a))
    b = b if b.is_complex() else torch.complex(b, torch.zeros_like(b))
    return torch.cat([a.real, -a.imag], -1) @ torch.cat([b.real, b.imag], -2)


def _times_real(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` for a real `a`, by real products."""
    if not b.is_complex():
        return a @ b
    real, imaginary = (a @ torch.cat([b.real, b.imag], -1)).chunk(2, -1)
    return torch.complex(real, imaginary)
