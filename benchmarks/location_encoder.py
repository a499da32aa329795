"""Spherical harmonics, their gradients, and what is built on them, beside sphericart's C++."""

import numpy as np
import torch

from harmonia.app.bench import Race

POINTS = 10_000
UNITS = 64


def points(count=POINTS):
    """The same random longitudes and latitudes on both sides."""
    x, y, z = np.random.default_rng(0).normal(size=(3, count))
    return torch.from_numpy(np.rad2deg(np.stack([np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))], axis=1)))


def weights(degree, units=UNITS):
    return torch.from_numpy(np.random.default_rng(1).normal(size=(units, degree * degree)))


def basis(degree):
    from harmonia.symmetry import SphericalHarmonics

    harmonics, lonlat = SphericalHarmonics(degree), points()
    return lambda: harmonics(lonlat).numpy()


def on_sphere(lonlat):
    """What a user of sphericart writes first."""
    lon, lat = torch.deg2rad(lonlat).unbind(1)
    return torch.stack([lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()], dim=1)


def sphericart_basis(degree):
    from sphericart.torch import SphericalHarmonics

    harmonics, lonlat = SphericalHarmonics(degree - 1), points()
    return lambda: harmonics(on_sphere(lonlat)).numpy()


def gradient(degree):
    from harmonia.symmetry import SphericalHarmonics

    harmonics, lonlat = SphericalHarmonics(degree), points()
    coefficients = weights(degree, 1)[0]

    def step():
        inputs = lonlat.clone().requires_grad_()
        return torch.autograd.grad((harmonics(inputs) @ coefficients).sum(), inputs)[0].numpy()

    return step


def sphericart_gradient(degree):
    from sphericart.torch import SphericalHarmonics

    harmonics, lonlat = SphericalHarmonics(degree - 1), points()
    coefficients = weights(degree, 1)[0]

    def step():
        inputs = lonlat.clone().requires_grad_()
        return torch.autograd.grad((harmonics(on_sphere(inputs)) @ coefficients).sum(), inputs)[0].numpy()

    return step


def layer(degree):
    from harmonia.symmetry import SphericalHarmonics

    harmonics, lonlat, weight = SphericalHarmonics(degree), points(), weights(degree)
    return lambda: harmonics.project(lonlat, weight).numpy()


def sphericart_layer(degree):
    from sphericart.torch import SphericalHarmonics

    harmonics, lonlat, weight = SphericalHarmonics(degree - 1), points(), weights(degree)
    return lambda: (harmonics(on_sphere(lonlat)) @ weight.T).numpy()


def world(degree):
    from harmonia.symmetry import SphericalHarmonics
    from harmonia.symmetry.location_encoder.grid import Grid, synthesise

    harmonics, weight, grid = SphericalHarmonics(degree), weights(degree), Grid.of(1.0)
    return lambda: synthesise(harmonics, weight, grid).numpy().reshape(-1, UNITS)


def sphericart_world(degree):
    from sphericart.torch import SphericalHarmonics

    from harmonia.symmetry.location_encoder.grid import Grid

    harmonics, weight = SphericalHarmonics(degree - 1), weights(degree)
    lonlat = torch.from_numpy(Grid.of(1.0).points())
    return lambda: (harmonics(on_sphere(lonlat)) @ weight.T).numpy()


RACES = [
    *(
        Race(
            "sphericart-torch",
            f"basis of {degree} degrees at 10,000 points, float64",
            basis,
            sphericart_basis,
            {"degree": degree},
            tolerance=1e-11,
            threads=1,
            note="sphericart is wrong from degree 87 on",
        )
        for degree in (10, 20, 40, 80)
    ),
    Race(
        "sphericart-torch",
        "gradient in longitude and latitude, 20 degrees, 10,000 points",
        gradient,
        sphericart_gradient,
        {"degree": 20},
        tolerance=1e-9,
        threads=1,
    ),
    Race(
        "sphericart-torch",
        "first layer of 64 units on 40 degrees, 10,000 points",
        layer,
        sphericart_layer,
        {"degree": 40},
        tolerance=1e-9,
        threads=1,
    ),
    Race(
        "sphericart-torch",
        "64 functions of 40 degrees on a map of 1 degree",
        world,
        sphericart_world,
        {"degree": 40},
        tolerance=1e-9,
        threads=1,
        repeats=3,
    ),
]
