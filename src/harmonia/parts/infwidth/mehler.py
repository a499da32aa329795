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
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.infwidth.activations import Activation, safe_atan2, safe_sqrt, sine
from harmonia.parts.infwidth.quadrature import Function, derivative, find_kinks, hermite, hermite_coefficients

DEGREES = 256
"""Longest expansion; beyond it the rest is put into one last term."""

TOLERANCE = {torch.float32: 1e-8, torch.float64: 1e-14}
"""Relative size of the terms that are left out."""

_CHEBYSHEV = 24
"""Nodes per octave of the variance at which coefficients are computed; in between they are interpolated."""

_ANGLES = 24
"""Nodes of the integral over correlations between two kinks."""


class _Expansion(NamedTuple):
    """Of a function at some variances: Hermite coefficients, the part of them that kinks make, the second moment."""

    series: Tensor
    kinked: Tensor
    square: Tensor


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
        self._tables: dict[int, Tensor] = {}

    def __repr__(self) -> str:
        return f"Elementwise({self.name})" if type(self) is Elementwise else super().__repr__()

    def function(self, x: Tensor) -> Tensor:
        return self._function(x)

    def dual(self, k: Tensor, q1: Tensor, q2: Tensor, derivative: bool = True) -> tuple[Tensor, Tensor | None]:
        root1, root2 = (_inverse_root(q) for q in (q1, q2))
        rho = (k * root1 * root2).clamp(-1, 1)
        first, second = self._expansions(q1), self._expansions(q2)
        nngp = _series(rho, first[0], second[0])
        gain = _series(rho, first[1], second[1]) if derivative else None
        if self.kinks:
            value, slope = _beyond_second_order(self.kinks, k, q1, q2, root1, root2)
            nngp = nngp + value
            gain = None if gain is None else gain + slope
        return nngp, gain

    def dual_of_itself(self, q: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = self._expansions(q)
        return value.square.to(q.dtype), slope.square.to(q.dtype)

    def _expansions(self, q: Tensor) -> tuple[_Expansion, _Expansion]:
        """Of the activation and of its derivative; the degree is the first axis."""
        log = q.double().flatten().clamp(2.0**-60, 2.0**60).log2()
        octave = log.detach().floor()
        polynomials = _chebyshev(2 * (log - octave) - 1)
        places, parts = [], []
        for number in octave.unique().tolist():
            places.append(place := (octave == number).nonzero()[:, 0])
            parts.append(polynomials[place] @ self._table(int(number)).to(q.device))
        columns = torch.cat(parts)[torch.cat(places).argsort()].T.unflatten(0, (2, -1)).unflatten(-1, q.shape)
        value, slope = (_Expansion(each[:DEGREES], each[DEGREES:-1], each[-1]) for each in columns)
        return value, slope

    def _table(self, octave: int) -> Tensor:
        """Chebyshev coefficients in ``log q`` of both expansions, for ``2^octave <= q <= 2^(octave+1)``."""
        if octave not in self._tables:
            nodes = torch.cos(math.pi * (torch.arange(_CHEBYSHEV, dtype=torch.float64) + 0.5) / _CHEBYSHEV)
            q = 2.0 ** (octave + (nodes + 1) / 2)
            value, slope = hermite_coefficients(
                [self.function, derivative(self.function)], q, DEGREES, list(self.kinks)
            )
            made_by_kinks = _kinked(self.kinks, q)
            rows = [part for (c, square), m in zip((value, slope), made_by_kinks) for part in (c, m, square[:, None])]
            table = torch.linalg.solve(_chebyshev(nodes), torch.cat(rows, 1))
            if not table.isfinite().all():
                raise InputError(
                    f"{self!r} has no finite second moment", f"variance 2^{octave}", "Use smaller weights."
                )
            self._tables[octave] = table
        return self._tables[octave]


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


def _chebyshev(x: Tensor) -> Tensor:
    """The Chebyshev polynomials at `x`, one per column."""
    columns = [torch.ones_like(x), x]
    while len(columns) < _CHEBYSHEV:
        columns.append(2 * x * columns[-1] - columns[-2])
    return torch.stack(columns, -1)


def _inverse_root(q: Tensor) -> Tensor:
    """``1 / sqrt(q)``, and 0 for a variance of 0, so that the correlation with such an input is 0."""
    return torch.where(q > 0, torch.where(q > 0, q, 1.0).rsqrt(), 0.0)


def _series(rho: Tensor, first: _Expansion, second: _Expansion) -> Tensor:
    """``sum_k (c_k(q1) c_k(q2) - m_k(q1) m_k(q2)) rho^k``, with ``m`` the part of ``c`` that kinks make.

    With ``g = c - m``, whose terms decay faster, the bracket is ``c_k(q1) g_k(q2) + g_k(q1) m_k(q2)``.
    """
    smooth1, smooth2 = first.series - first.kinked, second.series - second.kinked
    scale = (first.square.amax() * second.square.amax()).sqrt()
    left_out = (_tail(first.series) * _tail(smooth2)).sqrt() + (_tail(smooth1) * _tail(second.series)).sqrt()
    length = max(int((left_out > TOLERANCE[rho.dtype] * scale).sum()), 1)
    kinked = bool(first.kinked.any())
    if length < DEGREES or kinked:
        total = torch.zeros_like(rho)
    else:  # not converged: as if all that is left out were of the next degree
        rest1, rest2 = ((side.square - side.series.square().sum(0)).clamp(min=0) for side in (first, second))
        total = (rest1 * rest2).sqrt().to(rho.dtype).expand_as(rho).clone()
    columns = [each[:length].to(rho.dtype) for each in (first.series, smooth2, smooth1, second.kinked)]
    for k in reversed(range(length)):
        c1, g2, g1, m2 = (column[k] for column in columns)
        total = torch.addcmul(total * rho, c1, g2)
        if kinked:
            total = torch.addcmul(total, g1, m2)
    return total


def _tail(coefficients: Tensor) -> Tensor:
    """Sum of squares of the coefficients from each degree on, at the variance where it is largest."""
    squares = coefficients.detach().square().flatten(1).amax(1)
    return squares.flip(0).cumsum(0).flip(0)


def _kinked(kinks: dict[float, float], q: Tensor) -> tuple[Tensor, Tensor]:
    """Hermite coefficients, from degree 2 on, of ``sum_i J_i max(x - t_i, 0)``; from degree 1 on, of its derivative.

    ``E[max(x - t, 0) h_k] = sqrt(q) phi(t/sqrt q) h_{k-2}(t/sqrt q) / sqrt(k (k-1))``, with the normal density ``phi``.
    """
    value, slope = q.new_zeros(len(q), DEGREES), q.new_zeros(len(q), DEGREES)
    degree = torch.arange(1, DEGREES, dtype=q.dtype)
    for place, jump in kinks.items():
        z = (place / q.sqrt()).clamp(-40, 40)
        density = jump * torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
        polynomials = density[:, None] * torch.stack(hermite(z, DEGREES - 1), 1)
        slope[:, 1:] += polynomials / degree.sqrt()
        value[:, 2:] += q.sqrt()[:, None] * polynomials[:, :-1] / (degree[1:] * degree[:-1]).sqrt()
    return value, slope


def _beyond_second_order(
    kinks: dict[float, float], k: Tensor, q1: Tensor, q2: Tensor, inverse1: Tensor, inverse2: Tensor
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
    nodes, weights = np.polynomial.legendre.leggauss(_ANGLES)
    for node, weight in zip((nodes + 1) / 2, weights / 2):
        sin = torch.sin(latitude * node)
        cos2 = 2 * (1 - sin * sin) + 1e-300
        density = torch.zeros_like(k)
        for s, t, jumps in pairs:
            h1, h2 = s * inverse1, t * inverse2
            density = density + jumps * torch.exp((2 * h1 * h2 * sin - h1 * h1 - h2 * h2) / cos2)
        density = density * latitude * (weight / (2 * math.pi))
        value = value + density * (k - root * sin)
        slope = slope + density
    return value, slope
