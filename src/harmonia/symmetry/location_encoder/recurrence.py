r"""Real spherical harmonics to any degree by a stable three-term recurrence.

For a point p = (x, y, z) of the unit sphere and columns m = -l, ..., l of degree l,

    Y_l^m = a_lm (z Y_{l-1}^m - b_lm Y_{l-2}^m),      |m| < l,
    a_lm = sqrt((4 l^2 - 1) / (l^2 - m^2)),           b_lm = sqrt(((l-1)^2 - m^2) / (4 (l-1)^2 - 1)),
    Y_m^m + i Y_m^{-m} = k_m (x + i y)^m,             k_0 = 1 / sqrt(4 pi),   k_m = k_{m-1} sqrt((2m+1) / 2m)

(times sqrt 2 for m > 0). The recurrence acts on Y itself, not on Legendre functions: the factor in longitude is
constant along it, so one operation serves all columns of a degree. All powers of x + i y come from log2(L) block
products, whose rounding grows with log m. Nothing is divided by cos(latitude), so the poles need no care.

The work is cut into tiles of points whose rows of one degree stay in the processor's cache.

(x + i y)^m underflows near the poles when m is large, although Y_l^m of a larger l may be of order one there. Up to
degree 1000 such values are below 1e-30; above, mantissas carry a shared exponent (`_wide_blocks`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

TILE = 2**18
"""Numbers in the widest degree of a tile: 2 MB of float64, so that three degrees fit a common cache."""

SAFE_DEGREE = 1000
"""Number of degrees up to which float64 needs no shared exponents."""

_EXPONENT = 400
"""Values are held as mantissa * 2**(400 k), k = 0, -1, -2, ..."""


class Coefficients:
    """The constants of the recurrence for degrees below `degree`, on one device.

    Attributes:
        a: For each l, column vector of a_lm, m = -(l-1), ..., l-1.
        c: For each l, column vector of -a_lm b_lm, m = -(l-2), ..., l-2.
        sectoral: Column vector of sqrt(2) k_m (k_0 for m = 0).
        first, last: Rows of Y_l^{-l} (from l = 1) and of Y_l^l.
    """

    def __init__(self, degree: int, device: torch.device) -> None:
        def column(values: Tensor) -> Tensor:
            return values[:, None].to(device)

        self.degree = degree
        self.a: dict[int, Tensor] = {}
        self.c: dict[int, Tensor] = {}
        for ell in range(1, degree):
            m2 = torch.arange(1 - ell, ell, dtype=torch.float64) ** 2
            a = ((4 * ell * ell - 1) / (ell * ell - m2)).sqrt()
            b = (((ell - 1) ** 2 - m2) / (4 * (ell - 1) ** 2 - 1)).sqrt()
            self.a[ell] = column(a)
            self.c[ell] = column(-a * b)[1:-1]
        m = torch.arange(1, degree, dtype=torch.float64)
        ratios = torch.cat([torch.tensor([1 / math.sqrt(4 * math.pi)], dtype=torch.float64), (1 + 0.5 / m).sqrt()])
        sectoral = ratios.cumprod(0)
        sectoral[1:] *= math.sqrt(2)
        self.sectoral = column(sectoral)
        squares = torch.arange(degree + 1, device=device) ** 2
        self.first = squares[1:-1]
        self.last = squares[1:] - 1
        self.widths = [2 * ell + 1 for ell in range(degree)]


@lru_cache(maxsize=16)
def coefficients(degree: int, device: torch.device) -> Coefficients:
    """The constants, computed once for each degree and device."""
    return Coefficients(degree, device)


def tiles(points: int, degree: int, device: torch.device) -> Iterator[slice]:
    """Ranges of points that are worked on together."""
    size = points if device.type != "cpu" else max(TILE // (2 * degree - 1), 64)
    count = -(-points // size)
    size = -(-points // max(count, 1))
    for start in range(0, points, max(size, 1)):
        yield slice(start, min(start + size, points))


def basis(xyz: Float[Tensor, "3 points"], degree: int, out: Tensor | None = None) -> Float[Tensor, "columns points"]:
    """All harmonics below `degree` at unit vectors, one row per column (l, m).

    Arguments:
        xyz: Unit vectors, float64.
        degree: Number L of degrees; gives L^2 rows.
        out: Where to write, ``(L^2, points)`` of any floating type. Allocated in float64 unless given.
    """
    points = xyz.shape[1]
    if out is None:
        out = xyz.new_empty(degree * degree, points)
    direct = out.dtype == torch.float64 and degree <= SAFE_DEGREE
    for tile in tiles(points, degree, xyz.device):
        target = out[:, tile]
        if direct:
            for _ in _blocks(xyz[:, tile], coefficients(degree, xyz.device), target):
                pass
        else:
            for ell, block in enumerate(degree_blocks(xyz[:, tile], degree)):
                target[ell * ell : (ell + 1) ** 2] = block
    return out


def degree_blocks(xyz: Float[Tensor, "3 points"], degree: int) -> Iterator[Float[Tensor, "orders points"]]:
    """The harmonics of degree 0, 1, 2, ... in turn, in memory for three degrees.

    A block is overwritten three steps later: use it at once.
    """
    constants = coefficients(degree, xyz.device)
    if degree > SAFE_DEGREE:
        return _wide_blocks(xyz, constants)
    return _blocks(xyz, constants, None)


def project(
    xyz: Float[Tensor, "3 points"], weight: Float[Tensor, "units columns"], degree: int
) -> Float[Tensor, "points units"]:
    """``Y(xyz) @ weight.T`` without ever holding Y, in the precision of `weight`."""
    result = weight.new_zeros(xyz.shape[1], weight.shape[0])
    columns = weight.T.contiguous()
    for tile in tiles(xyz.shape[1], degree, xyz.device):
        for ell, block in enumerate(degree_blocks(xyz[:, tile], degree)):
            result[tile].addmm_(block.T.to(weight.dtype), columns[ell * ell : (ell + 1) ** 2])
    return result


def project_back(
    xyz: Float[Tensor, "3 points"], gradient: Float[Tensor, "points units"], degree: int
) -> Float[Tensor, "units columns"]:
    """``gradient.T @ Y(xyz)``: the gradient of `project` with respect to its weight."""
    result = gradient.new_zeros(degree * degree, gradient.shape[1])
    for tile in tiles(xyz.shape[1], degree, xyz.device):
        for ell, block in enumerate(degree_blocks(xyz[:, tile], degree)):
            result[ell * ell : (ell + 1) ** 2].addmm_(block.to(gradient.dtype), gradient[tile])
    return result.T


def _blocks(xyz: Tensor, constants: Coefficients, out: Tensor | None) -> Iterator[Tensor]:
    """Degrees in turn, written to the rows of `out` or to three buffers in rotation."""
    degree, points = constants.degree, xyz.shape[1]
    x, y, z = xyz
    real, imaginary = _powers(x, y, degree)
    real.mul_(constants.sectoral)
    imaginary.mul_(constants.sectoral)
    rows: Callable[[int], Tensor]
    if out is not None:
        blocks: Sequence[Tensor] = out.split(constants.widths)
        out.index_copy_(0, constants.last, real)
        out.index_copy_(0, constants.first, imaginary[1:])
        rows = blocks.__getitem__
    else:
        buffers = xyz.new_empty(3, 2 * degree - 1, points)

        def rows(ell: int) -> Tensor:
            block = buffers[ell % 3, : 2 * ell + 1]
            block[0] = imaginary[ell]
            block[-1] = real[ell]
            return block

    before = last = rows(0)
    yield last
    for ell in range(1, degree):
        block = rows(ell)
        torch.mul(last, z, out=block[1:-1]).mul_(constants.a[ell])
        if ell > 1:
            block[2:-2].addcmul_(before, constants.c[ell])
        yield block
        before, last = last, block


def _powers(x: Tensor, y: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Real and imaginary part of (x + i y)^k for k below `count`, by doubling."""
    real, imaginary = x.new_empty(count, len(x)), x.new_empty(count, len(x))
    real[0], imaginary[0] = 1.0, 0.0
    known = 1
    while known < count:
        new = slice(known, min(2 * known, count))
        old = slice(0, new.stop - known)
        torch.mul(real[old], x, out=real[new]).addcmul_(imaginary[old], y, value=-1)
        torch.mul(real[old], y, out=imaginary[new]).addcmul_(imaginary[old], x)
        x, y = x * x - y * y, 2 * x * y
        known *= 2
    return real, imaginary


def _wide_blocks(xyz: Tensor, constants: Coefficients) -> Iterator[Tensor]:
    """As `_blocks`, with an exponent shared by the two latest degrees of each column and point."""
    degree = constants.degree
    x, y, z = xyz
    radius = torch.hypot(x, y)
    angle = torch.atan2(y, x)
    exponent = xyz.new_zeros(2 * degree - 1, len(x))
    before, last, block = (xyz.new_zeros(2 * degree - 1, len(x)) for _ in range(3))
    centre = degree - 1
    last[centre] = constants.sectoral[0]
    yield last[centre : centre + 1]
    for ell in range(1, degree):
        inner = slice(centre - ell + 1, centre + ell)
        torch.mul(last[inner], z, out=block[inner]).mul_(constants.a[ell])
        if ell > 1:
            block[centre - ell + 2 : centre + ell - 1].addcmul_(
                before[centre - ell + 2 : centre + ell - 1], constants.c[ell]
            )
        logarithm = torch.log2(radius) * ell
        shift = torch.clamp(torch.ceil(logarithm / _EXPONENT), max=0.0)
        magnitude = torch.exp2(logarithm - _EXPONENT * shift) * constants.sectoral[ell]
        for row, wave in ((centre + ell, torch.cos(ell * angle)), (centre - ell, torch.sin(ell * angle))):
            block[row] = torch.nan_to_num(magnitude) * wave
            exponent[row] = torch.nan_to_num(shift, neginf=0.0)
        grown = (exponent[inner] < 0) & (block[inner].abs() > 1.0)
        scale = torch.where(grown, 2.0**-_EXPONENT, torch.ones_like(z))
        block[inner] *= scale
        last[inner] *= scale
        exponent[inner] += grown
        whole = slice(centre - ell, centre + ell + 1)
        yield torch.where(exponent[whole] == 0, block[whole], 0.0)
        before, last, block = last, block, before
