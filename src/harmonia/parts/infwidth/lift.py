"""The infinite network of a torch module: read its layers and the scales of its weights."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import reduce
from math import sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn

from harmonia.core.errors import InputError
from harmonia.parts.infwidth.activations import GELU, Abs, Activation, Cos, Erf, Exp, LeakyReLU, ReLU, Sin
from harmonia.parts.infwidth.convolution import AvgPool1d, AvgPool2d, Conv1d, Conv2d, Flatten, GlobalAvgPool
from harmonia.parts.infwidth.layers import Dense, Layer, Parameterization
from harmonia.parts.infwidth.mehler import Elementwise, SiLU, Tanh
from harmonia.parts.infwidth.network import FanInProd, FanInSum, Scaled, Sequential
from harmonia.parts.infwidth.normalization import Dropout, LayerNorm
from harmonia.parts.infwidth.positions import Padding
from harmonia.parts.infwidth.transposed import ConvTranspose1d, ConvTranspose2d


def from_torch(module: nn.Module, parameterization: Parameterization = "standard") -> Sequential:
    """The infinite network of `module`, with ``w_std = rms(W) sqrt(fan_in)`` and ``b_std = rms(b)``.

    Understands Linear, Conv1d, Conv2d and their transposes, LayerNorm, average pooling, Flatten, Dropout and
    elementwise activations, one after another, added (residual connections) or multiplied; the graph is found by
    `torch.fx`.

    Arguments:
        module: A network for inputs ``(n, channels, *positions)``.
        parameterization: ``"standard"``, whose tangent kernel is that of the module as it is, or ``"ntk"``.

    Raises:
        InputError: a layer without infinite-width limit (BatchNorm, MaxPool), or a graph that cannot be read.

    Example:
        >>> from_torch(nn.Sequential(nn.Linear(3, 64, bias=False), nn.Tanh()), "ntk").layers[1]
        Tanh()
    """
    try:
        graph = fx.Tracer().trace(module := nn.Sequential(module))
    except Exception as error:  # whatever the user's forward raises under tracing
        raise InputError("the module's graph cannot be read", error, "Use layers without control flow.") from error
    return _Reader(module, graph, parameterization).network()


class _Reader:
    """Turns a graph with one input and one output into layers in sequence and, where paths meet, in parallel."""

    def __init__(self, module: nn.Module, graph: fx.Graph, parameterization: Parameterization) -> None:
        self.modules, self.parameterization = dict(module.named_modules()), parameterization
        self.order = {node: number for number, node in enumerate(graph.nodes)}
        inputs = [node for node in graph.nodes if node.op == "placeholder"]
        if len(inputs) != 1:
            raise InputError("the module must have one input", len(inputs), "Wrap it in a module with one.")
        self.first, self.last = inputs[0], next(node for node in graph.nodes if node.op == "output").all_input_nodes
        self.gate: dict[fx.Node, fx.Node] = {}  # the last node before it that all paths to a node pass
        for node in graph.nodes:
            if node.all_input_nodes:
                self.gate[node] = reduce(self._meet, node.all_input_nodes)
            elif node.op == "get_attr":
                raise InputError(
                    "the module uses a parameter outside of a layer", node.target, "Use layers of torch.nn."
                )

    def network(self) -> Sequential:
        if len(self.last) != 1:
            raise InputError("the module must have one output", len(self.last), "Return one tensor.")
        return Sequential(*self._path(self.first, self.last[0]))

    def _meet(self, a: fx.Node, b: fx.Node) -> fx.Node:
        while a is not b:
            a, b = (a, b) if self.order[a] > self.order[b] else (b, a)
            a = self.gate[a]
        return a

    def _path(self, start: fx.Node, end: fx.Node) -> list[Layer]:
        layers: list[Layer] = []
        while end is not start:
            sources = end.all_input_nodes
            if len(sources) == 1:
                layers = self._layers(end) + layers
            else:
                fan_in = _FAN_INS.get(end.target)
                if fan_in is None:
                    raise InputError("unknown operation on two paths", end.target, "Add or multiply them.")
                branches = [Sequential(*self._path(self.gate[end], source)) for source in sources]
                layers = [fan_in(*branches), *layers]
            end = self.gate[end]
        return layers

    def _layers(self, node: fx.Node) -> list[Layer]:
        arguments = [each for each in (*node.args, *node.kwargs.values()) if not isinstance(each, fx.Node)]
        if node.op == "call_module":
            return self._of_module(self.modules[str(node.target)])
        if node.target in (torch.flatten, "flatten") and arguments == [1]:
            return [Flatten()]
        if node.target in (torch.mean, "mean") and arguments in ([2], [-1], [(2, 3)], [[2, 3]], [(-2, -1)], [[-2, -1]]):
            return [GlobalAvgPool()]
        if node.target in (operator.mul, torch.mul) and len(arguments) == 1 and isinstance(arguments[0], (int, float)):
            return [Scaled(float(arguments[0]))]
        if node.target in _FUNCTIONS and not arguments:
            return [_FUNCTIONS[node.target]()]
        raise InputError(
            "no infinite-width limit is known for an operation", node.format_node(), "Use a layer of torch.nn."
        )

    def _of_module(self, module: nn.Module) -> list[Layer]:
        if isinstance(module, nn.Identity):
            return []
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)):
            return [self._affine(module)]
        if isinstance(module, (nn.Dropout, nn.Dropout1d, nn.Dropout2d)):
            return [Dropout(1 - module.p)] if module.training and module.p else []
        if isinstance(module, nn.LayerNorm):
            return _layer_norm(module)
        if isinstance(module, nn.Flatten) and (module.start_dim, module.end_dim) == (1, -1):
            return [Flatten()]
        if isinstance(module, (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)) and module.output_size in (1, (1,), (1, 1)):
            return [GlobalAvgPool()]
        if isinstance(module, (nn.AvgPool1d, nn.AvgPool2d)) and not module.ceil_mode and module.count_include_pad:
            kind = AvgPool1d if isinstance(module, nn.AvgPool1d) else AvgPool2d
            return [kind(module.kernel_size, module.stride, module.padding)]
        if isinstance(module, nn.LeakyReLU):
            return [LeakyReLU(module.negative_slope)]
        if isinstance(module, nn.GELU) and module.approximate == "none":
            return [GELU()]
        if type(module) in _ACTIVATIONS:
            return [_ACTIVATIONS[type(module)]()]
        if type(module).__module__ == "torch.nn.modules.activation" and not list(module.parameters()):
            return [Elementwise(module, type(module).__name__)]
        raise InputError(
            "no infinite-width limit is known for a layer",
            module,
            "Replace BatchNorm by LayerNorm and MaxPool by AvgPool; see `from_torch` for the layers it understands.",
        )

    def _affine(self, module: nn.Linear | nn.Conv1d | nn.Conv2d | nn.ConvTranspose1d | nn.ConvTranspose2d) -> Layer:
        transposed = isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d))
        fan_in = module.weight[:, 0].numel() if transposed else module.weight[0].numel()
        w_std = float(module.weight.detach().double().square().mean().sqrt()) * sqrt(fan_in)
        b_std = 0.0 if module.bias is None else float(module.bias.detach().double().square().mean().sqrt())
        width, form = module.weight.shape[1 if transposed else 0], self.parameterization
        if isinstance(module, nn.Linear):
            return Dense(w_std, b_std, width=width, parameterization=form)
        if module.groups != 1 or set(module.dilation) != {1}:
            raise InputError("no infinite-width limit is known for a layer", module, "Use groups=1 and dilation=1.")
        window, stride = tuple(module.kernel_size), tuple(module.stride)
        if isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d)):
            if any(module.output_padding):
                raise InputError("no infinite-width limit is known for a layer", module, "Use output_padding=0.")
            adjoint = ConvTranspose1d if isinstance(module, nn.ConvTranspose1d) else ConvTranspose2d
            crop: Any = tuple(module.padding)
            return adjoint(window, w_std, b_std, stride=stride, padding=crop, width=width, parameterization=form)
        kind = Conv1d if isinstance(module, nn.Conv1d) else Conv2d
        padding = _padding(module)
        return kind(window, w_std, b_std, stride=stride, padding=padding, width=width, parameterization=form)


def _padding(module: nn.Conv1d | nn.Conv2d) -> Padding:
    amounts: Any = module.padding
    if amounts in ("same", "valid"):
        return "circular" if (amounts, module.padding_mode) == ("same", "circular") else amounts
    keeps_size = all(2 * p == k - 1 for p, k in zip(amounts, module.kernel_size)) and set(module.stride) == {1}
    if module.padding_mode == "circular" and keeps_size:
        return "circular"
    if module.padding_mode == "zeros" or not any(amounts):
        return tuple(amounts)
    raise InputError("no infinite-width limit is known for a layer's padding", module, "Use zeros, or keep the size.")


def _layer_norm(module: nn.LayerNorm) -> list[Layer]:
    if module.bias is not None and bool(module.bias.any()):
        raise InputError("LayerNorm with a trained shift has no known limit", module, "Use elementwise_affine=False.")
    layers: list[Layer] = [LayerNorm("channels" if len(module.normalized_shape) == 1 else "all", module.eps)]
    scale = 1.0 if module.weight is None else float(module.weight.detach().square().mean().sqrt())
    return layers if scale == 1.0 else [*layers, Scaled(scale)]


_FAN_INS: dict[object, type[FanInSum] | type[FanInProd]] = {
    operator.add: FanInSum,
    operator.iadd: FanInSum,
    torch.add: FanInSum,
    "add": FanInSum,
    "add_": FanInSum,
    operator.mul: FanInProd,
    torch.mul: FanInProd,
    "mul": FanInProd,
}

_ACTIVATIONS: dict[type[nn.Module], Callable[[], Activation]] = {nn.ReLU: ReLU, nn.Tanh: Tanh, nn.SiLU: SiLU}

_FUNCTIONS: dict[object, Callable[[], Activation]] = {
    torch.abs: Abs,
    torch.cos: Cos,
    torch.erf: Erf,
    torch.exp: Exp,
    torch.sigmoid: lambda: Elementwise(torch.sigmoid),
    torch.sin: Sin,
    F.gelu: GELU,
    F.relu: ReLU,
    F.silu: SiLU,
    F.tanh: Tanh,
    torch.relu: ReLU,
    torch.tanh: Tanh,
    **dict.fromkeys(("relu", "relu_"), ReLU),
    "abs": Abs,
    "cos": Cos,
    "erf": Erf,
    "exp": Exp,
    "sigmoid": lambda: Elementwise(torch.sigmoid),
    "sin": Sin,
    "tanh": Tanh,
}
