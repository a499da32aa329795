"""How deep a network of given width should be: the emergent scale ``nu L/n`` and the best ratio of depth to width.

Finite-width corrections grow as ``V/(n K^2) = nu l/n``. With ``n_L`` outputs, the mutual information of outputs is
largest at ``L/n = 4 / ((20 + 3 n_L) nu)`` (Roberts, Yaida & Hanin 2021, appendix A); skip connections lower ``nu``
(appendix B) and so let networks be deeper.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import brentq

from harmonia.core.errors import InputError
from harmonia.networks.effective_theory.activation import AnyActivation, Pointwise, as_activation
from harmonia.networks.effective_theory.brackets import brackets
from harmonia.networks.effective_theory.criticality import CriticalityReport, analyze
from harmonia.networks.effective_theory.recursion import ResidualRule

_NEAR_ZERO = 1e-8


def emergent_slope(activation: AnyActivation, gamma: float = 0.0, residual: ResidualRule = "exact") -> float:
    """``nu = lim V/(l K^2)`` at the critical initialisation, with skips of weight `gamma`.

    With brackets at ``K*`` and ``C_W (1 - gamma^2)^-1`` critical without skips,

        nu K^2 = C_W^2 (<s^4> - <s^2>^2) + 2 gamma^2 C_W (<z^2 s^2> - K <s^2>) + 4 C_W <s s'> T,
        T = gamma C_W <z s^2> / (1 - gamma)         (0 in the book)

    and ``2/3 (1 - gamma^4)`` for activations that are smooth through the origin; fitted, at depth 800, where they bend
    there.

    Raises:
        InputError: an activation without critical initialisation, or `gamma` outside [0, 1).

    Example:
        >>> round(emergent_slope("relu"), 6), round(emergent_slope("tanh", gamma=0.5), 6)
        (5.0, 0.625)
    """
    if not 0 <= gamma < 1:
        raise InputError("the weight of skips must be in [0, 1)", gamma, "Pass gamma = 0 for none.")
    pointwise = as_activation(activation)
    return _slope(pointwise, _critical(pointwise), gamma, residual)


def _slope(activation: Pointwise, report: CriticalityReport, gamma: float, residual: ResidualRule) -> float:
    if report.universality == "K* = 0":
        return 2 / 3 * (1 - gamma**4)
    if report.universality == "K* = 0, kinked":
        # near 0 it is scale-invariant; the slow fall of the variance divides by the same at every gamma
        near = replace(report, universality="scale-invariant", K_star=_NEAR_ZERO)
        return report.nu * _slope(activation, near, gamma, residual) / _slope(activation, near, 0.0, residual)
    K, C_W = report.K_star, report.with_skips(gamma)[1]
    b = brackets(activation, torch.tensor(K, dtype=torch.float64))
    T = gamma * C_W * float(b.zs2) / (1 - gamma) if residual == "exact" else 0.0
    source = C_W**2 * float(b.s4 - b.s2**2) + 2 * gamma**2 * C_W * float(b.z2s2 - K * b.s2)
    return (source + 4 * C_W * float(b.sd) * T) / K**2


def optimal_ratio(
    activation: AnyActivation, n_out: int = 1, gamma: float = 0.0, residual: ResidualRule = "exact"
) -> float:
    """The best ratio of depth to width.

    Arguments:
        activation: As for `analyze`.
        n_out: Number of outputs.
        gamma: Weight of skip connections.
        residual: Rule for these, as in `recursion`.

    Example:
        >>> round(optimal_ratio("relu"), 4), round(optimal_ratio("tanh", n_out=10), 4)
        (0.0348, 0.12)
    """
    return _best(n_out) / emergent_slope(activation, gamma, residual)


def _best(n_out: int) -> float:
    """The best ``nu L/n``."""
    if n_out < 1:
        raise InputError("a network has at least one output", n_out, "Pass n_out >= 1.")
    return 4 / (20 + 3 * n_out)


def optimal_depth(
    width: int,
    activation: AnyActivation = "relu",
    n_out: int = 1,
    gamma: float = 0.0,
    residual: ResidualRule = "exact",
) -> int:
    """The number of layers with weights that a width can carry best; at least 1.

    Example:
        >>> optimal_depth(256, "gelu", n_out=10), optimal_depth(256, "tanh", n_out=10)
        (4, 31)
    """
    if width < 1:
        raise InputError("the width must be positive", width, "Pass width >= 1.")
    return max(1, round(width * optimal_ratio(activation, n_out, gamma, residual)))


def gamma_for(
    depth: int, width: int, activation: AnyActivation = "relu", n_out: int = 1, residual: ResidualRule = "exact"
) -> float:
    """The weight of skip connections that makes this depth the best one for this width; 0 if none is needed.

    Example:
        >>> gamma = gamma_for(50, 128, "relu", n_out=10)
        >>> round(optimal_ratio("relu", 10, gamma), 4) == round(50 / 128, 4)
        True
    """
    if depth < 1 or width < 1:
        raise InputError("depth and width must be positive", (depth, width), "Pass at least 1 of each.")

    pointwise = as_activation(activation)
    report, wanted = _critical(pointwise), _best(n_out) * width / depth

    def excess(gamma: float) -> float:
        return math.log(_slope(pointwise, report, gamma, residual) / wanted)

    if excess(0.0) <= 0:
        return 0.0
    grid = [*np.linspace(0, 0.99, 34), *(1 - 10.0**-k for k in (3, 4, 5, 6))]
    # nu may rise before it falls: the last crossing is the one after which skips always help.
    for low, high in zip(grid[-2::-1], grid[:0:-1]):
        if excess(low) > 0 >= excess(high):
            return float(brentq(excess, low, high, xtol=1e-10))
    raise InputError(
        "no skip connection makes so deep a network of this width sensible", f"{depth} layers", "Use fewer layers."
    )


def _critical(activation: Pointwise) -> CriticalityReport:
    report = analyze(activation)
    if not report.is_critical:
        mend = "Choose another." if report.shift is None else f"Use s(x) - ({report.shift:.6g})."
        what = f"no initialisation of '{activation.name}' is critical, so it has no best depth"
        raise InputError(what, "class 'none'", mend)
    return report
