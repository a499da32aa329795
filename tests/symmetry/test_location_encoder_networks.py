"""Encodings, networks and encoders: sizes, formulas, seeds, files, grids."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from harmonia.core.errors import InputError, WeightsError
from harmonia.symmetry import LocationEncoder
from harmonia.symmetry.location_encoder.encodings import ENCODINGS, make_encoding
from harmonia.symmetry.location_encoder.grid import Grid
from harmonia.symmetry.location_encoder.networks import FCNet, Siren, make_network
from harmonia.symmetry.location_encoder.points import random_points

POINTS = torch.from_numpy(random_points(40))
SIZES = {
    "sh": 36, "direct": 2, "cartesian3d": 3, "wrap": 4, "grid": 64,
    "theory": 96, "spherec": 48, "spherec+": 96, "spherem": 80, "spherem+": 128,
}  # fmt: skip
OFFICIAL_SIZES = {**SIZES, "spherec": 96, "spherec+": 192, "spherem": 160, "spherem+": 256}


@pytest.mark.parametrize("name", ENCODINGS)
def test_sizes_are_as_stated(name: str) -> None:
    encoding = make_encoding(name, degree=6)
    values = encoding(POINTS)
    assert values.shape == (40, SIZES[name]) == (40, encoding.num_features)
    official = make_encoding(name, degree=6, compat="locationencoder")
    assert official(POINTS).shape == (40, OFFICIAL_SIZES[name]) == (40, official.num_features)
    assert values.isfinite().all()


def test_encodings_are_their_formulas() -> None:
    lon, lat = 30.0, 50.0
    point = torch.tensor([[lon, lat]], dtype=torch.float64)
    radii = [10 * 36 ** (s / 3) for s in range(4)]
    wide, high = [math.radians(lon), math.radians(lat)]

    def check(name: str, expected: list[float], compat: str = "") -> None:
        values = make_encoding(name, num_scales=4, compat=compat)(point)[0]  # type: ignore[arg-type]
        torch.testing.assert_close(values, torch.tensor(expected, dtype=torch.float64))

    check("wrap", [math.cos(wide), math.sin(wide), math.cos(high), math.sin(high)])
    check("direct", [wide - math.pi, high - math.pi])
    check("grid", [f(c / r) for c in (lon, lat) for r in radii for f in (math.sin, math.cos)])
    single = [
        [math.sin(lat / r), math.cos(lat / r) * math.cos(lon / r), math.cos(lat / r) * math.sin(lon / r)] for r in radii
    ]
    check("spherec", [x for scale in single for x in scale])
    check("spherec", [x for scale in single for x in scale for _ in range(2)], compat="locationencoder")
    third = [(0.0, 1.0), (math.sqrt(3) / 2, -0.5), (-math.sqrt(3) / 2, -0.5)]
    angles = [(c * lon + s * lat) / r for r in radii for s, c in third]
    check("theory", [f(a) for a in angles for f in (math.sin, math.cos)])
    for compat, (a, b) in {"": (wide, high), "locationencoder": (lon, lat)}.items():
        mixed = [
            [
                math.sin(lat / r),
                math.cos(lat / r) * math.cos(a),
                math.cos(b) * math.cos(lon / r),
                math.cos(lat / r) * math.sin(a),
                math.cos(b) * math.sin(lon / r),
            ]
            for r in radii
        ]
        check("spherem", [x for scale in mixed for x in scale for _ in range(2 if compat else 1)], compat)


def test_spherical_encodings_have_no_seam_and_direct_has() -> None:
    date_line = torch.tensor([[180.0, 20.0], [-180.0, 20.0]], dtype=torch.float64)
    for name in ("sh", "cartesian3d", "wrap"):
        east, west = make_encoding(name)(date_line)
        assert (east - west).abs().max() < 1e-12
    east, west = make_encoding("direct")(date_line)
    assert (east - west).abs().max() > 6


def test_siren_starts_as_stated_and_has_the_stated_size() -> None:
    encoder = LocationEncoder("sh", "siren", degree=10, hidden=64, layers=2)
    assert sum(p.numel() for p in encoder.parameters()) == 10_689
    assert isinstance(encoder.network, Siren)
    first, second = encoder.network.layers[0].weight, encoder.network.layers[1].weight
    assert 0.0098 < first.abs().max() <= 1 / 100
    assert 0.29 < second.abs().max() <= math.sqrt(6 / 64)
    x = torch.randn(3, 100)
    h = torch.sin(30 * encoder.network.layers[0](x))
    h = torch.sin(encoder.network.layers[1](h))
    torch.testing.assert_close(encoder.network(x), encoder.network.last_layer(h))


def test_fcnet_has_the_names_of_the_official_code() -> None:
    names = set(FCNet(9, 2, 16).state_dict())
    assert {"feats.0.weight", "feats.2.w1.weight", "feats.5.w2.bias", "class_emb.weight"} <= names
    assert "class_emb.bias" not in names


@pytest.mark.parametrize("network", ["siren", "fcnet", "linear"])
@pytest.mark.parametrize("encoding", ["sh", "spherec+", "wrap"])
def test_all_ways_of_evaluating_agree(encoding: str, network: str) -> None:
    encoder = LocationEncoder(encoding, network, outputs=3, degree=9, hidden=16).double().eval()
    grid = Grid.of(15.0)
    points = torch.from_numpy(grid.points())
    plain = encoder.network(encoder.features(points))
    torch.testing.assert_close(encoder(points), plain)
    torch.testing.assert_close(encoder(points.clone().requires_grad_()), plain)
    torch.testing.assert_close(encoder.encode(points), plain.detach())
    torch.testing.assert_close(encoder.on_grid(grid).flatten(0, 1), plain.detach())


def test_evaluation_turns_dropout_off_and_leaves_the_mode() -> None:
    encoder = LocationEncoder("sh", "fcnet", degree=4, hidden=16).train()
    assert torch.equal(encoder.encode(POINTS), encoder.encode(POINTS))
    assert encoder.training


def test_gradients_in_weights_and_points() -> None:
    encoder = LocationEncoder("sh", "siren", degree=5, hidden=8).double()
    points = POINTS[:4].clone()
    assert torch.autograd.gradcheck(lambda x: encoder(x), points.requires_grad_(), eps=1e-5, atol=1e-6)
    encoder(POINTS).sum().backward()
    fused = [parameter.grad.clone() for parameter in encoder.parameters()]  # type: ignore[union-attr]
    encoder.zero_grad()
    encoder.network(encoder.features(POINTS)).sum().backward()
    for ours, expected in zip(fused, encoder.parameters()):
        torch.testing.assert_close(ours, expected.grad)


def test_same_seed_same_network_and_the_global_generator_is_not_seeded() -> None:
    a, b, c = (LocationEncoder(seed=s) for s in (1, 1, 2))
    assert torch.equal(a.network.first.weight, b.network.first.weight)
    assert not torch.equal(a.network.first.weight, c.network.first.weight)


def test_files_hold_everything(tmp_path: Path) -> None:
    encoder = LocationEncoder("spherem+", "siren", outputs=4, hidden=8, num_scales=5, compat="locationencoder")
    path = encoder.checkpoint(data="none").write(tmp_path / "encoder.safetensors")
    again = LocationEncoder.from_checkpoint(path)
    assert again.config == encoder.config
    assert torch.equal(again.encode(POINTS), encoder.encode(POINTS))
    encoder.save_pretrained(tmp_path / "hub")
    assert torch.equal(LocationEncoder.from_pretrained(tmp_path / "hub").encode(POINTS), encoder.encode(POINTS))
    with pytest.raises(WeightsError, match="no such file"):
        LocationEncoder.from_checkpoint(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(WeightsError):
        LocationEncoder.from_checkpoint(tmp_path / "bad.safetensors")


def test_impossible_encoders_are_refused() -> None:
    for arguments, words in (
        ({"encoding": "cube"}, "no such encoding"),
        ({"network": "resnet"}, "no such network"),
        ({"encoding": "grid", "num_scales": 1}, "two radii"),
        ({"encoding": "grid", "min_radius": 400.0}, "two radii"),
        ({"hidden": 0}, "at least 1"),
        ({"degree": 0}, "at least 1"),
    ):
        with pytest.raises(InputError, match=words):
            LocationEncoder(**arguments)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="at least 1"):
        make_network("siren", 3, 1, layers=0)
    with pytest.raises(InputError, match="resolution"):
        Grid.of(0.001)
