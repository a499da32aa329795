"""Whether two collections share melodies, under any transposition and tempo.

A melody becomes its n-grams of (interval, ratio of inter-onset times), which neither transposition nor tempo changes.
The share of common n-grams (Jaccard) is estimated by MinHash (Broder 1997), candidates are found by locality-sensitive
hashing, and confirmed exactly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import UInt64
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.media import Score

Melody: TypeAlias = Sequence[Sequence[float | int]]
"""Notes (onset, ..., pitch), in order of onset."""

GRAM = 6
_RATIO_STEPS = 4


class Match(NamedTuple):
    """Two pieces that share music: their names, and how much (Jaccard of n-grams, or landmarks at one offset)."""

    first: str
    second: str
    share: float


def melody_of(score: Score) -> list[tuple[float, float, int]]:
    """The highest notes of a score, one at each onset."""
    highest: dict[float, tuple[float, float, int]] = {}
    for note in score.notes():
        onset = round(note.onset, 3)
        if onset not in highest or note.pitch > highest[onset][2]:
            highest[onset] = (note.onset, note.offset, note.pitch)
    return [highest[onset] for onset in sorted(highest)]


def grams(melody: Melody, size: int = GRAM) -> list[tuple[int, ...]]:
    """The n-grams of a melody in order; equal under transposition and change of tempo.

    Each is `size` intervals in semitones, followed by `size - 1` ratios of successive inter-onset times, rounded to
    quarters of an octave so that small deviations do not matter.

    Arguments:
        melody: Notes (onset, ..., pitch).
        size: Intervals in an n-gram.

    Example:
        >>> tune = [(0, 1, 60), (1, 2, 62), (2, 4, 64), (4, 5, 62)]
        >>> slow = [(3 * on, 3 * off, pitch + 5) for on, off, pitch in tune]
        >>> grams(tune, 2), grams(slow, 2) == grams(tune, 2)
        ([(2, 2, 0), (2, -2, 4)], True)
    """
    if size < 1:
        raise InputError("an n-gram has one interval or more", size, "Pass a size of at least 1.")
    rows = np.asarray(melody, dtype=np.float64).reshape(len(melody), -1)
    if len(rows) <= size:
        return []
    steps = np.diff(np.round(rows[:, -1])).astype(int)
    waits = np.maximum(np.diff(rows[:, 0]), 1e-3)
    ratios = np.round(_RATIO_STEPS * np.log2(waits[1:] / waits[:-1])).astype(int)
    joined = [(*steps[i : i + size], *ratios[i : i + size - 1]) for i in range(len(steps) - size + 1)]
    return [tuple(int(number) for number in each) for each in joined]


def jaccard(first: Iterable[object], second: Iterable[object]) -> float:
    """Common elements over all elements; 0 where there is none."""
    a, b = set(first), set(second)
    return len(a & b) / len(a | b) if a | b else 0.0


class MinHash:
    """Signatures of sets whose agreement estimates their Jaccard index: ``P(min h(A) = min h(B)) = |A&B| / |A|B|``.

    Arguments:
        hashes: Length of a signature; the standard error is about ``sqrt(J (1 - J) / hashes)``.
        seed: Of the hash functions.

    Example:
        >>> minhash = MinHash(512)
        >>> a, b = minhash(range(0, 80)), minhash(range(40, 120))
        >>> bool(abs((a == b).mean() - 1 / 3) < 0.08)
        True
    """

    def __init__(self, hashes: int = 128, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.factors = rng.integers(1, 1 << 31, hashes, dtype=np.uint64)
        self.offsets = rng.integers(0, 1 << 31, hashes, dtype=np.uint64)

    def __call__(self, elements: Iterable[object]) -> UInt64[ndarray, " hashes"]:
        """The signature of a set; all ones of the empty set."""
        values = np.array(sorted({_stable(each) for each in elements}), dtype=np.uint64)
        if not len(values):
            return np.full(len(self.factors), np.iinfo(np.uint64).max, dtype=np.uint64)
        # Multiply-shift on 64 bits: overflow wraps around, which is what makes it a hash.
        with np.errstate(over="ignore"):
            hashed = values[:, None] * (2 * self.factors + 1) + self.offsets
            hashed ^= hashed >> np.uint64(29)
            hashed *= np.uint64(0xBF58476D1CE4E5B9)
            hashed ^= hashed >> np.uint64(32)
        return hashed.min(0)


def shared_melodies(
    first: Mapping[str, Melody], second: Mapping[str, Melody], *, threshold: float = 0.3, size: int = GRAM
) -> list[Match]:
    """Melodies that occur in both collections under any transposition and tempo, most alike first.

    Arguments:
        first: Names and melodies, such as the training set.
        second: Names and melodies, such as the test set.
        threshold: Least Jaccard index of their n-grams.
        size: Intervals in an n-gram.

    Example:
        >>> tune = [(i, i + 1, pitch) for i, pitch in enumerate((60, 62, 64, 65, 67, 65, 64, 62, 60, 67, 60))]
        >>> moved = [(2 * on, 2 * off, pitch + 3) for on, off, pitch in tune]
        >>> shared_melodies({"a": tune}, {"b": moved})
        [Match(first='a', second='b', share=1.0)]
    """
    bands = 32
    minhash = MinHash(4 * bands)
    sets = [{name: set(grams(melody, size)) for name, melody in side.items()} for side in (first, second)]
    buckets: dict[tuple[int, bytes], list[str]] = defaultdict(list)
    for name, elements in sets[0].items():
        if elements:
            for band, key in enumerate(_bands(minhash(elements), bands)):
                buckets[band, key].append(name)
    found = []
    for name, elements in sets[1].items():
        if not elements:
            continue
        keys = enumerate(_bands(minhash(elements), bands))
        near = {other for band, key in keys for other in buckets.get((band, key), ())}
        shares = ((other, jaccard(sets[0][other], elements)) for other in sorted(near))
        found += [Match(other, name, share) for other, share in shares if share >= threshold]
    return sorted(found, key=lambda match: (-match.share, match.first, match.second))


def _bands(signature: ndarray, bands: int) -> list[bytes]:
    return [row.tobytes() for row in signature.reshape(bands, -1)]


def _stable(element: object) -> int:
    """A 64-bit hash that is the same in every process."""
    value = 0xCBF29CE484222325
    for byte in repr(element).encode():
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value
