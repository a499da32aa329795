"""The captioner's parts: what turns sound into a sequence of vectors, and what turns those into words.

`AudioEncoder` and `CaptionDecoder` say what any of them must do; those from scratch are in
`harmonia.audio.s2cap.small`, those around pretrained models in `harmonia.audio.s2cap.pretrained`. A `Captioner` is one
of each, a projection between them, and a head that names the attributes from the same audio embedding.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from harmonia.audio.s2cap.attributes import LEXICON
from harmonia.parts.linear import Linear

Cache = Any
"""What a decoder keeps between words."""


class AudioEncoder(nn.Module, ABC):
    """Sound to a sequence of vectors.

    Attributes:
        sample_rate: Of the sound it takes, Hz.
        dim: Width of the vectors.
    """

    sample_rate: int
    dim: int

    @abstractmethod
    def features(self, audio: Float[Tensor, "batch time"]) -> Float[Tensor, "batch *shape"]:
        """What can be computed once and kept: the input of `forward`, without anything that is trained."""

    @abstractmethod
    def forward(self, features: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch length dim"]:
        """The vectors."""


class CaptionDecoder(nn.Module, ABC):
    """Vectors to words.

    Attributes:
        dim: Width of the vectors it attends to.
        max_length: Longest caption in tokens.
        begin_token, end_token, pad_token: Its special tokens.
    """

    dim: int
    max_length: int
    begin_token: int
    end_token: int
    pad_token: int

    @abstractmethod
    def forward(
        self, tokens: Int[Tensor, "batch length"], memory: Float[Tensor, "batch frames dim"]
    ) -> Float[Tensor, "batch length vocabulary"]:
        """Logits of the next token after each token, teacher-forced."""

    @abstractmethod
    def begin(self, memory: Float[Tensor, "batch frames dim"]) -> Cache:
        """A cache before the first word."""

    @abstractmethod
    def advance(self, tokens: Int[Tensor, " batch"], cache: Cache) -> tuple[Float[Tensor, "batch vocabulary"], Cache]:
        """Logits after one more token each, computing nothing twice."""

    @abstractmethod
    def reorder(self, cache: Cache, rows: Int[Tensor, " chosen"]) -> Cache:
        """The cache of some rows, as a beam search chooses them."""


PRESENCE = "voice"
"""Name of the head that says whether anybody sings."""


_LEAST_SPREAD = 1e-6
"""Keeps the gradient of the root finite where nothing changes."""


class AttributeHead(nn.Module):
    """Names the attributes and says whether there is a voice, from the embedding's mean and spread over time."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.sizes = {name: len(choices) for name, choices in LEXICON.items()} | {PRESENCE: 2}
        self.hidden = Linear(2 * dim, dim, activation="gelu")
        self.out = Linear(dim, sum(self.sizes.values()))

    def forward(self, memory: Float[Tensor, "batch frames dim"]) -> dict[str, Tensor]:
        """Logits ``[batch, values]`` of each attribute, and of `PRESENCE` (absent, present)."""
        spread = (memory.var(1, correction=0) + _LEAST_SPREAD).sqrt()
        logits = self.out(self.hidden(torch.cat([memory.mean(1), spread], dim=1))).split(
            list(self.sizes.values()), dim=1
        )
        return dict(zip(self.sizes, logits, strict=True))


class Captioner(nn.Module):
    """Encoder, projection to the decoder's width, decoder, and attribute head.

    Example:
        >>> import torch
        >>> from harmonia.audio.s2cap.small import LogMelEncoder, SmallConfig, SmallDecoder
        >>> config = SmallConfig(dim=32, encoder_layers=1, decoder_layers=1, vocabulary=300)
        >>> captioner = Captioner(LogMelEncoder(config), SmallDecoder(config))
        >>> memory = captioner.memory(captioner.encoder.features(torch.zeros(1, 16000)))
        >>> captioner.decoder(torch.tensor([[1, 5]]), memory).shape
        torch.Size([1, 2, 300])
    """

    def __init__(self, encoder: AudioEncoder, decoder: CaptionDecoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        same = encoder.dim == decoder.dim
        self.projection: nn.Module = nn.Identity() if same else Linear(encoder.dim, decoder.dim)
        self.head = AttributeHead(decoder.dim)

    def memory(self, features: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch length dim"]:
        """Z: what the decoder attends to."""
        return self.projection(self.encoder(features))
