"""Two problems whose best possible error is known, to see which networks reach it as the data grow.

Inputs are uniform directions of the non-negative orthant, ``x = |z| / |z|``, ``z ~ N(0, I_{d+1})``. Errors are
computed with the true probabilities ``eta(x) = P(y = 1 | x)``, not with drawn labels, so that they are nearly exact.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float64, Int64
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.kernels.singular_classifiers.activations import HermiteActivation
from harmonia.kernels.singular_classifiers.deep import DeepNTKClassifier
from harmonia.kernels.singular_classifiers.estimators import SingularKernelClassifier

Rule = SingularKernelClassifier

NEAREST_NEIGHBOUR, MAJORITY_VOTE = "nearest neighbour", "majority vote"

NEAREST = HermiteActivation([0.0, 0.0, 1.0])
"""An activation of the nearest-neighbour class, with the dual ``xi^2``."""

MAJORITY = HermiteActivation([math.sqrt(0.3), math.sqrt(0.3), 0.0, math.sqrt(0.4)])
"""One of the majority class, with the dual ``0.3 + 0.3 xi + 0.4 xi^3``."""


@dataclass(frozen=True)
class Problem:
    """Noisy labels on the sphere.

    Attributes:
        dimension: d.
        eta: Probability of label 1 at each row.
    """

    dimension: int
    eta: Callable[[ndarray], ndarray]

    @classmethod
    def named(cls, name: str, dimension: int = 2) -> Problem:
        """``cap``: 0.9 within a cap around the first axis, else 0.2; ``half-space``: 0.8 on one side, 0.2 on the other.

        The cap takes about a tenth of the points in two dimensions.
        """
        if name == "cap":
            return cls(dimension, lambda x: np.where(x[:, 0] > 0.9, 0.9, 0.2))
        if name == "half-space":
            return cls(dimension, lambda x: np.where(x[:, 0] > x[:, 1], 0.8, 0.2))
        raise InputError("no such problem", repr(name), "Use 'cap' or 'half-space'.")

    def points(self, n: int, generator: np.random.Generator) -> Float64[ndarray, "n ambient"]:
        """Unit vectors."""
        z = np.abs(generator.standard_normal((n, self.dimension + 1)))
        return z / np.linalg.norm(z, axis=1, keepdims=True)

    def labels(self, x: Float64[ndarray, "n ambient"], generator: np.random.Generator) -> Int64[ndarray, " n"]:
        """Drawn with probability `eta`."""
        return (generator.random(len(x)) < self.eta(x)).astype(np.int64)

    def error(self, x: Float64[ndarray, "n ambient"], predicted: Int64[ndarray, " n"]) -> float:
        """Probability of being wrong, averaged over the given inputs."""
        eta = self.eta(x)
        return float(np.where(predicted == 1, 1 - eta, eta).mean())

    def best_error(self, x: Float64[ndarray, "n ambient"]) -> float:
        """Bayes's: no rule can have less."""
        return float(np.minimum(self.eta(x), 1 - self.eta(x)).mean())

    def nearest_neighbour_error(self, x: Float64[ndarray, "n ambient"]) -> float:
        """``2 E[eta (1 - eta)]``, to which 1-NN tends (Cover & Hart 1967)."""
        return float(2 * (self.eta(x) * (1 - self.eta(x))).mean())


@dataclass(frozen=True)
class ErrorCurves:
    """Errors of several rules as the training set grows.

    Attributes:
        sizes: Training points.
        errors: For each rule one error per size.
        best: Bayes's error on the test points.
        nearest: What 1-NN tends to.
    """

    sizes: tuple[int, ...]
    errors: dict[str, list[float]]
    best: float
    nearest: float


def rules(exponents: Sequence[float], kernel: Literal["optimal", "hilbert"] = "optimal") -> dict[str, Rule]:
    """The classes of the taxonomy: networks of infinite depth, one activation each.

    Arguments:
        exponents: Of the singular kernels.
        kernel: ``"optimal"``: that of networks; ``"hilbert"``: the pure power laws.
    """
    found = {
        f"alpha = {alpha:g}": SingularKernelClassifier(alpha, activation=kernel, feature_map="raw")
        for alpha in exponents
    }
    for name, phi in ((NEAREST_NEIGHBOUR, NEAREST), (MAJORITY_VOTE, MAJORITY)):
        found[name] = SingularKernelClassifier(activation=phi, feature_map="raw")
    return found


def error_curves(
    problem: Problem, sizes: Sequence[int], contestants: dict[str, Rule], tests: int = 1500, seed: int = 0
) -> ErrorCurves:
    """Measure the errors of several rules; training sets of different sizes are nested.

    Arguments:
        problem: What to classify.
        sizes: Training points.
        contestants: From `rules`.
        tests: Test points.
        seed: Of the draw.
    """
    generator = np.random.default_rng(seed)
    x = problem.points(max(sizes), generator)
    y, at = problem.labels(x, generator), problem.points(tests, generator)
    errors: dict[str, list[float]] = {name: [] for name in contestants}
    for n in track(sizes, "Growing the training set"):
        for name, model in contestants.items():
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "your network is a majority vote")
                predicted = model.fit(x[:n], y[:n]).predict(at)
            errors[name].append(problem.error(at, predicted))
    return ErrorCurves(tuple(sizes), errors, problem.best_error(at), problem.nearest_neighbour_error(at))


def agreement_with_limit(
    phi: torch.nn.Module, depth: int, *, points: int = 13, tests: int = 200, seed: int = 0
) -> float:
    """Share of test points on which a network of finite depth says what the limit of infinite depth says.

    Arguments:
        phi: An activation with a limit.
        depth: Hidden layers.
        points: Training points on the sphere S^2, with random labels; an odd number has a majority.
        tests: Test points.
        seed: Of the draw.
    """
    problem = Problem(2, lambda x: np.full(len(x), 0.5))
    generator = np.random.default_rng(seed)
    x = problem.points(points, generator)
    y, at = problem.labels(x, generator), problem.points(tests, generator)
    deep = DeepNTKClassifier(depth, activation=phi, feature_map="raw").fit(x, y)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "your network is a majority vote")
        limit = SingularKernelClassifier(activation=phi, feature_map="raw").fit(x, y)
    return float((deep.predict(at) == limit.predict(at)).mean())
