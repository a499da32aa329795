"""Columns of times in tables: dates in the forms people write them, years, and plain numbers."""

from __future__ import annotations

import numpy as np
import polars

from harmonia.core.errors import InputError

_FORMATS = ("%Y-%m", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%Y-%m-%d %H:%M", "%Y/%m/%d %H:%M")


def dates(column: polars.Series) -> np.ndarray | None:
    """The dates of a column, ``datetime64[us]`` without their zone; None where it holds none, or not in every row.

    Example:
        >>> dates(polars.Series(["2020-01", "2020-02"])).astype(str).tolist()
        ['2020-01-01T00:00:00.000000', '2020-02-01T00:00:00.000000']
    """
    if column.null_count():
        return None
    if column.dtype in (polars.Date, polars.Datetime):
        plain = column if column.dtype == polars.Date else column.dt.replace_time_zone(None)
        return plain.cast(polars.Datetime("us")).to_numpy()
    if column.dtype == polars.String:
        for form in _FORMATS:
            if _parsed(column.head(1), form).null_count():  # words are told by their first cell
                continue
            parsed = _parsed(column, form)
            if not parsed.null_count():
                return parsed.to_numpy()
    return None


def _parsed(column: polars.Series, form: str) -> polars.Series:
    text, pattern = (column + "-01", "%Y-%m-%d") if form == "%Y-%m" else (column, form)
    return text.str.to_datetime(pattern, time_unit="us", strict=False)


def may_be_dates(column: polars.Series) -> bool:
    """Whether a column is one of dates, be it with empty cells, or of words that are all dates."""
    return column.dtype in (polars.Date, polars.Datetime) or dates(column) is not None


def times(column: polars.Series) -> np.ndarray:
    """Dates, the years of a column of that name, or plain numbers in float64: one for every row.

    Raises:
        InputError: an empty cell, or words that are no dates.
    """
    if column.null_count():
        row = int(column.is_null().arg_true()[0]) + 1
        raise InputError(f"column '{column.name}' lacks a time", f"nothing in row {row}", "Fill or drop such rows.")
    found = dates(column)
    if found is not None:
        return found
    if not column.dtype.is_numeric():
        mend = "Write dates as 2020-01-31, or numbers."
        raise InputError(f"column '{column.name}' holds no times", column.dtype, mend)
    years = column.dtype.is_integer() and column.min() >= 1000 and column.max() < 3000  # type: ignore[operator]
    if column.name.strip().lower() == "year" and years:
        return column.cast(polars.String).to_numpy().astype("datetime64[Y]").astype("datetime64[us]")
    return column.cast(polars.Float64).to_numpy()
