"""Log-mel spectrograms: closed forms in float64, items of a batch on their own, one test per release."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.log_mel import PRESETS, LogMel, LogMelConfig


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def reference(audio: np.ndarray, config: LogMelConfig) -> np.ndarray:
    """Decibels of HTK bands of height one, frame by frame in float64, written from the definition."""
    half = config.n_fft // 2
    padded = np.pad(audio.astype(np.float64), half, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(config.n_fft) / config.n_fft)
    starts = range(0, len(padded) - config.n_fft + 1, config.hop_length)
    power = np.abs([np.fft.rfft(padded[start : start + config.n_fft] * window) for start in starts]) ** 2
    mels = np.linspace(*(2595 * np.log10(1 + np.array([config.low_hz, config.high_hz]) / 700)), config.num_mels + 2)
    left, centre, right = (700 * (10 ** (part / 2595) - 1) for part in (mels[:-2], mels[1:-1], mels[2:]))
    bins = np.arange(half + 1)[:, None] * config.rate / config.n_fft
    weights = np.maximum(0, np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)))
    level = 10 * np.log10(np.maximum(power @ weights, config.floor)).T
    return np.maximum(level, level.max() - config.range_db)


def test_sonics_is_the_definition_in_float64():
    audio = 0.1 * noise(40000)
    exact = dataclasses.replace(PRESETS["sonics"], filter_dtype=torch.float64)
    expected = reference(audio.numpy(), exact)
    assert np.abs(LogMel("sonics")(audio).numpy() - expected).max() < 1e-3  # filters rounded as the release has them
    assert np.abs(LogMel(exact)(audio).numpy() - expected).max() < 1e-4


def test_the_filters_of_sonics():
    filters = LogMel("sonics").filters
    assert filters.shape == (128, 1025)
    assert int(filters.count_nonzero()) == 2019
    assert bool((filters.sum(1) > 0).all())
    exact = LogMel(dataclasses.replace(PRESETS["sonics"], filter_dtype=torch.float64)).filters
    assert 0 < (filters - exact).abs().max() < 2e-5


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_item_is_cut_below_its_own_maximum(preset):
    quiet, loud = 1e-3 * noise(30000), 10 * noise(30000, seed=1)
    front_end = LogMel(preset)
    together = front_end(torch.stack([quiet, loud]))
    torch.testing.assert_close(together[0], front_end(quiet), rtol=0, atol=1e-4)
    assert together.shape[-1] == front_end.frames(30000)


def test_frames_computed_apart_are_those_of_the_whole():
    audio, front_end = noise(20000), LogMel("sonics")
    whole = front_end.power(audio)
    hop, margin = 512, 2
    part = front_end.power(audio[8 * hop : 24 * hop])
    torch.testing.assert_close(part[:, margin:-margin], whole[:, 8 + margin : 24 - margin + 1], rtol=1e-5, atol=1e-7)


def test_whisper_ranges_over_two_and_drops_a_frame():
    level = LogMel("whisper")(noise(16000))
    assert level.shape == (80, 100)
    assert level.max() - level.min() <= 2 + 1e-6


def test_an_unknown_release_is_refused():
    with pytest.raises(InputError, match="sonics, librosa, whisper"):
        LogMel("panns")
