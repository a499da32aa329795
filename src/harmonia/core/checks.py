"""Checks of what a user chose, before anything is computed: `InputError` names the parameter."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, get_args

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from harmonia.core.errors import InputError


def is_number(value: Any) -> bool:
    """Whether a value is a real number, of Python or NumPy; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_whole(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """A parameter as a plain whole number.

    Raises:
        InputError: anything else, or a number out of range.

    Example:
        >>> import numpy as np
        >>> check_whole("patch", np.int64(8))
        8
    """
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_whole or not least <= int(value) <= (math.inf if most is None else most):
        wanted = f">= {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"'{name}' is a whole number {wanted}", repr(value), "Change it.")
    return int(value)


def check_number(
    name: str, value: Any, *, above: float = -math.inf, least: float = -math.inf, below: float = math.inf
) -> float:
    """A parameter as a plain number, which is finite.

    Raises:
        InputError: anything else, or a number that is not above one bound, at least another, and below a third.

    Example:
        >>> check_number("learning_rate", -1, above=0)
        Traceback (most recent call last):
        ...
        harmonia.core.errors.InputError: 'learning_rate' is a number > 0 (got -1). Change it.
    """
    if not (is_number(value) and above < value < below and value >= least):
        bounds = ((">", above), (">=", least), ("<", below))
        wanted = " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if math.isfinite(bound))
        raise InputError(f"'{name}' is a number {wanted}".rstrip(), repr(value), "Change it.")
    return float(value)


def as_numbers(values: Any, what: str) -> Float64[ndarray, "*shape"]:
    """Lists, arrays or data frames as an array of float64.

    Raises:
        InputError: words, or rows of different lengths.

    Example:
        >>> as_numbers([[1, 2], [3, 4]], "features").dtype
        dtype('float64')
    """
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} are numbers, as many in each row", error, "Pass an array of numbers.") from None


def check_choice(name: str, value: Any, kind: Any) -> None:
    """Check a parameter against a ``Literal``.

    Raises:
        InputError: none of its choices.
    """
    if value not in get_args(kind):
        raise InputError(f"'{name}' is unknown", repr(value), f"Use one of {', '.join(get_args(kind))}.")
