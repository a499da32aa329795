"""Deep Gaussian processes of finite width: the posterior of their Gram matrices, by Hamiltonian Monte Carlo.

Features of a layer of N units are ``F Z`` with ``F F^T = K(G_{l-1})`` and standard normal Z (P, N), so
``G_l = F W F^T`` with ``W = Z Z^T / N``, a Wishart matrix. Nothing else of Z matters. By Bartlett's decomposition
``W = R R^T`` with R lower triangular, ``R_ij ~ N(0, 1/N)`` below the diagonal and ``N R_ii^2 ~ chi^2_{N - i + 1}`` on
it: the posterior over widths of any size lives on P (P + 1) / 2 numbers per layer, with the energy

    sum_l [ N |R_l|^2 / 2 - sum_i (N - i + 1) log R_l,ii ] - N log P(Y | G_L)

of the logarithms of the diagonal (i from 1; the likelihood counts N times, as the outputs are as many as the units: the
limit of arXiv:2108.13097). Its minimum over N tends to the deep kernel machine's objective with dof = 1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.dkm.full import LogLikelihood, gram_chain
from harmonia.kernels.dkm.gram_kernels import GramKernel
from harmonia.kernels.dkm.triple import triangle


class Sampled(NamedTuple):
    """Posterior means of the Gram matrices, and the share of proposals that was accepted."""

    gram_matrices: list[Tensor]
    accepted: float


def bartlett_energy(v: Float[Tensor, "*batch p p"], width: int) -> Float[Tensor, "*batch"]:
    """Minus the log density of the parameters V of ``R = triangle(V)`` when ``R R^T`` is Wishart of `width` units.

    Up to a constant.
    """
    r = triangle(v)
    units = width - torch.arange(v.shape[-1], dtype=v.dtype)
    logs = v.diagonal(dim1=-2, dim2=-1)
    return width * r.square().sum((-2, -1)) / 2 - (units * logs).sum(-1)


def posterior_means(
    first: Float[Tensor, "p p"],
    kernel: GramKernel,
    likelihood: LogLikelihood,
    layers: int,
    width: int,
    *,
    start: list[Tensor],
    draws: int = 400,
    burn: int = 100,
    steps: int = 15,
    step_size: float = 0.6,
    generator: torch.Generator,
) -> Sampled:
    """Posterior means of ``G_1 .. G_L`` under a given width.

    Arguments:
        first: ``G_0``.
        kernel: Of every layer.
        likelihood: Log likelihood of one of the N groups of outputs, as a function of ``G_L``.
        layers: Hidden layers L.
        width: Units N of each; at least the points.
        start: Parameters V where the chain starts, e.g. those of the optimum.
        draws: Kept draws.
        burn: Draws before them, in which the step size settles.
        steps: Leapfrog steps of a draw.
        step_size: Of them at first, over the root of the width.
        generator: Of the draws.

    Raises:
        InputError: fewer units than points.
    """
    if width < len(first):
        raise InputError("Bartlett's decomposition needs as many units as points", width, f"Give {len(first)} or more.")
    lower = torch.ones_like(first).tril()

    def energy(v: Tensor) -> Tensor:
        grams = gram_chain(first, kernel, [triangle(layer) for layer in v])
        return bartlett_energy(v, width).sum() - width * likelihood(grams[-1])

    def slope(v: Tensor) -> tuple[float, Tensor]:
        v = v.detach().requires_grad_()
        value = energy(v)
        return float(value.detach()), torch.autograd.grad(value, v)[0] * lower

    at = torch.stack(start).detach()
    value, gradient = slope(at)
    step = step_size / math.sqrt(width)
    total = [torch.zeros_like(first) for _ in range(layers)]
    accepted = 0
    for draw in range(burn + draws):
        momentum = torch.randn(at.shape, dtype=at.dtype, generator=generator) * lower
        before = value + float(momentum.square().sum()) / 2
        new, new_gradient, new_value = at, gradient, value
        length = step * (0.8 + 0.4 * float(torch.rand((), generator=generator)))
        for _ in range(steps):
            momentum = momentum - length / 2 * new_gradient
            new = new + length * momentum
            new_value, new_gradient = slope(new)
            momentum = momentum - length / 2 * new_gradient
        change = new_value + float(momentum.square().sum()) / 2 - before
        chance = math.exp(-max(change, 0.0)) if math.isfinite(change) else 0.0
        if float(torch.rand((), generator=generator)) < chance:
            at, value, gradient = new, new_value, new_gradient
            accepted += draw >= burn
        if draw < burn:
            step *= math.exp(0.1 * (chance - 0.8))
            continue
        with torch.no_grad():
            for sums, gram in zip(total, gram_chain(first, kernel, [triangle(v) for v in at]), strict=True):
                sums += gram / draws
    return Sampled(total, accepted / draws)
