"""Kernels of vectors of equal length as functions of their angle: any depth for the price of one polynomial.

If all inputs have the same variance ``q = |x|^2 / d``, or if the network is positively homogeneous (no biases and
ReLU-like activations), then ``K(x, x') = s h(th)`` with the angle ``th`` between `x` and `x'` and ``s = sqrt(q q')``
(``s = 1`` in the first case), the same for the tangent kernel (Bietti & Mairal 2019, arXiv:1905.12173). In ``th``, not
in ``cos th``, both profiles are analytic including 0 and pi, so a Chebyshev interpolant converges geometrically. The
values at its nodes come from the network itself.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from harmonia.parts.gram.angles import safe_atan2, sine
from harmonia.parts.infwidth.activations import Activation
from harmonia.parts.infwidth.layers import Layer
from harmonia.parts.infwidth.state import KernelState

TOLERANCE = {torch.float32: 1e-8, torch.float64: 2e-12}
"""Size of the coefficients that are left out, relative to the largest value."""

ACTIVATION = 14
"""What one activation costs, measured in additions of matrices."""

_DEGREES = (32, 64, 128, 256)


class AngularProfile(Layer):
    """A network of vectors, as fast as one layer; see `profile_of`."""

    def __init__(self, series: Tensor, homogeneous: bool) -> None:
        self.series, self.scales = series, homogeneous

    def propagate(self, state: KernelState) -> KernelState:
        first, second = state.against_pairs(*state.sides())
        angle = safe_atan2(sine(state.nngp, first, second), state.nngp)
        kernels = _evaluate(self.series, angle.mul_(2 / math.pi).sub_(1))
        if self.scales:
            scale = (first * second).sqrt()
            kernels = [kernel.mul_(scale) for kernel in kernels]
        return state.with_kernels(kernels[0], kernels[1] if len(kernels) > 1 else None)


def profile_of(network: Layer, variances: Tensor, channels: int, ntk: bool) -> AngularProfile | None:
    """The profile of a network; None where it has none, where no polynomial is close, or where layers are cheaper."""
    homogeneous = network.homogeneous
    spread = float(variances.amax() - variances.amin())
    if not homogeneous and spread > 32 * torch.finfo(variances.dtype).eps * float(variances.amax()):
        return None
    wide: dict[str, Any] = {"dtype": torch.float64, "device": variances.device}
    q = torch.ones(1, **wide) if homogeneous else variances.double().mean().reshape(1)
    for degree in _DEGREES:
        nodes = math.pi * (torch.arange(degree + 1, **wide) + 0.5) / (degree + 1)
        cosine = q * torch.cos(math.pi / 2 * (1 + nodes.cos()))
        side = KernelState(q.expand_as(cosine), None, "none", pairing="itself", fan_in=channels)
        zero = torch.zeros_like(cosine) if ntk else None
        after = network(KernelState(cosine, zero, "none", side, side, pairing="paired", fan_in=channels))
        values = torch.stack([each for each in (after.nngp, after.ntk) if each is not None])
        orders = torch.arange(degree + 1, **wide)
        series = values @ torch.cos(nodes[:, None] * orders) * (2 / (degree + 1))
        series[:, 0] /= 2
        matters = (series.abs() > TOLERANCE[variances.dtype] * values.abs().amax(1, keepdim=True)).any(0)
        length = int(matters.nonzero().amax()) + 1 if matters.any() else 1
        if length < 0.8 * degree:
            worth = length * (1 + len(series)) < ACTIVATION * sum(
                isinstance(part, Activation) for part in network.parts()
            )
            return AngularProfile(series[:, :length], homogeneous) if worth else None
    return None


def _evaluate(series: Tensor, x: Tensor) -> list[Tensor]:
    """Chebyshev series, one per row, at `x` in [-1, 1].

    The recursion ``T_{k+1} = 2 x T_k - T_{k-1}`` runs in place on ``S_k = +-T_k`` with signs + + - - + + ...
    """
    older, newer, double = torch.ones_like(x), x, 2 * x
    sums = [torch.full_like(x, float(row[0])) for row in series]
    for k in range(1, series.shape[1]):
        sign = -1.0 if k % 4 in (2, 3) else 1.0
        for total, row in zip(sums, series):
            total.add_(newer, alpha=sign * float(row[k]))
        following = -1.0 if (k + 1) % 4 in (2, 3) else 1.0
        older, newer = newer, older.addcmul_(double, newer, value=sign * following)
    return sums
