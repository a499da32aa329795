"""Tables as inputs: standardised, the same columns for other tables, targets of numbers and of classes."""

from __future__ import annotations

import numpy as np
import polars
import pytest

from harmonia.core.errors import InputError
from harmonia.media import Table
from harmonia.parts.features import Features, Target

TABLE = Table(
    polars.DataFrame(
        {
            "number": [1.0, 2.0, 4.0, 8.0],
            "word": ["red", "blue"] * 2,
            "name": ["a", "b", "c", "d"],
            "y": [1, 2, None, 4],
        }
    )
)


def test_features_apply_to_other_tables():
    features = Features.of(TABLE, without="y")
    inputs = features.inputs(TABLE)
    assert inputs.shape == (4, 3)  # the names are left out
    np.testing.assert_allclose(inputs.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(inputs.std(0), 1)
    other = Table(polars.DataFrame({"number": [0.0], "word": ["green"]}))
    assert features.inputs(other).shape == (1, 3)
    with pytest.raises(InputError, match="no column"):
        features.inputs(Table(polars.DataFrame({"number": [0.0]})))


def test_equal_values_are_not_scaled_by_their_rounding():
    table = Table(polars.DataFrame({"x": np.arange(30.0), "same": [0.1] * 30}))
    features = Features.of(table)
    np.testing.assert_allclose(features.inputs(table)[:, 1], 0, atol=1e-12)
    assert features.scale[1] == 1.0
    far = Table(polars.DataFrame({"late": 1.7e9 + np.arange(30.0)}))  # seconds since 1970 do differ
    np.testing.assert_allclose(Features.of(far).inputs(far).std(), 1)


def test_targets():
    assert Target.of(TABLE, "word", "auto").is_class
    number = Target.of(TABLE, "", "auto")
    assert (number.name, number.is_class, number.known.tolist()) == ("y", False, [True, True, False, True])
    with pytest.raises(InputError, match="no numbers"):
        Target.of(TABLE, "word", "regression")
