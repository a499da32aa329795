"""Time series: values of one or more variables at successive times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import polars
from jaxtyping import Float64

from harmonia.core.errors import InputError
from harmonia.core.media import Media
from harmonia.core.progress import say
from harmonia.media.table import Table
from harmonia.media.times import may_be_dates, times

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure

_TIME_NAMES = frozenset({"time", "t", "date", "datetime", "timestamp", "ds", "year", "index", "step", "row", "seconds"})
_R_ROWS = "rownames"
"""What R's data sets call the number of a row: a time where there is no other, never a variable."""
_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
_DRAWN = 6


@dataclass(frozen=True, eq=False)
class Series(Media):
    """Values at successive times.

    Arguments:
        values: ``[time, variables]``, or ``[time]`` for one variable; float64, finite.
        names: One name a variable; ``value`` or ``value_1``, ``value_2``, ... unless given.
        index: One time a row, strictly increasing: ``datetime64`` or numbers. 0, 1, 2, ... unless given.

    Raises:
        InputError: empty, not finite (it names variable and row), or times that do not increase.

    Example:
        >>> months = np.arange("2020-01", "2020-07", dtype="datetime64[M]")
        >>> series = Series(np.arange(6.0), index=months)
        >>> series.step, series.ahead(2).astype("datetime64[M]").astype(str).tolist()
        ('1 month', ['2020-07', '2020-08'])
    """

    kind: ClassVar[str] = "series"
    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv", ".parquet")

    values: Float64[np.ndarray, "time variables"]
    names: Sequence[str] = ()
    index: np.ndarray | None = None

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        values = values[:, None] if values.ndim == 1 else values
        if values.ndim != 2 or not values.size:
            raise InputError("a series has the shape [time, variables]", values.shape, "Pass such an array.")
        width = values.shape[1]
        names = tuple(self.names) or (("value",) if width == 1 else tuple(f"value_{i + 1}" for i in range(width)))
        if len(names) != width or len(set(names)) != width:
            got = f"{len(names)} names for {width} variables"
            raise InputError("every variable of a series has a name of its own", got, "Pass one name for each.")
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            got = f"{values[tuple(bad[0])]} in row {bad[0][0] + 1}, {len(bad)} such values in all"
            mend = "Fill the gaps or drop the variable."
            raise InputError(f"variable '{names[bad[0][1]]}' of the series is not finite", got, mend)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "index", _checked_index(self.index, len(values)))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def times(self) -> np.ndarray:
        """The index; never None."""
        assert self.index is not None
        return self.index

    @property
    def step(self) -> str:
        """What lies between two times: ``"1 month"``, ``"15 minutes"``, ``"1"`` for plain numbers.

        Raises:
            InputError: the steps differ; it names the first that does.
        """
        months, delta = self._spacing()
        if months:
            return _counted(months // 12, "year") if months % 12 == 0 else _counted(months, "month")
        return _duration(delta)

    def ahead(self, count: int) -> np.ndarray:
        """The `count` times that follow the last, for a forecast.

        Raises:
            InputError: the steps differ, so that the next time is unknown.
        """
        months, delta = self._spacing()
        steps = np.arange(1, count + 1)
        last = self.times[-1]
        if not months:
            return last + steps * delta
        month = last.astype("datetime64[M]")
        later = month + steps * months
        if _month_ends(self.times).all():
            return (later + 1).astype("datetime64[D]").astype(self.times.dtype) - np.timedelta64(1, "D")
        return later.astype(self.times.dtype) + (last - month)

    def _spacing(self) -> tuple[int, Any]:
        """Months between two times, or 0 and the fixed step."""
        times = self.times
        if len(times) < 2:
            raise InputError("one time has no step", f"{len(times)} row", "Pass at least two rows.")
        steps = np.diff(times)
        dates = times.dtype.kind == "M"
        same = steps == steps[0] if dates else np.isclose(steps, steps[0], rtol=1e-6, atol=0)
        if dates:
            months = np.diff(times.astype("datetime64[M]").astype(np.int64))
            within = times - times.astype("datetime64[M]")
            aligned = (within == within[0]).all() or _month_ends(times).all()
            if months[0] > 0 and (months == months[0]).all() and aligned:
                return int(months[0]), None
        if not same.all():
            row = int(np.flatnonzero(~same)[0])
            got = f"{_duration(steps[row])} after row {row + 1}, but {_duration(steps[0])} after row 1"
            raise InputError("the times of the series are not evenly spaced", got, "Fill the gaps or resample it.")
        return 0, steps[0] if dates else float(np.mean(steps))

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a table with one row a time.

        The column of times is the first that holds dates, else one of numbers called time, year, index or so.
        Columns of words are left out, and the user is told. Rows are put in order of time.

        Raises:
            InputError: what `Table.read` raises; no numbers, missing values, or two rows of one time.
        """
        return cls.from_table(Table.read(path))

    @classmethod
    def from_table(cls, table: Table) -> Self:
        """The series in a table; see `read`."""
        return cls(*cls.rows(table))

    @staticmethod
    def rows(table: Table, *, gaps: bool = False) -> tuple[np.ndarray, list[str], np.ndarray | None]:
        """Values ``[time, variables]``, names and times (None without a column of them) in a table, in order of time.

        Arguments:
            table: As `read` takes it.
            gaps: Give missing values as NaN instead of refusing them.

        Raises:
            InputError: what `read` raises.
        """
        time, index = _times(table)
        names = [name for name in table.numeric_names() if name not in (time, _R_ROWS)]
        dropped = [name for name in table.names if name not in (time, _R_ROWS, *names)]
        if dropped and names:
            say(f"Left out columns without numbers: {', '.join(dropped[:8])}.")
        values = table.numeric(names, gaps=gaps) if names else table.numeric(gaps=gaps)
        if not names:
            return values, table.numeric_names(), None
        if index is None:
            return values, names, None
        order = np.argsort(index, kind="stable")
        ordered = index[order]
        twice = np.flatnonzero(ordered[1:] == ordered[:-1])
        if len(twice):
            got = f"{_said(ordered[twice[0]])} in rows {order[twice[0]] + 1} and {order[twice[0] + 1] + 1}"
            mend = "Pass one series; choose one group of rows if the table holds several."
            raise InputError(f"two rows have the same {time}", got, mend)
        if (order[:-1] > order[1:]).any():
            say(f"Rows were put in order of {time}.")
        return values[order], names, ordered

    def table(self) -> Table:
        """Times and variables as columns."""
        name = "time" if "time" not in self.names else "index"
        times = self.times.astype("datetime64[us]") if self.times.dtype.kind == "M" else self.times
        columns = {each: self.values[:, i] for i, each in enumerate(self.names)}
        return Table(polars.DataFrame({name: times, **columns}))

    def _write(self, path: Path) -> None:
        self.table()._write(path)

    def show(self) -> MatplotlibFigure:
        """The first six variables over time."""
        from harmonia.media.figure import PALETTE, concise_dates, new_figure

        count = min(_DRAWN, len(self.names))
        more = f", the first {count} drawn" if count < len(self.names) else ""
        title = f"{len(self):,} times, {len(self.names):,} variable{'s' if len(self.names) > 1 else ''}{more}"
        height = 0.7 + (2.6 if count == 1 else 1.45 * count)
        figure, axes = new_figure(count, 1, title=title, width=9, height=height, sharex=True)
        for position, each in enumerate(axes):
            each.plot(self.times, self.values[:, position], color=PALETTE[position], linewidth=1.3)
            each.set_ylabel(str(self.names[position])[:24])
            each.margins(x=0.01)
        if self.times.dtype.kind == "M":
            concise_dates(axes[-1])
        return figure


def _counted(count: float, unit: str) -> str:
    return f"{count:g} {unit}{'' if count == 1 else 's'}"


def _duration(delta: Any) -> str:
    """A step between times in words, or a plain number."""
    if not isinstance(delta, np.timedelta64):
        return f"{delta:g}"
    seconds = float(delta / np.timedelta64(1, "s"))
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds % size == 0), ("second", 1))
    return _counted(seconds / size, unit)


def _said(time: Any) -> str:
    """A time without the parts that are zero."""
    return str(time).removesuffix(".000000").removesuffix("T00:00:00")


def _month_ends(times: np.ndarray) -> np.ndarray:
    """Which times lie on the last day of a month."""
    days = times.astype("datetime64[D]")
    return (days + 1).astype("datetime64[M]") != days.astype("datetime64[M]")


def _checked_index(index: Any, length: int) -> np.ndarray:
    if index is None:
        return np.arange(length, dtype=np.float64)
    array = np.asarray(index)
    if array.dtype.kind == "M":
        array = array.astype("datetime64[us]")
        finite = ~np.isnat(array)
    elif array.dtype.kind in "iuf":
        array = array.astype(np.float64)
        finite = np.isfinite(array)
    else:
        raise InputError("the index of a series holds times or numbers", array.dtype, "Pass datetime64 or numbers.")
    if array.shape != (length,):
        raise InputError(f"the index of the series has {length} times", array.shape, "Pass one time a row.")
    later = np.r_[True, array[1:] > array[:-1]] & finite
    if not later.all():
        row = int(np.flatnonzero(~later)[0])
        got = f"{_said(array[row])} in row {row + 1}" + (f" after {_said(array[row - 1])}" if row else "")
        raise InputError("the times of the series do not increase", got, "Sort the rows and drop repeated times.")
    return array


def _times(table: Table) -> tuple[str | None, np.ndarray | None]:
    """Name and values of the column of times, if there is one."""
    dated = (name for name in table.names if may_be_dates(table.frame[name]))
    numbers = sorted(table.numeric_names(), key=lambda name: name == _R_ROWS)
    named = [name for name in numbers if name == _R_ROWS or name.strip().lower() in _TIME_NAMES]
    name = next(chain(dated, named), None)
    return name, None if name is None else times(table.frame[name])
