"""What the estimators take for series: arrays, data frames, series; their names, gaps and order of variables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars
from jaxtyping import Bool, Float64, Int64
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.media import Series, Table
from harmonia.parts.spread import spread_of


@dataclass(frozen=True)
class Observed:
    """A series and which of its values were seen; the others are interpolated.

    Attributes:
        series: The values, finite.
        seen: Whether each was there.
    """

    series: Series
    seen: Bool[ndarray, "time variables"]

    @classmethod
    def of(cls, data: Any, *, gaps: bool = False) -> Observed:
        """Read a `Series`, a data frame of pandas or polars (a column of dates is its index), or an array.

        Arguments:
            data: ``[time, variables]``, or ``[time]`` for one variable.
            gaps: Whether NaN stands for a value that was not seen; refused otherwise.

        Raises:
            InputError: other things, values that are not finite, or a variable that was never seen.

        Example:
            >>> found = Observed.of(np.array([1.0, np.nan, 3.0]), gaps=True)
            >>> found.series.values[:, 0].tolist(), found.seen[:, 0].tolist()
            ([1.0, 2.0, 3.0], [True, False, True])
        """
        if isinstance(data, Series):
            return cls(data, np.ones(data.values.shape, bool))
        names, index, values = _frame(data) if hasattr(data, "columns") else ((), None, data)
        try:
            values = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputError("the series does not hold numbers", error, "Pass numbers, one row a time.") from None
        values = values[:, None] if values.ndim == 1 else values
        seen = ~np.isnan(values)
        if gaps and values.ndim == 2 and values.size and not seen.all():
            if not seen.any(0).all():
                empty = int(np.flatnonzero(~seen.any(0))[0])
                raise InputError("a variable was never seen", f"column {empty + 1}", "Drop it.")
            values = values.copy()
            rows = np.arange(len(values))
            for column in np.flatnonzero(~seen.all(0)):
                there = seen[:, column]
                values[:, column] = np.interp(rows, rows[there], values[there, column])
        return cls(Series(values, names, index), seen)

    @classmethod
    def again(cls, data: Any, names: Sequence[str], *, gaps: bool = False) -> Observed:
        """Read more data for what was fitted to variables of these names.

        Columns with names are put in the order of `names`, others are left out; an array has as many columns.

        Raises:
            InputError: what `of` raises, or other variables.

        Example:
            >>> frame = polars.DataFrame({"b": [1.0, 2.0], "a": [3.0, 4.0]})
            >>> Observed.again(frame, ("a", "b")).series.values.tolist()
            [[3.0, 1.0], [4.0, 2.0]]
        """
        read = cls.of(data, gaps=gaps)
        found = list(read.series.names)
        if not isinstance(data, Series) and not hasattr(data, "columns"):
            if len(found) != len(names):
                raise InputError(f"the fit was to {len(names)} variables", f"{len(found)} variables", "Pass the same.")
            return read
        if not set(names) <= set(found):
            mend = f"Pass {', '.join(names)}."
            raise InputError("the variables are not those of the fit", ", ".join(found), mend)
        order = [found.index(name) for name in names]
        return cls(Series(read.series.values[:, order], names, read.series.times), read.seen[:, order])

    def evenly(self) -> Observed:
        """Itself.

        Raises:
            InputError: times that are not evenly spaced; it names the first.
        """
        if len(self.series) > 1:
            _ = self.series.step  # measuring it refuses others
        return self


def _frame(data: Any) -> tuple[Sequence[str], ndarray | None, Any]:
    """Names, times and values of a data frame."""
    index = None
    if not isinstance(data, polars.DataFrame):
        if getattr(getattr(data.index, "dtype", None), "kind", "") == "M":
            index = data.index.to_numpy()
        data = polars.DataFrame({str(name): np.asarray(data[name]) for name in data.columns})
    if index is None and any(kind in (polars.Date, polars.Datetime, polars.String) for kind in data.dtypes):
        series = Series.from_table(Table(data))
        return series.names, series.times, series.values
    return data.columns, index, data.to_numpy()


def seriation(values: Float64[ndarray, "time variables"]) -> Int64[ndarray, " variables"]:
    """An order in which variables that move together stand together: by the Fiedler vector of |correlation|.

    The vector of the second smallest eigenvalue of the graph's Laplacian is the smoothest one over the graph, so that
    neighbours in its order are strongly tied (Atkins, Boman and Hendrickson, 1998). Its sign is fixed: the first
    variable stands in the first half.

    Example:
        >>> noise = np.random.default_rng(0).standard_normal((500, 4)).cumsum(0)
        >>> mixed = np.stack([noise[:, 0], noise[:, 3], noise[:, 0] + 0.1 * noise[:, 1]], 1)
        >>> [abs(int(each)) for each in np.diff(np.argsort(seriation(mixed))[[0, 2]])]
        [1]
    """
    count = values.shape[1]
    if count < 3:
        return np.arange(count)
    scaled = (values - values.mean(0)) / spread_of(values)
    tie = np.abs(scaled.T @ scaled) / len(values)
    laplacian = np.diag(tie.sum(1)) - tie
    vector = np.linalg.eigh(laplacian)[1][:, 1]
    order = np.argsort(vector, kind="stable")
    return order[::-1].copy() if np.flatnonzero(order == 0)[0] >= (count + 1) // 2 else order
