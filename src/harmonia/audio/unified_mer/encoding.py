"""How chords and key enter the network: transposed to C major or A minor, as two sequences of numbers and a bit.

A piece in a major key is transposed so that its tonic is C, one in a minor key so that it is A. Every chord becomes
the number of its root (0 none, 1 C, ..., 12 B) and of its quality; the first hundred chords are kept, and shorter
sequences are filled with "no chord", to which the network listens as to any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.parts.harmony import Chord, Key, find_key, histogram_of_chords

MOST_CHORDS = 100

ROOTS = 13
QUALITY_NUMBERS = {
    "N": 0, "maj": 1, "dim": 2, "sus4": 3, "min7": 4, "min": 5, "sus2": 6, "aug": 7, "dim7": 8, "maj6": 9,
    "hdim7": 10, "7": 11, "min6": 12, "maj7": 13,
}  # fmt: skip
"""The release's table. It lacks ``minmaj7``, at which its code crashes; ours takes the chord without its seventh."""

_STAND_IN = {"minmaj7": "min"}


class EncodedHarmony(NamedTuple):
    """Chords and mode of a piece as the network reads them.

    Attributes:
        roots: Number of each chord's root.
        qualities: Number of each chord's quality.
        minor: 1 in a minor key, else 0.
    """

    roots: Int64[ndarray, "100"]
    qualities: Int64[ndarray, "100"]
    minor: int


def encode_harmony(chords: Sequence[Chord], key: Key | None = None, *, compat: bool = False) -> EncodedHarmony:
    """Encode a piece's chords relative to its key.

    Arguments:
        chords: In the order in which they sound.
        key: The piece's key; found from the chords unless given. Without a key nothing is transposed.
        compat: As the release's inference does: every mode is major, and ``minmaj7`` is refused.

    Raises:
        InputError: a chord that the release's code cannot encode, under `compat`.

    Example:
        >>> from harmonia.parts.harmony import parse_chord
        >>> chords = [parse_chord(label, t, t + 1) for t, label in enumerate(("D:maj", "G:maj", "A:7", "D:maj"))]
        >>> harmony = encode_harmony(chords)               # D major: I IV V7 I
        >>> harmony.roots[:5].tolist(), harmony.qualities[:5].tolist(), harmony.minor
        ([1, 6, 8, 1, 0], [1, 1, 11, 1, 0], 0)
    """
    key = key or find_key(histogram_of_chords(chords))
    shift = 0 if key is None else -key.tonic if key.mode == "major" else 9 - key.tonic
    rows = [_numbers(chord.transposed(shift), compat) for chord in chords[:MOST_CHORDS]]
    padded = np.zeros((MOST_CHORDS, 2), dtype=np.int64)
    padded[: len(rows)] = np.array(rows, dtype=np.int64).reshape(-1, 2)
    minor = key is not None and key.mode == "minor" and not compat
    return EncodedHarmony(padded[:, 0], padded[:, 1], int(minor))


def _numbers(chord: Chord, compat: bool) -> tuple[int, int]:
    if chord.root is None:
        return 0, 0
    quality = chord.quality if compat else _STAND_IN.get(chord.quality, chord.quality)
    if quality not in QUALITY_NUMBERS:
        raise InputError(
            "the release has no number for this chord", chord.label, "Leave compat out: then it is taken as minor."
        )
    return chord.root + 1, QUALITY_NUMBERS[quality]
