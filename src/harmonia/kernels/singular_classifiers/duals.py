"""The dual of an activation on the unit sphere, precise at both ends: near equal and near orthogonal inputs.

For ``phi`` of unit second moment and ``(u, v)`` standard normal of correlation ``xi``,

    phi^(xi) = E phi(u) phi(v) = sum_k c_k xi^k,     c_k = (E phi(z) h_k(z))^2 >= 0,   sum_k c_k = 1.

Deep networks iterate it, so that rounding errors near its fixed point 1 would grow exponentially: there the map is
followed in ``eps = 1 - xi``, for which ``1 - phi^(1 - eps)`` is summed without cancellation.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray
from scipy.interpolate import CubicSpline
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.singular_classifiers.activations import HermiteActivation
from harmonia.parts.infwidth import Activation, Elementwise
from harmonia.parts.infwidth.expansion import DEGREES
from harmonia.parts.infwidth.quadrature import find_kinks, hermite_coefficients

NEAREST = 1e-32
"""Smallest distance ``eps`` that tables know: unit vectors in float64 are no nearer unless they are equal."""

ZERO = 1e-6
"""Means ``E phi`` and ``E phi'`` below count as 0: constants in activations are often given to seven digits."""

_NEGLIGIBLE = 1e-24
"""Coefficients below are quadrature noise of an exact zero."""

_ROUNDING = 1e-18
"""Sum of the last coefficients that may be dropped."""

_COMPLETE = 1e-13
"""What a finite expansion may miss of the second moment."""


class Dual(ABC):
    """``phi^`` and its derivative.

    Attributes:
        coefficients: ``c_0, c_1, ...``; exact ones of a finite expansion, else the first of an infinite one.
        slope_at_one: ``phi^'(1) = E phi'^2``, the paper's ``B'``.
    """

    coefficients: Float64[ndarray, " degrees"]
    slope_at_one: float

    @abstractmethod
    def rest(self, eps: Float64[ndarray, "*batch"]) -> Float64[ndarray, "*batch"]:
        """``1 - phi^(1 - eps)`` for ``0 <= eps <= 1/2``, to full relative precision."""

    @abstractmethod
    def log_slope_near_one(self, eps: Float64[ndarray, "*batch"]) -> Float64[ndarray, "*batch"]:
        """``log phi^'(1 - eps)`` for ``0 <= eps <= 1/2``."""

    def value(self, xi: Float64[ndarray, "*batch"]) -> Float64[ndarray, "*batch"]:
        """``phi^(xi)`` for ``0 <= xi <= 1/2``, to full relative precision."""
        return np.polynomial.polynomial.polyval(xi, self.coefficients)

    def log_value(self, log_xi: Float64[ndarray, "*batch"]) -> Float64[ndarray, "*batch"]:
        """``log phi^(xi)`` from ``log xi <= log 1/2``; `xi` itself may be too small for a float."""
        return _log_series(self.coefficients, log_xi)

    def log_slope(self, log_xi: Float64[ndarray, "*batch"]) -> Float64[ndarray, "*batch"]:
        """``log phi^'(xi)`` from ``log xi <= log 1/2``."""
        return _log_series(np.arange(1, len(self.coefficients)) * self.coefficients[1:], log_xi)


def _log_series(series: Float64[ndarray, " terms"], log_x: Float64[ndarray, "*batch"]) -> Float64[ndarray, "*batch"]:
    """``log sum_k series_k x^k`` of a series with positive terms, the lowest power taken out."""
    lowest = int(np.flatnonzero(series)[0])
    return lowest * log_x + np.log(np.polynomial.polynomial.polyval(np.exp(log_x), series[lowest:]))


class SeriesDual(Dual):
    """The dual of a finite sum of Hermite polynomials, exact.

    As ``1 - xi^k = (1 - xi) (1 + ... + xi^(k-1))``, ``1 - phi^(xi) = (1 - xi) sum_j t_j xi^j`` with
    ``t_j = sum_{k>j} c_k``: all terms are positive.

    Arguments:
        coefficients: ``c_0, c_1, ...``, not negative; scaled to sum 1.

    Example:
        >>> dual = SeriesDual(np.array([0.0, 0.5, 0.0, 0.5]))
        >>> dual.slope_at_one, float(dual.rest(np.array([1e-20]))[0])
        (2.0, 2e-20)
    """

    def __init__(self, coefficients: Float64[ndarray, " degrees"]) -> None:
        if coefficients.min() < 0 or not 0 < coefficients.sum() < math.inf:
            raise InputError("coefficients of a dual are not negative, and not all 0", coefficients, "Square them.")
        self.coefficients = coefficients / coefficients.sum()
        self._tails = self.coefficients[::-1].cumsum()[::-1][1:]
        self._slopes = np.arange(1, len(coefficients)) * self.coefficients[1:]
        self.slope_at_one = float(self._slopes.sum())

    def rest(self, eps: Float64[ndarray, "*batch"]) -> Float64[ndarray, "*batch"]:
        return eps * np.polynomial.polynomial.polyval(1 - eps, self._tails)

    def log_slope_near_one(self, eps: Float64[ndarray, "*batch"]) -> Float64[ndarray, "*batch"]:
        return np.log(np.polynomial.polynomial.polyval(1 - eps, self._slopes))


class TabulatedDual(Dual):
    """The dual of any continuous activation, for which a finite expansion is not enough.

    Near one it comes from its derivative, which the engine has: ``1 - phi^(1 - eps) = int_0^eps phi^'(1 - t) dt``,
    where ``t = eps s^2`` makes the root that kinks leave at 0 smooth. The logarithms of ``(1 - phi^) / eps`` and of
    ``phi^'`` are then smooth in ``log eps``, and are interpolated by cubic splines.

    Arguments:
        activation: An activation of the engine.
        coefficients: ``c_0, c_1, ...``, as far as they are known.
        second_moment: ``E phi^2``.
    """

    def __init__(
        self, activation: Activation, coefficients: Float64[ndarray, " degrees"], second_moment: float
    ) -> None:
        self.coefficients = coefficients
        self._activation, self._second_moment = activation, second_moment
        slope = activation.dual_of_itself(torch.ones(1, dtype=torch.float64))[1]
        assert slope is not None
        self.slope_at_one = float(slope) / second_moment

    def rest(self, eps: Float64[ndarray, "*batch"]) -> Float64[ndarray, "*batch"]:
        return eps * np.exp(self._splines[0](_log(eps)))

    def log_slope_near_one(self, eps: Float64[ndarray, "*batch"]) -> Float64[ndarray, "*batch"]:
        return self._splines[1](_log(eps))

    @cached_property
    def _splines(self) -> tuple[CubicSpline, CubicSpline]:
        """``log((1 - phi^(1 - eps)) / eps)`` and ``log phi^'(1 - eps)`` as functions of ``log eps``."""
        log_eps = np.linspace(math.log(NEAREST), math.log(0.55), 1500)
        eps = torch.from_numpy(np.exp(log_eps))
        nodes, weights = (torch.from_numpy(each) for each in np.polynomial.legendre.leggauss(16))
        s = (nodes + 1) / 2
        mean = self._derivative(eps[:, None] * s.square()) @ (weights * s)
        return tuple(CubicSpline(log_eps, each.log().numpy()) for each in (mean, self._derivative(eps)))

    def _derivative(self, eps: Tensor) -> Tensor:
        ones = torch.ones_like(eps)
        found = self._activation.dual(1 - eps, ones, ones)[1]
        assert found is not None
        return found / self._second_moment


def _log(eps: Float64[ndarray, "*batch"]) -> Float64[ndarray, "*batch"]:
    return np.log(np.maximum(eps, NEAREST))


def dual_of(phi: Activation | Callable[[Tensor], Tensor]) -> Dual:
    """The dual of an activation, scaled to unit second moment.

    Arguments:
        phi: An activation of `harmonia.kernels.infwidth`, or an elementwise function of tensors.

    Raises:
        InputError: no function, or one that is discontinuous, not finite, or 0.

    Example:
        >>> dual_of(torch.sin).coefficients[:4].round(4)  # sinh(xi) / sinh(1)
        array([0.    , 0.8509, 0.    , 0.1418])
    """
    if isinstance(phi, HermiteActivation):
        return SeriesDual(phi.coefficients.numpy() ** 2)
    if not callable(phi) or isinstance(phi, (type, str)):
        raise InputError("this is no activation", repr(phi), "Pass an elementwise function such as torch.tanh.")
    activation = phi if isinstance(phi, Activation) else Elementwise(phi)
    kinks = activation.kinks if isinstance(activation, Elementwise) else find_kinks(activation.function)
    one = torch.ones(1, dtype=torch.float64)
    [(series, square)] = hermite_coefficients([activation.function], one, DEGREES, list(kinks))
    second_moment = float(square)
    if not 0 < second_moment < math.inf:
        raise InputError("the activation has no finite second moment, or is 0", second_moment, "Use another.")
    coefficients = series[0].square().numpy() / second_moment
    coefficients[coefficients < _NEGLIGIBLE] = 0.0
    if not coefficients[1:].any():
        raise InputError("the activation is constant", f"second moment {second_moment:.6g}", "Use another.")
    coefficients[:2][coefficients[:2] < ZERO**2] = 0.0
    left_out = coefficients[::-1].cumsum()[::-1]
    coefficients = coefficients[: max(2, int((left_out > _ROUNDING).sum()))]
    if not kinks and coefficients.sum() > 1 - _COMPLETE:
        return SeriesDual(coefficients)
    return TabulatedDual(activation, coefficients, second_moment)
