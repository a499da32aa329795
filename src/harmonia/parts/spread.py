"""The spread of columns, as a divisor: one rule for what counts as constant."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64
from numpy import ndarray

from harmonia.core.errors import InputError

ROUNDING = 1e-12
"""A spread below this share of the largest value is what rounding leaves of a constant."""


def spread_of(values: Float[ndarray, "rows columns"]) -> Float64[ndarray, " columns"]:
    """The standard deviation of every column; 1 for a constant one, whose mean may round. Units do not matter.

    Raises:
        InputError: values so large that their squares overflow.

    Example:
        >>> spread_of(np.stack([np.full(100, 0.1), np.tile([-2.0, 2.0], 50)], 1)).tolist()
        [1.0, 2.0]
    """
    largest = np.abs(values).max(0)
    with np.errstate(over="ignore", invalid="ignore"):
        found = values.std(0)
    if not np.isfinite(found).all():
        raise InputError("the values are too large to be measured", f"{largest.max():.1e}", "Choose a larger unit.")
    return np.where(found > ROUNDING * largest, found, 1.0)
