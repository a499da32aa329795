"""Stationary kernels of one variable and all their derivatives, as functions of the signed lag ``d = x - x'``.

Derivatives are closed forms, finite at d = 0, where automatic differentiation of |d| is not.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError

Smoothness = Literal["1/2", "3/2", "5/2", "7/2"]


def gaussian(lag: Float[Tensor, "..."], rate: Float[Tensor, "..."], order: int = 0) -> Float[Tensor, "..."]:
    """``d^n/dd^n exp(-a d^2)``, n = `order`, by the recurrence of Hermite polynomials.

    ``g_{n+1} = -2 a (d g_n + n g_{n-1})``; the lengthscale is ``1 / sqrt(2 a)``.

    Example:
        >>> gaussian(torch.zeros(1), torch.ones(1), order=2)
        tensor([-2.])
    """
    _check(order, None)
    before, now = torch.zeros_like(lag * rate), torch.exp(-rate * lag.square())
    for n in range(order):
        before, now = now, -2 * rate * (lag * now + n * before)
    return now


def matern(
    lag: Float[Tensor, "..."], rate: Float[Tensor, "..."], order: int = 0, smoothness: Smoothness = "5/2"
) -> Float[Tensor, "..."]:
    """``d^n/dd^n`` of the Matern kernel of half-integer smoothness ``p + 1/2``, for n <= 2p.

    The kernel is a polynomial P(r) times ``exp(-r)`` with ``r = sqrt(2p + 1) a |d|``, so that the n-th derivative is
    ``(sign(d) sqrt(2p + 1) a)^n ((D - 1)^n P)(r) exp(-r)`` (Rasmussen and Williams 2006, eq. 4.16). The lengthscale is
    ``1 / a``.

    Raises:
        InputError: more derivatives than the kernel has at d = 0.

    Example:
        >>> matern(torch.zeros(1), torch.ones(1), order=2)
        tensor([-1.6667])
    """
    p = int(smoothness[0]) // 2
    _check(order, 2 * p)
    polynomial = [
        math.factorial(p) / math.factorial(2 * p) * math.factorial(p + i) / (math.factorial(i) * math.factorial(p - i))
        for i in range(p, -1, -1)
    ]
    coefficients = [c * 2.0**i for i, c in enumerate(polynomial)]
    for _ in range(order):
        derivative = [*[i * c for i, c in enumerate(coefficients)][1:], 0.0]
        coefficients = [d - c for d, c in zip(derivative, coefficients)]
    scale = math.sqrt(2 * p + 1) * rate
    r = scale * lag.abs()
    value = torch.zeros_like(r)
    for c in reversed(coefficients):
        value = value * r + c
    value = value * torch.exp(-r) * scale**order
    return value * lag.sign() if order % 2 else value


def modulated(
    envelopes: list[Float[Tensor, "..."]], lag: Float[Tensor, "..."], frequency: Float[Tensor, "..."]
) -> Float[Tensor, "..."]:
    """``d^n/dd^n [B(d) cos(2 pi mu d)]`` from the derivatives 0..n of B, by Leibniz' rule.

    ``sum_j C(n, j) B^{(n-j)} (2 pi mu)^j cos(2 pi mu d + j pi / 2)``.

    Example:
        >>> lag, flat = torch.tensor([0.25]), [torch.ones(1), torch.zeros(1)]
        >>> modulated(flat, lag, torch.ones(1))
        tensor([-6.2832])
    """
    order = len(envelopes) - 1
    omega = 2 * math.pi * frequency
    cosine, sine = torch.cos(omega * lag), torch.sin(omega * lag)
    waves = (cosine, -sine, -cosine, sine)
    terms = (math.comb(order, j) * envelopes[order - j] * omega**j * waves[j % 4] for j in range(order + 1))
    return sum(terms, torch.zeros_like(cosine))


def _check(order: int, most: int | None) -> None:
    if order < 0 or (most is not None and order > most):
        mend = "Use order >= 0." if order < 0 else f"Use order <= {most}, or a smoother kernel, e.g. a Gaussian."
        raise InputError("the kernel has no such derivative", f"order {order}", mend)
