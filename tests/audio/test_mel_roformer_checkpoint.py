"""Released checkpoints: read in every wrapping, shape inferred, and refused with the field to change."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import pytest
import torch

from harmonia.audio.mel_roformer import MelBandRoformer, MelBandRoformerConfig
from harmonia.audio.mel_roformer.checkpoint import infer_config, load_checkpoint, read_config
from harmonia.core.errors import InputError, WeightsError
from harmonia.core.weights import write_safetensors

SMALL = MelBandRoformerConfig(dim=8, depth=2, heads=2, head_dim=4, mask_expansion=1)

# As public YAML files look, tags included.
YAML = """
audio:
  chunk_size: 352800
  sample_rate: 44100
model:
  dim: 8
  depth: 2
  stereo: true
  num_stems: 1
  time_transformer_depth: 1
  freq_transformer_depth: 1
  num_bands: 60
  dim_head: 4
  heads: 2
  attn_dropout: 0
  ff_dropout: 0
  flash_attn: True
  dim_freqs_in: 1025
  sample_rate: 44100
  stft_n_fft: 2048
  stft_hop_length: 441
  stft_win_length: 2048
  stft_normalized: False
  mask_estimator_depth: 2
  mlp_expansion_factor: 1
  multi_stft_resolutions_window_sizes: !!python/tuple
  - 4096
  - 2048
  multi_stft_hop_size: 147
training:
  instruments: [vocals, other]
  target_instrument: vocals
"""


@pytest.fixture(scope="module")
def model() -> MelBandRoformer:
    return MelBandRoformer(SMALL)


def same(a: MelBandRoformer, b: MelBandRoformer) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state": state},
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model_state_dict": {f"module.{key}": value for key, value in state.items()}},
        lambda state: {f"model.{key}": value for key, value in state.items()},
    ],
)
def test_wrapped_forms_are_read_and_the_shape_is_inferred(tmp_path, model, wrap):
    torch.save(wrap(model.state_dict()), tmp_path / "model.ckpt")
    again = MelBandRoformer.from_checkpoint(tmp_path / "model.ckpt")
    assert again.config == SMALL
    assert same(again, model)
    assert not again.training


@pytest.mark.parametrize(
    "change",
    [
        {"channels": 1},
        {"stems": ("stem1", "stem2")},
        {"mask_depth": 1, "mask_expansion": 2},
        {"time_depth": 2, "heads": 3},
        {"feature_depth": 1},
        {"sample_rate": 24000, "hop_length": 240, "n_fft": 1024, "num_bands": 24},
        {"split": "heuristic", "num_bands": 62},
        {"n_fft": 4096},
    ],
)
def test_every_shape_is_inferred(change):
    config = dataclasses.replace(SMALL, **change)
    with torch.device("meta"):
        state = MelBandRoformer(config).state_dict()
    assert infer_config(state) == config


def test_our_files_carry_their_configuration(tmp_path, model):
    config = dataclasses.replace(SMALL, skip_connection=True, hop_length=512)
    write_safetensors(
        tmp_path / "m.safetensors", model.state_dict(), {"config": json.dumps(dataclasses.asdict(config))}
    )
    again = load_checkpoint(tmp_path / "m.safetensors")
    assert again.config == config
    assert same(again, model)


def test_weights_are_converted_on_request(tmp_path, model):
    torch.save({key: value.half() for key, value in model.state_dict().items()}, tmp_path / "half.ckpt")
    assert next(load_checkpoint(tmp_path / "half.ckpt").parameters()).dtype == torch.float32
    assert next(load_checkpoint(tmp_path / "half.ckpt", dtype=torch.bfloat16).parameters()).dtype == torch.bfloat16


def test_a_loaded_model_can_be_trained(tmp_path, model):
    torch.save(model.state_dict(), tmp_path / "model.ckpt")
    before = (tmp_path / "model.ckpt").read_bytes()
    again = load_checkpoint(tmp_path / "model.ckpt").train()
    optimizer = torch.optim.SGD(again.parameters(), lr=1.0)
    again(torch.randn(1, 2, 4000)).square().mean().backward()
    optimizer.step()
    assert (tmp_path / "model.ckpt").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"dim": 16}, "dim"),
        ({"depth": 1}, "depth"),
        ({"depth": 3}, "depth"),
        ({"head_dim": 8}, "head_dim"),
        ({"channels": 1}, "channels"),
        ({"num_bands": 50}, "num_bands"),
        ({"mask_depth": 1}, "mask_depth"),
        ({"stems": ("a", "b")}, "stems"),
        ({"feature_depth": 1}, "depth"),
    ],
)
def test_a_wrong_configuration_is_named(tmp_path, model, change, field):
    torch.save(model.state_dict(), tmp_path / "model.ckpt")
    with pytest.raises(WeightsError, match=field):
        load_checkpoint(tmp_path / "model.ckpt", dataclasses.replace(SMALL, **change))


def test_another_rotary_embedding_is_refused(tmp_path, model):
    state = {key: value.clone() for key, value in model.state_dict().items()}
    state["layers.1.0.layers.0.0.rotary_embed.freqs"] *= 2
    torch.save(state, tmp_path / "model.ckpt")
    with pytest.raises(WeightsError, match=r"layers\.1\.0\.layers\.0\.0\.rotary_embed"):
        load_checkpoint(tmp_path / "model.ckpt")


def test_other_files_are_refused(tmp_path, model):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.ckpt")
    with pytest.raises(WeightsError, match="not the weights of a Mel-band RoFormer"):
        load_checkpoint(tmp_path / "other.ckpt")
    (tmp_path / "text.ckpt").write_text("<html>404</html>")
    with pytest.raises(WeightsError, match=r"text\.ckpt"):
        load_checkpoint(tmp_path / "text.ckpt")
    with pytest.raises(WeightsError, match="no such file"):
        load_checkpoint(tmp_path / "none.ckpt")
    torch.save({"state_dict": model.state_dict(), "trainer": object}, tmp_path / "pickled.ckpt")
    with pytest.raises(WeightsError, match="trust"):
        load_checkpoint(tmp_path / "pickled.ckpt")


def test_the_checksum_is_verified(tmp_path, model):
    path = tmp_path / "model.ckpt"
    torch.save(model.state_dict(), path)
    load_checkpoint(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    with pytest.raises(WeightsError, match="not the published file"):
        load_checkpoint(path, sha256="0" * 64)


def test_public_yaml_is_read(tmp_path, model):
    (tmp_path / "c.yaml").write_text(YAML)
    assert read_config(tmp_path / "c.yaml") == SMALL
    torch.save(model.state_dict(), tmp_path / "model.ckpt")
    assert same(load_checkpoint(tmp_path / "model.ckpt", tmp_path / "c.yaml"), model)


def test_what_public_yaml_leaves_out_means_what_its_code_takes(tmp_path):
    (tmp_path / "c.yaml").write_text("model: {dim: 8, depth: 2, stereo: true, num_stems: 4}\n")
    config = read_config(tmp_path / "c.yaml")
    assert (config.hop_length, config.mask_depth, config.time_depth, config.band_depth) == (512, 1, 2, 2)
    assert config.stems == ("stem1", "stem2", "stem3", "stem4")


def test_our_json_is_read(tmp_path, model):
    model.save_pretrained(tmp_path)
    assert read_config(tmp_path / "config.json") == SMALL


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: !!python/object/apply:os.system [ls]", "safe to read"),
        ("a: [unclosed", "safe to read"),
        ("- a list", "not a configuration"),
        ("model: {dim: 8, use_value_residual: true}", "use_value_residual"),
        ("model: {dim: 8, stft_normalized: true}", "stft_normalized"),
        ("model: {dim: 8, stft_win_length: 1024}", "stft_win_length"),
        ("dimension: 8", "dimension"),
    ],
)
def test_configurations_that_cannot_be_used_are_refused(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_config(tmp_path / "c.yaml")
