"""The network and the chunks beside other people's packages, with the same random weights."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harmonia.audio.mel_roformer import ChunkedSeparator, MelBandRoformer, MelBandRoformerConfig

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore")]

SHAPE = {
    "dim": 32,
    "depth": 2,
    "time_transformer_depth": 1,
    "freq_transformer_depth": 1,
    "num_bands": 60,
    "heads": 4,
    "dim_head": 16,
    "attn_dropout": 0.0,
    "ff_dropout": 0.0,
    "stft_hop_length": 441,
    "mask_estimator_depth": 2,
    "match_input_audio_length": True,
}
CONFIG = {"dim": 32, "depth": 2, "heads": 4, "head_dim": 16}


def shaken(model: nn.Module) -> nn.Module:
    """Random weights that leave no gate, scale or bias at its start."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def audio(*shape: int) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def openmirlab(**change) -> nn.Module:
    package = pytest.importorskip("mel_band_roformer.mel_band_roformer")
    return shaken(package.MelBandRoformer(**{**SHAPE, "stereo": True, "num_stems": 1, **change}))


def lucidrains(**change) -> nn.Module:
    package = pytest.importorskip("bs_roformer")
    kwargs = {**SHAPE, "stereo": True, "num_stems": 1, "linear_transformer_depth": 0}
    return shaken(
        package.MelBandRoformer(**{**kwargs, "add_value_residual": False, "num_residual_streams": 1, **change})
    )


def renamed(state: dict[str, Tensor], first_axis: int) -> dict[str, Tensor]:
    """The keys of today's PyPI package in those of the public checkpoints."""

    def rename(key: str) -> str:
        key = re.sub(r"^layers\.(\d+)\.(\d+)\.", lambda m: f"layers.{m[1]}.{int(m[2]) - first_axis}.", key)
        return key.replace(".branch.", ".")

    return {rename(key): value for key, value in state.items()}


def compare(theirs: nn.Module, ours: MelBandRoformer, mixture: Tensor) -> None:
    with torch.no_grad():
        expected, stems = theirs(mixture), ours(mixture)
    expected = expected if expected.ndim == 4 else expected.unsqueeze(1)
    assert expected.abs().max() > 1e-3
    assert (stems - expected).abs().max() <= 1e-5


@pytest.mark.parametrize(
    ("theirs", "ours", "shape"),
    [
        ({}, {}, (2, 2, 30000)),
        ({"stereo": False}, {"channels": 1}, (1, 1, 30000)),
        ({"num_stems": 2}, {"stems": ("a", "b")}, (1, 2, 20000)),
        ({"mask_estimator_depth": 1, "time_transformer_depth": 2}, {"mask_depth": 1, "time_depth": 2}, (1, 2, 20000)),
        ({"stft_hop_length": 512, "freq_transformer_depth": 2}, {"hop_length": 512, "band_depth": 2}, (1, 2, 20000)),
    ],
)
def test_the_network_agrees_with_melband_roformer_infer(theirs, ours, shape):
    peer = openmirlab(**theirs)
    model = MelBandRoformer(MelBandRoformerConfig(**CONFIG, **ours)).eval()
    model.load_state_dict(peer.state_dict(), strict=True)
    compare(peer, model, audio(*shape))


@pytest.mark.parametrize(
    ("theirs", "ours", "first_axis"),
    [
        ({"zero_dc": True}, {"zero_dc": True}, 1),
        ({"zero_dc": False}, {}, 1),
        ({"zero_dc": False, "linear_transformer_depth": 1}, {"feature_depth": 1}, 0),
    ],
)
def test_the_network_agrees_with_bs_roformer(theirs, ours, first_axis):
    peer = lucidrains(**theirs)
    model = MelBandRoformer(MelBandRoformerConfig(**CONFIG, **ours)).eval()
    model.load_state_dict(renamed(peer.state_dict(), first_axis), strict=True)
    compare(peer, model, audio(1, 2, 20000))


def test_the_gradients_agree_with_melband_roformer_infer():
    peer = openmirlab()
    model = MelBandRoformer(MelBandRoformerConfig(**CONFIG)).eval()
    model.load_state_dict(peer.state_dict(), strict=True)
    mixture, target = audio(1, 2, 12000), audio(1, 2, 12000).flip(-1)
    (peer(mixture) - target).abs().mean().backward()
    (model(mixture)[:, 0] - target).abs().mean().backward()
    theirs = dict(peer.named_parameters())
    for name, parameter in model.named_parameters():
        expected = theirs[name].grad
        assert (parameter.grad - expected).norm() <= 1e-3 * expected.norm() + 1e-8, name


@pytest.mark.parametrize("num_overlap", [2, 4])
@pytest.mark.parametrize("total", [70_000, 100_001])
def test_the_compatible_chunks_agree_with_melband_roformer_infer(num_overlap, total):
    peer = openmirlab(dim=8, heads=1, depth=1)
    model = MelBandRoformer(MelBandRoformerConfig(dim=8, depth=1, heads=1, head_dim=16)).eval()
    model.load_state_dict(peer.state_dict(), strict=True)
    size, mixture = 22050, audio(2, total)
    expected = demix(peer, mixture, size, num_overlap)
    separator = ChunkedSeparator(model, chunk_seconds=0.5, overlap=1 - 1 / num_overlap, compat="msst")
    assert np.abs(separator.separate(mixture.numpy(), 44100)["vocals"] - expected).max() <= 1e-5


def demix(model: Callable[[Tensor], Tensor], mixture: Tensor, size: int, num_overlap: int) -> np.ndarray:
    utils = pytest.importorskip("mel_band_roformer.utils")
    config = SimpleNamespace(
        inference=SimpleNamespace(chunk_size=size, num_overlap=num_overlap),
        training=SimpleNamespace(target_instrument="vocals"),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return utils.demix_track(config, model, mixture, torch.device("cpu"))[0]["vocals"]
