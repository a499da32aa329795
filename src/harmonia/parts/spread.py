"""The spread of columns, as a divisor: one rule for what counts as constant."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Float64
from numpy import ndarray

from harmonia.core.errors import InputError

ROUNDING = 1e-13
"""Differences below this share of the largest value are what rounding leaves of a constant."""


def varies(values: Float[ndarray, "rows *columns"]) -> Bool[ndarray, "*columns"]:
    """Whether columns hold different values; the standard deviation of equal ones is not always exactly zero.

    Example:
        >>> bool(np.full(30, 0.1).std() > 0), bool(varies(np.full(30, 0.1)))
        (True, False)
    """
    difference = np.abs(values - values[:1]).max(0, initial=0.0)
    return np.asarray(difference > ROUNDING * np.abs(values).max(0, initial=0.0))


def spread_of(values: Float[ndarray, "rows *columns"]) -> Float64[ndarray, "*columns"]:
    """The standard deviation of every column; 1 for a constant one, whose mean may round. Units do not matter.

    Raises:
        InputError: numbers so large, or differences so small, that their squares are no numbers of float64.

    Example:
        >>> spread_of(np.stack([np.full(100, 0.1), np.tile([-2.0, 2.0], 50)], 1)).tolist()
        [1.0, 2.0]
    """
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.where(varies(values), values.std(0), 1.0)
    if not (np.isfinite(found) & (found > 0)).all():
        got = f"values up to {np.abs(values).max():.3g}"
        raise InputError("the values cannot be squared in float64", got, "Choose a unit nearer to their size.")
    return found
