"""From frame probabilities to the notes of a monophonic melody.

Onsets are the peaks of the onset curve, placed between frames by a parabola. A note lasts until the next onset or
until the voice has been silent for some frames; its pitch is the class with the largest summed log-probability inside
it. Notes never overlap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.signal import find_peaks

if TYPE_CHECKING:
    from harmonia.media import Score, Table

LOWEST = 21
PITCHES = 88


@dataclass(frozen=True)
class NoteList:
    """Notes in the order of their onsets.

    Attributes:
        onset: Seconds.
        offset: Seconds.
        midi: Pitch as a MIDI number.
        confidence: In [0, 1]: onset probability times mean probability of the pitch inside the note.
    """

    onset: Float[ndarray, " notes"]
    offset: Float[ndarray, " notes"]
    midi: Int[ndarray, " notes"]
    confidence: Float[ndarray, " notes"]

    def __len__(self) -> int:
        return len(self.onset)

    def __iter__(self) -> Iterator[tuple[float, float, int]]:
        """Rows (onset_s, offset_s, midi)."""
        return iter(zip(self.onset.tolist(), self.offset.tolist(), self.midi.tolist(), strict=True))

    def to_score(self) -> Score:
        """The melody as a score."""
        from harmonia.media import Score

        return Score.from_notes(list(self))

    def to_table(self) -> Table:
        """One row a note."""
        import polars

        from harmonia.media import Table

        columns = {"onset_s": self.onset, "offset_s": self.offset, "midi": self.midi, "confidence": self.confidence}
        return Table(polars.DataFrame(columns))

    def to_midi(self, path: str | Path) -> Path:
        """Write a MIDI file."""
        return self.to_score().write(path)


@dataclass(frozen=True)
class Decoding:
    """How probabilities become notes.

    Attributes:
        onset_threshold: Smallest onset probability of a note.
        voiced_threshold: A frame is silent when the probability of any pitch is below this.
        patience: Silent frames after which a note has ended.
        shortest: Notes below this many seconds are dropped.
        apart: Frames between two onsets; of closer ones the more probable stays.
    """

    onset_threshold: float = 0.4
    voiced_threshold: float = 0.5
    patience: int = 3
    shortest: float = 0.05
    apart: int = 3

    def __call__(
        self,
        onset: Float[ndarray, " frames"],
        pitch: Float[ndarray, "frames classes"],
        times: Float[ndarray, " frames"],
    ) -> NoteList:
        """Decode.

        Arguments:
            onset: Probability that a note begins, per frame.
            pitch: Probabilities of the pitches from MIDI 21 up, and of silence as the last class.
            times: Centre of each frame in seconds, evenly spaced.

        Example:
            >>> onset, pitch = np.zeros(50), np.zeros((50, 89))
            >>> onset[[10, 30]], pitch[:, 88] = 0.9, 1.0
            >>> pitch[10:40, 88], pitch[10:30, 39], pitch[30:40, 41] = 0.0, 1.0, 1.0
            >>> [(round(a, 2), round(b, 2), p) for a, b, p in Decoding()(onset, pitch, np.arange(50) * 0.02)]
            [(0.2, 0.6, 60), (0.6, 0.8, 62)]
        """
        if len(onset) < 2:
            return _notes([])
        step = float(times[1] - times[0])
        padded, _ = find_peaks(np.pad(onset, 1), height=self.onset_threshold, distance=self.apart)
        peaks = (padded - 1).tolist()
        voiced = 1 - pitch[:, -1] >= self.voiced_threshold
        logarithms = np.log(np.maximum(pitch[:, :-1], 1e-6))
        found = []
        for place, following in pairwise([*peaks, len(onset)]):
            end = _end(voiced[place:following], self.patience) + place
            start_s = float(times[place]) + _between(onset, place) * step
            stop_s = float(times[0]) + end * step
            if following < len(onset) and end == following:
                stop_s = float(times[following]) + _between(onset, following) * step
            if end <= place or stop_s - start_s < self.shortest:
                continue
            inside = slice(place, end)
            chosen = int(logarithms[inside].sum(0).argmax())
            confidence = float(onset[place]) * float(pitch[inside, chosen].mean())
            found.append((start_s, stop_s, chosen + LOWEST, confidence))
        return _notes(found)


def _end(voiced: ndarray, patience: int) -> int:
    """Frames until the voice falls silent for `patience` frames (or until the end).

    The frame of the onset and its neighbour count as voiced: pitch is often still unsettled there.

    Example:
        >>> _end(np.array([1, 1, 1, 0, 1, 0, 0, 0, 1], dtype=bool), patience=3)
        5
    """
    silent = 0
    for frame in range(2, len(voiced)):
        silent = 0 if voiced[frame] else silent + 1
        if silent == patience:
            return frame + 1 - patience
    return len(voiced) - silent


def _between(curve: ndarray, peak: int) -> float:
    """Where the parabola through a peak and its neighbours is highest, in frames from the peak.

    Example:
        >>> _between(np.array([0.0, 1.0, 1.0, 0.0]), 1)
        0.5
    """
    if not 0 < peak < len(curve) - 1:
        return 0.0
    left, middle, right = curve[peak - 1 : peak + 2]
    curvature = left - 2 * middle + right
    return float(np.clip(0.5 * (left - right) / curvature, -0.5, 0.5)) if curvature < 0 else 0.0


def _notes(rows: list[tuple[float, float, int, float]]) -> NoteList:
    columns = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return NoteList(columns[:, 0], columns[:, 1], columns[:, 2].astype(np.int64), columns[:, 3])
