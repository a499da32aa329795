"""Differential equations as plain functions of a solution's derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.gp_hm.parameters import check_takes

Order = tuple[int, ...]
"""How often a solution is differentiated along each axis: ``(2, 0)`` is u_xx in two dimensions."""

Coefficient = float | Callable[..., Tensor]


class Derivatives:
    """The values of a solution and its derivatives at the points of a grid: ``u[0, 0]`` is u, ``u[2, 0]`` is u_xx.

    In one dimension ``u[2]`` is u_xx. What is asked for is remembered, so that a function of it tells which derivatives
    an equation needs.
    """

    def __init__(self, dimensions: int, values: Callable[[Order], Tensor]) -> None:
        self._dimensions, self._values = dimensions, values
        self.seen: dict[Order, Tensor] = {}

    def __getitem__(self, order: int | Order) -> Tensor:
        key = tuple(order) if isinstance(order, Sequence) else (order,)
        if len(key) != self._dimensions or not all(isinstance(times, Integral) and times >= 0 for times in key):
            mend = f"Give {self._dimensions} orders, e.g. u{list((2,) + (0,) * (self._dimensions - 1))}."
            raise InputError("the equation asks for a derivative that there is not", f"u{list(key)}", mend)
        if key not in self.seen:
            self.seen[key] = self._values(key)
        return self.seen[key]


Equation = Callable[..., Tensor]
"""The left-hand side N of ``N[u] = source``: a function of `Derivatives` and of the coordinates x, y, ..."""


@dataclass(frozen=True)
class Laplace:
    """``u_xx + u_yy + ... = f``: Poisson's equation, in any number of dimensions."""

    def __call__(self, u: Derivatives, *x: Tensor) -> Tensor:
        return _laplacian(u, len(x))


@dataclass(frozen=True)
class Helmholtz:
    """``u_xx + u_yy + ... + k2 u = f`` with the squared wave number k2, a number or a function of the coordinates."""

    k2: Coefficient = 1.0

    def __call__(self, u: Derivatives, *x: Tensor) -> Tensor:
        return _laplacian(u, len(x)) + _at(self.k2, x) * u[(0,) * len(x)]


@dataclass(frozen=True)
class AllenCahn:
    """``u_xx + u_yy + ... + u (u^2 - 1) = f``, as the paper has it: stationary, with unit coefficients."""

    def __call__(self, u: Derivatives, *x: Tensor) -> Tensor:
        value = u[(0,) * len(x)]
        return _laplacian(u, len(x)) + value * (value**2 - 1)


@dataclass(frozen=True)
class Advection:
    """``beta u_x + u_t = f``: transport along the first axis in the time of the second."""

    beta: Coefficient = 1.0

    def __call__(self, u: Derivatives, x: Tensor, t: Tensor) -> Tensor:
        return _at(self.beta, (x, t)) * u[1, 0] + u[0, 1]


@dataclass(frozen=True)
class LinearOperator:
    """``sum of coefficient * derivative``, coefficients being numbers or functions of the coordinates.

    Example:
        >>> heat = LinearOperator([(1.0, (0, 1)), (-0.1, (2, 0))])  # u_t - 0.1 u_xx
        >>> orders_of(heat, 2)
        [(0, 1), (2, 0)]
    """

    terms: Sequence[Any]

    def __post_init__(self) -> None:
        if not self.terms:
            raise InputError("a linear operator has a term", "none", "Give [(coefficient, (order, order)), ...].")
        for term in self.terms:
            if not isinstance(term, Sequence) or len(term) != 2:
                what = "a term of a linear operator is a coefficient and the orders of a derivative"
                raise InputError(what, repr(term)[:60], "Give e.g. (1.0, (2, 0)).")

    def __call__(self, u: Derivatives, *x: Tensor) -> Tensor:
        return torch.stack([_at(c, x) * u[order] + 0 * x[0] for c, order in self.terms]).sum(0)


def _laplacian(u: Derivatives, dimensions: int) -> Tensor:
    second = [u[tuple(2 * (axis == other) for other in range(dimensions))] for axis in range(dimensions)]
    return torch.stack(second).sum(0)


def _at(coefficient: Any, x: Sequence[Tensor]) -> Tensor | float:
    mend = f"Give a number, or a function of {len(x)} coordinate{'s' * (len(x) > 1)}."
    if callable(coefficient):
        check_takes("a coefficient does not fit the grid", coefficient, len(x), mend)
        return coefficient(*x)
    try:
        return float(coefficient)
    except (TypeError, ValueError):
        raise InputError("a coefficient cannot be read", repr(coefficient)[:60], mend) from None


def orders_of(equation: Equation, dimensions: int) -> list[Order]:
    """The derivatives that an equation uses, found by asking it once.

    Raises:
        InputError: a function that does not take u and one coordinate an axis, or gives no tensor.

    Example:
        >>> orders_of(lambda u, x: u[2] + x * u[0] ** 3, 1)
        [(0,), (2,)]
    """
    here = torch.full((3,) * dimensions, 0.37, dtype=torch.float64)
    mend = f"Write a function of u and {dimensions} coordinate{'s' * (dimensions > 1)}."
    check_takes("the equation does not fit the grid", equation, 1 + dimensions, mend)
    u = Derivatives(dimensions, lambda order: torch.full_like(here, 0.5))
    value = equation(u, *[here] * dimensions)
    if not isinstance(value, Tensor) or not u.seen:
        got = type(value).__name__ if u.seen else "no derivative of u"
        raise InputError("an equation is a function of u, its derivatives and x that gives a tensor", got, "Change it.")
    return sorted(u.seen)


class Linearised(NamedTuple):
    """An equation near a solution: ``N[u + h] = value + sum_t coefficients[t] * h^(t)``.

    Attributes:
        value: ``N[u]`` on the grid.
        coefficients: ``dN/du^(t)`` on the grid, by derivative.
    """

    value: Tensor
    coefficients: dict[Order, Tensor]

    @property
    def finite(self) -> bool:
        """Whether all of them are numbers."""
        return all(bool(values.isfinite().all()) for values in (self.value, *self.coefficients.values()))


def linearised(
    equation: Equation, fields: dict[Order, Float[Tensor, "..."]], points: Sequence[Float[Tensor, "..."]]
) -> Linearised:
    """An equation's value and its exact derivatives by each of u, u_x, u_xx, ..., point by point."""
    leaves = {order: values.detach().clone().requires_grad_() for order, values in fields.items()}
    with torch.enable_grad():
        value = equation(Derivatives(len(points), leaves.__getitem__), *points)
        value = value + 0 * sum(leaves.values())
        gradients = torch.autograd.grad(value.sum(), list(leaves.values()))
    return Linearised(value.detach(), dict(zip(leaves, gradients)))
