"""Manufactured problems: a solution is chosen, source and boundary values follow. Those of the paper, by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, cos, sin

from harmonia.core.errors import InputError
from harmonia.kernels.gp_hm.operators import Advection, AllenCahn, Derivatives, Equation, Laplace, Order

Function = Callable[..., Tensor]


def differentiated(u: Function, points: Sequence[Float[Tensor, "..."]], order: Order) -> Float[Tensor, "..."]:
    """A derivative of a function at points, by automatic differentiation.

    Example:
        >>> x = torch.tensor([0.0, 1.0], dtype=torch.float64)
        >>> differentiated(lambda x: x**3, [x], (2,))
        tensor([0., 6.], dtype=torch.float64)
    """
    with torch.enable_grad():
        leaves = [x.detach().clone().requires_grad_() for x in points]
        value = u(*leaves) + 0 * sum(leaves)
        for leaf, times in zip(leaves, order):
            for _ in range(times):
                [value] = torch.autograd.grad(value.sum(), leaf, create_graph=True)
                value = value + 0 * sum(leaves)
    return value.detach()


def source_of(equation: Equation, u: Function, points: Sequence[Float[Tensor, "..."]]) -> Float[Tensor, "..."]:
    """``N[u]`` at points: the source that makes u a solution."""
    return equation(Derivatives(len(points), lambda order: differentiated(u, points, order)), *points).detach()


@dataclass(frozen=True)
class Problem:
    """A manufactured problem.

    Attributes:
        equation: N.
        u: Its solution.
        lengths: The box is ``[0, length]`` along each axis.
        points: Grid points along each axis, as the official configuration has them.
        freq_scale: The official one, in cycles per unit of x.
        sides: Where boundary values are given; empty for everywhere.
    """

    equation: Equation
    u: Function
    lengths: tuple[float, ...]
    points: tuple[int, ...]
    freq_scale: float
    sides: tuple[str, ...] = ()

    def grid(self, points: Sequence[int] | None = None) -> list[Float[Tensor, " n"]]:
        """Even points along each axis, ends included."""
        counts = points or self.points
        return [torch.linspace(0, 1, n, dtype=torch.float64) * length for n, length in zip(counts, self.lengths)]

    def source(self, *points: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """f at points."""
        return source_of(self.equation, self.u, points)

    @property
    def boundary(self) -> Function | dict[str, Function]:
        """What `GPPDESolver` takes as its boundary."""
        return dict.fromkeys(self.sides, self.u) if self.sides else self.u


def _mixed(x: Tensor) -> Tensor:
    return sin(x) + 0.1 * sin(20 * x) + cos(100 * x)


_TURN = 2 * math.pi

PAPER: dict[str, Problem] = {
    "poisson_1d-single_sin": Problem(Laplace(), lambda x: sin(100 * x), (_TURN,), (400,), 20.0),
    "poisson_1d-sin_cos": Problem(Laplace(), lambda x: sin(6 * x) * cos(100 * x), (_TURN,), (400,), 20.0),
    "poisson_1d-x_time_sinx": Problem(Laplace(), lambda x: x * sin(200 * x), (_TURN,), (900,), 50.0),
    "poisson_1d-mix_sin": Problem(
        Laplace(), lambda x: sin(x) + 0.1 * sin(20 * x) + 0.05 * sin(100 * x), (1.0,), (900,), 30.0
    ),
    "poisson_1d-x2_add_sinx": Problem(Laplace(), lambda x: sin(500 * x) - 2 * (x - 0.5) ** 2, (1.0,), (900,), 100.0),
    "allencahn_1d-single_sin": Problem(AllenCahn(), lambda x: sin(100 * x), (_TURN,), (400,), 20.0),
    "allencahn_1d-sin_cos": Problem(AllenCahn(), lambda x: sin(6 * x) * cos(100 * x), (_TURN,), (400,), 20.0),
    "poisson_2d-sin_sin": Problem(
        Laplace(), lambda x, y: sin(100 * x) * sin(100 * y), (_TURN, _TURN), (400, 400), 20.0
    ),
    "poisson_2d-sin_add_cos": Problem(
        Laplace(),
        lambda x, y: sin(6 * x) * cos(20 * x) + sin(6 * y) * cos(20 * y),
        (_TURN, _TURN),
        (200, 200),
        20.0,
    ),
    "allencahn_2d-mix-sincos": Problem(AllenCahn(), lambda x, y: _mixed(x) * _mixed(y), (1.0, 1.0), (400, 400), 30.0),
    "advection-sin": Problem(
        Advection(200.0), lambda x, t: sin(x - 200 * t), (1.0, 1.0), (200, 200), 40.0, ("left", "bottom")
    ),
}
"""The paper's problems, under their official names, with the official grids and frequency scales."""


def paper(name: str) -> Problem:
    """One of `PAPER`.

    Raises:
        InputError: an unknown name.
    """
    if name not in PAPER:
        raise InputError("the paper has no such problem", repr(name), f"Use one of: {', '.join(PAPER)}.")
    return PAPER[name]
