"""Released weights: the official layout with its buffers and config.json, and everything else refused by name."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch

from harmonia.audio.sonics import SpecTTTra, SpecTTTraConfig, load_checkpoint
from harmonia.audio.sonics.checkpoint import infer_config, read_config
from harmonia.core.errors import InputError, WeightsError
from harmonia.parts.log_mel import LogMel

SMALL = SpecTTTraConfig(input_shape=(128, 128), t_clip=3, f_clip=1, dim=64, depth=2, heads=1, seconds=5.0)
CONFIG = {
    "audio": {"sample_rate": 16000, "max_time": 5, "random_sampling": True, "normalize": True},
    "melspec": {
        "n_fft": 2048,
        "hop_length": 512,
        "win_length": 2048,
        "n_mels": 128,
        "f_min": 20,
        "f_max": 8000,
        "power": 2,
        "top_db": 80,
        "norm": "mean_std",
    },
    "model": {
        "name": "SpecTTTra",
        "input_shape": [128, 128],
        "embed_dim": 64,
        "num_heads": 1,
        "num_layers": 2,
        "t_clip": 3,
        "f_clip": 1,
        "pre_norm": True,
        "pe_learnable": True,
        "pos_drop_rate": 0.1,
        "attn_drop_rate": 0.1,
        "proj_drop_rate": 0.0,
        "mlp_ratio": 2.67,
    },
    "augment": {"mixup_alpha": 2.5},
    "num_classes": 1,
}
WINDOW, FILTERS = "ft_extractor.audio2melspec.spectrogram.window", "ft_extractor.audio2melspec.mel_scale.fb"


def released(folder: Path, config: dict | None = CONFIG, **change: torch.Tensor | None) -> SpecTTTra:
    """A folder as the hub gives it; `change` replaces tensors or, with None, drops them."""
    torch.manual_seed(0)
    model = SpecTTTra(SMALL).eval()
    buffers = {WINDOW: torch.hann_window(2048), FILTERS: LogMel("sonics").filters.T.clone()}
    state = {**buffers, **model.state_dict(), **change}
    torch.save({key: value for key, value in state.items() if value is not None}, folder / "pytorch_model.bin")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return model


@pytest.mark.parametrize("config", [CONFIG, None], ids=["config.json", "shapes only"])
def test_a_released_folder_is_read(tmp_path, config):
    model = released(tmp_path, config)
    x = torch.randn(1, 128, 128)
    for source in (tmp_path, tmp_path / "pytorch_model.bin", str(tmp_path)):
        again = load_checkpoint(source)
        assert again.config == SMALL
        assert not again.training
        assert torch.equal(again(x), model(x))


@pytest.mark.parametrize("variant", ["alpha", "beta", "gamma"])
@pytest.mark.parametrize("seconds", [5, 120])
def test_the_shapes_tell_the_released_configuration(variant, seconds):
    config = SpecTTTraConfig.released(variant, seconds)
    with torch.device("meta"):
        assert infer_config(SpecTTTra(config).state_dict()) == config


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("encoder.transformer.blocks.1.norm1.bias", None, "lack 'encoder.transformer.blocks.1.norm1.bias'"),
        ("encoder.transformer.blocks.1.ls1.gamma", torch.ones(64), "'encoder.transformer.blocks.1.ls1.gamma'"),
        ("classifier.weight", torch.ones(2, 64), "classifier.weight"),
        (WINDOW, torch.ones(2048), "another front-end"),
        (FILTERS, torch.ones(1025, 64), "another front-end"),
        ("ft_extractor.more", torch.ones(1), "ft_extractor.more"),
    ],
    ids=["missing", "unexpected", "shape", "window", "filters", "buffer"],
)
def test_what_does_not_fit_is_named(tmp_path, key, value, message):
    released(tmp_path, **{key: value})
    with pytest.raises(WeightsError, match=message.replace(".", r"\.")):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("audio", "sample_rate", 44100),
        ("melspec", "n_fft", 1024),
        ("melspec", "norm", "min_max"),
        ("model", "name", "ViT"),
        ("model", "pre_norm", False),
        ("model", "pe_learnable", False),
    ],
)
def test_other_front_ends_and_networks_are_refused(tmp_path, section, key, value):
    config = copy.deepcopy(CONFIG)
    config[section][key] = value
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=key):
        read_config(tmp_path / "config.json")


@pytest.mark.parametrize("text", ["", "{", "[1]", "{}", '{"model": {}, "audio": {"max_time": 5}}'])
def test_what_is_no_configuration_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match="no configuration"):
        read_config(tmp_path / "config.json")


def test_folders_and_files_without_these_weights_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="no weights"):
        load_checkpoint(tmp_path)
    torch.save({"conv.weight": torch.ones(3)}, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="not the weights of a SpecTTTra"):
        load_checkpoint(tmp_path / "other.pt")
    (tmp_path / "corrupt.pt").write_bytes(b"not a file of weights")
    with pytest.raises(WeightsError):
        load_checkpoint(tmp_path / "corrupt.pt")
    odd = SpecTTTra(SpecTTTraConfig.tiny())
    torch.save(odd.state_dict(), tmp_path / "odd.pt")
    with pytest.raises(WeightsError, match="Pass the configuration"):
        load_checkpoint(tmp_path / "odd.pt")
    assert load_checkpoint(tmp_path / "odd.pt", SpecTTTraConfig.tiny()).config == odd.config
