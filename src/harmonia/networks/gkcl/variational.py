"""Random Fourier features whose frequencies are drawn from a distribution that a network infers from the support set.

    q(w | support) = N(mu_r, diag exp(lv_r)),    p(w | queries) = N(mu_p, diag exp(lv_p)),
    phi(f) = sqrt(2 / F) cos(W f + b)

mu and lv are functions of the mean feature. Training adds ``KL(q || p)``, so that what the support set says of the
frequencies can be told from the queries (Derakhshani et al. 2021, arXiv:2107.05757, Sec. 3).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.parts.gram import DenseProjection, FourierFeatures


def diagonal_kl(
    mean: Float[Tensor, "*batch d"],
    log_variance: Float[Tensor, "*batch d"],
    other_mean: Float[Tensor, "*batch2 d"],
    other_log_variance: Float[Tensor, "*batch2 d"],
) -> Float[Tensor, "*batch3"]:
    """``KL(N(mean, e^log_variance) || N(other_mean, e^other_log_variance))`` of diagonal Gaussians, in nats.

    Example:
        >>> zero, one = torch.zeros(1), torch.ones(1)
        >>> float(diagonal_kl(one, zero, zero, zero))
        0.5
    """
    difference = log_variance - other_log_variance
    distance = (mean - other_mean).square() * (-other_log_variance).exp()
    return 0.5 * (difference.exp() - 1 - difference + distance).sum(-1)


class Inference(nn.Module):
    """Mean and log variance of frequencies, each by a network of three layers from the mean feature."""

    def __init__(self, width: int) -> None:
        super().__init__()

        def network() -> nn.Sequential:
            return nn.Sequential(
                nn.Linear(width, width), nn.ELU(), nn.Linear(width, width), nn.ELU(), nn.Linear(width, width)
            )

        self.mean: nn.Sequential = network()
        self.log_variance: nn.Sequential = network()

    def forward(self, features: Float[Tensor, "n width"]) -> tuple[Float[Tensor, " width"], Float[Tensor, " width"]]:
        """From the features of a set of rows."""
        centre = features.mean(0)
        return self.mean(centre), self.log_variance(centre)


class FixedBases(nn.Module):
    """Frequencies of the Gaussian kernel, drawn once, whatever the support set is.

    Arguments:
        width: Numbers a feature vector.
        count: Frequencies F.
        generator: Draws frequencies and phases.
    """

    weight: Tensor
    phases: Tensor

    def __init__(self, width: int, count: int, generator: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randn(count, width, generator=generator))
        self.register_buffer("phases", 2 * math.pi * torch.rand(count, generator=generator))

    def forward(self, support: Float[Tensor, "n width"]) -> FourierFeatures:
        """The features."""
        return FourierFeatures(DenseProjection(self.weight), 1.0, self.phases)


class VariationalBases(nn.Module):
    """Frequencies inferred from a support set.

    Arguments:
        width: Numbers a feature vector.
        count: Frequencies F.
        generator: Draws the phases b, which are fixed, and the noise used when nothing is being learnt.

    Example:
        >>> bases = VariationalBases(4, 64, torch.Generator().manual_seed(0))
        >>> support = torch.randn(10, 4)
        >>> bases(support)(support).shape, float(bases.divergence(support, support)) >= 0
        (torch.Size([10, 64]), True)
    """

    phases: Tensor
    noise: Tensor

    def __init__(self, width: int, count: int, generator: torch.Generator) -> None:
        super().__init__()
        self.posterior, self.prior = Inference(width), Inference(width)
        self.register_buffer("phases", 2 * math.pi * torch.rand(count, generator=generator))
        self.register_buffer("noise", torch.randn(count, width, generator=generator))

    def forward(
        self, support: Float[Tensor, "n width"], noise: Float[Tensor, "count width"] | None = None
    ) -> FourierFeatures:
        """Features with frequencies ``mu + exp(lv / 2) noise``; fresh noise in training, the same otherwise."""
        mean, log_variance = self.posterior(support)
        if noise is None:
            noise = torch.randn_like(self.noise) if self.training else self.noise
        return FourierFeatures(DenseProjection(mean + (log_variance / 2).exp() * noise), 1.0, self.phases)

    def divergence(self, support: Float[Tensor, "n width"], queries: Float[Tensor, "m width"]) -> Float[Tensor, ""]:
        """``KL(q(w | support) || p(w | queries))``."""
        return diagonal_kl(*self.posterior(support), *self.prior(queries))
