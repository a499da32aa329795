"""Exact inference in a scale mixture of Gaussian processes (arXiv:2107.01408, Sec. 3; Shah et al. 2014).

``f | s2 ~ GP(0, s2 k)``, noise included: ``y | s2 ~ N(0, s2 (K + noise))``. Given s2 everything is a Gaussian process
whose mean does not depend on s2, and what the data say about s2 is one number, ``q = y^T (K + noise)^{-1} y``. The
outputs of a network share s2: with k outputs q is summed over them and n numbers become n k.
"""

from __future__ import annotations

import copy
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.scale_mixtures.predictive import Predictive
from harmonia.kernels.scale_mixtures.scales import Discrete, ScaleDistribution
from harmonia.parts.gram import Cholesky


class Conditional(NamedTuple):
    """Given ``s2 = 1``: mean (m, k) and variance (m,) or covariance (m, m), the same for each output."""

    mean: Tensor
    covariance: Tensor


class ScaleMixtureProcess:
    """The posterior of a scale mixture of Gaussian processes, given kernel matrices.

    Arguments:
        kernel: K(X, X); (0, 0) for the prior.
        targets: y (n, k).
        prior: Distribution of s2.
        noise: Variance of the noise at ``s2 = 1``.

    Attributes:
        q: ``y^T (K + noise)^{-1} y``, summed over outputs.
        posterior: Distribution of s2 given the targets.
        log_marginal_likelihood: ``log p(y)``, in nats.

    Example:
        >>> import torch
        >>> from harmonia.kernels.scale_mixtures.scales import InverseGamma
        >>> kernel, y = torch.ones(1, 1), torch.full((1, 1), 3.0)
        >>> process = ScaleMixtureProcess(kernel, y, InverseGamma(2.0, 2.0), noise=0.5)
        >>> round(process.q, 6), process.posterior.a
        (6.0, 2.5)
        >>> process.marginal(*process.condition(kernel, torch.ones(1)), noise=0.0).mean.round(6)
        array([[2.]])
    """

    def __init__(
        self, kernel: Float[Tensor, "n m"], targets: Float[Tensor, "n k"], prior: ScaleDistribution, noise: float = 0.0
    ) -> None:
        if len(targets) != len(kernel):
            got = f"{tuple(kernel.shape)} and {tuple(targets.shape)}"
            raise InputError("kernel and targets do not fit", got, "Give one target a row.")
        self.prior, self.cholesky = prior, Cholesky(kernel, noise)
        self._see(targets)

    def _see(self, targets: Tensor) -> None:
        self.targets = targets.double()
        self.alpha = self.cholesky.solve(self.targets)
        self.q = float((self.targets * self.alpha).sum())

    def with_targets(self, targets: Float[Tensor, "n k"]) -> ScaleMixtureProcess:
        """The same process on other targets; shares the Cholesky factor."""
        other = copy.copy(self)
        for cached in ("posterior", "log_marginal_likelihood"):
            vars(other).pop(cached, None)
        other._see(targets)
        return other

    @property
    def count(self) -> int:
        """How many numbers were seen: rows times outputs."""
        return self.targets.numel()

    @cached_property
    def posterior(self) -> ScaleDistribution:
        return self.prior.update(self.count, self.q)

    @cached_property
    def log_marginal_likelihood(self) -> float:
        outputs = self.targets.shape[1]
        return float(self.prior.log_marginal(self.count, self.q)) - outputs / 2 * float(self.cholesky.logdet)

    def condition(self, cross: Float[Tensor, "m n"], prior: Float[Tensor, " m *m"]) -> Conditional:
        """Mean and (co)variance of the function at new inputs, given ``s2 = 1``.

        Arguments:
            cross: K(x, X).
            prior: K(x, x), whole (m, m) or its diagonal (m,); the covariance comes in the same form.
        """
        mean, half = cross.double() @ self.alpha, self.cholesky.whiten(cross.double().mT)
        if prior.ndim == 1:
            return Conditional(mean, (prior.double() - half.square().sum(0)).clamp_min(0))
        return Conditional(mean, prior.double() - half.mT @ half)

    def marginal(self, mean: Float[Tensor, "m k"], variance: Float[Tensor, " m"], noise: float) -> Predictive:
        """The predictive distributions (m, k) with s2 integrated out."""
        return self.posterior.mix(mean.numpy(), (variance + noise)[:, None].expand_as(mean).numpy())

    def left_out(self) -> Predictive:
        """The predictive distribution (n, k) of each target by all other rows, exactly and without another solve.

        With ``C = (K + noise)^{-1}`` the mean is ``y_i - alpha_i / C_ii``, the variance ``1 / C_ii`` and the quadratic
        form of the others ``q - |alpha_i|^2 / C_ii``, for q is a sum of squared innovations.
        """
        share = self.cholesky.inverse.diagonal()
        rest = (self.q - self.alpha.square().sum(1) / share).clamp_min(0)
        others = self.prior.update(self.count - self.targets.shape[1], rest.numpy())
        mean = self.targets - self.alpha / share[:, None]
        return others.mix(mean.numpy(), (1 / share)[:, None].expand_as(mean).numpy())


def importance_sampled(
    prior: ScaleDistribution, count: int, q: float, samples: int = 1000, seed: int = 101
) -> tuple[Discrete, float]:
    """The posterior of s2 by draws from the prior, weighted by their likelihood, and its share of effective samples.

    The way of the official code. The effective share falls as n^{-1/2}, which is why it is not the default.

    Example:
        >>> from harmonia.kernels.scale_mixtures.scales import BurrXII
        >>> shares = [importance_sampled(BurrXII(), n, float(n))[1] for n in (10, 1000)]
        >>> shares[0] > 0.3 > 0.1 > shares[1]
        True
    """
    draws = Discrete(prior.sample(samples, np.random.default_rng(seed)))
    found = draws.update(count, q)
    return found, float(1 / np.square(found.weights).sum() / samples)
