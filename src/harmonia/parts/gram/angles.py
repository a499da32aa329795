"""Angles between vectors known by their inner products, exact and differentiable where the vectors coincide."""

from __future__ import annotations

import torch
from torch import Tensor


def sine(k: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
    """``sqrt(q1 q2 - k^2)``."""
    return safe_sqrt(q1 * q2 - k * k)  # not fused: both products round alike, so that equal inputs give 0


def safe_sqrt(x: Tensor) -> Tensor:
    """The root of ``max(x, 0)``, whose gradient at 0 is 0 instead of infinite."""
    if not x.requires_grad:
        return x.clamp(min=0).sqrt_()
    positive = x > 0
    return torch.where(positive, torch.where(positive, x, 1.0).sqrt(), 0.0)


def safe_atan2(a: Tensor, b: Tensor) -> Tensor:
    """``atan2(a, b)``, whose gradient is 0 at the origin."""
    if a.requires_grad or b.requires_grad:
        b = torch.where((a == 0) & (b == 0), 1.0, b)
    return torch.atan2(a, b)
