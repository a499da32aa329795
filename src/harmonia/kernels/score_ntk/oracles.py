"""Denoisers ``f*(t, x) = E[X_0 | X_t = x]`` in closed form: what every error is measured against.

The score follows by Tweedie's formula, ``grad log p_t(x) = (alpha f*(t, x) - x) / h``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.kernels.score_ntk.process import Process


@runtime_checkable
class Oracle(Protocol):
    """A distribution whose denoiser is known."""

    @property
    def process(self) -> Process:
        """The diffusion."""

    def denoise(self, t: Tensor, x: Tensor) -> Tensor:
        """``E[X_0 | X_t = x]``."""

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draws of X_0."""


def score_of(denoised: Tensor, process: Process, t: Tensor, x: Tensor) -> Tensor:
    """Tweedie's formula (the paper's Lemma 3.1), from the denoised point to the score."""
    return (process.alpha(t)[:, None] * denoised - x) / process.h(t)[:, None]


@dataclass(frozen=True)
class GaussianOracle:
    """Normal data ``N(mu, S)``: ``f* = mu + alpha S (alpha^2 S + h I)^-1 (x - alpha mu)``.

    Example:
        >>> oracle = GaussianOracle(torch.zeros(2), torch.eye(2))
        >>> oracle.denoise(torch.tensor([1.0]), torch.ones(1, 2))  # alpha x, for the variance stays 1
        tensor([[0.6065, 0.6065]], dtype=torch.float64)
    """

    mean: Float[Tensor, " d"]
    covariance: Float[Tensor, "d d"]
    process: Process = field(default_factory=Process)

    def denoise(self, t: Float[Tensor, " n"], x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        mean, covariance, t, x = self.mean.double(), self.covariance.double(), t.double(), x.double()
        alpha, h = self.process.alpha(t)[:, None, None], self.process.h(t)[:, None, None]
        total = alpha.square() * covariance + h * torch.eye(len(mean), dtype=torch.float64)
        centred = (x - alpha[:, 0] * mean)[..., None]
        return mean + (alpha * covariance @ torch.linalg.solve(total, centred))[..., 0]

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n d"]:
        z = torch.randn(n, len(self.mean), generator=generator, dtype=torch.float64)
        return self.mean.double() + z @ torch.linalg.cholesky(self.covariance.double()).T


@dataclass(frozen=True)
class MixtureOracle:
    """A mixture of equally round Gaussians, ``sum_k w_k N(mu_k, s^2 I)``.

    ``f* = sum_k r_k (mu_k + alpha s^2 / v (x - alpha mu_k))`` with ``v = alpha^2 s^2 + h`` and responsibilities r.

    Arguments:
        means: Centres, one a row.
        scale: Standard deviation s; 0 for the distribution of the centres themselves (`empirical_oracle`).
        weights: Shares of the components; equal unless given.
        process: The diffusion.

    Example:
        >>> oracle = three_gaussians()
        >>> x = oracle.means[:1]
        >>> bool((oracle.denoise(torch.tensor([1e-6]), x) - x).abs().max() < 1e-4)
        True
    """

    means: Float[Tensor, "k d"]
    scale: float
    weights: Float[Tensor, " k"] | None = None
    process: Process = field(default_factory=Process)

    @property
    def shares(self) -> Float[Tensor, " k"]:
        """Shares of the components."""
        return torch.full((len(self.means),), 1 / len(self.means)) if self.weights is None else self.weights

    def denoise(self, t: Float[Tensor, " n"], x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        means, t, x = self.means.double(), t.double(), x.double()
        alpha, h = self.process.alpha(t)[:, None], self.process.h(t)[:, None]
        v = alpha.square() * self.scale**2 + h
        # |x - alpha mu_k|^2 without its part that is the same for all k.
        distance = alpha.square() * means.square().sum(1) - 2 * alpha * (x @ means.T)
        responsible = torch.softmax(self.shares.double().log() - distance / (2 * v), 1)
        gain = alpha * self.scale**2 / v
        return gain * x + (1 - gain * alpha) * (responsible @ means)

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n d"]:
        which = torch.multinomial(self.shares.double(), n, replacement=True, generator=generator)
        noise = torch.randn(n, self.means.shape[1], generator=generator, dtype=torch.float64)
        return self.means.double()[which] + self.scale * noise


def empirical_oracle(data: Float[Tensor, "n d"], process: Process | None = None) -> MixtureOracle:
    """The memoriser: the exact denoiser of the data points themselves, whose samples are training points.

    It is what perfect denoising score matching on endless noisy copies would learn.

    Example:
        >>> data = torch.tensor([[0.0], [1.0]])
        >>> empirical_oracle(data).denoise(torch.tensor([0.01]), torch.tensor([[0.9]])).round(decimals=3)
        tensor([[1.]], dtype=torch.float64)
    """
    return MixtureOracle(data, 0.0, process=process or Process())


def three_gaussians() -> MixtureOracle:
    """Three round Gaussians of scale 0.15 on the unit circle: the reference of our claims."""
    angle = torch.arange(3, dtype=torch.float64) * (2 * torch.pi / 3)
    return MixtureOracle(torch.stack([angle.cos(), angle.sin()], 1), 0.15)
