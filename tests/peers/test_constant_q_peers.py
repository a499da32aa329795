"""The constant-Q transform beside librosa's and nnAudio's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harmonia.parts.constant_q import C1_HZ, ConstantQ

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore")]

SHAPES = {"12 bins": (22050, 512, C1_HZ, 84, 12), "48 bins": (24000, 320, 32.7, 336, 48)}


def noise(samples):
    return torch.randn(samples, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
@pytest.mark.parametrize("pad_mode", ["constant", "reflect"])
def test_it_is_that_of_nnaudio(shape, pad_mode):
    module = pytest.importorskip("nnAudio.features.cqt")
    rate, hop, fmin, bins, per_octave = shape
    peer = module.CQT1992v2(
        rate, hop, fmin, n_bins=bins, bins_per_octave=per_octave, pad_mode=pad_mode, output_format="Complex",
        verbose=False,
    )  # fmt: skip
    audio = noise(80_000)
    expected = torch.view_as_complex(peer(audio[None])[0].contiguous())
    found = ConstantQ(rate, hop, fmin, bins, per_octave, pad_mode=pad_mode)(audio)
    # nnAudio pads to a power of two, so a signal is reflected farther; frames that the edge does not reach agree.
    inside = slice(None) if pad_mode == "constant" else slice(50, -50)
    assert found.shape == expected.shape
    assert (found - expected)[:, inside].abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
def test_it_is_that_of_librosa_scaled(shape):
    librosa = pytest.importorskip("librosa")
    rate, hop, fmin, bins, per_octave = shape
    audio = noise(120_000)
    expected = np.abs(
        librosa.cqt(
            audio.numpy(), sr=rate, hop_length=hop, fmin=fmin, n_bins=bins, bins_per_octave=per_octave, scale=True
        )
    )
    found = ConstantQ(rate, hop, fmin, bins, per_octave)(audio).abs().numpy()
    assert found.shape == expected.shape
    # librosa leaves out a hundredth of each window's spectrum and halves the rate octave by octave.
    third = slice(found.shape[1] // 3, 2 * found.shape[1] // 3)
    for first in range(0, bins, per_octave):
        ours, theirs = (x[first : first + per_octave, third] for x in (found, expected))
        assert abs(np.median(ours / theirs) - 1) <= (6e-4 if per_octave == 48 else 3e-3)
        assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] >= (0.9998 if per_octave == 48 else 0.998)
