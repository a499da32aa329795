"""A function of one number as a short power series, for features that are products of random signs.

Those features of ``z^n`` vary as ``(|x| |w|)^n``, those of a wave as its exponential: a function which is nearly a
polynomial of low degree where it is needed (GELU, tanh, softplus near zero) varies less as powers than as waves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray
from numpy.polynomial import Chebyshev, Polynomial
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.snnk.fourier_series import Function, as_function
from harmonia.parts.gram.dot_product_features import MaclaurinFeatures


def power_series(
    f: str | Function, radius: float, *, tolerance: float = 0.01, degree: int = 24
) -> Float64[ndarray, " terms"]:
    """Coefficients of the polynomial of least degree that is near enough to f on [-radius, radius].

    Arguments:
        f: A name in `FUNCTIONS`, or a function of tensors.
        radius: z lies in [-radius, radius].
        tolerance: Largest relative error (root mean square).
        degree: Largest.

    Raises:
        InputError: an unknown function, no radius, values that are not finite, or an error above the tolerance.

    Example:
        >>> power_series(lambda z: 1 + 2 * z**3, 1.0, tolerance=1e-9).round(9) + 0.0
        array([1., 0., 0., 2.])
    """
    f = as_function(f)
    if not (0 < radius < math.inf):
        raise InputError(
            "a power series needs the range of its argument", radius, "Give radius: the largest |w.x + b|."
        )
    at = radius * np.cos(np.pi * (np.arange(400) + 0.5) / 400)
    values = np.asarray(f(torch.from_numpy(at)), dtype=np.float64)
    if values.shape != at.shape or not np.isfinite(values).all():
        raise InputError("a function gives one finite number for each", values.shape, "Change it.")
    size, error = np.sqrt(np.square(values).mean()), math.inf
    for terms in range(degree + 1):
        fitted = Chebyshev.fit(at, values, terms, domain=[-radius, radius])
        error = float(np.sqrt(np.square(fitted(at) - values).mean()))
        if error <= tolerance * size:
            return fitted.convert(kind=Polynomial).coef
    got = f"relative error {error / size:.2g} at degree {degree}"
    raise InputError("the function is not a short power series", got, "Use method='fourier', or a smaller radius.")


@dataclass(frozen=True, eq=False)
class PowerSeriesFeatures:
    """Features of ``f(w . x + b)`` for a power series f: Maclaurin features of ``[x, 1]`` and ``[w, b]``.

    Attributes:
        maclaurin: The features.
    """

    maclaurin: MaclaurinFeatures

    @classmethod
    def draw(
        cls,
        coefficients: Float64[ndarray, " terms"],
        inputs: int,
        features: int,
        *,
        generator: torch.Generator,
        product: float,
    ) -> PowerSeriesFeatures:
        """Random features, for pairs with about this ``|x| |w|``."""
        return cls(MaclaurinFeatures.draw(coefficients, inputs + 1, features, generator=generator, radius=product))

    def __call__(self, x: Float64[Tensor, "n inputs"]) -> Float64[Tensor, "n m"]:
        return self.maclaurin(torch.nn.functional.pad(x, (0, 1), value=1.0))

    def of_weights(
        self, weight: Float64[Tensor, "o inputs"], bias: Float64[Tensor, " o"] | None
    ) -> Float64[Tensor, "o m"]:
        """Features of every row of weights, with its bias."""
        return self.maclaurin.of_weights(_with_bias(weight, bias))

    def std(self, x: Float64[Tensor, "n inputs"], w: Float64[Tensor, "o inputs"]) -> Float64[Tensor, "n o"]:
        """Root mean square of each estimate's noise, at most."""
        moment = self.maclaurin.second_moment(torch.nn.functional.pad(x, (0, 1), value=1.0), _with_bias(w, None))
        return (moment / len(self.maclaurin.scale)).sqrt()


def _with_bias(weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.cat([weight, torch.zeros_like(weight[:, :1]) if bias is None else bias[:, None]], 1)
