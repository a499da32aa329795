"""Labelled sequences from what a user has: a ``.ts`` file of the archives, or a table with one sequence a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.data.labelled_sequences import ts_file
from harmonia.media import Table
from harmonia.parts.features import Target


@dataclass(frozen=True)
class Examples:
    """Sequences that have a label.

    Attributes:
        values: Arrays (time, channels).
        labels: One each.
        target: Column of the labels of a table.
        columns: Columns of the samples of a table, in order.
    """

    values: list[Float64[ndarray, "time channels"]]
    labels: ndarray
    target: str = ""
    columns: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path, target: str = "") -> Examples:
        """Read a file.

        Arguments:
            path: The file.
            target: Column of the labels of a table; the last unless given.

        Raises:
            InputError: a folder, numbers in place of classes, or a table without samples or with one class.
        """
        if is_archive(path):
            return cls._archived(path)
        table = Table.read(path)
        wanted = Target.of(table, target, "classification").name
        return cls._rows(table, wanted, sample_columns(table, wanted))

    def like(self, path: Path) -> Examples:
        """Read a second file, to be judged on after training on this one.

        Raises:
            InputError: what `read` raises; other columns or channels, or labels that this file does not have.
        """
        if is_archive(path):
            other = self._archived(path)
        else:
            table = Table.read(path)
            target = self.target or table.names[-1]
            other = self._rows(table, target, self.columns or sample_columns(table, target))
        if not other.values:
            raise InputError(f"{path.name} has no labels", "empty ones only", "Give labelled sequences.")
        channels, found = self.values[0].shape[1], other.values[0].shape[1]
        if found != channels:
            mend = "Give sequences of the same channels."
            raise InputError(f"the sequences to learn from have {channels} channels", f"{found} in {path.name}", mend)
        known = set(self.labels.tolist())
        unknown = sorted({repr(label) for label in other.labels.tolist() if label not in known})
        if unknown:
            mend = f"Write them as in the first file: {', '.join(sorted(map(repr, known))[:8])}."
            raise InputError(f"{path.name} has labels that are not learnt", ", ".join(unknown[:8]), mend)
        return other

    @classmethod
    def _archived(cls, path: Path) -> Examples:
        found = ts_file(path)
        if not found.is_class:
            mend = "Use a classification set."
            raise InputError(f"{path.name} holds numbers instead of classes", "targetlabel", mend)
        return cls(list(found.values), found.labels)

    @classmethod
    def _rows(cls, table: Table, target: str, columns: Sequence[str]) -> Examples:
        labels, rows = table.column(target).to_list(), table.numeric(columns)
        known = [i for i, label in enumerate(labels) if label is not None]
        return cls([rows[i, :, None] for i in known], np.array([labels[i] for i in known]), target, tuple(columns))


def unlabelled(path: Path, columns: Sequence[str], target: str = "") -> list[Float64[ndarray, "time channels"]]:
    """Sequences whose labels, if there are any, do not matter.

    Arguments:
        path: As for `Examples.read`.
        columns: Columns of the samples of a table; all numbers but `target` if there are none.
        target: Column of a table to leave out.

    Raises:
        InputError: a folder, or a table without these columns.
    """
    if is_archive(path):
        return list(ts_file(path).values)
    table = Table.read(path)
    return list(table.numeric(columns or sample_columns(table, target))[:, :, None])


def is_archive(path: Path) -> bool:
    """Whether a file is one of the archives, rather than a table.

    Raises:
        InputError: no such file, or a folder.
    """
    if path.is_dir():
        raise InputError("this is a folder", path, "Give a .ts file or a table; for PTB-XL there is the job diagnose.")
    if not path.is_file():
        raise InputError("there is no such file", path, "Check the path.")
    return path.suffix.lower() == ".ts"


def sample_columns(table: Table, target: str) -> list[str]:
    """Columns of numbers but that of the labels.

    Raises:
        InputError: there are none.
    """
    columns = [name for name in table.numeric_names() if name != target]
    if not columns:
        raise InputError("the table has no samples", table.names, "Give one sequence a row, one sample a column.")
    return columns
