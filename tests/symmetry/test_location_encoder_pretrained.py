"""Other people's encoders: checkpoints of SatCLIP's layout, read without running anything in them; GeoCLIP."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from harmonia.core.errors import WeightsError
from harmonia.symmetry import LocationEncoder, load_geoclip, load_satclip
from harmonia.symmetry.location_encoder.points import random_points
from harmonia.symmetry.location_encoder.pretrained import GeoCLIPEncoder, read_inertly

POINTS = torch.from_numpy(random_points(20))


@pytest.fixture
def satclip(tmp_path: Path) -> tuple[Path, LocationEncoder]:
    """A checkpoint with SatCLIP's keys and, as Lightning's have, an object of a class that is not installed."""
    encoder = LocationEncoder(
        "sh", "siren", outputs=256, degree=10, convention="satclip", hidden=32, layers=2, seed=3
    ).double()
    state: dict[str, Any] = {}
    for key, value in encoder.network.state_dict().items():
        state[f"model.location.nnet.{key}"] = value
        state[f"model.nnet.{key}"] = value
    state["model.visual.conv1.weight"] = torch.zeros(3)
    state["model.logit_scale"] = torch.tensor(2.66)
    module = types.ModuleType("lightning_stand_in")
    module.AttributeDict = type(  # type: ignore[attr-defined]
        "AttributeDict", (dict,), {"__module__": "lightning_stand_in"}
    )
    sys.modules["lightning_stand_in"] = module
    parameters = {
        "le_type": "sphericalharmonics",
        "pe_type": "siren",
        "legendre_polys": 10,
        "harmonics_calculation": "analytic",
        "embed_dim": 256,
        "capacity": 32,
        "num_hidden_layers": 2,
        "min_radius": 1,
        "max_radius": 360,
        "frequency_num": 16,
        "air_temp_data_path": "air_temp",
    }
    path = tmp_path / "satclip-resnet18-l10.ckpt"
    torch.save(
        {
            "state_dict": state,
            "hyper_parameters": parameters,
            "hparams_type": module.AttributeDict,  # type: ignore[attr-defined]
            "callbacks": module.AttributeDict(x=1),  # type: ignore[attr-defined]
        },
        path,
    )
    del sys.modules["lightning_stand_in"]
    return path, encoder


def test_satclip_is_read_and_converted(satclip: tuple[Path, LocationEncoder], tmp_path: Path) -> None:
    path, encoder = satclip
    loaded = load_satclip(path)
    assert loaded.encode(POINTS).shape == (20, 256)
    assert torch.equal(loaded.encode(POINTS), encoder.encode(POINTS))
    converted = loaded.checkpoint().write(tmp_path / "satclip.safetensors")
    assert torch.equal(load_satclip(converted).encode(POINTS), encoder.encode(POINTS))


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    marker = tmp_path / "executed"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            import os

            return os.mkdir, (str(marker),)

    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": {}, "evil": Evil()}, path)
    assert read_inertly(path)["evil"] == {}
    with pytest.raises(WeightsError, match="no checkpoint of SatCLIP"):
        load_satclip(path)
    assert not marker.exists()


def test_wrong_files_are_refused(satclip: tuple[Path, LocationEncoder], tmp_path: Path) -> None:
    path, _ = satclip
    content = read_inertly(path)
    content = {"state_dict": content["state_dict"], "hyper_parameters": dict(content["hyper_parameters"])}
    content["hyper_parameters"]["capacity"] = 64
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(WeightsError, match="capacity"):
        load_satclip(tmp_path / "other.ckpt")
    content["hyper_parameters"]["pe_type"] = "fcnet"
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(WeightsError, match="only SatCLIP"):
        load_satclip(tmp_path / "other.ckpt")
    (tmp_path / "torn.ckpt").write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="no checkpoint"):
        load_satclip(tmp_path / "torn.ckpt")
    with pytest.raises(WeightsError, match="no such file"):
        load_satclip(tmp_path / "absent.ckpt")
    with pytest.raises(WeightsError):
        load_geoclip(path)


def test_geoclip_has_the_published_layout() -> None:
    encoder = GeoCLIPEncoder()
    keys = set(encoder.state_dict())
    assert {"LocEnc0.capsule.0.b", "LocEnc2.capsule.5.weight", "LocEnc1.head.0.bias"} <= keys
    assert sum(p.numel() for p in encoder.parameters()) == 9_449_472
    assert encoder.encode(POINTS).shape == (20, 512)
