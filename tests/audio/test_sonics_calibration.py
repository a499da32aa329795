"""Calibration: a known logistic law is found again, and promises on false alarms are kept for any scores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia.audio.sonics import Calibration
from harmonia.core.errors import InputError


def test_platts_scaling_finds_the_law_that_made_the_labels():
    random = np.random.default_rng(0)
    logits = random.normal(size=20000) * 2
    labels = random.random(20000) < 1 / (1 + np.exp(-(1.7 * logits - 0.6)))
    found = Calibration.of_both(logits, labels)
    assert found.slope == pytest.approx(1.7, abs=0.06)
    assert found.intercept == pytest.approx(-0.6, abs=0.06)
    assert found.threshold == pytest.approx(0.6 / 1.7, abs=0.05)
    assert float(found.probability(np.array(found.threshold))) == pytest.approx(0.5)


def test_kinds_that_are_parted_stay_finite_and_at_platts_targets():
    found = Calibration.of_both([-1.0] * 8 + [1.0] * 8, [0] * 8 + [1] * 8)
    np.testing.assert_allclose(found.probability(np.array([-1.0, 1.0])), [1 / 10, 9 / 10], atol=1e-4)


@given(st.lists(st.floats(-5, 5), min_size=25, max_size=80, unique=True), st.floats(0.05, 0.5))
def test_no_more_real_songs_pass_than_was_allowed(logits, share):
    found = Calibration.of_real(logits, share)
    passing = sum(logit > found.threshold for logit in logits)
    assert passing <= share * (len(logits) + 1) - 1 + 1e-9
    assert passing + 2 > share * (len(logits) + 1) - 1  # and no fewer than needed


def test_new_real_songs_pass_as_seldom_as_was_promised():
    random = np.random.default_rng(1)
    passing = []
    for _ in range(400):
        found = Calibration.of_real(random.standard_cauchy(39), 0.1)
        passing.append((random.standard_cauchy(200) > found.threshold).mean())
    assert np.mean(passing) == pytest.approx(0.1, abs=0.01)


def test_rarity_counts_real_songs_that_score_as_high():
    found = Calibration(real=(-2.0, -1.0, 0.0, 0.0, 3.0))
    assert [found.rarity(logit) for logit in (-3.0, 0.0, 4.0)] == pytest.approx([1.0, 4 / 6, 1 / 6])
    assert np.isnan(Calibration().rarity(0.0))


def test_without_calibration_the_network_speaks_for_itself():
    np.testing.assert_allclose(Calibration().probability(np.array([0.0, np.log(3)])), [0.5, 0.75])


@pytest.mark.parametrize(
    ("logits", "labels"),
    [([1.0] * 4 + [0.0] * 5, [1] * 4 + [0] * 5), ([np.nan] * 5 + [0.0] * 5, [1] * 5 + [0] * 5)],
    ids=["few", "silent"],
)
def test_too_few_songs_are_refused(logits, labels):
    with pytest.raises(InputError, match="at least 5"):
        Calibration.of_both(logits, labels)


def test_scores_the_wrong_way_round_are_refused():
    with pytest.raises(InputError, match="do not score above"):
        Calibration.of_both(np.arange(20.0), [1] * 10 + [0] * 10)


@pytest.mark.parametrize("share", [0.0, 1.0, 0.01])
def test_promises_that_cannot_be_kept_are_refused(share):
    with pytest.raises(InputError, match="cannot be promised"):
        Calibration.of_real(np.arange(20.0), share)
