"""The detector: songs in any form, verdicts that add up, scikit-learn's manners, training and calibration on sounds."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from harmonia.audio.sonics import SpecTTTraConfig, SyntheticSongDetector, Verdict
from harmonia.core.errors import InputError, WeightsError
from harmonia.data import demo_song
from harmonia.media import Audio

TINY = SpecTTTraConfig.tiny()
RATE = 16000


@pytest.fixture(scope="module")
def detector() -> SyntheticSongDetector:
    return SyntheticSongDetector.from_pretrained(device="cpu")


def song(seed: int, seconds: float = 3.0, fake: bool = False) -> np.ndarray:
    """Noise; a fake lacks everything above 2 kHz."""
    sound = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    if fake:
        spectrum = np.fft.rfft(sound)
        spectrum[len(spectrum) // 4 :] = 0
        sound = np.fft.irfft(spectrum, len(sound))
    return (0.1 * sound).astype(np.float32)


def test_a_song_in_every_form_gets_one_verdict(detector, tmp_path):
    sound = demo_song().mono().resampled(RATE).cut(0, 9)
    path = sound.write(tmp_path / "song.wav")
    verdicts = [detector.explain(sound), detector.explain(path), detector.explain(sound.samples[0], RATE)]
    for verdict in verdicts[1:]:
        np.testing.assert_allclose(verdict.logits, verdicts[0].logits, atol=1e-4)
    assert verdicts[0].logit == pytest.approx(verdicts[0].logits.mean())
    np.testing.assert_allclose(detector.decision_function([path]), verdicts[0].logit, atol=1e-4)
    probabilities = detector.predict_proba([path])
    assert probabilities.shape == (1, 2)
    assert probabilities.sum() == pytest.approx(1)
    assert detector.predict([path])[0] == int(probabilities[0, 1] > 0.5)


def test_level_and_channels_do_not_matter(detector):
    sound = demo_song().cut(0, 9)
    loud = detector.explain(sound).logits
    quiet = detector.explain(Audio(sound.mono().samples / 64, sound.rate)).logits
    np.testing.assert_allclose(quiet, loud, atol=1e-3)


def test_windows_one_by_one_give_the_same_logits(detector):
    sound = demo_song().mono().resampled(RATE).samples[0]
    verdict = detector.explain(sound, RATE)
    for start, logit in list(zip(verdict.starts, verdict.logits, strict=True))[::3]:
        spectrogram = detector.spectrogram(sound, start, RATE)
        with torch.no_grad():
            alone = detector.model_(spectrogram[None]).item()
        assert alone == pytest.approx(logit, abs=1e-4)


def test_features_lead_to_the_logit(detector):
    sound = demo_song()
    features = detector.features([sound, sound.cut(0, 8)])
    assert features.shape == (2, detector.config.depth + 1, detector.config.dim)
    head = detector.model_.classifier
    logit = features[0, -1] @ head.weight[0].detach().numpy() + head.bias.item()
    assert logit == pytest.approx(detector.explain(sound).logit, abs=1e-4)


def test_compat_hears_one_window_at_three_quarters():
    official = SyntheticSongDetector.from_pretrained(compat="sonics", device="cpu")
    sound = demo_song().mono().resampled(RATE).samples[0]
    verdict = official.explain(sound, RATE)
    start = int((len(sound) - 80000) / 4 * 3)
    assert verdict.starts.tolist() == [start / RATE]
    with torch.no_grad():
        expected = official.model_(official.spectrogram(sound, start / RATE, RATE)[None]).item()
    assert verdict.logit == pytest.approx(expected, abs=1e-4)
    assert len(official.explain(sound[:40000], RATE).logits) == 1


def test_bfloat16_moves_logits_a_little():
    sound = demo_song().cut(0, 9)
    exact, rough = (
        SyntheticSongDetector.from_pretrained(dtype=dtype, device="cpu").explain(sound).logits
        for dtype in ("float32", "bfloat16")
    )
    assert 0 < np.abs(exact - rough).max() < 0.2


def test_silence_cannot_be_told(detector):
    silent = detector.explain(np.zeros(20 * RATE, dtype=np.float32), RATE)
    assert silent.synthetic is None
    assert "silent" in silent.sentence
    assert np.isnan(detector.predict_proba([np.zeros(RATE * 6, dtype=np.float32)], RATE)).all()
    assert detector.predict([np.zeros(RATE * 6, dtype=np.float32)], RATE) == [0]
    content = json.loads(json.dumps(silent.content(), allow_nan=False))
    assert content["verdict"] == "cannot be told"
    assert content["probability"] is None
    with pytest.raises(InputError, match="silent song"):
        detector.features([np.zeros(RATE * 6, dtype=np.float32)], RATE)


def test_silent_windows_of_a_song_get_no_score(detector):
    sound = np.concatenate([song(0, 10), np.zeros(10 * RATE, dtype=np.float32)])
    verdict = detector.explain(sound, RATE)
    assert np.isfinite(verdict.logits[0])
    assert np.isnan(verdict.logits[-1])
    assert np.isfinite(verdict.logit)
    assert any("silent" in note for note in verdict.notes)


def test_short_songs_are_judged_with_a_note(detector):
    verdict = detector.explain(song(0, 3.0), RATE)
    assert len(verdict.logits) == 1
    assert any("less than a window" in note for note in verdict.notes)


def test_flagged_stretches_follow_the_windows():
    logits = np.array([-1.0, 2.0, 2.0, -1.0, 3.0])
    verdict = Verdict(12.0, 4.0, np.arange(5) * 2.0, logits)
    assert verdict.flagged == [(3.0, 7.0), (9.0, 12.0)]
    assert Verdict(12.0, 4.0, np.arange(5) * 2.0, -np.ones(5)).flagged == []


def test_a_verdict_is_written_whole_and_not_read(detector, tmp_path):
    verdict = detector.explain(song(0, 6.0), RATE)
    content = json.loads(verdict.write(tmp_path / "verdict.json").read_text())
    assert content["verdict"] in ("synthetic", "real")
    assert "no proof" in content["warning"]
    assert len(content["windows"]) == len(verdict.logits)
    assert verdict.show().axes
    with pytest.raises(InputError):
        Verdict.read(tmp_path / "verdict.json")


def test_trained_on_sounds_it_parts_new_ones_and_is_kept(tmp_path):
    songs = [song(i, fake=bool(i % 2)) for i in range(40)]
    labels = np.arange(40) % 2
    learner = SyntheticSongDetector(TINY, steps=40, batch=8, learning_rate=3e-3, device="cpu", random_state=1)
    learner.fit(songs, labels, groups=np.arange(40) // 2, sr=RATE)
    tests = [song(100 + i, fake=bool(i % 2)) for i in range(10)]
    assert (learner.predict(tests, RATE) == np.arange(10) % 2).all()
    path = learner.checkpoint().write(tmp_path / "mine.safetensors")
    again = SyntheticSongDetector.from_pretrained(path, device="cpu")
    assert again.calibration_ == learner.calibration_
    np.testing.assert_allclose(again.decision_function(tests, RATE), learner.decision_function(tests, RATE), atol=0.05)


def test_calibration_on_real_songs_sets_the_threshold(detector):
    mine = SyntheticSongDetector.from_pretrained(device="cpu")
    songs = [song(i, 5.0) for i in range(20)]
    mine.calibrate(songs, sr=RATE, false_alarms=0.1)
    assert mine.predict(songs, RATE).sum() <= 2
    assert "20 real songs" in mine.calibration_.note
    assert mine.calibration_.rarity(np.inf) == pytest.approx(1 / 21)
    assert detector.calibration_.threshold == 0


def test_scikit_learns_manners():
    learner = SyntheticSongDetector(TINY, steps=7)
    copy = clone(learner)
    assert copy.get_params() == learner.get_params()
    assert copy.set_params(steps=9).steps == 9
    assert learner.steps == 7
    for call in (learner.explain, lambda x: learner.predict([x]), lambda x: learner.features([x])):
        with pytest.raises(NotFittedError):
            call(demo_song())
    with pytest.raises(NotFittedError):
        learner.checkpoint()


@pytest.mark.parametrize(
    "parameters",
    [{"compat": "timm"}, {"dtype": "float16"}, {"hop": 0.0}, {"hop": -1.0}, {"device": "tpu"}],
    ids=str,
)
def test_impossible_settings_are_refused(parameters):
    with pytest.raises(InputError):
        SyntheticSongDetector.from_pretrained(**{"device": "cpu", **parameters})


@pytest.mark.parametrize(
    "sound",
    [np.full(RATE * 6, np.nan, dtype=np.float32), np.zeros(0, dtype=np.float32), np.zeros((2, 3, RATE), np.float32)],
    ids=["nan", "empty", "shape"],
)
def test_what_is_no_sound_is_refused(detector, sound):
    with pytest.raises(InputError):
        detector.explain(sound, RATE)


def test_songs_without_rate_label_or_file_are_refused(detector, tmp_path):
    with pytest.raises(InputError, match="rate"):
        detector.explain(song(0))
    with pytest.raises(InputError, match="one label"):
        SyntheticSongDetector(TINY).fit([song(0)], [0, 1], sr=RATE)
    with pytest.raises(InputError, match="synthetic"):
        SyntheticSongDetector(TINY).fit([song(0), song(1)], [0, 3], sr=RATE)
    with pytest.raises(InputError):
        detector.explain(tmp_path / "missing.mp3")
    with pytest.raises(WeightsError):
        SyntheticSongDetector.from_pretrained(tmp_path / "missing.bin")
