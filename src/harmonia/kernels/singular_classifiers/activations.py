"""Activations whose infinitely wide and deep network is the consistent classifier for data of a given dimension.

With ``phi = sum_k sqrt(c_k) h_k``, orthonormal Hermite polynomials, the infinitely deep network smooths with a kernel
of singularity ``|x - x'|^-alpha``, ``alpha = -2 log c_1 / log sum_k k c_k`` (`taxonomy`). It is Bayes-consistent if
``alpha`` is the dimension (Devroye, Gyorfi, Krzyzak 1998), so ``c_1 = b^(-d/2)`` and ``sum_k k c_k = b``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.parts.infwidth.quadrature import hermite

LARGEST_DIMENSION = 1000.0
"""Beyond, ``2^(-d/2)`` leaves the range of a float."""


class HermiteActivation(nn.Module):
    """``sum_k coefficients[k] h_k(x)`` with the orthonormal Hermite polynomials of the normal distribution.

    A network of such layers with weights of variance ``1 / fan_in`` and no biases keeps the variance of its signals
    at 1 if the coefficients' squares sum to 1: that is critical initialisation.

    Arguments:
        coefficients: From degree 0 on.

    Example:
        >>> HermiteActivation([0.0, 0.0, 1.0])(torch.tensor([1.0, 3.0]))  # (x^2 - 1) / sqrt 2
        tensor([0.0000, 5.6569])
    """

    coefficients: Tensor

    def __init__(self, coefficients: Sequence[float | int]) -> None:
        super().__init__()
        if not all(math.isfinite(c) for c in coefficients) or not any(coefficients):
            raise InputError("an activation needs finite coefficients, not all 0", coefficients, "Pass e.g. [0, 1].")
        self.register_buffer("coefficients", torch.tensor([*coefficients], dtype=torch.float64))

    def forward(self, x: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        polynomials = hermite(x, len(self.coefficients))
        return sum((float(c) * h for c, h in zip(self.coefficients, polynomials) if c), torch.zeros_like(x))

    def extra_repr(self) -> str:
        return ", ".join(f"{float(c):.6g} h{k}" for k, c in enumerate(self.coefficients) if c)


def optimal_activation(
    dimension: float | int, *, degrees: tuple[int, int, int] | None = None, growth: float | int = 2.0
) -> HermiteActivation:
    """The activation whose infinitely wide and deep network is consistent for data of that dimension.

    Three Hermite polynomials of degrees ``1 < j < k`` with ``c_1 = growth^(-d/2)``, ``c_1 + c_j + c_k = 1`` and
    ``c_1 + j c_j + k c_k = growth``. With the defaults and ``d >= 2``,

        phi = 2^(-d/4) h_1 + sqrt(1 - 2^(1 - d/2)) h_2 + 2^(-d/4) h_3.

    Arguments:
        dimension: Dimension of the data, on the sphere; need not be whole.
        degrees: Degrees of the polynomials, the first 1; (1, 2, 3), or (1, 2, 7) below dimension 2, unless given.
        growth: ``E phi'^2``, by which each layer pulls near inputs apart.

    Raises:
        InputError: a dimension out of range, or degrees and growth that would need negative coefficients.

    Example:
        >>> optimal_activation(4)
        HermiteActivation(0.5 h1, 0.707107 h2, 0.5 h3)
    """
    if not 0 < dimension <= LARGEST_DIMENSION:
        raise InputError(
            f"the dimension is above 0 and at most {LARGEST_DIMENSION:.0f}",
            dimension,
            "Give that of the data, which is often far below the number of features (dim='mle').",
        )
    if growth <= 1:
        raise InputError("growth is above 1", growth, "Use 2.")
    one, j, k = degrees or ((1, 2, 3) if dimension >= 2 else (1, 2, 7))
    if not one == 1 < j < k:
        raise InputError("degrees are 1 < j < k", degrees, "Use e.g. (1, 2, 3).")
    first = growth ** (-dimension / 2)
    last = (growth - first - j * (1 - first)) / (k - j)
    middle = 1 - first - last
    if min(middle, last) < 0:
        raise InputError(
            f"degrees {(one, j, k)} and growth {growth:g} have no solution for dimension {dimension:g}",
            f"squared coefficients {first:.3g}, {middle:.3g}, {last:.3g}",
            "Use another third degree or growth.",
        )
    coefficients = [0.0] * (k + 1)
    for degree, square in ((1, first), (j, middle), (k, last)):
        coefficients[degree] = math.sqrt(square)
    return HermiteActivation(coefficients)
