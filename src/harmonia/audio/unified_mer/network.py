"""Music2Emo's network: music features, chords and mode to mood tags and to valence and arousal (Sec. 3 of the paper).

    c = first state of Transformer([0; root_t ++ quality_t + position_t])            chords, 8 numbers
    z = ReLU(W [music; c; minor] + b)                                                 512 numbers
    tags = MLP_1(z),   (valence, arousal) = MLP_2(z)

A teacher has one of the two heads and is trained on one data set. The names of all parameters are those of the release.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.audio.unified_mer.encoding import MOST_CHORDS
from harmonia.audio.unified_mer.tags import MOOD_TAGS
from harmonia.core.errors import InputError

EMOTIONS = ("valence", "arousal")
_VOCABULARY, _EMBEDDING = 14, 4
_WIDTH = 2 * _EMBEDDING


@dataclass(frozen=True)
class EmotionConfig:
    """Shape of an `EmotionNetwork`; the defaults are the release's.

    Attributes:
        music_width: Numbers that describe the music; 1536 are two layers of MERT-95M.
        tags: What the tag head tells.
        chords: Chords it listens to.
        width: Width of z.
        hidden: Width of the heads' hidden layer.
        heads: Attention heads of the chord transformer; they divide 8.
        dropout: In the chord transformer, while training.
        standardize: Whether the music features are brought to mean 0 and deviation 1 by stored numbers.
    """

    music_width: int = 1536
    tags: tuple[str, ...] = MOOD_TAGS
    chords: int = MOST_CHORDS
    width: int = 512
    hidden: int = 256
    heads: int = 8
    dropout: float = 0.1
    standardize: bool = False

    def __post_init__(self) -> None:
        if min(self.music_width, self.width, self.hidden, self.heads) < 1 or _WIDTH % self.heads or not self.tags:
            raise InputError(
                "this network cannot be built", self, f"Give positive sizes, tags, and heads dividing {_WIDTH}."
            )
        if not 1 <= self.chords <= MOST_CHORDS:
            raise InputError("the network's positions end", f"{self.chords} chords", f"Use 1 to {MOST_CHORDS}.")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> EmotionConfig:
        """From a mapping, as JSON gives it.

        Raises:
            InputError: an unknown field.
        """
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise InputError("the configuration has unknown fields", ", ".join(unknown), "Leave them out.")
        given: dict[str, Any] = {key: tuple(value) if key == "tags" else value for key, value in values.items()}
        return cls(**given)

    def to_json(self) -> str:
        """As text, for the metadata of a file."""
        return json.dumps(asdict(self))


class Trunk(nn.Module):
    """What all networks share: music, chords and mode to z.

    Arguments:
        config: Its shape.
    """

    music_mean: Tensor
    music_scale: Tensor

    def __init__(self, config: EmotionConfig) -> None:
        super().__init__()
        self.config = config
        self.chord_root_embedding = nn.Embedding(_VOCABULARY, _EMBEDDING)
        self.chord_attr_embedding = nn.Embedding(_VOCABULARY, _EMBEDDING)
        for embedding in (self.chord_root_embedding, self.chord_attr_embedding):
            nn.init.xavier_uniform_(embedding.weight)
        layer = nn.TransformerEncoderLayer(_WIDTH, config.heads, 64, config.dropout, batch_first=True)
        self.chord_transformer = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)
        self.input_proj = nn.Sequential(nn.Linear(config.music_width + _WIDTH + 1, config.width), nn.ReLU())
        if config.standardize:
            self.register_buffer("music_mean", torch.zeros(config.music_width))
            self.register_buffer("music_scale", torch.ones(config.music_width))

    def encode(
        self,
        music: Float[Tensor, "batch music_width"],
        roots: Int[Tensor, "batch chords"],
        qualities: Int[Tensor, "batch chords"],
        minor: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch width"]:
        """z of a batch of pieces."""
        if self.config.standardize:
            music = (music - self.music_mean) / self.music_scale
        heard = self.hear(roots[:, : self.config.chords], qualities[:, : self.config.chords])
        return self.input_proj(torch.cat([music, heard, minor[:, None].to(music)], -1))

    def hear(
        self, roots: Int[Tensor, "batch chords"], qualities: Int[Tensor, "batch chords"]
    ) -> Float[Tensor, "batch 8"]:
        """c of chord sequences: the transformer's state at a zero vector put before them.

        Of its last layer only that state is computed.
        """
        chords = torch.cat([self.chord_root_embedding(roots), self.chord_attr_embedding(qualities)], -1)
        chords = chords + _positions(chords.shape[1]).to(chords)
        x = F.pad(chords, (0, 0, 1, 0))
        first, last = self.chord_transformer.layers
        x = first(x)
        query = x[:, :1]
        attended = last.self_attn(query, x, x, need_weights=False)[0]
        state = last.norm1(query + last.dropout1(attended))
        hidden = last.linear2(last.dropout(torch.relu(last.linear1(state))))
        return last.norm2(state + last.dropout2(hidden))[:, 0]


class EmotionNetwork(Trunk):
    """The student: tags, and valence and arousal, from one z.

    Example:
        >>> network = EmotionNetwork(EmotionConfig()).eval()
        >>> sum(p.numel() for p in network.parameters())
        1072058
        >>> none = torch.zeros(2, 100, dtype=torch.long)
        >>> tags, emotion = network(torch.randn(2, 1536), none, none, torch.tensor([0, 1]))
        >>> tags.shape, emotion.shape
        (torch.Size([2, 56]), torch.Size([2, 2]))
    """

    def __init__(self, config: EmotionConfig) -> None:
        super().__init__(config)
        self.classification_branch = _head(config, len(config.tags))
        self.regression_branch = _head(config, len(EMOTIONS))

    def forward(
        self,
        music: Float[Tensor, "batch music_width"],
        roots: Int[Tensor, "batch chords"],
        qualities: Int[Tensor, "batch chords"],
        minor: Int[Tensor, " batch"],
    ) -> tuple[Float[Tensor, "batch tags"], Float[Tensor, "batch 2"]]:
        """Logits of the tags, and valence and arousal on the scale 1 to 9, which nothing enforces.

        Arguments:
            music: Features of the music.
            roots, qualities: Encoded chords, see `harmonia.audio.unified_mer.encoding`.
            minor: 1 for pieces in a minor key.
        """
        z = self.encode(music, roots, qualities, minor)
        return self.classification_branch(z), self.regression_branch(z)


class TeacherNetwork(Trunk):
    """A network with one head, for one data set.

    Arguments:
        config: Its shape.
        outputs: As many as tags, or 2 for valence and arousal.
    """

    def __init__(self, config: EmotionConfig, outputs: int) -> None:
        super().__init__(config)
        self.output_proj = _head(config, outputs)

    def forward(
        self,
        music: Float[Tensor, "batch music_width"],
        roots: Int[Tensor, "batch chords"],
        qualities: Int[Tensor, "batch chords"],
        minor: Int[Tensor, " batch"],
    ) -> Float[Tensor, "batch outputs"]:
        """Logits of the tags, or valence and arousal."""
        return self.output_proj(self.encode(music, roots, qualities, minor))


def _head(config: EmotionConfig, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(config.width, config.hidden), nn.ReLU(), nn.Linear(config.hidden, outputs))


def _positions(length: int) -> Float[Tensor, "length 8"]:
    """``sin(t w_k), cos(t w_k)`` alternating, with ``w_k = 10000^(-2k / 8)``."""
    rates = torch.exp(torch.arange(0, _WIDTH, 2) * (-math.log(10_000.0) / _WIDTH))
    angles = torch.arange(length)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)
