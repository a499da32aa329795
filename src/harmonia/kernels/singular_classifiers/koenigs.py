"""The kernel of infinite depth: the Koenigs function of the dual at 0, in the logarithm, exact and tabulated.

For ``a = phi^'(0)`` in (0, 1) the tangent kernel of depth L tends, as ``K_L(xi) / (L a^L)``, to

    g(xi) = lim_L phi^(phi^(... xi)) / a^L,     g(phi^(xi)) = a g(xi),     g'(0) = 1,

the function that makes ``phi^`` linear (Koenigs 1884). Near ``xi = 1`` it has a singularity,
``g(1 - eps) = eps^(-alpha/2) P(log eps / log b)`` with ``b = phi^'(1)``, ``alpha = -2 log a / log b`` and a positive
`P` of period 1. Depths never have to be gone through, and ``log g`` neither overflows nor underflows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray
from scipy.interpolate import CubicSpline
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.singular_classifiers.duals import NEAREST, Dual
from harmonia.kernels.singular_classifiers.taxonomy import taxonomy_of

_TERMS = 30
"""Of the power series of g at 0."""

_SMALL = 0.05
"""The power series is used up to this share of `a`, where its terms decay like 0.05^m."""

_STEEPEST = math.log(1.005)
"""Activations with a smaller ``log b`` or ``-log a`` count as linear: only thousands of layers would bend them."""

_LOWEST, _HIGHEST = math.log(NEAREST), -math.log(1e-10)
"""Range of ``log(eps / xi)`` that is tabulated; beyond, inputs are equal, or the weight is 0 for all purposes."""

_NODES = 128
"""Values of the exact function per unit of ``log(eps / xi)``; the table's error is then some 1e-9 or less."""


class Koenigs:
    """``log g`` of a dual in the singular class.

    Arguments:
        dual: Of the activation, with ``c_0 = 0`` and ``0 < c_1 < 1``.

    Attributes:
        alpha: Exponent of the singularity: ``g ~ |x - x'|^-alpha``.

    Raises:
        InputError: another class, or an activation that is almost linear.

    Example:
        >>> from harmonia.kernels.singular_classifiers.activations import optimal_activation
        >>> from harmonia.kernels.singular_classifiers.duals import dual_of
        >>> g = Koenigs(dual_of(optimal_activation(2)))
        >>> np.exp(g.log(np.array([0.5, 1e-4]))).round(4)  # at xi = 0.5 and 0.9999
        array([7.13600e-01, 6.05122e+03])
    """

    def __init__(self, dual: Dual) -> None:
        found = taxonomy_of(dual)
        if found.kind != "singular kernel":
            raise InputError("only the singular class has a Koenigs function", found, "Use such an activation.")
        self.dual, self.alpha = dual, found.alpha
        self._log_a, log_b = math.log(dual.coefficients[1]), math.log(dual.slope_at_one)
        if min(log_b, -self._log_a) < _STEEPEST:
            got = f"a = {dual.coefficients[1]:.6g}, b = {dual.slope_at_one:.6g}"
            raise InputError("the activation is almost linear", got, "Scale its input up.")
        self._series = _koenigs_series(dual.coefficients, _TERMS)

    def log(self, eps: Float64[ndarray, "*batch"]) -> Float64[ndarray, "*batch"]:
        """``log g(1 - eps)`` by the functional equation; infinite at 0, minus infinite at 1.

        Arguments:
            eps: ``1 - x.x' = |x - x'|^2 / 2``, from 0 to 1.
        """
        return self._log(eps, 1 - eps)

    def _log(self, eps: Float64[ndarray, "*batch"], xi: Float64[ndarray, "*batch"]) -> Float64[ndarray, "*batch"]:
        """The same of `eps` and ``xi = 1 - eps``, each precise where it is small."""
        shape = eps.shape
        eps, xi, layers = eps.ravel().copy(), xi.ravel().copy(), np.zeros(eps.size)
        coincident = eps == 0
        active = np.flatnonzero((eps < 0.5) & ~coincident)
        while active.size:
            eps[active] = self.dual.rest(eps[active])
            xi[active] = 1 - eps[active]
            layers[active] += 1
            active = active[eps[active] < 0.5]
        active = np.flatnonzero(~coincident)
        small = _SMALL * math.exp(self._log_a)
        while (active := active[xi[active] > small]).size:
            xi[active] = self.dual.value(xi[active])
            layers[active] += 1
        with np.errstate(divide="ignore"):
            start = np.log(np.polynomial.polynomial.polyval(xi / math.exp(self._log_a), self._series))
        start[coincident] = math.inf
        return (start + (1 - layers) * self._log_a).reshape(shape)

    @cached_property
    def table(self) -> LogTable:
        """The same as a table, for millions of pairs."""
        nodes = table_nodes(self._sharpness)
        spline = CubicSpline(nodes, self._log(1 / (1 + np.exp(-nodes)), 1 / (1 + np.exp(nodes))))
        return LogTable(spline, per_octave=64 * self._sharpness)

    @property
    def _sharpness(self) -> int:
        """By how much more finely than usual the function must be tabulated."""
        return 1 if self.alpha <= 16 else 2 if self.alpha <= 32 else 4 if self.alpha <= 64 else 8


def table_nodes(sharpness: int = 1) -> Float64[ndarray, " nodes"]:
    """Where, in ``log(eps / xi)``, a function must be known for its `LogTable`."""
    return np.linspace(_LOWEST, _HIGHEST, math.ceil((_HIGHEST - _LOWEST) * _NODES * sharpness))


class LogTable:
    """A function of the ratio ``r = eps / (1 - eps)``, smooth in ``log r``, by a cubic in each of many intervals.

    The exponent and the leading bits of a floating-point number say in which interval it lies, the other bits where:
    no logarithm is taken. Beyond its ends the function is constant.

    Arguments:
        function: Of ``log r``; a kernel's logarithm is a straight line at both ends, of slopes ``-alpha/2`` and -1.
        per_octave: Intervals between `r` and ``2 r``, a power of 2.
    """

    def __init__(self, function: Callable[[ndarray], ndarray], per_octave: int) -> None:
        self._low, self._high = math.exp(_LOWEST), math.exp(_HIGHEST)
        self._shift = 53 - per_octave.bit_length()
        self._first, last = (_bits(end) >> self._shift for end in (self._low, self._high))
        start = np.arange(self._first, last + 1) << self._shift
        places = (1 - np.cos(np.pi * (np.arange(4) + 0.5) / 4)) / 2
        offsets = (places * 2.0**self._shift).astype(np.int64)
        values = function(np.log((start + offsets[:, None]).view(np.float64)))
        cubics = np.linalg.solve(np.vander(offsets * 2.0**-self._shift, 4), values)
        self._cubics = torch.from_numpy(cubics)

    def __call__(self, eps: Float64[Tensor, "*batch"]) -> Float64[Tensor, "*batch"]:
        """Values at `eps`, for ``0 <= eps <= 1``."""
        bits = (eps / (1 - eps)).clamp_(self._low, self._high).view(torch.int64)
        interval = (bits >> self._shift).sub_(self._first).flatten()
        place = bits.bitwise_and_((1 << self._shift) - 1).to(eps.dtype).mul_(2.0**-self._shift)
        third, *others = self._cubics.to(eps.device)
        value = third.index_select(0, interval).view_as(place)
        for row in others:
            value.mul_(place).add_(row.index_select(0, interval).view_as(place))
        return value


def _bits(number: float) -> int:
    return int(np.float64(number).view(np.int64))


def _koenigs_series(c: Float64[ndarray, " degrees"], terms: int) -> Float64[ndarray, " terms"]:
    """Power series of ``h(y) = g(a y) / a``, from degree 0 on.

    It solves ``h(psi(y)) = a h(y)`` with ``psi(y) = phi^(a y) / a = a y + c_2 a y^2 + ...``, so that

        h_m = sum_{j<m} h_j [y^m] psi^j / (a - a^m),

    and its terms are of order 1 however small `a` is.
    """
    a = c[1]
    psi = np.zeros(terms)
    known = min(terms, len(c))
    psi[1:known] = c[1:known] * a ** np.arange(known - 1)
    powers = [np.eye(1, terms)[0], psi]
    while len(powers) < terms:
        powers.append(np.convolve(powers[-1], psi)[:terms])
    h = np.zeros(terms)
    h[1] = 1.0
    for m in range(2, terms):
        h[m] = sum(h[j] * powers[j][m] for j in range(1, m)) / (a - a**m)
    return h
