"""Detection: counts by hand, invariance under monotone maps, classes that do not occur."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia.core.errors import InputError
from harmonia.parts.detection import detection, equal_error_rate


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=2, max_size=60))
def test_rates_are_counts_and_auc_is_a_probability_of_pairs(pairs):
    labels, scores = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs]) / 20
    ones, zeros = scores[labels], scores[~labels]
    found = detection(labels, scores)
    if len(ones):
        assert found.sensitivity == pytest.approx((ones > 0.5).mean())
    if len(zeros):
        assert found.specificity == pytest.approx((zeros <= 0.5).mean())
    if len(ones) and len(zeros):
        wins = (ones[:, None] > zeros).mean() + 0.5 * (ones[:, None] == zeros).mean()
        assert found.auc == pytest.approx(wins)
        assert found.eer == pytest.approx(detection(labels, np.exp(3 * scores)).eer)
        assert found.eer == pytest.approx(equal_error_rate(~labels, -scores))
    else:
        assert math.isnan(found.auc)
        assert math.isnan(found.eer)


def test_the_equal_error_rate_of_two_gaussians():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20000)
    scores = rng.normal(size=40000) + 2 * labels
    assert equal_error_rate(labels, scores) == pytest.approx(0.5 * math.erfc(1 / math.sqrt(2)), abs=5e-3)


@pytest.mark.parametrize(
    ("labels", "scores"), [([0, 1], [0.5]), ([], []), ([0, 2], [0.1, 0.2]), ([0, 1], [0.1, float("nan")])]
)
def test_bad_input_is_refused(labels, scores):
    with pytest.raises(InputError):
        detection(labels, scores)
