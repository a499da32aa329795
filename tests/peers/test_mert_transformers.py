"""The network beside `transformers.HubertModel`, and codes beside EnCodec, with the same random weights."""

from __future__ import annotations

import pytest
import torch

from harmonia.audio.mert import MERTConfig, MERTModel
from harmonia.audio.mert.checkpoint import encoder_weights
from harmonia.audio.mert.teachers import EncodecTeacher

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore")]

SHAPES = {
    "95M": ({}, MERTConfig.base()),
    "330M": (
        {
            "hidden_size": 1024,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "intermediate_size": 4096,
            "do_stable_layer_norm": True,
        },
        MERTConfig.large(),
    ),
}


@pytest.fixture(scope="module", params=list(SHAPES))
def pair(request):
    transformers = pytest.importorskip("transformers")
    theirs, ours = SHAPES[request.param]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        peer = transformers.HubertModel(transformers.HubertConfig(**theirs)).eval()
        for parameter in peer.parameters():
            parameter.data += 0.005 * torch.randn_like(parameter)
    with torch.device("meta"):
        model = MERTModel(ours)
    model.load_state_dict(encoder_weights(peer.state_dict()), strict=True, assign=True)
    return peer, model.eval()


def clips(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def close(ours, theirs):
    """Within 1e-5, or the same share of what the state holds where that is more."""
    return (ours - theirs).abs().max() <= 1e-5 * max(1.0, float(theirs.abs().max()))


@pytest.mark.parametrize("samples", [24000, 24007, 60000])
def test_all_hidden_states_agree(pair, samples):
    peer, model = pair
    audio = clips(1, samples)
    with torch.no_grad():
        expected = peer(audio, output_hidden_states=True)
        found = model(audio)["hidden"]
    assert len(found) == len(expected.hidden_states) == model.config.layers + 1
    for ours, theirs in zip(found[:-1], expected.hidden_states[:-1], strict=True):
        assert close(ours, theirs)
    assert close(found[-1], expected.last_hidden_state)


def test_padded_batches_agree(pair):
    peer, model = pair
    mask = torch.ones(2, 24000, dtype=torch.bool)
    mask[1, 15000:] = False
    audio = clips(2, 24000) * mask
    with torch.no_grad():
        expected = peer(audio, attention_mask=mask.long(), output_hidden_states=True).hidden_states
        found = model(audio, mask, compat="transformers")
    for ours, theirs in zip(found["hidden"], expected, strict=True):
        for clip, frames in enumerate(found["lengths"].tolist()):
            assert close(ours[clip, :frames], theirs[clip, :frames])


def test_gradients_agree():
    transformers = pytest.importorskip("transformers")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        shape = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
        peer = transformers.HubertModel(transformers.HubertConfig(**shape, conv_dim=(16,) * 7)).eval()
    config = MERTConfig(dim=64, layers=2, heads=4, feed_forward=96, conv_dim=(16,) * 7)
    model = MERTModel(config).eval()
    model.load_state_dict(encoder_weights(peer.state_dict()))
    audio = clips(1, 8000)
    weights = clips(1, config.frames(8000), 64)
    (peer(audio).last_hidden_state * weights).sum().backward()
    (model(audio)["hidden"][-1] * weights).sum().backward()
    theirs = encoder_weights({name: p.grad for name, p in peer.named_parameters() if p.grad is not None})
    for name, parameter in model.named_parameters():
        if name != "masked_spec_embed":
            assert (parameter.grad - theirs[name]).norm() <= 1e-3 * theirs[name].norm() + 1e-6, name


def test_codes_are_those_of_encodec():
    transformers = pytest.importorskip("transformers")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        peer = transformers.EncodecModel(transformers.EncodecConfig()).eval()
        for layer in peer.quantizer.layers:
            layer.codebook.embed.normal_()
    audio = 0.1 * clips(2, 24000)
    codes = EncodecTeacher(peer)(audio, 74)
    assert codes.shape == (2, 74, 8)
    expected = peer.encode(audio[:, None], bandwidth=6.0).audio_codes[0]
    assert torch.equal(codes, expected.transpose(1, 2)[:, :74])
    assert EncodecTeacher(peer, codebooks=2)(audio, 74).shape == (2, 74, 2)
