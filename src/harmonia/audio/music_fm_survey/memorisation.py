"""Whether generated melodies repeat what a model was trained on, and how even a collection is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from harmonia.audio.music_fm_survey.overlap import Melody, grams
from harmonia.core.errors import InputError


class Memorised(NamedTuple):
    """A generated melody beside the training set: the longest run of its steps that occurs there, in notes, where, and
    how often as long a run occurs between held-out pieces and the training set by chance."""

    name: str
    notes: int
    source: str
    p_value: float


def memorised(
    outputs: Mapping[str, Melody], training: Mapping[str, Melody], held_out: Mapping[str, Melody]
) -> list[Memorised]:
    """Whether generated melodies repeat the training set more than unseen music does.

    For each output: the longest run of (interval, ratio of times) that also occurs in a training melody. Its chance is
    the share of held-out pieces whose longest run, with that of the output counted in, is as long.

    Raises:
        InputError: no training or no held-out pieces.
    """
    if not training or not held_out:
        raise InputError(
            "memorisation is judged beside unseen music", "no pieces", "Pass training and held-out pieces."
        )
    steps = {name: _steps(melody) for name, melody in training.items()}
    null = np.array([_longest(_steps(melody), steps)[0] for melody in held_out.values()])
    found = []
    for name, melody in outputs.items():
        length, source = _longest(_steps(melody), steps)
        p_value = (1 + int((null >= length).sum())) / (1 + len(null))
        found.append(Memorised(name, length + 1 if length else 0, source, float(p_value)))
    return found


def _steps(melody: Melody) -> list[tuple[int, ...]]:
    return grams(melody, 2)


def _longest(run: Sequence[tuple[int, ...]], corpus: Mapping[str, Sequence[tuple[int, ...]]]) -> tuple[int, str]:
    """Length in intervals of the longest common contiguous run, and the piece it occurs in."""
    best, where = 0, ""
    for name, other in corpus.items():
        length = _common(run, other)
        if length > best:
            best, where = length, name
    return (best + 1 if best else 0), where


def _common(first: Sequence[tuple[int, ...]], second: Sequence[tuple[int, ...]]) -> int:
    """Length of the longest contiguous run in both, by dynamic programming over one row at a time."""
    if not first or not second:
        return 0
    numbers = {step: number for number, step in enumerate(dict.fromkeys([*first, *second]))}
    a = np.array([numbers[step] for step in first])
    b = np.array([numbers[step] for step in second])
    row, best = np.zeros(len(b) + 1, dtype=np.int64), 0
    for step in a:
        row[1:] = np.where(b == step, row[:-1] + 1, 0)
        best = max(best, int(row.max()))
    return best


def coverage_entropy(labels: Iterable[str]) -> float:
    """Evenness of genres, languages or cultures in a collection: entropy over its largest value, 0 to 1.

    Example:
        >>> coverage_entropy(["folk", "jazz", "folk", "jazz"]), coverage_entropy(["folk", "folk"])
        (1.0, 0.0)
    """
    counts = np.array(sorted(Counter(labels).values()), dtype=np.float64)
    if not len(counts):
        raise InputError("coverage needs labels", "none", "Pass at least one.")
    share = counts / counts.sum()
    entropy = -(share * np.log(share)).sum()
    return float(entropy / np.log(len(counts))) if len(counts) > 1 else 0.0
