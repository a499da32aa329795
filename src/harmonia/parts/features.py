"""A table as inputs of a method: numbers standardised, few-valued words as indicators, the target apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars
from jaxtyping import Float64

from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.media import Table
from harmonia.parts.spread import spread_of

MOST_WORDS = 20
"""A column of words with more distinct values than this, or than half of the rows, is left out."""


@dataclass(frozen=True)
class Features:
    """How columns become inputs, learnt from one table and applied to others.

    Attributes:
        numbers: Columns that are standardised.
        words: Columns that become one indicator per value, with their values.
        mean, scale: Of all inputs in the table it was learnt from.
    """

    numbers: tuple[str, ...]
    words: dict[str, tuple[str, ...]]
    mean: Float64[np.ndarray, " features"]
    scale: Float64[np.ndarray, " features"]

    @classmethod
    def of(cls, table: Table, without: str | None = None) -> Features:
        """Learn from a table.

        Arguments:
            table: Rows to learn from.
            without: The target column.

        Raises:
            InputError: no usable column.
        """
        numbers, words, left_out = [], {}, []
        for column in table.frame.drop(without) if without else table.frame:
            values = column.cast(polars.String, strict=False).drop_nulls().unique().sort()
            few = len(values) <= min(MOST_WORDS, len(column) // 2)
            if column.dtype.is_numeric() or column.dtype == polars.Boolean:
                numbers.append(column.name)
            elif column.dtype in (polars.String, polars.Categorical, polars.Enum) and few:
                words[column.name] = tuple(values)
            else:
                left_out.append(column.name)
        if left_out:
            say(f"Left out, for they hold neither numbers nor a few repeated words: {', '.join(left_out)}.")
        if not numbers and not words:
            raise InputError("the table has no column to learn from", table.names, "Pass columns of numbers.")
        raw = cls(tuple(numbers), words, np.zeros(1), np.ones(1)).inputs(table)
        return cls(tuple(numbers), words, raw.mean(0), spread_of(raw))

    def inputs(self, table: Table) -> Float64[np.ndarray, "rows features"]:
        """Inputs for every row.

        Raises:
            InputError: a column that is missing, or a value that is missing or no number; it names the row.
        """
        parts = [table.numeric(self.numbers)] if self.numbers else []
        for name, values in self.words.items():
            column = table.column(name).cast(polars.String, strict=False).to_numpy()
            parts.append((column[:, None] == np.array(values, dtype=object)).astype(np.float64))
        return (np.concatenate(parts, 1) - self.mean) / self.scale


@dataclass(frozen=True)
class Target:
    """The column to predict: numbers, or classes.

    Attributes:
        name: Its name.
        values: Its values, as objects; None where it is empty.
        is_class: Whether it names classes.
    """

    name: str
    values: list[object]
    is_class: bool

    @classmethod
    def of(cls, table: Table, name: str, goal: Literal["auto", "regression", "classification"]) -> Target:
        """Read the target column; the last one if no name is given.

        Raises:
            InputError: no such column, one without values, or words where numbers are wanted.
        """
        column = table.column(name or table.names[-1])
        if not name:
            say(f"No target named: predicting the last column, '{column.name}'.")
        numeric = column.dtype.is_numeric()
        if goal == "regression" and not numeric:
            mend = "Choose a column of numbers, or a method or goal that takes classes."
            raise InputError(f"column '{column.name}' holds no numbers", column.dtype, mend)
        is_class = goal == "classification" or (goal == "auto" and not numeric)
        if numeric and not is_class:
            column = column.cast(polars.Float64).fill_nan(None)
        if column.drop_nulls().n_unique() < 2:
            raise InputError(
                f"column '{column.name}' has nothing to learn",
                f"{column.drop_nulls().n_unique()} different value(s)",
                "Choose a target that varies.",
            )
        return cls(column.name, column.to_list(), is_class)

    @property
    def known(self) -> np.ndarray:
        """Which rows have a target."""
        return np.array([value is not None for value in self.values])
