"""Hyperparameters by marginal likelihood, with exact gradients.

With ``C = K + noise``, ``alpha = C^{-1} y`` and ``q = y^T alpha`` the log marginal likelihood of n rows and k outputs
is ``log m(n k, q) - (k / 2) log|C|``, where m depends on the prior of s2 alone. As
``d log m / dq = -E[1 / s2 | y] / 2``,

    dL = sum_ij G_ij dC_ij,    G = (E[1 / s2 | y] alpha alpha^T - k C^{-1}) / 2

for every prior: one Cholesky factor per evaluation, as for a Gaussian process (arXiv:2107.01408 has the Student case).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeGuard

import numpy as np
import torch
from jaxtyping import Float, Float64
from scipy.optimize import minimize
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.kernels.scale_mixtures.covariance import Covariance
from harmonia.kernels.scale_mixtures.process import ScaleMixtureProcess
from harmonia.kernels.scale_mixtures.scales import PointMass, ScaleDistribution, ScalePrior
from harmonia.parts.gram import EigenCache

NOISE_BOUNDS = (1e-8, 1e4)
PRIOR_RANGE = np.array([-5.0, 5.0])
"""Learned parameters of a prior stay within a factor e^5 of where they start (LogNormal's mu: within 5)."""

MANY_ROWS, FEW_ROWS = 1000, 500
"""With more rows than the first, the search starts from what it finds on as many random ones as the second."""


class Hyperparameters(NamedTuple):
    """What the marginal likelihood is a function of."""

    covariance: Covariance
    noise: float
    prior: ScaleDistribution


@dataclass(frozen=True)
class Objective:
    """Minus the log marginal likelihood per number, and its gradient.

    Arguments:
        x: Inputs.
        y: Targets (n, k).
        start: Where the search starts; says what is learned.
        learn_prior: Whether the parameters of the prior are.
    """

    x: Tensor
    y: Float[Tensor, "n k"]
    start: Hyperparameters
    learn_prior: bool = False

    def pack(self) -> Float64[np.ndarray, " p"]:
        """Hyperparameters as one vector: those of the covariance, log noise, those of the prior."""
        covariance, noise, _ = self.start
        return np.concatenate([covariance.theta, [math.log(max(noise, NOISE_BOUNDS[0]))], self._prior_start()])

    def unpack(self, vector: Float64[np.ndarray, " p"]) -> Hyperparameters:
        """The inverse of `pack`."""
        p = len(self.start.covariance.theta)
        prior = self.start.prior
        if self._searched(prior):
            prior = prior.with_unconstrained(vector[p + 1 :])
        return Hyperparameters(self.start.covariance.with_theta(vector[:p]), math.exp(vector[p]), prior)

    def bounds(self) -> Float64[np.ndarray, "p 2"]:
        """The range of every hyperparameter."""
        start = self._prior_start()[:, None]
        noise = np.log([NOISE_BOUNDS])
        return np.concatenate([self.start.covariance.bounds, noise, start + PRIOR_RANGE])

    def __call__(self, vector: Float64[np.ndarray, " p"]) -> tuple[float, Float64[np.ndarray, " p"]]:
        covariance, noise, prior = self.unpack(vector)
        kernel, pull = covariance.linearize(self.x)
        process = ScaleMixtureProcess(kernel, self.y, prior, noise)
        process.prior = self.profiled(prior, process.count, process.q)
        precision = float(process.posterior.mean_precision())
        weights = process.cholesky.inverse.mul(-self.y.shape[1] / 2)
        weights.addmm_(process.alpha, process.alpha.mT, alpha=precision / 2)
        by_covariance = pull(weights)
        by_prior = self._prior_slope(prior, process.count, process.q)
        slopes = np.concatenate([by_covariance, [noise * float(weights.trace())], by_prior])
        return -process.log_marginal_likelihood / process.count, -slopes / process.count

    def profiled(self, prior: ScaleDistribution, count: int, q: float) -> ScaleDistribution:
        """A learned point mass at its most probable place, ``q / count``: no search is needed for it."""
        if self.learn_prior and isinstance(prior, PointMass) and q > 0:
            return PointMass(q / count)
        return prior

    def _prior_start(self) -> Float64[np.ndarray, " r"]:
        prior = self.start.prior
        return prior.unconstrained() if self._searched(prior) else np.zeros(0)

    def _searched(self, prior: ScaleDistribution) -> TypeGuard[ScalePrior]:
        return self.learn_prior and isinstance(prior, ScalePrior) and not isinstance(prior, PointMass)

    def _prior_slope(self, prior: ScaleDistribution, count: int, q: float) -> Float64[np.ndarray, " r"]:
        """By the prior's parameters: central differences of a one-dimensional integral known to rounding."""
        if not self._searched(prior):
            return np.zeros(0)
        at, step = prior.unconstrained(), 1e-4

        def value(shift: np.ndarray) -> float:
            return float(prior.with_unconstrained(at + shift).log_marginal(count, q))

        return np.array([(value(e) - value(-e)) / (2 * step) for e in step * np.eye(len(at))])


class FixedKernelObjective(Objective):
    """The same for a covariance without hyperparameters: one eigendecomposition, then linear time per evaluation."""

    @cached_property
    def _spectrum(self) -> tuple[Tensor, Tensor]:
        """Eigenvalues, and how the targets' squares are spread over them."""
        cache = EigenCache(self.start.covariance.matrix(self.x))
        return cache.values, cache.project(self.y).square().sum(1)

    def __call__(self, vector: Float64[np.ndarray, " p"]) -> tuple[float, Float64[np.ndarray, " p"]]:
        _, noise, prior = self.unpack(vector)
        count, outputs, (values, power) = self.y.numel(), self.y.shape[1], self._spectrum
        shifted = values + noise
        q = float((power / shifted).sum())
        prior = self.profiled(prior, count, q)
        value = float(prior.log_marginal(count, q)) - outputs / 2 * float(shifted.log().sum())
        precision = float(prior.update(count, q).mean_precision())
        norm = float((power / shifted.square()).sum())
        by_noise = (precision * norm - outputs * float((1 / shifted).sum())) / 2
        slopes = np.concatenate([[noise * by_noise], self._prior_slope(prior, count, q)])
        return -value / count, -slopes / count


def maximise_marginal_likelihood(
    x: Tensor,
    y: Float[Tensor, "n k"],
    start: Hyperparameters,
    *,
    learn_prior: bool = False,
    max_steps: int = 50,
    generator: torch.Generator | None = None,
) -> Hyperparameters:
    """The hyperparameters under which the targets are most probable, by L-BFGS.

    Arguments:
        x: Inputs.
        y: Targets.
        start: Where to start.
        learn_prior: Whether the prior's parameters are learned too. One data set holds one draw of s2, so the most
            probable prior is a point mass: this is for `PointMass`, and for comparisons with the paper.
        max_steps: Most steps.
        generator: Chooses the rows of the first, coarse search where there are many.

    Raises:
        InputError: fewer than two rows.
    """
    if len(x) < 2:
        raise InputError(
            "hyperparameters cannot be learned from fewer than two rows", f"{len(x)} sample", "Pass optimize=False."
        )
    learned = bool(len(start.covariance.theta))
    if learned and len(x) > MANY_ROWS:
        some = torch.randperm(len(x), generator=generator)[:FEW_ROWS]
        start = _search(Objective(x[some], y[some], start, learn_prior), max_steps)
    objective = (Objective if learned else FixedKernelObjective)(x, y, start, learn_prior)
    return _search(objective, max_steps)


def _search(objective: Objective, max_steps: int) -> Hyperparameters:
    evaluate: Callable[[np.ndarray], tuple[float, np.ndarray]] = objective
    bounds = objective.bounds()
    first = np.clip(objective.pack(), bounds[:, 0], bounds[:, 1])
    options = {"maxiter": max_steps, "ftol": 1e-6, "gtol": 1e-4}
    found = minimize(evaluate, first, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    say(f"Marginal likelihood of {len(objective.x)} rows after {found.nfev} evaluations: {-found.fun:.4f} a target.")
    covariance, noise, prior = objective.unpack(found.x)
    process = ScaleMixtureProcess(covariance.matrix(objective.x), objective.y, prior, noise)
    return Hyperparameters(covariance, noise, objective.profiled(prior, process.count, process.q))
