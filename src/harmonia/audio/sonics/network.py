"""SpecTTTra, the Spectro-Temporal Tokens Transformer: a classifier of spectrograms whose cost grows gently with time.

A spectrogram X of F bands and T frames is cut twice: into slices of t frames over all bands (temporal tokens) and into
slices of f bands over all frames (spectral tokens). A transformer sees ``T // t + F // f`` tokens, where one that cuts
X into patches of p by p sees ``(F / p) (T / p)``::

    tokens = [LN(GELU(W_t X_slices) + P_t), LN(GELU(W_f X'_slices) + P_f)]      Sec. 4 of arXiv 2408.14080
    x += Attention(LN x);  x += MLP(LN x)      depth times, no normalisation at the end
    logit = w . mean(tokens) + b               positive says synthetic

The names of the parameters are those of the released weights (`harmonia.audio.sonics.checkpoint`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.core.errors import InputError
from harmonia.core.weights import write_safetensors

CLIPS: dict[str, tuple[int, int]] = {"alpha": (1, 3), "beta": (3, 5), "gamma": (5, 7)}
"""Bands of a spectral token and frames of a temporal one."""

FRAMES = {5.0: 128, 120.0: 3744}
"""Frames to which the released models resize the spectrogram of a window, by its length in seconds."""


@dataclass(frozen=True)
class SpecTTTraConfig:
    """Shape of a `SpecTTTra`; the defaults are alpha for 120 s, the most accurate of the released models.

    Attributes:
        input_shape: Mel bands F and frames T of the input.
        t_clip: Frames of a temporal token.
        f_clip: Bands of a spectral token.
        dim: Width of a token.
        depth: Blocks.
        heads: Attention heads.
        mlp_ratio: Width of the hidden layers over `dim`, rounded down.
        dropout: Of the tokens and of attention, while training.
        seconds: Length of a window of sound at 16 kHz; its spectrogram is resized to `input_shape`.
    """

    input_shape: tuple[int, int] = (128, 3744)
    t_clip: int = 3
    f_clip: int = 1
    dim: int = 384
    depth: int = 12
    heads: int = 6
    mlp_ratio: float = 2.67
    dropout: float = 0.1
    seconds: float | int = 120.0

    def __post_init__(self) -> None:
        bands, frames = self.input_shape
        object.__setattr__(self, "seconds", float(self.seconds))
        for what, fits, got in (
            ("a temporal token is one to all frames", 1 <= self.t_clip <= frames, f"{self.t_clip} of {frames}"),
            ("a spectral token is one to all bands", 1 <= self.f_clip <= bands, f"{self.f_clip} of {bands}"),
            ("heads divide the width", self.heads > 0 and self.dim % self.heads == 0, f"{self.heads} of {self.dim}"),
            ("a network has at least one block", self.depth >= 1, self.depth),
            ("hidden layers have at least one unit", self.hidden >= 1, self.mlp_ratio),
            ("a window lasts at least a quarter of a second", self.seconds >= 0.25, self.seconds),
            ("dropout lies in [0, 1)", 0 <= self.dropout < 1, self.dropout),
        ):
            if not fits:
                raise InputError(what, got, "Change the configuration.")

    @classmethod
    def released(cls, variant: str, seconds: float | int = 120) -> SpecTTTraConfig:
        """The configuration of a released model.

        Arguments:
            variant: ``alpha``, ``beta`` or ``gamma``: finer to coarser tokens.
            seconds: 5 or 120.

        Raises:
            InputError: no such model was released.

        Example:
            >>> [SpecTTTraConfig.released(v, 120).tokens for v in ("alpha", "beta", "gamma")]
            [1376, 790, 559]
        """
        if variant not in CLIPS or seconds not in FRAMES:
            raise InputError("no such model was released", f"{variant}, {seconds} s", "alpha, beta, gamma; 5 or 120 s.")
        f_clip, t_clip = CLIPS[variant]
        return cls(input_shape=(128, FRAMES[seconds]), t_clip=t_clip, f_clip=f_clip, seconds=seconds)

    @classmethod
    def tiny(cls) -> SpecTTTraConfig:
        """A network for tests and sketches: 1 s of sound, 21,000 parameters."""
        return cls(input_shape=(128, 32), t_clip=4, f_clip=8, dim=32, depth=2, heads=2, mlp_ratio=1.0, seconds=1.0)

    @classmethod
    def of(cls, config: SpecTTTraConfig | Mapping[str, Any]) -> SpecTTTraConfig:
        """A configuration from its fields.

        Raises:
            InputError: an unknown field.
        """
        if isinstance(config, SpecTTTraConfig):
            return config
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(config) - known)
        if unknown:
            mend = f"Its fields are {', '.join(sorted(known))}."
            raise InputError("a SpecTTTra has no such setting", ", ".join(unknown), mend)
        bands, frames = config.get("input_shape", cls.input_shape)
        return cls(**{**config, "input_shape": (bands, frames)})

    @property
    def samples(self) -> int:
        """Samples of a window at 16 kHz."""
        return int(self.seconds * 16000)

    @property
    def temporal_tokens(self) -> int:
        """``T // t``; frames left over are dropped."""
        return self.input_shape[1] // self.t_clip

    @property
    def spectral_tokens(self) -> int:
        """``F // f``; bands left over are dropped."""
        return self.input_shape[0] // self.f_clip

    @property
    def tokens(self) -> int:
        """All tokens."""
        return self.temporal_tokens + self.spectral_tokens

    @property
    def hidden(self) -> int:
        """Width of the hidden layers."""
        return int(self.dim * self.mlp_ratio)


class SpecTTTra(nn.Module):
    """Says of a standardised mel spectrogram whether its sound is synthetic.

    Arguments:
        config: Its shape, or the fields of one.

    Raises:
        InputError: an impossible shape.

    Example:
        >>> model = SpecTTTra(SpecTTTraConfig.released("gamma", 5)).eval()
        >>> spectrogram = torch.randn(2, 128, 128, generator=torch.Generator().manual_seed(0))
        >>> model(spectrogram).shape, model.features(spectrogram).shape
        (torch.Size([2]), torch.Size([2, 13, 384]))
        >>> sum(parameter.numel() for parameter in model.parameters())
        17172493
    """

    def __init__(self, config: SpecTTTraConfig | Mapping[str, Any] = SpecTTTraConfig()) -> None:
        super().__init__()
        self.config = config = SpecTTTraConfig.of(config)
        self.encoder = Encoder(config)
        self.classifier = nn.Linear(config.dim, 1)

    @classmethod
    def from_pretrained(cls, source: str | Path) -> SpecTTTra:
        """The model of a folder or file of weights, see `harmonia.audio.sonics.checkpoint.load_checkpoint`."""
        from harmonia.audio.sonics.checkpoint import load_checkpoint

        return load_checkpoint(source)

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write ``model.safetensors`` with the configuration in its metadata; `from_pretrained` reads it."""
        metadata = {"config": json.dumps(asdict(self.config))}
        return write_safetensors(Path(folder) / "model.safetensors", self.state_dict(), metadata)

    def forward(self, spectrogram: Float[Tensor, "batch bands frames"]) -> Float[Tensor, " batch"]:
        """Logits: positive says synthetic."""
        return self.classifier(self.tokens(spectrogram).mean(1)).squeeze(-1)

    def tokens(self, spectrogram: Float[Tensor, "batch bands frames"]) -> Float[Tensor, "batch tokens dim"]:
        """The tokens after the last block: first the temporal ones, then the spectral ones."""
        return self.encoder.transformer(self._tokenised(spectrogram))

    @torch.no_grad()
    def features(self, spectrogram: Float[Tensor, "batch bands frames"]) -> Float[Tensor, "batch layers dim"]:
        """Mean of the tokens before the first block and after each; the last is what the classifier sees."""
        tokens = self._tokenised(spectrogram)
        layers = [tokens.mean(1)]
        for block in self.encoder.transformer.blocks:
            tokens = block(tokens)
            layers.append(tokens.mean(1))
        return torch.stack(layers, 1)

    def _tokenised(self, spectrogram: Tensor) -> Tensor:
        if tuple(spectrogram.shape[1:]) != self.config.input_shape:
            raise InputError(
                "the spectrogram does not fit the model",
                f"shape {tuple(spectrogram.shape)}",
                f"Pass (batch, {self.config.input_shape[0]}, {self.config.input_shape[1]}); see SonicsFrontEnd.",
            )
        return self.encoder.pos_drop(self.encoder.st_tokenizer(spectrogram))


class Encoder(nn.Module):
    """Tokenizer and transformer."""

    def __init__(self, config: SpecTTTraConfig) -> None:
        super().__init__()
        self.st_tokenizer = SpectroTemporalTokenizer(config)
        self.pos_drop = nn.Dropout(config.dropout)
        self.transformer = Transformer(config.dim, config.depth, config.heads, config.hidden, config.dropout)


class SpectroTemporalTokenizer(nn.Module):
    """Tokens of slices in time, followed by tokens of slices in frequency."""

    def __init__(self, config: SpecTTTraConfig) -> None:
        super().__init__()
        bands, frames = config.input_shape
        self.temporal_tokenizer = SliceTokenizer(bands, config.dim, config.t_clip, config.temporal_tokens)
        self.spectral_tokenizer = SliceTokenizer(frames, config.dim, config.f_clip, config.spectral_tokens)

    def forward(self, x: Float[Tensor, "batch bands frames"]) -> Float[Tensor, "batch tokens dim"]:
        return torch.cat([self.temporal_tokenizer(x), self.spectral_tokenizer(x.transpose(1, 2))], dim=1)


class SliceTokenizer(nn.Module):
    """One token for every slice of an axis: ``LN(GELU(W slice) + position)``."""

    def __init__(self, channels: int, dim: int, clip: int, count: int) -> None:
        super().__init__()
        self.conv1d = nn.Conv1d(channels, dim, clip, stride=clip, bias=False)
        self.pos_encoder = LearnedPosition(count, dim)
        self.norm_pre = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, x: Float[Tensor, "batch channels length"]) -> Float[Tensor, "batch count dim"]:
        return self.norm_pre(self.pos_encoder(F.gelu(self.conv1d(x)).transpose(1, 2)))


class LearnedPosition(nn.Module):
    """Adds a learnt vector to the token at each place."""

    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        self.pe = nn.Parameter(0.02 * torch.randn(1, count, dim))

    def forward(self, x: Float[Tensor, "batch count dim"]) -> Float[Tensor, "batch count dim"]:
        return x + self.pe


class Transformer(nn.Module):
    """Blocks of pre-normalised attention and MLP, in the layout of vision transformers, without a norm at the end."""

    def __init__(self, dim: int, depth: int, heads: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(dim, heads, hidden, dropout) for _ in range(depth))

    def forward(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        for block in self.blocks:
            x = block(x)
        return x


class Block(nn.Module):
    """``x += Attention(LN x); x += MLP(LN x)``."""

    def __init__(self, dim: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads, dropout)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MLP(dim, hidden)

    def forward(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Attention(nn.Module):
    """Softmax attention over all tokens; queries, keys and values have no bias."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    """Two layers with an exact GELU between."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        return self.fc2(F.gelu(self.fc1(x)))
