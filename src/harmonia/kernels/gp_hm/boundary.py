"""Conditions at the sides of a box: values, slopes, periodicity."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from harmonia.core.checks import is_number
from harmonia.core.errors import InputError
from harmonia.kernels.gp_hm.parameters import called, numbers

SIDES = (("left", "right"), ("bottom", "top"), ("front", "back"))
"""Names of the two ends of the first, second and third axis."""

Values = float | Callable[..., Tensor] | np.ndarray | Tensor


@dataclass(frozen=True, eq=False)
class Dirichlet:
    """``u = values`` on a side: a number, one value a grid point of the side, or a function of all coordinates."""

    values: Values = 0.0


@dataclass(frozen=True, eq=False)
class Neumann:
    """``du/dx = values`` on a side, along the axis it bounds and in that axis' direction (not outwards)."""

    values: Values = 0.0


@dataclass(frozen=True)
class Periodic:
    """The axis closes on itself: value and slope agree at its two ends. Give it on either side."""


Condition = Dirichlet | Neumann | Periodic
Boundary = Values | Mapping[str, Any]


class Row(NamedTuple):
    """One condition: a functional along an axis, and what it gives at the grid points of the other axes.

    Attributes:
        axis: The axis it acts along.
        terms: ``(end, order, sign)``: the derivative of that order at the first (0) or last (-1) point.
        values: One number a point of the other axes' grid.
    """

    axis: int
    terms: tuple[tuple[Literal[0, -1], int, float], ...]
    values: Tensor


def rows_of(boundary: Boundary, axes: Sequence[Tensor]) -> list[Row]:
    """All conditions of a box.

    Arguments:
        boundary: A number or a function of the coordinates for all sides, or conditions by the side's name (`SIDES`): a
            number, an array, a function, `Dirichlet`, `Neumann`, `Periodic` or a list of them. Sides that are not named
            have none.
        axes: The points of the grid, axis by axis.

    Raises:
        InputError: an unknown side, values that do not fit it, or that are not finite.

    Example:
        >>> x = torch.linspace(0, 1, 5, dtype=torch.float64)
        >>> [row.values.tolist() for row in rows_of(lambda x: x**2, [x])]
        [0.0, 1.0]
    """
    names = [name for pair in SIDES[: len(axes)] for name in pair]
    if not isinstance(boundary, Mapping):
        boundary = dict.fromkeys(names, boundary)
    unknown = set(boundary) - set(names)
    if unknown:
        raise InputError("there is no such side", sorted(unknown), f"Sides are: {', '.join(names)}.")
    rows: list[Row] = []
    closed: set[int] = set()
    for name, given in boundary.items():
        axis, end = divmod(names.index(name), 2)
        for condition in given if isinstance(given, list) and not _numbers(given) else [given]:
            if condition is None:
                continue
            if isinstance(condition, Periodic):
                if axis not in closed:
                    rows += _periodic(axis, axes)
                closed.add(axis)
                continue
            order = 1 if isinstance(condition, Neumann) else 0
            values = condition.values if isinstance(condition, (Dirichlet, Neumann)) else condition
            where: Literal[0, -1] = -1 if end else 0
            rows.append(Row(axis, ((where, order, 1.0),), _values(values, name, axis, where, axes)))
    return rows


def lacking(orders: Sequence[tuple[int, ...]], rows: Sequence[Row]) -> str:
    """Axes with fewer conditions than the equation has derivatives along them, in words; empty if there are none.

    Arguments:
        orders: Of the equation's derivatives.
        rows: Its conditions.

    Example:
        >>> x = torch.linspace(0, 1, 5, dtype=torch.float64)
        >>> lacking([(2,)], rows_of({"left": 0.0}, [x]))
        'left and right: 1 of 2 conditions'
    """
    said = []
    for axis, along in enumerate(zip(*orders)):
        have = sum(row.axis == axis for row in rows)
        if have < max(along):
            said.append(f"{' and '.join(SIDES[axis])}: {have} of {max(along)} conditions")
    return "; ".join(said)


def _numbers(given: list[Any]) -> bool:
    return all(is_number(value) or (isinstance(value, list) and _numbers(value)) for value in given)


def _periodic(axis: int, axes: Sequence[Tensor]) -> list[Row]:
    others = tuple(len(x) for other, x in enumerate(axes) if other != axis)
    zeros = torch.zeros(others, dtype=torch.float64)
    return [Row(axis, ((0, order, 1.0), (-1, order, -1.0)), zeros) for order in (0, 1)]


def _values(values: Any, name: str, axis: int, end: Literal[0, -1], axes: Sequence[Tensor]) -> Tensor:
    others = tuple(len(x) for other, x in enumerate(axes) if other != axis)
    what = f"the condition on the {name} side"
    if callable(values):
        here = [x[end : end + 1 or None] if other == axis else x for other, x in enumerate(axes)]
        found, shape = called(what, values, torch.meshgrid(*here, indexing="ij")), tuple(len(x) for x in here)
    else:
        found = numbers(what, values, "Give a number, an array, a function, Dirichlet, Neumann or Periodic().")
        shape = others
    if found.ndim and tuple(found.shape) != shape:
        got = f"{tuple(found.shape)} values for {shape} points"
        raise InputError(f"the values on the {name} side do not fit the grid", got, "Give one a grid point.")
    found = found.expand(shape)
    found = found.select(axis, 0) if callable(values) else found
    if not found.isfinite().all():
        raise InputError(f"the values on the {name} side are not finite", "NaN or infinity", "Check them.")
    return found.detach().clone()
