"""Checks of parameters that several parts of the method share."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from harmonia.core.errors import InputError


def check_whole(name: str, value: Any, lowest: int) -> None:
    """A whole number, at least `lowest`; anything else raises `InputError`."""
    if not isinstance(value, Integral) or value < lowest:
        raise InputError(f"'{name}' is a whole number >= {lowest}", repr(value), "Change it.")


def check_rate(value: Any) -> None:
    """A learning rate: positive and finite; anything else raises `InputError`."""
    if not isinstance(value, Real) or not 0 < float(value) < math.inf:
        raise InputError("the learning rate is positive", repr(value), "Give e.g. 0.01.")
