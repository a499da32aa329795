"""Predictive distributions: Student's t, and mixtures of Gaussians with one mean.

Both are the marginals of ``N(m, s2 v)`` over a distribution of s2 (arXiv:2107.01408, Sec. 2). They hold one
distribution per row (and output) and are indexed like arrays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy.special import betaln, gammaln, logsumexp, ndtr, stdtr, stdtrit

from harmonia.core.errors import InputError

Array = Any
"""What comes out: an array, or a number for numbers."""

Reals = int | float | np.number | Sequence[Any] | np.ndarray
"""What goes in: numbers of any shape."""


class Predictive(ABC):
    """Independent univariate distributions, symmetric about their means.

    Attributes:
        mean: Their means.
        df: Degrees of freedom of Student's t; None for other mixtures.
    """

    mean: np.ndarray
    df: np.ndarray | None = None

    @property
    @abstractmethod
    def scale(self) -> Array:
        """Scale parameter: for Student's t that of the density, for mixtures the standard deviation."""

    @property
    @abstractmethod
    def variance(self) -> Array:
        """Variances; infinite where they do not exist."""

    @property
    def std(self) -> Array:
        """Standard deviations; infinite where they do not exist."""
        return np.sqrt(self.variance)

    @abstractmethod
    def log_prob(self, y: Reals) -> Array:
        """Log density, in nats."""

    @abstractmethod
    def cdf(self, y: Reals) -> Array:
        """Probability of at most `y`; of what was observed, the probability integral transform."""

    def quantile(self, p: Reals) -> Array:
        """Inverse of `cdf`.

        Arguments:
            p: One probability between 0 and 1, or an array of them, which then come on a new first axis.

        Raises:
            InputError: a probability outside of (0, 1).
        """
        p = np.asarray(p, dtype=np.float64)
        if not ((p > 0) & (p < 1)).all():
            raise InputError("probabilities lie between 0 and 1", p, "Give e.g. 0.95.")
        return self._quantile(p.reshape(p.shape + (1,) * self.mean.ndim))

    def interval(self, coverage: float = 0.9) -> tuple[Array, Array]:
        """Central intervals with the given probability."""
        return self.quantile((1 - coverage) / 2), self.quantile((1 + coverage) / 2)

    @abstractmethod
    def _quantile(self, p: Array) -> Array: ...

    @abstractmethod
    def sample(self, size: int, random_state: int | np.random.Generator = 0) -> Array:
        """Independent draws (size, ...)."""

    @abstractmethod
    def crps(self, y: Reals) -> Array:
        """Continuous ranked probability score ``E|Y - y| - E|Y - Y'| / 2``, in units of y; smaller is better."""

    @abstractmethod
    def __getitem__(self, index: Any) -> Predictive:
        """Some of the distributions."""

    @abstractmethod
    def rescaled(self, factor: Reals, shift: Reals) -> Predictive:
        """The distribution of ``factor Y + shift``."""


class StudentT(Predictive):
    """Student's t with location `mean`, `scale` and `df` degrees of freedom.

    Raises:
        InputError: scales that are negative, or degrees of freedom that are not positive.

    Example:
        >>> t = StudentT(1.0, 2.0, 3.0)
        >>> round(float(t.quantile(0.975)), 3), round(float(t.std), 3), round(float(t.crps(1.0)), 3)
        (7.365, 3.464, 0.551)
    """

    df: np.ndarray

    def __init__(self, mean: Reals, scale: Reals, df: Reals) -> None:
        self.mean, self._scale = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (mean, scale)))
        self.df = np.asarray(df, dtype=np.float64)
        if not (self._scale >= 0).all() or not (self.df > 0).all():
            raise InputError("this is no Student's t", f"scale {scale}, df {df}", "Give scale >= 0 and df > 0.")

    @property
    def scale(self) -> Array:
        return self._scale

    @property
    def variance(self) -> Array:
        df = np.broadcast_to(self.df, self.mean.shape)
        safe = np.where(df > 2, df, 3.0)
        return np.where(df > 2, self.scale**2 * safe / (safe - 2), np.inf)

    def log_prob(self, y: Reals) -> Array:
        z, df = self._standard(y), self.df
        constant = gammaln((df + 1) / 2) - gammaln(df / 2) - np.log(df * np.pi) / 2
        return constant - np.log(self.scale) - (df + 1) / 2 * np.log1p(z * z / df)

    def cdf(self, y: Reals) -> Array:
        return stdtr(self.df, self._standard(y))

    def _quantile(self, p: Array) -> Array:
        return self.mean + self.scale * stdtrit(self.df, p)

    def sample(self, size: int, random_state: int | np.random.Generator = 0) -> Array:
        generator = np.random.default_rng(random_state)
        return self.mean + self.scale * generator.standard_t(self.df, (size, *self.mean.shape))

    def crps(self, y: Reals) -> Array:
        """Closed form (Jordan, Krueger & Lerch 2019, arXiv:1709.04743, App. A), infinite for df <= 1."""
        z, df = self._standard(y), np.broadcast_to(self.df, self.mean.shape)
        safe = np.where(df > 1, df, 2.0)
        log_density = gammaln((safe + 1) / 2) - gammaln(safe / 2) - np.log(safe * np.pi) / 2
        density = np.exp(log_density - (safe + 1) / 2 * np.log1p(z * z / safe))
        spread = 2 * np.sqrt(safe) / (safe - 1) * np.exp(betaln(0.5, safe - 0.5) - 2 * betaln(0.5, safe / 2))
        value = z * (2 * stdtr(safe, z) - 1) + 2 * density * (safe + z * z) / (safe - 1) - spread
        return np.where(df > 1, self.scale * value, np.inf)

    def rescaled(self, factor: Reals, shift: Reals) -> StudentT:
        return StudentT(self.mean * factor + shift, self.scale * np.abs(factor), self.df)

    def __getitem__(self, index: Any) -> StudentT:
        """Some of the distributions."""
        df = np.broadcast_to(self.df, self.mean.shape)[index] if self.df.ndim else self.df
        return StudentT(self.mean[index], self.scale[index], df)

    def _standard(self, y: Reals) -> Array:
        with np.errstate(divide="ignore"):
            return (np.asarray(y, dtype=np.float64) - self.mean) / self.scale


class NormalMixture(Predictive):
    """``sum_i w_i N(mean, s2_i variance)``: a Gaussian whose variance is multiplied by a random s2.

    Arguments:
        mean: Means.
        variance: Variances at ``s2 = 1``, the shape of the means.
        values: Values of s2: (nodes,) for all rows, or (rows, nodes).
        weights: Their probabilities, the same shape.

    Example:
        >>> mixture = NormalMixture([0.0, 1.0], [1.0, 1.0], [0.5, 2.0], [0.5, 0.5])
        >>> mixture.std.round(3).tolist(), mixture.cdf(0.0).round(3).tolist()
        ([1.118, 1.118], [0.5, 0.159])
    """

    def __init__(self, mean: Reals, variance: Reals, values: Reals, weights: Reals) -> None:
        self.mean, self.unit = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (mean, variance)))
        values, weights = np.asarray(values, dtype=np.float64), np.asarray(weights, dtype=np.float64)
        kept = (weights > 1e-26).any(tuple(range(weights.ndim - 1)))
        self.values, self.weights = values[..., kept], weights[..., kept]
        between = (1,) * max(0, self.mean.ndim - self.values.ndim + 1)
        self._s2 = self.values.reshape(*self.values.shape[:-1], *between, -1)
        self._w = self.weights.reshape(self._s2.shape)

    @property
    def scale(self) -> Array:
        return self.std

    @property
    def variance(self) -> Array:
        return self.unit * (self._s2 * self._w).sum(-1)

    def log_prob(self, y: Reals) -> Array:
        variance = self.unit[..., None] * self._s2
        z2 = np.square(np.asarray(y, dtype=np.float64) - self.mean)[..., None] / variance
        with np.errstate(divide="ignore"):
            return logsumexp(np.log(self._w) - (z2 + np.log(2 * np.pi * variance)) / 2, axis=-1)

    def cdf(self, y: Reals) -> Array:
        return (self._w * ndtr(self._standard(y))).sum(-1)

    def _quantile(self, p: Array) -> Array:
        shape = np.broadcast_shapes(p.shape, self.mean.shape)
        spread = 40 * np.sqrt(self.unit * self.values.max(-1).reshape(self._s2.shape[:-1]))
        return bisect(self.cdf, np.broadcast_to(p, shape), self.mean - spread, self.mean + spread)

    def sample(self, size: int, random_state: int | np.random.Generator = 0) -> Array:
        generator = np.random.default_rng(random_state)
        shape = (size, *self.mean.shape)
        below = generator.random(shape)[..., None] > self._w.cumsum(-1)[..., :-1]
        values = np.broadcast_to(self._s2, (*shape, self._s2.shape[-1]))
        s2 = np.take_along_axis(values, below.sum(-1)[..., None], -1)[..., 0]
        return self.mean + np.sqrt(self.unit * s2) * generator.standard_normal(shape)

    def crps(self, y: Reals) -> Array:
        """Closed form of mixtures of Gaussians (Grimit et al. 2006), which share their mean here."""
        z = self._standard(y)
        s = np.sqrt(self.unit[..., None] * self._s2)
        near = (self._w * s * (z * (2 * ndtr(z) - 1) + 2 * np.exp(-z * z / 2) / np.sqrt(2 * np.pi))).sum(-1)
        rows = zip(self.values.reshape(-1, self.values.shape[-1]), self.weights.reshape(-1, self.weights.shape[-1]))
        between = np.array([w @ np.sqrt(s2[:, None] + s2) @ w for s2, w in rows])
        return near - np.sqrt(self.unit) * between.reshape(self._s2.shape[:-1]) / np.sqrt(2 * np.pi)

    def rescaled(self, factor: Reals, shift: Reals) -> NormalMixture:
        return NormalMixture(self.mean * factor + shift, self.unit * np.square(factor), self.values, self.weights)

    def __getitem__(self, index: Any) -> NormalMixture:
        """Some of the distributions."""
        each = self.values.ndim > 1
        rows = index[0] if isinstance(index, tuple) else index
        values, weights = (self.values[rows], self.weights[rows]) if each else (self.values, self.weights)
        return NormalMixture(self.mean[index], self.unit[index], values, weights)

    def _standard(self, y: Reals) -> Array:
        return (np.asarray(y, dtype=np.float64) - self.mean)[..., None] / np.sqrt(self.unit[..., None] * self._s2)


def bisect(
    cdf: Callable[[Array], Array], p: Float64[np.ndarray, ...], low: Array, high: Array, steps: int = 80
) -> Float64[np.ndarray, ...]:
    """Where increasing functions reach `p`, by halving the bracket `steps` times."""
    low, high = (np.broadcast_to(end, p.shape).copy() for end in (low, high))
    for _ in range(steps):
        middle = (low + high) / 2
        above = cdf(middle) > p
        high, low = np.where(above, middle, high), np.where(above, low, middle)
    return (low + high) / 2
