"""The Gram trick: what a layer adds to the empirical NTK, without ever forming a Jacobian.

A linear map inside a network acts at every position s as ``out[s, o] = sum_a in[s, a] W[a, o] + b[o]``. With the
backprop signal ``D_c = d f_c / d out`` the gradient of output c is ``in^T D_c``, so the layer adds

    <A_i^T D_ic, A_j^T D_je> = sum_{s,t} ((A_i A_j^T)[s, t] + [bias]) (D_ic D_je^T)[s, t]

to the kernel of samples i, j and outputs c, e. Convolutions are the same map on unfolded patches, an embedding is the
same map on one-hot tokens, and the scales and shifts of normalisation layers have small explicit gradients.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Outputs = Literal["trace", "diag", "full"]

Layers = Mapping[str, nn.Module]


@dataclass(frozen=True)
class Factor:
    """The two sides of one layer's gradient for a batch of n samples and k outputs.

    Attributes:
        inputs: Layer inputs (n, groups, positions, features), tokens (n, 1, positions, 1), or None if the weight is
            frozen.
        signals: Derivatives of the outputs by the layer's output (n, k, groups, positions, units).
        bias: Whether a bias is trained.
        tokens: Whether `inputs` are integers that stand for one-hot vectors; -1 stands for the zero vector.
    """

    inputs: Tensor | None
    signals: Tensor
    bias: bool
    tokens: bool = False

    @property
    def features(self) -> int:
        """Numbers per position that weights multiply; none for tokens, which only look up."""
        return 0 if self.inputs is None or self.tokens else self.inputs.shape[-1]

    @property
    def forward_cost(self) -> int:
        """Multiplications per sample of the layer itself."""
        _, _, groups, positions, units = self.signals.shape
        return groups * positions * units * (self.features + int(self.bias))

    def pair_cost(self, outputs: Outputs) -> float:
        """Multiplications per pair of samples by position pairs."""
        _, k, groups, positions, units = self.signals.shape
        return float(groups * positions**2 * (self.features + units * (k * k if outputs == "full" else k)))

    def gradient_cost(self, outputs: Outputs) -> tuple[float, float]:
        """Multiplications per sample and per pair of samples by explicit weight gradients."""
        if self.tokens:
            return math.inf, math.inf
        _, k, groups, _, units = self.signals.shape
        weights = groups * units * (self.features + int(self.bias))
        return float(k * self.forward_cost), float(weights * (k * k if outputs == "full" else k))

    def prefers_gradients(self, rows: int, columns: int, outputs: Outputs) -> bool:
        """Whether explicit weight gradients are cheaper than position pairs for a block of the kernel."""
        each, pair = self.gradient_cost(outputs)
        return (rows + columns) * each + rows * columns * pair < rows * columns * self.pair_cost(outputs)

    def elements(self, rows: int, columns: int, outputs: Outputs) -> int:
        """Numbers held at once while a block of the kernel is computed."""
        _, k, groups, positions, units = self.signals.shape
        own = self.signals[0].numel() + (0 if self.inputs is None else self.inputs[0].numel())
        if self.prefers_gradients(rows, columns, outputs):
            return (rows + columns) * (own + k * groups * self.features * units)
        spread = {"trace": 1, "diag": k, "full": k * k}[outputs]
        return (rows + columns) * own + 2 * rows * columns * groups * positions**2 * spread


def contribution(left: Factor, right: Factor, outputs: Outputs) -> Tensor:
    """What the layer adds to a block: (n1, n2) summed over outputs, (n1, n2, k), or (n1, n2, k, k)."""
    if left.prefers_gradients(left.signals.shape[0], right.signals.shape[0], outputs):
        return contract(_gradients(left), _gradients(right), outputs)
    rows, k, groups, s, _ = left.signals.shape
    columns, t = right.signals.shape[0], right.signals.shape[3]
    similarity = _input_gram(left, right)[:, :, None, :, :, None]  # groups, rows, 1, s, columns, 1, t
    if outputs == "trace":
        d1 = left.signals.permute(2, 0, 3, 1, 4).reshape(groups, rows * s, -1)
        d2 = right.signals.permute(2, 0, 3, 1, 4).reshape(groups, columns * t, -1)
        agreement = (d1 @ d2.mT).view(groups, rows, 1, s, columns, 1, t)
        return (similarity * agreement).sum((0, 2, 3, 5, 6))
    if outputs == "diag":
        d1 = left.signals.permute(1, 2, 0, 3, 4).reshape(k, groups, rows * s, -1)
        d2 = right.signals.permute(1, 2, 0, 3, 4).reshape(k, groups, columns * t, -1)
        agreement = (d1 @ d2.mT).view(k, groups, rows, 1, s, columns, 1, t)
        return (similarity * agreement).sum((1, 3, 4, 6, 7)).permute(1, 2, 0)
    d1 = left.signals.permute(2, 0, 1, 3, 4).reshape(groups, rows * k * s, -1)
    d2 = right.signals.permute(2, 0, 1, 3, 4).reshape(groups, columns * k * t, -1)
    agreement = (d1 @ d2.mT).view(groups, rows, k, s, columns, k, t)
    return (similarity * agreement).sum((0, 3, 6)).permute(0, 2, 1, 3)


def contract(left: Tensor, right: Tensor, outputs: Outputs) -> Tensor:
    """Contract gradients (n1, k, p) and (n2, k, p) over the parameters p."""
    if outputs == "trace":
        return left.flatten(1) @ right.flatten(1).mT
    if outputs == "diag":
        return torch.einsum("icp,jcp->ijc", left, right)
    return torch.einsum("icp,jep->ijce", left, right)


def _input_gram(left: Factor, right: Factor) -> Tensor:
    """Inner products of the inputs at all position pairs, plus one for a bias: (groups, n1, s, n2, t)."""
    rows, _, groups, s, _ = left.signals.shape
    columns, t = right.signals.shape[0], right.signals.shape[3]
    if left.inputs is None or right.inputs is None:
        return left.signals.new_ones(groups, rows, s, columns, t)
    a1 = left.inputs.transpose(0, 1).reshape(groups, rows * s, -1)
    a2 = right.inputs.transpose(0, 1).reshape(groups, columns * t, -1)
    gram = ((a1 == a2.mT) & (a1 >= 0)).to(left.signals) if left.tokens else a1 @ a2.mT
    return (gram + int(left.bias)).view(groups, rows, s, columns, t)


def _gradients(factor: Factor) -> Tensor:
    """The gradients of the layer's parameters, (n, k, p)."""
    parts = []
    if factor.inputs is not None:
        parts.append(torch.einsum("ngsa,nkgso->nkgao", factor.inputs, factor.signals).flatten(2))
    if factor.bias:
        parts.append(factor.signals.sum(3).flatten(2))
    return torch.cat(parts, 2)


# How each kind of layer is read: its input and the derivatives (n, k, ...) by its output become a Factor.


def _linear(layer: nn.Linear, x: Tensor, d: Tensor) -> Factor:
    inputs = x.reshape(len(x), 1, -1, x.shape[-1]) if layer.weight.requires_grad else None
    return Factor(inputs, d.reshape(*d.shape[:2], 1, -1, d.shape[-1]), _trained(layer.bias))


def _convolution(layer: Any, x: Tensor, d: Tensor) -> Factor:
    inputs = None
    if layer.weight.requires_grad:
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        x = F.pad(x, layer._reversed_padding_repeated_twice, mode=mode)
        dimensions = len(layer.kernel_size)
        for axis, (size, stride, dilation) in enumerate(zip(layer.kernel_size, layer.stride, layer.dilation), start=2):
            x = x.unfold(axis, dilation * (size - 1) + 1, stride)[..., ::dilation]
        x = x.reshape(len(x), layer.groups, -1, math.prod(x.shape[2 : 2 + dimensions]), math.prod(layer.kernel_size))
        inputs = x.transpose(2, 3).flatten(3)
    d = d.reshape(*d.shape[:2], layer.groups, layer.out_channels // layer.groups, -1)
    return Factor(inputs, d.transpose(3, 4), _trained(layer.bias))


def _embedding(layer: nn.Embedding, x: Tensor, d: Tensor) -> Factor:
    if layer.padding_idx is not None:
        x = torch.where(x == layer.padding_idx, -1, x)
    return Factor(x.reshape(len(x), 1, -1, 1), d.reshape(*d.shape[:2], 1, -1, d.shape[-1]), False, tokens=True)


def _layer_norm(layer: nn.LayerNorm, x: Tensor, d: Tensor) -> Factor:
    kept = tuple(layer.normalized_shape)
    return _affine(layer, F.layer_norm(x, kept, eps=layer.eps), d, math.prod(kept))


def _rms_norm(layer: nn.RMSNorm, x: Tensor, d: Tensor) -> Factor:
    kept = tuple(layer.normalized_shape)
    return _affine(layer, F.rms_norm(x, kept, eps=layer.eps), d, math.prod(kept))


def _group_norm(layer: nn.GroupNorm, x: Tensor, d: Tensor) -> Factor:
    normal = F.group_norm(x, layer.num_groups, eps=layer.eps)
    return _affine(layer, normal.movedim(1, -1), d.movedim(2, -1), layer.num_channels)


def _batch_norm(layer: nn.BatchNorm2d, x: Tensor, d: Tensor) -> Factor:
    normal = F.batch_norm(x, layer.running_mean, layer.running_var, eps=layer.eps)
    return _affine(layer, normal.movedim(1, -1), d.movedim(2, -1), layer.num_features)


def _affine(layer: Any, normal: Tensor, d: Tensor, size: int) -> Factor:
    """Scales and shifts of a normalisation layer: one linear map per unit, so one group per unit."""
    inputs = normal.reshape(len(normal), -1, size, 1).transpose(1, 2) if layer.weight.requires_grad else None
    signals = d.reshape(*d.shape[:2], -1, size, 1).transpose(2, 3)
    return Factor(inputs, signals, _trained(getattr(layer, "bias", None)))


def _trained(parameter: Tensor | None) -> bool:
    return parameter is not None and parameter.requires_grad


READERS: dict[type[nn.Module], Callable[[Any, Tensor, Tensor], Factor]] = {
    nn.Linear: _linear,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.Conv3d: _convolution,
    nn.Embedding: _embedding,
    nn.LayerNorm: _layer_norm,
    nn.RMSNorm: _rms_norm,
    nn.GroupNorm: _group_norm,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.BatchNorm3d: _batch_norm,
}


def readable_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers whose parameters the Gram trick may cover: of a known kind, trained, and not shared."""
    uses = Counter(id(p) for m in model.modules() for p in m.parameters(recurse=False))
    return {name: module for name, module in model.named_modules() if _readable(module, uses)}


def _readable(module: nn.Module, uses: Mapping[int, int]) -> bool:
    own = dict(module.named_parameters(recurse=False))
    if (
        type(module) not in READERS
        or not own.keys() <= {"weight", "bias"}
        or any(uses[id(p)] > 1 for p in own.values())
    ):
        return False
    if isinstance(module, nn.Embedding) and (module.max_norm is not None or module.scale_grad_by_freq):
        return False
    return any(p.requires_grad for p in own.values())


def capture(
    model: nn.Module, layers: Layers, x: Tensor, outputs: Iterable[int] | None = None
) -> tuple[dict[str, Factor], Tensor]:
    """Run the model once and backpropagate once per output.

    Arguments:
        model: The network.
        layers: Layers to read, by name; those that are not called exactly once are left out of the result.
        x: A batch of inputs.
        outputs: Which outputs to backpropagate; all of them by default.

    Returns:
        One factor per layer, and the outputs (n, k) of the model.
    """
    inputs: dict[str, list[Tensor]] = {name: [] for name in layers}
    results: dict[str, list[Tensor]] = {name: [] for name in layers}

    def listen(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
        def hook(module: nn.Module, arguments: tuple[Tensor, ...], result: Tensor) -> Tensor:
            inputs[name].extend(a.detach() for a in arguments[:1])
            results[name].append(result)
            return result.clone()  # an in-place activation that follows must not change what we recorded

        return hook

    handles = [layer.register_forward_hook(listen(name)) for name, layer in layers.items()]
    try:
        with torch.enable_grad():
            f = model(x)
            f = f.reshape(len(f), -1)
    finally:
        for handle in handles:
            handle.remove()
    read = [name for name, calls in inputs.items() if len(calls) == 1 and len(calls[0]) == len(x)]
    chosen = list(range(f.shape[1]) if outputs is None else outputs)
    targets = [results[name][0] for name in read]
    signals = [
        torch.autograd.grad(f[:, c].sum(), targets, retain_graph=c != chosen[-1], materialize_grads=True)
        for c in (chosen if targets else ())
    ]
    factors = {
        name: READERS[type(layers[name])](layers[name], inputs[name][0], torch.stack(derivatives, 1))
        for name, derivatives in zip(read, zip(*signals))
    }
    return factors, f.detach()
