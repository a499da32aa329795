"""Initialise a torch module critically: convolutions, normalisation and skip connections included."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.networks.effective_theory.activation import AnyActivation, Pointwise, as_activation
from harmonia.networks.effective_theory.brackets import brackets
from harmonia.networks.effective_theory.criticality import CriticalityReport, analyze
from harmonia.networks.effective_theory.graph import Norm, Reading, Step, Weighted, fan_in, read


@dataclass(frozen=True)
class LayerScale:
    """What one layer was given.

    Attributes:
        name: The layer.
        C_b, C_W: Variances of its biases and, times the fan-in, of its weights.
        fan_in: Inputs that one output sums over.
        feed: What it receives: the name of an activation, ``"input"``, ``"linear"`` or ``"norm"``.
        share: Factor of both variances where the layer ends a branch beside a skip connection; else 1.
    """

    name: str
    C_b: float
    C_W: float
    fan_in: float
    feed: str
    share: float


def critical_init_(
    module: nn.Module,
    activation: AnyActivation | None = None,
    gamma: float | None = None,
    input_scale: Literal["auto"] | float | Tensor = "auto",
    generator: torch.Generator | None = None,
) -> list[LayerScale]:
    """Give a module new, critical weights: signals and gradients keep their size through its depth.

    Each linear or convolutional layer gets Gaussian weights of variance ``C_W / fan_in`` and biases of variance
    ``C_b``, critical for the activation that feeds it; the first layer brings its inputs to the critical variance.
    Where a branch joins a skip connection of weight ``gamma < 1`` its last layer gets ``1 - gamma^2`` of both; beside
    a plain skip (``gamma = 1``, where no such branch is critical) ``1/(skips + 1)``, so that all of them together
    change the variance by less than a factor e. If that branch ends in a norm, the norm's scale is set instead. Other
    norms are reset; other parameters (embeddings, attention's own) are left alone.

    Arguments:
        module: The network, changed in place.
        activation: The activation of all hidden layers; found in the module's graph unless given.
        gamma: Weight of its skip connections; found unless given.
        input_scale: Mean square of the inputs, or a batch of them; 1 (standardised inputs) unless given.
        generator: Source of randomness; seeded with 0 unless given.

    Returns:
        What each layer was given.

    Raises:
        InputError: nothing to initialise, shared weights, or an activation without critical initialisation.

    Example:
        >>> net = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 10))
        >>> [(each.name, each.feed, round(each.C_W, 4)) for each in critical_init_(net)]
        [('0', 'input', 3.3886), ('2', 'GELU', 1.9831)]
    """
    reading = read(module)
    main = reading.activation if activation is None else as_activation(activation)
    report = _critical(main)
    if gamma is not None and not 0 <= gamma <= 1:
        raise InputError("the weight of skips must be between 0 and 1", gamma, "Pass another gamma.")
    scale = _mean_square(input_scale)
    if not reading.traced:
        say("The module's graph cannot be read; its layers are taken for a chain.")
    shares = _shares(reading, gamma)
    generator = generator or torch.Generator().manual_seed(0)
    _reset_norms(module, shares)
    given = []
    for step in reading.steps:
        C_b, C_W = _scales(step, main if activation is not None else None, report, scale)
        share = shares.get(step.layer, 1.0)
        if not reading.traced and gamma and step.feed != "input":
            share = 1 - gamma**2
        _fill(step.layer, share * C_b, share * C_W, generator)
        feed = step.feed.name if isinstance(step.feed, Pointwise) else step.feed
        given.append(LayerScale(step.name, share * C_b, share * C_W, fan_in(step.layer), feed, share))
    return given


def _critical(activation: Pointwise) -> CriticalityReport:
    report = analyze(activation)
    if not report.is_critical:
        mend = "Use another activation, or name the right one with `activation`."
        if report.shift is not None:
            mend = f"Use s(x) - ({report.shift:.6g}), or name the right activation with `activation`."
        raise InputError(f"no initialisation of '{activation.name}' is critical", "class 'none'", mend)
    return report


def _mean_square(scale: Literal["auto"] | float | Tensor) -> float:
    if isinstance(scale, str):
        value = 1.0
    elif isinstance(scale, Tensor):
        value = float(scale.double().square().mean()) if scale.is_floating_point() else 1.0
    else:
        value = float(scale)
    if not 0 < value < math.inf:
        raise InputError("the inputs' mean square must be positive and finite", value, "Standardise the inputs.")
    return value


def _scales(step: Step, chosen: Pointwise | None, report: CriticalityReport, input_scale: float) -> tuple[float, float]:
    """``(C_b, C_W)`` for what the layer receives."""
    feed = step.feed if chosen is None or not isinstance(step.feed, Pointwise) else chosen
    if feed == "linear":
        return 0.0, 1.0
    if not isinstance(feed, Pointwise):  # inputs of known size: to the critical variance
        return report.C_b, (report.start - report.C_b) / (input_scale if feed == "input" else 1.0)
    return _of_activation(feed, report)


def _of_activation(activation: Pointwise, main: CriticalityReport) -> tuple[float, float]:
    report = main if activation.name == main.activation else analyze(activation)
    if report.is_critical:
        return report.C_b, report.C_W
    # A gate or the like beside the main activation: keep perturbations at unit variance.
    return 0.0, 1 / float(brackets(activation, torch.tensor(1.0)).d2)


def _shares(reading: Reading, gamma: float | None) -> dict[nn.Module, float]:
    """What part of the sum's variance each branch, and each shortcut with weights, brings."""
    shares: dict[nn.Module, float] = {}
    small = 1 / (len(reading.skips) + 1)
    for skip in reading.skips:
        weight = skip.gamma if gamma is None else gamma
        if skip.shortcuts:
            shares |= dict.fromkeys(skip.shortcuts, 1 - small)
        share = small if skip.shortcuts or weight**2 >= 1 - 1e-9 else 1 - weight**2
        shares |= dict.fromkeys(skip.ends, share)
    return shares


def _reset_norms(module: nn.Module, shares: dict[nn.Module, float]) -> None:
    for part in module.modules():
        if not isinstance(part, Norm):
            continue
        with torch.no_grad():
            if part.weight is not None:
                part.weight.fill_(math.sqrt(shares.get(part, 1.0)))
            if isinstance(bias := getattr(part, "bias", None), Tensor):
                bias.zero_()


def _fill(layer: Weighted, C_b: float, C_W: float, generator: torch.Generator) -> None:
    with torch.no_grad():
        noise = torch.randn(layer.weight.shape, generator=generator)
        layer.weight.copy_(noise * math.sqrt(C_W / fan_in(layer)))
        if layer.bias is not None:
            layer.bias.copy_(torch.randn(layer.bias.shape, generator=generator) * math.sqrt(C_b))
