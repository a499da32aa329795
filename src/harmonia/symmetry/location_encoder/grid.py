r"""Band-limited functions on a regular grid of longitudes and latitudes, by Fourier transform.

    f(lat_i, lon_j) = Re sum_m e^{i m lon_j} sum_l P_l^m(sin lat_i) (w_lm - i w_l,-m)

costs O(L^2) a row of the map instead of O(L^2) a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex, Float
from numpy.typing import NDArray
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.symmetry.location_encoder.harmonics import SphericalHarmonics


@dataclass(frozen=True)
class Grid:
    """The centres of the cells of a map, rows from north to south, columns from west to east.

    Attributes:
        rows: Number of latitudes; a cell is 180 / rows degrees high.
        columns: Number of longitudes.

    Example:
        >>> grid = Grid.of(resolution=1.0)
        >>> grid.rows, grid.columns, float(grid.latitudes[0]), float(grid.longitudes[0])
        (180, 360, 89.5, -179.5)
    """

    rows: int
    columns: int

    @classmethod
    def of(cls, resolution: float) -> Grid:
        """The grid whose cells are about `resolution` degrees wide.

        Raises:
            InputError: not between 0.02 and 30 degrees.
        """
        if not 0.02 <= resolution <= 30:
            raise InputError("the resolution of a map is between 0.02 and 30 degrees", resolution, "Use for example 1.")
        rows = round(180 / resolution)
        return cls(rows, 2 * rows)

    @property
    def latitudes(self) -> NDArray[np.float64]:
        return 90 - (np.arange(self.rows, dtype=np.float64) + 0.5) * (180 / self.rows)

    @property
    def longitudes(self) -> NDArray[np.float64]:
        return -180 + (np.arange(self.columns, dtype=np.float64) + 0.5) * (360 / self.columns)

    def points(self, rows: slice = slice(None)) -> NDArray[np.float64]:
        """Longitude and latitude of every cell, row by row, ``(rows * columns, 2)``."""
        lat, lon = np.meshgrid(self.latitudes[rows], self.longitudes, indexing="ij")
        return np.stack([lon.ravel(), lat.ravel()], axis=1)


def synthesise(
    harmonics: SphericalHarmonics, weight: Float[Tensor, "units columns"], grid: Grid, rows: slice = slice(None)
) -> Float[Tensor, "rows longitudes units"]:
    """``harmonics(points) @ weight.T`` at all cells of a grid.

    Arguments:
        harmonics: The basis, in any convention.
        weight: Expansion coefficients of each function.
        grid: Where to evaluate.
        rows: Which rows of the grid, to bound memory.

    Example:
        >>> harmonics, grid = SphericalHarmonics(4), Grid.of(30.0)
        >>> weight = torch.eye(16, dtype=torch.float64)
        >>> direct = harmonics(torch.from_numpy(grid.points())).reshape(6, 12, 16)
        >>> bool((synthesise(harmonics, weight, grid) - direct).abs().max() < 1e-13)
        True
    """
    latitudes = torch.from_numpy(grid.latitudes[rows].copy()).to(weight.device)
    meridian = torch.stack([torch.zeros_like(latitudes), latitudes], dim=1)
    spectrum = _fourier(harmonics, weight.to(torch.float64), meridian)
    # e^{i m lon} with lon_j = lon_0 + 360 j / columns; more columns than asked for where the band limit needs them
    oversampling = max(1, -(-2 * harmonics.degree // grid.columns))
    length = grid.columns * oversampling
    orders = torch.arange(harmonics.degree, dtype=torch.float64, device=weight.device)
    start = float(np.deg2rad(grid.longitudes[0]))
    spectrum = spectrum * torch.polar(torch.full_like(orders, length / 2), orders * start)[:, None]
    spectrum[:, 0] *= 2
    return torch.fft.irfft(spectrum, n=length, dim=1)[:, ::oversampling].to(weight.dtype)


def _fourier(harmonics: SphericalHarmonics, weight: Tensor, meridian: Tensor) -> Complex[Tensor, "rows orders units"]:
    """Fourier coefficients in longitude of each function on each circle of latitude."""
    degree = harmonics.degree
    # On the meridian of longitude zero only the cosine columns are left, and they are the Legendre functions.
    legendre = harmonics(meridian)
    spectrum = legendre.new_zeros(len(meridian), degree, weight.shape[0], dtype=torch.complex128)
    for m in range(degree):
        ell = torch.arange(m, degree, device=weight.device)
        cosine, sine = ell * ell + ell + m, ell * ell + ell - m
        spectrum[:, m].real = legendre[:, cosine] @ weight[:, cosine].T
        if m > 0:
            spectrum[:, m].imag = -legendre[:, cosine] @ weight[:, sine].T
    return spectrum
