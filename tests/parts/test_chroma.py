"""Chromagrams of tones, and the chords of sounds."""

from __future__ import annotations

import numpy as np
import pytest

from harmonia.parts.chroma import RATE, chromagram, hear_chords
from harmonia.parts.harmony import parse_chord


def tones(label: str, seconds: float = 2.0) -> np.ndarray:
    """Tones with overtones on a chord's pitch classes, its root in the bass."""
    time = np.arange(round(seconds * RATE)) / RATE
    chord = parse_chord(label)
    pitches = [36 + chord.root, *(60 + tone for tone in chord.pitch_classes)]
    return sum(np.sin(2 * np.pi * 440 * 2 ** ((p - 69) / 12) * k * time) / k for p in pitches for k in range(1, 5)) / 16


@pytest.mark.parametrize("pitch", [45, 57, 62, 70])
def test_a_tone_is_strongest_at_its_pitch_class(pitch: int) -> None:
    tone = np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * np.arange(RATE) / RATE)
    found = chromagram(tone)
    assert found.chroma.mean(0).argmax() == pitch % 12
    assert found.chroma.shape == found.bass.shape == (1 + RATE // 2048, 12)
    assert (found.bass.mean(0).argmax() == pitch % 12) == (pitch < 48) or pitch >= 48


def test_the_level_of_the_sound_does_not_matter() -> None:
    sound = tones("C:maj")
    assert np.abs(chromagram(sound).chroma - chromagram(sound / 128).chroma).max() < 1e-4


def test_a_progression_is_heard_through_noise() -> None:
    labels = ["C:maj", "A:min", "F:maj", "G:7"]
    sound = np.concatenate([tones(label) for label in labels])
    heard = hear_chords(sound + 0.02 * np.random.default_rng(0).normal(size=len(sound)))
    middle = [next(c.label for c in heard if c.onset <= 2 * i + 1 < c.offset) for i in range(4)]
    assert middle == labels
    assert heard[0].onset == 0.0
    assert heard[-1].offset == 8.0


@pytest.mark.parametrize("samples", [1, 100, RATE])
def test_silence_is_no_chord_whatever_its_length(samples: int) -> None:
    assert [c.label for c in hear_chords(np.zeros(samples))] == ["N"]
