"""Spectra: exact reconstruction, the formulas of the mel scales, explicit padding."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harmonia.core.errors import InputError
from harmonia.parts.spectral import STFT, MelSpectrogram, hz_to_mel, mel_corners, mel_filterbank, mel_to_hz, power_to_db


@pytest.mark.parametrize("length", [1025, 2048, 44100, 44101])
@pytest.mark.parametrize("pad_mode", ["reflect", "constant"])
def test_the_inverse_returns_the_signal(length, pad_mode):
    audio = torch.randn(2, 3, length, generator=torch.Generator().manual_seed(0))
    spectrum = STFT(2048, 441, pad_mode=pad_mode)
    assert spectrum(audio).shape == (2, 3, 1025, 1 + length // 441)
    assert (spectrum.inverse(spectrum(audio), length) - audio).abs().max() < 1e-6 * audio.abs().max()


def test_a_frame_is_the_windowed_fourier_sum():
    audio = torch.randn(700, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    spectrum = STFT(64, 20, pad_mode="constant")(audio)
    m = np.arange(64)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * m / 64)
    frame, k = 9, 5
    samples = audio.numpy()[frame * 20 - 32 + m]
    assert spectrum[k, frame].item() == pytest.approx(np.sum(samples * window * np.exp(-2j * np.pi * k * m / 64)))


def test_padding_is_what_was_asked_for():
    audio = torch.arange(1.0, 101.0)
    reflected, zeros = (STFT(64, 16, pad_mode=mode)(audio)[:, 0] for mode in ("reflect", "constant"))
    flipped = torch.cat([audio[1:33].flip(0), audio[:32]])
    torch.testing.assert_close(reflected, torch.fft.rfft(flipped * torch.hann_window(64)), rtol=1e-4, atol=1e-3)
    assert (reflected - zeros).abs().max() > 1


def test_a_short_window_lies_in_the_middle_of_the_transform():
    spectrum = STFT(256, 64, pad_mode="constant", win_length=128)
    audio = torch.zeros(1024)
    audio[512 + 65] = 1.0
    assert spectrum(audio)[:, 8].abs().max() < 1e-6
    assert spectrum.inverse(spectrum(audio), 1024)[577] == pytest.approx(1.0, abs=1e-6)


def test_too_short_to_reflect_is_said():
    with pytest.raises(InputError, match="more than 1024 samples"):
        STFT(2048, 441, pad_mode="reflect")(torch.zeros(2, 1024))


def test_gradients_pass_both_ways():
    audio = torch.randn(400, dtype=torch.float64, requires_grad=True)
    spectrum = STFT(64, 16, pad_mode="reflect")
    (gradient,) = torch.autograd.grad(spectrum.inverse(spectrum(audio), 400).square().sum() / 2, audio)
    torch.testing.assert_close(gradient, audio)


@pytest.mark.parametrize("scale", ["slaney", "htk"])
def test_mel_scales_are_inverses_and_meet_their_formulas(scale):
    hz = torch.tensor([0.0, 440.0, 999.0, 1000.0, 1001.0, 6400.0, 22050.0], dtype=torch.float64)
    torch.testing.assert_close(mel_to_hz(hz_to_mel(hz, scale), scale), hz, rtol=1e-12, atol=1e-9)
    assert hz_to_mel(torch.tensor(1000.0), "slaney") == 15
    assert hz_to_mel(torch.tensor(700.0, dtype=torch.float64), "htk").item() == pytest.approx(2595 * math.log10(2))


def test_filters_are_triangles_over_their_corners():
    corners = mel_corners(10, 100.0, 8000.0)
    filters = mel_filterbank(16000, 512, 10, low_hz=100.0, norm=None)
    bins = torch.arange(257, dtype=torch.float64) * 16000 / 512
    for k, row in enumerate(filters):
        torch.testing.assert_close(row, torch.from_numpy(np.interp(bins, corners[k : k + 3], [0, 1, 0])))
    areas = mel_filterbank(16000, 4096, 10, low_hz=100.0).sum(1) * 16000 / 4096
    torch.testing.assert_close(areas, torch.ones(10, dtype=torch.float64), rtol=1e-2, atol=0)


def test_impossible_filterbanks_are_refused():
    with pytest.raises(InputError, match="cannot be built"):
        mel_filterbank(16000, 512, 0)
    with pytest.raises(InputError, match="cannot be built"):
        mel_filterbank(16000, 512, 20, low_hz=9000.0)


def test_log_mel_has_a_floor_and_decibels_a_range():
    spectrogram = MelSpectrogram(STFT(512, 128, pad_mode="constant"), mel_filterbank(16000, 512, 20), log_floor=1e-5)
    assert (spectrogram(torch.zeros(4000)) == math.log(1e-5)).all()
    loud = power_to_db(torch.tensor([1.0, 1e-3, 1e-9]), range_db=80.0)
    torch.testing.assert_close(loud, torch.tensor([0.0, -30.0, -80.0]))
