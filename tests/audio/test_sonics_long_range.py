"""The long-range pieces: short windows are alike in both kinds, sections are not; a small run goes through."""

from __future__ import annotations

import numpy as np
import pytest

from harmonia.audio.sonics.long_range import BANDS, FRAMES, SECTION, piece


def centroid(picture: np.ndarray) -> float:
    """Mean band of the sounding part, which moves with the tuning."""
    power = 10.0 ** (picture.astype(np.float64) / 2)
    return float((power.sum(1) * np.arange(BANDS)).sum() / power.sum())


def steps(fake: bool, count: int = 150) -> np.ndarray:
    """Changes of the centroid from section to section."""
    random = np.random.default_rng(0)
    rows = []
    for _ in range(count):
        picture = piece(random, fake)
        rows.append(np.diff([centroid(picture[:, start : start + SECTION]) for start in range(0, FRAMES, SECTION)]))
    return np.array(rows)


def test_pieces_are_standardised_and_differ():
    one, other = (piece(np.random.default_rng(seed), fake=False) for seed in (0, 1))
    assert one.shape == (BANDS, FRAMES)
    assert one.mean() == pytest.approx(0, abs=1e-5)
    assert one.std() == pytest.approx(1, abs=1e-3)
    assert np.abs(one - other).max() > 1


def test_single_changes_tell_nothing_and_pairs_tell_all():
    real, fake = steps(False), steps(True)
    for kind in (real, fake):
        assert np.mean(kind > 0) == pytest.approx(0.5, abs=0.07)  # up or down with equal odds
    assert np.abs(real).mean() == pytest.approx(np.abs(fake).mean(), rel=0.15)  # by as much
    agreeing = [np.mean(np.sign(kind[:, 0]) == np.sign(kind[:, 1])) for kind in (real, fake)]
    assert agreeing[0] < 0.15
    assert agreeing[1] > 0.85
