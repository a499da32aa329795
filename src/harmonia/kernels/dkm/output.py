"""From the last kernel to functions: a Gaussian posterior at the inducing points, and what targets think of it."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from harmonia.kernels.dkm.gram_layer import Objective, not_negative, taylor_divergence
from harmonia.kernels.dkm.triple import Whitening, triangle
from harmonia.parts.gram import Marginals, gaussian_kl_of_relative_factor


class Posterior(NamedTuple):
    """``L^-1``, ``L^-1 mu`` and ``L^-1 chol(A)`` of the posterior N(mu, A) at inducing points with the prior L L^T."""

    inverse: Tensor
    mean: Tensor
    factor: Tensor


class InducingOutput(nn.Module):
    """Functions whose values at the inducing points are ``N(mu_c, A)``, with one A for all outputs c.

    Arguments:
        size: Inducing points.
        outputs: Functions.
        objective: As of `GramLayer`.
        relative: Whether the parameters are of ``L^-1 mu`` and ``L^-1 chol(A)``, which are 0 and I before data; else of
            mu and A, as in the official code.
        tempered: Divide the penalty by the number of outputs, as the official image models do.
    """

    def __init__(
        self,
        size: int,
        outputs: int,
        *,
        objective: Objective = "kl",
        relative: bool = True,
        tempered: bool = False,
    ) -> None:
        super().__init__()
        self.objective, self.relative, self.tempered = objective, relative, tempered
        self.mu = nn.Parameter(torch.zeros(size, outputs, dtype=torch.float64))
        self.V = nn.Parameter(torch.zeros(size, size, dtype=torch.float64))
        self.price: Tensor

    def divergence(self) -> Tensor:
        """KL of the posterior from the prior, over all outputs."""
        return self.price

    def inducing(self, ii: Tensor) -> Posterior:
        whitening = Whitening.of(ii)
        if self.relative:
            found = Posterior(whitening.inverse, self.mu, triangle(self.V))
        else:
            factor = triangle(self.V) / math.sqrt(len(ii))
            found = Posterior(whitening.inverse, whitening.inverse @ self.mu, whitening.inverse @ factor)
        if self.objective == "taylor":
            spread = taylor_divergence(whitening.factor @ found.factor, ii)
        else:
            spread = gaussian_kl_of_relative_factor(found.factor)
        outputs = self.mu.shape[1]
        self.price = (outputs * spread + found.mean.square().sum() / 2) / (outputs if self.tempered else 1)
        return found

    def points(self, ti: Tensor, t: Tensor, known: Posterior) -> Marginals:
        """Mean (n, outputs) and variance (n,), the same for all outputs."""
        whitened = ti @ known.inverse.mT
        variance = (whitened @ known.factor).square().sum(-1) + t - whitened.square().sum(-1)
        return Marginals(whitened @ known.mean, not_negative(variance, "the output"))


def gaussian_expectation(
    marginals: Marginals, y: Float[Tensor, "n k"], noise: Float[Tensor, ""]
) -> Float[Tensor, " n"]:
    """``E log N(y; f, noise)`` of each row, summed over outputs: ``log N(y; mean, noise) - variance / (2 noise)``.

    Example:
        >>> row = Marginals(torch.zeros(1, 1), torch.ones(1))
        >>> gaussian_expectation(row, torch.ones(1, 1), torch.tensor(1.0))  # -(log 2 pi + 1 + 1) / 2
        tensor([-1.9189])
    """
    error = (y - marginals.mean).square() + marginals.variance[:, None]
    return -0.5 * (error / noise + (2 * math.pi * noise).log()).sum(1)


def categorical_expectation(
    marginals: Marginals, labels: Int64[Tensor, " n"], draws: Float[Tensor, "s #n k"]
) -> Float[Tensor, " n"]:
    """``E log softmax(f)[label]`` of each row by the given standard normal draws."""
    logits = logits_of(marginals, draws)
    chosen = logits.gather(2, labels.expand(len(draws), -1)[..., None])[..., 0]
    return (chosen - logits.logsumexp(2)).mean(0)


def categorical_prediction(marginals: Marginals, draws: Float[Tensor, "s #n k"]) -> Float[Tensor, "n k"]:
    """``E softmax(f)`` of each row."""
    return logits_of(marginals, draws).softmax(2).mean(0)


def logits_of(marginals: Marginals, draws: Float[Tensor, "s #n k"]) -> Float[Tensor, "s n k"]:
    """Draws of the functions' values."""
    return marginals.mean + marginals.variance.sqrt()[:, None] * draws
