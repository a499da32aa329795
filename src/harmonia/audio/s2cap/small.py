"""The from-scratch profile: log-mel encoder, text decoder, and the text encoder of the alignment.

Sizes and all else are our choice, since the paper's captioner was never released.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.audio.s2cap.network import AudioEncoder, Cache, CaptionDecoder
from harmonia.audio.s2cap.tokens import PAD
from harmonia.audio.s2cap.transformer import Block, positions
from harmonia.core.errors import InputError
from harmonia.parts.linear import Linear
from harmonia.parts.spectral import STFT, MelSpectrogram, mel_filterbank

_FLOOR = 1e-7
"""Of the mel power, before its logarithm."""


@dataclass(frozen=True)
class SmallConfig:
    """Sizes of the from-scratch profile.

    Attributes:
        dim: Width of encoder and decoder.
        encoder_layers, decoder_layers, heads: Of the transformers.
        vocabulary: Tokens.
        max_length: Longest caption in tokens.
        dropout: While training.
        sample_rate, n_fft, hop_length, num_mels: Of the log-mel spectrogram.
    """

    dim: int = 256
    encoder_layers: int = 4
    decoder_layers: int = 4
    heads: int = 4
    vocabulary: int = 1024
    max_length: int = 64
    dropout: float = 0.1
    sample_rate: int = 16000
    n_fft: int = 1024
    hop_length: int = 320
    num_mels: int = 80

    def __post_init__(self) -> None:
        if self.dim % (2 * self.heads) or min(self.dim, self.encoder_layers, self.decoder_layers, self.max_length) < 1:
            got = f"width {self.dim}, {self.heads} heads"
            raise InputError("the width is a multiple of twice the heads", got, "Change dim or heads.")


class LogMelEncoder(AudioEncoder):
    """Log-mel spectrogram, three strided convolutions over time and frequency, transformer.

    The convolutions' outputs are normalised, which takes the level off; it is told to the transformer beside them.

    Example:
        >>> encoder = LogMelEncoder(SmallConfig(dim=32, encoder_layers=1))
        >>> encoder(encoder.features(torch.zeros(2, 16000))).shape
        torch.Size([2, 7, 32])
    """

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        self.config = config
        self.sample_rate, self.dim = config.sample_rate, config.dim
        self.stft = STFT(config.n_fft, config.hop_length, pad_mode="constant")
        filters = mel_filterbank(config.sample_rate, config.n_fft, config.num_mels, low_hz=40.0)
        self.mel = MelSpectrogram(self.stft, filters.float(), log_floor=_FLOOR)
        channels = (1, 16, 32, 48)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1) for before, after in pairwise(channels)
        )
        # Levels differ between the bands and from layer to layer; normalised, the same steps learn far more.
        self.norms = nn.ModuleList(nn.GroupNorm(4, after) for after in channels[1:])
        self.level = Linear(1, config.dim)
        height = config.num_mels
        for _ in self.convolutions:
            height = (height + 1) // 2
        self.flat = Linear(channels[-1] * height, config.dim)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            Block(config.dim, config.heads, config.dropout) for _ in range(config.encoder_layers)
        )
        self.norm = nn.LayerNorm(config.dim)

    def features(self, audio: Float[Tensor, "batch time"]) -> Float[Tensor, "batch mels frames"]:
        """The log-mel spectrogram, centred near zero; levels are kept, for they tell the volume."""
        with torch.no_grad():
            return (self.mel(audio) + 8.0) / 4.0

    def mixed(self, voice: Float[Tensor, "*batch"], backing: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Features of two sounds together, as if their powers added up (and the floor counted once)."""
        powers = (4.0 * voice.float() - 8.0).exp() + (4.0 * backing.float() - 8.0).exp() - _FLOOR
        return (powers.clamp(min=_FLOOR).log() + 8.0) / 4.0

    def forward(self, features: Float[Tensor, "batch mels frames"]) -> Float[Tensor, "batch length dim"]:
        """One vector every 0.16 s."""
        x = features.unsqueeze(1)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.gelu(norm(convolution(x)))
        level = self.level(features.mean((1, 2))[:, None])[:, None]
        x = self.flat(x.permute(0, 3, 1, 2).flatten(2)) + level
        x = self.dropout(x + positions(x.shape[1], self.dim).to(x))
        for block in self.blocks:
            x, _ = block(x)
        return self.norm(x)


class SmallDecoder(CaptionDecoder):
    """A transformer decoder with a cache of keys and values; its output words are its input words (tied)."""

    begin_token, end_token, pad_token = 1, 2, PAD

    def __init__(self, config: SmallConfig) -> None:
        super().__init__()
        self.dim, self.max_length = config.dim, config.max_length
        self.embedding = nn.Embedding(config.vocabulary, config.dim)
        nn.init.normal_(self.embedding.weight, std=config.dim**-0.5)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            Block(config.dim, config.heads, config.dropout, cross=True) for _ in range(config.decoder_layers)
        )
        self.norm = nn.LayerNorm(config.dim)

    def forward(
        self, tokens: Int[Tensor, "batch length"], memory: Float[Tensor, "batch frames dim"]
    ) -> Float[Tensor, "batch length vocabulary"]:
        """Logits of the next token after each token."""
        x = self._embedded(tokens, 0)
        for block in self.blocks:
            assert isinstance(block, Block)
            x, _ = block(x, block.memory_keys(memory), causal=True)
        return self._logits(x)

    def begin(self, memory: Float[Tensor, "batch frames dim"]) -> Cache:
        """Keys and values of the memory, none yet of words."""
        return [(block.memory_keys(memory), None) for block in self.blocks if isinstance(block, Block)]

    def advance(self, tokens: Int[Tensor, " batch"], cache: Cache) -> tuple[Float[Tensor, "batch vocabulary"], Cache]:
        """Logits after one more token each."""
        past = cache[0][1]
        x = self._embedded(tokens[:, None], 0 if past is None else past[0].shape[2])
        grown = []
        for block, (memory, before) in zip(self.blocks, cache, strict=True):
            x, keys = block(x, memory, past=before)
            grown.append((memory, keys))
        return self._logits(x)[:, 0], grown

    def reorder(self, cache: Cache, rows: Int[Tensor, " chosen"]) -> Cache:
        """The cache of some rows."""
        return [
            ((memory[0][rows], memory[1][rows]), None if past is None else (past[0][rows], past[1][rows]))
            for memory, past in cache
        ]

    def _embedded(self, tokens: Tensor, start: int) -> Tensor:
        stop = start + tokens.shape[1]
        if stop > self.max_length + 1:
            mend = f"Keep captions to {self.max_length} tokens."
            raise InputError("the caption is too long for this decoder", f"{stop - 1} tokens", mend)
        scaled = self.embedding(tokens) * self.dim**0.5
        return self.dropout(scaled + positions(stop, self.dim)[start:].to(scaled))

    def _logits(self, x: Tensor) -> Tensor:
        return F.linear(self.norm(x), self.embedding.weight)


class TextEncoder(nn.Module):
    """A transformer over a caption; its mean over the words is what CRESCENDO pulls the audio embedding towards."""

    def __init__(self, config: SmallConfig, layers: int = 2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.vocabulary, config.dim)
        self.blocks = nn.ModuleList(Block(config.dim, config.heads, config.dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, tokens: Int[Tensor, "batch length"]) -> Float[Tensor, "batch length dim"]:
        """One vector a token; padding is not seen."""
        x = self.embedding(tokens)
        x = x + positions(tokens.shape[1], x.shape[2]).to(x)
        seen = (tokens != PAD)[:, None, None, :]
        for block in self.blocks:
            x, _ = block(x, mask=seen)
        return self.norm(x)
