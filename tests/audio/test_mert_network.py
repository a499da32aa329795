"""The network beside the same layers written out with PyTorch's own, and its invariances."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from harmonia.audio.mert import MERTConfig, MERTModel
from harmonia.audio.mert.encoder import WeightNormConv, relaxed_attention
from harmonia.audio.mert.stem import ConvStem
from harmonia.core.errors import InputError

SMALL = dataclasses.replace(
    MERTConfig.tiny(),
    cqt_bins=0,
    norm="post",
    dim=32,
    layers=3,
    heads=4,
    feed_forward=48,
    conv_dim=(8, 8, 12, 16, 16, 16, 16),
    pos_kernel=10,
)


def seeded(build, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build()
        for parameter in model.parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    return model.eval()


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_pytorch(stem, audio):
    """Convolutions, group norm and GELU as PyTorch has them."""
    x = audio[:, None]
    for layer in stem.conv_layers:
        x = layer.conv(x)
        if hasattr(layer, "layer_norm"):
            x = layer.layer_norm(x)
        x = F.gelu(x)
    return x.transpose(1, 2)


@pytest.mark.parametrize("samples", [400, 719, 24007, 80_000])
def test_the_stem_is_convolution_group_norm_and_gelu(samples):
    stem = seeded(lambda: ConvStem(SMALL))
    audio = 0.3 * noise(2, samples) + 0.1
    expected = by_pytorch(stem, audio)
    with torch.no_grad():
        slabs = stem(audio)
    whole = stem(audio)
    assert slabs.shape == expected.shape == (2, SMALL.frames(samples), 16)
    assert (slabs - expected).abs().max() < 2e-5
    assert (whole - expected).abs().max() < 2e-5


def test_the_stem_has_the_gradient_of_group_norm():
    stem = seeded(lambda: ConvStem(SMALL)).double()
    audio = noise(2, 4000).double()
    gradients = []
    for forward in (stem, lambda x: by_pytorch(stem, x)):
        stem.zero_grad()
        forward(audio).pow(3).sum().backward()
        gradients.append([p.grad.clone() for p in stem.parameters()])
    for ours, expected in zip(*gradients, strict=True):
        assert (ours - expected).abs().max() <= 1e-9 * expected.abs().max()


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_the_layers_are_those_of_pytorch(norm):
    config = dataclasses.replace(SMALL, norm=norm)
    model = seeded(lambda: MERTModel(config))
    audio = noise(2, 8000)
    x = model.feature_projection(model.frames(audio))
    weight = model.encoder.pos_conv_embed.conv
    kernel = torch._weight_norm(weight.weight_v, weight.weight_g, 2)
    position = F.conv1d(x.transpose(1, 2), kernel, weight.bias, padding=5, groups=16)[..., : x.shape[1]]
    x = x + F.gelu(position).transpose(1, 2)
    x = model.encoder.layer_norm(x) if norm == "post" else x
    expected = [x]
    for layer in model.encoder.layers:
        theirs = nn.TransformerEncoderLayer(32, 4, 48, 0.0, "gelu", batch_first=True, norm_first=norm == "pre")
        a = layer.attention
        parts = (a.q_proj, a.k_proj, a.v_proj)
        theirs.load_state_dict(
            {
                "self_attn.in_proj_weight": torch.cat([p.weight for p in parts]),
                "self_attn.in_proj_bias": torch.cat([p.bias for p in parts]),
                "self_attn.out_proj.weight": a.out_proj.weight,
                "self_attn.out_proj.bias": a.out_proj.bias,
                "linear1.weight": layer.feed_forward.intermediate_dense.weight,
                "linear1.bias": layer.feed_forward.intermediate_dense.bias,
                "linear2.weight": layer.feed_forward.output_dense.weight,
                "linear2.bias": layer.feed_forward.output_dense.bias,
                "norm1.weight": layer.layer_norm.weight,
                "norm1.bias": layer.layer_norm.bias,
                "norm2.weight": layer.final_layer_norm.weight,
                "norm2.bias": layer.final_layer_norm.bias,
            }
        )
        x = theirs.eval()(x)
        expected.append(x)
    if norm == "pre":
        expected[-1] = model.encoder.layer_norm(expected[-1])
    found = model(audio)["hidden"]
    assert len(found) == 4
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).abs().max() < 2e-5


def test_layers_are_chosen_and_those_above_are_not_computed():
    model = seeded(lambda: MERTModel(SMALL))
    audio = noise(1, 6000)
    everything = model(audio)["hidden"]
    for chosen in ([2, 0], [-1], [1]):
        found = model(audio, layers=chosen)["hidden"]
        assert all(torch.equal(a, everything[layer]) for a, layer in zip(found, chosen, strict=True))
    model.encoder.layers[2].forward = None
    assert torch.equal(model(audio, layers=[2])["hidden"][0], everything[2])


def test_reducing_is_the_mean_of_the_frames():
    model = seeded(lambda: MERTModel(SMALL))
    audio = noise(2, 6000)
    mask = torch.ones(2, 6000, dtype=torch.bool)
    mask[1, 4000:] = False
    for padding in (None, mask):
        full, reduced = model(audio, padding), model(audio, padding, reduce="mean")
        for state, mean in zip(full["hidden"], reduced["hidden"], strict=True):
            for clip, frames in enumerate(full["lengths"].tolist()):
                assert (state[clip, :frames].mean(0) - mean[clip]).abs().max() < 1e-5


@settings(max_examples=8, deadline=None)
@given(st.integers(400, 9000), st.sampled_from(["post", "pre"]))
def test_a_padded_clip_comes_out_as_alone(samples, norm):
    model = seeded(lambda: MERTModel(dataclasses.replace(SMALL, norm=norm)))
    audio = noise(2, 9000)
    mask = torch.ones(2, 9000, dtype=torch.bool)
    mask[1, samples:] = False
    padded = model(torch.where(mask, audio, 7.0), mask)
    alone = model(audio[1:, :samples])["hidden"]
    assert padded["lengths"].tolist() == [SMALL.frames(9000), SMALL.frames(samples)]
    for a, b in zip(padded["hidden"], alone, strict=True):
        assert (a[1:, : b.shape[1]] - b).abs().max() < 2e-5


def test_level_and_offset_hardly_matter():
    """The first norm takes level and offset away, but for its small constant."""
    model = seeded(lambda: MERTModel(SMALL))
    audio = noise(1, 8000)
    one, other = (model(x, layers=[3])["hidden"][0] for x in (audio, 5 * audio + 0.7))
    assert (one - other).abs().max() < 1e-3


@given(st.integers(0, 200_000))
@settings(max_examples=60, deadline=None)
def test_the_number_of_frames_is_that_of_convolutions(samples):
    config = MERTConfig()
    expected = max(0, (samples - config.receptive) // config.stride + 1)
    assert config.frames(samples) == expected


def test_the_released_shapes():
    assert (MERTConfig().stride, MERTConfig().receptive, MERTConfig().frame_rate) == (320, 400, 75.0)
    assert MERTConfig.v0().frame_rate == 50.0


def test_weight_norm_is_that_of_pytorch():
    ours = seeded(lambda: WeightNormConv(16, 8, 4))
    theirs = nn.utils.parametrizations.weight_norm(nn.Conv1d(16, 16, 8, padding=4, groups=4), dim=2)
    theirs.parametrizations.weight.original0.data = ours.weight_g.data
    theirs.parametrizations.weight.original1.data = ours.weight_v.data
    theirs.bias.data = ours.bias.data
    x = noise(2, 16, 30)
    assert (ours(x) - theirs(x)[..., :30]).abs().max() < 1e-5


def test_a_fresh_weight_norm_leaves_the_weights_as_drawn():
    fresh = WeightNormConv(16, 8, 4)
    assert torch.allclose(fresh.weight_v * (fresh.weight_g / fresh._norm()), fresh.weight_v)


def test_deepnorm_scales_the_residual_and_the_start():
    config = dataclasses.replace(SMALL, deepnorm=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        deep = MERTModel(config).eval()
        torch.manual_seed(0)
        plain = MERTModel(SMALL).eval()
    ratio = plain.encoder.layers[0].attention.v_proj.weight / deep.encoder.layers[0].attention.v_proj.weight
    assert torch.allclose(ratio, torch.full_like(ratio, 24**0.25))
    layer, x = deep.encoder.layers[0], noise(1, 7, 32)
    x1 = layer.layer_norm(6**0.25 * x + layer.attention(x))
    expected = layer.final_layer_norm(6**0.25 * x1 + layer.feed_forward(x1))
    assert torch.allclose(layer(x), expected, atol=1e-6)
    with pytest.raises(InputError, match="deepnorm"):
        dataclasses.replace(config, norm="pre")


def test_constant_q_bins_stand_beside_the_channels():
    model = seeded(lambda: MERTModel(dataclasses.replace(SMALL, cqt_bins=84)))
    frames = model.frames(noise(2, 24000))
    assert frames.shape == (2, 74, 16 + 84)
    assert model(noise(2, 24000))["hidden"][-1].shape == (2, 74, 32)


def test_relaxed_attention_takes_masks():
    q, k, v = noise(3, 2, 6, 8)
    keys = torch.tensor([[True] * 4 + [False] * 2, [True] * 6])[:, None]
    expected = F.scaled_dot_product_attention(q, k, v, keys)
    for compat in (False, True):
        assert (relaxed_attention(q, k, v, 32.0, mask=keys, compat=compat) - expected).abs().max() < 1e-6


def test_dropout_and_layer_drop_only_while_training():
    model = seeded(lambda: MERTModel(dataclasses.replace(SMALL, dropout=0.3, layer_drop=0.5)))
    audio = noise(1, 6000)
    assert torch.equal(model(audio)["hidden"][-1], model(audio)["hidden"][-1])
    model.train()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert not torch.equal(model(audio)["hidden"][-1], model(audio)["hidden"][-1])


def test_masked_frames_are_replaced_before_the_transformer():
    model = seeded(lambda: MERTModel(SMALL))
    audio = noise(1, 24000)
    spans = torch.zeros(1, 74, dtype=torch.bool)
    spans[0, 20:30] = True
    frames = model.frames(audio)
    moved = frames.clone()
    moved[0, 20:30] += noise(10, 16)
    one, other = (model.contextual(x, spans=spans)[-1] for x in (frames, moved))
    assert torch.equal(one, other)
    assert not torch.allclose(one, model.contextual(frames)[-1])


def test_bfloat16_is_near():
    model = seeded(lambda: MERTModel(SMALL))
    audio = noise(1, 24000)
    exact = model(audio)["hidden"][-1]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rough = model(audio)["hidden"][-1]
    assert (rough - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_weights_in_half_precision_take_sound_in_single():
    model = seeded(lambda: MERTModel(SMALL))
    audio = noise(1, 24000)
    exact = model(audio)["hidden"][-1]
    with torch.no_grad():
        rough = model.to(torch.bfloat16)(audio)["hidden"][-1]
    assert rough.dtype == torch.bfloat16
    assert (rough - exact).abs().mean() < 0.1 * exact.abs().mean()


def test_saved_weights_come_back(tmp_path):
    model = seeded(lambda: MERTModel(SMALL))
    path = model.save_pretrained(tmp_path / "here")
    assert path.name == "model.safetensors"
    audio = noise(1, 6000)
    for source in (path, tmp_path / "here"):
        again = MERTModel.from_pretrained(source)
        assert again.config == SMALL
        assert torch.equal(again(audio)["hidden"][-1], model(audio)["hidden"][-1])


@pytest.mark.parametrize(
    ("audio", "words"),
    [
        (torch.zeros(1, 399), "at least 400"),
        (torch.zeros(0, 4000), "too short"),
        (torch.full((1, 4000), torch.nan), "not finite"),
    ],
    ids=["short", "empty", "nan"],
)
def test_bad_clips_are_refused(audio, words):
    with pytest.raises(InputError, match=words):
        MERTModel(SMALL)(audio)


def test_bad_layers_masks_and_configurations_are_refused():
    model = MERTModel(SMALL)
    for layers in ([4], [-5], []):
        with pytest.raises(InputError, match="no such layers"):
            model(torch.zeros(1, 4000), layers=layers)
    mask = torch.ones(1, 4000, dtype=torch.bool)
    mask[0, 5] = False
    with pytest.raises(InputError, match="beginning of each clip"):
        model(torch.zeros(1, 4000), mask)
    with pytest.raises(InputError, match="does not know"):
        MERTModel({"width": 3})
    with pytest.raises(InputError, match="divide the width"):
        dataclasses.replace(SMALL, heads=5)
    with pytest.raises(InputError, match="equally long"):
        dataclasses.replace(SMALL, conv_stride=(5, 2))
