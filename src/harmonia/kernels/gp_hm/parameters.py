"""Numbers and functions that a user gives, checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError

Number = float | np.number
"""A real number, of Python or NumPy."""

Whole = int | np.integer
"""A whole number, of Python or NumPy."""


def numbers(what: str, given: Any, mend: str) -> Float[Tensor, "..."]:
    """A number or an array of them as a float64 tensor.

    Raises:
        InputError: anything else.
    """
    try:
        if isinstance(given, Tensor):
            return given.detach().double()
        return torch.as_tensor(np.asarray(given, dtype=np.float64))
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{what} cannot be read", repr(given)[:60], mend) from None


def check_takes(what: str, function: Callable[..., Any], count: int, mend: str) -> None:
    """Raise `InputError` unless a function can be called with so many arguments."""
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError as error:
        raise InputError(what, error, mend) from None
    except ValueError:
        return  # a built-in function shows no signature


def called(what: str, function: Callable[..., Any], points: Sequence[Float[Tensor, "..."]]) -> Float[Tensor, "..."]:
    """The values of a function of the coordinates at points.

    Raises:
        InputError: a function of another number of coordinates, or one that gives no numbers.
    """
    count = len(points)
    mend = f"Write a function of {count} coordinate{'s' * (count > 1)} that gives one number a point."
    check_takes(f"{what} does not fit the grid", function, count, mend)
    return numbers(what, function(*points), mend)
