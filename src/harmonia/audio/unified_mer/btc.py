"""BTC: chords from a constant-Q spectrum by a bidirectional transformer (Park et al., ISMIR 2019, arXiv 1907.02698).

Two stacks in each of eight layers see the past and the future only; their outputs are joined. The names of all
parameters are those of the public checkpoints. Two oddities belong to the trained weights: the norm divides by
``std + 1e-6`` with the unbiased standard deviation, and both convolutions of a block are followed by a ReLU.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.core.errors import WeightsError
from harmonia.core.weights import load_strictly, locate, read_state_dict
from harmonia.parts.constant_q import ConstantQ
from harmonia.parts.harmony import QUALITIES, Chord

RATE = 22050
BLOCK_FRAMES = 108
BLOCK_SECONDS = 10
FRAME_SECONDS = BLOCK_SECONDS / BLOCK_FRAMES
_BINS = 144
_UNUSED = "output_layer.lstm."
_BATCH = 16


@dataclass(frozen=True)
class BTCConfig:
    """Shape of a `BTC`; the defaults are those of the public large-vocabulary checkpoint.

    Attributes:
        bins: Constant-Q bins, two a semitone.
        classes: 12 roots times 14 qualities, unknown (168), none (169); or 25: twelve major, twelve minor, none.
        width: Width of a frame inside.
        layers: Pairs of blocks.
        heads: Attention heads.
        dropout: While training.
    """

    bins: int = _BINS
    classes: int = 170
    width: int = 128
    layers: int = 8
    heads: int = 4
    dropout: float = 0.2


class _Norm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        return self.gamma * centred / (x.std(-1, keepdim=True) + 1e-6) + self.beta


class _Attention(nn.Module):
    def __init__(self, config: BTCConfig, backward: bool) -> None:
        super().__init__()
        self.heads, self.backward_in_time = config.heads, backward
        self.query_linear, self.key_linear, self.value_linear, self.output_linear = (
            nn.Linear(config.width, config.width, bias=False) for _ in range(4)
        )

    def forward(self, x: Tensor) -> Tensor:
        # Seen from the end, the future is the past.
        x = x.flip(1) if self.backward_in_time else x
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query_linear, self.key_linear, self.value_linear)
        )
        heard = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
        out = self.output_linear(heard)
        return out.flip(1) if self.backward_in_time else out


class _Convolution(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.mT).mT


class _Convolutions(nn.Module):
    def __init__(self, config: BTCConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList([_Convolution(config.width) for _ in range(2)])
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = self.dropout(torch.relu(layer(x)))
        return x


class _Block(nn.Module):
    def __init__(self, config: BTCConfig, backward: bool) -> None:
        super().__init__()
        self.multi_head_attention = _Attention(config, backward)
        self.positionwise_convolution = _Convolutions(config)
        self.layer_norm_mha, self.layer_norm_ffn = _Norm(config.width), _Norm(config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(x + self.multi_head_attention(self.layer_norm_mha(x)))
        return self.dropout(x + self.positionwise_convolution(self.layer_norm_ffn(x)))


class _Pair(nn.Module):
    def __init__(self, config: BTCConfig) -> None:
        super().__init__()
        self.attn_block, self.backward_attn_block = _Block(config, False), _Block(config, True)
        self.linear = nn.Linear(2 * config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(torch.cat([self.attn_block(x), self.backward_attn_block(x)], -1))


class _Layers(nn.Module):
    def __init__(self, config: BTCConfig) -> None:
        super().__init__()
        self.embedding_proj = nn.Linear(config.bins, config.width, bias=False)
        self.self_attn_layers = nn.Sequential(*[_Pair(config) for _ in range(config.layers)])
        self.layer_norm = _Norm(config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embedding_proj(self.dropout(x))
        return self.layer_norm(self.self_attn_layers(x + _timing(x.shape[1], x.shape[2]).to(x)))


class _Output(nn.Module):
    def __init__(self, config: BTCConfig) -> None:
        super().__init__()
        self.output_projection = nn.Linear(config.width, config.classes)


class BTC(nn.Module):
    """Normalised log-magnitudes of a constant-Q spectrum to chord classes, frame by frame.

    Arguments:
        config: Its shape.

    Attributes:
        mean, deviation: Of the spectra it was trained on; numbers, kept beside the weights.

    Example:
        >>> BTC(BTCConfig(layers=1)).eval()(torch.randn(2, 108, 144)).shape
        torch.Size([2, 108, 170])
    """

    def __init__(self, config: BTCConfig) -> None:
        super().__init__()
        self.config = config
        self.self_attn_layers = _Layers(config)
        self.output_layer = _Output(config)
        self.mean, self.deviation = 0.0, 1.0

    def forward(self, spectrum: Float[Tensor, "batch frames bins"]) -> Float[Tensor, "batch frames classes"]:
        """Logits of the classes."""
        return self.output_layer.output_projection(self.self_attn_layers(spectrum))

    @classmethod
    def from_checkpoint(cls, path: str | Path, *, trust_pickle: bool = False) -> BTC:
        """Read a public checkpoint: a dictionary of ``model``, ``mean`` and ``std``.

        An LSTM that it holds and nothing uses is left out; every other key and shape must agree.

        Raises:
            WeightsError: a missing or corrupt file, one without ``mean`` and ``std``, or the first key that does not
                fit.
        """
        path = locate(path)
        # The statistics are numpy's numbers; these names are what rebuilding one needs, and none of them runs anything.
        with torch.serialization.safe_globals(_numpy_numbers()):
            state = read_state_dict(path, trust_pickle=trust_pickle)
            extra = torch.load(path, map_location="cpu", weights_only=not trust_pickle)
        mean, deviation = (_number(extra, name) for name in ("mean", "std"))
        state = {key: value for key, value in state.items() if not key.startswith(_UNUSED)}
        with torch.device("meta"):
            model = cls(_config_of(state))
        load_strictly(model, state, {"self_attn_layers": "layers or width", "output_layer": "classes"})
        model.mean, model.deviation = mean, deviation
        return model.eval()

    @torch.no_grad()
    def classes(self, sound: Float[ndarray, " time"]) -> Int[ndarray, " frames"]:
        """Class of every frame of a mono sound at `RATE`, read in blocks of ten seconds as in training."""
        device = self.output_layer.output_projection.weight.device
        found = []
        for features in _blocks(sound, self.config.bins):
            normal = [(piece - self.mean) / self.deviation for piece in features]
            padded = torch.stack([F.pad(piece, (0, 0, 0, BLOCK_FRAMES - len(piece))) for piece in normal])
            best = self(padded.to(device)).argmax(-1).cpu()
            found += [row[: len(piece)] for row, piece in zip(best, normal, strict=True)]
        return torch.cat(found).numpy()

    def chords(self, sound: Float[ndarray, " time"]) -> list[Chord]:
        """Chords of a mono sound at `RATE`; unknown ones count as none."""
        classes = self.classes(sound)
        starts = np.flatnonzero(np.diff(classes, prepend=-1)).tolist()
        ends = [*starts[1:], len(classes)]
        return [
            Chord(start * FRAME_SECONDS, end * FRAME_SECONDS, *chord_of_class(int(classes[start]), self.config.classes))
            for start, end in zip(starts, ends, strict=True)
        ]


def chord_of_class(number: int, classes: int = 170) -> tuple[int | None, str]:
    """Root and quality of a class.

    Example:
        >>> chord_of_class(1), chord_of_class(9 * 14 + 6), chord_of_class(169), chord_of_class(3, classes=25)
        ((0, 'maj'), (9, 'min7'), (None, 'N'), (1, 'min'))
    """
    if classes == 25:
        return (None, "N") if number == 24 else (number // 2, ("maj", "min")[number % 2])
    return (None, "N") if number >= 168 else (number // 14, tuple(QUALITIES)[number % 14])


def _blocks(sound: Float[ndarray, " time"], bins: int) -> Any:
    """Log-magnitudes of blocks of ten seconds, ``[frames, bins]`` each, a few blocks at a time."""
    constant_q = ConstantQ(RATE, 2048, bins=bins, bins_per_octave=24)
    audio = torch.from_numpy(np.ascontiguousarray(sound, dtype=np.float32))
    size = BLOCK_SECONDS * RATE
    whole = max(0, -(-len(audio) // size) - 1)
    for first in range(0, whole, _BATCH):
        part = audio[first * size : min(first + _BATCH, whole) * size].reshape(-1, size)
        yield list((constant_q(part).abs() + 1e-6).log().mT)
    # Silence behind the rest changes none of its frames, and all blocks are of one length.
    rest = audio[whole * size :]
    spectrum = constant_q(F.pad(rest, (0, size - len(rest)))).abs()
    yield [(spectrum[:, : 1 + len(rest) // constant_q.hop_length] + 1e-6).log().mT]


def _timing(length: int, width: int) -> Float[Tensor, "length width"]:
    """``[sin(t r_k), cos(t r_k)]`` with rates from 1 to 1e-4 in geometric steps."""
    rates = torch.exp(torch.arange(width // 2) * (-math.log(1e4) / (width // 2 - 1)))
    angles = torch.arange(length)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], -1)


def _config_of(state: Mapping[str, Tensor]) -> BTCConfig:
    try:
        width, bins = state["self_attn_layers.embedding_proj.weight"].shape
        classes = len(state["output_layer.output_projection.bias"])
    except (KeyError, ValueError):
        raise WeightsError(
            "these are not the weights of BTC", f"{len(state)} keys", "Pass btc_model_large_voca.pt or btc_model.pt."
        ) from None
    if classes not in (25, 170):
        raise WeightsError("the classes of these weights are not known", classes, "Pass a model of 25 or 170 classes.")
    layers = {key.split(".")[2] for key in state if key.startswith("self_attn_layers.self_attn_layers.")}
    return BTCConfig(bins=bins, classes=classes, width=width, layers=len(layers))


def _number(content: Any, name: str) -> float:
    if not isinstance(content, Mapping) or name not in content:
        raise WeightsError(f"the checkpoint lacks '{name}'", "weights alone", "Pass the file as it was published.")
    value = float(np.asarray(content[name]).reshape(-1)[0]) if np.size(content[name]) == 1 else math.nan
    if not math.isfinite(value) or (name == "std" and value <= 0):
        raise WeightsError(f"'{name}' of the checkpoint is no usable number", content[name], "Fetch it again.")
    return value


def _numpy_numbers() -> list[Any]:
    core = np._core.multiarray  # type: ignore[attr-defined]
    kinds = [type(np.dtype(kind)) for kind in ("float32", "float64")]
    return [core.scalar, core._reconstruct, np.dtype, np.ndarray, *kinds, (core.scalar, "numpy.core.multiarray.scalar")]
