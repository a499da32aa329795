"""Checks of parameters: what they take, as what, and what they say of the rest."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any, Literal

import numpy as np
import pytest

from harmonia.core.checks import check_choice, check_number, check_whole, is_number
from harmonia.core.errors import InputError

Size = Literal["small", "large"]


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3)])
def test_whole_numbers_of_any_kind_become_plain(value):
    assert type(check_whole("steps", value, 3, 3)) is int


@pytest.mark.parametrize(
    ("value", "most", "wanted"),
    [(0, None, ">= 1"), (2.0, None, ">= 1"), (True, None, ">= 1"), ("3", 5, "from 1 to 5"), (6, 5, "from 1 to 5")],
)
def test_what_is_no_whole_number_in_range(value, most, wanted):
    with pytest.raises(InputError, match=f"'steps' is a whole number {wanted} "):
        check_whole("steps", value, 1, most)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.float64(0.5)])
def test_numbers_of_any_kind_become_plain(value):
    assert type(check_number("rate", value, above=0, below=1)) is float


@pytest.mark.parametrize(
    ("value", "bounds", "wanted"),
    [
        (0, {"above": 0}, " > 0"),
        (math.nan, {"above": 0}, " > 0"),
        (math.inf, {"above": 0}, " > 0"),
        (-1, {"least": 0}, " >= 0"),
        (1, {"above": 0, "below": 1}, " > 0 and < 1"),
        (None, {}, ""),
        (False, {"least": 0}, " >= 0"),
        (Decimal(1), {"least": 0}, " >= 0"),
    ],
)
def test_what_is_no_number_in_range(value, bounds, wanted):
    with pytest.raises(InputError) as caught:
        check_number("rate", value, **bounds)
    assert caught.value.what == f"'rate' is a number{wanted}"


def test_choices():
    check_choice("size", "small", Size)
    unknown: Any = "huge"
    with pytest.raises(InputError, match=r"'size' is unknown .*small, large"):
        check_choice("size", unknown, Size)


def test_truth_values_are_no_numbers():
    assert is_number(np.float16(1))
    assert not is_number(True)
