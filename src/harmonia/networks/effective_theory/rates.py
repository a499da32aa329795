"""Learning rates per layer, such that every layer contributes alike to the tangent kernel of the whole network.

The equivalence principle (Roberts, Yaida & Hanin 2021, chapter 9): what layer l adds to the tangent kernel of the
output is its own ``lambda_b + lambda_W <s^2>`` times the ``chi_perp`` of all later layers, which falls as
``(l/L)^p_perp``, while ``<s^2>`` falls as ``l^-decay``. So

    lambda_b^(l) = (lambda_b/L) (L/l)^p_perp,    lambda_W^(l) = (lambda_W/L) (L/l)^p_perp l^decay

which is ``lambda/L`` for scale-invariant and half-stable activations, ``lambda_b/l`` and ``lambda_W`` for tanh.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float64
from torch import nn

from harmonia.core.errors import InputError
from harmonia.networks.effective_theory.activation import AnyActivation
from harmonia.networks.effective_theory.criticality import CriticalityReport, analyze
from harmonia.networks.effective_theory.graph import fan_in, main_activation, weight_layers


def learning_rates(
    report: CriticalityReport, depth: int, lambda_b: float = 1.0, lambda_W: float = 1.0
) -> tuple[Float64[np.ndarray, " depth"], Float64[np.ndarray, " depth"]]:
    """Rates of biases, and of weights times the fan-in, for each layer.

    Example:
        >>> biases, weights = learning_rates(analyze("tanh"), 4)
        >>> biases.round(3).tolist(), weights.tolist()
        ([1.0, 0.5, 0.333, 0.25], [1.0, 1.0, 1.0, 1.0])
    """
    if not report.is_critical:
        raise InputError(f"no initialisation of '{report.activation}' is critical", "class 'none'", "Choose another.")
    layer = np.arange(1, depth + 1, dtype=np.float64)
    back = (depth / layer) ** report.p_perp / depth
    return lambda_b * back, lambda_W * back * layer**report.decay


def equivalence_param_groups(
    module: nn.Module, lr: float, activation: AnyActivation | None = None
) -> list[dict[str, Any]]:
    """Parameter groups for a torch optimiser with one learning rate for each layer's weights and biases.

    Weights of layer l get ``lr lambda_W^(l) / fan_in`` and biases ``lr lambda_b^(l)``; parameters outside of linear
    and convolutional layers (normalisation) get ``lr / depth``. The rates are those of plain gradient descent; with
    a squared loss summed over data, stable for ``lr < 2 / lambda_max(Theta)``.

    Arguments:
        module: A network; its layers are taken in the order of its modules.
        lr: The rate that all are relative to.
        activation: Its activation; found in the module unless given.

    Example:
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        >>> [(group["name"], round(group["lr"], 4)) for group in equivalence_param_groups(net, 0.1)]
        [('0.weight', 0.025), ('0.bias', 0.1), ('2.weight', 0.0125), ('2.bias', 0.05)]
    """
    if not lr > 0:
        raise InputError("the learning rate must be positive", lr, "Pass lr > 0.")
    layers = weight_layers(module)
    report = analyze(main_activation(module) if activation is None else activation)
    biases, weights = learning_rates(report, len(layers))
    groups: list[dict[str, Any]] = []
    taken = set()
    for (name, layer), bias, weight in zip(layers, biases, weights):
        rates = {"weight": lr * float(weight) / fan_in(layer), "bias": lr * float(bias)}
        for kind, rate in rates.items():
            parameter = getattr(layer, kind)
            if parameter is not None and parameter.requires_grad and id(parameter) not in taken:
                taken.add(id(parameter))
                groups.append({"params": [parameter], "lr": rate, "name": f"{name}.{kind}".lstrip(".")})
    rest = [p for p in module.parameters() if p.requires_grad and id(p) not in taken]
    if rest:
        groups.append({"params": rest, "lr": lr / len(layers), "name": "other"})
    return groups
