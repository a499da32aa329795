"""A mixed table as points near a normal distribution, and back.

Numbers are standardised, so that clusters stay apart; those of heavy tails become normal quantiles instead. Words
become indicators, of which the largest wins on the way back. Rounded and repeated values are jittered to fill their
range. Gaps become an indicator of their own. Dates are numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars
import polars.selectors
from jaxtyping import Float64
from scipy.special import ndtr, ndtri

from harmonia.core.errors import InputError
from harmonia.core.progress import say

MOST_WORDS = 30
"""A column of words with more distinct values than this is left out."""

Kind = Any
"""A polars data type; beartype cannot read polars's own."""

HEAVY = 4.0
"""A column with a number further from the mean than this many standard deviations is encoded by quantiles."""

_MOST_DECIMALS = 6
_JITTER = 0.25


@dataclass(frozen=True)
class Numbers:
    """A column of numbers or dates.

    Attributes:
        name, kind: Of the column.
        sorted: Its known values, ascending.
        decimals: Decimal places to which all of them are round; None for more than six.
        gaps: Whether values are missing.
    """

    name: str
    kind: Kind
    sorted: Float64[np.ndarray, " known"]
    decimals: int | None
    gaps: bool

    @property
    def by_quantiles(self) -> bool:
        """Whether its tails are too heavy to standardise."""
        return bool(np.abs(self._standardised(self.sorted[[0, -1]])).max() > HEAVY)

    def _standardised(self, values: np.ndarray) -> np.ndarray:
        return (values - self.sorted.mean()) / self.sorted.std()

    @property
    def width(self) -> int:
        return 1 + self.gaps

    @classmethod
    def of(cls, column: polars.Series) -> Numbers:
        values = _numbers(column)
        known = np.sort(values[~np.isnan(values)])
        places = (k for k in range(_MOST_DECIMALS + 1) if np.allclose(known, known.round(k), rtol=1e-12, atol=1e-12))
        return cls(column.name, column.dtype, known, next(places, None), len(known) < len(values))

    def encode(self, column: polars.Series, generator: np.random.Generator) -> Float64[np.ndarray, "rows width"]:
        values = _numbers(column)
        missing = np.isnan(values)
        values[missing] = generator.choice(self.sorted, missing.sum())  # carries no information
        points = self._quantiles(values, generator) if self.by_quantiles else self._jittered(values, generator)
        return np.stack([points, _indicator(missing, generator)], 1) if self.gaps else points[:, None]

    def _jittered(self, values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        step = 0.0 if self.decimals is None else 10.0**-self.decimals
        return self._standardised(values + step * generator.uniform(-0.5, 0.5, len(values)))

    def _quantiles(self, values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        n = len(self.sorted)
        low = np.searchsorted(self.sorted, values, side="left")
        high = np.searchsorted(self.sorted, values, side="right")
        # Each of equal values gets its own part of their common range; new values lie between their neighbours.
        share = low + _shuffled_ranks(values, generator) * (high - low)
        share = np.where(high > low, share, low) / n
        return ndtri(share.clip(0.5 / n, 1 - 0.5 / n))

    def decode(self, points: Float64[np.ndarray, "rows width"]) -> polars.Series:
        n = len(self.sorted)
        if self.by_quantiles:
            values = np.interp(ndtr(points[:, 0]), (np.arange(n) + 0.5) / n, self.sorted)
        else:
            values = points[:, 0] * self.sorted.std() + self.sorted.mean()
            values = values.clip(self.sorted[0], self.sorted[-1])
        if self.decimals is not None:
            values = values.round(self.decimals)
        column = polars.Series(self.name, values)
        if self.gaps:
            column = column.set(polars.Series(points[:, 1] > 0), None)
        if self.kind.is_temporal():
            return column.cast(polars.Int64).cast(_physical(self.kind)).cast(self.kind)
        return column.cast(self.kind) if self.kind.is_numeric() else column


@dataclass(frozen=True)
class Words:
    """A column of words, truth values or other few values, by indicators.

    Attributes:
        name, kind: Of the column.
        values: Its distinct values, gaps among them as None.
        shares: How often each occurs.
    """

    name: str
    kind: Kind
    values: tuple[object, ...]
    shares: tuple[float, ...]

    @property
    def _scale(self) -> Float64[np.ndarray, " width"]:
        """Standard deviations of the indicators, so that rare words are as far from the others as they are rare."""
        shares = np.array(self.shares)[-self.width :]
        # Together the indicators weigh as much as one column of numbers.
        return 2 * np.sqrt(shares * (1 - shares) * max(1.0, self.width / 2))

    @property
    def width(self) -> int:
        return len(self.values) if len(self.values) > 2 else 1

    @classmethod
    def of(cls, column: polars.Series) -> Words:
        counts = dict(column.value_counts(name="rows").iter_rows())
        values = tuple(sorted(counts, key=lambda value: (value is None, str(value))))
        return cls(column.name, column.dtype, values, tuple(counts[value] / len(column) for value in values))

    def encode(self, column: polars.Series, generator: np.random.Generator) -> Float64[np.ndarray, "rows width"]:
        place = {value: i for i, value in enumerate(self.values)}
        try:
            which = np.array([place[value] for value in column.to_list()])
        except KeyError as error:
            mend = "Pass the values that were there when it was fitted."
            raise InputError(f"column '{self.name}' has a new value", error, mend) from None
        # Of two words the second tells all.
        return _indicator(which[:, None] == np.arange(len(self.values))[-self.width :], generator) / self._scale

    def decode(self, points: Float64[np.ndarray, "rows width"]) -> polars.Series:
        indicators = points * self._scale
        which = (indicators[:, 0] > 0).astype(int) if self.width == 1 else indicators.argmax(1)
        return polars.Series(self.name, [self.values[i] for i in which], dtype=self.kind)


@dataclass(frozen=True)
class Constant:
    """A column with one value."""

    name: str
    kind: Kind
    value: object

    @property
    def width(self) -> int:
        return 0

    def encode(self, column: polars.Series, generator: np.random.Generator) -> Float64[np.ndarray, "rows width"]:
        return np.zeros((len(column), 0))

    def decode(self, points: Float64[np.ndarray, "rows width"]) -> polars.Series:
        return polars.Series(self.name, [self.value] * len(points), dtype=self.kind)


@dataclass(frozen=True)
class TableCodec:
    """A table as points and back.

    Attributes:
        columns: How each column is encoded, in the order of the table.

    Example:
        >>> frame = polars.DataFrame({"age": [31, 45, 28, None], "smokes": ["no", "yes", "no", "no"]})
        >>> codec = TableCodec.of(frame)
        >>> points = codec.encode(frame, np.random.default_rng(0))
        >>> points.shape, codec.decode(points).equals(frame)
        ((4, 3), True)
    """

    columns: tuple[Numbers | Words | Constant, ...]

    @classmethod
    def of(cls, frame: polars.DataFrame) -> TableCodec:
        """Learn from a table; columns of many different words are left out, and said.

        Raises:
            InputError: a number that is infinite, or nothing to learn from.
        """
        columns: list[Numbers | Words | Constant] = []
        left_out = []
        for column in _with_gaps(frame):
            if column.n_unique() == 1:
                columns.append(Constant(column.name, column.dtype, column[0]))
            elif column.dtype.is_numeric() or column.dtype.is_temporal():
                columns.append((Words if column.drop_nulls().n_unique() <= 2 else Numbers).of(column))
            elif column.dtype.is_nested() or column.n_unique() > min(MOST_WORDS, max(2, len(column) // 2)):
                left_out.append(column.name)
            else:
                columns.append(Words.of(column))
        if left_out:
            say(f"Left out, for they hold names or texts rather than a few repeated words: {', '.join(left_out)}.")
        if not any(column.width for column in columns):
            got = ", ".join(frame.columns)
            raise InputError("the table has no column to learn from", got, "Pass columns that vary and repeat.")
        return cls(tuple(columns))

    @property
    def width(self) -> int:
        """Coordinates of a point."""
        return sum(column.width for column in self.columns)

    def encode(self, frame: polars.DataFrame, generator: np.random.Generator) -> Float64[np.ndarray, "rows width"]:
        """Rows as points.

        Raises:
            InputError: a column or value that was not there before.
        """
        for column in self.columns:
            if column.name not in frame.columns:
                raise InputError(f"the table has no column '{column.name}'", frame.columns, "Pass the same columns.")
        frame = _with_gaps(frame)
        return np.concatenate([column.encode(frame[column.name], generator) for column in self.columns], 1)

    def decode(self, points: Float64[np.ndarray, "rows width"]) -> polars.DataFrame:
        """Points as rows."""
        ends = np.cumsum([0, *(column.width for column in self.columns)])
        return polars.DataFrame(
            [column.decode(points[:, i:j]) for column, i, j in zip(self.columns, ends[:-1], ends[1:])]
        )


def _with_gaps(frame: polars.DataFrame) -> polars.DataFrame:
    """NaN is a gap like any other."""
    return frame.with_columns(polars.selectors.float().fill_nan(None))


def _numbers(column: polars.Series) -> np.ndarray:
    """Values as float64; NaN where there is none."""
    values = column.to_physical().cast(polars.Float64).fill_null(math.nan).to_numpy().astype(np.float64)
    if np.isinf(values).any():
        row = int(np.flatnonzero(np.isinf(values))[0]) + 1
        raise InputError(f"column '{column.name}' is infinite", f"row {row}", "Drop or mend such rows.")
    return values


def _physical(kind: Kind) -> Kind:
    return polars.Series([], dtype=kind).to_physical().dtype


def _shuffled_ranks(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Of each value among its equals, in random order: (rank + 1/2) / count."""
    order = np.lexsort((generator.random(len(values)), values))
    _, inverse, count = np.unique(values, return_inverse=True, return_counts=True)
    position = np.empty(len(values))
    position[order] = np.arange(len(values))
    start = np.cumsum(count) - count
    return (position - start[inverse] + 0.5) / count[inverse]


def _indicator(truth: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Plus and minus one, with jitter."""
    return np.where(truth, 1.0, -1.0) + generator.uniform(-_JITTER, _JITTER, truth.shape)
