"""What a torch module is made of: its layers with weights, what feeds each, and its skip connections.

Read from the graph that `torch.fx` traces. Modules that cannot be traced (control flow on data) are read from the list
of their parts, in order, as if they were one chain.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _NormBase

from harmonia.core.errors import InputError
from harmonia.networks.effective_theory.activation import Pointwise, as_activation

Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
Weighted = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d | Transposed
Norm = _NormBase | nn.LayerNorm | nn.GroupNorm | nn.RMSNorm

_ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_")
_PRODUCTS = (operator.mul, operator.imul, torch.mul, "mul", "mul_")
_FUNCTIONS: dict[object, Callable[..., Tensor]] = {
    **{f: f for f in (F.relu, F.leaky_relu, F.gelu, F.silu, F.mish, F.hardswish, F.elu, F.celu, F.selu, F.hardtanh)},
    **{f: f for f in (F.relu6, F.softsign, F.softplus, F.tanh, F.sigmoid, torch.relu, torch.tanh, torch.sigmoid)},
    **{f: f for f in (torch.sin, torch.cos, torch.erf, torch.abs, F.tanhshrink, F.logsigmoid)},
    **{name: getattr(torch, name) for name in ("relu", "tanh", "sigmoid", "sin", "cos", "erf", "abs")},
    "relu_": torch.relu,
    "tanh_": torch.tanh,
}


@dataclass(frozen=True)
class Step:
    """A layer with weights, and what it receives.

    Attributes:
        name: Its name in the module.
        layer: Itself.
        feed: The activation whose outputs it receives; ``"linear"`` for another layer's outputs as they are,
            ``"input"`` for the module's input, ``"norm"`` for normalised features.
        depth: Number of layers with weights on the longest path up to and including it.
    """

    name: str
    layer: Weighted
    feed: Pointwise | str
    depth: int


@dataclass(frozen=True)
class Skip:
    """A sum of a skip connection and a branch.

    Attributes:
        gamma: Weight of the skip.
        ends: Last layers of the branch before the sum: one with weights, or the norm behind it.
        shortcuts: Last layers of a skip that has weights itself; empty for an identity.
    """

    gamma: float
    ends: tuple[nn.Module, ...]
    shortcuts: tuple[nn.Module, ...] = ()


@dataclass(frozen=True)
class Reading:
    """A module, read.

    Attributes:
        steps: Layers with weights, in order of execution.
        skips: Skip connections.
        traced: Whether the graph could be read; if not, the module was taken for a chain.
    """

    steps: list[Step]
    skips: list[Skip] = field(default_factory=list)
    traced: bool = True

    @property
    def depth(self) -> int:
        """Layers with weights on the longest path."""
        return max(step.depth for step in self.steps)

    @property
    def activation(self) -> Pointwise:
        """The one that feeds the most layers; the identity if none does."""
        feeds = [step.feed for step in self.steps if isinstance(step.feed, Pointwise)]
        names = [feed.name for feed in feeds]
        return max(feeds, key=lambda feed: names.count(feed.name), default=as_activation("linear"))


def read(module: nn.Module) -> Reading:
    """Read a module's layers.

    Raises:
        InputError: no linear or convolutional layer, one that is still lazy, or weights that two layers share.
    """
    if not isinstance(module, nn.Module):
        raise InputError("this is no torch module", type(module).__name__, "Pass an nn.Module.")
    _refuse_shared(module)
    try:
        reading = _Graph(module).reading()
    except Exception:  # whatever a user's forward raises under tracing
        reading = _chain(module)
    if not reading.steps:
        raise InputError(
            "the module has no layer with weights", type(module).__name__, "Pass one with Linear or Conv layers."
        )
    return reading


def weight_layers(module: nn.Module) -> list[tuple[str, Weighted]]:
    """Names and layers with weights, in order of execution."""
    return [(step.name, step.layer) for step in read(module).steps]


def main_activation(module: nn.Module) -> Pointwise:
    """The activation that feeds most layers."""
    return read(module).activation


def fan_in(layer: Weighted) -> float:
    """Number of inputs that one output of a layer sums over."""
    if isinstance(layer, Transposed):
        window = layer.weight[0, 0].numel()
        stride = 1
        for each in layer.stride:
            stride *= each
        return layer.in_channels // layer.groups * window / stride
    return float(layer.weight[0].numel())


def units(layer: Weighted) -> int:
    """Its width: output features or channels."""
    return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels


def _refuse_shared(module: nn.Module) -> None:
    owners: dict[int, str] = {}
    for name, part in module.named_modules():
        if not isinstance(part, Weighted):
            continue
        if isinstance(part.weight, nn.UninitializedParameter):
            raise InputError("a layer is still lazy", f"'{name}'", "Run the network once before.")
        if id(part.weight) in owners:
            got = f"'{owners[id(part.weight)]}' and '{name}'"
            raise InputError("two layers share their weights, which the theory excludes", got, "Untie them first.")
        owners[id(part.weight)] = name


def _chain(module: nn.Module) -> Reading:
    steps: list[Step] = []
    feed: Pointwise | str = "input"
    for name, part in module.named_modules():
        if isinstance(part, Weighted):
            steps.append(Step(name, part, feed, len(steps) + 1))
            feed = "linear"
        elif isinstance(part, Norm):
            feed = "norm"
        elif (found := _of_module(part)) is not None:
            feed = found
    return Reading(steps, traced=False)


def _of_module(part: nn.Module) -> Pointwise | None:
    """The activation that a module of torch is, if it is one."""
    if type(part).__module__ != "torch.nn.modules.activation" or isinstance(part, nn.MultiheadAttention):
        return None
    try:
        return as_activation(part)
    except InputError:  # softmax and its kin
        return None


class _Graph:
    """The graph of a module with one input that matters: the first."""

    def __init__(self, module: nn.Module) -> None:
        root = nn.Sequential(module) if isinstance(module, Weighted) else module
        self.prefix = "0" if root is not module else None
        self.modules = dict(root.named_modules())
        self.nodes = list(fx.Tracer().trace(root).nodes)
        self.order = {node: number for number, node in enumerate(self.nodes)}
        self.activations: dict[str, Pointwise | None] = {}
        self.kinds = {node: self._kind(node) for node in self.nodes}

    def reading(self) -> Reading:
        steps, seen = [], set()
        depths: dict[fx.Node, int] = {}
        for node in self.nodes:
            kind = self.kinds[node]
            depths[node] = max((depths[each] for each in node.all_input_nodes), default=0)
            if isinstance(kind, Weighted):
                depths[node] += 1
                if kind in seen:
                    continue  # called again
                seen.add(kind)
                name = "" if self.prefix else str(node.target)
                steps.append(Step(name, kind, self._feed(node), depths[node]))
        sums = (node for node in self.nodes if node.target in _ADDITIONS and len(node.all_input_nodes) == 2)
        return Reading(steps, [skip for node in sums if (skip := self._skip(node))])

    def _kind(self, node: fx.Node) -> Any:
        """A layer with weights, a norm, an activation, or None."""
        if node.op == "call_module":
            part = self.modules[str(node.target)]
            if isinstance(part, (Weighted, Norm)):
                return part
            if repr(part) not in self.activations or list(part.parameters()):
                self.activations[repr(part)] = _of_module(part)
            return self.activations[repr(part)]
        if node.op in ("call_function", "call_method"):
            if node.target in (F.layer_norm, F.group_norm, F.batch_norm):
                return "norm"
            if node.target in _FUNCTIONS and len(node.all_input_nodes) == 1:
                options = {key: value for key, value in node.kwargs.items() if key != "inplace"}
                function = _FUNCTIONS[node.target]
                name = getattr(function, "__name__", str(node.target))
                if len(node.args) == 1 and not options:
                    return as_activation(function)

                def call(x: Tensor) -> Tensor:
                    return function(x, *node.args[1:], **options)

                call.__name__ = name
                return as_activation(call)
        return None

    def _feed(self, node: fx.Node) -> Pointwise | str:
        """What the inputs of a layer are: the activation nearest to it on any path, else layers, else the input."""
        found: list[Pointwise | str] = []
        stack, seen = list(node.all_input_nodes), set()
        while stack:
            each = stack.pop()
            if each in seen:
                continue
            seen.add(each)
            kind = self.kinds[each]
            if isinstance(kind, Pointwise):
                found.append(kind)
            elif isinstance(kind, Weighted):
                found.append("linear")
            elif isinstance(kind, Norm) or kind == "norm":
                found.append("norm")
            elif not each.all_input_nodes:
                found.append("input")
            else:
                stack.extend(each.all_input_nodes)
        activations = [each for each in found if isinstance(each, Pointwise)]
        rest = [each for each in ("norm", "linear", "input") if each in found]
        return (activations or rest or ["input"])[0]

    def _skip(self, node: fx.Node) -> Skip | None:
        paths = node.all_input_nodes
        meet = self._meet(*paths)
        layers = [list(self._between(path, meet)) for path in paths]
        bends = [sum(isinstance(kind, (Weighted, Pointwise)) for kind in each) for each in layers]
        weights = [sum(isinstance(kind, Weighted) for kind in each) for each in layers]
        if not any(weights):
            return None
        branch = int(bends[1] >= bends[0])
        ends = self._ends(paths[branch], meet)
        if not weights[1 - branch]:
            return Skip(self._scale(paths[1 - branch], meet), ends)
        return Skip(1.0, ends, self._ends(paths[1 - branch], meet))

    def _meet(self, a: fx.Node, b: fx.Node) -> fx.Node | None:
        """The last node that both come from."""
        ancestors = {*self._back(a)}
        common = [node for node in self._back(b) if node in ancestors]
        return max(common, key=self.order.__getitem__, default=None)

    def _back(self, node: fx.Node) -> Iterator[fx.Node]:
        stack, seen = [node], set()
        while stack:
            each = stack.pop()
            if each not in seen:
                seen.add(each)
                yield each
                stack.extend(each.all_input_nodes)

    def _between(self, node: fx.Node, meet: fx.Node | None) -> Iterator[Any]:
        stop = self.order[meet] if meet is not None else -1
        for each in self._back(node):
            if self.order[each] > stop:
                yield self.kinds[each]

    def _ends(self, node: fx.Node, meet: fx.Node | None) -> tuple[nn.Module, ...]:
        """The nearest layers with weights or norms before a sum."""
        stop = self.order[meet] if meet is not None else -1
        stack, found = [node], []
        while stack:
            each = stack.pop()
            if self.order[each] <= stop:
                continue
            if isinstance(self.kinds[each], (Weighted, Norm)):
                found.append(self.kinds[each])
            else:
                stack.extend(each.all_input_nodes)
        return tuple(found)

    def _scale(self, node: fx.Node, meet: fx.Node | None) -> float:
        """Product of the constants that a skip is multiplied by."""
        scale = 1.0
        while node is not meet and len(node.all_input_nodes) == 1:
            if node.target in _PRODUCTS:
                scale *= next((float(each) for each in node.args if isinstance(each, (int, float))), 1.0)
            node = node.all_input_nodes[0]
        return scale
