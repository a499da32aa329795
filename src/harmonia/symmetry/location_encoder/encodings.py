r"""Position encodings of a longitude and latitude: the baselines the paper compares with.

lon and lat are in degrees; lambda and phi are the same in radians. The multi-scale encodings divide degrees by S radii
r_s, geometric from `min_radius` to `max_radius`, and take the quotients as angles: phi_s = lat / r_s.

    direct       (lambda - pi, phi - pi)
    cartesian3d  (cos lambda cos phi, sin lambda cos phi, sin phi)
    wrap         (cos lambda, sin lambda, cos phi, sin phi)
    grid         sin and cos of lambda_s and phi_s
    theory       sin and cos of the projections of (lambda_s, phi_s) on three directions 120 degrees apart
    spherec      (sin phi_s, cos phi_s cos lambda_s, cos phi_s sin lambda_s)
    spherec+     grid and spherec
    spherem      (sin phi_s, cos phi_s cos lambda, cos phi cos lambda_s, cos phi_s sin lambda, cos phi sin lambda_s)
    spherem+     grid and spherem

The last six are from Space2Vec and Sphere2Vec (Mai et al.). The official code writes each number of the sphere
encodings twice, and takes the unscaled degrees of `spherem` as radians; ``compat="locationencoder"`` does so too.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.symmetry.location_encoder.harmonics import SphericalHarmonics

EncodingName = Literal[
    "sh", "direct", "cartesian3d", "wrap", "grid", "theory", "spherec", "spherec+", "spherem", "spherem+"
]
Compat = Literal["", "locationencoder"]


class Direct(nn.Module):
    """Radians, shifted by pi: ``(lambda - pi, phi - pi)``. Jumps at the date line."""

    num_features = 2

    def forward(self, lonlat: Float[Tensor, "points 2"]) -> Float[Tensor, "points 2"]:
        return torch.deg2rad(lonlat) - math.pi


class Cartesian3D(nn.Module):
    """The unit vector of the point, the harmonics of degree one but for a factor."""

    num_features = 3

    def forward(self, lonlat: Float[Tensor, "points 2"]) -> Float[Tensor, "points 3"]:
        lon, lat = torch.deg2rad(lonlat).unbind(-1)
        return torch.stack([lon.cos() * lat.cos(), lon.sin() * lat.cos(), lat.sin()], dim=-1)


class Wrap(nn.Module):
    """Cosine and sine of both angles."""

    num_features = 4

    def forward(self, lonlat: Float[Tensor, "points 2"]) -> Float[Tensor, "points 4"]:
        lon, lat = torch.deg2rad(lonlat).unbind(-1)
        return torch.stack([lon.cos(), lon.sin(), lat.cos(), lat.sin()], dim=-1)


class _MultiScale(nn.Module):
    """Common to the encodings with several radii.

    Arguments:
        num_scales: Number S of radii, ``frequency_num`` of the official code.
        min_radius, max_radius: Smallest and largest radius, in degrees a radian.
        compat: ``"locationencoder"`` for the features of the official code.
    """

    per_scale: int
    doubled = True

    def __init__(
        self, num_scales: int = 16, min_radius: float = 10.0, max_radius: float = 360.0, *, compat: Compat = ""
    ) -> None:
        super().__init__()
        if num_scales < 2 or not 0 < min_radius < max_radius:
            raise InputError(
                "a multi-scale encoding needs two radii or more, growing",
                f"num_scales={num_scales}, min_radius={min_radius:g}, max_radius={max_radius:g}",
                "Use for example num_scales=16, min_radius=10, max_radius=360.",
            )
        if compat not in ("", "locationencoder"):
            raise InputError("there is no such compatibility", f"'{compat}'", "Use '' or 'locationencoder'.")
        self.compat = compat
        self.radii = [min_radius * (max_radius / min_radius) ** (s / (num_scales - 1)) for s in range(num_scales)]
        self.copies = 2 if compat and self.doubled else 1
        self.num_features = self.per_scale * num_scales * self.copies


class _ScaleByScale(_MultiScale, ABC):
    """All features of the first radius, then those of the next."""

    def forward(self, lonlat: Float[Tensor, "points 2"]) -> Float[Tensor, "points features"]:
        lon, lat = (lonlat[:, :, None] / lonlat.new_tensor(self.radii)).unbind(1)
        features = self.features(lon, lat, lonlat)
        return torch.stack([f for f in features for _ in range(self.copies)], dim=-1).flatten(1)

    @abstractmethod
    def features(self, lon: Tensor, lat: Tensor, lonlat: Tensor) -> tuple[Tensor, ...]:
        """The numbers of each scale, from scaled angles ``(points, scales)``."""

    def unscaled(self, lonlat: Tensor) -> tuple[Tensor, Tensor]:
        """Longitude and latitude in radians; in degrees taken as such with ``compat``."""
        lon, lat = (lonlat if self.compat else torch.deg2rad(lonlat)).unbind(-1)
        return lon[:, None], lat[:, None]


class Grid(_MultiScale):
    """Sines and cosines of both coordinates at all scales: longitude first, then latitude."""

    per_scale = 4
    doubled = False

    def forward(self, lonlat: Float[Tensor, "points 2"]) -> Float[Tensor, "points features"]:
        scaled = lonlat[:, :, None] / lonlat.new_tensor(self.radii)
        return torch.stack([scaled.sin(), scaled.cos()], dim=-1).flatten(1)


class Theory(_ScaleByScale):
    """Sines and cosines along three directions 120 degrees apart, as grid cells of the brain have them."""

    per_scale = 6
    doubled = False

    def features(self, lon: Tensor, lat: Tensor, lonlat: Tensor) -> tuple[Tensor, ...]:
        half, height = -0.5 * lon, math.sqrt(0.75) * lat
        return tuple(f for angle in (lon, half + height, half - height) for f in (angle.sin(), angle.cos()))


class SphereC(_ScaleByScale):
    """Unit vectors of the scaled point."""

    per_scale = 3

    def features(self, lon: Tensor, lat: Tensor, lonlat: Tensor) -> tuple[Tensor, ...]:
        return lat.sin(), lat.cos() * lon.cos(), lat.cos() * lon.sin()


class SphereCPlus(_ScaleByScale):
    """`SphereC` and `Grid`."""

    per_scale = 6

    def features(self, lon: Tensor, lat: Tensor, lonlat: Tensor) -> tuple[Tensor, ...]:
        around = lat.cos() * lon.cos(), lat.cos() * lon.sin()
        return lat.sin(), lat.cos(), lon.sin(), lon.cos(), *around


class SphereM(_ScaleByScale):
    """Products of one scaled and one unscaled coordinate."""

    per_scale = 5

    def features(self, lon: Tensor, lat: Tensor, lonlat: Tensor) -> tuple[Tensor, ...]:
        lon1, lat1 = self.unscaled(lonlat)
        mixed = (lat.cos() * lon1.cos(), lat1.cos() * lon.cos(), lat.cos() * lon1.sin(), lat1.cos() * lon.sin())
        return lat.sin(), *mixed


class SphereMPlus(SphereM):
    """`SphereM` and `Grid`."""

    per_scale = 8

    def features(self, lon: Tensor, lat: Tensor, lonlat: Tensor) -> tuple[Tensor, ...]:
        first, *mixed = super().features(lon, lat, lonlat)
        return first, lat.cos(), lon.sin(), lon.cos(), *mixed


_PLAIN: dict[str, type[nn.Module]] = {"direct": Direct, "cartesian3d": Cartesian3D, "wrap": Wrap}
_SCALED: dict[str, type[_MultiScale]] = {
    "grid": Grid,
    "theory": Theory,
    "spherec": SphereC,
    "spherec+": SphereCPlus,
    "spherem": SphereM,
    "spherem+": SphereMPlus,
}
ENCODINGS: tuple[str, ...] = ("sh", *_PLAIN, *_SCALED)


def make_encoding(
    name: str,
    *,
    degree: int = 10,
    convention: str = "standard",
    num_scales: int = 16,
    min_radius: float = 10.0,
    max_radius: float = 360.0,
    compat: Compat = "",
) -> nn.Module:
    """An encoding by its name; its size is ``num_features``.

    Raises:
        InputError: an unknown name.

    Example:
        >>> make_encoding("spherem+", num_scales=16).num_features
        128
        >>> make_encoding("spherem+", num_scales=16, compat="locationencoder").num_features
        256
    """
    if name == "sh":
        return SphericalHarmonics(degree, convention)  # type: ignore[arg-type]
    if name in _PLAIN:
        return _PLAIN[name]()
    if name in _SCALED:
        return _SCALED[name](num_scales, min_radius, max_radius, compat=compat)
    raise InputError("there is no such encoding", f"'{name}'", f"Use one of: {', '.join(ENCODINGS)}.")
