"""What users and items are called: any words or whole numbers, found again in tables, features and questions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float64, Int
from numpy import ndarray

from harmonia.core.checks import as_numbers
from harmonia.core.errors import InputError


def named_pairs(X: Any) -> tuple[ndarray, ndarray]:
    """The two columns of a table, each with a type of its own.

    Raises:
        InputError: other than two columns, or names that are missing, or neither words nor whole numbers.
    """
    if hasattr(X, "iloc"):
        X = X.to_numpy(dtype=object)
    table = np.asarray(X) if hasattr(X, "shape") else np.array([list(row) for row in X], dtype=object)
    if table.ndim != 2 or table.shape[1] != 2 or not len(table):
        raise InputError("ratings are pairs of user and item", f"shape {table.shape}", "Pass two columns.")
    return names_of(table[:, 0]), names_of(table[:, 1])


def names_of(values: Any) -> ndarray:
    """Names as whole numbers where they are, as words otherwise.

    Raises:
        InputError: names that are missing, or fractions.
    """
    column = np.asarray(values)
    if column.dtype == object:
        missing = [row for row, name in enumerate(column) if _is_missing(name)]
        if missing:
            mend = "Drop such rows, or name them."
            raise InputError("a user or item has no name", f"{column[missing[0]]} in row {missing[0]}", mend)
        column = np.array(column.tolist())
    if column.dtype.kind == "f":
        if not (np.isfinite(column).all() and (column == np.round(column)).all()):
            raise InputError("users and items are called by words or whole numbers", column[:3], "Mend their names.")
        return column.astype(np.int64)
    return column.astype(np.int64) if column.dtype.kind in "iub" else column.astype(str)


def _is_missing(name: Any) -> bool:
    """Whether it is None, NaN or pandas.NA: the last has no truth value, and only they differ from themselves."""
    return name is None or type(name).__name__ == "NAType" or bool(name != name)


def population(seen: ndarray, features: Any, of: str) -> tuple[ndarray, Float64[ndarray, "all p"] | None]:
    """Names of all users or items, in order, and their features.

    Arguments:
        seen: Names of those that rated, or were rated.
        features: A mapping from name to numbers, a data frame whose index holds the names, or a table whose row number
            is the name; None for those seen, without features.
        of: user or item.

    Raises:
        InputError: rows that are no numbers or of different lengths, or somebody seen without features.
    """
    if features is None:
        return np.unique(seen), None
    if isinstance(features, Mapping):
        keys, table = list(features.keys()), as_numbers(list(features.values()), f"{of} features")
    elif hasattr(features, "iloc"):
        keys, table = features.index.tolist(), as_numbers(features, f"{of} features")
    else:
        table = as_numbers(features, f"{of} features")
        keys = list(range(len(table))) if table.ndim else []
    if not keys:
        raise InputError(f"a {of} has no features", "an empty table", f"Give features of every {of}.")
    names = names_of(keys)
    order = np.argsort(names, kind="stable")
    if names.dtype.kind != seen.dtype.kind or not np.isin(seen, names).all():
        unknown = seen[~np.isin(seen, names)]
        got = unknown[0] if len(unknown) else f"names of another type than {names[0]!r}"
        raise InputError(f"a {of} has no features", got, f"Give features of every {of}.")
    if len(np.unique(names)) < len(names):
        raise InputError(f"a {of} has features twice", f"{len(names)} rows", f"Give one row for each {of}.")
    return names[order], table.reshape(len(names), -1)[order]


def rows_of(ids: ndarray, names: ndarray) -> Int[ndarray, " n"]:
    """Place of each name among sorted ids, -1 for unknown ones; 5 and "5" are the same name.

    Example:
        >>> rows_of(np.array([3, 5, 10]), np.array(["10", "3", "x"]))
        array([ 2,  0, -1])
    """
    if ids.dtype.kind != names.dtype.kind:
        words = ids.astype(str)
        order = np.argsort(words)
        place = rows_of(words[order], names.astype(str))
        return np.where(place < 0, -1, order[place])
    place = np.minimum(np.searchsorted(ids, names), len(ids) - 1)
    return np.where(ids[place] == names, place, -1)
