r"""Real spherical harmonics as features of points on the Earth, with exact gradients.

Column l^2 + l + m holds Y_l^m, l = 0, ..., L - 1, m = -l, ..., l: sin(|m| lon) for m < 0, cos(m lon) for m > 0,
without Condon-Shortley phase, orthonormal on the unit sphere:

    Y_l^m = sqrt(2) P_l^m(sin lat) cos(m lon),   Y_l^{-m} = sqrt(2) P_l^m(sin lat) sin(m lon),   Y_l^0 = P_l^0(sin lat).

**Conventions of released code.** A change of sign in every degree or order is the same as a reflection of the point,
since Y_l^m(-p) = (-1)^l Y_l^m(p) and Y_l^m(x, y, -z) = (-1)^(l+m) Y_l^m(x, y, z). So each is a reflection:

    standard      Y                                                 p
    official      (-1)^l Y, MarcCoru/locationencoder, analytic     -p
    closed-form   (-1)^(l+m) Y, the same repository                 (x, y, -z)
    satclip       (-1)^l Y, columns m = 0 times pi                 -p

The factor pi is a pair of brackets missing from the constant of the m = 0 columns, mended upstream on 31 January 2024;
microsoft/satclip still carries the older file, and its weights were trained with it.

**Gradients.** The solid harmonic r^l Y_l^m is a polynomial whose derivative along x, y or z is a combination of at most
two solid harmonics of degree l - 1 with constant coefficients. Nothing is divided by cos(latitude): the derivative is
exact at the poles, costs less than the basis, and can be differentiated again.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from harmonia.core.errors import InputError
from harmonia.symmetry.location_encoder import recurrence

Convention = Literal["standard", "official", "closed-form", "satclip"]

_REFLECTIONS: dict[str, tuple[float, float, float]] = {
    "standard": (1.0, 1.0, 1.0),
    "official": (-1.0, -1.0, -1.0),
    "closed-form": (1.0, 1.0, -1.0),
    "satclip": (-1.0, -1.0, -1.0),
}


class SphericalHarmonics(nn.Module):
    r"""All real spherical harmonics below a degree, at longitudes and latitudes in degrees.

    Y_l^m = a_lm (sin(lat) Y_{l-1}^m - b_lm Y_{l-2}^m), see `recurrence`. Computed in float64 whatever the input, and
    given back in the input's precision. Exact to 1e-12 at any degree; L degrees resolve details of 180 / L degrees.

    Arguments:
        degree: Number L of degrees (0 to L - 1), ``legendre_polys`` of the official code; gives L^2 columns.
        convention: Signs and constants of released code, for its weights.

    Raises:
        InputError: a degree below 1, an unknown convention, points that are not finite or beyond the poles.

    Example:
        >>> harmonics = SphericalHarmonics(degree=10)
        >>> lonlat = torch.tensor([[5.6, 51.9], [0.0, 90.0]], dtype=torch.float64, requires_grad=True)
        >>> harmonics(lonlat).shape
        torch.Size([2, 100])
        >>> slope, = torch.autograd.grad(harmonics(lonlat).sum(), lonlat)
        >>> bool(slope.isfinite().all())
        True
    """

    def __init__(self, degree: int = 10, convention: Convention = "standard") -> None:
        super().__init__()
        if not isinstance(degree, int) or degree < 1:
            raise InputError("the degree is a whole number of at least 1", degree, "Use for example degree=10.")
        if convention not in _REFLECTIONS:
            raise InputError(
                "there is no such convention", f"'{convention}'", f"Use one of: {', '.join(_REFLECTIONS)}."
            )
        self.degree, self.convention = degree, convention
        self.num_features = degree * degree

    def forward(self, lonlat: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch columns"]:
        points = self.unit_vectors(lonlat)
        values: Tensor = _Solid.apply(points, self.degree)
        values = values.T.to(lonlat.dtype)
        if self.convention == "satclip":
            values = values * self._zonal_factor(values)
        return values.unflatten(0, lonlat.shape[:-1]) if lonlat.ndim != 2 else values

    def project(
        self, lonlat: Float[Tensor, "points 2"], weight: Float[Tensor, "units columns"]
    ) -> Float[Tensor, "points units"]:
        """``forward(lonlat) @ weight.T`` in memory that does not grow with the degree squared.

        For the first layer of a network. Differentiable in the weight, not in the points.
        """
        if self.convention == "satclip":
            weight = weight * self._zonal_factor(weight)
        result: Tensor = _Projection.apply(self.unit_vectors(lonlat.detach()), weight, self.degree)
        return result

    def unit_vectors(self, lonlat: Float[Tensor, "*batch 2"]) -> Float[Tensor, "3 points"]:
        """The points on the unit sphere, reflected as the convention asks, in float64."""
        if lonlat.shape[-1:] != (2,):
            raise InputError(
                "points have two columns, longitude and latitude", f"shape {tuple(lonlat.shape)}", "Reshape to (n, 2)."
            )
        lon, lat = lonlat.reshape(-1, 2).to(torch.float64).unbind(-1)
        if lon.numel() and not bool(lon.detach().isfinite().all() and lat.detach().abs().amax() <= 90):
            raise InputError(
                "a point is missing or beyond the poles",
                f"latitudes from {lat.min():g} to {lat.max():g}",
                "Give (longitude, latitude) in degrees, in this order.",
            )
        # cos(lat) as the sine of the distance to the nearer pole: exactly zero at both, where cos(pi / 2) leaves 6e-17
        around = torch.sin(torch.deg2rad(torch.where(lat > 0, 90 - lat, 90 + lat)))
        lon = torch.deg2rad(lon)
        xyz = torch.stack([around * torch.cos(lon), around * torch.sin(lon), torch.sin(torch.deg2rad(lat))])
        return xyz * xyz.new_tensor(_REFLECTIONS[self.convention])[:, None]

    def _zonal_factor(self, like: Tensor) -> Tensor:
        factor = like.new_ones(self.num_features)
        degrees = torch.arange(self.degree, device=like.device)
        factor[degrees * (degrees + 1)] = math.pi
        return factor

    def names(self) -> list[str]:
        """``Y_2_-1`` and so on, in the order of the columns."""
        return [f"Y_{ell}_{m}" for ell in range(self.degree) for m in range(-ell, ell + 1)]

    def eigenvalues(self) -> Float[Tensor, " columns"]:
        """Of the Laplacian on the unit sphere: -l (l + 1) for each column."""
        degrees = torch.arange(self.degree, dtype=torch.float64).repeat_interleave(
            torch.tensor([2 * ell + 1 for ell in range(self.degree)])
        )
        return -degrees * (degrees + 1)

    def extra_repr(self) -> str:
        return f"degree={self.degree}, convention={self.convention!r}"


class _Solid(torch.autograd.Function):
    """Solid harmonics on the unit sphere, ``(3, points) -> (columns, points)``; differentiable any number of times."""

    @staticmethod
    def forward(ctx: FunctionCtx, xyz: Tensor, degree: int) -> Tensor:
        values = recurrence.basis(xyz, degree)
        ctx.save_for_backward(values)
        ctx.degree = degree  # type: ignore[attr-defined]
        return values

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (values,) = ctx.saved_tensors
        parts = [
            _pull_back(gradient[:, tile], values[:, tile], ctx.degree)
            for tile in recurrence.tiles(values.shape[1], ctx.degree, values.device)
        ]
        return torch.cat(parts, dim=1), None


def _pull_back(gradient: Tensor, values: Tensor, degree: int) -> Tensor:
    """Sum over columns of `gradient` times the derivative of the solid harmonics along x, y, z."""
    total = values.new_zeros(3, values.shape[1])
    for ell in range(1, degree):
        low = values[(ell - 1) ** 2 : ell * ell]
        g = gradient[ell * ell : (ell + 1) ** 2]
        flipped = g.flip(0)
        x_up, x_down, y_up, y_down, z = _derivatives(ell, values.device)
        total = total + torch.stack(
            [
                ((g[2:] * x_up + g[:-2] * x_down) * low).sum(0),
                ((flipped[2:] * y_up + flipped[:-2] * y_down) * low).sum(0),
                (g[1:-1] * z * low).sum(0),
            ]
        )
    return total


@lru_cache(maxsize=4096)
def _derivatives(ell: int, device: torch.device) -> tuple[Tensor, ...]:
    r"""How the orders k = -(l-1), ..., l-1 of degree l - 1 enter the derivatives of degree l, as column vectors.

    With R^m = C^m + i S^m (cosine and sine column, no factor sqrt 2) and s = sqrt((2l+1) / (2l-1)):
        (d_x + i d_y) R_l^m = -s sqrt((l-m)(l-m-1)) R_{l-1}^{m+1},
        (d_x - i d_y) R_l^m =  s sqrt((l+m)(l+m-1)) R_{l-1}^{m-1},
        d_z R_l^m = s sqrt(l^2 - m^2) R_{l-1}^m.

    Returns the coefficients in d_x of order k + 1, d_x of order k - 1, d_y of order -(k + 1), d_y of order -(k - 1)
    and d_z of order k.
    """
    k = torch.arange(1 - ell, ell, dtype=torch.float64)
    m = k.abs()
    scale = math.sqrt((2 * ell + 1) / (2 * ell - 1))
    outward = 0.5 * scale * ((ell + m + 1) * (ell + m)).sqrt()  # to order m + 1
    inward = 0.5 * scale * ((ell - m + 1) * (ell - m)).sqrt()  # to order m - 1
    root = math.sqrt(2)  # what the column m = 0 lacks beside all others
    outward = torch.where(m == 0, root * outward, outward)
    inward = torch.where(m == 1, root * inward, inward)
    zero = torch.zeros(())
    x_up = torch.where(k >= 0, outward, torch.where(k == -1, zero, -inward))
    x_down = torch.where(k < 0, outward, torch.where(k == 0, zero, -inward))
    y_up = torch.where(k >= 0, outward, -inward)
    y_down = torch.where(k < 0, -outward, torch.where(k <= 1, zero, inward))
    z = scale * (ell * ell - k * k).sqrt()
    return tuple(c[:, None].to(device) for c in (x_up, x_down, y_up, y_down, z))


class _Projection(torch.autograd.Function):
    """``Y(xyz).T @ weight.T``, with the harmonics made again for the gradient instead of kept."""

    @staticmethod
    def forward(ctx: FunctionCtx, xyz: Tensor, weight: Tensor, degree: int) -> Tensor:
        ctx.save_for_backward(xyz)
        ctx.degree = degree  # type: ignore[attr-defined]
        return recurrence.project(xyz, weight, degree)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:
        (xyz,) = ctx.saved_tensors
        return None, recurrence.project_back(xyz, gradient, ctx.degree), None
