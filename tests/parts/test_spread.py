"""The spread of columns: constants whose mean rounds, any unit, numbers whose squares overflow."""

from __future__ import annotations

import numpy as np
import pytest

from harmonia.core.errors import InputError
from harmonia.parts.spread import spread_of


@pytest.mark.parametrize("level", [0.0, 0.1, 0.3, -1e9, 1e-30])
@pytest.mark.parametrize("rows", [3, 60, 1000])
def test_a_constant_has_the_spread_one(level, rows):
    assert spread_of(np.full((rows, 1), level)).tolist() == [1.0]


@pytest.mark.parametrize("unit", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("level", [0.0, 1e6])
def test_units_do_not_matter(unit, level):
    values = level + np.random.default_rng(0).standard_normal((50, 2))
    np.testing.assert_allclose(spread_of(unit * values) / unit, values.std(0), rtol=1e-6)


@pytest.mark.parametrize("size", [1e300, 1e-200])
def test_what_cannot_be_squared_is_refused(size):
    with pytest.raises(InputError, match="squared"):
        spread_of(np.array([[-size], [size]]))
