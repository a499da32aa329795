"""Captioned clips as a network learns from them: features computed once, batches drawn from them at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.audio.s2cap.attributes import LEXICON
from harmonia.audio.s2cap.manifest import Clip, read_mono
from harmonia.audio.s2cap.network import AudioEncoder
from harmonia.core.errors import InputError
from harmonia.core.progress import track

Encode = Callable[[str], Sequence[int]]


@dataclass(frozen=True)
class Examples:
    """Captioned clips as tensors.

    Attributes:
        mix: Features of the mixtures, half precision.
        vocals: Features of the voices, or None where any clip lacks one.
        backing: Features of what is left, to learn what no voice sounds like; None without vocals.
        captions: Token ids of each clip's captions, without begin and end.
        labels: For each attribute the number of its value, -1 where unknown.
    """

    mix: Float[Tensor, "clips *shape"]
    vocals: Float[Tensor, "clips *shape"] | None
    backing: Float[Tensor, "clips *shape"] | None
    captions: list[list[list[int]]]
    labels: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.captions)


class Batch(NamedTuple):
    """What one step learns from; `tokens` begin and end with their marks."""

    mix: Tensor
    vocals: Tensor | None
    backing: Tensor | None
    tokens: Tensor
    labels: dict[str, Tensor]


def prepare(
    encoder: AudioEncoder, clips: Sequence[Clip], encode: Encode, *, seconds: float, max_length: int
) -> Examples:
    """Compute the features of clips once, in half precision.

    Arguments:
        encoder: Whose features.
        clips: Captioned clips.
        encode: Caption to token ids.
        seconds: The middle of longer clips is taken; shorter ones are continued by silence.
        max_length: Longest caption in tokens, end mark included; longer ones are refused.

    Raises:
        InputError: no clips, or a caption that is too long.
    """
    if not clips:
        raise InputError("there is nothing to learn from", "0 clips", "Pass captioned clips.")
    demixed = all(clip.vocals_path is not None for clip in clips)
    mix, vocals, backing, captions = [], [], [], []
    for clip in track(clips, "Reading clips"):
        sound = _middle(clip.path, clip, encoder.sample_rate, seconds)
        mix.append(_features(encoder, sound))
        if demixed and clip.vocals_path is not None:
            voice = _middle(clip.vocals_path, clip, encoder.sample_rate, seconds)
            vocals.append(_features(encoder, voice))
            backing.append(_features(encoder, sound - voice))
        captions.append([list(encode(caption)) for caption in clip.captions])
        longest = max(map(len, captions[-1])) + 1
        if longest > max_length:
            raise InputError("a caption is too long", f"{longest} tokens for {clip.path.name}", "Shorten it.")
    labels = {name: torch.tensor([_label(name, clip.attributes.get(name)) for clip in clips]) for name in LEXICON}
    voices = torch.stack(vocals) if demixed else None
    return Examples(torch.stack(mix), voices, torch.stack(backing) if demixed else None, captions, labels)


def _middle(path: Path, clip: Clip, rate: int, seconds: float) -> Float[np.ndarray, " time"]:
    sound, size = read_mono(path, rate, clip.begin, clip.end), round(seconds * rate)
    start = max(0, len(sound) - size) // 2
    piece = sound[start : start + size]
    return np.pad(piece, (0, size - len(piece)))


@torch.no_grad()
def _features(encoder: AudioEncoder, sound: np.ndarray) -> Tensor:
    return encoder.features(torch.from_numpy(sound)[None])[0].half()


def _label(name: str, value: str | None) -> int:
    return -1 if value is None else list(LEXICON[name]).index(value)


BACKING = ("tempo", "mood", "genre", "volume")
"""Attributes that the backing tells too; the volume, since a backing is played as loud as its voice."""


@dataclass(frozen=True)
class Drawer:
    """Random batches of examples: each time another of a clip's captions, begun elsewhere, with stretches masked.

    Attributes:
        examples: What is drawn from.
        tokens: Ids of pad, begin and end.
        batch: Clips of a batch.
        nobody: Backings without a voice beside them.
        rolled: Begin a clip anywhere, its start following its end: no attribute depends on when it is heard.
        mask: Largest share of time, and of mels, that is set to the mean (SpecAugment); 0 masks nothing.
        mixed: Features of two sounds together; then voices are put over backings of other clips of the same tempo,
            mood, genre and volume, where all four are known.
    """

    examples: Examples
    tokens: tuple[int, int, int]
    batch: int = 32
    nobody: int = 8
    rolled: bool = True
    mask: float = 0.15
    mixed: Callable[[Tensor, Tensor], Tensor] | None = None

    def __call__(self, generator: torch.Generator) -> Batch:
        """A batch."""
        rows = torch.randint(len(self.examples), (self.batch,), generator=generator)
        others = torch.randint(len(self.examples), (self.nobody,), generator=generator)
        pad, begin, end = self.tokens
        captions = []
        for row in rows.tolist():
            choices = self.examples.captions[row]
            words = choices[int(torch.randint(len(choices), (), generator=generator))]
            captions.append(torch.tensor([begin, *words, end]))
        vocals, backing = self.examples.vocals, self.examples.backing
        mix = self.examples.mix[rows]
        if self.mixed is not None and vocals is not None and backing is not None:
            mix = self.mixed(vocals[rows], backing[self._partners(rows, generator)])
        if self.rolled and mix.ndim == 3:
            mix = mix.roll(int(torch.randint(mix.shape[2], (), generator=generator)), dims=2)
        return Batch(
            self._masked(mix, generator),
            None if vocals is None else vocals[rows],
            None if backing is None or not self.nobody else backing[others],
            nn.utils.rnn.pad_sequence(captions, batch_first=True, padding_value=pad),
            {name: label[rows] for name, label in self.examples.labels.items()},
        )

    def _partners(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """For each clip one whose backing tells the same."""
        told = torch.stack([self.examples.labels[name] for name in BACKING], dim=1)
        same = (told[rows][:, None] == told[None]).all(2) & (told[rows] >= 0).all(1)[:, None]
        same[torch.arange(len(rows)), rows] = True
        return torch.multinomial(same.float(), 1, generator=generator)[:, 0]

    def _masked(self, features: Tensor, generator: torch.Generator) -> Tensor:
        if not self.mask or features.ndim != 3:
            return features
        masked = features.clone()
        for axis in (1, 2):
            size = features.shape[axis]
            width = int(torch.randint(int(self.mask * size) + 1, (), generator=generator))
            start = int(torch.randint(size - width + 1, (), generator=generator))
            masked.narrow(axis, start, width).fill_(float(features.float().mean()))
        return masked
