"""A function of one number as a sum of few waves, chosen so that random features of it vary least.

Features of ``f(w . x + b)`` are those of its waves ``e^{i omega z}``, and the variance of a wave's features grows like
``e^{2 omega |x| |w|}``: high frequencies are exponentially expensive. A function is therefore not windowed and
transformed, but fitted on the interval where it is needed, by least squares with a penalty of that size on every
wave: a Fourier extension, whose error falls geometrically for analytic f. Of the penalties the one with the least sum
of squared error and variance is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Complex, Float, Float64
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.gram.ridge import RidgePath

Function = Callable[[Any], Any]

FUNCTIONS: dict[str, Function] = {
    "sin": torch.sin,
    "cos": torch.cos,
    "exp": torch.exp,
    "gelu": torch.nn.functional.gelu,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "silu": torch.nn.functional.silu,
    "softplus": torch.nn.functional.softplus,
    "tanh": torch.tanh,
}
"""Functions known by name."""

_NODES = 400
_PENALTIES = torch.logspace(-14, 0, 29, dtype=torch.float64).tolist()


@dataclass(frozen=True, eq=False)
class FourierSeries:
    """``f(z) = constant + Re sum_k a_k e^{i omega_k z}`` on an interval.

    Attributes:
        constant: Mean part.
        frequencies: omega > 0, in radians.
        amplitudes: a.
        error: Root mean square of what is missing from the function, on its interval.
        radius: Half the length of the interval; infinite where the series is the function.

    Example:
        >>> series = FourierSeries.of(torch.tanh, radius=3.0, product=0.0, tolerance=1e-5)
        >>> z = torch.linspace(-3, 3, 7, dtype=torch.float64)
        >>> bool((series(z) - torch.tanh(z)).abs().max() < 1e-4)
        True
    """

    constant: float
    frequencies: Float64[Tensor, " k"]
    amplitudes: Complex[Tensor, " k"]
    error: float = 0.0
    radius: float = math.inf

    @classmethod
    def of(
        cls,
        f: str | Function | FourierSeries,
        radius: float = math.nan,
        *,
        product: float | None = None,
        features: int | None = None,
        terms: int = 32,
        tolerance: float = 0.01,
    ) -> FourierSeries:
        """The series of a function.

        Arguments:
            f: A name in `FUNCTIONS`, or a function of tensors; a series is given back as it is.
            radius: z lies in [-radius, radius]; sines and cosines need none.
            product: Typical ``|x| |w|`` that the features will meet; `radius` unless given.
            features: How many features there will be: the sum of squared error and variance is then the least. None:
                the least variance with an error within the tolerance.
            terms: Most waves.
            tolerance: Largest relative error (root mean square); with `features` it is not asked for.

        Raises:
            InputError: an unknown function, no radius, values that are not finite, or an error above the tolerance.
        """
        if isinstance(f, FourierSeries):
            return f
        if f in ("sin", "cos"):
            amplitude = torch.tensor([-1j if f == "sin" else 1.0], dtype=torch.complex128)
            return cls(0.0, torch.ones(1, dtype=torch.float64), amplitude)
        f = as_function(f)
        if not (0 < radius < math.inf):
            mend = "Give radius: the largest |w . x + b|."
            raise InputError("a function without a Fourier transform needs the range of its argument", radius, mend)
        z = radius * torch.cos(math.pi * (torch.arange(_NODES, dtype=torch.float64) + 0.5) / _NODES)
        values = torch.as_tensor(f(z), dtype=torch.float64)
        if values.shape != z.shape or not values.isfinite().all():
            raise InputError("a function gives one finite number for each", tuple(values.shape), "Change it.")
        product = radius if product is None else product
        size = float(values.square().mean().sqrt())
        candidates = cls._candidates(z, values, radius, product, terms)
        if features:
            return min(candidates, key=lambda series: series.error**2 + series.variance(product) / features)
        accurate = [series for series in candidates if series.error <= tolerance * size]
        if not accurate:
            got = f"relative error {min(series.error for series in candidates) / size:.2g} with {terms} waves"
            mend = "Use more terms, a smaller radius, a smoother function or a larger tolerance."
            raise InputError("the function is not a sum of few waves", got, mend)
        return min(accurate, key=lambda series: series.variance(product))

    @classmethod
    def _candidates(cls, z: Tensor, values: Tensor, radius: float, product: float, terms: int) -> list[FourierSeries]:
        """One fit for each penalty, from one decomposition."""
        frequencies = math.pi / (2 * radius) * torch.arange(1, terms + 1, dtype=torch.float64)
        cost = (frequencies * product).clamp(max=300).exp()
        angles = z[:, None] * frequencies
        waves = torch.cat([angles.cos() / cost, -angles.sin() / cost], 1)
        path = RidgePath.of_features(waves, values[:, None], intercept=True)
        found = []
        for penalty in _PENALTIES:
            weights = (waves - waves.mean(0)).T @ path.dual(penalty * len(z))
            constant = values.mean() - waves.mean(0) @ weights[:, 0]
            real, imaginary = weights.reshape(2, terms) / cost
            error = float((path.fitted(penalty * len(z))[:, 0] - values).square().mean().sqrt())
            found.append(cls(float(constant), frequencies, torch.complex(real, imaginary), error, radius))
        return found

    def __call__(self, z: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """The sum at z."""
        waves = torch.exp(1j * z[..., None] * self.frequencies.to(z))
        return self.constant + (waves * self.amplitudes.to(waves.dtype)).sum(-1).real

    def variance(self, product: float) -> float:
        """Of one pair of features, at most: ``(sum |a_k| e^{omega_k |x| |w|})^2`` with the best chances."""
        return float((self.amplitudes.abs() * (self.frequencies * product).clamp(max=300).exp()).sum().square())

    def chances(self, product: float) -> Float64[Tensor, " k"]:
        """With which probability each wave is best drawn: as its amplitude times the size of its features."""
        if not self.amplitudes.any():  # a constant: any wave will do, and the slowest has the smallest features
            return (self.frequencies == self.frequencies.min()).double()
        sizes = self.amplitudes.abs().log() + self.frequencies * product
        return (sizes - sizes.max()).exp() / (sizes - sizes.max()).exp().sum()

    def draw(
        self, count: int, product: float, generator: torch.Generator
    ) -> tuple[Float64[Tensor, " n"], Complex[Tensor, " n"]]:
        """Frequencies in their shares, by one systematic sample, and amplitudes over chances."""
        chances = self.chances(product)
        at = (torch.arange(count) + torch.rand(1, generator=generator, dtype=torch.float64)) / count
        chosen = torch.searchsorted(chances.cumsum(0), at).clamp(max=len(chances) - 1)
        return self.frequencies[chosen], self.amplitudes[chosen] / chances[chosen]


def as_function(f: str | Function) -> Function:
    """The function of a name, or a function as it is.

    Raises:
        InputError: an unknown name, or no function.
    """
    if isinstance(f, str) and f in FUNCTIONS:
        return FUNCTIONS[f]
    if not callable(f):
        raise InputError("no such function", repr(f), f"Use one of {', '.join(FUNCTIONS)}, or a function of tensors.")
    return f
