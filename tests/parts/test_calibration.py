"""Calibration: what is true of uniform transforms and of probabilities that are frequencies."""

from __future__ import annotations

import numpy as np
import pytest

from harmonia.core.errors import InputError
from harmonia.parts.calibration import central_coverage, reliability


def test_uniform_transforms_cover_as_stated():
    pit = (np.arange(2000) + 0.5) / 2000
    levels = np.array([0.1, 0.5, 0.9])
    np.testing.assert_allclose(central_coverage(pit, levels), levels, atol=1e-3)
    assert (central_coverage(0.25 + pit / 2, levels)[1:] > levels[1:] + 0.09).all()


def test_true_probabilities_are_reliable():
    generator = np.random.default_rng(0)
    first = generator.uniform(size=40_000)
    labels = (generator.uniform(size=len(first)) > first).astype(np.int64)
    found = reliability(np.stack([first, 1 - first], 1), labels)
    assert found.error < 0.015
    assert found.size.sum() == len(first)
    certain = np.eye(2)[(first < 0.5).astype(int)]
    assert reliability(certain, labels).error == pytest.approx(0.25, abs=0.01)


def test_what_does_not_fit():
    with pytest.raises(InputError, match="transforms"):
        central_coverage(np.array([1.2]), np.array([0.5]))
    with pytest.raises(InputError, match="label"):
        reliability(np.ones((2, 1)), np.zeros(3, dtype=np.int64))
