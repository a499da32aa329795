"""Harmonics and encoders beside other people's: SciPy, sphericart, the official formulas, GeoCLIP."""

from __future__ import annotations

import importlib
import math
import sys
import types

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

from harmonia.data.source import package_folder
from harmonia.symmetry import SphericalHarmonics, load_geoclip
from harmonia.symmetry.location_encoder import recurrence
from harmonia.symmetry.location_encoder.points import random_points

pytestmark = pytest.mark.peer


def test_scipy_to_degree_60() -> None:
    points = random_points(200)
    colatitude, lon = np.deg2rad(90 - points[:, 1]), np.deg2rad(points[:, 0])
    ours = SphericalHarmonics(61)(torch.from_numpy(points)).numpy()
    for n in range(0, 61, 4):
        for m in range(n + 1):
            value = (-1) ** m * sph_harm_y(n, m, colatitude, lon) * (math.sqrt(2) if m else 1)
            np.testing.assert_allclose(ours[:, n * n + n + m], value.real, atol=1e-12)
            if m:
                np.testing.assert_allclose(ours[:, n * n + n - m], value.imag, atol=1e-12)


def test_sphericart_to_degree_80_and_not_beyond_87() -> None:
    sphericart = pytest.importorskip("sphericart.torch")
    xyz = torch.nn.functional.normalize(torch.randn(200, 3, dtype=torch.float64), dim=1)
    theirs = sphericart.SphericalHarmonics(79)(xyz)
    assert (recurrence.basis(xyz.T.contiguous(), 80).T - theirs).abs().max() < 1e-11
    expected = 2 * 99 + 1
    last = slice(99**2, 100**2)
    ours_at_100 = recurrence.basis(xyz.T.contiguous(), 100)[last].square().sum(0) * 4 * math.pi
    theirs_at_100 = sphericart.SphericalHarmonics(99)(xyz)[:, last].square().sum(1) * 4 * math.pi
    assert (ours_at_100 - expected).abs().max() < 1e-9
    assert (theirs_at_100 - expected).abs().max() > 1


def test_sphericart_gradients() -> None:
    sphericart = pytest.importorskip("sphericart.torch")
    points = torch.from_numpy(random_points(50)).requires_grad_()
    harmonics = SphericalHarmonics(13)
    weight = torch.randn(169, dtype=torch.float64)
    (ours,) = torch.autograd.grad((harmonics(points) @ weight).sum(), points)
    theirs_values = sphericart.SphericalHarmonics(12)(harmonics.unit_vectors(points).T.contiguous())
    (theirs,) = torch.autograd.grad((theirs_values @ weight).sum(), points)
    assert (ours - theirs).abs().max() < 1e-10


@pytest.mark.parametrize("convention", ["official", "satclip"])
def test_formulas_of_the_official_generator(convention: str) -> None:
    """Equations (3) to (5) of the paper as its generator states them, evaluated to 30 digits; l up to 12."""
    sympy = pytest.importorskip("sympy")
    points = random_points(3, seed=4)
    ours = SphericalHarmonics(13, convention)(torch.from_numpy(points)).numpy()  # type: ignore[arg-type]
    t = sympy.Symbol("t")
    for row, (lon, lat) in enumerate(points):
        phi, cosine = math.radians(lon + 180), math.cos(math.radians(lat + 90))
        for n in range(13):
            legendre = sympy.legendre(n, t)
            for m in range(n + 1):
                # the associated Legendre function with the Condon-Shortley phase, which the generator cancels again
                value = (-1) ** m * (1 - t**2) ** sympy.Rational(m, 2) * sympy.diff(legendre, t, m)
                # the brackets that the generator lacked until 31 January 2024 make m = 0 larger by pi
                early = sympy.pi if m == 0 and convention == "satclip" else 1
                ratio = sympy.factorial(n - m) / sympy.factorial(n + m)
                constant = sympy.sqrt(sympy.Rational(2 * n + 1) / (4 * sympy.pi) * ratio) * early
                number = float((constant * value).subs(t, sympy.Float(cosine, 30)).evalf(30))
                if m == 0:
                    assert ours[row, n * n + n] == pytest.approx(number, abs=1e-12)
                    continue
                number *= (-1) ** m * math.sqrt(2)
                assert ours[row, n * n + n + m] == pytest.approx(number * math.cos(m * phi), abs=1e-12)
                assert ours[row, n * n + n - m] == pytest.approx(number * math.sin(m * phi), abs=1e-12)


def test_geoclip_gives_the_same_features() -> None:
    pytest.importorskip("pandas")
    try:
        folder = package_folder("geoclip", extra="peers")
    except ImportError:
        pytest.skip("geoclip is not installed")
    # The package's own __init__ needs torchvision; its location encoder does not.
    package = types.ModuleType("geoclip_model")
    package.__path__ = [str(folder / "model")]
    sys.modules["geoclip_model"] = package
    try:
        official = importlib.import_module("geoclip_model.location_encoder").LocationEncoder().eval()
    finally:
        for name in [name for name in sys.modules if name.startswith("geoclip_model")]:
            del sys.modules[name]
    points = torch.from_numpy(random_points(300)).float()
    with torch.no_grad():
        theirs = official(points.flip(1))
    ours = load_geoclip().encode(points)
    # The widest capsule has phases of some 10^4, so a rounding of the projection shows in the fourth digit.
    assert (ours - theirs).abs().max() < 1e-3 * theirs.abs().max()
    double = load_geoclip().encode(points.double())
    assert torch.nn.functional.cosine_similarity(double, theirs).min() > 0.999
