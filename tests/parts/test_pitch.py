"""The pitch tracker: tones of known pitch, silence, noise, level; d' against its definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harmonia.core.errors import InputError
from harmonia.data import demo_truth
from harmonia.parts.pitch import PitchTracker, _likeliest, _threshold, normalised_difference

RATE = 16000


def tone(f0: np.ndarray | float, seconds: float = 1.0, harmonics: int = 5) -> np.ndarray:
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(f0, round(seconds * RATE))) / RATE
    return sum(np.sin(k * phase) / k for k in range(1, harmonics + 1))


@settings(max_examples=20, deadline=None)
@given(f0=st.floats(70, 1000), level=st.sampled_from([1e-4, 1.0, 100.0]))
def test_a_steady_tone_has_its_pitch_whatever_its_level(f0: float, level: float) -> None:
    pitch = PitchTracker()(level * tone(f0), RATE)
    inner = slice(5, -5)
    assert pitch.voiced[inner].all()
    cents = 1200 * np.log2(pitch.f0[inner] / f0)
    assert np.abs(cents).max() < 8
    assert (pitch.probability[inner] > 0.9).all()


def test_a_glide_with_vibrato_is_followed() -> None:
    time = np.arange(2 * RATE) / RATE
    f0 = 200 * 2 ** (time / 2 + 0.03 * np.sin(2 * np.pi * 5.5 * time))
    pitch = PitchTracker()(tone(f0, 2.0), RATE)
    true = np.interp(pitch.times, time, f0)
    assert np.abs(1200 * np.log2(pitch.f0[5:-5] / true[5:-5])).max() < 30


def test_silence_and_noise_have_no_pitch() -> None:
    noise = np.random.default_rng(0).standard_normal(2 * RATE)
    assert not PitchTracker()(np.zeros(RATE), RATE).voiced.any()
    found = PitchTracker()(noise, RATE)
    assert found.voiced.mean() < 0.02
    assert np.median(found.probability) < 0.05


def test_voicing_begins_and_ends_with_the_tone() -> None:
    sound = np.concatenate([np.zeros(RATE), tone(150.0), np.zeros(RATE)])
    pitch = PitchTracker()(sound + 1e-4 * np.random.default_rng(0).standard_normal(len(sound)), RATE)
    voiced = pitch.times[pitch.voiced]
    assert abs(voiced.min() - 1) < 0.05
    assert abs(voiced.max() - 2) < 0.05
    assert np.isnan(pitch.midi[0])
    assert pitch.midi[150] == pytest.approx(69 + 12 * np.log2(150 / 440), abs=0.05)


def test_the_difference_function_is_its_definition() -> None:
    random = np.random.default_rng(0)
    frames, size = random.standard_normal((3, 60)), 40
    expected = np.ones((3, 21))
    for frame, row in zip(frames, expected):
        d = [np.sum((frame[:size] - frame[lag : lag + size]) ** 2) for lag in range(21)]
        row[1:] = [d[lag] / np.mean(d[1 : lag + 1]) for lag in range(1, 21)]
    assert np.allclose(normalised_difference(frames, size), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("b", [8.0, 18.0])
def test_the_threshold_distribution_is_beta(b: float) -> None:
    s = np.linspace(0, 1, 21)
    assert np.allclose(_threshold(s, b), stats.beta(2, b).cdf(s), atol=1e-12)


def test_dips_have_the_probabilities_of_drawn_thresholds() -> None:
    """Drawing many thresholds and taking the first dip below each gives what the closed form says."""
    difference = np.array([[1, 1.2, 0.3, 0.9, 0.15, 0.8, 0.4, 1.0, 0.05, 0.9, 1.1]])
    lags, probabilities = _likeliest(difference, 2, 5, 8.0)
    left, here, right = difference[0, :-2], difference[0, 1:-1], difference[0, 2:]
    dips = np.flatnonzero((here < left) & (here <= right)) + 1
    refined = [
        max(0.0, here[d - 1] - (left[d - 1] - right[d - 1]) ** 2 / (8 * (left[d - 1] + right[d - 1] - 2 * here[d - 1])))
        for d in dips
    ]
    drawn = np.random.default_rng(0).beta(2, 8, 50_000)
    firsts = [
        next((i for i, depth in enumerate(refined) if depth < s), int(np.argmin(refined))) for s in drawn[:50_000]
    ]
    below = drawn > min(refined)
    weights = np.where(below, 1.0, 0.01)
    share = np.bincount(firsts, weights, len(dips)) / len(firsts)
    found = {round(lag): p for lag, p in zip(lags[0], probabilities[0]) if lag > 0}
    for dip, expected in zip(dips, share):
        assert found.get(int(dip), 0.0) == pytest.approx(expected, abs=0.01)


def test_the_embedded_singer_is_followed() -> None:
    truth = demo_truth()
    voice = truth.stems["vocals"].mono().resampled(RATE).samples[0].astype(np.float64)
    pitch = PitchTracker()(voice, RATE)
    true = truth.f0[np.round(pitch.times / 0.005).astype(int).clip(0, len(truth.f0) - 1)]
    both = (true > 0) & pitch.voiced
    cents = np.abs(1200 * np.log2(pitch.f0[both] / true[both]))
    assert both.sum() / (true > 0).sum() > 0.95
    assert (cents < 50).mean() > 0.8
    assert (cents > 600).mean() < 0.02


@pytest.mark.parametrize(
    ("samples", "rate", "match"),
    [
        (np.zeros((2, 16000)), RATE, "mono"),
        (np.full(16000, np.nan), RATE, "finite"),
        (np.zeros(100), RATE, "shorter"),
        (np.zeros(0), RATE, "shorter"),
        (np.zeros(4000), 4000, "too low"),
    ],
    ids=["stereo", "nan", "short", "empty", "rate"],
)
def test_bad_sound_is_refused(samples: np.ndarray, rate: int, match: str) -> None:
    with pytest.raises(InputError, match=match):
        PitchTracker()(samples, rate)


@pytest.mark.parametrize(
    "change", [{"low_hz": 0.0}, {"low_hz": 2000.0}, {"hop_s": 0.0}, {"switch": 1.0}, {"threshold": 0.0}], ids=str
)
def test_bad_settings_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(InputError):
        PitchTracker(**change)
