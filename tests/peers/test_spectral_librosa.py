"""Spectra and mel filters beside librosa's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harmonia.parts.spectral import STFT, MelSpectrogram, mel_filterbank, power_to_db

librosa = pytest.importorskip("librosa")
pytestmark = pytest.mark.peer


@pytest.mark.parametrize(("rate", "n_fft", "num_mels"), [(44100, 2048, 60), (16000, 512, 80), (24000, 2048, 200)])
@pytest.mark.parametrize(("scale", "norm"), [("slaney", "slaney"), ("htk", None), ("slaney", None)])
def test_filters_agree(rate, n_fft, num_mels, scale, norm):
    theirs = librosa.filters.mel(
        sr=rate, n_fft=n_fft, n_mels=num_mels, htk=scale == "htk", norm=norm, dtype=np.float64, fmin=20.0
    )
    ours = mel_filterbank(rate, n_fft, num_mels, low_hz=20.0, scale=scale, norm=norm).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-7 * np.abs(theirs).max())


@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
def test_spectra_agree(pad_mode):
    audio = np.random.default_rng(0).normal(size=16000).astype(np.float32)
    theirs = librosa.stft(audio, n_fft=1024, hop_length=160, pad_mode=pad_mode)
    ours = STFT(1024, 160, pad_mode=pad_mode)(torch.from_numpy(audio)).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 * np.abs(theirs).max())


def test_mel_spectrograms_in_decibels_agree():
    audio = np.random.default_rng(0).normal(size=16000).astype(np.float32)
    power = librosa.feature.melspectrogram(y=audio, sr=16000, n_fft=512, hop_length=128, n_mels=64)
    theirs = librosa.power_to_db(power)
    spectrogram = MelSpectrogram(STFT(512, 128, pad_mode="constant"), mel_filterbank(16000, 512, 64))
    ours = power_to_db(spectrogram(torch.from_numpy(audio)), range_db=80.0).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
