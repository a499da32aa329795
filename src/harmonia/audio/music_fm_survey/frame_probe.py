"""Probing over time: ridge regression from frames to what is true of them, songs never split, scored song by song.

The penalty is the one with the smallest squared error on the next fold; the score of a song comes from a probe that
saw neither it nor any other song of its fold. Beside each score stand that of a probe that hears nothing (the mean of
the training songs) and that of the truth itself, sent through the same decoding: floor and ceiling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars
from jaxtyping import Float64
from numpy import ndarray

from harmonia.audio.music_fm_survey.frame_encoders import FrameEncoder
from harmonia.audio.music_fm_survey.frame_tasks import FrameTask, TrueSong
from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.media import Table
from harmonia.parts.probing import Interval
from harmonia.parts.probing.folds import group_folds
from harmonia.parts.probing.resampling import bootstrap_weights
from harmonia.parts.probing.ridge import ALPHAS, FoldMoments

_TEST = -1


@dataclass(frozen=True, eq=False)
class FrameCell:
    """One representation on one task over time.

    Attributes:
        encoder: Its name.
        task: The task.
        score: Mean over the scored songs, with its 95 % bootstrap interval.
        floor: Score of predicting the mean frame of the training songs.
        ceiling: Score of predicting the truth.
        songs: Score of each song.
    """

    encoder: str
    task: FrameTask
    score: Interval
    floor: float
    ceiling: float
    songs: Float64[ndarray, " songs"]


def probe_frames(
    task: FrameTask,
    songs: Sequence[TrueSong],
    encoders: Mapping[str, FrameEncoder],
    *,
    folds: int = 5,
    resamples: int = 1000,
    seed: int = 0,
) -> list[FrameCell]:
    """Probe representations on a task over time.

    Arguments:
        task: What to predict.
        songs: With their truth; those of which the task's is not known are left out. Where some belong to a published
            test set, those are scored, else every song when its fold is held out.
        encoders: By name.
        folds: Of the cross-validation over songs.
        resamples: Of the bootstrap over songs.
        seed: Of folds and bootstrap.

    Raises:
        InputError: fewer songs than folds, or a single one.
    """
    known = [song for song in songs if task.known(song)]
    test = np.array([song.test for song in known], dtype=bool)
    if folds < 3 or (~test).sum() < folds:
        got = f"{(~test).sum()} songs to learn '{task.name}' from, {folds} folds"
        raise InputError("there are fewer songs than folds, or fewer folds than three", got, "Pass more songs.")
    fold = np.full(len(known), _TEST, dtype=np.int64)
    fold[~test] = group_folds(np.arange((~test).sum()), folds, seed=seed)
    targets = [np.asarray(task.target(song), dtype=np.float64) for song in known]
    scored = np.flatnonzero(test) if test.any() else np.arange(len(known))
    ceiling = np.array([task.score(known[i], targets[i]) for i in scored])
    floor = np.array([task.score(known[i], _mean_like(targets, fold, int(i))) for i in scored])
    cells = []
    for name, encoder in encoders.items():
        sounds = track(known, f"{task.name}: {name}")
        features = [encoder.on_grid(song.read(), task.rate, len(y)) for song, y in zip(sounds, targets, strict=True)]
        predicted = _predicted(features, targets, fold)
        each = np.array([task.score(known[i], predicted[i]) for i in scored])
        cells.append(FrameCell(name, task, _interval(each, resamples, seed), _mean(floor), _mean(ceiling), each))
    return cells


def frame_table(cells: Sequence[FrameCell]) -> Table:
    """A row for each task and representation, the best of each task first."""
    rows = [
        {
            "task": cell.task.name,
            "encoder": cell.encoder,
            "metric": cell.task.metric,
            "score": cell.score.score,
            "low": cell.score.low,
            "high": cell.score.high,
            "without listening": cell.floor,
            "truth itself": cell.ceiling,
            "songs": len(cell.songs),
        }
        for cell in cells
    ]
    return Table(polars.DataFrame(rows).sort("task", "score", descending=[False, True], maintain_order=True))


def _predicted(features: list[ndarray], targets: list[ndarray], fold: ndarray) -> list[ndarray]:
    """Predictions for every song by a probe that did not see its fold."""
    lengths = [len(rows) for rows in targets]
    of_frame = np.repeat(fold, lengths)
    rows, coded = np.concatenate(features).astype(np.float64), np.concatenate(targets)
    moments, predicted = FoldMoments(rows, coded, of_frame), np.empty_like(coded)
    numbers = np.unique(fold[fold >= 0]).tolist()
    for left_out in np.unique(fold).tolist():
        inner = numbers[(numbers.index(left_out) + 1) % len(numbers)] if left_out in numbers else numbers[0]
        held = of_frame == inner
        guesses = moments.without(*{left_out, inner} - {_TEST}).predict(rows[held], ALPHAS)
        alpha = ALPHAS[int(np.square(guesses - coded[held]).mean((1, 2)).argmin())]
        where = of_frame == left_out
        predicted[where] = moments.without(*{left_out} - {_TEST}).predict(rows[where], [alpha])[0]
    return np.split(predicted, np.cumsum(lengths)[:-1])


def _mean_like(targets: list[ndarray], fold: ndarray, song: int) -> ndarray:
    seen = [rows for rows, number in zip(targets, fold, strict=True) if number not in (fold[song], _TEST)]
    return np.tile(np.concatenate(seen).mean(0), (len(targets[song]), 1))


def _mean(scores: ndarray) -> float:
    return float(np.nanmean(scores)) if np.isfinite(scores).any() else float("nan")


def _interval(scores: ndarray, resamples: int, seed: int) -> Interval:
    heard = scores[np.isfinite(scores)]
    if not len(heard):
        return Interval(float("nan"), float("nan"), float("nan"))
    drawn = bootstrap_weights(len(heard), None, resamples, seed) @ heard / len(heard)
    return Interval(float(heard.mean()), *np.quantile(drawn, [0.025, 0.975]).tolist())
