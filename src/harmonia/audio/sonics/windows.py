"""Windows that slide over a song of any length, with every frame of its spectrum computed once.

Windows start at whole frames. All of their frames but two at either end then see samples of the window only and are
those of the whole song; the others see the reflection of the window at its ends and are computed for it alone. What a
network gets is exactly what it would get if every window were cut out and analysed by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional as F

from harmonia.audio.sonics.front_end import RATE
from harmonia.core.errors import InputError
from harmonia.media import Audio
from harmonia.parts.log_mel import LogMel
from harmonia.parts.sound_stream import SoundSource

SILENT_DB = -99.9
"""A frame whose every band stays below is silent: the floor of the logarithm lies at -100 dB."""

Song: TypeAlias = str | Path | SoundSource | Audio | np.ndarray
"""A file, a source, a sound, or samples of shape (time) or (channels, time)."""

Songs: TypeAlias = Sequence[Song] | np.ndarray
"""Songs one after another, or clips of one length as the rows of an array."""


@dataclass(frozen=True)
class Source:
    """A mono sound at 16 kHz that is read from left to right.

    Attributes:
        total: Its samples.
        read: From a first to one past a last sample; what lies before the first is forgotten.
    """

    total: int
    read: Callable[[int, int], Float32[np.ndarray, " time"]]


@contextmanager
def listening(song: Song, rate: int | None = None) -> Iterator[Source]:
    """A song as mono sound at 16 kHz; a file is read while it is listened to and never held as a whole.

    Arguments:
        song: The song.
        rate: Of samples, in hertz; files and sounds know theirs.

    Raises:
        InputError: a file that cannot be read, samples without a rate, or samples that are no sound.
    """
    if isinstance(song, str | Path):
        song = SoundSource.read(song)
    if isinstance(song, SoundSource):
        with song.opened(RATE) as reader:
            yield Source(reader.total, lambda start, stop: reader.read(start, stop).mean(0))
        return
    if not isinstance(song, Audio):
        if rate is None:
            got, mend = "samples alone", "Pass their rate in hertz: a wrong one gives confident nonsense."
            raise InputError("samples have a rate", got, mend)
        song = Audio(song, rate)
    samples = song.mono().resampled(RATE).samples[0]
    yield Source(len(samples), lambda start, stop: samples[start:stop])


def window_starts(total: int, samples: int, hop: int, step: int) -> list[int]:
    """First samples of windows, `step` apart and the last one as late as fits, all on multiples of `hop`.

    Example:
        >>> window_starts(total=100, samples=40, hop=4, step=24)
        [0, 24, 48, 60]
        >>> window_starts(total=30, samples=40, hop=4, step=24)
        [0]
    """
    step = max(hop, step // hop * hop)
    last = max(0, total - samples) // hop * hop
    return [*range(0, last, step), last]


class WindowLevels:
    """Mel power of windows of a sound in decibels, frame by frame what `LogMel` gives for each window alone.

    Arguments:
        log_mel: The spectrogram.
        samples: Length of a window.

    Example:
        >>> log_mel, sound = LogMel("sonics"), np.sin(np.arange(40000.0, dtype=np.float32))
        >>> source = Source(40000, lambda start, stop: sound[start:stop])
        >>> [tuple(levels.shape) for levels in WindowLevels(log_mel, 16000)(source, [0, 5120])]
        [(128, 32), (128, 32)]
    """

    def __init__(self, log_mel: LogMel, samples: int) -> None:
        self.log_mel, self.samples = log_mel, samples
        self.hop, self.half = log_mel.config.hop_length, log_mel.config.n_fft // 2
        self.edge = self.half // self.hop
        self.inner_stop = (samples - self.half) // self.hop + 1
        if self.half % self.hop or samples < 2 * log_mel.config.n_fft:
            got = f"{samples} samples, hop {self.hop}, half a transform {self.half}"
            raise InputError("these windows cannot share frames", got, "Take longer windows, or a hop that divides it.")

    def __call__(self, source: Source, starts: Sequence[int]) -> Iterator[Float[Tensor, "mels frames"]]:
        """Levels of the windows that begin at `starts`, rising multiples of the hop; the end is filled with silence."""
        kept, begin = torch.zeros(self.log_mel.config.num_mels, 0), 0
        for start in starts:
            sound = torch.from_numpy(np.ascontiguousarray(source.read(start, min(start + self.samples, source.total))))
            sound = F.pad(sound, (0, self.samples - len(sound)))
            first, last = start // self.hop + self.edge, start // self.hop + self.inner_stop
            if first > begin:
                kept, begin = kept[:, first - begin :], first
            missing = begin + kept.shape[1]
            if missing < last:
                kept = torch.cat([kept, self._inner(sound, missing * self.hop - start, last - missing)], dim=1)
            yield self.log_mel.level(torch.cat([self._head(sound), kept, self._tail(sound)], dim=1))

    def _inner(self, sound: Tensor, centre: int, count: int) -> Tensor:
        """Power of `count` frames, the first around sample `centre`, which see no end of the window."""
        part = sound[centre - self.half : centre + (count - 1) * self.hop + self.half]
        return self.log_mel.power(part)[:, self.edge : self.edge + count]

    def _head(self, sound: Tensor) -> Tensor:
        return self.log_mel.power(sound[: 2 * self.half])[:, : self.edge]

    def _tail(self, sound: Tensor) -> Tensor:
        return self.log_mel.power(sound[self.inner_stop * self.hop - self.half :])[:, self.edge :]


def silent_share(level: Float[Tensor, "mels frames"]) -> float:
    """Share of the frames in which there is no sound at all."""
    return float((level.amax(0) <= SILENT_DB).float().mean())
