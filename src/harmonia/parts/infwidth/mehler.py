"""Any activation: the Mehler expansion of its dual, with its kinks integrated exactly.

With the Hermite coefficients ``c_k(q) = E[s(sqrt(q) z) h_k(z)]``, ``z ~ N(0, 1)`` (Mehler 1866; Daniely et al. 2016),

    E[s(u) s(v)] = sum_k c_k(q1) c_k(q2) rho^k,     rho = k / sqrt(q1 q2),

and the same for the derivative. For a smooth activation the terms decay geometrically. Where its derivative jumps by
``J_i`` at ``t_i`` they decay like ``k^(-5/2)``; those parts are taken out of the series, using Price's theorem, as

    sum_ij J_i J_j int_0^k (k - x) p(t_i, t_j; x) dx      and, for s',     sum_ij J_i J_j int_0^k p(t_i, t_j; x) dx

with the normal density ``p`` of covariance ``x`` (for ``t_i = t_j = 0`` the arc-cosine kernel). What remains of the
series is evaluated by Horner's rule on the whole block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from harmonia.parts.gram.angles import safe_atan2, safe_sqrt, sine
from harmonia.parts.infwidth.activations import Activation
from harmonia.parts.infwidth.expansion import DEGREES, Expansion, HermiteTable
from harmonia.parts.infwidth.quadrature import Function, find_kinks

TOLERANCE = {torch.float32: 1e-8, torch.float64: 1e-14}
"""Relative size of the terms that are left out of a series."""


class Elementwise(Activation):
    """Any continuous activation, smooth or with kinks.

    Exact to rounding if smooth or piecewise linear and variances are of order one. Where the second derivative jumps
    (by 1 in ELU), nearly parallel inputs get errors of some 1e-8 in the covariance and 1e-5 in the tangent kernel.

    Arguments:
        function: An elementwise function of tensors that torch can differentiate, e.g. ``torch.tanh``.
        name: What to call it, by default the function's name.

    Raises:
        InputError: a function that is discontinuous or not finite.

    Example:
        >>> k, q = torch.tensor([0.5]), torch.tensor([1.0])
        >>> Elementwise(torch.relu).dual(k, q, q)
        (tensor([0.3045]), tensor([0.3333]))
    """

    def __init__(self, function: Function, name: str | None = None) -> None:
        self._function = function
        self.name = name or getattr(function, "__name__", type(function).__name__)
        self.kinks = find_kinks(function)
        self._expansions = HermiteTable(function, self.kinks)

    def __repr__(self) -> str:
        return f"Elementwise({self.name})" if type(self) is Elementwise else super().__repr__()

    def function(self, x: Tensor) -> Tensor:
        return self._function(x)

    def dual(self, k: Tensor, q1: Tensor, q2: Tensor, derivative: bool = True) -> tuple[Tensor, Tensor | None]:
        root1, root2 = (_inverse_root(q) for q in (q1, q2))
        rho = (k * root1 * root2).clamp(-1, 1)
        largest = float(rho.detach().abs().amax()) if rho.numel() else 0.0
        degrees = max(self._expansions.degrees(q, TOLERANCE[k.dtype], largest) for q in (q1, q2))
        first, second = (self._expansions(q, degrees) for q in (q1, q2))
        nngp = _series(rho, largest, first[0], second[0])
        gain = _series(rho, largest, first[1], second[1]) if derivative else None
        if self.kinks:
            value, slope = _beyond_second_order(self.kinks, k, rho, q1, q2)
            nngp = nngp + value
            gain = None if gain is None else gain + slope
        return nngp, gain

    def dual_of_itself(self, q: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = self._expansions(q, 0)
        return value.square.to(q.dtype), slope.square.to(q.dtype)


class Tanh(Elementwise):
    """``tanh(x)``."""

    def __init__(self) -> None:
        super().__init__(torch.tanh)


class SiLU(Elementwise):
    """``x / (1 + exp(-x))``, also known as Swish."""

    def __init__(self) -> None:
        super().__init__(torch.nn.functional.silu)


class Polynomial(Elementwise):
    """``sum_j coefficients[j] x^j``; its Mehler expansion is finite and so exact.

    Example:
        >>> k, q = torch.tensor([0.5]), torch.tensor([1.0])
        >>> Polynomial([0.0, 0.0, 1.0]).dual(k, q, q)  # E[u^2 v^2] = 1 + 2 k^2
        (tensor([1.5000]), tensor([2.]))
    """

    def __init__(self, coefficients: Sequence[float]) -> None:
        self.coefficients = [float(c) for c in coefficients]

        def function(x: Tensor) -> Tensor:
            y = torch.zeros_like(x)
            for c in reversed(self.coefficients):
                y = y * x + c
            return y

        super().__init__(function)


class Hermite(Polynomial):
    """The orthonormal Hermite polynomial ``h_degree``; at unit variance its dual is ``rho^degree``.

    Example:
        >>> k, q = torch.tensor([0.5]), torch.tensor([1.0])
        >>> Hermite(3).dual(k, q, q)
        (tensor([0.1250]), tensor([0.7500]))
    """

    def __init__(self, degree: int) -> None:
        self.degree = degree
        orthonormal = [0.0] * degree + [1 / math.sqrt(math.factorial(degree))]
        super().__init__(np.polynomial.hermite_e.herme2poly(orthonormal).tolist())


def _inverse_root(q: Tensor) -> Tensor:
    """``1 / sqrt(q)``, and 0 for a variance of 0, so that the correlation with such an input is 0."""
    return torch.where(q > 0, torch.where(q > 0, q, 1.0).rsqrt(), 0.0)


def _series(rho: Tensor, largest: float, first: Expansion, second: Expansion) -> Tensor:
    """``sum_k (c_k(q1) c_k(q2) - m_k(q1) m_k(q2)) rho^k``, with ``m`` the part of ``c`` that kinks make.

    With ``g = c - m``, whose terms decay faster, the bracket is ``c_k(q1) g_k(q2) + g_k(q1) m_k(q2)``. Terms too small
    at the largest correlation are left out, such as every other one of an odd function.
    """
    degrees, kinked = len(first.series), first.series is not first.smooth
    total = torch.zeros_like(rho)
    if degrees == DEGREES and not kinked:  # not converged: as if all that is left out were of the next degree
        rest1, rest2 = ((side.square - side.series.square().sum(0)).clamp(min=0) for side in (first, second))
        total = total + safe_sqrt(rest1 * rest2).to(rho.dtype)
    with torch.no_grad():
        c1, g1, c2, g2 = (_largest(each) for each in (first.series, first.smooth, second.series, second.smooth))
        powers = largest ** torch.arange(degrees, dtype=c1.dtype, device=c1.device)
        scale = (first.square.amax() * second.square.amax()).sqrt()
        size = (c1 * g2 + g1 * c2) * powers
        matters = (size > TOLERANCE[rho.dtype] / 8 * scale).tolist()
    columns = [(first.series, second.smooth)]
    if kinked:
        columns.append((first.smooth, second.series - second.smooth))
    columns = [(left.to(rho.dtype), right.to(rho.dtype)) for left, right in columns]
    differentiable = any(each.requires_grad for each in (rho, first.series, second.series))
    for k in reversed(range(degrees)):
        total = total * rho if differentiable else total.mul_(rho)
        if matters[k]:
            for left, right in columns:
                total = total.addcmul_(left[k], right[k])
    return total


def _largest(series: Tensor) -> Tensor:
    """The largest coefficient of each degree."""
    return series.abs().flatten(1).amax(1)


def _beyond_second_order(
    kinks: dict[float, float], k: Tensor, rho: Tensor, q1: Tensor, q2: Tensor
) -> tuple[Tensor, Tensor]:
    """``sum_ij J_i J_j int_0^k (k - x) p(t_i, t_j; x) dx`` and its derivative in `k`.

    With ``x = sqrt(q1 q2) sin a`` and ``h = t / sqrt q`` (Drezner & Wesolowsky 1990),
    ``p dx = exp(-(h1^2 + h2^2 - 2 h1 h2 sin a) / (2 cos^2 a)) da / 2pi``.
    """
    y = sine(k, q1, q2)
    latitude = safe_atan2(k, y)
    root = safe_sqrt(q1 * q2)
    value, slope = torch.zeros_like(k), torch.zeros_like(k)
    if 0.0 in kinks:
        weight = kinks[0.0] ** 2 / (2 * math.pi)
        value = value + weight * (latitude * k - k * k / (y + root + (root == 0)))
        slope = slope + weight * latitude
    pairs = [(s, t, kinks[s] * kinks[t]) for s in kinks for t in kinks if s or t]
    if not pairs:
        return value, slope
    inverse1, inverse2 = _inverse_root(q1), _inverse_root(q2)
    for node, weight in _angles(float(rho.detach().abs().amax()) if rho.numel() else 0.0):
        sin = torch.sin(latitude * node)
        cos2 = 2 * (1 - sin * sin) + 1e-30
        density = torch.zeros_like(k)
        for s, t, jumps in pairs:
            h1, h2 = s * inverse1, t * inverse2
            density = density + jumps * torch.exp((2 * h1 * h2 * sin - h1 * h1 - h2 * h2) / cos2)
        density = density * latitude * (weight / (2 * math.pi))
        value = value + density * (k - root * sin)
        slope = slope + density
    return value, slope


def _angles(largest: float) -> list[tuple[float, float]]:
    """Gauss-Legendre nodes and weights on [0, 1]; more of them for correlations near 1."""
    nodes, weights = np.polynomial.legendre.leggauss(8 if largest < 0.5 else 12 if largest < 0.8 else 24)
    return list(zip((nodes + 1) / 2, weights / 2))
