"""The harmonics: identities that hold on the sphere, gradients, conventions, any degree."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.symmetry import SphericalHarmonics
from harmonia.symmetry.location_encoder import recurrence
from harmonia.symmetry.location_encoder.grid import Grid, synthesise
from harmonia.symmetry.location_encoder.points import random_points


def some_points(count: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(random_points(count, seed))


def unit(points: Tensor) -> Tensor:
    return SphericalHarmonics(1).unit_vectors(points)


def by_degree(squares: Tensor, degree: int) -> Tensor:
    return torch.stack([squares[:, n * n : (n + 1) ** 2].sum(1) for n in range(degree)], dim=1)


@pytest.mark.parametrize(("degree", "tolerance"), [(41, 1e-12), (100, 1e-12), (400, 1e-11)])
def test_addition_theorem(degree: int, tolerance: float) -> None:
    values = SphericalHarmonics(degree)(some_points(50))
    expected = (2 * torch.arange(degree, dtype=torch.float64) + 1) / (4 * math.pi)
    assert (by_degree(values.square(), degree) / expected - 1).abs().max() < tolerance


def test_orthonormal_on_a_gauss_legendre_grid() -> None:
    degree = 20
    nodes, weights = np.polynomial.legendre.leggauss(degree)
    lon = np.arange(2 * degree) * (180 / degree)
    grid = np.stack(np.meshgrid(lon, np.rad2deg(np.arcsin(nodes)), indexing="xy"), axis=-1).reshape(-1, 2)
    area = torch.from_numpy(np.repeat(weights, len(lon)) * (math.pi / degree))
    values = SphericalHarmonics(degree)(torch.from_numpy(grid))
    gram = values.T @ (values * area[:, None])
    assert (gram - torch.eye(degree * degree)).abs().max() < 1e-12


def test_a_rotation_mixes_only_columns_of_one_degree_and_does_so_orthogonally() -> None:
    degree = 8
    rotation = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))[0]
    rotation = rotation * torch.linalg.det(rotation)
    xyz = unit(some_points(300))
    before, after = recurrence.basis(xyz, degree), recurrence.basis(rotation @ xyz, degree)
    for n in range(degree):
        rows = slice(n * n, (n + 1) ** 2)
        solution = torch.linalg.lstsq(before[rows].T, after[rows].T).solution
        assert (before[rows].T @ solution - after[rows].T).abs().max() < 1e-12
        assert (solution.T @ solution - torch.eye(2 * n + 1)).abs().max() < 1e-12


def test_poles_and_date_line() -> None:
    harmonics = SphericalHarmonics(30)
    for pole in (90.0, -90.0):
        values = harmonics(torch.tensor([[0.0, pole], [123.4, pole], [-180.0, pole]], dtype=torch.float64))
        assert torch.equal(values[0], values[1])
        assert torch.equal(values[0], values[2])
        zonal = [n * (n + 1) for n in range(30)]
        assert values[0, zonal].abs().min() > 0.1
        values[0, zonal] = 0
        assert values[0].abs().max() == 0
    east, west = harmonics(torch.tensor([[180.0, 12.0], [-180.0, 12.0]], dtype=torch.float64))
    assert (east - west).abs().max() < 1e-12
    around = harmonics(torch.tensor([[77.0, -40.0], [77.0 + 360, -40.0]], dtype=torch.float64))
    assert (around[0] - around[1]).abs().max() < 1e-12


def test_gradients_agree_with_differences_and_exist_at_the_poles() -> None:
    harmonics = SphericalHarmonics(4)
    points = torch.tensor([[5.6, 51.9], [0.0, 89.9], [30.0, -89.0], [170.0, 0.0], [-180.0, -33.0]])
    points = points.to(torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(harmonics, points, eps=1e-5, atol=1e-7)
    assert torch.autograd.gradgradcheck(harmonics, points, eps=1e-4, atol=1e-6)
    poles = torch.tensor([[10.0, 90.0], [10.0, -90.0]], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(harmonics(poles).sum(), poles)
    step = torch.tensor([[0.0, -1e-5], [0.0, 1e-5]], dtype=torch.float64)
    difference = (harmonics(poles + step) - harmonics(poles)).sum(1).detach() / step[:, 1]
    assert (slope[:, 1] - difference).abs().max() < 1e-4
    assert slope[:, 0].abs().max() < 1e-12


def test_laplacian_has_the_known_eigenvalues() -> None:
    harmonics = SphericalHarmonics(6)
    points = (some_points(3) * torch.tensor([1.0, 0.8])).requires_grad_()
    lat = torch.deg2rad(points[:, 1]).detach()
    scale = 180 / math.pi
    for column, eigenvalue in enumerate(harmonics.eigenvalues()):
        value = harmonics(points)[:, column]
        (first,) = torch.autograd.grad(value.sum(), points, create_graph=True)
        lon_lon = torch.autograd.grad(first[:, 0].sum(), points, retain_graph=True)[0][:, 0]
        lat_lat = torch.autograd.grad(first[:, 1].sum(), points, retain_graph=True)[0][:, 1]
        laplacian = scale**2 * (lon_lon / lat.cos() ** 2 + lat_lat) - scale * lat.tan() * first[:, 1]
        assert (laplacian - eigenvalue * value).abs().max() < 1e-9


def test_conventions_are_the_stated_signs_and_constants() -> None:
    degree, points = 12, some_points(40)
    values = {name: SphericalHarmonics(degree, name)(points) for name in ("standard", "official", "satclip")}
    n = torch.tensor([float(n) for n in range(degree) for _ in range(2 * n + 1)], dtype=torch.float64)
    m = torch.tensor([float(m) for n in range(degree) for m in range(-n, n + 1)], dtype=torch.float64)
    sign = (-1.0) ** n
    assert (values["official"] - sign * values["standard"]).abs().max() < 1e-13
    assert (values["satclip"] - torch.where(m == 0, math.pi * sign, sign) * values["standard"]).abs().max() < 1e-13
    closed_form = SphericalHarmonics(degree, "closed-form")(points)
    assert (closed_form - (-1.0) ** (n + m.abs()) * values["standard"]).abs().max() < 1e-13
    assert values["satclip"][0, 0] == pytest.approx(0.886226925452758)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_small_degrees(degree: int) -> None:
    harmonics = SphericalHarmonics(degree)
    points = some_points(5).requires_grad_()
    values = harmonics(points)
    assert values.shape == (5, degree * degree) == (5, len(harmonics.names()))
    values.sum().backward()
    assert points.grad is not None
    assert points.grad.isfinite().all()


def test_single_precision_input_is_computed_in_double() -> None:
    points = some_points(20).to(torch.float32)
    single, double = SphericalHarmonics(60)(points), SphericalHarmonics(60)(points.double())
    assert single.dtype == torch.float32
    assert (single - double).abs().max() < 1e-6


def test_tiles_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    xyz = unit(some_points(700))
    whole = recurrence.basis(xyz, 9)
    monkeypatch.setattr(recurrence, "TILE", 1)
    assert torch.equal(recurrence.basis(xyz, 9), whole)
    points = some_points(700).requires_grad_()
    (tiled,) = torch.autograd.grad(SphericalHarmonics(9)(points).square().sum(), points)
    monkeypatch.undo()
    (plain,) = torch.autograd.grad(SphericalHarmonics(9)(points).square().sum(), points)
    assert (tiled - plain).abs().max() < 1e-12


def test_shared_exponents_change_nothing_where_they_are_not_needed() -> None:
    xyz = unit(torch.tensor([[10.0, 68.4], [20.0, 89.9], [30.0, 90.0], [-70.0, -12.0]], dtype=torch.float64))
    constants = recurrence.coefficients(300, xyz.device)
    wide = torch.cat([block.clone() for block in recurrence._wide_blocks(xyz, constants)])
    assert (wide - recurrence.basis(xyz, 300)).abs().max() < 1e-11


def test_degree_2000_needs_shared_exponents_and_has_them() -> None:
    # cos(lat) = 1/e, where powers of cos(lat) underflow before the harmonics become large
    points = torch.tensor([[10.0, math.degrees(math.acos(math.exp(-1)))], [30.0, 75.0]], dtype=torch.float64)
    xyz, degree = unit(points), 2200

    def worst(blocks: object) -> float:
        errors = [
            (block.square().sum(0) * (4 * math.pi / (2 * n + 1)) - 1).abs().max()
            for n, block in enumerate(blocks)  # type: ignore[arg-type, var-annotated]
        ]
        return float(torch.stack(errors).max())

    assert worst(recurrence.degree_blocks(xyz, degree)) < 1e-9
    assert worst(recurrence._blocks(xyz, recurrence.coefficients(degree, xyz.device), None)) > 1e-6


@pytest.mark.parametrize("convention", ["standard", "satclip"])
def test_projection_equals_the_product_and_so_does_its_gradient(convention: str) -> None:
    harmonics = SphericalHarmonics(11, convention)  # type: ignore[arg-type]
    points = some_points(33)
    weight = torch.randn(5, 121, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    fused, direct = harmonics.project(points, weight), harmonics(points) @ weight.T
    assert (fused - direct).abs().max() < 1e-12
    (slope,) = torch.autograd.grad(fused.sin().sum(), weight)
    (expected,) = torch.autograd.grad(direct.sin().sum(), weight)
    assert (slope - expected).abs().max() < 1e-12


@pytest.mark.parametrize("convention", ["standard", "official", "closed-form", "satclip"])
@pytest.mark.parametrize("resolution", [6.0, 20.0])
def test_fourier_synthesis_equals_evaluation_at_each_cell(convention: str, resolution: float) -> None:
    harmonics, grid = SphericalHarmonics(16, convention), Grid.of(resolution)  # type: ignore[arg-type]
    weight = torch.randn(3, 256, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    direct = harmonics(torch.from_numpy(grid.points())) @ weight.T
    assert (synthesise(harmonics, weight, grid).flatten(0, 1) - direct).abs().max() < 1e-11
    some = synthesise(harmonics, weight, grid, slice(1, 3)).flatten(0, 1)
    assert (some - direct[grid.columns : 3 * grid.columns]).abs().max() < 1e-11


def test_bad_points_and_degrees_are_refused() -> None:
    harmonics = SphericalHarmonics(4)
    for bad in ([[0.0, 91.0]], [[float("nan"), 0.0]], [[0.0, float("inf")]]):
        with pytest.raises(InputError, match="beyond the poles"):
            harmonics(torch.tensor(bad))
    with pytest.raises((InputError, TypeError)):  # the tests' shape checker may speak first
        harmonics(torch.zeros(3, 4))
    with pytest.raises(InputError, match="at least 1"):
        SphericalHarmonics(0)
    assert harmonics(torch.zeros(0, 2)).shape == (0, 16)
    assert harmonics(torch.zeros(2, 3, 2)).shape == (2, 3, 16)
