"""Separation and note metrics against their formulas and their limits."""

from __future__ import annotations

import numpy as np
import pytest

from harmonia.core.errors import InputError
from harmonia.parts.metrics import chunked_sdr, note_f1, sdr, si_sdr


def signals(channels: int = 2) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    reference = random.normal(size=(channels, 4000))
    return reference, reference + 0.1 * random.normal(size=reference.shape)


def test_si_sdr_is_its_formula_over_all_channels_and_ignores_gain() -> None:
    s, e = (x.ravel() for x in signals())
    a = (s @ e) / (s @ s)
    expected = 10 * np.log10(((a * s) ** 2).sum() / ((a * s - e) ** 2).sum())
    assert si_sdr(*signals()) == pytest.approx(expected, abs=1e-3)
    reference, estimate = signals()
    assert si_sdr(reference, 7 * estimate) == pytest.approx(si_sdr(reference, estimate), abs=1e-6)
    assert sdr(reference, 7 * estimate) < 0


def test_perfect_and_silent_estimates_stay_finite() -> None:
    reference, _ = signals()
    assert si_sdr(reference, reference) > 100
    assert np.isfinite(si_sdr(reference, 0 * reference))
    assert sdr(reference, 0 * reference) == pytest.approx(0.0, abs=1e-6)
    assert sdr(0 * reference, 0 * reference) == 0.0


def test_chunked_sdr_is_the_median_of_windows_that_sound() -> None:
    reference, _ = signals(1)
    estimate = reference.copy()
    estimate[:, :1000] *= 0.9
    estimate[:, 1000:3000] *= 0.99
    reference[:, 3000:] = estimate[:, 3000:] = 0
    assert chunked_sdr(reference, estimate, rate=1000) == pytest.approx(40.0, abs=0.01)
    with pytest.raises(InputError, match="silent"):
        chunked_sdr(0 * reference, estimate, rate=1000)


def test_bad_signals_are_refused() -> None:
    reference, estimate = signals()
    with pytest.raises(InputError, match="shape"):
        sdr(reference, estimate[:, 1:])
    with pytest.raises(InputError, match="finite"):
        si_sdr(reference, estimate * np.nan)
    with pytest.raises(InputError, match="silent"):
        si_sdr(0 * reference, estimate)


def test_note_f1_tolerances() -> None:
    truth = [(0.0, 1.0, 60.0), (1.0, 2.0, 62.0)]
    assert note_f1(truth, truth) == (1.0, 1.0, 1.0)
    assert note_f1(truth, [(0.06, 1.0, 60), (1.0, 2.0, 62)]).onset == 0.5
    assert note_f1(truth, [(0.0, 1.0, 61), (1.0, 2.0, 62)]) == (1.0, 0.5, 0.5)
    assert note_f1(truth, [(0.0, 0.7, 60), (1.0, 2.0, 62)]) == (1.0, 1.0, 0.5)
    assert note_f1(truth, []) == (0.0, 0.0, 0.0)
    assert note_f1([], []) == (1.0, 1.0, 1.0)
