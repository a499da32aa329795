"""Descriptors of sounds that are known, and logistic models beside scikit-learn's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from harmonia.audio.s2cap.attributes import LEXICON
from harmonia.audio.s2cap.descriptors import _flatness, _mode, _motion, describe_mix, describe_voice
from harmonia.audio.s2cap.manifest import Clip
from harmonia.audio.s2cap.measures import RATE, hear
from harmonia.audio.s2cap.models import AttributeModels, Logistic, fit_attribute_models
from harmonia.core.errors import InputError, WeightsError
from harmonia.data import demo_truth
from harmonia.media import Audio


def buzz(cents: np.ndarray, f0: float = 220.0) -> np.ndarray:
    phase = 2 * np.pi * np.cumsum(f0 * 2 ** (cents / 1200)) / RATE
    return 0.05 * sum(np.sin(k * phase) / k for k in range(1, 12))


TIME = np.arange(3 * RATE) / RATE


@pytest.mark.parametrize("values", [("a", "b"), ("a", "b", "c")], ids=len)
def test_probabilities_are_those_of_scikit_learn(values: tuple[str, ...]) -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(120, 4)) * [1, 5, 0.1, 1] + [0, 3, 0, -2]
    labels = np.array([values[int(row[0] > 0) + int(row[1] > 6) * (len(values) - 2)] for row in rows])
    model = Logistic.fit(rows, labels, values, 0.5)
    peer = LogisticRegression(C=0.5, max_iter=500).fit((rows - model.mean) / model.scale, labels)
    expected = peer.predict_proba((rows - model.mean) / model.scale)
    found = np.array([model.probabilities(row) for row in rows])
    assert np.abs(found - expected).max() < 1e-6


def test_values_that_never_occur_are_not_believed() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 3))
    model = Logistic.fit(rows, np.where(rows[:, 0] > 0, "c", "a"), ("a", "b", "c"), 1.0)
    assert model.probabilities(rows[0])[1] < 1e-9
    with pytest.raises(InputError, match="two values"):
        Logistic.fit(rows, np.full(20, "a"), ("a", "b"), 1.0)


def test_what_is_unlike_anything_is_cut() -> None:
    model = Logistic(np.zeros(1), np.ones(1), np.array([[1.0], [-1.0]]), np.zeros(2))
    assert model.probabilities(np.array([1e9]))[0] == model.probabilities(np.array([4.0]))[0]


def test_the_level_does_not_matter() -> None:
    sound = buzz(30 * np.sin(2 * np.pi * TIME)) + 1e-3 * np.random.default_rng(0).standard_normal(len(TIME))
    loud, quiet = (describe_voice(gain * sound, hear(gain * sound)) for gain in (1.0, 0.25))
    assert np.abs(loud - quiet).max() < 0.2
    assert np.abs(describe_mix(sound) - describe_mix(0.25 * sound)).max() < 0.2


def test_vibrato_and_glides_show_in_the_motion() -> None:
    plain = _motion(hear(buzz(np.zeros_like(TIME))))
    shaking = _motion(hear(buzz(60 * np.sin(2 * np.pi * 5.6 * TIME))))
    gliding = _motion(hear(buzz(600 * np.sin(2 * np.pi * 0.5 * TIME))))
    assert shaking[3] > 0.7 > plain[3]
    assert shaking[4] > plain[4] + 1
    assert gliding[0] > 10 * max(plain[0], 1e-3)
    assert not _motion(hear(np.zeros(RATE))).any()


def test_noise_is_flat_and_harmonics_are_not() -> None:
    random = np.random.default_rng(0)
    noise = np.abs(np.fft.rfft(random.standard_normal((512, 40)), axis=0)) ** 2
    # The mean logarithm of an exponential variable lies Euler's constant below the logarithm of its mean.
    assert _flatness(noise) == pytest.approx(np.full(4, -np.euler_gamma), abs=0.12)
    comb = np.full((257, 3), 1e-6)
    comb[::7] = 1.0
    assert (_flatness(comb) < -5).all()


@pytest.mark.parametrize(("third", "sign"), [(4, 1.0), (3, -1.0)], ids=["major", "minor"])
def test_the_mode_of_a_cadence_is_heard(third: int, sign: float) -> None:
    chords = [(0, third, 7), (5, 5 + third, 12), (7, 11, 14), (0, third, 7)]
    time = np.arange(RATE) / RATE
    sound = np.concatenate(
        [sum(np.sin(2 * np.pi * 220 * 2 ** (step / 12) * time) for step in chord) for chord in chords]
    )
    mode, strength = _mode(0.1 * sound)
    assert mode == sign
    assert np.sign(strength) == sign


def test_too_short_sounds_have_descriptors_all_the_same() -> None:
    assert not describe_voice(np.zeros(RATE), hear(np.zeros(RATE))).any()
    assert np.isfinite(describe_mix(np.zeros(800))).all()
    assert len(describe_mix(np.zeros(800))) == len(describe_mix(np.zeros(8 * RATE)))


def clips(folder: Path) -> list[Clip]:
    made = []
    for number in range(6):
        part = (2.0 + 2 * number, 5.0 + 2 * number)
        for name, suffix in (("mixture", ""), ("vocals", "_v")):
            demo_truth().sound(name).cut(*part).write(folder / f"{number}{suffix}.flac")
        style = {name: list(values)[number % len(values)] for name, values in LEXICON.items()}
        made.append(Clip(folder / f"{number}.flac", 0.0, None, ("x",), style, folder / f"{number}_v.flac"))
    return made


def test_models_are_fitted_kept_and_read(tmp_path: Path) -> None:
    models = fit_attribute_models(clips(tmp_path))
    path = models.checkpoint({"clips": 6}).write(tmp_path / "m.safetensors")
    again = AttributeModels.from_pretrained(str(path))
    voice = demo_truth().stems["vocals"].mono().resampled(RATE).samples[0, : 4 * RATE]
    one, two = (each.odds(voice, voice, hear(voice)) for each in (models, again))
    for name, odds in one.items():
        assert sum(odds.values()) == pytest.approx(1)
        assert odds == pytest.approx(two[name], abs=1e-3)


def test_other_files_and_clips_without_vocals_are_refused(tmp_path: Path) -> None:
    from harmonia.audio.s2cap.checkpoint import EMBEDDED

    with pytest.raises(WeightsError, match="attribute models"):
        AttributeModels.from_pretrained(str(EMBEDDED))
    Audio(np.zeros(RATE), RATE).write(tmp_path / "a.wav")
    with pytest.raises(InputError, match="vocals"):
        fit_attribute_models([Clip(tmp_path / "a.wav", 0.0, None, ("x",), {})])


def test_the_embedded_models_hear_the_demo_singer_more_than_its_band() -> None:
    models = AttributeModels.from_pretrained()
    mix, voice, band = (
        demo_truth().sound(n).mono().resampled(RATE).samples[0] for n in ("mixture", "vocals", "instrumental")
    )
    sung = models.odds(mix, voice, hear(voice))
    assert sung["voice"]["present"] > 0.5
    assert models.odds(band, band, hear(band))["voice"]["present"] < sung["voice"]["present"]
