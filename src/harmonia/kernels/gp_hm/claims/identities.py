"""Exact statements: derivatives, Kronecker identities, spectra, and the official loop beside its committed logs."""

from __future__ import annotations

import math

import numpy as np
import torch

from harmonia.core.claim import Measured, claim
from harmonia.kernels.gp_hm.basis import AxisBasis, Lags
from harmonia.kernels.gp_hm.claims.measuring import solved
from harmonia.kernels.gp_hm.kernel import Envelope, SpectralMixtureKernel1D
from harmonia.kernels.gp_hm.learning import evidence
from harmonia.kernels.gp_hm.official import OfficialLoop, lowest, official_kernels
from harmonia.kernels.gp_hm.problems import paper


def _mixture(seed: int, envelope: Envelope, q: int = 5) -> SpectralMixtureKernel1D:
    generator = torch.Generator().manual_seed(seed)
    weight, rate, frequency = (torch.randn(q, generator=generator, dtype=torch.float64) for _ in range(3))
    return SpectralMixtureKernel1D(q, envelope).with_parameters(weight, rate, frequency)


@claim(
    "Derivatives of both kernels up to the fourth are those of automatic differentiation",
    place="Sec. 3; closed forms by Leibniz' rule",
    unit="largest difference, relative to the largest derivative",
    better="zero",
    tier="quick",
    tolerance=1e-8,
)
def derivatives_are_exact(seed: int) -> Measured:
    worst = 0.0
    for envelope in ("gaussian", "matern52"):
        kernel = _mixture(seed, envelope)
        lag = torch.tensor([-1.7, -0.6, 0.01, 0.8, 2.1], dtype=torch.float64, requires_grad=True)
        value = kernel.k(lag)
        for order in range(1, 5):
            [value] = torch.autograd.grad(value.sum(), lag, create_graph=True)
            gap = (kernel.k(lag, order) - value).abs().max() / value.abs().max()
            worst = max(worst, float(gap.detach()))
    return Measured(worst, note="five components, five lags; at lag 0, where autograd of |d| fails, ours is finite")


@claim(
    "The prior of a grid needs only matrices of one axis: log-determinant and quadratic form",
    place="Sec. 4, Kronecker product",
    unit="difference to the dense formula, relative",
    better="zero",
    tier="quick",
    tolerance=1e-9,
)
def kronecker_is_dense(seed: int) -> Measured:
    axes = [torch.linspace(0, 1, 5, dtype=torch.float64), torch.linspace(0, 2, 6, dtype=torch.float64)]
    kernels = [SpectralMixtureKernel1D(3, "matern52", 2.0).on(len(x), float(x[-1])) for x in axes]
    u = torch.randn(5, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    bases = [AxisBasis(Lags(x), kernel, [], 1e-14) for x, kernel in zip(axes, kernels)]
    z = bases[0].coordinates(u) @ bases[1].scale
    whole = torch.kron(*(kernel.k(x[:, None] - x) for kernel, x in zip(kernels, axes)))
    quadratic = u.reshape(-1) @ torch.linalg.solve(whole, u.reshape(-1))
    dense = 0.5 * float(torch.linalg.slogdet(whole)[1] + quadratic)
    return Measured(abs(evidence(bases, z) / dense - 1), note="5 x 6 points against a 30 x 30 matrix")


@claim(
    "The power spectrum integrates to the kernel at lag 0, and one wave at frequency 0 is the usual kernel",
    place="Sec. 3, Wiener-Khinchin",
    unit="largest relative difference",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def spectrum_is_the_kernels(seed: int) -> Measured:
    worst = 0.0
    for envelope in ("gaussian", "matern52"):
        kernel = _mixture(seed, envelope)
        grid = np.linspace(0, 300, 300_001)
        mass = float(np.trapezoid(kernel.density(grid), grid))
        worst = max(worst, abs(mass / float(kernel.k(torch.zeros(1, dtype=torch.float64))) - 1))
    single = SpectralMixtureKernel1D(1, freq_scale=0.0, rate=2.0).on(9, 1.0)
    lag = torch.linspace(-2, 2, 41, dtype=torch.float64)
    worst = max(worst, float((single.k(lag) - torch.exp(-2 * lag**2)).abs().max()))
    return Measured(worst, note="both envelopes; trapezoid rule up to 300 cycles")


@claim(
    "The official loop after 100 epochs on Poisson in 1-D, single sine",
    place="committed log of the official code",
    unit="relative L2 error, least of twenty evaluations",
    better="near",
    tier="quick",
    paper=0.27562065,
    tolerance=1e-7,
)
def official_log_of_a_line(seed: int) -> Measured:
    problem = paper("poisson_1d-single_sin")
    [x] = problem.grid()
    u = problem.u(x)
    loop = OfficialLoop(
        problem.equation, [x], official_kernels(1, 30, 20.0), problem.source(x), torch.stack([u[0], u[-1]])
    )
    test = problem.grid((300,))
    return Measured(lowest(loop, 100, test, problem.u(*test)), note="Student-t mixture, 400 points; deterministic")


@claim(
    "The official loop after 100 epochs on Poisson in 2-D, product of sines",
    place="committed log of the official code",
    unit="relative L2 error, least of twenty evaluations",
    better="near",
    tier="full",
    paper=0.46758844,
    tolerance=1e-5,
)
def official_log_of_a_plane(seed: int) -> Measured:
    problem = paper("poisson_2d-sin_sin")
    axes = problem.grid()
    mesh = torch.meshgrid(*axes, indexing="ij")
    u = problem.u(*mesh)
    sides = torch.cat([u[0], u[-1], u[:, 0], u[:, -1]])
    loop = OfficialLoop(problem.equation, axes, official_kernels(2, 30, 20.0), problem.source(*mesh), sides)
    test = problem.grid((300, 300))
    truth = problem.u(*torch.meshgrid(*test, indexing="ij"))
    return Measured(lowest(loop, 100, test, truth), note="Student-t mixture, 400 x 400 points; deterministic")


@claim(
    "The frequency of the solution is recovered: 100 / (2 pi) of sin(100 x)",
    place="Sec. 6, learned frequencies",
    unit="relative difference of the component with the largest weight",
    better="lower",
    tier="quick",
    gate=0.01,
)
def frequency_is_recovered(seed: int) -> Measured:
    kernel = SpectralMixtureKernel1D(envelope="matern52", freq_scale=20.0)
    found = solved(paper("poisson_1d-single_sin"), kernel, max_iter=20)
    first = found.solver.spectrum_[0][0]
    return Measured(
        abs(first.frequency * 2 * math.pi / 100 - 1),
        note=f"Student-t mixture, 20 iterations: {first.frequency:.4f} cycles per unit; error {found.error:.1e}",
    )
