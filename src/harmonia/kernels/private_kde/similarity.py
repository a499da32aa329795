"""The kernels, by name: which distance they are of, and how they mix exponentials of it.

``gaussian`` e^(-|x-y|^2/s^2), ``exponential`` e^(-|x-y|/s), ``laplace`` e^(-|x-y|_1/s), and the smooth ones ``cauchy``
1/(1+|x-y|^2/s^2), ``inverse`` 1/(1+|x-y|/s), ``inverse-l1`` 1/(1+|x-y|_1/s). Any completely monotone function of one of
the three distances is a mixture too.

A mixture needs no sketch of its own for each exponential: its frequencies are those of e^(-z) times a random factor,
sqrt(t) or t. With features shared out in proportion to the weights, that costs exactly the noise of the best split of
the budget over separate sketches, and has no error from cutting the integral.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float64
from scipy.spatial.distance import cdist

from harmonia.core.errors import InputError
from harmonia.kernels.private_kde.exponentials import ExponentialSum, sum_of_exponentials
from harmonia.kernels.private_kde.functions import evaluate
from harmonia.parts.gram import Directions, FourierFeatures, Laplace, Matern, Projection, SquaredExponential

Distance = Literal["sqeuclidean", "euclidean", "l1"]
KernelName = Literal["gaussian", "exponential", "laplace", "cauchy", "inverse", "inverse-l1"]

_METRICS = {"sqeuclidean": "sqeuclidean", "euclidean": "euclidean", "l1": "cityblock"}


@dataclass(frozen=True)
class Similarity:
    """A kernel ``f(z)`` of the distance z of two rows in units of the bandwidth (its square for ``sqeuclidean``).

    Attributes:
        distance: Which distance z is.
        profile: f.
        rates: Rates t of ``f(z) / f(0) = E e^(-t z)`` at probabilities; None where t is 1.
    """

    distance: Distance
    profile: Callable[[np.ndarray], np.ndarray]
    rates: Callable[[np.ndarray], np.ndarray] | None = None

    @classmethod
    def of(cls, kernel: Any, distance: Any = "sqeuclidean") -> Similarity:
        """A kernel by name, as an `ExponentialSum`, or as a completely monotone function of a distance.

        A function is met to 1e-3 at every distance.

        Raises:
            InputError: an unknown kernel or distance, or a function that is no such mixture or falls too slowly.
        """
        if isinstance(kernel, str) and kernel in _NAMED:
            return _NAMED[kernel]
        if distance not in get_args(Distance):
            raise InputError("no such distance", repr(distance), f"Use one of: {', '.join(get_args(Distance))}.")
        if isinstance(kernel, str) or not callable(kernel):
            names = ", ".join(_NAMED)
            raise InputError("no such kernel", repr(kernel), f"Use a function of the distance, or one of: {names}.")
        mixture = kernel if isinstance(kernel, ExponentialSum) else _mixture(kernel)
        shares = np.cumsum(mixture.weights) / mixture.total
        return cls(distance, mixture, lambda u: mixture.rates[np.searchsorted(shares, u).clip(0, len(shares) - 1)])

    @property
    def total(self) -> float:
        """``f(0)``."""
        return float(self.profile(np.zeros(1))[0])

    def matrix(
        self, x: Float64[np.ndarray, "n d"], y: Float64[np.ndarray, "q d"], bandwidth: float = 1.0
    ) -> Float64[np.ndarray, "n q"]:
        """The kernel of all pairs, without privacy.

        Example:
            >>> Similarity.of("cauchy").matrix(np.zeros((1, 2)), np.array([[0.0, 2.0]]), bandwidth=2.0)
            array([[0.5]])
        """
        return self.profile(cdist(x / bandwidth, y / bandwidth, _METRICS[self.distance]))

    def frequencies(
        self, inputs: int, count: int, bandwidth: float, generator: torch.Generator, directions: Directions
    ) -> Projection:
        """Random frequencies whose mean cosine is ``f / f(0)``."""
        base: SquaredExponential | Matern | Laplace
        match self.distance:
            case "sqeuclidean":
                base = SquaredExponential(math.sqrt(0.5))
            case "euclidean":
                base = Matern(nu=0.5)
            case _:
                base = Laplace()
        features = FourierFeatures.draw(base, inputs, 2 * count, generator=generator, directions=directions)
        scale = torch.full((count,), 1 / (bandwidth * float(base.lengthscale)), dtype=torch.float64)
        if self.rates is not None:
            # Evenly spaced probabilities with one random shift: unbiased, and every rate gets its share of features.
            shift = torch.rand(1, generator=generator, dtype=torch.float64).numpy()
            t = torch.from_numpy(self.rates((np.arange(count) + shift) / count))
            scale = scale * (t.sqrt() if self.distance == "sqeuclidean" else t)
        return features.frequencies.scaled(scale)


def _mixture(kernel: Callable[[np.ndarray], np.ndarray], tol: float = 1e-3) -> ExponentialSum:
    """A sum of exponentials for every distance: on as long a range as the function needs to come to its end."""
    for zmax in (1e2, 1e4, 1e6, 1e8):
        found = sum_of_exponentials(kernel, tol, zmax)
        far = np.geomspace(zmax, 1e15, 200)
        error = float(np.abs(found(far) - evaluate(kernel, far)).max())
        if error <= tol:
            return found
    mend = "Give one that falls faster, or an ExponentialSum."
    raise InputError("the function falls too slowly to be met far away", f"error {error:.2g}", mend)


def _reciprocal(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + z)


def _standard_exponential(u: np.ndarray) -> np.ndarray:
    return -np.log1p(-u)


def _exp(z: np.ndarray) -> np.ndarray:
    return np.exp(-z)


_NAMED: dict[str, Similarity] = {
    "gaussian": Similarity("sqeuclidean", _exp),
    "exponential": Similarity("euclidean", _exp),
    "laplace": Similarity("l1", _exp),
    "cauchy": Similarity("sqeuclidean", _reciprocal, _standard_exponential),
    "inverse": Similarity("euclidean", _reciprocal, _standard_exponential),
    "inverse-l1": Similarity("l1", _reciprocal, _standard_exponential),
}
