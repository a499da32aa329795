"""From continuous to discrete time: ``x' = a x + b u`` sampled every `step`, as ``s_t = e^m s_{t-1} + g b u_t``."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Inexact
from torch import Tensor


class Discrete(NamedTuple):
    """A discretised diagonal system.

    Attributes:
        log_multiplier: m, the logarithm of what multiplies the state in every step.
        gain: g, what the input is multiplied by, besides b.
    """

    log_multiplier: Inexact[Tensor, "*shape"]
    gain: Inexact[Tensor, "*shape"]


def zero_order_hold(pole: Inexact[Tensor, "*#shape"], step: Float[Tensor, "*#shape"]) -> Discrete:
    """Exact for inputs that are held between samples: ``m = step a``, ``g = (e^{step a} - 1) / a``.

    Example:
        >>> found = zero_order_hold(torch.tensor([-1.0, 0.0]), torch.tensor([0.5]))
        >>> found.log_multiplier.exp(), found.gain
        (tensor([0.6065, 1.0000]), tensor([0.3935, 0.5000]))
    """
    exponent = pole * step
    return Discrete(exponent, expm1_ratio(exponent) * step)


def bilinear(pole: Inexact[Tensor, "*#shape"], step: Float[Tensor, "*#shape"]) -> Discrete:
    """Tustin's rule: ``e^m = (1 + step a / 2) / (1 - step a / 2)``, ``g = step / (1 - step a / 2)``.

    Example:
        >>> found = bilinear(torch.tensor([-1.0 + 0j]), torch.tensor([0.5]))
        >>> found.log_multiplier.exp().real, found.gain.real
        (tensor([0.6000]), tensor([0.4000]))
    """
    half = pole * step / 2
    return Discrete(torch.log((1 + half) / (1 - half)), step / (1 - half))


def expm1_ratio(z: Inexact[Tensor, "*shape"]) -> Inexact[Tensor, "*shape"]:
    """``(e^z - 1) / z``, accurate and differentiable down to 1 at z = 0.

    Computed as written, float32 loses half of its digits at |z| = 1e-4.

    Example:
        >>> expm1_ratio(torch.tensor([0.0, 1e-6, 1.0]))
        tensor([1.0000, 1.0000, 1.7183])
    """
    # Fourth order is exact to 1e-18 below 1e-4 (float64) and to 1e-11 below 1e-2 (float32).
    small = z.abs() < (1e-2 if z.dtype in (torch.float32, torch.complex64) else 1e-4)
    safe = torch.where(small, torch.ones_like(z), z)
    series = 1 + z / 2 * (1 + z / 3 * (1 + z / 4 * (1 + z / 5)))
    return torch.where(small, series, _expm1(safe) / safe)


def _expm1(z: Tensor) -> Tensor:
    if not z.is_complex():
        return torch.expm1(z)
    # e^x cos y - 1 = expm1(x) cos y - 2 sin^2(y / 2), without cancellation.
    real = torch.expm1(z.real) * torch.cos(z.imag) - 2 * torch.sin(z.imag / 2) ** 2
    return torch.complex(real, torch.exp(z.real) * torch.sin(z.imag))
