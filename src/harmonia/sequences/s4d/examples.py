"""Labelled examples from what a user has: folders of sound, archive files, tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.core.progress import say, track
from harmonia.data.labelled_sequences import spoken_commands, ts_file
from harmonia.media import Audio, Table
from harmonia.parts.features import Target


@dataclass(frozen=True)
class Examples:
    """Sequences and their labels.

    Attributes:
        values: Arrays (time, channels).
        labels: Words, or numbers where `is_class` is false; None where a table had none.
        is_class: Whether labels name classes.
        rate: Sampling rate in hertz, for sound; 0 for others.
        seconds: Typical length of a sound; 0 for others.
        columns: Columns of a table that hold the samples, in order; none for others.
        target: Column of a table that holds the labels; empty for others.
    """

    values: list[Float64[ndarray, "time channels"]]
    labels: list[object]
    is_class: bool
    rate: int = 0
    seconds: float = 0.0
    columns: tuple[str, ...] = ()
    target: str = ""

    @classmethod
    def read(cls, path: Path, target: str = "", rate: int = 0) -> Examples:
        """Read ``<class>/*.wav``, a ``.ts`` file, or a table with one sequence a row.

        Arguments:
            path: The folder or file.
            target: Column of the labels of a table; the last unless given.
            rate: Sampling rate that sounds are brought to; their own unless given.

        Raises:
            InputError: another layout, unreadable files, sounds of different rates.
        """
        if path.is_dir():
            return cls._sounds(path, rate)
        if path.suffix.lower() == ".ts":
            found = ts_file(path)
            return cls(list(found.values), found.labels.tolist(), found.is_class)
        table = Table.read(path)
        wanted = Target.of(table, target, "auto")
        columns = [name for name in table.numeric_names() if name != wanted.name]
        if not columns:
            raise InputError("the table has no samples", table.names, "Give one sequence a row, one sample a column.")
        rows = table.numeric(columns)
        return cls(list(rows[:, :, None]), wanted.values, wanted.is_class, columns=tuple(columns), target=wanted.name)

    @classmethod
    def _sounds(cls, folder: Path, rate: int) -> Examples:
        clips = spoken_commands(folder)
        values, words = [], []
        for clip in track(clips, "Reading sounds"):
            sound: Audio = clip.read().mono()
            if not rate:
                rate = sound.rate
                say(f"All sounds are brought to {rate} Hz.")
            values.append(sound.resampled(rate).samples[0, :, None].astype(np.float64))
            words.append(clip.word)
        seconds = float(np.median([len(each) for each in values])) / rate
        return cls(values, list(words), True, rate, seconds)


def table_rows(table: Table, target: str, columns: Sequence[str] = ()) -> list[Float64[ndarray, "time 1"]]:
    """The sequences in the rows of a table whose labels are not needed.

    Arguments:
        table: One sequence a row, one sample a column.
        target: Column to leave out; none if empty.
        columns: Columns of the table that a model was trained on; all columns of numbers if there are none. A table
            without these names, but with as many columns of numbers, is read in its own order.

    Raises:
        InputError: no column of the name of the target, or neither these columns nor as many.
    """
    if target:
        table.column(target)
    found = [name for name in table.numeric_names() if name != target]
    if columns and set(columns) <= set(table.names):
        left_out = [name for name in table.names if name not in columns and name != target]
        if left_out:
            say(f"Left out, for the model was not trained on them: {', '.join(left_out[:8])}.")
        return list(table.numeric(columns)[:, :, None])
    if columns and len(found) != len(columns):
        mend = "Pass the columns of training, and name one to leave out by the target."
        raise InputError(f"the model was trained on {len(columns)} columns of samples", f"{len(found)} columns", mend)
    return list(table.numeric(found)[:, :, None])
