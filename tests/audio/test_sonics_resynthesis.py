"""Songs made again: as long, as loud, in tune; the same seed the same sound; codecs trained like the embedded ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harmonia.audio.sonics import resynthesise
from harmonia.audio.sonics.codec import STRIDES, WaveCodec, load_codec, train_codec
from harmonia.audio.sonics.resynthesis import KINDS, LOSSY, SEEN, UNSEEN
from harmonia.core.errors import InputError
from harmonia.media import Audio
from harmonia.parts.training import Plan

TIME = np.arange(24000) / 16000
CHORD = Audio(0.2 * sum(np.sin(2 * np.pi * hz * TIME) for hz in (220.0, 330.0, 550.0)), 16000)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_chord_comes_back_as_long_as_loud_and_in_tune(kind):
    if kind == "world":
        pytest.importorskip("pyworld")
    again = resynthesise(CHORD, kind)
    assert (again.rate, again.samples.shape) == (16000, CHORD.samples.shape)
    assert np.square(again.samples).mean() == pytest.approx(np.square(CHORD.samples).mean(), rel=1e-3)
    spectrum = np.abs(np.fft.rfft(again.samples[0] * np.hanning(24000)))
    loudest = np.argmax(spectrum) * 16000 / 24000
    if kind != "world":  # which hears one pitch only, and a chord has none
        assert min(abs(loudest - hz) for hz in (220.0, 330.0, 550.0)) < 4
    assert not np.array_equal(again.samples, CHORD.samples)


def test_any_rate_and_number_of_channels_is_taken():
    stereo = CHORD.resampled(44100).stereo()
    assert resynthesise(stereo, "codec-64").samples.shape == (1, 24000)


@pytest.mark.parametrize("kind", ["codec-60", "griffin-lim"])
def test_the_seed_decides(kind):
    one, same, other = (resynthesise(CHORD, kind, seed=seed).samples for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    assert np.array_equal(one, other) == (kind == "codec-60")  # a codec has nothing random


def test_more_rounds_make_the_phases_of_griffin_lim_fit(monkeypatch):
    """Magnitudes of the result against those asked for: the quantity that the projections lower."""
    from harmonia.audio.sonics import resynthesis
    from harmonia.parts.spectral import STFT

    def gap(rounds: int) -> float:
        monkeypatch.setattr(resynthesis, "_STEPS", rounds)
        sound = CHORD.samples[0]
        bands, inverse = resynthesis._mel_pair()
        wanted = (inverse @ (bands @ STFT(1024, 256, pad_mode="reflect")(torch.from_numpy(sound)).abs())).clamp(min=0)
        got = STFT(1024, 256, pad_mode="reflect")(torch.from_numpy(resynthesis._griffin_lim(sound, 0))).abs()
        return float((got - wanted).norm() / wanted.norm())

    assert gap(12) < 0.7 * gap(0)


def test_training_and_test_machines_are_apart():
    assert not set(SEEN) & set(UNSEEN)
    assert {*SEEN, *UNSEEN, *LOSSY} == set(KINDS)


@pytest.mark.parametrize("strides", sorted(STRIDES.values()), ids=str)
@pytest.mark.parametrize("samples", [479, 480, 481, 1000])
def test_a_codec_keeps_the_length_of_any_sound(strides, samples):
    assert WaveCodec(strides, width=2, latent=3)(torch.randn(2, samples)).shape == (2, samples)


@pytest.mark.parametrize("name", sorted(STRIDES))
def test_the_embedded_codecs_keep_their_strides(name):
    codec = load_codec(name)
    assert codec.hop == int(np.prod(STRIDES[name])) == int(name.split("-")[1])
    sound = torch.from_numpy(CHORD.samples) / 4
    with torch.no_grad():
        error = (codec(sound) - sound).square().mean() / sound.square().mean()
    assert float(error) < 0.5


def test_a_codec_is_trained():
    songs = [CHORD.samples[0]]
    plans = (Plan(steps=steps, learning_rate=3e-3, warmup=2, ema_decay=0.5) for steps in (1, 10))
    losses = [train_codec((4, 4), songs, plan, seconds=0.1, batch=1).history[-1]["loss"] for plan in plans]
    assert losses[1] < losses[0]


def test_what_cannot_be_made_again_is_refused():
    with pytest.raises(InputError, match="codec-64"):
        resynthesise(CHORD, "suno")
    with pytest.raises(InputError, match="too short"):
        resynthesise(CHORD.cut(0, 0.1), "codec-64")
    with pytest.raises(InputError, match="no such codec"):
        load_codec("codec-1")
