"""Music in a mood: what is set is heard, and the same arguments give the same bits."""

from __future__ import annotations

import numpy as np
import pytest

from harmonia.core.errors import InputError
from harmonia.data.render import Mood, render_mood
from harmonia.data.render.mood import _RANGES
from harmonia.parts.harmony import find_key, histogram_of_chords, parse_chord

pytestmark = pytest.mark.debian


def rms(mood: Mood) -> float:
    return float(np.sqrt(np.mean(render_mood(mood, 1, seconds=4.0).mixture.samples ** 2)))


def test_the_same_arguments_give_the_same_bits() -> None:
    first, again, other = (render_mood(Mood(), seed, seconds=3.0).mixture.samples for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == (2, 3 * 22050)


def test_loudness_is_heard_in_decibels() -> None:
    assert 20 * np.log10(rms(Mood(loudness=-6.0)) / rms(Mood(loudness=-26.0))) == pytest.approx(20, abs=0.3)


def test_tempo_sets_the_beats_and_register_the_melody() -> None:
    song = render_mood(Mood(tempo=150.0, register=78.0), 0, seconds=6.0)
    assert song.beats[1][0] == pytest.approx(0.4)
    low = render_mood(Mood(register=54.0), 0, seconds=6.0)
    assert np.mean([n[2] for n in song.notes]) - np.mean([n[2] for n in low.notes]) > 15


@pytest.mark.parametrize("major", [True, False], ids=["major", "minor"])
def test_the_mode_is_that_of_the_chords(major: bool) -> None:
    heard = []
    for seed in range(12):
        song = render_mood(Mood(major=major), seed, seconds=10.0)
        key = find_key(histogram_of_chords(parse_chord(label, on, off) for on, off, label in song.chords))
        assert key is not None
        heard.append(key.mode == "major")
    assert np.mean(heard) > 0.6 if major else np.mean(heard) < 0.4


def test_without_noise_the_map_is_monotone_and_in_range() -> None:
    rng = np.random.default_rng(0)
    calm, wild = (Mood.expressing(5.0, arousal, rng, noise=0.0) for arousal in (2.0, 8.0))
    assert calm.tempo < wild.tempo
    assert calm.loudness < wild.loudness
    assert calm.articulation > wild.articulation
    sad, glad = (Mood.expressing(valence, 5.0, rng, noise=0.0) for valence in (2.0, 8.0))
    assert (sad.major, glad.major) == (False, True)
    assert sad.dissonance > glad.dissonance
    for _ in range(100):
        Mood.expressing(*rng.uniform(1, 9, 2), rng, noise=3.0)


@pytest.mark.parametrize("name", [name for name, _, _ in _RANGES])
def test_values_out_of_range_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=name):
        Mood(**{name: 1000.0})


def test_lengths_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="length"):
        render_mood(Mood(), 0, seconds=0.5)
