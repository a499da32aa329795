"""Hermite coefficients as functions of the variance: computed once per octave, interpolated in between."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.infwidth.quadrature import Function, derivative, hermite, hermite_coefficients

DEGREES = 256
"""Longest expansion."""

_NODES = 24
"""Chebyshev nodes per octave."""


class Expansion(NamedTuple):
    """Of one function at some variances.

    Attributes:
        series: ``c_k(q) = E[f(sqrt(q) z) h_k(z)]``; the degree is the first axis.
        smooth: The same without the part that kinks make; the same object where there are none.
        square: ``E[f(sqrt(q) z)^2]``.
    """

    series: Float[Tensor, "degrees *q"]
    smooth: Float[Tensor, "degrees *q"]
    square: Float[Tensor, "*q"]


class HermiteTable:
    """The expansions of a function and of its derivative at any variance.

    In ``log q`` the coefficients are analytic, so that Chebyshev interpolation with 24 nodes per octave is exact to
    rounding; it is differentiable in the variance.

    Arguments:
        function: An elementwise function.
        kinks: Where its derivative jumps, and by how much.
    """

    def __init__(self, function: Function, kinks: dict[float, float]) -> None:
        self.functions, self.kinks = [function, derivative(function)], kinks
        self._octaves: dict[int, tuple[Tensor, Tensor]] = {}

    def degrees(self, q: Float[Tensor, "*q"], tolerance: float, largest: float = 1.0) -> int:
        """How many terms there are before all that follows is relatively below `tolerance`.

        Arguments:
            q: The variances.
            tolerance: Relative to the second moment.
            largest: The largest correlation.
        """
        powers = largest ** torch.arange(DEGREES, dtype=torch.float64)
        octaves = _log(q).floor().unique().tolist()
        left_out = [self._octave(int(octave))[1] * powers for octave in octaves]
        return max((int((each > tolerance).sum()) for each in left_out), default=0)

    def __call__(self, q: Float[Tensor, "*q"], degrees: int) -> list[Expansion]:
        """Expansions up to a degree, of the function and of its derivative."""
        log = _log(q)
        octave = log.detach().floor()
        polynomials = _chebyshev(2 * (log - octave) - 1)
        places, rows = [], []
        for number in octave.unique().tolist():
            place = (octave == number).nonzero()[:, 0]
            table = self._octave(int(number))[0][..., : degrees + 1].to(q.device)
            places.append(place)
            rows.append(polynomials[place] @ table.flatten(1))
        parts = 2 if self.kinks else 1
        columns = torch.cat(rows)[torch.cat(places).argsort()].T
        columns = columns.unflatten(0, (len(self.functions), parts, degrees + 1)).unflatten(-1, q.shape)
        series = [each[0, 1:] for each in columns]
        smooth = [each[1, 1:] for each in columns] if self.kinks else series
        return [Expansion(*each) for each in zip(series, smooth, columns[:, 0, 0])]

    def _octave(self, number: int) -> tuple[Tensor, Tensor]:
        """Table for ``2^number <= q <= 2^(number+1)``, and what an expansion up to each degree leaves out.

        The table (nodes, functions, parts, 1 + degrees) has the Chebyshev coefficients of the second moment, then
        those of the expansion.
        """
        if number not in self._octaves:
            nodes = torch.cos(math.pi * (torch.arange(_NODES, dtype=torch.float64) + 0.5) / _NODES)
            q = 2.0 ** (number + (nodes + 1) / 2)
            rows, left_out = [], torch.zeros(DEGREES, dtype=torch.float64)
            found = hermite_coefficients(self.functions, q, DEGREES, list(self.kinks))
            for (series, square), by_kinks in zip(found, coefficients_of_kinks(self.kinks, q)):
                if not (series.isfinite().all() and square.isfinite().all()):
                    raise InputError("the activation has no finite moments", f"variance {q[0]:.3g}", "Lower w_std.")
                parts = [series, series - by_kinks] if self.kinks else [series]
                rows.append(torch.stack([torch.cat([square[:, None], part], 1) for part in parts], 1))
                bound = (tail(parts[0].T) * tail(parts[-1].T)).sqrt() / square.amax().clamp(min=1e-300)
                left_out = torch.maximum(left_out, bound)
            values = torch.stack(rows, 1)
            table = torch.linalg.solve(_chebyshev(nodes), values.flatten(1)).unflatten(1, values.shape[1:])
            self._octaves[number] = table, left_out
        return self._octaves[number]


def coefficients_of_kinks(kinks: dict[float, float], q: Float[Tensor, " q"]) -> list[Float[Tensor, "q degrees"]]:
    """Hermite coefficients, from degree 2 on, of ``sum_i J_i max(x - t_i, 0)``; from degree 1 on, of its derivative.

    ``E[max(x - t, 0) h_k] = sqrt(q) phi(t/sqrt q) h_{k-2}(t/sqrt q) / sqrt(k (k-1))``, with the normal density ``phi``.
    """
    value, slope = q.new_zeros(len(q), DEGREES), q.new_zeros(len(q), DEGREES)
    degree = torch.arange(1, DEGREES, dtype=q.dtype)
    for place, jump in kinks.items():
        z = (place / q.sqrt()).clamp(-40, 40)
        density = jump * torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
        polynomials = density[:, None] * torch.stack(hermite(z, DEGREES - 1), 1)
        slope[:, 1:] += polynomials / degree.sqrt()
        value[:, 2:] += q.sqrt()[:, None] * polynomials[:, :-1] / (degree[1:] * degree[:-1]).sqrt()
    return [value, slope]


def _log(q: Tensor) -> Tensor:
    return q.double().flatten().clamp(2.0**-60, 2.0**60).log2()


def tail(series: Float[Tensor, "degrees *q"]) -> Float[Tensor, " degrees"]:
    """Sum of squares of the coefficients from each degree on, at the variance where it is largest."""
    return series.square().flatten(1).amax(1).flip(0).cumsum(0).flip(0)


def _chebyshev(x: Tensor) -> Tensor:
    """The Chebyshev polynomials at `x`, one per column."""
    columns = [torch.ones_like(x), x]
    while len(columns) < _NODES:
        columns.append(2 * x * columns[-1] - columns[-2])
    return torch.stack(columns, -1)
