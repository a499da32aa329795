"""What users pass as numbers: lists, arrays and data frames, checked and made arrays of one kind."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float64, Int
from numpy import ndarray

from harmonia.core.checks import as_numbers
from harmonia.core.errors import InputError


def finite(values: Any, shape: tuple[int, ...], of: str) -> Float64[ndarray, "..."]:
    """Finite numbers of a given shape.

    Raises:
        InputError: another shape, or values that are no finite numbers.
    """
    found = as_numbers(values, of)
    if found.shape != shape or not np.isfinite(found).all():
        got = f"shape {found.shape}" if found.shape != shape else "NaN or infinity"
        raise InputError(f"{of} do not fit", got, f"Pass {shape[0]} finite numbers.")
    return found


def finite_table(features: Any, of: str) -> Float64[ndarray, "n p"]:
    """Finite numbers in rows and columns.

    Raises:
        InputError: no table, or values that are no finite numbers.
    """
    x = as_numbers(features, f"{of} features")
    if x.ndim != 2 or not x.size:
        raise InputError(f"{of} features are a table", x.shape, "Pass one row for each.")
    if not np.isfinite(x).all():
        raise InputError(f"{of} features must be finite", "NaN or infinity", "Fill or drop such values.")
    return x


def positive_weights(weights: Any | None, n: int) -> Float64[ndarray, " n"]:
    """Weights scaled to mean 1; all 1 unless given.

    Raises:
        InputError: other than n positive finite numbers.
    """
    if weights is None:
        return np.ones(n)
    found = checked_weights(weights, n)
    return found / found.mean()


def checked_weights(weights: Any, n: int) -> Float64[ndarray, " n"]:
    """Positive finite weights.

    Raises:
        InputError: other than n of them.
    """
    found = as_numbers(weights, "base weights")
    if found.shape != (n,) or not (np.isfinite(found).all() and (found > 0).all()):
        got = f"shape {found.shape}" if found.shape != (n,) else f"{found.min()} to {found.max()}"
        raise InputError("base weights must be positive and finite, one a row", got, f"Pass {n} positive numbers.")
    return found


def indices(values: Any, count: int, of: str) -> Int[ndarray, " n"]:
    """Rows of a table, counted from 0.

    Arguments:
        values: Whole numbers, also as floats.
        count: How many rows there are.
        of: What a row is: user or item.

    Raises:
        InputError: fractions, or rows that are not there.
    """
    found = np.asarray(values)
    if found.dtype.kind not in "iu":
        found = as_numbers(values, f"indices of {of}s")
        if not (np.isfinite(found).all() and (found == np.round(found)).all()):
            raise InputError(f"indices of {of}s are whole numbers", "others", f"Number the {of}s from 0.")
    if found.size and (found.min() < 0 or found.max() >= count):
        got = f"index {found.min() if found.min() < 0 else found.max()} of {count}"
        raise InputError(f"a {of} has no features", got, f"Number the {of}s from 0 and give a row for each.")
    return found.astype(np.int64)
