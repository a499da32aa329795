"""Pitch, level, tempo and singers of sounds that are known."""

from __future__ import annotations

import numpy as np
import pytest

from harmonia.audio.s2cap import measures, speakers
from harmonia.audio.s2cap.measures import RATE, RENDERED, hear, tempo_of
from harmonia.audio.s2cap.speakers import Stretch, cluster, cut, embed, find_singers
from harmonia.core.errors import InputError
from harmonia.parts.sound_stream import SampleTape


def buzz(f0: float, seconds: float, formant: float, level: float = 0.1) -> np.ndarray:
    """Harmonics under one broad formant, gliding a little so that harmonics sweep over it."""
    time = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(f0 * (1 + 0.03 * np.sin(2 * np.pi * 0.7 * time))) / RATE
    hertz = f0 * np.arange(1, int(7000 / f0))
    gains = np.exp(-np.abs(np.log2(hertz / formant)) * 1.5)
    sound = sum(gain * np.sin(number * phase) for number, gain in enumerate(gains, 1))
    return level * sound / np.sqrt(np.mean(sound**2))


def test_pitch_and_volume_are_those_of_the_sung_frames() -> None:
    sound = np.concatenate([np.zeros(RATE), buzz(200, 2.0, 800), np.zeros(RATE)])
    voice = hear(sound)
    assert voice.f0 == pytest.approx(200, rel=0.02)
    assert voice.volume_db == pytest.approx(-20, abs=0.3)
    assert voice.share == pytest.approx(0.5, abs=0.05)
    assert voice.between(0.0, 0.5).share == 0
    assert np.isnan(voice.between(0.0, 0.5).f0)
    assert voice.between(0.0, 0.5).volume_db == -np.inf


def test_what_a_separator_leaves_is_no_singing() -> None:
    sound = np.concatenate([buzz(200, 1.0, 800, 0.1), buzz(300, 1.0, 800, 0.001)])
    assert not hear(sound).between(1.1, 2.0).sung.any()


@pytest.mark.parametrize("bpm", [70, 95, 120, 150])
def test_a_band_that_plays_eighths_has_its_tempo(bpm: int) -> None:
    random, beat = np.random.default_rng(0), 60 / bpm
    sound = np.zeros(10 * RATE)
    for number, onset in enumerate(np.arange(0, 9.5, beat / 2)):
        start = round(onset * RATE)
        hit = random.standard_normal(800) * np.exp(-np.arange(800) / 200)
        sound[start : start + 800] += hit * (1.0 if number % 2 == 0 else 0.35)
    assert tempo_of(sound) == pytest.approx(bpm, rel=0.03)


def test_short_clips_have_no_tempo() -> None:
    with pytest.raises(InputError, match="short"):
        tempo_of(np.zeros(RATE))
    with pytest.raises(InputError, match="slow"):
        tempo_of(np.zeros(10 * RATE), slowest=100.0, fastest=50.0)


def test_words_for_numbers_by_the_reference() -> None:
    named = RENDERED.attributes(200.0, -30.0, 140.0, "male")
    assert named == {"pitch": "high", "volume": "normal", "tempo": "fast"}
    assert RENDERED.attributes(200.0, -30.0, None, "female") == {"pitch": "low", "volume": "normal"}


def test_two_singers_are_told_apart_and_the_one_who_sings_more_is_cut() -> None:
    one, two = buzz(150, 12.0, 500), buzz(260, 6.0, 2600)
    sound = np.concatenate([one[: 7 * RATE], two, one[7 * RATE :]])
    singers = find_singers(sound, hear(sound))
    assert singers.number == 2
    assert singers.share == pytest.approx(2 / 3, abs=0.1)
    (first, second) = singers.stretches
    assert first == pytest.approx((0, 7), abs=1.0)
    assert second == pytest.approx((13, 18), abs=1.0)


def test_one_singer_is_one_and_silence_none() -> None:
    sound = np.concatenate([buzz(150, 5.0, 700), buzz(220, 5.0, 700)])
    assert find_singers(sound, hear(sound)).number == 1
    nobody = find_singers(np.zeros(5 * RATE), hear(np.zeros(5 * RATE)))
    assert nobody == ((), 0, 0.0)


def test_clusters_are_numbered_by_size() -> None:
    points = np.array([[0.0, 0]] * 2 + [[9.0, 9]] * 5)
    assert cluster(points, apart=1.0).tolist() == [1, 1, 0, 0, 0, 0, 0]
    assert cluster(points[:1]).tolist() == [0]
    with pytest.raises(InputError):
        cluster(points, apart=0.0)


def test_the_embedding_is_that_of_the_envelope_not_of_the_level() -> None:
    sound = buzz(150, 4.0, 700)
    quiet, loud = (embed(gain * sound, hear(gain * sound).sung)[0] for gain in (0.5, 1.0))
    assert np.abs(quiet - loud).max() < 0.05


@pytest.mark.parametrize(
    ("stretches", "expected"),
    [
        (((0.0, 4.9),), []),
        (((0.0, 5.0),), [(0.0, 5.0)]),
        (((0.0, 30.0), (31.0, 92.0)), [(0.0, 30.0), (31.0, 51.333), (51.333, 71.667), (71.667, 92.0)]),
    ],
    ids=["short", "just long enough", "long"],
)
def test_clips_are_five_to_thirty_seconds(stretches, expected) -> None:
    clips = cut(tuple(Stretch(*pair) for pair in stretches))
    assert [tuple(np.round(clip, 3)) for clip in clips] == expected
    with pytest.raises(InputError):
        cut((), 20.0, 30.0)


@pytest.mark.parametrize("length", [159 + 3 * 4 * RATE, 10 * RATE, 4 * RATE], ids=["a rest", "10 s", "one piece"])
def test_a_voice_on_disk_is_measured_in_pieces_as_at_once(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    gaps = np.repeat([1.0, 0.0, 1.0, 1.0, 0.0, 1.0], 2 * RATE)
    sound = np.pad(gaps * buzz(220, 12.0, 700), (0, 159))[:length].astype(np.float32)
    whole = hear(sound)
    tape = SampleTape()
    tape.append(sound)
    for module in (measures, speakers):
        monkeypatch.setattr(module, "PIECE", 4 * RATE)
    parts = hear(tape)
    np.testing.assert_allclose(parts.pitch.times, whole.pitch.times)
    np.testing.assert_allclose(parts.level_db, whole.level_db)
    np.testing.assert_allclose(parts.pitch.f0, whole.pitch.f0)
    np.testing.assert_array_equal(parts.sung, whole.sung)
    assert len(embed(tape, parts.sung)[0]) == len(embed(sound, whole.sung)[0])
