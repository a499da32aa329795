"""Parameters that are numbers, checked."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from harmonia.core.errors import InputError


def is_number(value: Any) -> bool:
    """Whether a value is a real number, of Python or NumPy; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def check_whole(name: str, value: Any, low: int, high: int) -> int:
    """A parameter that is a whole number within bounds; others raise `InputError`."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or not low <= value <= high:
        raise InputError(f"'{name}' is a whole number from {low} to {high}", repr(value), "Change it.")
    return int(value)
