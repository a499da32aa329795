"""What a user gives, checked: the points of a grid, a prior for each axis, the source, scattered points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.gp_hm.kernel import HIGHEST_ORDER, SpectralMixtureKernel1D
from harmonia.kernels.gp_hm.operators import Order
from harmonia.kernels.gp_hm.parameters import called, numbers

POINT_LIMIT = 20_000_000


def axes_of(grid: Sequence[Any]) -> list[Float[Tensor, "_"]]:
    """The points of every axis, strictly increasing, in float64."""
    if not 1 <= len(grid) <= 3:
        raise InputError("a grid has one to three axes", len(grid), "Pass one array of points an axis.")
    axes = []
    for number, given in enumerate(grid, start=1):
        if isinstance(given, Tensor) and given.dtype != torch.float64:
            raise InputError("grids are float64: float32 loses the derivatives", given.dtype, "Call .double().")
        x = numbers(f"the points of axis {number}", given, "Pass a 1-D array.")
        if x.ndim != 1 or len(x) < 4:
            raise InputError(f"axis {number} needs at least four points", tuple(x.shape), "Pass a 1-D array.")
        if not x.isfinite().all() or not (x.diff() > 0).all():
            raise InputError(f"the points of axis {number} increase strictly", "others", "Sort them, drop doubles.")
        axes.append(x)
    total = math.prod(len(x) for x in axes)
    if total > POINT_LIMIT or max(len(x) for x in axes) > 5000:
        got = " x ".join(str(len(x)) for x in axes)
        mend = f"Take at most 5000 an axis and {POINT_LIMIT:,} in all."
        raise InputError("the grid is too large", got, mend)
    return axes


def kernels_of(
    given: SpectralMixtureKernel1D | Sequence[SpectralMixtureKernel1D], axes: Sequence[Tensor], orders: Sequence[Order]
) -> list[SpectralMixtureKernel1D]:
    """One prior an axis, smooth enough for the derivatives of the equation, with frequencies that the grid holds."""
    kernels = [given] * len(axes) if isinstance(given, SpectralMixtureKernel1D) else list(given)
    if len(kernels) != len(axes):
        raise InputError("one kernel an axis", f"{len(kernels)} for {len(axes)} axes", "Pass one, or one each.")
    for axis, (kernel, x) in enumerate(zip(kernels, axes)):
        highest = max(order[axis] for order in orders)
        if highest > HIGHEST_ORDER[kernel.envelope]:
            raise InputError(
                f"a prior of this smoothness has no derivative of order {highest}",
                f"envelope '{kernel.envelope}'",
                "Use envelope='gaussian'." if kernel.envelope != "gaussian" else "Lower the order.",
            )
        nyquist = float((len(x) - 1) / (2 * (x[-1] - x[0])))
        scale = 0.0 if isinstance(kernel.freq_scale, str) else float(kernel.freq_scale)
        if kernel.parameters is None and scale > nyquist:
            needed = math.ceil(2 * scale * float(x[-1] - x[0])) + 1
            got = f"{scale:g} where {len(x)} points hold {nyquist:.4g} cycles per unit"
            mend = f"Take {needed} points or lower it."
            raise InputError("'freq_scale' (in a file 'max_frequency') is above what the grid holds", got, mend)
    return kernels


def source_on(axes: Sequence[Float[Tensor, "_"]], source: Any) -> Float[Tensor, "..."]:
    """The source at every point of the grid."""
    shape = tuple(len(x) for x in axes)
    if callable(source):
        found = called("the source", source, torch.meshgrid(*axes, indexing="ij"))
    else:
        found = numbers("the source", source, "Give a number, an array on the grid, or a function of the coordinates.")
    if found.ndim and tuple(found.shape) != shape:
        raise InputError("the source does not fit the grid", tuple(found.shape), f"Pass the shape {shape}.")
    if not found.isfinite().all():
        raise InputError("the source is not finite", "NaN or infinity on the grid", "Check it.")
    return found.expand(shape).clone()


def scattered(points: Any, dimensions: int) -> Float[Tensor, "m d"]:
    """Points as a matrix with one row each."""
    x = numbers("points", points, f"Pass one row of {dimensions} each.")
    x = x.reshape(-1, 1) if dimensions == 1 and x.ndim <= 1 else x
    if x.ndim != 2 or x.shape[1] != dimensions:
        raise InputError("points do not fit the grid", tuple(x.shape), f"Pass one row of {dimensions} each.")
    if not x.isfinite().all():
        raise InputError("points are finite", "NaN or infinity", "Drop such rows.")
    return x
