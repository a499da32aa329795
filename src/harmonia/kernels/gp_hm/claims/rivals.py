"""Other ways to solve the same problem: priors without frequencies, and a physics-informed network."""

from __future__ import annotations

import warnings

import torch
from torch import nn

from harmonia.core.claim import Measured, claim
from harmonia.kernels.gp_hm.claims.measuring import solved
from harmonia.kernels.gp_hm.kernel import SpectralMixtureKernel1D
from harmonia.kernels.gp_hm.problems import paper

_STEPS = 3000


@claim(
    "Without frequencies in the prior the same solver fails: GP-SE and GP-Matern",
    place="Sec. 6, ablation",
    unit="relative L2 error on Poisson in 1-D, single sine",
    better="lower",
    tier="full",
)
def without_frequencies(seed: int) -> Measured:
    problem = paper("poisson_1d-single_sin")
    plain = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        for kernel in (
            SpectralMixtureKernel1D(1, "gaussian", 0.0, 1.0),
            SpectralMixtureKernel1D(1, "gaussian", 0.0, 50.0),
            SpectralMixtureKernel1D(1, "matern52", 0.0, 1.0),
            SpectralMixtureKernel1D(1, "matern52", 0.0, 10.0),
        ):
            plain.append(solved(problem, kernel, max_iter=60).error)
    ours = solved(problem, max_iter=20).error
    shown = ", ".join(f"{error:.2g}" for error in plain)
    return Measured(ours, baseline=min(plain), note=f"SE from two lengthscales, Matern-5/2 from two: {shown}")


@claim(
    "Errors orders of magnitude below a physics-informed network",
    place="Sec. 6.1",
    unit="relative L2 error on Poisson in 1-D, single sine",
    better="lower",
    tier="full",
)
def beside_a_network(seed: int) -> Measured:
    ours = solved(paper("poisson_1d-single_sin"), max_iter=20).error
    note = f"network: three tanh layers of 64, {_STEPS} steps of Adam, residual scaled by the source"
    return Measured(ours, baseline=_network(seed), note=note)


def _network(seed: int) -> float:
    """A tanh network with inputs in [-1, 1], trained on residual and boundary values."""
    problem = paper("poisson_1d-single_sin")
    [x] = problem.grid()
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for inputs, outputs in ((1, 64), (64, 64), (64, 64), (64, 1)):
        layer = nn.Linear(inputs, outputs, dtype=torch.float64)
        nn.init.xavier_normal_(layer.weight, generator=generator)
        nn.init.zeros_(layer.bias)
        layers += [layer, nn.Tanh()]
    network = nn.Sequential(*layers[:-1])
    half = problem.lengths[0] / 2
    source, ends = problem.source(x), problem.u(x[[0, -1]])
    scale = source.square().mean()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(_STEPS):
        points = x.clone().requires_grad_()
        u = network((points / half - 1)[:, None])[:, 0]
        [slope] = torch.autograd.grad(u.sum(), points, create_graph=True)
        [bend] = torch.autograd.grad(slope.sum(), points, create_graph=True)
        loss = (bend - source).square().mean() / scale + (u[[0, -1]] - ends).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    [test] = problem.grid((300,))
    with torch.no_grad():
        found = network((test / half - 1)[:, None])[:, 0]
    truth = problem.u(test)
    return float((found - truth).norm() / truth.norm())
