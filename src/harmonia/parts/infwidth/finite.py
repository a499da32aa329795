"""The finite network of an infinite one: a torch module whose wide limit the kernels describe.

In NTK parameterisation all weights are N(0, 1) and inputs are scaled by ``w_std / sqrt(fan_in)`` in the forward pass;
biases multiply a constant input ``b_std``. The weights so stay in plain `nn.Linear` and `nn.Conv2d` modules, which
whatever walks over modules understands. Standard parameterisation is torch's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce, singledispatch
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.parts.infwidth.activations import Activation
from harmonia.parts.infwidth.attention import WEIGHTINGS, GlobalSelfAttention
from harmonia.parts.infwidth.convolution import Convolution, Flatten, GlobalAvgPool, Pool
from harmonia.parts.infwidth.layers import Affine, Dense, Layer
from harmonia.parts.infwidth.linear_map import LinearMap
from harmonia.parts.infwidth.multihead import MultiHeadSelfAttention
from harmonia.parts.infwidth.network import FanIn, FanInConcat, FanInProd, Scaled, Sequential
from harmonia.parts.infwidth.normalization import Dropout, LayerNorm
from harmonia.parts.infwidth.positions import window_padding
from harmonia.parts.infwidth.transposed import TransposedConvolution

Shape = tuple[int, ...]
Linear = nn.Linear | nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d | nn.ConvTranspose2d


@dataclass(frozen=True)
class Build:
    """What a layer needs to know to become a module.

    Arguments:
        shape: Shape ``(channels, *positions)`` of its input.
        hidden: Width of hidden layers.
        width: Width of its own last weights.
        generator: Source of the initial weights.
    """

    shape: Shape
    hidden: int
    width: int
    generator: torch.Generator

    def normal(self, module: Linear, std: float, bias_std: float = 0.0) -> Linear:
        """The module with new centred normal weights."""
        nn.init.normal_(module.weight, std=std, generator=self.generator)
        if module.bias is not None:
            nn.init.normal_(module.bias, std=bias_std, generator=self.generator)
        return module


def to_torch(network: Layer, width: int, input_shape: Sequence[int], outputs: int = 1, seed: int = 0) -> nn.Module:
    """The finite network, freshly initialised.

    Arguments:
        network: An infinitely wide network.
        width: Hidden channels of all layers that do not say their own.
        input_shape: Shape of one input: ``(d,)``, ``(C, T)``, ``(C, H, W)``.
        outputs: Output channels of the last layer with weights.
        seed: Seed of the weights.

    Raises:
        InputError: a width below 1, or inputs that do not fit the layers.

    Example:
        >>> from harmonia.parts.infwidth import Dense, ReLU, Sequential
        >>> net = to_torch(Sequential(Dense(1.4), ReLU(), Dense()), width=64, input_shape=(3,))
        >>> net(torch.ones(2, 3)).shape
        torch.Size([2, 1])
    """
    if min(width, outputs, *input_shape) < 1:
        raise InputError("sizes of a network must be >= 1", (width, outputs, *input_shape), "Pass positive numbers.")
    build = Build(tuple(input_shape), width, outputs, torch.Generator().manual_seed(seed))
    try:
        return module_of(network, build)
    except RuntimeError as error:
        raise InputError(
            f"the network does not fit inputs of shape {build.shape}", error, "Change one of them."
        ) from error


@singledispatch
def module_of(layer: Layer, build: Build) -> nn.Module:
    """The module of one layer."""
    raise InputError("no finite network is known for this layer", repr(layer), "Leave it out.")


@module_of.register
def _(layer: Sequential, build: Build) -> nn.Module:
    last = max((number for number, each in enumerate(layer.layers) if _has_weights(each)), default=-1)
    modules: list[nn.Module] = []
    x = torch.zeros(1, *build.shape)
    for number, each in enumerate(layer.layers):
        width = build.width if number == last else build.hidden
        modules.append(module_of(each, replace(build, shape=tuple(x.shape[1:]), width=width)))
        with torch.no_grad():
            x = modules[-1](x)
    return nn.Sequential(*modules)


def _has_weights(layer: Layer) -> bool:
    inner = layer.layers if isinstance(layer, Sequential) else layer.branches if isinstance(layer, FanIn) else ()
    return isinstance(layer, (Affine, GlobalSelfAttention, MultiHeadSelfAttention)) or any(map(_has_weights, inner))


class _Function(nn.Module):
    """A function without parameters."""

    def __init__(self, function: Callable[[Tensor], Tensor], name: str) -> None:
        super().__init__()
        self.function, self.name = function, name

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)

    def extra_repr(self) -> str:
        return self.name


class _Scaled(nn.Module):
    """An affine map in NTK parameterisation: ``linear(w_std x / sqrt(fan_in)) + bias(b_std)``."""

    def __init__(self, linear: nn.Module, gain: float, bias: nn.Module | None, b_std: float) -> None:
        super().__init__()
        self.linear, self.gain, self.bias, self.b_std = linear, gain, bias, b_std

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x * self.gain)
        if self.bias is None:
            return y
        shift = self.bias(x.new_full((len(x), 1), self.b_std))
        return y + shift.reshape(*shift.shape, *[1] * (y.ndim - 2))


def _affine(layer: Affine, build: Build, make: Callable[[int, int, bool], Linear], window: int = 1) -> nn.Module:
    """The module of an affine layer; `make` gives one with input channels, output channels, and a bias or not."""
    channels, width = build.shape[0], build.width if layer.width is None else layer.width
    w_std, b_std = float(layer.w_std), float(layer.b_std)
    gain = w_std / math.sqrt(channels * window)
    if layer.parameterization == "standard":
        return build.normal(make(channels, width, b_std > 0), gain, b_std)
    bias = build.normal(nn.Linear(1, width, bias=False), 1.0) if b_std > 0 else None
    return _Scaled(build.normal(make(channels, width, False), 1.0), gain, bias, b_std)


@module_of.register
def _(layer: Dense, build: Build) -> nn.Module:
    def make(inputs: int, outputs: int, bias: bool) -> Linear:
        if len(build.shape) == 1:
            return nn.Linear(inputs, outputs, bias)
        return (nn.Conv1d if len(build.shape) == 2 else nn.Conv2d)(inputs, outputs, 1, bias=bias)

    return _affine(layer, build, make)


@module_of.register
def _(layer: Convolution, build: Build) -> nn.Module:
    if not layer.shared:
        raise InputError("no finite network is known for unshared convolutions", repr(layer), "Set shared=True.")
    kind: Any = (nn.Conv1d, nn.Conv2d)[layer.dimensions - 1]

    def make(inputs: int, outputs: int, bias: bool) -> Linear:
        return kind(inputs, outputs, layer.window, layer.stride, bias=bias)

    return nn.Sequential(_padding(layer, build), _affine(layer, build, make, layer.receptive_field))


@module_of.register
def _(layer: TransposedConvolution, build: Build) -> nn.Module:
    kind: Any = (nn.ConvTranspose1d, nn.ConvTranspose2d)[layer.dimensions - 1]

    def make(inputs: int, outputs: int, bias: bool) -> Linear:
        return kind(inputs, outputs, layer.window, layer.stride, layer.crops, bias=bias)

    return _affine(layer, build, make, layer.receptive_field)


def _padding(layer: Convolution | Pool, build: Build) -> nn.Module:
    pads = [
        window_padding(layer.padding, axis, length, layer.window[axis], layer.stride[axis])
        for axis, length in enumerate(build.shape[1:])
    ]
    flat = [amount for pad in reversed(pads) for amount in pad]
    if not any(flat):
        return nn.Identity()
    mode = "circular" if layer.padding == "circular" else "constant"
    return _Function(lambda x: F.pad(x, flat, mode), f"pad {flat}, {mode}")


@module_of.register
def _(layer: Pool, build: Build) -> nn.Module:
    kind: Any = (nn.AvgPool1d, nn.AvgPool2d)[layer.dimensions - 1]
    factor = 1 if layer.mean else prod(layer.window)
    scale = _Function(lambda x: x * factor, f"times {factor}")
    return nn.Sequential(_padding(layer, build), kind(layer.window, layer.stride), scale)


@module_of.register
def _(layer: GlobalAvgPool, build: Build) -> nn.Module:
    return _Function(lambda x: x.flatten(2).mean(2), "mean over positions")


@module_of.register
def _(layer: Flatten, build: Build) -> nn.Module:
    return nn.Flatten()


@module_of.register
def _(layer: Activation, build: Build) -> nn.Module:
    return _Function(layer.function, repr(layer))


@module_of.register
def _(layer: Scaled, build: Build) -> nn.Module:
    return _Function(lambda x: x * layer.scale, f"times {layer.scale}")


@module_of.register
def _(layer: LayerNorm, build: Build) -> nn.Module:
    def normalize(x: Tensor) -> Tensor:
        axes = tuple(range(1, x.ndim)) if layer.over == "all" else (1,)
        variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
        return (x - mean) * (variance + layer.eps).rsqrt()

    return _Function(normalize, repr(layer))


@module_of.register
def _(layer: Dropout, build: Build) -> nn.Module:
    return nn.Dropout(1 - layer.keep)


@module_of.register
def _(layer: LinearMap, build: Build) -> nn.Module:
    def apply(x: Tensor) -> Tensor:
        for axis, matrix in enumerate(layer.matrices, start=2):
            x = (x.movedim(axis, -1) @ matrix.to(x).T).movedim(-1, axis)
        return x

    return _Function(apply, repr(layer))


class _Branches(nn.Module):
    def __init__(self, branches: Sequence[nn.Module], combine: Callable[[list[Tensor]], Tensor]) -> None:
        super().__init__()
        self.branches, self.combine = nn.ModuleList(branches), combine

    def forward(self, x: Tensor) -> Tensor:
        return self.combine([branch(x) for branch in self.branches])


@module_of.register
def _(layer: FanIn, build: Build) -> nn.Module:
    if isinstance(layer, FanInConcat):
        widths = [max(round(build.width * share), 1) for share in layer.shares]
        branches = [module_of(branch, replace(build, width=width)) for branch, width in zip(layer.branches, widths)]
        return _Branches(branches, lambda outputs: torch.cat(outputs, 1))
    combine = torch.mul if isinstance(layer, FanInProd) else torch.add
    return _Branches([module_of(branch, build) for branch in layer.branches], lambda outputs: reduce(combine, outputs))


class _Attention(nn.Module):
    """Self-attention with tied keys and queries, logits divided by the width."""

    def __init__(self, layer: GlobalSelfAttention, key: nn.Module, value: nn.Module, out: nn.Module) -> None:
        super().__init__()
        self.layer, self.key, self.value, self.out = layer, key, value, out

    def forward(self, x: Tensor) -> Tensor:
        key = self.key(x).flatten(2)
        logits = key.mT @ key * (float(self.layer.key_std * self.layer.query_std) / key.shape[1])
        weights = WEIGHTINGS[self.layer.weighting](logits)
        value = self.value(x)
        return self.out((value.flatten(2) @ weights.mT).unflatten(2, value.shape[2:]))


@module_of.register
def _(layer: GlobalSelfAttention, build: Build) -> nn.Module:
    if layer.positions is not None:
        raise InputError("no finite network is known for attention with position covariances", repr(layer), "Use none.")
    hidden = replace(build, width=build.hidden)
    key, value = module_of(Dense(1.0), hidden), module_of(Dense(layer.value_std), hidden)
    inner = replace(build, shape=(build.hidden, *build.shape[1:]))
    return _Attention(layer, key, value, module_of(Dense(layer.out_std, layer.b_std), inner))


class _MultiHead(nn.Module):
    """Self-attention with as many heads as each is wide."""

    def __init__(self, layer: MultiHeadSelfAttention, heads: int, parts: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layer, self.heads = layer, heads
        self.query, self.key, self.value, self.out = parts

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            each(x).flatten(2).unflatten(1, (self.heads, -1)) for each in (self.query, self.key, self.value)
        )
        weights = WEIGHTINGS[self.layer.weighting](query.mT @ key / math.sqrt(key.shape[2]))
        return self.out((value @ weights.mT).flatten(1, 2).unflatten(2, x.shape[2:]))


@module_of.register
def _(layer: MultiHeadSelfAttention, build: Build) -> nn.Module:
    heads = math.isqrt(build.hidden)
    hidden = replace(build, width=heads**2)
    inner = replace(build, shape=(heads**2, *build.shape[1:]))
    parts = [module_of(Dense(std), hidden) for std in (layer.query_std, layer.key_std, layer.value_std)]
    return _MultiHead(layer, heads, [*parts, module_of(Dense(layer.out_std, layer.b_std), inner)])
