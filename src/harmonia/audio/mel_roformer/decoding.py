"""From frame probabilities to the notes of a monophonic melody.

The melody is the most probable path through the frames, each of which holds one pitch or silence:

    sum_t log p_t(s_t)  +  log o_t - change  (where a pitch begins)  -  silence  (where one ends in silence)

with p the probabilities of the pitches and o that of an onset. Both heads are weighed against each other, so a missed
onset does not swallow the next note, nor does a spurious one cut a note in two; notes never overlap.
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
FLOOR = 1e-3


@dataclass(frozen=True)
class NoteList:
    """Notes in the order of their onsets.

    Attributes:
        onset: Seconds.
        offset: Seconds.
        midi: Pitch as a MIDI number.
        confidence: In [0, 1]: mean probability of the pitch inside the note.
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
        change: Cost of a new pitch, beside its onset; more gives fewer notes.
        silence: Cost of falling silent; more carries notes over breaths.
        repeat: Onset probability from which on a pitch that goes on is struck anew.
        shortest: Notes below this many seconds are dropped.
        apart: Frames between two onsets; of closer ones the more probable stays.
    """

    change: float = 4.0
    silence: float = 1.0
    repeat: float = 0.5
    shortest: float = 0.05
    apart: int = 5

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
        silent = pitch.shape[1] - 1
        padded, _ = find_peaks(np.pad(onset, 1), distance=self.apart)
        peaks = padded - 1
        path = self._path(onset, pitch)
        changes = np.flatnonzero(np.diff(path, prepend=silent)).tolist()
        struck = [k for k in peaks.tolist() if onset[k] >= self.repeat and all(abs(k - c) > 2 for c in changes)]
        spans = pairwise([*sorted(changes + struck), len(path)])
        segments = [(first, last, int(path[first])) for first, last in spans if path[first] != silent]
        starts = [_refined(peaks, onset, first) for first, _, _ in segments]
        following = [*((first, start) for (first, _, _), start in zip(segments, starts, strict=True)), (-1, np.inf)]
        found = []
        for (first, last, chosen), start, (next_first, next_start) in zip(segments, starts, following[1:], strict=True):
            # A note that is followed at once ends where the next begins, between frames.
            stop = next_start if next_first == last else min(last, next_start)
            step = float(times[1] - times[0])
            confidence = float(pitch[first:last, chosen].mean())
            if (stop - start) * step >= self.shortest:
                found.append(
                    (float(times[0] + start * step), float(times[0] + stop * step), chosen + LOWEST, confidence)
                )
        return _notes(found)

    def _path(
        self, onset: Float[ndarray, " frames"], pitch: Float[ndarray, "frames classes"]
    ) -> Int[ndarray, " frames"]:
        """The most probable class of each frame (Viterbi)."""
        emission = np.log(np.maximum(pitch, FLOOR))
        near = np.maximum.reduce([np.pad(onset, 1)[shift : shift + len(onset)] for shift in range(3)])
        entering = np.log(np.maximum(near, FLOOR)) - self.change
        classes = np.arange(pitch.shape[1])
        came_from = np.empty(pitch.shape, dtype=np.int64)
        score = emission[0].copy()
        for frame in range(1, len(onset)):
            best = int(score.argmax())
            cost = np.full(len(classes), entering[frame])
            cost[-1] = -self.silence
            moves = score[best] + cost > score
            came_from[frame] = np.where(moves, best, classes)
            score = np.where(moves, score[best] + cost, score) + emission[frame]
        path = np.empty(len(onset), dtype=np.int64)
        path[-1] = score.argmax()
        for frame in range(len(onset) - 1, 0, -1):
            path[frame - 1] = came_from[frame, path[frame]]
        return path


def _refined(peaks: Int[ndarray, " peaks"], onset: Float[ndarray, " frames"], frame: int, reach: int = 2) -> float:
    """The strongest peak of the onset curve within `reach` frames, placed between frames; else the frame itself."""
    close = peaks[np.abs(peaks - frame) <= reach]
    if not len(close):
        return float(frame)
    peak = int(close[onset[close].argmax()])
    return peak + _between(onset, peak)


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
