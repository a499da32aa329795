"""Rows and columns: a polars frame, read from CSV, TSV, Parquet or a numpy array."""

from __future__ import annotations

import csv
import datetime
import difflib
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import polars
from jaxtyping import Float64

from harmonia.core.errors import HarmoniaError, InputError
from harmonia.core.media import Media
from harmonia.core.progress import say
from harmonia.media.files import GIB, content, decoded_text, existing, unreadable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as MatplotlibFigure

FILE_LIMIT = GIB
CELL_LIMIT = 500_000_000
MAX_COLUMNS = 100_000

_EPOCH = datetime.date(1970, 1, 1).toordinal()
_PER_DAY = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
_DELIMITERS = ",\t;|"
_MISSING = ["", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "?", "#N/A"]
_NUMBER = re.compile(r"[-+]?(\d+[.,]?\d*|[.,]\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True, eq=False)
class Table(Media):
    """Rows of named columns.

    Arguments:
        frame: The polars frame, with at least one row and one column.

    Example:
        >>> table = Table(polars.DataFrame({"height": [1.7, 1.8], "name": ["Ada", "Max"]}))
        >>> table.numeric(["height"])
        array([[1.7],
               [1.8]])
        >>> table.column("hight")
        Traceback (most recent call last):
        ...
        harmonia.core.errors.InputError: the table has no column 'hight' (got height, name). Did you mean 'height'?
    """

    kind: ClassVar[str] = "table"
    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv", ".parquet")

    frame: polars.DataFrame

    def __post_init__(self) -> None:
        if not isinstance(self.frame, polars.DataFrame):
            raise InputError("a table wraps a polars frame", type(self.frame).__name__, "Use polars.DataFrame(...).")
        if not self.frame.height or not self.frame.width:
            got = f"{self.frame.height} rows and {self.frame.width} columns"
            raise InputError("the table is empty", got, "Pass at least one row and one column.")
        for column in self.frame:
            if column.dtype in (polars.Date, polars.Datetime):
                _refuse_impossible_dates(column)

    @property
    def names(self) -> list[str]:
        return self.frame.columns

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read Parquet, a numpy array, or text with commas, tabs, semicolons or bars between columns (also gzipped).

        The delimiter, a missing header, decimal commas and dates are found by looking; what was assumed is told.
        Empty cells, NA, NaN, null and ? are missing values. The columns of an array (.npy) are called x0, x1, ...

        Raises:
            InputError: missing, empty, damaged, above `FILE_LIMIT`, with rows of different lengths, or no table.
        """
        path = existing(path, cls.kind, FILE_LIMIT)
        match content(path):
            case "parquet":
                return cls(_from_parquet(path))
            case "npy":
                return cls(_from_array(path))
        return cls(_from_text(decoded_text(path, cls.kind, FILE_LIMIT), path))

    def column(self, name: str) -> polars.Series:
        """One column.

        Raises:
            InputError: there is none of that name; it says which names are near.
        """
        if name not in self.frame.columns:
            near = difflib.get_close_matches(name, self.frame.columns, n=1, cutoff=0.5)
            mend = f"Did you mean '{near[0]}'?" if near else "Choose one of these."
            raise InputError(f"the table has no column '{name}'", _listed(self.frame.columns), mend)
        return self.frame[name]

    def numeric(
        self, columns: Sequence[str] | None = None, *, gaps: bool = False
    ) -> Float64[np.ndarray, "rows columns"]:
        """Columns as one float64 array.

        Arguments:
            columns: Their names; all columns of numbers unless given.
            gaps: Give missing values as NaN instead of refusing them.

        Raises:
            InputError: a column is not there or holds no numbers, or a value is missing or not finite; it names the
                column and the row, counted from 1 without the header.
        """
        names = self.numeric_names() if columns is None else list(columns)
        if not names:
            raise InputError("the table has no column of numbers", _listed(self.frame.columns), "Pass one that has.")
        return np.stack([self._numbers(name, gaps) for name in names], axis=1)

    def numeric_names(self) -> list[str]:
        """Names of the columns that hold numbers or truth values."""
        return [name for name, kind in self.frame.schema.items() if kind.is_numeric() or kind == polars.Boolean]

    def _numbers(self, name: str, gaps: bool) -> Float64[np.ndarray, " rows"]:
        column = self.column(name)
        if name not in self.numeric_names():
            bad = column.cast(polars.String, strict=False).drop_nulls()
            wrong = next((value for value in bad if not _NUMBER.fullmatch(value.strip())), column.dtype)
            raise InputError(f"column '{name}' holds no numbers", wrong, "Choose columns of numbers.")
        values = column.cast(polars.Float64).fill_null(np.nan).to_numpy().astype(np.float64)
        bad_rows = np.flatnonzero(np.isinf(values) if gaps else ~np.isfinite(values))
        if len(bad_rows):
            missing = column[int(bad_rows[0])] is None
            got = f"{'nothing' if missing else values[bad_rows[0]]} in row {bad_rows[0] + 1}"
            more = f", and {len(bad_rows) - 1} rows more" if len(bad_rows) > 1 else ""
            mend = "Fill or drop such rows, or leave the column out."
            raise InputError(f"column '{name}' has a value that is no number", got + more, mend)
        return values

    def _write(self, path: Path) -> None:
        match path.suffix.lower():
            case ".parquet":
                self.frame.write_parquet(path)
            case suffix:
                try:
                    self.frame.write_csv(path, separator="," if suffix == ".csv" else "\t")
                except polars.exceptions.PolarsError as error:
                    raise InputError("the table holds columns that are no text", error, "Write .parquet.") from None

    def show(self) -> MatplotlibFigure:
        """How the first six columns are distributed: histograms of numbers and dates, bars of words."""
        from harmonia.media.figure import new_figure

        names = self.frame.columns[:6]
        cols = min(3, len(names))
        rows = -(-len(names) // cols)
        title = f"{self.frame.height:,} rows, {self.frame.width:,} columns"
        figure, axes = new_figure(rows, cols, title=title, width=max(5.0, 3.4 * cols), height=0.4 + 2.5 * rows)
        for each, name in zip(axes, names, strict=False):
            _distribution(each, self.frame[name])
        for spare in axes[len(names) :]:
            spare.set_visible(False)
        return figure


def _refuse_impossible_dates(column: polars.Series) -> None:
    """Parquet holds dates as bare numbers; polars panics when it shows one outside the calendar."""
    days = 1 if column.dtype == polars.Date else _PER_DAY[getattr(column.dtype, "time_unit", "us")]
    numbers = column.to_physical().drop_nulls()
    first, last = (bound.toordinal() - _EPOCH for bound in (datetime.date.min, datetime.date.max))
    outside = numbers.filter((numbers < first * days) | (numbers >= last * days))
    if len(outside):
        got = f"day {outside[0] // days} from 1970"
        raise InputError(f"column '{column.name}' holds dates outside the calendar", got, "Mend or drop them.")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f", ... ({len(names)} in all)" if len(names) > 12 else "")


def _safely(path: Path, read: Callable[[], polars.DataFrame]) -> polars.DataFrame:
    """Run a polars reader; its panics are no `Exception`, so they are caught by name."""
    try:
        return read()
    except HarmoniaError:
        raise
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            reason = str(error).split("\n\n")[0]
            raise unreadable("table", path, reason, "Save it again as CSV or Parquet.") from None
        raise


def _from_parquet(path: Path) -> polars.DataFrame:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 8))
        tail = file.read()
    if tail[4:] != b"PAR1" or not 0 < int.from_bytes(tail[:4], "little") <= path.stat().st_size - 12:
        raise unreadable("table", path, "the end of the Parquet file is missing", "Save it again.")

    def read() -> polars.DataFrame:
        rows = polars.scan_parquet(path)
        height, width = rows.select(polars.len()).collect().item(), len(rows.collect_schema())
        if height * width > CELL_LIMIT:  # a few bytes can stand for billions of equal rows
            got = f"{height:,} rows of {width:,} columns in {path.name}"
            raise InputError("the table is too large", got, f"Pass at most {CELL_LIMIT:,} cells.")
        return rows.collect()

    return _safely(path, read)


def _from_array(path: Path) -> polars.DataFrame:
    def read() -> polars.DataFrame:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        got = f"shape {array.shape} of {array.dtype} in {path.name}"
        if array.ndim != 2 or array.dtype.kind not in "biuf":
            raise InputError("a table is a matrix of numbers", got, "Pass rows and columns of numbers.")
        if array.size > CELL_LIMIT or array.shape[1] > MAX_COLUMNS:
            mend = f"Pass at most {CELL_LIMIT:,} cells in {MAX_COLUMNS:,} columns."
            raise InputError("the table is too large", got, mend)
        # Polars has no half precision, and only this machine's order of bytes.
        kind = np.dtype(np.float32) if array.dtype == np.float16 else array.dtype.newbyteorder("=")
        return polars.DataFrame({f"x{i}": np.ascontiguousarray(array[:, i], kind) for i in range(array.shape[1])})

    return _safely(path, read)


def _from_text(text: str, path: Path) -> polars.DataFrame:
    if "<html" in text[:2000].lower() or text.lstrip()[:1] in ("{", "<"):
        raise InputError("the file is no table", f"text of another kind in {path.name}", "Pass CSV, TSV or Parquet.")
    lines = [line for line in text[: 1 << 20].splitlines() if line.strip()][:50]
    if not lines:
        raise InputError("the table is empty", f"blank lines in {path.name}", "Pass at least one row.")
    delimiter = _delimiter(lines)
    rows = _rows(lines, delimiter)
    widths = {len(row) for row in rows[1:]} or {len(rows[0])}
    if len(rows[0]) > MAX_COLUMNS:
        raise InputError(f"a table has at most {MAX_COLUMNS} columns", len(rows[0]), "Pass one with rows and columns.")
    if len(rows[0]) + 1 == min(widths) and len(widths) == 1:
        # Written by R: the row names have no header.
        text = f"row{delimiter}{text.lstrip()}"
        rows = [["row", *rows[0]], *rows[1:]]
    header = not any(_NUMBER.fullmatch(cell.strip()) for cell in rows[0])
    if not header:
        say(f"{path.name} has no header; its columns are called column_1, column_2, ...")
    comma = delimiter != "," and _decimal_commas(rows)

    def read() -> polars.DataFrame:
        frame = polars.read_csv(
            io.BytesIO(text.encode()),
            separator=delimiter,
            has_header=header,
            infer_schema_length=None,
            null_values=_MISSING,
            try_parse_dates=True,
            decimal_comma=comma,
        )
        names = [name.strip() for name in frame.columns] if header else [""] * frame.width
        names = [name or f"column_{index}" for index, name in enumerate(names, start=1)]
        if len(set(names)) == len(names):
            frame.columns = names
        return frame

    return _safely(path, read)


def _delimiter(lines: Sequence[str]) -> str:
    """The delimiter that cuts most lines into the same number of cells, more than one; a comma if none does."""

    def agreement(delimiter: str) -> tuple[float, int]:
        widths = [len(row) for row in _rows(lines, delimiter)]
        common = max(set(widths), key=widths.count)
        return (widths.count(common) / len(widths) if common > 1 else 0.0, common)

    return max(_DELIMITERS, key=agreement)


def _rows(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    try:
        return [row for row in csv.reader(lines, delimiter=delimiter) if row]
    except csv.Error:
        return [line.split(delimiter) for line in lines]


def _decimal_commas(rows: Sequence[Sequence[str]]) -> bool:
    """Whether cells look like 1,5 and none like 1.5."""
    cells = [cell.strip() for row in rows[1:] for cell in row if _NUMBER.fullmatch(cell.strip())]
    return any("," in cell for cell in cells) and not any("." in cell for cell in cells)


def _distribution(axes: Axes, column: polars.Series) -> None:
    from harmonia.media.figure import MUTED, PALETTE, concise_dates

    axes.set_title(column.name[:40], fontsize=10)
    missing = column.null_count()
    values = column.drop_nulls()
    if column.dtype.is_numeric():
        numbers = values.cast(polars.Float64).to_numpy()
        numbers = numbers[np.isfinite(numbers)]
        axes.hist(numbers, bins=min(40, max(8, round(len(numbers) ** 0.5))), color=PALETTE[0])
    elif column.dtype.is_temporal() and len(values):
        axes.hist(values.to_numpy(), bins=min(12, values.n_unique()), color=PALETTE[2])
        concise_dates(axes)
    else:
        counts = values.cast(polars.String, strict=False).value_counts(sort=True, name="rows").head(8)
        words = [str(word)[:16] for word in counts[column.name].fill_null("")]
        axes.barh(range(len(words)), counts["rows"].to_list(), color=PALETTE[1])
        axes.set_yticks(range(len(words)), words)
        axes.invert_yaxis()
        axes.grid(False, axis="y")
    if missing:
        axes.text(1, 1.02, f"{missing:,} missing", transform=axes.transAxes, ha="right", fontsize=8, color=MUTED)
