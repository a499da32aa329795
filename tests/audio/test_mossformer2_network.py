"""The network: shapes, symmetries, both routes of attention, causality, normalisations, and bad input."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._pytree import tree_leaves

from harmonia.audio.mossformer2 import LiveSeparation, MossFormer2, MossFormer2Config
from harmonia.audio.mossformer2.blocks import DilatedMemory, GatedAttention, _Past, prelu
from harmonia.audio.mossformer2.norms import GlobalNorm, ScaleNorm, TimeNorm
from harmonia.core.errors import InputError

TINY = MossFormer2Config(n_filters=16, depth=2, group=32, qk_dim=8, fsmn_dim=8, order=3, dropout=0.0, sample_rate=8000)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def shaken(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random parameters that leave no gate, scale or bias at its start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return module.eval()


def network(**change) -> MossFormer2:
    torch.manual_seed(0)
    return shaken(MossFormer2(dataclasses.replace(TINY, **change)))  # type: ignore[return-value]


@pytest.mark.parametrize("samples", [1, 15, 16, 17, 23, 24, 4000])
@pytest.mark.parametrize("speakers", [1, 2, 3])
def test_every_length_keeps_its_samples(samples, speakers):
    separated = network(n_speakers=speakers)(draw(2, samples))
    assert separated.shape == (2, speakers, samples)
    assert separated.isfinite().all()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mapping", [False, True])
@pytest.mark.parametrize("samples", [200, 256, 257, 3000])
def test_both_routes_of_attention_agree(samples, mapping, causal):
    model, mixture = network(mapping=mapping, causal=causal), draw(2, samples)
    with torch.no_grad():
        lean = model(mixture)
    assert torch.allclose(model(mixture).detach(), lean, atol=1e-5)


def test_sequences_of_a_batch_do_not_meet():
    model, mixture = network(), draw(3, 900)
    with torch.no_grad():
        together = model(mixture)
        assert torch.allclose(together[1:2], model(mixture[1:2]), atol=1e-6)


def test_silence_gives_silence():
    with torch.no_grad():
        assert not network()(torch.zeros(1, 500)).any()


def test_mapping_is_decoding_without_the_code():
    model = network()
    mapped = network(mapping=True)
    mapped.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert not torch.allclose(model(draw(1, 500)), mapped(draw(1, 500)))
        # With a code of ones the mask is the code: a single sample of 1 through an encoder of ones.
        for each in (model, mapped):
            each.encoder.fill_(1.0)
        x = torch.full((1, 4000), 1 / 16)
        assert torch.allclose(model(x), mapped(x), atol=1e-6)


@settings(max_examples=10, deadline=None)
@given(gain=st.floats(1, 10), seed=st.integers(0, 99))
def test_louder_in_louder_out(gain, seed):
    model, mixture = network(), 0.1 * draw(1, 1000, seed=seed)
    with torch.no_grad():
        one = model(mixture)
        assert (model(gain * mixture) / gain - one).abs().max() <= 1e-4 * one.abs().max()


@pytest.mark.parametrize("cut", [500, 1200])
def test_the_causal_network_does_not_hear_the_future(cut):
    mixture = draw(1, 2000)
    later = mixture.clone()
    later[:, cut:] = draw(1, 2000 - cut, seed=1)
    known = cut - TINY.kernel
    with torch.no_grad():
        model = network(causal=True)
        assert torch.equal(model(mixture)[..., :known], model(later)[..., :known])
        assert not torch.equal(model(mixture), model(later))
        for leaky in (network(), network(causal=True, compat="clearvoice")):
            assert not torch.allclose(leaky(mixture)[..., :known], leaky(later)[..., :known])


def test_the_memory_reads_pairs_of_the_concatenation():
    """Output c of the second filter reads channels 2c and 2c + 1 of (o1, p), as the grouped convolution does."""
    torch.manual_seed(0)
    memory, x = DilatedMemory(4, 3, causal=False), draw(1, 20, 4)
    p = memory.project(memory.linear(x))
    o1 = prelu(memory.norm1(memory.conv1(p)), memory.prelu1)
    stacked = torch.cat([o1, p], -1).transpose(1, 2)
    conv = nn.functional.conv1d(stacked, memory.conv2.weight.view(4, 2, 5), padding=4, dilation=2, groups=4)
    o2 = prelu(memory.norm2(conv.transpose(1, 2)), memory.prelu2)
    torch.testing.assert_close(memory(x), x + o2)


def test_the_gradients_of_a_block_are_right():
    torch.manual_seed(0)
    attention = GatedAttention(4, 3, 4, 0.0, causal=False, causal_convs=False).double()
    memory = DilatedMemory(4, 2, causal=True).double()
    x = draw(1, 7, 4).double().requires_grad_()
    # Positions are turned in float32, so the differences are taken further apart.
    assert torch.autograd.gradcheck(attention, (x,), eps=1e-3, atol=1e-3)
    assert torch.autograd.gradcheck(memory, (x,))


@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_the_normalisations_are_those_of_torch(shift):
    x = draw(2, 50, 6) + shift
    turned = x.transpose(1, 2)
    torch.testing.assert_close(
        GlobalNorm(6, eps=1e-8)(x).transpose(1, 2), nn.GroupNorm(1, 6, eps=1e-8)(turned), atol=2e-4, rtol=1e-3
    )
    torch.testing.assert_close(
        TimeNorm(6)(x).transpose(1, 2), nn.InstanceNorm1d(6, affine=True)(turned), atol=2e-4, rtol=1e-3
    )
    expected = x * 6**0.5 / x.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(ScaleNorm(6)(x), expected)


@pytest.mark.parametrize("kind", [GlobalNorm, TimeNorm])
def test_cumulative_normalisations_are_those_of_every_beginning(kind):
    x = draw(2, 30, 4) + 3
    causal, whole = shaken(kind(4, causal=True)), shaken(kind(4))
    found = causal(x)
    for frames in (2, 7, 30):
        torch.testing.assert_close(found[:, frames - 1], whole(x[:, :frames])[:, -1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("time", [1, 7, 16, 17, 1200])
@pytest.mark.parametrize("piece", [1, 13, 100, 5000])
def test_a_causal_network_can_be_fed_piece_by_piece(time, piece):
    model, mixture = shaken(network(causal=True)), draw(2, time)
    live = LiveSeparation(model)
    with torch.no_grad():
        whole = model(mixture)
    heard = [live.step(part) for part in mixture.split(piece, dim=1)]
    settled = sum(part.shape[-1] for part in heard)
    assert settled >= time - model.config.kernel
    found = torch.cat([*heard, live.finish()], dim=-1)
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=1e-4)


def test_what_is_kept_of_a_live_recording_does_not_grow():
    live = LiveSeparation(network(causal=True))

    def kept():
        states = [vars(state) if isinstance(state, _Past) else state for state in live._carried.values()]
        return [leaf.shape for leaf in tree_leaves(states) if isinstance(leaf, torch.Tensor)]

    shapes = []
    for _ in range(3):
        live.step(draw(1, 2 * TINY.group * TINY.kernel))
        shapes.append(kept())
    assert shapes[0] == shapes[1] == shapes[2]
    assert len(shapes[0]) > 20


def test_what_cannot_be_separated_live():
    for config in ({}, {"causal": True, "compat": "clearvoice"}):
        with pytest.raises(InputError, match="looks ahead"):
            LiveSeparation(network(**config))
    live = LiveSeparation(network(causal=True))
    with pytest.raises(InputError, match="no sound"):
        live.finish()
    with pytest.raises(InputError, match="not finite"):
        live.step(torch.tensor([[float("nan")]]))
    live.step(draw(1, 100))
    with pytest.raises(InputError, match="same batch"):
        live.step(draw(2, 100))
    live.finish()
    with pytest.raises(InputError, match="finished"):
        live.step(draw(1, 100))


def test_a_slope_of_one_a_channel_or_one_for_all():
    x = draw(2, 3, 4)
    torch.testing.assert_close(prelu(x, torch.tensor([0.25])), nn.functional.leaky_relu(x, 0.25))
    slopes = torch.tensor([0.0, 0.5, 1.0, 2.0])
    torch.testing.assert_close(prelu(x, slopes), x.clamp(min=0) + slopes * x.clamp(max=0))


def test_half_precision_is_close():
    model, mixture = network(), draw(1, 2000)
    with torch.no_grad():
        expected = model(mixture)
        found = model.bfloat16()(mixture).float()
    assert (found - expected).abs().max() < 0.1 * expected.abs().max()


def test_a_model_is_saved_and_read_with_its_shape(tmp_path):
    model = network(n_speakers=3)
    model.save_pretrained(tmp_path)
    again = MossFormer2.from_pretrained(tmp_path).eval()
    assert again.config == model.config
    with torch.no_grad():
        assert torch.equal(again(draw(1, 300)), model(draw(1, 300)))


@pytest.mark.parametrize("change", [{"n_speakers": 0}, {"n_filters": 15}, {"kernel": 7}, {"depth": -1}], ids=str)
def test_impossible_shapes_are_refused(change):
    with pytest.raises(InputError):
        dataclasses.replace(TINY, **change)
    with pytest.raises(InputError, match="does not know"):
        MossFormer2Config.of({"layers": 2})


def test_impossible_mixtures_are_refused():
    with pytest.raises(InputError, match="at least one sample"):
        network()(torch.zeros(1, 0))
