"""Weights in every layout they are published in, and what does not fit."""

from __future__ import annotations

import dataclasses
import json
import re
from types import SimpleNamespace

import pytest
import torch

from harmonia.audio.mert import MERTConfig, MERTModel, load_checkpoint
from harmonia.audio.mert.checkpoint import encoder_weights, head_weights, infer_config
from harmonia.core.errors import InputError, WeightsError
from harmonia.core.progress import watched

SMALL = dataclasses.replace(
    MERTConfig.tiny(),
    cqt_bins=0,
    norm="post",
    dim=128,
    layers=2,
    heads=2,
    feed_forward=48,
    conv_dim=(8,) * 7,
    pos_kernel=10,
    pos_groups=16,
)


class Listener:
    def __init__(self):
        self.said = []

    def step(self, label, done, total): ...

    def say(self, message):
        self.said.append(message)


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MERTModel(SMALL).eval()


def output(model):
    return model(torch.randn(1, 6000, generator=torch.Generator().manual_seed(1)))["hidden"][-1]


def parametrized(state):
    """The names that newer PyTorch gives to weight norm."""
    names = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
    return {re.sub(r"weight_[gv]$", lambda m: names[m[0]], key): value for key, value in state.items()}


def fairseq(state):
    """The names of a training checkpoint, written down from fairseq's modules."""
    rules = (
        ("masked_spec_embed", "mask_emb"),
        (r"feature_projection\.layer_norm\.", "layer_norm."),
        (r"feature_projection\.projection\.", "post_extract_proj."),
        (r"(conv_layers\.\d+)\.conv\.", r"\1.0."),
        (r"(conv_layers\.\d+)\.layer_norm\.", r"\1.2."),
        (r"pos_conv_embed\.conv\.", "pos_conv.0."),
        (r"(layers\.\d+)\.layer_norm\.", r"\1.self_attn_layer_norm."),
        (r"(layers\.\d+)\.attention\.", r"\1.self_attn."),
        (r"feed_forward\.intermediate_dense", "fc1"),
        (r"feed_forward\.output_dense", "fc2"),
    )
    renamed = {}
    for key, value in state.items():
        for pattern, replacement in rules:
            key = re.sub(
                rf"(?<!conv_layers\.\d\.){pattern}" if "conv_layers" not in pattern else pattern, replacement, key
            )
        renamed[key] = value
    heads = {
        "final_proj.weight": torch.ones(128, 128),
        "final_proj.bias": torch.ones(128),
        "label_embs_concat": torch.ones(2 * 1024, 64),
        "encoder_cqt_model.fc.weight": torch.ones(336, 128),
        "encoder_cqt_model.fc.bias": torch.ones(336),
        "encoder_cqt_model.spec_layer.cqt_kernels_real": torch.ones(3, 1, 4),
        "encoder_cqt_model.spec_layer.lenghts": torch.ones(3),
    }
    return {**renamed, **heads}


LAYOUTS = {
    "hub": lambda state: state,
    "parametrizations": parametrized,
    "fairseq": fairseq,
    "hubert prefix": lambda state: {f"hubert.{key}": value for key, value in state.items()},
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=list(LAYOUTS))
def test_every_layout_is_read(model, layout, tmp_path):
    torch.save(layout(model.state_dict()), tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 2, "sample_rate": 24000}))
    again = load_checkpoint(tmp_path)
    assert torch.equal(output(again), output(model))


def test_fairseq_wraps_its_weights_and_more_than_tensors_is_refused(model, tmp_path):
    path = tmp_path / "MERT_fairseq.pt"
    torch.save({"model": fairseq(model.state_dict()), "args": None}, path)
    assert torch.equal(output(load_checkpoint(path, SMALL)), output(model))
    torch.save({"model": fairseq(model.state_dict()), "cfg": SimpleNamespace(x=1)}, path)
    with pytest.raises(WeightsError, match="trust"):
        load_checkpoint(path, SMALL)
    assert torch.equal(output(load_checkpoint(path, SMALL, trust_pickle=True)), output(model))


def test_heads_are_kept_apart(model):
    state = fairseq(model.state_dict())
    assert set(encoder_weights(state)) == set(model.state_dict())
    assert set(head_weights(state)) == {
        "final_proj.weight",
        "final_proj.bias",
        "label_embs_concat",
        "encoder_cqt_model.fc.weight",
        "encoder_cqt_model.fc.bias",
    }


def test_a_missing_mask_vector_is_no_matter(model, tmp_path):
    state = {key: value for key, value in model.state_dict().items() if key != "masked_spec_embed"}
    torch.save(state, tmp_path / "weights.bin")
    assert torch.equal(output(load_checkpoint(tmp_path / "weights.bin", SMALL)), output(model))


@pytest.mark.parametrize("config", [MERTConfig.base(), MERTConfig.large()], ids=["95M", "330M"])
def test_released_shapes_follow_from_their_tensors(config):
    with torch.device("meta"):
        state = MERTModel(config).state_dict()
    found = infer_config(state)
    assert dataclasses.replace(found, attention_relax=config.attention_relax) == config


def test_the_sample_rate_is_told_or_assumed_aloud(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    told = {"num_attention_heads": 2, "sample_rate": 16000, "do_stable_layer_norm": True, "attention_relax": -1.0}
    (tmp_path / "config.json").write_text(json.dumps(told))
    config = load_checkpoint(tmp_path).config
    assert (config.sample_rate, config.norm, config.attention_relax) == (16000, "pre", 0.0)
    (tmp_path / "config.json").unlink()
    listener = Listener()
    with watched(listener):
        assert load_checkpoint(tmp_path).config.sample_rate == 24000
    assert any("24000" in line for line in listener.said)


def test_what_does_not_fit_is_named(model, tmp_path):
    state, path = dict(model.state_dict()), tmp_path / "weights.bin"

    def refused(changed, words, config=SMALL):
        torch.save(changed, path)
        with pytest.raises(WeightsError, match=words):
            load_checkpoint(path, config)

    refused({**state, "encoder.extra": torch.ones(1)}, "encoder.extra")
    refused({k: v for k, v in state.items() if "layers.1.attention.q_proj.bias" not in k}, "lack .*q_proj.bias")
    refused({**state, "encoder.layer_norm.bias": torch.ones(3)}, "another shape")
    refused({"something": torch.ones(1)}, "not the weights of a MERT", None)
    with pytest.raises(WeightsError, match="no weights"):
        load_checkpoint(tmp_path / "..", SMALL)
    path.write_bytes(b"no weights at all")
    with pytest.raises(WeightsError):
        load_checkpoint(path)
    with pytest.raises(WeightsError, match="no such file"):
        load_checkpoint(tmp_path / "missing.bin")
    (tmp_path / "config.json").write_text("{")
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"config\.json"):
        load_checkpoint(tmp_path)


def test_weights_errors_are_input_errors():
    assert issubclass(WeightsError, InputError)


def test_half_precision_in_memory(model, tmp_path):
    torch.save(model.state_dict(), tmp_path / "weights.bin")
    loaded = load_checkpoint(tmp_path / "weights.bin", SMALL, dtype=torch.bfloat16)
    assert loaded.feature_projection.projection.weight.dtype == torch.bfloat16
