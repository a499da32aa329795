"""A mixture of Gaussians as the prior of latents that are Gaussians themselves, ``z_i ~ N(mu_i, diag v_i)``.

Which component a row belongs to is inferred exactly, where Gaussian-mixture autoencoders train a network for it and
draw Gumbel noise: of all posteriors over components

    r_ij ~ pi_j exp(-KL(q_i || p_j)),    which leaves    min_r KL = -log sum_j pi_j exp(-KL(q_i || p_j)),

is the one with the largest evidence bound. With one component this is the divergence from a Gaussian.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.networks.gkcl.variational import diagonal_kl

_ALIVE = 1e-3
"""Share of every row that is spread over all components, so that none of them starves."""


class Mixture(NamedTuple):
    """Weights, means and Cholesky factors of covariances."""

    weights: Float[Tensor, " components"]
    means: Float[Tensor, "components d"]
    factors: Float[Tensor, "components d d"]


def mixture_divergence(
    mean: Float[Tensor, "n d"],
    log_variance: Float[Tensor, "n d"],
    weights: Float[Tensor, "n components"],
    means: Float[Tensor, "n components d"],
    log_variances: Float[Tensor, "n components d"],
) -> Float[Tensor, " n"]:
    """Divergence of each row's latent and component from a mixture of its own, the component inferred exactly.

    Example:
        >>> zero, half = torch.zeros(1, 1), torch.full((1, 2), 0.5)
        >>> twice = torch.zeros(1, 2, 1)
        >>> bool(mixture_divergence(zero, zero, half, twice, twice).abs() < 1e-6)
        True
    """
    each = diagonal_kl(mean[:, None], log_variance[:, None], means, log_variances)
    return -(weights.log() - each).logsumexp(1)


def fit_mixture(
    mean: Float[Tensor, "n d"],
    variance: Float[Tensor, "n d"],
    means: Float[Tensor, "components d"],
    variances: Float[Tensor, "components d"],
    steps: int = 20,
) -> Mixture:
    """The mixture with full covariances nearest to the latents, by expectation and maximisation; one component at once.

    Arguments:
        mean, variance: Of the latents.
        means, variances: Of the components to begin with.
        steps: Of the iteration, where there are several components.
    """
    count = len(means)
    weights, factors = means.new_full((count,), 1 / count), torch.diag_embed(variances.sqrt())
    for _ in range(steps if count > 1 else 1):
        share = (weights.log() + _expected_log_density(mean, variance, means, factors)).softmax(1)
        share = (1 - _ALIVE) * share + _ALIVE / count
        total = share.sum(0)
        weights = total / len(mean)
        means = share.T @ mean / total[:, None]
        centred = (mean[:, None] - means) * (share / total).sqrt()[:, :, None]
        covariances = torch.einsum("njk,njl->jkl", centred, centred)
        factors = torch.linalg.cholesky(covariances + torch.diag_embed(share.T @ variance / total[:, None]))
    return Mixture(weights, means, factors)


def _expected_log_density(mean: Tensor, variance: Tensor, means: Tensor, factors: Tensor) -> Float[Tensor, "n j"]:
    """``E log N(z_i; m_j, L_j L_j^T)`` but for a constant."""
    whitened = torch.linalg.solve_triangular(factors, (mean[:, None] - means).permute(1, 2, 0), upper=False)
    inverse = torch.linalg.solve_triangular(factors, torch.eye(mean.shape[1]).to(factors), upper=False)
    spread = variance @ inverse.square().sum(1).T
    roots = factors.diagonal(dim1=1, dim2=2).log().sum(1)
    return -0.5 * (whitened.square().sum(1).T + spread) - roots
