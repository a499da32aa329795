"""What happens at any initialisation: where variances flow, and how perturbations grow there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float64
from scipy.optimize import brentq

from harmonia.networks.effective_theory.activation import AnyActivation, Pointwise, as_activation
from harmonia.networks.effective_theory.brackets import brackets, second_moment

Verdict = Literal["vanishes", "explodes", "ordered", "chaotic", "critical"]

_LOW, _HIGH = 1e-6, 1e4
_MARGIN = 1e-3


@dataclass(frozen=True)
class Phase:
    """An initialisation and its fate in deep networks.

    Attributes:
        C_b, C_W: The initialisation.
        K_star: Variance that deep layers approach; 0 or infinite where it vanishes or explodes.
        chi_par, chi_perp: Growth per layer, there, of perturbations along and across the signal.
        verdict: ``"vanishes"``, ``"explodes"``: the signal itself; ``"ordered"``: inputs become alike and gradients
            vanish; ``"chaotic"``: near inputs become unlike and gradients explode; ``"critical"``: neither.
        depth_scale: Layers in which perturbations (or, where it vanishes or explodes, the signal) change e-fold.
    """

    C_b: float
    C_W: float
    K_star: float
    chi_par: float
    chi_perp: float
    verdict: Verdict
    depth_scale: float


def phase_of(activation: AnyActivation, C_b: float, C_W: float, start: float = 1.0, gamma: float = 0.0) -> Phase:
    """The fate of signals whose first preactivations have variance `start`, with skips of weight `gamma`.

    Example:
        >>> phase = phase_of("relu", 0.0, 1.6)
        >>> phase.verdict, round(phase.depth_scale, 2)
        ('vanishes', 4.48)
    """
    pointwise = as_activation(activation)

    def change(log: float) -> float:
        K = math.exp(log)
        return math.log(max(C_b + C_W * second_moment(pointwise, K) + gamma**2 * K, 1e-300)) - log

    here, step = math.log(start), math.log(10) / 20
    rate = change(here)
    sign = 0 if abs(rate) < 1e-12 else math.copysign(1, rate)
    while sign and math.log(_LOW) < here < math.log(_HIGH):
        if change(here + sign * step) * sign <= 0:
            here = brentq(change, here, here + sign * step)
            sign = 0
            break
        here += sign * step
    at = brackets(pointwise, torch.tensor(math.exp(here), dtype=torch.float64))
    chi_par, chi_perp = C_W * float(at.s2_1) + gamma**2, C_W * float(at.d2) + gamma**2
    marginal = abs(change(here)) < _MARGIN and abs(chi_par - 1) < _MARGIN and abs(chi_perp - 1) < _MARGIN
    if marginal:
        K_star = 0.0 if sign < 0 else math.exp(here)
        return Phase(C_b, C_W, K_star, chi_par, chi_perp, "critical", math.inf)
    if sign:
        fate: Verdict = "explodes" if sign > 0 else "vanishes"
        return Phase(C_b, C_W, math.inf if sign > 0 else 0.0, chi_par, chi_perp, fate, 1 / abs(change(here)))
    verdict: Verdict = "critical" if abs(chi_perp - 1) < _MARGIN else "ordered" if chi_perp < 1 else "chaotic"
    scale = math.inf if verdict == "critical" else 1 / abs(math.log(chi_perp))
    return Phase(C_b, C_W, math.exp(here), chi_par, chi_perp, verdict, scale)


def gradient_growth(
    activation: Pointwise, C_b: Sequence[float], C_W: Sequence[float], gamma: float = 0.0, layers: int = 400
) -> Float64[np.ndarray, "C_b C_W"]:
    """``log chi_perp`` of deep layers on a grid of initialisations: what gradients gain per layer, as a logarithm.

    Variances are followed through `layers` layers on a table of the brackets, clipped to what it covers.
    """
    log = np.linspace(math.log(_LOW), math.log(_HIGH), 400)
    b = brackets(activation, torch.from_numpy(np.exp(log)))
    moment = np.log(b.s2.clamp(min=1e-300).numpy())
    bias, weight = np.meshgrid(C_b, C_W, indexing="ij")
    here = np.zeros_like(bias)
    for _ in range(layers):
        variance = bias + weight * np.exp(np.interp(here, log, moment)) + gamma**2 * np.exp(here)
        here = np.log(np.clip(variance, _LOW, _HIGH))
    return np.log(weight * np.interp(here, log, b.d2.numpy()) + gamma**2)
