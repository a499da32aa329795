"""Chords and keys: names and pitch classes, the key of a piece, chords from a chromagram.

A chord has a root and one of fourteen qualities (the "large vocabulary" of chord recognition); labels follow Harte's
syntax (``"A:min7"``, ``"N"`` for none). Keys are found by correlating how long each pitch class sounds with the 24
rotated profiles of major and minor (Krumhansl 1990; profiles of Aarden 2003), as music21's ``analyze("key")`` does.
Chords are found by matching templates with overtones (Gómez 2006) to a chromagram and smoothing with Viterbi's
algorithm.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64
from numpy import ndarray

from harmonia.core.errors import InputError

Mode = Literal["major", "minor"]
Profile = Literal["aarden-essen", "krumhansl-kessler"]

SHARPS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")

QUALITIES: dict[str, tuple[int, ...]] = {
    "min": (0, 3, 7),
    "maj": (0, 4, 7),
    "dim": (0, 3, 6),
    "aug": (0, 4, 8),
    "min6": (0, 3, 7, 9),
    "maj6": (0, 4, 7, 9),
    "min7": (0, 3, 7, 10),
    "minmaj7": (0, 3, 7, 11),
    "maj7": (0, 4, 7, 11),
    "7": (0, 4, 7, 10),
    "dim7": (0, 3, 6, 9),
    "hdim7": (0, 3, 6, 10),
    "sus2": (0, 2, 7),
    "sus4": (0, 5, 7),
}
"""Semitones above the root, in the order of the large vocabulary's classes."""

_NATURALS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_EXTENDED = {"": "maj", "9": "7", "11": "7", "13": "7", "maj9": "maj7", "maj11": "maj7", "maj13": "maj7"} | {
    "min9": "min7", "min11": "min7", "min13": "min7", "5": "maj", "1": "maj", "6": "maj6", "7sus4": "sus4",
}  # fmt: skip
_LABEL = re.compile(r"([A-G])([#b]*)(?::([a-z0-9]*))?(\([^)]*\))?(/[#b]*\d+)?")

_PROFILES: dict[Profile, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "aarden-essen": (
        (
            17.7661,
            0.145624,
            14.9265,
            0.160186,
            19.8049,
            11.3587,
            0.291248,
            22.062,
            0.145624,
            8.15494,
            0.232998,
            4.95122,
        ),
        (18.2648, 0.737619, 14.0499, 16.8599, 0.702494, 14.4362, 0.702494, 18.6161, 4.56621, 1.93186, 7.37619, 1.75623),
    ),
    "krumhansl-kessler": (
        (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
        (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
    ),
}


class Chord(NamedTuple):
    """A chord that sounds from `onset` to `offset` in seconds; no chord has root None and quality ``"N"``."""

    onset: float
    offset: float
    root: int | None
    quality: str

    @property
    def label(self) -> str:
        """Harte's label, roots spelled with sharps.

        Example:
            >>> Chord(0.0, 1.0, 9, "min7").label
            'A:min7'
        """
        return "N" if self.root is None else f"{SHARPS[self.root]}:{self.quality}"

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """Its pitch classes, the root first; none of no chord."""
        return () if self.root is None else tuple((self.root + step) % 12 for step in QUALITIES[self.quality])

    def transposed(self, semitones: int) -> Chord:
        """The same chord elsewhere.

        Example:
            >>> Chord(0.0, 1.0, 9, "min").transposed(3).label
            'C:min'
        """
        return self if self.root is None else self._replace(root=(self.root + semitones) % 12)


class Key(NamedTuple):
    """A key: pitch class of its tonic, mode, and how well the piece correlates with its profile."""

    tonic: int
    mode: Mode
    correlation: float

    @property
    def name(self) -> str:
        """For people.

        Example:
            >>> Key(9, "minor", 0.9).name
            'A minor'
        """
        return f"{SHARPS[self.tonic]} {self.mode}"


def parse_chord(label: str, onset: float | int = 0.0, offset: float | int = 0.0) -> Chord:
    """Read a label in Harte's syntax; the bass and added notes are dropped, ninths and more become sevenths.

    ``N`` and ``X`` (unknown) are both no chord.

    Raises:
        InputError: not such a label.

    Example:
        >>> parse_chord("Bb:min9/b3").label, parse_chord("G").label, parse_chord("X").label
        ('A#:min7', 'G:maj', 'N')
    """
    if label in ("N", "X"):
        return Chord(onset, offset, None, "N")
    found = _LABEL.fullmatch(label)
    shorthand = (found[3] or "") if found else ""
    quality = _EXTENDED.get(shorthand, shorthand)
    if found is None or quality not in QUALITIES:
        raise InputError("this is no chord label", f"'{label}'", "Write a root and a quality, as in C#:min7, or N.")
    root = _NATURALS[found[1]] + found[2].count("#") - found[2].count("b")
    return Chord(onset, offset, root % 12, quality)


def histogram_of_notes(notes: Iterable[Sequence[float | int]]) -> Float64[ndarray, "12"]:
    """How long each pitch class sounds, in the notes' unit of time.

    Arguments:
        notes: Rows that begin with onset, offset and MIDI pitch.

    Example:
        >>> histogram_of_notes([(0.0, 1.0, 60), (1.0, 1.5, 67)])[[0, 7]]
        array([1. , 0.5])
    """
    rows = np.array([tuple(note)[:3] for note in notes], dtype=np.float64).reshape(-1, 3)
    durations = rows[:, 1] - rows[:, 0]
    return np.bincount(rows[:, 2].astype(np.int64) % 12, durations, minlength=12).astype(np.float64)


def histogram_of_chords(chords: Iterable[Chord]) -> Float64[ndarray, "12"]:
    """How long each pitch class belongs to the chord that sounds, in seconds."""
    return histogram_of_notes((c.onset, c.offset, tone) for c in chords for tone in c.pitch_classes)


def find_key(histogram: Float[ndarray, "12"], profile: Profile = "aarden-essen") -> Key | None:
    """The key whose rotated profile has the largest Pearson correlation with a histogram of pitch classes.

    Arguments:
        histogram: Duration or strength of every pitch class, C first.
        profile: ``aarden-essen`` as music21 does by default; ``krumhansl-kessler`` leans to the dominant.

    Returns:
        The key, or None where no pitch class sounds more than another.

    Raises:
        InputError: values that are not finite or below zero.

    Example:
        >>> chords = [parse_chord(label, t, t + 1) for t, label in enumerate(("A:min", "D:min", "E:7"))]
        >>> find_key(histogram_of_chords(chords)).name
        'A minor'
    """
    heard = np.asarray(histogram, dtype=np.float64)
    if not (np.isfinite(heard).all() and (heard >= 0).all()):
        raise InputError("a histogram of pitch classes holds durations", heard, "Pass numbers of zero or more.")
    centred = heard - heard.mean()
    norm = np.linalg.norm(centred)
    if norm <= 1e-12 * max(1.0, float(heard.max())):
        return None
    correlations = _rotated(profile) @ (centred / norm)
    best = int(correlations.argmax())
    return Key(best % 12, "major" if best < 12 else "minor", float(correlations[best]))


def _rotated(profile: Profile) -> Float64[ndarray, "24 12"]:
    """Centred profiles of norm one: twelve major keys, then twelve minor ones."""
    rows = np.array([np.roll(weights, tonic) for weights in _PROFILES[profile] for tonic in range(12)])
    rows -= rows.mean(1, keepdims=True)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def fold_octaves(
    magnitudes: Float[ndarray, "bins frames"], bins_per_octave: int, first_pitch: float
) -> Float64[ndarray, "frames 12"]:
    """A chromagram from the magnitudes of a constant-Q transform: each bin counts for the nearest pitch class.

    Arguments:
        magnitudes: Not logarithmic.
        bins_per_octave: A multiple of twelve.
        first_pitch: MIDI pitch of the lowest bin.

    Raises:
        InputError: bins that do not divide semitones evenly.

    Example:
        >>> fold_octaves(np.eye(24)[:, :3], bins_per_octave=12, first_pitch=21.0).argmax(1)  # A, A sharp, B
        array([ 9, 10, 11])
    """
    if bins_per_octave < 12 or bins_per_octave % 12:
        raise InputError("the bins do not divide semitones", f"{bins_per_octave} an octave", "Use 12, 24 or 36.")
    pitch = first_pitch + 12 * np.arange(len(magnitudes)) / bins_per_octave
    belongs = np.round(pitch).astype(np.int64)[:, None] % 12 == np.arange(12)
    return magnitudes.T.astype(np.float64) @ belongs


def find_chords(
    chroma: Float[ndarray, "frames 12"],
    frame_rate: float,
    *,
    bass: Float[ndarray, "frames 12"] | None = None,
    qualities: Sequence[str] = tuple(QUALITIES),
    change: float = 6.0,
    sharpness: float = 12.0,
) -> list[Chord]:
    """Chords from a chromagram: the path of templates that fits best, with a price on every change.

        max over paths s of  sum_t [kappa (corr(x_t, template_{s_t}) + b bass_t[root] - p_q)] - change #{s_t != s_{t-1}}

    where corr is Pearson's correlation, and p_q a price on chords of four notes and rare triads, which would else win
    for every passing note. A frame below a thousandth of the loudest is silent: no chord.

    Arguments:
        chroma: Strength of every pitch class in every frame, from compressed magnitudes.
        frame_rate: Frames a second.
        bass: The same of low pitches alone; it tells Am7 from C6.
        qualities: Chords to choose from.
        change: Price of a change; more gives longer chords.
        sharpness: kappa.

    Example:
        >>> frames = np.repeat([[1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0]], 8, axis=0)
        >>> [(chord.label, chord.onset, chord.offset) for chord in find_chords(frames.astype(float), 2.0)]
        [('C:maj', 0.0, 4.0), ('F:maj', 4.0, 8.0)]
    """
    if not len(chroma):
        return []
    level = np.linalg.norm(chroma, axis=1)
    silent = level <= 1e-3 * level.max()
    centred = chroma - chroma.mean(1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = np.divide(centred, length, out=np.zeros_like(centred), where=length > 1e-9 * level.max())
    score = sharpness * (unit @ _templates(tuple(qualities)).T - np.repeat([_price(q) for q in qualities], 12))
    if bass is not None:
        low = np.linalg.norm(bass, axis=1, keepdims=True)
        share = np.divide(bass, low, out=np.zeros_like(bass), where=low > 0)
        score += sharpness * BASS_WEIGHT * np.tile(share, len(qualities))
    none = np.where(silent, 0.0, sharpness * NO_CHORD)
    score[silent] = -sharpness
    path = best_path(np.column_stack([score, none]), change)
    starts = np.flatnonzero(np.diff(path, prepend=-1)).tolist()
    return [
        Chord(
            start / frame_rate,
            end / frame_rate,
            None if path[start] == score.shape[1] else int(path[start]) % 12,
            "N" if path[start] == score.shape[1] else qualities[int(path[start]) // 12],
        )
        for start, end in zip(starts, [*starts[1:], len(path)])
    ]


BASS_WEIGHT = 0.15
"""Worth of the root in the bass, on the scale of a correlation."""

NO_CHORD = 0.35
"""A frame that correlates less with every template holds no chord."""

_OVERTONE_DECAY = 0.6
_RARE = {"min": 0.0, "maj": 0.0, "dim": 0.06, "aug": 0.08, "sus2": 0.05, "sus4": 0.05}


def _price(quality: str) -> float:
    return _RARE.get(quality, 0.04)


def _templates(qualities: tuple[str, ...]) -> Float64[ndarray, "states 12"]:
    """A centred row of length one for every quality and root: its notes with fading overtones."""
    rows = []
    for quality in qualities:
        row = np.zeros(12)
        for step in QUALITIES[quality]:
            for number in range(1, 7):
                row[(step + round(12 * np.log2(number))) % 12] += _OVERTONE_DECAY ** (number - 1)
        rows += [np.roll(row, root) for root in range(12)]
    stacked = np.array(rows) - np.mean(rows, axis=1, keepdims=True)
    return stacked / np.linalg.norm(stacked, axis=1, keepdims=True)


def best_path(score: Float64[ndarray, "frames states"], change: float) -> Int64[ndarray, " frames"]:
    """Viterbi's algorithm where every change costs the same: a state is kept, or comes from the best of all."""
    total = score[0]
    came_from = np.empty(score.shape, dtype=np.int64)
    own = np.arange(score.shape[1])
    for frame in range(1, len(score)):
        best = int(total.argmax())
        switch = total[best] - change > total
        came_from[frame] = np.where(switch, best, own)
        total = np.where(switch, total[best] - change, total) + score[frame]
    path = np.empty(len(score), dtype=np.int64)
    path[-1] = total.argmax()
    for frame in range(len(score) - 1, 0, -1):
        path[frame - 1] = came_from[frame, path[frame]]
    return path
