"""Gaussian expectations of one variable: quadrature that resolves kinks, Hermite coefficients, finding kinks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError

Function = Callable[[Tensor], Tensor]

REACH = 12.0
"""The normal density beyond is below 1e-31."""

_NODES_PER_PANEL = 20


@cache
def _panels() -> Float[Tensor, " edges"]:
    """Edges that shrink towards 0, where an activation of large variance changes fast, and are at most 1 apart."""
    positive = [REACH * 2.0**-k for k in range(16, 4, -1)] + list(np.linspace(REACH / 16, REACH, 16))
    return torch.tensor([-edge for edge in reversed(positive)] + [0.0, *positive], dtype=torch.float64)


@cache
def _legendre() -> tuple[Tensor, Tensor]:
    nodes, weights = np.polynomial.legendre.leggauss(_NODES_PER_PANEL)
    return torch.from_numpy(nodes), torch.from_numpy(weights)


def gaussian_nodes(
    breaks: Float[Tensor, "... breaks"],
) -> tuple[Float[Tensor, "... nodes"], Float[Tensor, "... nodes"]]:
    """Nodes and weights with ``sum_j w_j f(z_j) = E f(z)``, ``z ~ N(0, 1)``, for `f` smooth apart from `breaks`.

    Composite Gauss-Legendre quadrature on [-12, 12].

    Example:
        >>> z, w = gaussian_nodes(torch.tensor([1.0]))
        >>> print(f"{(w * (z > 1)).sum():.12f}")
        0.158655253931
    """
    edges = _panels().expand(*breaks.shape[:-1], -1)
    edges = torch.cat([edges, breaks.double().clamp(-REACH, REACH)], -1).sort(-1).values
    x, w = _legendre()
    half = edges.diff(dim=-1).unsqueeze(-1) / 2
    z = (edges[..., :-1].unsqueeze(-1) + half * (1 + x)).flatten(-2)
    return z, (half * w).flatten(-2) * torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)


def expectation(
    function: Function, variance: Float[Tensor, "*batch"], kinks: Sequence[float] = ()
) -> Float[Tensor, "*batch"]:
    """``E f(x)`` for ``x ~ N(0, variance)``; `function` may have kinks.

    Example:
        >>> expectation(torch.square, torch.tensor([2.0]))
        tensor([2.0000], dtype=torch.float64)
    """
    root = variance.double().sqrt().unsqueeze(-1)
    z, w = gaussian_nodes(_scaled(kinks, root))
    return (w * function(root * z)).sum(-1)


def hermite(z: Tensor, degrees: int) -> list[Tensor]:
    """The orthonormal Hermite polynomials ``h_0 ... h_{degrees-1}`` of the normal distribution at `z`."""
    values = [torch.ones_like(z), z]
    for k in range(1, degrees - 1):
        values.append((z * values[k] - math.sqrt(k) * values[k - 1]) / math.sqrt(k + 1))
    return values[:degrees]


def hermite_coefficients(
    functions: Sequence[Function], variance: Float[Tensor, " q"], degrees: int, kinks: Sequence[float] = ()
) -> list[tuple[Float[Tensor, "q degrees"], Float[Tensor, " q"]]]:
    """For each function ``c_k(q) = E[f(sqrt(q) z) h_k(z)]`` and ``E[f(sqrt(q) z)^2]``."""
    root = variance.double().sqrt().unsqueeze(-1)
    z, w = gaussian_nodes(_scaled(kinks, root))
    polynomials = hermite(z, degrees)
    found = []
    for function in functions:
        values = function(root * z)
        weighted = w * values
        if z.ndim == 1:
            series = weighted @ torch.stack(polynomials, -1)
        else:  # one after another: all at once would be large
            series = torch.stack([(weighted * polynomial).sum(-1) for polynomial in polynomials], -1)
        found.append((series, (weighted * values).sum(-1)))
    return found


def _scaled(kinks: Sequence[float], root: Tensor) -> Tensor:
    places = torch.tensor(list(kinks), dtype=torch.float64)
    return places / root.clamp(min=1e-300) if places.any() else places  # a kink at 0 stays there


def derivative(function: Function) -> Function:
    """The derivative of an elementwise function by automatic differentiation."""

    def differentiated(x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            y = function(x)
            if not y.requires_grad:  # a constant
                return torch.zeros_like(x)
            return torch.autograd.grad(y.sum(), x)[0]

    return differentiated


def find_kinks(function: Function, reach: float = 20.0) -> dict[float, float]:
    """Points in [-reach, reach] where the derivative of a function jumps, with the height of the jump.

    Raises:
        InputError: the function itself jumps, or is not finite.

    Example:
        >>> find_kinks(torch.nn.functional.hardtanh)
        {-1.0: 1.0, 1.0: -1.0}
    """
    slope = derivative(function)
    cells = 8192
    # The irrational shift keeps likely kinks (0, 1, 0.5, ...) off the grid.
    grid = torch.linspace(-reach - 1 / (cells * math.pi), reach, cells, dtype=torch.float64)
    at = slope(grid)
    if not (function(grid).isfinite().all() and at.isfinite().all()):
        raise InputError("the activation is not finite", f"NaN or infinity within +-{reach:g}", "Use another function.")
    (left, right), (at_left, at_right) = (grid[:-1], grid[1:]), (at[:-1], at[1:])
    for _ in range(34):  # keep the half in which the slope changes more: a jump survives, a smooth change fades
        middle = (left + right) / 2
        at_middle = slope(middle)
        first = (at_middle - at_left).abs() > (at_right - at_middle).abs()
        left, right = torch.where(first, left, middle), torch.where(first, middle, right)
        at_left, at_right = torch.where(first, at_left, at_middle), torch.where(first, at_middle, at_right)
    if len(broken := _steps(function, grid)):
        raise InputError(
            "the activation is discontinuous, so it has no tangent kernel",
            f"a jump at {float(broken[0]):.6g}",
            "Use a continuous one, or Sign().",
        )
    jumps = at_right - at_left
    found = jumps.abs() > 1e-6 * (1e-3 + at_left.abs() + at_right.abs())
    return {round(float(x), 11) + 0.0: round(float(jump), 9) for x, jump in zip(right[found], jumps[found])}


def _steps(function: Function, grid: Tensor) -> Tensor:
    """Where a function jumps, at most once a cell: the half in which it changes more is kept, until only steps do."""
    left, right = grid[:-1], grid[1:]
    at_left, at_right = function(left), function(right)
    for _ in range(34):
        middle = (left + right) / 2
        at_middle = function(middle)
        first = (at_middle - at_left).abs() > (at_right - at_middle).abs()
        left, right = torch.where(first, left, middle), torch.where(first, middle, right)
        at_left, at_right = torch.where(first, at_left, at_middle), torch.where(first, at_middle, at_right)
    return right[(at_right - at_left).abs() > 1e-6 * (1 + at_right.abs())]
