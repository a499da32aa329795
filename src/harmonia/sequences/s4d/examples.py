"""Labelled examples from what a user has: folders of sound, archive files, tables."""

from __future__ import annotations

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
    """

    values: list[Float64[ndarray, "time channels"]]
    labels: list[object]
    is_class: bool
    rate: int = 0
    seconds: float = 0.0

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
        return cls(list(rows[:, :, None]), wanted.values, wanted.is_class)

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
