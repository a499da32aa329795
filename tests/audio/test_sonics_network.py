"""SpecTTTra: published sizes, tokens by hand, blocks beside torch's own, features that lead to the logit."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.audio.sonics import SpecTTTra, SpecTTTraConfig
from harmonia.audio.sonics.network import Block
from harmonia.core.errors import InputError

TINY = SpecTTTraConfig.tiny()


def network(config: SpecTTTraConfig = TINY, seed: int = 0) -> SpecTTTra:
    torch.manual_seed(seed)
    return SpecTTTra(config).eval()


def spectrogram(batch: int = 2, config: SpecTTTraConfig = TINY, seed: int = 0) -> Tensor:
    return torch.randn(batch, *config.input_shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("variant", "seconds", "tokens", "parameters"),
    [
        ("alpha", 5, 170, 16_828_045),
        ("beta", 5, 67, 16_985_101),
        ("gamma", 5, 43, 17_172_493),
        ("alpha", 120, 1376, 18_679_693),
        ("beta", 120, 790, 21_428_365),
        ("gamma", 120, 559, 24_313_357),
    ],
)
def test_released_shapes(variant, seconds, tokens, parameters):
    config = SpecTTTraConfig.released(variant, seconds)
    with torch.device("meta"):
        model = SpecTTTra(config)
    assert config.tokens == tokens
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    assert config.samples == seconds * 16000
    assert config.hidden == 1025


def test_tokens_are_slices_of_time_then_of_frequency():
    model, x = network(dataclasses.replace(TINY, t_clip=5, f_clip=9)), spectrogram()
    tokens = model.encoder.st_tokenizer(x)
    time, band = model.encoder.st_tokenizer.temporal_tokenizer, model.encoder.st_tokenizer.spectral_tokenizer
    assert tokens.shape == (2, 32 // 5 + 128 // 9, 32)  # frames and bands left over are dropped
    for place, part, tokenizer, number in ((3, x[:, :, 15:20], time, 3), (6 + 2, x[:, 18:27].mT, band, 2)):
        projected = torch.einsum("bcs,dcs->bd", part, tokenizer.conv1d.weight)
        expected = F.layer_norm(F.gelu(projected) + tokenizer.pos_encoder.pe[0, number], (32,), eps=1e-6)
        torch.testing.assert_close(tokens[:, place], expected, rtol=1e-4, atol=1e-5)


def test_a_block_is_torchs_pre_normalised_encoder_layer():
    torch.manual_seed(0)
    block = Block(32, 4, 48, dropout=0.1).eval()
    layer = nn.TransformerEncoderLayer(32, 4, 48, 0.1, "gelu", batch_first=True, norm_first=True).eval()
    with torch.no_grad():
        layer.self_attn.in_proj_weight.copy_(block.attn.qkv.weight)
        layer.self_attn.in_proj_bias.zero_()
        for theirs, ours in (
            (layer.self_attn.out_proj, block.attn.proj),
            (layer.linear1, block.mlp.fc1),
            (layer.linear2, block.mlp.fc2),
            (layer.norm1, block.norm1),
            (layer.norm2, block.norm2),
        ):
            theirs.load_state_dict(ours.state_dict())
        x = torch.randn(2, 7, 32)
        torch.testing.assert_close(block(x), layer(x), rtol=1e-5, atol=1e-5)


def test_the_last_features_lead_to_the_logit():
    model, x = network(), spectrogram()
    features = model.features(x)
    assert features.shape == (2, TINY.depth + 1, TINY.dim)
    torch.testing.assert_close(features[:, -1] @ model.classifier.weight[0] + model.classifier.bias, model(x))
    torch.testing.assert_close(features[:, 0], model.encoder.st_tokenizer(x).mean(1))


def test_windows_of_a_batch_do_not_see_each_other():
    model, x = network(), spectrogram(3)
    torch.testing.assert_close(model(x)[1:2], model(x[1:2]), rtol=1e-5, atol=1e-6)


def test_gradients_are_those_of_finite_differences():
    model = network(dataclasses.replace(TINY, dim=8, depth=1, heads=1)).double()
    x = spectrogram(1).double().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x).sum(), x)
    direction = spectrogram(1, seed=1).double()
    with torch.no_grad():
        slope = (model(x + 1e-5 * direction) - model(x - 1e-5 * direction)).sum() / 2e-5
    assert float(slope) == pytest.approx(float((gradient * direction).sum()), rel=1e-6)


def test_dropout_acts_in_training_only():
    model, x = network(), spectrogram()
    assert torch.equal(model(x), model(x))
    model.train()
    assert not torch.equal(model(x), model(x))


def test_saved_and_read_again(tmp_path):
    model, x = network(), spectrogram()
    model.save_pretrained(tmp_path)
    again = SpecTTTra.from_pretrained(tmp_path)
    assert again.config == model.config
    assert torch.equal(again(x), model(x))


@pytest.mark.parametrize(
    "change",
    [
        {"t_clip": 0},
        {"t_clip": 33},
        {"f_clip": 200},
        {"heads": 5},
        {"depth": 0},
        {"seconds": 0.1},
        {"dropout": 1.0},
        {"mlp_ratio": 0.0},
    ],
    ids=str,
)
def test_impossible_shapes_are_refused(change):
    with pytest.raises(InputError):
        dataclasses.replace(TINY, **change)


def test_unknown_settings_and_releases_are_refused():
    with pytest.raises(InputError, match="windows"):
        SpecTTTra({"windows": 3})
    for variant, seconds in (("delta", 5), ("alpha", 30)):
        with pytest.raises(InputError):
            SpecTTTraConfig.released(variant, seconds)


def test_a_spectrogram_of_another_shape_is_refused():
    with pytest.raises(InputError, match="128, 32"):
        network()(torch.zeros(1, 128, 33))
