"""Checks of what a user chose, before anything is computed."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any, get_args

from harmonia.core.errors import InputError


def whole(name: str, value: Any, least: int = 1) -> int:
    """The option as a plain whole number.

    Raises:
        InputError: another thing, or a smaller number.

    Example:
        >>> import numpy as np
        >>> whole("patch", np.int64(8))
        8
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InputError(f"'{name}' is a whole number >= {least}", repr(value), "Change it.")
    return int(value)


def one_of(name: str, value: Any, kind: Any) -> None:
    """Check an option against a ``Literal``.

    Raises:
        InputError: none of its choices.
    """
    if value not in get_args(kind):
        raise InputError(f"'{name}' is unknown", repr(value), f"Use one of {', '.join(get_args(kind))}.")


def check_training(batch_size: Any, learning_rate: Any, weight_decay: Any) -> None:
    """Check what every training takes.

    Raises:
        InputError: a batch without sequences, a rate that is not positive, a negative decay.
    """
    whole("batch_size", batch_size)
    if not isinstance(learning_rate, Real) or not 0 < float(learning_rate) < math.inf:
        raise InputError("'learning_rate' is a number above 0", repr(learning_rate), "Give e.g. 0.004.")
    if not isinstance(weight_decay, Real) or not 0 <= float(weight_decay) < math.inf:
        raise InputError("'weight_decay' is a number >= 0", repr(weight_decay), "Give e.g. 0.01.")
