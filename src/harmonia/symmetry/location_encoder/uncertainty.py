r"""What points leave unknown, in closed form.

A Gaussian process on the sphere, f = sum_lm w_lm Y_lm with w ~ N(0, 1/lambda), seen with noise 1/alpha at points x_i.
Its posterior variance is v(x) = y(x)' S y(x), S = (lambda I + alpha sum_i y(x_i) y(x_i)')^-1, and its prior variance is
the same everywhere, L^2 / (4 pi lambda), by the addition theorem. lambda and alpha maximise the evidence.

The network that makes the prediction is sure of itself far from all data. This process is not: there, v returns to the
prior variance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import BayesianRidge

from harmonia.symmetry.location_encoder.harmonics import SphericalHarmonics
from harmonia.symmetry.location_encoder.points import Points

DEGREE = 12
"""Degrees of the process: it knows of distances down to 15 degrees, and has 144 coefficients."""

MOST_POINTS = 20_000
_CHUNK = 2**15


@dataclass(frozen=True)
class SphereProcess:
    """A Gaussian process of 12 degrees on the sphere, after seeing values at points.

    Attributes:
        covariance: S, ``(144, 144)``.
        signal: Prior variance of f.
        noise: Variance 1/alpha of the noise.

    Example:
        >>> from harmonia.symmetry.location_encoder.points import random_points
        >>> north = random_points(500) * [1, 0.5] + [0, 45]
        >>> process = SphereProcess.fit(north, np.sin(np.deg2rad(3 * north[:, 1])))
        >>> known, unknown = process.ignorance(np.array([[0.0, 45.0], [0.0, -60.0]]))
        >>> bool(known < 0.05 and unknown > 0.5)
        True
    """

    covariance: NDArray[np.float64]
    signal: float
    noise: float

    @classmethod
    def fit(cls, points: Points, values: NDArray[np.float64], seed: int = 0) -> SphereProcess:
        """Find lambda and alpha by the evidence; at most `MOST_POINTS` points are used."""
        if len(points) > MOST_POINTS:
            rows = np.random.default_rng(seed).choice(len(points), MOST_POINTS, replace=False)
            points, values = points[rows], values[rows]
        harmonics = _harmonics(points)
        model = BayesianRidge(fit_intercept=False).fit(harmonics, values - values.mean())
        return cls(model.sigma_, DEGREE**2 / (4 * math.pi * model.lambda_), 1 / model.alpha_)

    def variance(self, points: Points) -> NDArray[np.float64]:
        """v at the points: of f, without the noise."""
        chunks = (_harmonics(points[start : start + _CHUNK]) for start in range(0, len(points), _CHUNK))
        return np.concatenate([((chunk @ self.covariance) * chunk).sum(1) for chunk in chunks])

    def ignorance(self, points: Points) -> NDArray[np.float64]:
        """v as a share of the prior variance: 1 where the data say nothing."""
        return np.clip(self.variance(points) / self.signal, 0.0, 1.0)

    def deviation(self, points: Points) -> NDArray[np.float64]:
        """Standard deviation of a new value at the points, noise included."""
        return np.sqrt(self.variance(points) + self.noise)


def _harmonics(points: Points) -> NDArray[np.float64]:
    return SphericalHarmonics(DEGREE)(torch.from_numpy(points)).numpy()
