"""Distributions of the scale s2 of a Gaussian: priors and posteriors are the same objects.

Given ``y | s2 ~ N(0, s2 C)`` with n numbers, everything that the data say about s2 is in two of them, n and
``q = y^T C^{-1} y``:

    p(y | s2) = |C|^(-1/2) (2 pi s2)^(-n/2) exp(-q / 2 s2)

so Bayes' rule is one-dimensional for every prior. `InverseGamma` is conjugate, IG(a + n/2, b + q/2), and makes a
Student-t process (arXiv:2107.01408, Sec. 2). Any other prior becomes a `Discrete` distribution on the nodes of a
quadrature in ``u = log s2`` that is exact to rounding.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy import stats
from scipy.special import gammaln, logsumexp

from harmonia.core.errors import InputError
from harmonia.kernels.scale_mixtures.predictive import Array, NormalMixture, Predictive, Reals, StudentT
from harmonia.kernels.scale_mixtures.quadrature import integrate

LOG_2PI = math.log(2 * math.pi)


class ScaleDistribution(ABC):
    """What is known about s2."""

    @abstractmethod
    def update(self, count: int, q: Reals) -> ScaleDistribution:
        """What is known after `count` numbers with the quadratic form `q`; an array of q gives an array of posteriors.

        Raises:
            InputError: there is no posterior, because the targets are all zero and the prior lets s2 vanish.
        """

    @abstractmethod
    def log_marginal(self, count: int, q: Reals) -> Array:
        """``log E[(2 pi s2)^(-count/2) exp(-q / 2 s2)]``: the log density of the numbers, without ``-log|C| / 2``."""

    @abstractmethod
    def mean_precision(self) -> Array:
        """``E[1 / s2]``, which is all that gradients of the marginal likelihood ask for."""

    @abstractmethod
    def mean(self) -> Array:
        """``E[s2]``; infinite where it does not exist."""

    @abstractmethod
    def sample(self, size: int, generator: np.random.Generator) -> Float64[np.ndarray, " size"]:
        """Independent draws."""

    @abstractmethod
    def mix(self, mean: Reals, variance: Reals) -> Predictive:
        """The marginal of ``N(mean, s2 variance)``; arrays broadcast, posteriors on the first axis."""

    @abstractmethod
    def log_density(self, s2: Reals) -> Array:
        """Log density; of a discrete distribution log probability."""


class ScalePrior(ScaleDistribution):
    """A continuous distribution of s2 with parameters that can be learned by marginal likelihood."""

    def __post_init__(self) -> None:
        for name in self._positive():
            value = np.asarray(getattr(self, name), dtype=np.float64)
            if not ((value > 0) & np.isfinite(value)).all():
                kind = type(self).__name__
                raise InputError(f"'{name}' of {kind} is a positive number", getattr(self, name), "Change it.")

    def __getstate__(self) -> dict[str, Any]:
        """The parameters without what is computed from them, so that equal priors are equal when pickled."""
        return {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]

    def unconstrained(self) -> Float64[np.ndarray, " parameters"]:
        """The parameters on the whole real line: logarithms of the positive ones."""
        values = [(name, float(getattr(self, name))) for name in self._names()]
        return np.array([math.log(v) if name in self._positive() else v for name, v in values])

    def with_unconstrained(self, values: Float64[np.ndarray, " parameters"]) -> ScalePrior:
        """The same prior with other parameters, given as `unconstrained` gives them."""
        positive = self._positive()
        changes = {name: math.exp(v) if name in positive else float(v) for name, v in zip(self._names(), values)}
        return replace(self, **changes)  # type: ignore[type-var]

    def _names(self) -> tuple[str, ...]:
        """The parameters."""
        return tuple(field.name for field in fields(self))  # type: ignore[arg-type]

    def _positive(self) -> tuple[str, ...]:
        """Those that are positive."""
        return self._names()

    @cached_property
    @abstractmethod
    def frozen(self) -> Any:
        """The same distribution of scipy."""

    def log_density(self, s2: Reals) -> Array:
        return self.frozen.logpdf(s2)

    def mean(self) -> Array:
        return self.frozen.mean()

    def sample(self, size: int, generator: np.random.Generator) -> Float64[np.ndarray, " size"]:
        return self.frozen.rvs(size, random_state=generator)

    def log_marginal(self, count: int, q: Reals) -> Array:
        return integrate(self.log_density, count, q).log_total

    def update(self, count: int, q: Reals) -> ScaleDistribution:
        found = integrate(self.log_density, count, q)
        return Discrete(found.values, found.weights)

    def mean_precision(self) -> Array:
        return self.update(0, 0.0).mean_precision()

    def mix(self, mean: Reals, variance: Reals) -> Predictive:
        return self.update(0, 0.0).mix(mean, variance)


@dataclass(frozen=True)
class InverseGamma(ScalePrior):
    """IG(a, b): density ``b^a / Gamma(a) s2^(-a-1) exp(-b / s2)``; the conjugate prior.

    The marginal of ``N(m, s2 v)`` is Student's t with 2a degrees of freedom and squared scale ``(b / a) v``.

    Example:
        >>> prior = InverseGamma(2.0, 2.0)
        >>> prior.update(count=3, q=5.0)
        InverseGamma(a=3.5, b=4.5)
        >>> t = prior.mix(0.0, 1.0)
        >>> float(t.df), float(t.scale)
        (4.0, 1.0)
    """

    a: Any = 2.0
    b: Any = 2.0

    @cached_property
    def frozen(self) -> Any:
        return stats.invgamma(self.a, scale=self.b)

    def update(self, count: int, q: Reals) -> InverseGamma:
        half = np.asarray(q, dtype=np.float64) / 2
        return InverseGamma(self.a + count / 2, self.b + (half if half.ndim else half.item()))

    def log_marginal(self, count: int, q: Reals) -> Array:
        after = self.a + count / 2
        constant = self.a * np.log(self.b) + gammaln(after) - gammaln(self.a) - count / 2 * LOG_2PI
        return constant - after * np.log(self.b + np.asarray(q) / 2)

    def mean_precision(self) -> Array:
        return np.asarray(self.a / self.b)

    def mix(self, mean: Reals, variance: Reals) -> StudentT:
        squared = np.asarray(self.b) / self.a
        return StudentT(mean, np.sqrt(_rows(squared, variance) * np.asarray(variance)), 2 * self.a)


@dataclass(frozen=True)
class Gamma(ScalePrior):
    """Gamma with the given shape and rate; the marginal of a Gaussian has a Bessel function (variance gamma)."""

    shape: float = 2.0
    rate: float = 2.0

    @cached_property
    def frozen(self) -> Any:
        return stats.gamma(self.shape, scale=1 / self.rate)


@dataclass(frozen=True)
class BurrXII(ScalePrior):
    """Density ``c d s2^(c-1) (1 + s2^c)^(-d-1)``: the paper's second prior, heavy at both ends for small c."""

    c: float = 2.0
    d: float = 2.0

    @cached_property
    def frozen(self) -> Any:
        return stats.burr12(self.c, self.d)


@dataclass(frozen=True)
class BetaPrime(ScalePrior):
    """Density proportional to ``x^(a-1) (1 + x)^(-a-b)`` in ``x = s2 / scale``.

    ``BetaPrime(1/2, 1/2, scale^2)`` is the square of a half-Cauchy s.
    """

    a: float = 2.0
    b: float = 2.0
    scale: float = 1.0

    @cached_property
    def frozen(self) -> Any:
        return stats.betaprime(self.a, self.b, scale=self.scale)


@dataclass(frozen=True)
class HalfCauchy(ScalePrior):
    """s (not s2) is half-Cauchy: density ``2 / (pi scale (1 + (s / scale)^2))``."""

    scale: float = 1.0

    @cached_property
    def frozen(self) -> Any:
        return stats.betaprime(0.5, 0.5, scale=self.scale**2)


@dataclass(frozen=True)
class LogNormal(ScalePrior):
    """``log s2 ~ N(mu, sigma^2)``."""

    mu: float = 0.0
    sigma: float = 1.0

    def _positive(self) -> tuple[str, ...]:
        return ("sigma",)

    @cached_property
    def frozen(self) -> Any:
        return stats.lognorm(self.sigma, scale=math.exp(self.mu))


@dataclass(frozen=True)
class PointMass(ScalePrior):
    """A certain s2: the process is Gaussian. Learned by marginal likelihood, it is the amplitude of a usual GP.

    Example:
        >>> float(PointMass(4.0).mix(0.0, 1.0).quantile(0.975).round(3))
        3.92
    """

    s2: float = 1.0

    @cached_property
    def frozen(self) -> Any:
        return stats.uniform(self.s2, 0.0)

    def log_density(self, s2: Reals) -> Array:
        return np.where(np.isclose(s2, self.s2), 0.0, -np.inf)

    def mean(self) -> Array:
        return np.asarray(self.s2)

    def sample(self, size: int, generator: np.random.Generator) -> Float64[np.ndarray, " size"]:
        return np.full(size, self.s2)

    def update(self, count: int, q: Reals) -> PointMass:
        return self

    def log_marginal(self, count: int, q: Reals) -> Array:
        return -count / 2 * (LOG_2PI + math.log(self.s2)) - np.asarray(q) / (2 * self.s2)

    def mean_precision(self) -> Array:
        return np.asarray(1 / self.s2)

    def mix(self, mean: Reals, variance: Reals) -> NormalMixture:
        return NormalMixture(mean, variance, [self.s2], [1.0])


@dataclass(frozen=True)
class FromDensity(ScalePrior):
    """Any prior, by its log density of s2 up to a constant; it has nothing to learn.

    Arguments:
        log_pdf: Elementwise function of an array of s2, minus infinity where there is no mass.

    Example:
        >>> prior = FromDensity(lambda s2: -3 * np.log(s2) - 2 / s2)
        >>> float(prior.log_marginal(3, 5.0) - InverseGamma(2.0, 2.0).log_marginal(3, 5.0)) < 1e-12
        True
    """

    log_pdf: Callable[[Array], Array]

    def _names(self) -> tuple[str, ...]:
        return ()

    @cached_property
    def frozen(self) -> Any:
        raise InputError("a log density has no closed forms", repr(self.log_pdf), "Update it first.")

    def log_density(self, s2: Reals) -> Array:
        return np.asarray(self.log_pdf(np.asarray(s2, dtype=np.float64))) - self._log_total

    @property
    def _log_total(self) -> float:
        return float(integrate(self.log_pdf, 0, 0.0).log_total)

    def mean(self) -> Array:
        return self.update(0, 0.0).mean()

    def sample(self, size: int, generator: np.random.Generator) -> Float64[np.ndarray, " size"]:
        return self.update(0, 0.0).sample(size, generator)

    def log_marginal(self, count: int, q: Reals) -> Array:
        return integrate(self.log_pdf, count, q).log_total - self._log_total

    def update(self, count: int, q: Reals) -> ScaleDistribution:
        found = integrate(self.log_pdf, count, q)
        return Discrete(found.values, found.weights)


@dataclass(frozen=True)
class Discrete(ScaleDistribution):
    """Finitely many values of s2.

    Arguments:
        values: Values of s2 (..., nodes).
        weights: Their probabilities, up to a factor; equal unless given.

    Example:
        >>> Discrete([1.0, 4.0]).update(count=1, q=9.0).weights.round(3).tolist()
        [0.064, 0.936]
    """

    values: Any
    weights: Any = None

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        weights = np.ones(values.shape) if self.weights is None else np.asarray(self.weights, dtype=np.float64)
        if not (values.size and (values > 0).all() and np.isfinite(values).all()):
            raise InputError("values of s2 are positive numbers", self.values, "Change them.")
        if weights.shape != values.shape or not (weights >= 0).all() or not (weights.sum(-1) > 0).all():
            raise InputError("every value of s2 has a weight >= 0", self.weights, "Change the weights.")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "weights", weights / weights.sum(-1, keepdims=True))

    def update(self, count: int, q: Reals) -> Discrete:
        joint = self._joint(count, q)
        weights = np.exp(joint - logsumexp(joint, axis=-1, keepdims=True))
        return Discrete(np.broadcast_to(self.values, weights.shape), weights)

    def log_marginal(self, count: int, q: Reals) -> Array:
        return logsumexp(self._joint(count, q), axis=-1)

    def _joint(self, count: int, q: Reals) -> Array:
        likelihood = -count / 2 * (LOG_2PI + np.log(self.values)) - np.asarray(q)[..., None] / (2 * self.values)
        with np.errstate(divide="ignore"):
            return likelihood + np.log(self.weights)

    def mean_precision(self) -> Array:
        return (self.weights / self.values).sum(-1)

    def mean(self) -> Array:
        return (self.weights * self.values).sum(-1)

    def sample(self, size: int, generator: np.random.Generator) -> Float64[np.ndarray, " size"]:
        return generator.choice(self.values, size, p=self.weights)

    def mix(self, mean: Reals, variance: Reals) -> NormalMixture:
        return NormalMixture(mean, variance, self.values, self.weights)

    def log_density(self, s2: Reals) -> Array:
        with np.errstate(divide="ignore"):
            return np.log((self.weights * np.isclose(np.asarray(s2)[..., None], self.values)).sum(-1))


def _rows(squared: Array, variance: Reals) -> Array:
    """One number per row, shaped to broadcast against (rows, outputs)."""
    return squared.reshape(squared.shape + (1,) * max(0, np.ndim(variance) - squared.ndim))
