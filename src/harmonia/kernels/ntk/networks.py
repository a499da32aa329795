"""From a user's words (depth, activation, scales), or a torch network, to an infinitely wide network."""

from __future__ import annotations

import math
import warnings
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


def warn_of_lost_signals(network: infwidth.Sequential, x: Tensor, ratio: float = 1e6) -> None:
    """Say so if variances grow or shrink through the layers until the kernel is useless.

    Raises:
        InputError: they overflow.
    """
    weighted = [i for i, layer in enumerate(network.layers) if isinstance(layer, (infwidth.Affine, infwidth.Residual))]
    if not weighted:
        return
    first, last = (variance_after(network, i, x[:100]) for i in (weighted[0], weighted[-1]))
    if first == 0 or 1 / ratio < last / first < ratio:
        return
    shown = sorted({weighted[round(share * (len(weighted) - 1) / 9)] for share in range(10)})
    told = ", ".join(f"{variance_after(network, i, x[:100]):.3g}" for i in shown)
    mend = "Choose w_std near the critical value of the activation (sqrt 2 for ReLU), or fewer layers."
    if not math.isfinite(last):
        raise InputError("the signal overflows on its way through the network", f"variances {told}", mend)
    warnings.warn(f"the signal {'explodes' if last > first else 'dies'}: variances {told}. {mend}", stacklevel=4)


def variance_after(network: infwidth.Sequential, layer: int, x: Tensor) -> float:
    """Mean variance of the outputs of the layer with that index.

    Example:
        >>> import torch
        >>> round(variance_after(mlp(2, "relu", 2.0, 0.0), 2, torch.ones(1, 3)), 3)
        8.0
    """
    prefix = infwidth.Sequential(*network.layers[: layer + 1])
    return float(prefix.diagonal(x, get="nngp").mean())
