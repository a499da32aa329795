"""The front-end: standardised by definition, resized by half-pixel centres, blind to level and to batch mates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from harmonia.audio.sonics import SonicsFrontEnd
from harmonia.audio.sonics.front_end import resized
from harmonia.core.errors import InputError


def sound(batch: int = 1, samples: int = 80000, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(seed))


def test_the_result_is_standardised_with_the_unbiased_deviation():
    front_end = SonicsFrontEnd((128, 157))
    z = front_end(sound(2)).double()
    assert z.mean((1, 2)).abs().max() < 1e-5
    assert (z.flatten(1).std(1, correction=1) - 1).abs().max() < 1e-5


@pytest.mark.parametrize("gain", [0.01, 0.1, 10.0])
def test_level_does_not_matter(gain):
    front_end = SonicsFrontEnd((128, 128))
    assert (front_end(gain * sound()) - front_end(sound())).abs().max() < 1e-4


@pytest.mark.parametrize(("before", "after"), [((3, 157), (3, 128)), ((4, 37), (4, 36)), ((8, 10), (4, 25))], ids=str)
def test_resizing_interpolates_between_half_pixel_centres(before, after):
    x = torch.randn(1, *before, generator=torch.Generator().manual_seed(0))
    places = [
        np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1) for old, new in zip(before, after, strict=True)
    ]
    rows = np.stack([np.interp(places[0], np.arange(before[0]), column) for column in x[0].numpy().T], 1)
    expected = np.stack([np.interp(places[1], np.arange(before[1]), row) for row in rows])
    np.testing.assert_allclose(resized(x, after)[0].numpy(), expected, atol=1e-5)


def test_batch_mates_matter_in_the_official_way_only():
    quiet_and_loud = torch.cat([1e-3 * sound(), sound(seed=1)])
    ours, official = (SonicsFrontEnd((128, 128), compat_batch_topdb=compat) for compat in (False, True))
    assert (ours(quiet_and_loud)[:1] - ours(quiet_and_loud[:1])).abs().max() < 1e-5
    assert (official(quiet_and_loud)[:1] - official(quiet_and_loud[:1])).abs().max() > 1
    assert (official(quiet_and_loud[:1]) - ours(quiet_and_loud[:1])).abs().max() < 1e-6


def test_silence_gives_zeros_rather_than_nan():
    assert torch.equal(SonicsFrontEnd((128, 128))(torch.zeros(1, 80000)), torch.zeros(1, 128, 128))


@pytest.mark.parametrize("shape", [(80000,), (1, 2, 80000)], ids=str)
def test_what_is_no_batch_of_mono_windows_is_refused(shape):
    with pytest.raises((InputError, TypeError)):
        SonicsFrontEnd((128, 128))(torch.zeros(shape))


def test_a_window_too_short_to_be_reflected_is_refused():
    with pytest.raises(InputError, match="too short"):
        SonicsFrontEnd((128, 128))(torch.zeros(1, 1000))
