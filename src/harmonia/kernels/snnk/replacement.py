"""Replace feed-forward layers inside any torch model, and say before what each will cost.

A feed-forward layer is a `torch.nn.Linear` and the activation behind it: in an `nn.Sequential`, or in a block that
holds both under the names that transformers use (BERT, ViT and their kin, torch's own encoder layers, timm).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.kernels.snnk.layers import SNNKLinear

_PAIRS = (
    ("dense", "intermediate_act_fn"),
    ("dense", "activation"),
    ("fc1", "activation_fn"),
    ("fc1", "act"),
    ("lin1", "activation"),
    ("linear1", "activation"),
    ("linear_1", "activation"),
    ("wi", "act"),
)
"""Names of a linear layer and its activation in the blocks of transformers, torch and timm."""

_SMOOTH = (nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.ELU, nn.Softplus, nn.LeakyReLU)
_HELD = 16_384
"""Rows of a layer's inputs that are kept to fit it."""


@dataclass(frozen=True, eq=False)
class FeedForward:
    """A linear layer with its activation inside a model.

    Attributes:
        name: Of the linear layer, as in ``model.named_modules()``.
        block: The module that holds both.
        linear_at, activation_at: Their names there.
    """

    name: str
    block: nn.Module
    linear_at: str
    activation_at: str

    @property
    def linear(self) -> nn.Linear:
        layer = getattr(self.block, self.linear_at)
        assert isinstance(layer, nn.Linear)
        return layer

    @property
    def activation(self) -> Callable[[Tensor], Tensor]:
        return getattr(self.block, self.activation_at)

    def replace_by(self, layer: SNNKLinear) -> None:
        """Put the layer in the place of both."""
        setattr(self.block, self.linear_at, layer)
        setattr(self.block, self.activation_at, nn.Identity())
        if isinstance(self.block, nn.TransformerEncoderLayer):
            self.block.activation_relu_or_gelu = 0  # else torch's fused path reads weights that are gone


def feed_forward_layers(model: nn.Module, *, pooler: bool = False) -> list[FeedForward]:
    """The feed-forward layers of a model, in the order of its modules.

    Arguments:
        model: Any.
        pooler: Whether to give poolers (`dense` and `activation` of one token) as well.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> [layer.name for layer in feed_forward_layers(model)]
        ['0']
    """
    return [
        found
        for prefix, block in model.named_modules()
        for found in _inside(block, prefix)
        if pooler or "pooler" not in found.name.split(".")
    ]


def _inside(block: nn.Module, prefix: str) -> Iterator[FeedForward]:
    def named(at: str) -> str:
        return f"{prefix}.{at}" if prefix else at

    if isinstance(block, nn.Sequential):
        children = list(block.named_children())
        for (at, layer), (after, activation) in pairwise(children):
            if type(layer) is nn.Linear and isinstance(activation, _SMOOTH):
                yield FeedForward(named(at), block, at, after)
        return
    for at, after in _PAIRS:
        if type(getattr(block, at, None)) is nn.Linear and callable(getattr(block, after, None)):
            yield FeedForward(named(at), block, at, after)
            return


@dataclass(frozen=True)
class Replaced:
    """What became of one layer.

    Attributes:
        name: Of the linear layer.
        before, after: Trainable numbers.
        error: Relative error of the layer's outputs on inputs left out; NaN where there was no sample.
    """

    name: str
    before: int
    after: int
    error: float

    def __str__(self) -> str:
        error = "" if self.error != self.error else f", relative error {self.error:.1%}"
        return f"{self.name}: {self.before:,} -> {self.after:,} trainable numbers{error}"


def replace_ffn(
    model: nn.Module,
    n_features: int | None = None,
    last_k: int | None = None,
    *,
    sample: Tensor | Mapping[str, Any] | Iterable[Any] | None = None,
    kernel: Literal["relu", "same"] = "relu",
    pooler: bool = False,
    dry_run: bool = False,
    seed: int = 0,
) -> list[Replaced]:
    """Replace feed-forward layers by scalable ones, in place.

    With ``kernel="relu"`` and no `sample` the new layers do not approximate the old ones: the arc-cosine kernel of the
    pretrained weights is another function, and the model has to be trained again.

    Arguments:
        model: Any torch model.
        n_features: m of each; by default a quarter of its inputs, at least 16. Even with ``kernel="same"``.
        last_k: Only so many, the last ones.
        sample: One batch the model can be called with, or several: a tensor; a dictionary of keyword arguments; a list
            or tuple that starts with the input, as a DataLoader gives it. Each layer is then fitted in closed form to
            what it answered, one after the other, on the inputs that it receives behind the layers replaced before:
            later ones mend what earlier ones spoil.
        kernel: See `SNNKLinear.from_linear`.
        pooler: Whether to replace poolers as well.
        dry_run: Only say what each layer alone would cost; the model stays as it is.
        seed: Of the features; layer i takes ``seed + i``.

    Raises:
        InputError: no such layer, or sizes and samples as of `SNNKLinear.from_linear`.

    Example:
        >>> model = nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 4))
        >>> generator = torch.Generator().manual_seed(0)
        >>> rows = torch.randn(4000, 3, generator=generator) @ torch.randn(3, 64, generator=generator)
        >>> [found] = replace_ffn(model, 32, sample=[rows])
        >>> found.before, found.after, found.error < 0.3
        (16640, 8448, True)
        >>> type(model[0]).__name__, type(model[1]).__name__
        ('SNNKLinear', 'Identity')
    """
    layers = feed_forward_layers(model, pooler=pooler)
    if not layers:
        mend = "Pass one with linear layers and activations, or use SNNKLinear.from_linear on your own."
        raise InputError("the model has no feed-forward layer that is known", type(model).__name__, mend)
    if last_k is not None:
        if not 1 <= last_k <= len(layers):
            raise InputError("there are not so many feed-forward layers", last_k, f"Choose 1 to {len(layers)}.")
        layers = layers[-last_k:]
    batches = None
    if sample is not None:
        batches = [sample] if isinstance(sample, (Tensor, Mapping)) else list(sample)
    outputs = None if batches is None else [_answers(model, layer, batches) for layer in layers]
    found = []
    for number, layer in enumerate(track(layers, "Replacing layers")):
        old = layer.linear
        rows = None if batches is None else seen_by(model, old, batches)
        targets = None if outputs is None else outputs[number]
        made = SNNKLinear.from_linear(
            old, layer.activation, n_features, kernel=kernel, sample=rows, targets=targets, seed=seed + number
        )
        before = sum(p.numel() for p in old.parameters())
        found.append(Replaced(layer.name, before, sum(p.numel() for p in made.parameters()), made.fit_error))
        if not dry_run:
            layer.replace_by(made.train(old.training))
    return found


def _answers(model: nn.Module, layer: FeedForward, batches: list[Any]) -> Tensor:
    with torch.no_grad():
        return layer.activation(layer.linear(seen_by(model, layer.linear, batches)))


@torch.no_grad()
def seen_by(model: nn.Module, module: nn.Module, batches: Iterable[Any]) -> Tensor:
    """Inputs that a module inside a model receives, as rows; at most some thousands, evenly taken."""
    held: list[Tensor] = []
    hook = module.register_forward_pre_hook(lambda _, inputs: held.append(inputs[0].detach().flatten(0, -2)))
    training = model.training
    model.eval()
    try:
        for batch in batches:
            if isinstance(batch, Mapping):
                model(**batch)
            else:
                model(batch[0] if isinstance(batch, (list, tuple)) else batch)
    finally:
        hook.remove()
        model.train(training)
    if not held:
        raise InputError("the layer was not used", "no input", "Pass batches that reach it.")
    rows = torch.cat(held)
    return rows[:: -(-len(rows) // _HELD)]
