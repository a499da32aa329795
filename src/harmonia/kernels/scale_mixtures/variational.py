"""Classification: stochastic variational inference with inducing points (arXiv:2107.01408, Sec. 3.3).

C latent functions share s2 and the kernel. With ``K_ZZ = L L^T`` at the inducing inputs Z and whitened values
``u_c = L v_c`` the family is ``s2 ~ IG(a, b)``, ``v_c | s2 ~ N(m_c, s2 S_c)``, so that given s2

    f_c(x) ~ N(A^T m_c, s2 (A^T S_c A + k_xx - A^T A)),    A = L^{-1} k_Zx

and, with the prior ``s2 ~ IG(a0, b0)``, the divergence from it is

    KL = sum_c [tr S_c - log|S_c| - M + (a / b) |m_c|^2] / 2
       + a0 log(b / b0) - lgamma(a) + lgamma(a0) + (a - a0) digamma(a) + (b0 - b) a / b.

The expected log likelihood integrates s2 by quadrature and only the Gaussians by sampling, so one s2 is shared by all
classes. (The official code draws an independent t variate per class and point, which is another process.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from harmonia.kernels.scale_mixtures.covariance import Build
from harmonia.kernels.scale_mixtures.scales import InverseGamma, PointMass

NODES = 24
"""Nodes of the quadrature over s2."""


class Marginals(NamedTuple):
    """Means and variances at ``s2 = 1`` of the latent functions, (classes, rows)."""

    mean: Tensor
    variance: Tensor


class SparseProcess(nn.Module):
    """C latent functions of a scale mixture, known through their values at inducing inputs.

    Arguments:
        build: Function of the scales to an infinitely wide network.
        scales: Starting values of the scales; those above 0 are learned.
        inducing: Z (M, ...); learned.
        classes: C.
        prior: InverseGamma; or PointMass for a Gaussian process, whose amplitude is learned.
        full_covariance: Whether S_c is any covariance, or diagonal as in the official code.
        jitter: Relative to the mean diagonal of ``K_ZZ``.
    """

    def __init__(
        self,
        build: Build,
        scales: Mapping[str, float],
        inducing: Float[Tensor, "M ..."],
        classes: int,
        prior: InverseGamma | PointMass,
        *,
        full_covariance: bool = False,
        jitter: float = 1e-6,
    ) -> None:
        super().__init__()
        self.build, self.prior, self.full_covariance, self.jitter = build, prior, full_covariance, jitter
        self.fixed = {name: value for name, value in scales.items() if not value}
        self.log_scales = nn.ParameterDict(
            {name: nn.Parameter(torch.tensor(value).double().log()) for name, value in scales.items() if value > 0}
        )
        self.inducing = nn.Parameter(inducing.double().clone())
        size = len(inducing)
        self.mean = nn.Parameter(torch.zeros(classes, size, dtype=torch.float64))
        self.log_std = nn.Parameter(torch.zeros(classes, size, dtype=torch.float64))
        self.lower = nn.Parameter(torch.zeros(classes, size, size, dtype=torch.float64)) if full_covariance else None
        start = [prior.a, prior.b] if isinstance(prior, InverseGamma) else [prior.s2]
        self.log_scale = nn.Parameter(torch.tensor(start, dtype=torch.float64).log())

    def marginals(self, x: Float[Tensor, "n ..."]) -> Marginals:
        """Of the latent functions at new inputs."""
        scales = {name: value.exp() for name, value in self.log_scales.items()}
        network = self.build(**scales, **self.fixed)
        gram = network.kernel(self.inducing, get="nngp")
        gram = gram + self.jitter * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
        cross = network.kernel(self.inducing, x, get="nngp")
        a = torch.linalg.solve_triangular(torch.linalg.cholesky(gram), cross, upper=False)
        rest = (network.diagonal(x, get="nngp") - a.square().sum(0)).clamp_min(1e-12)
        return Marginals(self.mean @ a, self._spread(a) + rest)

    def _spread(self, a: Float[Tensor, "M n"]) -> Float[Tensor, "C n"]:
        """``diag(A^T S_c A)``."""
        if self.lower is None:
            return (2 * self.log_std).exp() @ a.square()
        return (self._root().mT @ a).square().sum(1)

    def _root(self) -> Float[Tensor, "C M M"]:
        """Cholesky factors of S_c."""
        diagonal = torch.diag_embed(self.log_std.exp())
        return diagonal if self.lower is None else diagonal + self.lower.tril(-1)

    def divergence(self) -> Float[Tensor, ""]:
        """KL divergence of the variational family from the prior."""
        trace = (2 * self.log_std).exp().sum() if self.lower is None else self._root().square().sum()
        gaussian = trace - 2 * self.log_std.sum() - self.log_std.numel()
        if isinstance(self.prior, PointMass):
            return (gaussian + self.mean.square().sum() / self.log_scale.exp()[0]) / 2
        a, b = self.log_scale.exp()
        a0, b0 = (torch.tensor(float(value), dtype=torch.float64) for value in (self.prior.a, self.prior.b))
        scale = a0 * (b / b0).log() - torch.lgamma(a) + torch.lgamma(a0) + (a - a0) * torch.digamma(a)
        return (gaussian + a / b * self.mean.square().sum()) / 2 + scale + (b0 - b) * a / b

    def scale_nodes(self) -> tuple[Float[Tensor, " nodes"], Float[Tensor, " nodes"]]:
        """Values of s2 and their weights: the trapezoidal rule in log s2, whose weights are differentiable."""
        if isinstance(self.prior, PointMass):
            return self.log_scale.exp(), torch.ones(1, dtype=torch.float64)
        a, b = self.log_scale.exp()
        with torch.no_grad():  # log s2 has mean log b - digamma(a) and variance trigamma(a), and leans to the right
            centre, width = b.log() - torch.digamma(a), torch.polygamma(1, a).sqrt()
            u = centre + width * torch.linspace(-4.5, 7.0, NODES, dtype=torch.float64)
        return u.exp(), (-a * u - b * (-u).exp()).softmax(0)

    def expected_log_likelihood(
        self, x: Float[Tensor, "n ..."], labels: Int64[Tensor, " n"], samples: int, generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """``E log softmax_y(f)`` per row."""
        mean, variance = self.marginals(x)
        s2, weights = self.scale_nodes()
        noise = torch.randn(samples, *mean.shape, generator=generator, dtype=torch.float64)
        f = mean + (s2[:, None, None, None] * variance).sqrt() * noise
        found = f.gather(2, labels.expand(*f.shape[:2], 1, -1))[:, :, 0] - f.logsumexp(2)
        return weights @ found.mean((1, 2))

    def loss(
        self,
        x: Float[Tensor, "n ..."],
        labels: Int64[Tensor, " n"],
        rows: int,
        samples: int,
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        """Minus the evidence lower bound per row, estimated from a batch of a data set of that many rows."""
        return self.divergence() / rows - self.expected_log_likelihood(x, labels, samples, generator)

    @torch.no_grad()
    def probabilities(
        self,
        x: Float[Tensor, "n ..."],
        samples: int,
        generator: torch.Generator,
        shared_scale: bool = True,
        block: int = 256,
    ) -> Float[Tensor, "n C"]:
        """``E softmax(f)``, with the same draws for every row, so that a row's probabilities are its own.

        Arguments:
            x: Inputs.
            samples: Draws of the Gaussians for each node of s2; not shared: draws of both.
            generator: Their source.
            shared_scale: Whether classes share s2, as they do in the model; False draws one for each, as the official
                code.
            block: Rows at once.
        """
        s2, weights = self.scale_nodes()
        noise = torch.randn(samples, len(self.mean), 1, generator=generator, dtype=torch.float64)
        if not shared_scale:
            index = torch.multinomial(weights, noise.numel(), replacement=True, generator=generator)
            noise = noise * s2[index].reshape(noise.shape).sqrt()
            s2, weights = torch.ones(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
        found = []
        for rows in x.split(block):
            mean, variance = self.marginals(rows)
            terms = [w * (mean + (s * variance).sqrt() * noise).softmax(1).mean(0) for s, w in zip(s2, weights)]
            found.append(torch.stack(terms).sum(0).T)
        return torch.cat(found)


def first_of_each_class(labels: Int64[np.ndarray, " n"], count: int) -> Int64[np.ndarray, " M"]:
    """Rows of the first training points, as many of each class as its share (the official choice of inducing inputs).

    Example:
        >>> first_of_each_class(np.array([0, 0, 0, 0, 1, 1]), 3).tolist()
        [0, 1, 4]
    """
    rank = np.empty(len(labels))
    for label in np.unique(labels):
        where = np.flatnonzero(labels == label)
        rank[where] = (np.arange(len(where)) + 0.5) / len(where)
    return np.sort(np.argsort(rank, kind="stable")[: min(count, len(labels))])
