"""Finite widths: where the theory's limit comes from."""

from __future__ import annotations

import torch
from torch import Tensor

from harmonia.core.claim import Measured, claim
from harmonia.data.tables import diabetes
from harmonia.kernels.dkm.finite import posterior_means
from harmonia.kernels.dkm.full import gaussian_log_likelihood, inner_products, solve_dkm
from harmonia.kernels.dkm.gram_kernels import ArcCosineGramKernel
from harmonia.kernels.dkm.triple import untriangle
from harmonia.parts.gram import Cholesky

WIDTHS = (32, 128, 1024)
POINTS, LAYERS, NOISE = 20, 2, 0.1


@claim(
    "Gram matrices of wide deep Gaussian processes converge to the deep kernel machine's optimum",
    place="experiments on finite width; the gate of a fourfold fall is ours",
    unit="distance at width 32 over that at width 1024",
    better="higher",
    tier="full",
    gate=4.0,
)
def widths_converge(seed: int) -> Measured:
    values = torch.from_numpy(diabetes().frame.to_numpy()[:POINTS].astype("float64"))
    x, y = ((part - part.mean(0)) / part.std(0).clamp(min=1e-9) for part in (values[:, :-1], values[:, -1:]))
    kernel = ArcCosineGramKernel(jitter=1e-6)
    limit = solve_dkm(x, y, kernel=kernel, n_layers=LAYERS, noise=NOISE).gram_matrices
    likelihood = gaussian_log_likelihood(y, kernel, torch.tensor(NOISE, dtype=torch.float64))
    start = _parameters(inner_products(x), kernel, limit)
    distance = {}
    for width in WIDTHS:
        generator = torch.Generator().manual_seed(seed)
        found = posterior_means(
            inner_products(x), kernel, likelihood, LAYERS, width, start=start, draws=200, burn=60, generator=generator
        )
        pairs = zip(found.gram_matrices, limit, strict=True)
        distance[width] = max(float((mean - g).norm() / g.norm()) for mean, g in pairs)
    told = ", ".join(f"{width}: {value:.3f}" for width, value in distance.items())
    note = f"largest relative distance of two layers by width: {told}; {POINTS} patients, Hamiltonian Monte Carlo"
    return Measured(distance[WIDTHS[0]] / distance[WIDTHS[-1]], note=note)


def _parameters(first: Tensor, kernel: ArcCosineGramKernel, grams: list[Tensor]) -> list[Tensor]:
    """V of the relative factors that give these Gram matrices."""
    found = []
    for gram in grams:
        before = kernel.inducing(first)[0]
        found.append(untriangle(Cholesky(before).whiten(Cholesky(gram).factor)))
        first = gram
    return found
