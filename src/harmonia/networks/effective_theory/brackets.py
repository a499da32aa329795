"""Gaussian brackets ``<f> = E f(z), z ~ N(0, K)``: all that the layer-to-layer recursions need of an activation."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from harmonia.networks.effective_theory.activation import Pointwise
from harmonia.parts.infwidth.quadrature import gaussian_nodes

_FAR = 10.0
_UNRESOLVED = 1e-6


class Brackets(NamedTuple):
    """Brackets of an activation ``s`` at variances ``K``; ``'`` of a bracket is its derivative by ``K``.

    No second derivative of ``s`` is taken: ``<s s''> = <z s s'>/K - <s'^2>`` and
    ``<s s'' s'^2> = (<z s s'^3>/K - <s'^4>) / 3`` by parts, so that kinks count as limits of smooth bends.

    Attributes:
        resolved: Whether the quadrature holds all of ``<s^4>``; false where moments overflow.
        s: ``<s>``.
        s2: ``g = <s^2>``.
        s4: ``<s^4>``.
        d2: ``<s'^2>``.
        d4: ``<s'^4>``.
        s2d2: ``<s^2 s'^2>``.
        sd: ``<s s'>``.
        zd: ``<z s'>``.
        zsd: ``<z s s'> = K g'``.
        zs2: ``<z s^2>``.
        z2s2: ``<z^2 s^2>``.
        s2_1, s2_2: ``g'`` and ``g''``.
        d2_1, d2_2: ``<s'^2>'`` and ``<s'^2>''``.
        sdd: ``<s s''>``.
        sddd2: ``<s s'' s'^2>``.
    """

    resolved: Bool[Tensor, "*K"]
    s: Float[Tensor, "*K"]
    s2: Float[Tensor, "*K"]
    s4: Float[Tensor, "*K"]
    d2: Float[Tensor, "*K"]
    d4: Float[Tensor, "*K"]
    s2d2: Float[Tensor, "*K"]
    sd: Float[Tensor, "*K"]
    zd: Float[Tensor, "*K"]
    zsd: Float[Tensor, "*K"]
    zs2: Float[Tensor, "*K"]
    z2s2: Float[Tensor, "*K"]
    s2_1: Float[Tensor, "*K"]
    s2_2: Float[Tensor, "*K"]
    d2_1: Float[Tensor, "*K"]
    d2_2: Float[Tensor, "*K"]
    sdd: Float[Tensor, "*K"]
    sddd2: Float[Tensor, "*K"]


@cache
def _smooth_nodes() -> tuple[Tensor, Tensor]:
    return gaussian_nodes(torch.empty(0, dtype=torch.float64))


def _nodes(activation: Pointwise, K: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Standard normal nodes, their weights, and the nodes times ``sqrt(K)``."""
    root = K.sqrt().unsqueeze(-1)
    kinks = [kink for kink in activation.kinks if kink]  # the nodes resolve one at 0 anyway
    if kinks:
        u, w = gaussian_nodes(torch.tensor(kinks, dtype=torch.float64) / root.clamp(min=1e-150))
    else:
        u, w = _smooth_nodes()
    return u, w, root * u


def brackets(activation: Pointwise, K: Float[Tensor, "*K"]) -> Brackets:
    """All brackets at every variance.

    Example:
        >>> from harmonia.networks.effective_theory.activation import as_activation
        >>> found = brackets(as_activation("relu"), torch.tensor([2.0]))
        >>> [round(float(each), 9) for each in (found.s2, found.s4, found.d2)]
        [1.0, 6.0, 0.5]
    """
    K = K.double()
    u, w, z = _nodes(activation, K)
    s, d = activation.function(z), activation.slope(z)

    def mean(values: Tensor) -> Tensor:
        return (w * values).sum(-1)

    s_square, d_square, product = s * s, d * d, z * s * d
    first, second = u * u - 1, u**4 - 6 * u * u + 3
    s4 = mean(s_square**2)
    beyond = (w * s_square**2 * (u.abs() > _FAR)).sum(-1)
    d2, zsd, d4 = mean(d_square), mean(product), mean(d_square**2)
    return Brackets(
        resolved=s4.isfinite() & d4.isfinite() & (beyond <= _UNRESOLVED * s4),
        s=mean(s),
        s2=mean(s_square),
        s4=s4,
        d2=d2,
        d4=d4,
        s2d2=mean(s_square * d_square),
        sd=mean(s * d),
        zd=mean(z * d),
        zsd=zsd,
        zs2=mean(z * s_square),
        z2s2=mean((z * s).square()),
        s2_1=zsd / K,
        s2_2=mean(s_square * second) / (4 * K * K),
        d2_1=mean(d_square * first) / (2 * K),
        d2_2=mean(d_square * second) / (4 * K * K),
        sdd=zsd / K - d2,
        sddd2=(mean(product * d_square) / K - d4) / 3,
    )


def criterion(activation: Pointwise, K: Float[Tensor, "*K"]) -> Float[Tensor, "*K"]:
    """``r(K) = <z s s'> / (K <s'^2>) - 1 = chi_par / chi_perp - 1`` alone; NaN where moments overflow."""
    K = K.double()
    u, w, z = _nodes(activation, K)
    s, d = activation.function(z), activation.slope(z)
    along, across = (w * z * s * d).sum(-1), (w * d * d).sum(-1)
    far = w * (u.abs() > _FAR)
    square = s * s
    fourth, beyond = (w * square * square).sum(-1), (far * square * square).sum(-1)
    return torch.where(beyond <= _UNRESOLVED * fourth, along / (K * across) - 1, torch.nan)


def second_moment(activation: Pointwise, K: float) -> float:
    """``g(K) = <s^2>`` alone, for the kernel's recursion; infinite where it overflows."""
    _, w, z = _nodes(activation, torch.tensor(K, dtype=torch.float64))
    value = float((w * activation.function(z).square()).sum())
    return value if math.isfinite(value) else math.inf
