"""Tasks over time, as in MARBLE: beats, downbeats, chords, melody, notes and separation, frame by frame.

A task says what is true of every frame of a song, and scores what was predicted of its frames by the measure of the
literature (mir_eval). What lies between, the probe, is the same for all: `harmonia.audio.music_fm_survey.frame_probe`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy import ndarray

from harmonia.audio.music_fm_survey.beats import BEATS_BPM, DOWNBEATS_BPM, track_beats
from harmonia.core.errors import require
from harmonia.data.song import Note
from harmonia.media import Audio
from harmonia.parts.harmony import SHARPS, Chord, best_path, parse_chord
from harmonia.parts.metrics import note_f1, sdr
from harmonia.parts.spectral import STFT, mel_filterbank

Frames = Float[ndarray, "frames k"]


@dataclass(frozen=True)
class TrueSong:
    """A song, and what is known of it; times in seconds.

    Attributes:
        name: Its name.
        read: Reads the mixture.
        seconds: Length of what is probed, from the start.
        test: Whether it belongs to a published test set.
        beats: Times, and numbers in the bar from 1.
        chords: Onset, offset, label in Harte's syntax.
        melody: Onset, offset, MIDI pitch of one voice.
        notes: The same of all notes.
        vocals: Reads the singing voice on its own.
    """

    name: str
    read: Callable[[], Audio]
    seconds: float
    test: bool = False
    beats: tuple[tuple[float, int], ...] = ()
    chords: tuple[tuple[float, float, str], ...] = ()
    melody: tuple[Note, ...] = ()
    notes: tuple[Note, ...] = ()
    vocals: Callable[[], Audio] | None = None


class FrameTask(ABC):
    """What to predict of every frame of a song, and how well it was predicted.

    Attributes:
        name: Of the task.
        metric: Of its score; higher is better.
        rate: Frames a second.
    """

    name: str
    metric: str
    rate: float

    def count(self, song: TrueSong) -> int:
        """Frames of a song."""
        return max(2, int(song.seconds * self.rate))

    @abstractmethod
    def known(self, song: TrueSong) -> bool:
        """Whether the truth of this task is known of a song."""

    @abstractmethod
    def target(self, song: TrueSong) -> Frames:
        """What is true of each frame."""

    @abstractmethod
    def score(self, song: TrueSong, predicted: Frames) -> float:
        """How good the predictions of a song's frames are."""


class Beats(FrameTask):
    """Beats or downbeats: F1 within 70 ms after a tempo model has picked them; neighbouring frames count in part."""

    rate = 50.0
    metric = "F1 within 70 ms"

    def __init__(self, downbeats: bool = False) -> None:
        self.downbeats = downbeats
        self.name = "downbeats" if downbeats else "beats"
        self.bpm = DOWNBEATS_BPM if downbeats else BEATS_BPM
        self.slope = (1.0, 0.95, 0.5, 0.25) if downbeats else (1.0, 0.95, 0.5)

    def known(self, song: TrueSong) -> bool:
        return len(self._times(song)) > 1

    def target(self, song: TrueSong) -> Frames:
        near = np.zeros(self.count(song))
        for place in np.round(self._times(song) * self.rate).astype(np.int64).tolist():
            for step in range(1 - len(self.slope), len(self.slope)):
                if 0 <= place + step < len(near):
                    near[place + step] = max(near[place + step], self.slope[abs(step)])
        return near[:, None]

    def score(self, song: TrueSong, predicted: Frames) -> float:
        measure = require("mir_eval.beat", extra="audio").f_measure
        return float(measure(self._times(song), track_beats(predicted[:, 0], self.rate, self.bpm)))

    def _times(self, song: TrueSong) -> Float64[ndarray, " beats"]:
        told = [time for time, number in song.beats if number == 1 or not self.downbeats]
        return np.array([time for time in told if time < song.seconds], dtype=np.float64)


class Chords(FrameTask):
    """Major and minor chords and none: share of the time in which they are right, as MIREX counts it."""

    name, rate, metric = "chords", 10.0, "share of time, major and minor"
    change = 4.0

    def known(self, song: TrueSong) -> bool:
        return bool(song.chords)

    def target(self, song: TrueSong) -> Frames:
        spread = np.zeros((self.count(song), 25))
        spread[:, 24] = 1
        times = (np.arange(len(spread)) + 0.5) / self.rate
        for onset, offset, label in song.chords:
            inside = (times >= onset) & (times < offset)
            spread[inside] = np.eye(25)[_major_minor(parse_chord(label))]
        return spread

    def score(self, song: TrueSong, predicted: Frames) -> float:
        chord = require("mir_eval.chord", extra="audio")
        path = best_path(np.log(np.clip(predicted, 1e-2, None)), self.change)
        starts = np.flatnonzero(np.diff(path, prepend=-1))
        spans = np.stack([starts, [*starts[1:], len(path)]], 1) / self.rate
        found = [_label(int(path[start])) for start in starts]
        truth = [(on, min(off, song.seconds), label) for on, off, label in song.chords if on < song.seconds]
        wanted = np.array([(on, off) for on, off, _ in truth])
        spans, found = chord.util.adjust_intervals(
            spans, found, wanted.min(), wanted.max(), chord.NO_CHORD, chord.NO_CHORD
        )
        merged, reference, estimate = chord.util.merge_labeled_intervals(
            wanted, [label for *_, label in truth], spans, found
        )
        right = chord.majmin(reference, estimate)
        return float(chord.weighted_accuracy(right, chord.util.intervals_to_durations(merged)))


class Melody(FrameTask):
    """The pitch of one voice and where it rests: overall accuracy, pitches within 50 cents."""

    name, rate, metric = "melody", 25.0, "overall accuracy"
    lowest, highest = 36, 84
    change = 2.0

    def known(self, song: TrueSong) -> bool:
        return bool(song.melody)

    def target(self, song: TrueSong) -> Frames:
        return np.eye(self.highest - self.lowest + 2)[self._classes(song)]

    def score(self, song: TrueSong, predicted: Frames) -> float:
        melody = require("mir_eval.melody", extra="audio")
        times = (np.arange(len(predicted)) + 0.5) / self.rate
        path = best_path(np.log(np.clip(predicted, 1e-2, None)), self.change)
        found = melody.evaluate(times, self._hz(self._classes(song)), times, self._hz(path))
        return float(found["Overall Accuracy"])

    def _classes(self, song: TrueSong) -> ndarray:
        """0 for rests, else 1 and more for semitones from the lowest."""
        times = (np.arange(self.count(song)) + 0.5) / self.rate
        classes = np.zeros(len(times), dtype=np.int64)
        for onset, offset, pitch in song.melody:
            if self.lowest <= round(pitch) <= self.highest:
                classes[(times >= onset) & (times < offset)] = round(pitch) - self.lowest + 1
        return classes

    def _hz(self, classes: ndarray) -> Float64[ndarray, " frames"]:
        return np.where(classes > 0, 440.0 * 2.0 ** ((classes - 1 + self.lowest - 69) / 12), 0.0)


class Notes(FrameTask):
    """All notes of 88 pitches: F1 of onset and pitch. As many frames sound as the probe expects in total."""

    name, rate, metric = "notes", 25.0, "F1 of onset and pitch"
    lowest, pitches, shortest = 21, 88, 2

    def known(self, song: TrueSong) -> bool:
        return bool(song.notes)

    def target(self, song: TrueSong) -> Frames:
        roll = np.zeros((self.count(song), self.pitches))
        for onset, offset, pitch in song.notes:
            row = round(pitch) - self.lowest
            if 0 <= row < self.pitches:
                roll[round(onset * self.rate) : max(round(onset * self.rate) + 1, round(offset * self.rate)), row] = 1
        return roll

    def score(self, song: TrueSong, predicted: Frames) -> float:
        truth = [(on, min(off, song.seconds), pitch) for on, off, pitch in song.notes if on < song.seconds]
        return note_f1(truth, self.decoded(predicted)).onset_pitch

    def decoded(self, predicted: Frames) -> list[Note]:
        """Runs of frames above the level that as many frames reach as are expected to sound."""
        sounding = int(np.clip(np.clip(predicted, 0, 1).sum(), 0, predicted.size - 1))
        level = np.sort(predicted, axis=None)[::-1][sounding]
        found: list[Note] = []
        for row in range(predicted.shape[1]):
            edges = np.flatnonzero(np.diff(np.r_[0, predicted[:, row] > level, 0]))
            for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
                if stop - start >= self.shortest:
                    found.append((start / self.rate, stop / self.rate, float(row + self.lowest)))
        return found


class Vocals(FrameTask):
    """The share of the singing voice in each of 40 mel bands, as a mask on the mixture: SDR of the voice in dB."""

    name, metric = "vocals", "SDR of the voice (dB)"
    heard_hz, hop, bands = 22050, 512, 40
    rate = heard_hz / hop

    def known(self, song: TrueSong) -> bool:
        return song.vocals is not None

    def target(self, song: TrueSong) -> Frames:
        voice, rest = self._parts(song)
        energy = [self._filters @ self._stft(torch.from_numpy(part)).abs().square().numpy() for part in (voice, rest)]
        share = energy[0] / (energy[0] + energy[1] + 1e-9)
        return np.asarray(share.T[: self.count(song)], dtype=np.float64)

    def score(self, song: TrueSong, predicted: Frames) -> float:
        voice, rest = self._parts(song)
        if not voice.any():
            return float("nan")
        return sdr(voice, self.separated(voice + rest, predicted))

    def separated(self, mixture: Float[ndarray, " time"], predicted: Frames) -> Float[ndarray, " time"]:
        """The mixture under the mask; each bin takes the mean of the bands it lies in."""
        spread = self._filters / np.maximum(self._filters.sum(0), 1e-9)
        spectrum = self._stft(torch.from_numpy(np.ascontiguousarray(mixture, dtype=np.float64)))
        mask = spread.T @ np.clip(predicted, 0, 1).T
        mask = np.pad(mask, ((0, 0), (0, max(0, spectrum.shape[-1] - mask.shape[1]))), "edge")[:, : spectrum.shape[-1]]
        return self._stft.inverse(spectrum * torch.from_numpy(mask), len(mixture)).numpy()

    def _parts(self, song: TrueSong) -> tuple[Float64[ndarray, " time"], Float64[ndarray, " time"]]:
        assert song.vocals is not None
        length = round(song.seconds * self.heard_hz)
        voice, mixture = (
            sound.mono().resampled(self.heard_hz).samples[0].astype(np.float64)
            for sound in (song.vocals(), song.read())
        )
        length = min(length, len(voice), len(mixture))
        return voice[:length], mixture[:length] - voice[:length]

    @cached_property
    def _stft(self) -> STFT:
        return STFT(4 * self.hop, self.hop, pad_mode="constant")

    @cached_property
    def _filters(self) -> Float64[ndarray, "bands bins"]:
        filters = mel_filterbank(self.heard_hz, 4 * self.hop, self.bands, norm=None)
        return filters.numpy()


def frame_tasks(names: Sequence[str] | None = None) -> list[FrameTask]:
    """The tasks over time, all unless named.

    Example:
        >>> [task.name for task in frame_tasks()]
        ['beats', 'downbeats', 'chords', 'melody', 'notes', 'vocals']
    """
    every: list[FrameTask] = [Beats(), Beats(downbeats=True), Chords(), Melody(), Notes(), Vocals()]
    return [task for task in every if names is None or task.name in names]


def _major_minor(chord: Chord) -> int:
    """0 to 11 major, 12 to 23 minor by the third, 24 none and what has neither third."""
    steps = {(note - chord.root) % 12 for note in chord.pitch_classes} if chord.root is not None else set()
    if chord.root is None or not steps & {3, 4}:
        return 24
    return chord.root + (0 if 4 in steps else 12)


def _label(number: int) -> str:
    return "N" if number == 24 else f"{SHARPS[number % 12]}:{'maj' if number < 12 else 'min'}"
