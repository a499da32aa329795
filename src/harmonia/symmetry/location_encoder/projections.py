"""Views of the sphere: the Equal Earth projection and the two polar hemispheres."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Projection:
    """A view of the sphere.

    Attributes:
        extent: Half width and half height of the picture.
        inverse: Picture coordinates to longitude and latitude, NaN outside.
        forward: Longitude and latitude to picture coordinates, NaN where hidden.
        outline: The edge of the Earth.
    """

    extent: tuple[float, float]
    inverse: Callable[[Array, Array], tuple[Array, Array]]
    forward: Callable[[Array, Array], tuple[Array, Array]]
    outline: tuple[Array, Array]


_A = (1.340264, -0.081106, 0.000893, 0.003796)


def equal_earth(lon: Array, lat: Array) -> tuple[Array, Array]:
    """The Equal Earth projection (Savric, Patterson and Jenny 2018) of degrees, on a sphere of radius one."""
    theta = np.arcsin(np.sqrt(3) / 2 * np.sin(np.deg2rad(lat)))
    x = 2 * np.sqrt(3) * np.deg2rad(lon) * np.cos(theta) / (3 * _slope(theta))
    return x, theta * (_A[0] + _A[1] * theta**2 + theta**6 * (_A[2] + _A[3] * theta**2))


def _slope(theta: Array) -> Array:
    return _A[0] + 3 * _A[1] * theta**2 + theta**6 * (7 * _A[2] + 9 * _A[3] * theta**2)


def _equal_earth_inverse(x: Array, y: Array) -> tuple[Array, Array]:
    theta = np.array(y)
    for _ in range(8):  # Newton's method
        height = theta * (_A[0] + _A[1] * theta**2 + theta**6 * (_A[2] + _A[3] * theta**2))
        theta = theta - (height - y) / _slope(theta)
    with np.errstate(invalid="ignore"):
        lon = x * np.rad2deg(np.sqrt(3) / 2 * _slope(theta) / np.cos(theta))
        lat = np.rad2deg(np.arcsin(2 / np.sqrt(3) * np.sin(theta)))
    inside = (np.abs(lon) <= 180) & np.isfinite(lat)
    return np.where(inside, lon, np.nan), np.where(inside, lat, np.nan)


def _globe(sign: int) -> Projection:
    """The hemisphere seen from far above a pole; Greenwich points down in the north and up in the south."""

    def forward(lon: Array, lat: Array) -> tuple[Array, Array]:
        radius = np.cos(np.deg2rad(lat))
        hidden = sign * lat < 0
        x, y = radius * np.sin(np.deg2rad(lon)), -sign * radius * np.cos(np.deg2rad(lon))
        return np.where(hidden, np.nan, x), np.where(hidden, np.nan, y)

    def inverse(x: Array, y: Array) -> tuple[Array, Array]:
        radius = np.hypot(x, y)
        lat = sign * np.rad2deg(np.arccos(np.minimum(radius, 1)))
        lon = np.rad2deg(np.arctan2(x, -sign * y))
        return np.where(radius > 1, np.nan, lon), np.where(radius > 1, np.nan, lat)

    angle = np.linspace(0, 2 * np.pi, 361)
    return Projection((1.02, 1.02), inverse, forward, (np.cos(angle), np.sin(angle)))


def _equal_earth() -> Projection:
    up = np.linspace(-90, 90, 181)
    east, west = equal_earth(np.full(181, 180.0), up), equal_earth(np.full(181, -180.0), up[::-1])
    outline = np.concatenate([east[0], west[0], east[0][:1]]), np.concatenate([east[1], west[1], east[1][:1]])
    return Projection((2.72, 1.33), _equal_earth_inverse, equal_earth, outline)


EQUAL_EARTH, NORTH, SOUTH = _equal_earth(), _globe(1), _globe(-1)
