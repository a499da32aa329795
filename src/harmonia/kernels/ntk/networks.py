"""From a user's words (depth, activation, scales), or a torch network, to an infinitely wide network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.parts import infwidth

ActivationName = Literal["relu", "leaky_relu", "abs", "erf", "gelu", "sin", "cos", "gaussian"]

ACTIVATIONS: dict[str, Callable[[], infwidth.Activation]] = {
    "relu": infwidth.ReLU,
    "leaky_relu": lambda: infwidth.LeakyReLU(0.2),
    "abs": infwidth.Abs,
    "erf": infwidth.Erf,
    "gelu": infwidth.GELU,
    "sin": infwidth.Sin,
    "cos": infwidth.Cos,
    "gaussian": infwidth.Gaussian,
}

_HOMOGENEOUS_SCALE = (math.sqrt(2), 0.1)
_SATURATING_SCALE = (1.5, 0.3)


def default_scale(activation: str) -> tuple[float, float]:
    """Weight and bias scale that keep signals alive through depth: (sqrt 2, 0.1) for ReLU-like, else (1.5, 0.3)."""
    return _HOMOGENEOUS_SCALE if activation in ("relu", "leaky_relu", "gelu") else _SATURATING_SCALE


def mlp(
    depth: int = 3,
    activation: str = "relu",
    w_std: float | Tensor | None = None,
    b_std: float | Tensor | None = None,
) -> infwidth.Sequential:
    """A fully connected network: `depth` hidden layers and a linear readout.

    Arguments:
        depth: Hidden layers; 0 is a linear model.
        activation: One of `ACTIVATIONS`.
        w_std: Scale of the weights; by default the one of `default_scale`.
        b_std: Scale of the biases.

    Raises:
        InputError: a negative depth or an unknown activation.

    Example:
        >>> mlp(1, "erf")
        Sequential(Dense(1.5, 0.3), Erf(), Dense(1.5, 0.3))
    """
    if depth < 0:
        raise InputError("the number of hidden layers cannot be negative", depth, "Give depth >= 0.")
    if activation not in ACTIVATIONS:
        raise InputError("no such activation", f"'{activation}'", f"Use one of: {', '.join(ACTIVATIONS)}.")
    scale = default_scale(activation)
    w = scale[0] if w_std is None else w_std
    b = scale[1] if b_std is None else b_std
    layers: list[infwidth.Layer] = [infwidth.Dense(w, b)]
    for _ in range(depth):
        layers += [ACTIVATIONS[activation](), infwidth.Dense(w, b)]
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
