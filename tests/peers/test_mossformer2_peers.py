"""The network beside the official one (clearvoice), with the same random weights."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harmonia.audio.mossformer2 import MossFormer2, MossFormer2Config
from harmonia.audio.mossformer2.checkpoint import infer_config, layout_of, renamed
from harmonia.audio.mossformer2.compat import official_decode

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def official() -> ModuleType:
    """Its network file; `torchinfo`, which it imports without use, is stood in for."""
    pytest.importorskip("clearvoice.models.mossformer2_ss", exc_type=ImportError)
    absent = "torchinfo" not in sys.modules
    if absent:
        sys.modules["torchinfo"] = SimpleNamespace(summary=None)  # type: ignore[assignment]
    try:
        return pytest.importorskip("clearvoice.models.mossformer2_ss.mossformer2", exc_type=ImportError)
    finally:
        if absent:
            del sys.modules["torchinfo"]


def shaken(model: nn.Module) -> nn.Module:
    """Random weights that leave no gate, scale or bias at its start."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def peer(official: ModuleType, **change: int) -> nn.Module:
    shape = {"in_channels": 64, "out_channels": 64, "num_blocks": 2, "kernel_size": 16, "num_spks": 2}
    return shaken(official.MossFormer(**{**shape, **change}))


def ours(theirs: nn.Module, **change: object) -> MossFormer2:
    state = theirs.state_dict()
    config = infer_config(state, layout_of(state), sample_rate=16000)
    model = MossFormer2(MossFormer2Config(**{**vars(config), **change}))  # type: ignore[arg-type]
    model.load_state_dict(renamed(state, config, "clearvoice"))
    return model.eval()


def audio(*shape: int) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("change", "samples"),
    [({}, 8000), ({"num_spks": 3}, 8003), ({"kernel_size": 32}, 5000), ({"num_blocks": 1}, 2057)],
    ids=["two speakers", "three speakers", "longer frames", "one group"],
)
def test_the_network_agrees_with_clearvoice(official, change, samples):
    theirs = peer(official, **change)
    mixture = audio(1, samples)
    with torch.no_grad():
        expected, separated = torch.stack(theirs(mixture), 1), ours(theirs)(mixture)
    assert expected.abs().max() > 1e-3
    assert (separated - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))


def test_positions_late_in_a_recording_agree_with_clearvoice(official):
    theirs = peer(official, num_blocks=1, in_channels=128, out_channels=128)
    mixture = audio(1, 320_000)
    with torch.no_grad():
        expected, separated = torch.stack(theirs(mixture), 1), ours(theirs)(mixture)
    assert (separated - expected).abs().max() <= 1e-5 * float(expected.abs().max())


def test_the_full_size_agrees_with_clearvoice(official):
    torch.manual_seed(0)
    theirs = official.MossFormer(num_spks=2).eval()
    model = ours(theirs)
    assert len(theirs.state_dict()) == 1099
    assert sum(p.numel() for p in theirs.parameters()) == 55_735_410
    assert sum(p.numel() for p in model.parameters()) == 55_735_410 - 16
    mixture = audio(1, 8000)
    with torch.no_grad():
        assert (model(mixture) - torch.stack(theirs(mixture), 1)).abs().max() <= 1e-5


def test_the_gradients_agree_with_clearvoice(official):
    theirs = peer(official)
    model = ours(theirs)
    mixture, target = audio(2, 3000), audio(2, 2, 3000).flip(-1)
    (torch.stack(theirs(mixture), 1) - target).square().mean().backward()
    (model(mixture) - target).square().mean().backward()
    their_grads = {name: p.grad for name, p in theirs.named_parameters() if p.requires_grad}
    config = model.config
    expected = renamed(their_grads, config, "clearvoice")
    for name, parameter in model.named_parameters():
        assert (parameter.grad - expected[name]).norm() <= 1e-3 * expected[name].norm() + 1e-9, name


def test_the_causal_attention_agrees_with_clearvoice(official):
    theirs = peer(official)
    for layer in theirs.mask_net.mdl.intra_mdl.mossformerM.layers:
        layer.causal = True
    model = ours(theirs, causal=True, compat="clearvoice")
    mixture = audio(1, 9000)
    with torch.no_grad():
        expected = torch.stack(theirs(mixture), 1)
        assert (model(mixture) - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))
    # Its filters and normalisations look ahead all the same.
    later = mixture.clone()
    later[:, 6000:] += 0.1
    with torch.no_grad():
        assert (torch.stack(theirs(later), 1)[..., :5000] - expected[..., :5000]).abs().max() > 1e-3


@pytest.fixture(scope="module")
def decoder(official) -> ModuleType:
    """Its decoder of long recordings; what it imports for other networks is stood in for."""
    imported = ("torchaudio", "torchaudio.compliance", "torchaudio.compliance.kaldi", "torchinfo")
    absent = [name for name in imported if name not in sys.modules]
    sys.modules.update({name: MagicMock() for name in absent})
    try:
        return pytest.importorskip("clearvoice.utils.decode", exc_type=ImportError)
    finally:
        for name in absent:
            del sys.modules[name]


@pytest.mark.parametrize("seconds", [0.7, 2.0, 2.5, 3.4, 3.5, 5.0, 6.1])
def test_the_compatible_decoder_agrees_with_clearvoice(decoder, seconds):
    rate = 4000  # the decoder's windows are in seconds; a lower rate makes the test short
    mixture = audio(1, round(seconds * rate)).numpy()

    def moved(sound):
        """A stand-in for a network: its speakers depend on where in a window they are."""
        ramp = torch.linspace(0, 1, sound.shape[-1])
        return [sound * ramp, sound * (1 - ramp) + 0.1 * sound.roll(3, -1)]

    arguments = SimpleNamespace(sampling_rate=rate, decode_window=2, one_time_decode_length=2, num_spks=2)
    expected = decoder.decode_one_audio_mossformer2_ss_16k(moved, torch.device("cpu"), mixture, arguments)
    config = MossFormer2Config(sample_rate=rate)
    found = official_decode(lambda x: torch.stack(moved(torch.from_numpy(x)), 1).numpy(), config, mixture[0])
    assert np.abs(found - np.stack(expected)[:, : mixture.shape[1]]).max() <= 1e-6
    silent = seconds in (3.5, 5.0)
    assert (found[:, -rate // 4 :] == 0).all() == silent
