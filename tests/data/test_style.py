"""Rendered styles are what they were set to be: pitch, level, tempo, timbre, noise, vibrato, and their voices."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from harmonia.core.errors import InputError
from harmonia.data.render.style import SingingStyle, render_style, singers

pytestmark = pytest.mark.debian

STYLE = SingingStyle(gender="male", tempo="normal")
VOICE = "festival:kal_diphone"


def rendered(**change):
    return render_style(dataclasses.replace(STYLE, **change), 5, voice=VOICE, snr_db=0.0, seconds=4.0)


def median_f0(song) -> float:
    return float(np.median(song.f0[song.f0 > 0]))


def test_the_same_arguments_give_the_same_bits() -> None:
    one, two = rendered(), rendered()
    assert np.array_equal(one.mixture.samples, two.mixture.samples)
    assert one.mixture.rate == 16000
    assert one.mixture.seconds == pytest.approx(4.0)
    assert VOICE in one.provenance


def test_register_loudness_and_tempo_rise_with_their_class() -> None:
    f0 = [median_f0(rendered(pitch=level)) for level in ("low", "normal", "high")]
    assert np.diff(12 * np.log2(f0)) == pytest.approx([7, 7], abs=4)
    levels = []
    for level in ("low", "normal", "high"):
        voice = rendered(volume=level).stems["vocals"].samples
        levels.append(10 * np.log10(np.mean(voice**2)))
    assert np.diff(levels) == pytest.approx([8, 8], abs=3.5)
    beats = [np.diff([time for time, _ in rendered(tempo=pace).beats]).mean() for pace in ("slow", "normal", "fast")]
    assert 60 / beats[0] < 79 < 60 / beats[1] < 113 < 129 < 60 / beats[2]


def brightness(song) -> float:
    power = np.abs(np.fft.rfft(song.stems["vocals"].samples[0])) ** 2
    hertz = np.fft.rfftfreq(song.stems["vocals"].samples.shape[1], 1 / 16000)
    return 10 * np.log10(power[(hertz > 2000) & (hertz < 5000)].sum() / power[(hertz > 100) & (hertz < 800)].sum())


def test_bright_voices_are_brighter_than_clear_and_these_than_warm() -> None:
    bright, clear, warm = (brightness(rendered(timbre=name)) for name in ("bright", "clear", "warm"))
    assert bright > clear + 4
    assert clear > warm + 6


def test_vibrato_moves_f0_and_a_straight_tone_does_not() -> None:
    def shake(name: str) -> float:
        song = rendered(expression=name, tempo="slow")
        onset, offset, _ = max(song.notes, key=lambda note: note[1] - note[0])
        inside = song.f0[round((onset + 0.5) / 0.005) : round((offset - 0.3) / 0.005)]
        return float(np.std(1200 * np.log2(inside[inside > 0] / 440)))

    assert shake("vibrato") > 25
    assert shake("straight") < 10


def test_mood_follows_mode_and_tempo() -> None:
    assert SingingStyle(major=True, tempo="slow").mood == "calm"
    assert SingingStyle(major=True, tempo="fast").mood == "joyful"
    assert SingingStyle(major=False, tempo="normal").mood == "sad"
    assert SingingStyle(major=False, tempo="fast").mood == "tense"


def test_nobody_sings_in_both_splits() -> None:
    for gender in ("female", "male"):
        assert singers(gender, "train")
        assert not set(singers(gender, "train")) & set(singers(gender, "test"))


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="length"):
        render_style(STYLE, 0, seconds=1.0)
    with pytest.raises(InputError, match="voice"):
        render_style(STYLE, 0, voice="flite:slt")
