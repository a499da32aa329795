"""The type of panels, and how it is read from a table with one row a sample and time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import polars
from jaxtyping import Bool, Float64
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.media import Series, Table
from harmonia.media.times import may_be_dates, times

_IDENTIFIERS = frozenset({"id", "sample", "unique_id", "unit", "group", "series", "station", "patient", "firm"})
"""Names of columns that tell samples apart even where they hold numbers."""

_TIME_NAMES = frozenset(
    {"time", "t", "date", "datetime", "timestamp", "ds", "year", "quarter", "month", "day", "hour", "step"}
)
"""Names of columns of times that are no dates."""


@dataclass(frozen=True, eq=False)
class Panel:
    """Values of the same variables at the same times in several samples.

    Arguments:
        values: ``[samples, time, variables]``; NaN is missing.
        names: Of the variables; ``value_1``, ... unless given.
        samples: Names of the samples; 1, 2, ... unless given.
        index: Times, strictly increasing; 0, 1, ... unless given.
        names_of: What a sample is, such as "country".

    Raises:
        InputError: another shape, infinite values, a variable that is missing everywhere, names that do not fit.

    Example:
        >>> panel = Panel(np.arange(12.0).reshape(2, 3, 2), ("cases", "recovered"), ("Italy", "France"))
        >>> panel.until(2).values.shape, panel["France"].values[0, 0].tolist()
        ((2, 2, 2), [6.0, 7.0])
    """

    values: Float64[ndarray, "samples time variables"]
    names: Sequence[str] = ()
    samples: Sequence[str] = ()
    index: ndarray | None = None
    names_of: str = "sample"

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        if values.ndim != 3 or not values.size:
            raise InputError("a panel has the shape [samples, time, variables]", values.shape, "Pass such an array.")
        if np.isinf(values).any():
            raise InputError("a value of the panel is infinite", "infinity", "Pass NaN where a value is missing.")
        samples = tuple(map(str, self.samples)) or tuple(str(i + 1) for i in range(len(values)))
        if len(samples) != len(values) or len(set(samples)) != len(samples):
            got = f"{len(set(samples))} names for {len(values)} samples"
            raise InputError("every sample of a panel has a name of its own", got, "Pass one name for each.")
        # Names and times are those of any series.
        plain = Series(
            np.zeros(values.shape[1:]), self.names or [f"value_{i + 1}" for i in range(values.shape[2])], self.index
        )
        empty = np.isnan(values).all((0, 1))
        if empty.any():
            got = f"no value in {len(values)} samples"
            raise InputError(f"variable '{plain.names[empty.argmax()]}' is missing everywhere", got, "Leave it out.")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "names", plain.names)
        object.__setattr__(self, "samples", samples)
        object.__setattr__(self, "index", plain.times)

    def __getitem__(self, sample: str) -> Panel:
        """One sample, as a panel."""
        if sample not in self.samples:
            raise InputError(
                f"the panel has no {self.names_of} '{sample}'", f"{len(self.samples)} others", "Choose one."
            )
        return Panel(self.values[[list(self.samples).index(sample)]], self.names, [sample], self.times, self.names_of)

    @property
    def times(self) -> ndarray:
        """The index; never None."""
        assert self.index is not None
        return self.index

    @property
    def length(self) -> int:
        """How many times."""
        return self.values.shape[1]

    @property
    def present(self) -> Bool[ndarray, "samples time variables"]:
        """Which values are there."""
        return ~np.isnan(self.values)

    def ahead(self, count: int) -> ndarray:
        """The `count` times that follow the last."""
        return Series(np.zeros(self.length), index=self.times).ahead(count)

    def until(self, length: int) -> Panel:
        """The first `length` times."""
        return Panel(self.values[:, :length], self.names, self.samples, self.times[:length], self.names_of)

    def without(self, names: Sequence[str]) -> Panel:
        """Without some variables."""
        keep = [i for i, name in enumerate(self.names) if name not in names]
        return Panel(self.values[..., keep], [self.names[i] for i in keep], self.samples, self.times, self.names_of)

    def filled(self, typical: Float64[ndarray, " variables"] | None = None) -> Panel:
        """Gaps filled by the last value before them, which no future enters; before the first value, by `typical`.

        Arguments:
            typical: One value a variable; the mean over samples of their first values unless given.
        """
        values = without_gaps(self.values, typical_values(self.values) if typical is None else typical)
        return Panel(values, self.names, self.samples, self.times, self.names_of)

    def series(self) -> list[Series]:
        """Every sample as a series.

        Raises:
            InputError: a value is missing.
        """
        return [Series(values, self.names, self.times) for values in self.values]

    @classmethod
    def from_table(cls, table: Table, sample: str = "", time: str = "") -> Panel:
        """The panel in a table with one row a sample and time.

        Arguments:
            table: The rows, in any order.
            sample: Column of the samples; the first of words, or one called id, sample or so, unless given; where
                there is none all rows are one sample.
            time: Column of times; the first of dates unless given, else one called time, year or so.

        Raises:
            InputError: no numbers, two rows of one sample and time, samples that hardly share their times.
        """
        frame = table.frame
        if sample:
            table.column(sample)
        time = time or _time_column(table, sample)
        index_of_rows = times(table.column(time))
        words = [name for name, kind in frame.schema.items() if kind == polars.String and name != time]
        numbered = [name for name in frame.columns if name.strip().lower() in _IDENTIFIERS and name != time]
        sample = sample or next(iter(words + numbered), "")
        names = [name for name in table.numeric_names() if name not in (sample, time)]
        if not names:
            raise InputError(
                "the panel has no variables", f"columns {', '.join(table.names)}", "Add columns of numbers."
            )
        left = [name for name in table.names if name not in (sample, time, *names)]
        if left:
            say(f"Left out columns without numbers: {', '.join(left[:8])}.")
        who = np.asarray(frame[sample].cast(polars.String).fill_null("").to_list() if sample else ["all"] * len(frame))
        samples, row = np.unique(who, return_inverse=True)
        index, column = np.unique(index_of_rows, return_inverse=True)
        place = row * len(index) + column
        twice = np.flatnonzero(np.bincount(place) > 1)
        if len(twice):
            first, second = np.flatnonzero(place == twice[0])[:2] + 1
            got = f"{samples[twice[0] // len(index)]} at {index[twice[0] % len(index)]} in rows {first} and {second}"
            raise InputError(
                "two rows have one sample and time", got, "Keep one of them, or name the column of samples."
            )
        if len(samples) * len(index) > 50 * len(frame) + 1000:
            got = f"{len(samples)} samples, {len(index)} times, {len(frame)} rows"
            raise InputError("the samples hardly share their times", got, "Put the times of all samples on one grid.")
        values = np.full((len(samples) * len(index), len(names)), np.nan)
        values[place] = frame.select(
            [polars.col(name).cast(polars.Float64).fill_null(np.nan) for name in names]
        ).to_numpy()
        return cls(values.reshape(len(samples), len(index), -1), names, samples.tolist(), index, sample or "sample")

    def table(self) -> Table:
        """One row a sample and time; missing values are empty."""
        count, length, _ = self.values.shape
        times = self.times.astype("datetime64[us]") if self.times.dtype.kind == "M" else self.times
        columns: dict[str, Any] = {
            self.names_of: np.repeat(self.samples, length).tolist(),
            "time": np.tile(times, count),
        }
        columns |= {name: self.values[..., i].ravel() for i, name in enumerate(self.names)}
        return Table(polars.DataFrame(columns).with_columns(polars.col(self.names).fill_nan(None)))


def typical_values(values: Float64[ndarray, "samples time variables"]) -> Float64[ndarray, " variables"]:
    """The mean of each variable over what is there."""
    return np.asarray(np.nanmean(values, axis=(0, 1)))


def without_gaps(
    values: Float64[ndarray, "samples time variables"], typical: Float64[ndarray, " variables"]
) -> Float64[ndarray, "samples time variables"]:
    """Gaps filled by the last value before them; before the first value, by the typical one of the variable."""
    rows = np.where(np.isnan(values), 0, np.arange(values.shape[1])[:, None])
    last = np.take_along_axis(values, np.maximum.accumulate(rows, axis=1), axis=1)
    return np.where(np.isnan(last), typical, last)


def _time_column(table: Table, sample: str) -> str:
    """The first column of dates, else one called time, year or so."""
    others = [name for name in table.names if name != sample]
    dated = (name for name in others if may_be_dates(table.frame[name]))
    named = (name for name in others if name.strip().lower() in _TIME_NAMES)
    found = next(chain(dated, named), None)
    if found is None:
        got, mend = f"columns {', '.join(table.names)}", "Name the column of times."
        raise InputError("the table has no column of times", got, mend)
    return found


def copies(panel: Panel) -> dict[str, str]:
    """Variables that equal an earlier one wherever both are there, by the name of that one."""
    found: dict[str, str] = {}
    for j, name in enumerate(panel.names):
        for i in range(j):
            one, other = panel.values[..., i], panel.values[..., j]
            both = ~(np.isnan(one) | np.isnan(other))
            if both.any() and np.array_equal(one[both], other[both]):
                found.setdefault(name, panel.names[i])
    return found


def drop_blank_end(panel: Panel) -> Panel:
    """Leave out times at the end that hold no value of any sample, and say how many."""
    length = int(np.flatnonzero(panel.present.any((0, 2)))[-1]) + 1
    if length < panel.length:
        say(f"Left out the last {panel.length - length} times, which hold no value.")
    return panel.until(length)


def drop_copies(panel: Panel) -> Panel:
    """Leave out variables that are copies of others, and say which."""
    found = copies(panel)
    if found:
        told = ", ".join(f"'{copy}' is a copy of '{original}'" for copy, original in found.items())
        say(f"Left out: {told}.")
    return panel.without(list(found)) if found else panel
