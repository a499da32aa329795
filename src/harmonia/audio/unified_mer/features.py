"""From a song to what the network is given: features of 30-second segments, encoded chords, mode.

Two descriptions of the music: layers 6 and 7 of MERT-95M, side by side, as the release uses them (1536 numbers), or
statistics of the sound, which need no weights (138 numbers). The network hears the mean over the segments of a song;
while training, that over a random run of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from numpy import ndarray

from harmonia.audio.mert import MERTFeatures, MERTModel
from harmonia.audio.unified_mer import statistics
from harmonia.audio.unified_mer.chords import ChordRecognizer, key_from_chords
from harmonia.audio.unified_mer.encoding import EncodedHarmony, encode_harmony
from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.media import Audio
from harmonia.parts.harmony import Chord, Key

SEGMENT_SECONDS = 30.0
SHORTEST_SECONDS = 1.0


class MusicFeatures(ABC):
    """Describes segments of music by vectors.

    Attributes:
        rate: Sample rate that `segment` wants.
        width: Length of a vector.
    """

    rate: int
    width: int

    @abstractmethod
    def segment(self, sound: Float[ndarray, " time"]) -> Float[ndarray, " width"]:
        """The vector of a mono segment at `rate`."""


class SoundStatistics(MusicFeatures):
    """Statistics of the sound, see `harmonia.audio.unified_mer.statistics`."""

    rate = statistics.RATE
    width = statistics.WIDTH

    def segment(self, sound: Float[ndarray, " time"]) -> Float[ndarray, " width"]:
        return statistics.sound_statistics(sound)


class MERTLayers(MusicFeatures):
    """Means over time of two layers of a MERT model, side by side.

    Arguments:
        weights: A `MERTModel`, or where one is: a file, a folder, ``hub:m-a-p/MERT-v1-95M``.
        layers: Hidden states, counted from 0 before the first layer. The release's layers "5, 6" skip that one.
        device: ``auto``, ``cpu`` or ``cuda``.

    Example:
        >>> from harmonia.audio.mert import MERTConfig
        >>> mert = MERTLayers(MERTModel(MERTConfig.tiny()), layers=(1, 2))
        >>> mert.segment(np.sin(np.arange(24000) / 9)).shape
        (256,)
    """

    def __init__(self, weights: str | Path | MERTModel, layers: Sequence[int] = (6, 7), device: str = "auto") -> None:
        self._features = MERTFeatures(
            weights,
            layers=list(layers),
            chunk_seconds=2 * SEGMENT_SECONDS,
            device=device,
        ).fit()
        self.rate = self._features.model_.config.sample_rate
        self.width = len(layers) * self._features.model_.config.dim

    def segment(self, sound: Float[ndarray, " time"]) -> Float[ndarray, " width"]:
        return self._features.transform([np.asarray(sound, dtype=np.float32)])[0].reshape(-1)


@dataclass(frozen=True)
class HeardSong:
    """What is known of one song before the network sees it.

    Attributes:
        windows: Features of windows that overlap where `detail` is above 1.
        spans: Begin and end of each window in seconds.
        detail: Windows that begin within one segment.
        chords: As recognised.
        key: Found from the chords.
        compat: Whether harmony is encoded as the release's inference does.
    """

    windows: Float32[ndarray, "windows width"]
    spans: Float64[ndarray, "windows 2"]
    detail: int
    chords: tuple[Chord, ...]
    key: Key | None
    compat: bool = False

    @property
    def segments(self) -> Float32[ndarray, "segments width"]:
        """Features of segments that abut."""
        return self.windows[:: self.detail]

    @property
    def harmony(self) -> EncodedHarmony:
        """Chords of the whole song, encoded."""
        return encode_harmony(self.chords, self.key, compat=self.compat)

    def table(self) -> FeatureTable:
        """The song as a table of one."""
        return FeatureTable.of([(self.segments, self.harmony)])

    def curve_table(self) -> FeatureTable:
        """Every window as a song of its own, with the chords that sound in it and the key of the whole."""
        rows = []
        for window, (begin, end) in zip(self.windows, self.spans, strict=True):
            inside = [chord for chord in self.chords if chord.onset < end and chord.offset > begin]
            rows.append((window[None], encode_harmony(inside, self.key, compat=self.compat)))
        return FeatureTable.of(rows)


def hear(
    song: Audio,
    features: MusicFeatures,
    recognizer: ChordRecognizer,
    *,
    segment: float = SEGMENT_SECONDS,
    detail: int = 1,
    compat: bool = False,
) -> HeardSong:
    """Listen to a song: its music, segment by segment, and its harmony.

    A last segment is kept however short, unless it is below `SHORTEST_SECONDS` and not the only one; a song below that
    is lengthened by silence.

    Arguments:
        song: Any rate, any channels.
        features: What describes the music.
        recognizer: What hears the chords.
        segment: Length of the segments in seconds.
        detail: Windows of that length that begin within one segment, for a finer curve; each costs as much.
        compat: Encode the harmony as the release's inference does.
    """
    if segment < SHORTEST_SECONDS or detail < 1:
        got = f"{segment} s, {detail}"
        raise InputError("segments last a second at least, and one window begins in each", got, "Ask for more.")
    rate = features.rate
    sound = song.mono().resampled(rate).samples[0]
    shortest = round(SHORTEST_SECONDS * rate)
    sound = np.pad(sound, (0, max(0, shortest - len(sound))))
    size = round(segment * rate)
    starts = [round(number * segment * rate / detail) for number in range(-(-len(sound) * detail // size))]
    starts = [start for start in starts if not start or len(sound) - start >= shortest]
    rows = [features.segment(sound[start : start + size]) for start in track(starts, "Listening", len(starts))]
    spans = np.array([(start, min(start + size, len(sound))) for start in starts]) / rate
    chords = recognizer.predict(song)
    key = key_from_chords(chords)
    return HeardSong(np.stack(rows).astype(np.float32), spans, detail, tuple(chords), key, compat)


@dataclass(frozen=True)
class FeatureTable:
    """Features of many songs, in memory.

    Attributes:
        segments: Of all songs, one after another.
        first: Where each song's segments begin, and where the last one's end.
        roots, qualities, minor: Encoded harmony.
    """

    segments: Float32[ndarray, "segments width"]
    first: Int64[ndarray, " borders"]
    roots: Int64[ndarray, "songs 100"]
    qualities: Int64[ndarray, "songs 100"]
    minor: Int64[ndarray, " songs"]

    def __len__(self) -> int:
        return len(self.minor)

    @classmethod
    def of(cls, songs: Sequence[tuple[Float32[ndarray, "_ width"], EncodedHarmony]]) -> FeatureTable:
        """From segments and harmony of each song.

        Raises:
            InputError: no songs.
        """
        if not songs:
            raise InputError("there are no songs", 0, "Pass at least one.")
        first = np.cumsum([0, *(len(segments) for segments, _ in songs)])
        return cls(
            np.concatenate([segments for segments, _ in songs]),
            first,
            np.stack([harmony.roots for _, harmony in songs]),
            np.stack([harmony.qualities for _, harmony in songs]),
            np.array([harmony.minor for _, harmony in songs], dtype=np.int64),
        )

    def take(self, rows: ndarray) -> FeatureTable:
        """Some of the songs."""
        songs = [self.segments[self.first[row] : self.first[row + 1]] for row in rows]
        first = np.cumsum([0, *(len(segments) for segments in songs)])
        harmony = (self.roots[rows], self.qualities[rows], self.minor[rows])
        return FeatureTable(np.concatenate(songs), first, *harmony)

    @property
    def music(self) -> Float32[ndarray, "songs width"]:
        """Mean over the segments of each song."""
        sums = np.add.reduceat(self.segments.astype(np.float64), self.first[:-1])
        return (sums / np.diff(self.first)[:, None]).astype(np.float32)

    def inputs(self, rows: ndarray | None = None) -> tuple[torch.Tensor, ...]:
        """What the network takes, for all songs or some."""
        chosen = slice(None) if rows is None else rows
        columns = (self.music, self.roots, self.qualities, self.minor)
        return tuple(torch.from_numpy(column[chosen]) for column in columns)

    def augmented(self, rows: ndarray, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        """The same, with music from a random run of segments: a start, then an end, both evenly drawn."""
        counts = np.diff(self.first)[rows]
        draws = torch.rand(2, len(rows), generator=generator, dtype=torch.float64).numpy()
        start = np.minimum((draws[0] * counts).astype(np.int64), counts - 1)
        length = 1 + np.minimum((draws[1] * (counts - start)).astype(np.int64), counts - start - 1)
        first = self.first[rows] + start
        means = np.stack([self.segments[a : a + n].mean(0) for a, n in zip(first, length, strict=True)])
        columns = (means, self.roots[rows], self.qualities[rows], self.minor[rows])
        return tuple(torch.from_numpy(column) for column in columns)
