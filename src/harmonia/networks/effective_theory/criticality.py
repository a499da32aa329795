"""Criticality: the initialisation at which signals neither explode nor vanish with depth, for any activation.

A layer maps the variance of preactivations by ``K' = C_b + C_W <s^2>_K``; perturbations along and across the signal
grow by ``chi_par = C_W <s^2>'`` and ``chi_perp = C_W <s'^2>`` per layer. An initialisation ``(C_b, C_W)`` is critical
when both are 1 at a fixed point ``K*`` (Roberts, Yaida & Hanin 2021, chapters 3 and 5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float64
from scipy.optimize import brentq

from harmonia.core.errors import InputError
from harmonia.networks.effective_theory.activation import AnyActivation, Pointwise, as_activation
from harmonia.networks.effective_theory.brackets import brackets, criterion, second_moment
from harmonia.networks.effective_theory.phase import Phase, phase_of

Universality = Literal["scale-invariant", "K* = 0", "K* = 0, kinked", "half-stable", "none"]

_LOWEST, _HIGHEST, _POINTS = 1e-6, 1e4, 200
_SMALLEST_C_W = 1e-6


@dataclass(frozen=True)
class CriticalityReport:
    """How an activation behaves at initialisation, and where it is critical.

    Attributes:
        activation: Its name.
        universality: ``"scale-invariant"``: two straight pieces that meet at 0, every variance is a fixed point.
            ``"K* = 0"``: smooth through the origin; variances fall slowly, as ``1/(-a1 l)``, and perturbations by
            powers of the depth. ``"K* = 0, kinked"``: the same where it bends at 0 or is straight there; other powers.
            ``"half-stable"``: one isolated ``K* > 0``, approached from one side only. ``"none"``: no initialisation is
            critical.
        K_star: The critical variance; 0 and arbitrary (1) for the classes that say so, NaN where there is none.
        C_b, C_W: Critical variances of biases and, times the fan-in, of weights; NaN where there are none.
        nu: ``lim V / (l K^2)``: non-Gaussianity, per layer, of networks of width 1.
        a1, b1: ``chi_par = 1 + 2 a1 K`` and ``chi_perp = 1 + b1 K`` at small K, for ``"K* = 0"``; else NaN.
        p_perp: Power by which perturbations fall with depth at criticality: ``b1 / a1``, or fitted if kinked, or 0.
        decay: Power by which the variance does.
        attracts: From which side variances near ``K*`` flow to it: ``"both"``, ``"above"``, ``"below"``, ``"neither"``.
        shift: For ``"none"``: a constant which, taken off the activation, makes it critical (see `critical_shift`).
        given: What happens at the ``C_b`` and ``C_W`` that were asked about, or None.
        pointwise: The activation itself.
    """

    activation: str
    universality: Universality
    K_star: float
    C_b: float
    C_W: float
    nu: float
    a1: float
    b1: float
    p_perp: float
    decay: float
    attracts: Literal["both", "above", "below", "neither"]
    shift: float | None
    given: Phase | None
    pointwise: Pointwise = field(repr=False)

    @property
    def is_critical(self) -> bool:
        """Whether some initialisation is critical."""
        return self.universality != "none"

    @cached_property
    def r_curve(self) -> tuple[Float64[np.ndarray, " points"], Float64[np.ndarray, " points"]]:
        """Variances K and ``r(K) = chi_par / chi_perp - 1``, whose zeros are the candidates; NaN where it overflows."""
        return _curve(self.pointwise)

    @property
    def start(self) -> float:
        """Variance for the first layer's preactivations: ``K*``, or 1 where that is 0 or arbitrary."""
        return self.K_star if self.universality == "half-stable" else 1.0

    def with_skips(self, gamma: float) -> tuple[float, float]:
        """Critical ``(C_b, C_W)`` for layers ``z' = W s(z) + b + gamma z``: both times ``1 - gamma^2``."""
        return (1 - gamma**2) * self.C_b, (1 - gamma**2) * self.C_W


def analyze(activation: AnyActivation, C_b: float | None = None, C_W: float | None = None) -> CriticalityReport:
    """Find the critical initialisation of an activation and its universality class.

    Arguments:
        activation: A name (``"gelu"``), a formula (``"x * tanh(x)"``), a function or a module.
        C_b: With `C_W`: also say what happens at this initialisation.
        C_W: Variance of the weights times their fan-in.

    Raises:
        InputError: an activation that is not elementwise and deterministic, or a negative or lone `C_b` or `C_W`.

    Example:
        >>> report = analyze("gelu")
        >>> report.universality, round(report.K_star, 6), round(report.C_W, 6), round(report.C_b, 6)
        ('half-stable', 3.561553, 1.983058, 0.172922)
        >>> analyze("tanh", C_b=0.0, C_W=1.5).given.verdict
        'chaotic'
    """
    pointwise = as_activation(activation)
    found = _scale_invariant(pointwise) or _at_zero(pointwise) or _isolated(pointwise)
    if found is None:
        found = _Found("none", math.nan, math.nan, math.nan, math.nan, attracts="neither")
    given = None
    if C_b is not None or C_W is not None:
        start = found.K_star if found.universality == "half-stable" else 1.0
        given = phase_of(pointwise, *_scales(C_b, C_W), start=start)
    shift = None if found.universality != "none" else critical_shift(pointwise)
    return CriticalityReport(
        pointwise.name,
        found.universality,
        found.K_star,
        found.C_b,
        found.C_W,
        found.nu,
        found.a1,
        found.b1,
        found.p_perp,
        found.decay,
        found.attracts,
        shift,
        given,
        pointwise,
    )


def critical_shift(activation: AnyActivation, K_star: float | None = None) -> float | None:
    """The constant ``c`` for which ``s(z) - c`` is critical, or None.

    ``c = s(0)`` gives the class ``K* = 0`` where that is stable. Otherwise, for each variance K there is one c at which
    ``chi_par = chi_perp``, namely ``c = (<z s s'> - K <s'^2>) / <z s'>``, and it will do if it needs no negative bias
    variance, ``C_b = K - <(s - c)^2> / <s'^2> >= 0``.

    Arguments:
        activation: As for `analyze`.
        K_star: The critical variance wanted; the admissible one nearest to 1 unless given.

    Example:
        >>> critical_shift("sigmoid")
        0.5
        >>> shift = critical_shift("softplus")
        >>> analyze(f"softplus(x) - {shift}").universality
        'half-stable'
    """
    pointwise = as_activation(activation)
    if K_star is None:
        at_zero = pointwise.derivatives_at_zero()[0]
        if math.isfinite(at_zero) and _at_zero(Pointwise("shifted", lambda z: pointwise.function(z) - at_zero)):
            return at_zero
    elif not 0 < K_star < math.inf:
        raise InputError("the critical variance must be positive", K_star, "Pass K_star > 0.")
    K = torch.logspace(-3, 3, 121, dtype=torch.float64) if K_star is None else torch.tensor([float(K_star)]).double()
    b = brackets(pointwise, K)
    shift = (b.zsd - K * b.d2) / b.zd
    C_b = K - (b.s2 - 2 * shift * b.s + shift**2) / b.d2
    admissible = b.resolved & shift.isfinite() & (C_b >= 0) & (1 / b.d2 > _SMALLEST_C_W)
    if not admissible.any():
        return None
    nearest = int(torch.where(admissible, K.log().abs(), torch.inf).argmin())
    return float(shift[nearest])


def _scales(C_b: float | None, C_W: float | None) -> tuple[float, float]:
    for name, value in (("C_b", C_b), ("C_W", C_W)):
        if value is None:
            raise InputError("an initialisation is two variances", f"no {name}", "Give both C_b and C_W, or neither.")
        if not 0 <= value < math.inf:
            raise InputError(f"{name} is a variance: finite and not negative", value, "Pass another.")
    assert C_b is not None
    assert C_W is not None
    return C_b, C_W


@dataclass(frozen=True)
class _Found:
    universality: Universality
    K_star: float
    C_b: float
    C_W: float
    nu: float
    a1: float = math.nan
    b1: float = math.nan
    p_perp: float = 0.0
    decay: float = 0.0
    attracts: Literal["both", "above", "below", "neither"] = "both"


def _scale_invariant(activation: Pointwise) -> _Found | None:
    """``s(a z) = a s(z)`` for all ``a > 0``: ``C_W = 1/A_2``, ``nu = 3 A_4/A_2^2 - 1``."""
    x = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    slopes = activation.function(x) * x.sign()
    grid = torch.linspace(-50, 50, 997, dtype=torch.float64)
    straight = torch.where(grid > 0, slopes[1], slopes[0]) * grid
    if not torch.allclose(activation.function(grid), straight, rtol=1e-9, atol=1e-12):
        return None
    A_2, A_4 = float(slopes.square().mean()), float(slopes.pow(4).mean())
    return _Found("scale-invariant", 1.0, 0.0, 1 / A_2, 3 * A_4 / A_2**2 - 1)


def _at_zero(activation: Pointwise) -> _Found | None:
    """``s(0) = 0`` with a slope there and variances that fall to 0: ``C_b = 0``, ``C_W = 1/<s'^2>_0``."""
    s0, s1, s2, s3 = activation.derivatives_at_zero()
    x = torch.tensor([-1e-9, 1e-9], dtype=torch.float64)
    A_2 = float(activation.slope(x).square().mean())
    if abs(s0) > 1e-12 or not 1e-12 < A_2 < 1 / _SMALLEST_C_W:
        return None
    K = torch.tensor([1e-4, 1e-3, 1e-2, 1e-1], dtype=torch.float64)
    growth = brackets(activation, K).s2 / (K * A_2) - 1
    if float(growth.max()) > 1e-12 or second_moment(activation, 1.0) >= A_2:
        return None
    smooth = 0.0 not in activation.kinks and _bend(activation, 1e-6) <= 0.1 * _bend(activation, 1e-4) + 1e-6
    if smooth and s1:
        a1, b1 = s3 / s1 + 0.75 * (s2 / s1) ** 2, s3 / s1 + (s2 / s1) ** 2
        if a1 < -1e-9:
            return _Found("K* = 0", 0.0, 0.0, 1 / A_2, 2 / 3, a1, b1, b1 / a1, 1.0)
    nu, p_perp, decay = _fitted(activation, 1 / A_2)
    return _Found("K* = 0, kinked", 0.0, 0.0, 1 / A_2, nu, p_perp=p_perp, decay=decay)


def _bend(activation: Pointwise, step: float) -> float:
    """By how much ``s''`` differs between the two sides of 0; falls with the step unless it jumps there."""
    x = step * torch.tensor([-2.0, -1.0, 1.0, 2.0], dtype=torch.float64)
    left, _, right = (activation.slope(x).diff() / step).tolist()
    return abs(left - right)


def _fitted(activation: Pointwise, C_W: float, depth: int = 400) -> tuple[float, float, float]:
    """``V/(l K^2)`` after many layers, and the powers by which perturbations and the variance fall."""
    variances = [1.0]
    for _ in range(2 * depth):
        variances.append(C_W * second_moment(activation, variances[-1]))
    b = brackets(activation, torch.tensor(variances, dtype=torch.float64))
    vertex = 0.0
    for source, gain in zip((b.s4 - b.s2**2).tolist(), b.s2_1.tolist()):
        vertex = C_W**2 * (source + gain**2 * vertex)
    last = C_W * second_moment(activation, variances[-1])
    across = -float((C_W * b.d2[depth:-1]).log2().sum())
    return vertex / ((2 * depth + 1) * last**2), across, math.log2(variances[depth] / variances[-1])


def _curve(activation: Pointwise) -> tuple[np.ndarray, np.ndarray]:
    K = torch.logspace(math.log10(_LOWEST), math.log10(_HIGHEST), _POINTS, dtype=torch.float64)
    return K.numpy(), criterion(activation, K).numpy()


def _isolated(activation: Pointwise) -> _Found | None:
    """A zero of r(K) with ``C_b >= 0``, the first there is."""

    def gap(log: float) -> float:
        return float(criterion(activation, torch.tensor(math.exp(log), dtype=torch.float64)))

    K, r = _curve(activation)
    signs = np.sign(np.where(np.abs(r) < 1e-12, 0.0, r))
    for i in np.flatnonzero(signs[:-1] * signs[1:] < 0):
        K_star = math.exp(brentq(gap, math.log(K[i]), math.log(K[i + 1]), xtol=1e-14, rtol=1e-14))
        b = brackets(activation, torch.tensor(K_star, dtype=torch.float64))
        C_W = 1 / float(b.d2)
        C_b = K_star - C_W * float(b.s2)
        if C_b < 0 or C_W < _SMALLEST_C_W or not bool(b.resolved):
            continue
        nu = C_W**2 * float(b.s4 - b.s2**2) / K_star**2
        return _Found("half-stable", K_star, C_b, C_W, nu, attracts="above" if float(b.s2_2) < 0 else "below")
    return None
