"""From a user's words (depth, activation, scales), or a torch network, to an infinitely wide network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.parts import infwidth

Scale = float | Tensor

ActivationName = Literal[
    "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "abs", "erf", "tanh", "sin", "gaussian"
]


class _Activation(NamedTuple):
    """An activation, and the weight and bias scales that keep signals alive through depth."""

    make: Callable[[], infwidth.Activation]
    w_std: float = 1.5
    b_std: float = 0.3


_ROOT = math.sqrt(2)

ACTIVATIONS: dict[str, _Activation] = {
    "relu": _Activation(infwidth.ReLU, _ROOT, 0.1),
    "leaky_relu": _Activation(lambda: infwidth.LeakyReLU(0.2), _ROOT, 0.1),
    "elu": _Activation(lambda: infwidth.Elementwise(F.elu), _ROOT, 0.1),
    "gelu": _Activation(infwidth.GELU, _ROOT, 0.1),
    "silu": _Activation(infwidth.SiLU, _ROOT, 0.1),
    "softplus": _Activation(lambda: infwidth.Elementwise(F.softplus), _ROOT, 0.1),
    "abs": _Activation(infwidth.Abs, 1.0, 0.1),
    "erf": _Activation(infwidth.Erf),
    "tanh": _Activation(infwidth.Tanh),
    "sin": _Activation(infwidth.Sin),
    "gaussian": _Activation(infwidth.Gaussian),
}
"""Activations by name."""


def scales(activation: str, w_std: Scale | None = None, b_std: Scale | None = None) -> tuple[Scale, Scale]:
    """The given weight and bias scales, or the activation's own.

    Raises:
        InputError: an unknown activation.

    Example:
        >>> scales("erf", b_std=0.0)
        (1.5, 0.0)
    """
    if activation not in ACTIVATIONS:
        raise InputError("no such activation", f"'{activation}'", f"Use one of: {', '.join(ACTIVATIONS)}.")
    own = ACTIVATIONS[activation]
    return own.w_std if w_std is None else w_std, own.b_std if b_std is None else b_std


def mlp(
    depth: int = 3,
    activation: str = "relu",
    w_std: Scale | None = None,
    b_std: Scale | None = None,
) -> infwidth.Sequential:
    """A fully connected network: `depth` hidden layers and a linear readout.

    Arguments:
        depth: Hidden layers; 0 is a linear model.
        activation: One of `ACTIVATIONS`.
        w_std: Scale of the weights; by default sqrt 2 for ReLU-like activations, else 1.5.
        b_std: Scale of the biases; by default 0.1 and 0.3.

    Raises:
        InputError: a negative depth or an unknown activation.

    Example:
        >>> mlp(1, "erf")
        Sequential(Dense(1.5, 0.3), Erf(), Dense(1.5, 0.3))
    """
    if depth < 0:
        raise InputError("the number of hidden layers cannot be negative", depth, "Give depth >= 0.")
    w, b = scales(activation, w_std, b_std)
    layers: list[infwidth.Layer] = [infwidth.Dense(w, b)]
    for _ in range(depth):
        layers += [ACTIVATIONS[activation].make(), infwidth.Dense(w, b)]
    return infwidth.Sequential(*layers)


def as_network(
    net: str | infwidth.Sequential | nn.Module,
    depth: int = 3,
    activation: str = "relu",
    w_std: float | None = None,
    b_std: float | None = None,
) -> infwidth.Sequential:
    """The infinitely wide network meant by `net`: ``"mlp"`` (see `mlp`), one made of layers, or a torch module.

    Raises:
        InputError: none of these, or a torch module with a layer that has no infinite-width limit.
    """
    if isinstance(net, infwidth.Sequential):
        return net
    if isinstance(net, nn.Module):
        return infwidth.from_torch(net)
    if net == "mlp":
        return mlp(depth, activation, w_std, b_std)
    raise InputError(
        "this is no network", repr(net), "Give 'mlp', an infwidth.Sequential, or a torch module made of common layers."
    )
