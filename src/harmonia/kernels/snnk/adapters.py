"""Adapters: few trainable numbers behind the layers of a frozen model.

``y = x + v * (Psi Phi(x))``, or through a bottleneck ``y = x + U (Psi Phi(x)) + u``. v and U start at zero, so that the
model starts unchanged. Phi is not trained: m numbers an output instead of as many as there are inputs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.core.media import whole_file
from harmonia.kernels.snnk.layers import SNNKLinear

TRANSFORMERS = (
    r"output\.dense",  # BERT and its kin, ViT of transformers 4
    r"attention\.o_proj|mlp\.fc2",  # ViT of transformers 5
    r"self_attn\.out_proj|linear2|fc2",  # torch's encoder layers, OPT, CLIP
    r"attn\.proj|mlp\.fc2",  # timm
    r"attention\.out_lin|ffn\.lin2",  # DistilBERT
)
"""Where adapters go unless said otherwise: behind attention and behind the feed-forward block."""


class SNNKAdapter(nn.Module):
    """An adapter of random features.

    Arguments:
        d_model: Width of the states.
        n_features: m.
        bottleneck: Width between, or None: one number scales each state.
        norm_before, norm_after: Layer norms.
        orthogonal: Directions are orthogonal in blocks.
        threshold: Of the features.
        seed: Of directions and weights.

    Example:
        >>> adapter = SNNKAdapter(768, 16)
        >>> x = torch.randn(2, 768)
        >>> bool((adapter(x) == x).all()), sum(p.numel() for p in adapter.parameters())
        (True, 13056)
    """

    def __init__(
        self,
        d_model: int,
        n_features: int = 16,
        bottleneck: int | None = None,
        *,
        norm_before: bool = False,
        norm_after: bool = False,
        orthogonal: bool = True,
        threshold: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        width = d_model if bottleneck is None else bottleneck
        self.norm_before = nn.LayerNorm(d_model) if norm_before else None
        self.norm_after = nn.LayerNorm(d_model) if norm_after else None
        self.down = SNNKLinear(
            d_model, width, n_features, orthogonal=orthogonal, bias=False, threshold=threshold, seed=seed
        )
        self.up = None if bottleneck is None else nn.Linear(bottleneck, d_model)
        self.scale = nn.Parameter(torch.zeros(d_model)) if bottleneck is None else None
        if self.up is not None:
            nn.init.zeros_(self.up.weight)
            nn.init.zeros_(self.up.bias)

    def forward(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
        """States in, states out."""
        inner = self.down(x if self.norm_before is None else self.norm_before(x))
        y = x + (self.up(inner) if self.up is not None else inner * self.scale)
        return y if self.norm_after is None else self.norm_after(y)


class Adapted(nn.Module):
    """A layer with an adapter behind it; the layer keeps its place as ``base_layer``, as in peft."""

    def __init__(self, base_layer: nn.Module, adapter: nn.Module) -> None:
        super().__init__()
        self.base_layer, self.adapter = base_layer, adapter

    def forward(self, *inputs: Any, **options: Any) -> Any:
        return self.adapter(self.base_layer(*inputs, **options))


def add_adapters(
    model: nn.Module,
    n_features: int = 16,
    bottleneck: int | None = None,
    *,
    targets: str | None = None,
    train: Sequence[str] = (),
    seed: int = 0,
) -> list[str]:
    """Freeze a model and put an adapter behind its layers, in place; gives the names of those layers.

    Works on models of transformers, torch or your own, also on one that peft has wrapped.

    Arguments:
        model: Any.
        n_features, bottleneck: See `SNNKAdapter`.
        targets: Regular expression of the ends of names of linear layers; else those behind attention and feed-forward
            blocks, where they are known.
        train: Words: parameters with one of them in their name stay trainable, e.g. ``["classifier"]``.
        seed: Of the adapters; adapter i takes ``seed + i``.

    Raises:
        InputError: no such layer, adapters that are there already, or targets that are no regular expression.

    Example:
        >>> layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        >>> add_adapters(layer, 8)
        ['linear2']
        >>> sum(p.numel() for p in layer.parameters() if p.requires_grad)
        288
    """
    if any(isinstance(module, Adapted) for module in model.modules()):
        raise InputError("the model has adapters", "a second call", "Remove them first: remove_adapters(model).")
    chosen = _targets(model, [targets] if targets else TRANSFORMERS)
    if not chosen:
        mend = "Give targets: a regular expression of names in model.named_modules()."
        raise InputError("no layer to put an adapter behind", targets or type(model).__name__, mend)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(any(word in name for word in train))
    for number, name in enumerate(chosen):
        parent, _, last = name.rpartition(".")
        layer = model.get_submodule(name)
        width = _width(layer)
        adapter = SNNKAdapter(width, n_features, bottleneck, seed=seed + number)
        weight = next(layer.parameters())
        block = model.get_submodule(parent)
        setattr(block, last, Adapted(layer, adapter.to(weight.device, weight.dtype)))
        if isinstance(block, nn.TransformerEncoderLayer):
            block.activation_relu_or_gelu = 0  # else torch's fused path reads the layer's weights itself
    return chosen


def _targets(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Names by the first pattern that finds some."""
    unwrappable = nn.modules.linear.NonDynamicallyQuantizableLinear  # torch's attention reads its weights itself
    for pattern in patterns:
        try:
            ends = re.compile(rf"(?:^|.*\.)(?:{pattern})$")
        except re.error as error:
            what = "'targets' is no regular expression"
            raise InputError(what, f"'{pattern}': {error}", "Give for instance 'attention|linear2'.") from None
        found = [
            name
            for name, module in model.named_modules()
            if ends.match(name) and _width(module) and not isinstance(module, unwrappable)
        ]
        if found:
            return found
    return []


def _width(layer: nn.Module) -> int:
    return int(getattr(layer, "out_features", 0))


def remove_adapters(model: nn.Module) -> None:
    """Take the adapters away, in place; parameters stay as trainable as they were left."""
    for name, module in list(model.named_modules()):
        if isinstance(module, Adapted):
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, module.base_layer)


def adapter_state(model: nn.Module) -> dict[str, Tensor]:
    """What was added, directions included, and every other parameter that is trained: all that has to be kept."""
    state = model.state_dict()
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    inside = tuple(f"{name}.adapter." for name, module in model.named_modules() if isinstance(module, Adapted))
    return {name: value for name, value in state.items() if name in trained or name.startswith(inside)}


def save_adapters(model: nn.Module, path: str | Path) -> Path:
    """Write `adapter_state` to a safetensors file, which appears whole or not at all."""
    from safetensors.torch import save_file

    state = {name: value.detach().contiguous().clone() for name, value in adapter_state(model).items()}
    if not state:
        raise InputError("there is nothing to save", "no adapter", "Add some: add_adapters(model).")
    with whole_file(Path(path)) as temporary:
        save_file(state, temporary)
    return Path(path)


def load_adapters(model: nn.Module, path: str | Path) -> None:
    """Read them into a model that has the same adapters.

    Raises:
        InputError: a missing or damaged file, or keys or shapes that are not the model's.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(Path(path))
    except (OSError, SafetensorError) as error:
        raise InputError("the adapters cannot be read", f"{Path(path).name}: {error}", "Check the file.") from None
    expected = adapter_state(model)
    wrong = sorted(set(state) ^ set(expected)) or [k for k in state if state[k].shape != expected[k].shape]
    if wrong:
        raise InputError("the adapters are of another model", ", ".join(wrong[:4]), "Add the same adapters first.")
    model.load_state_dict(state, strict=False)
