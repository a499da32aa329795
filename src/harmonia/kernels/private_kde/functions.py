"""Functions that a user gives, checked where they are used."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64

from harmonia.core.errors import InputError


def evaluate(f: Callable[[np.ndarray], np.ndarray], z: Float64[np.ndarray, "*shape"]) -> Float64[np.ndarray, "*shape"]:
    """Values of a function of distances.

    Raises:
        InputError: it fails on an array, or its values are not as many finite numbers as there are distances.

    Example:
        >>> evaluate(np.exp, np.zeros(2))
        array([1., 1.])
    """
    try:
        with np.errstate(all="ignore"):
            values = np.asarray(f(z), dtype=np.float64)
    except Exception as error:
        got = f"{type(error).__name__}: {error}"
        raise InputError("the function fails on an array", got, "Give one of arrays: np.exp, not math.exp.") from error
    if values.shape != z.shape or not np.isfinite(values).all():
        got = f"shape {values.shape} for {z.shape}" if values.shape != z.shape else "nan or inf"
        raise InputError("the function must give a finite number for every distance", got, "Give e.g. 1 / (1 + z).")
    return values
