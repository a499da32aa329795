"""What the theory says exactly, on small problems: linear layers, both limits, invariances, rows for themselves."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from harmonia.core.claim import Measured, claim
from harmonia.kernels.dkm.collapsed import Sums, best_posterior, collapsed_bound
from harmonia.kernels.dkm.full import gaussian_log_likelihood, inner_products, maximise, solve_dkm
from harmonia.kernels.dkm.gram_kernels import ArcCosineGramKernel, LinearGramKernel
from harmonia.kernels.dkm.network import DeepKernelMachine, DeepKernelMachineConfig, Frozen
from harmonia.kernels.dkm.triple import untriangle
from harmonia.parts import infwidth
from harmonia.parts.gram import Cholesky, geodesic

_NOISE = torch.tensor(0.1, dtype=torch.float64)


def _draws(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _problem(seed: int, n: int = 15, d: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, targets, new inputs."""
    x = _draws(n + 6, d, seed=seed)
    y = torch.sin(2 * x[:, :1]) + 0.1 * _draws(n + 6, 1, seed=seed + 1)
    return x[:n], y[:n], x[n:]


def _machine(x: Tensor, layers: int, dof: float, outputs: int = 1) -> DeepKernelMachine:
    """Every row an inducing point, no jitter, no normalisation."""
    config = DeepKernelMachineConfig(x.shape[1], outputs, len(x), layers, dof, jitter=0.0, i_norm="none", t_norm="none")
    return DeepKernelMachine(config, x).eval()


@claim(
    "Learned Gram matrices of a deep linear network lie on the geodesic from its inputs to its targets",
    place="theory of linear kernels: G_l = G_0 (G_0^-1 S)^(l / (L + 1)), derived in our notes",
    unit="largest difference",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def linear_optimum_is_geodesic(seed: int) -> Measured:
    roots = _draws(2, 6, 6, seed=seed)
    first, target = roots @ roots.mT + 0.1 * torch.eye(6, dtype=torch.float64)

    def likelihood(gram: Tensor) -> Tensor:
        whitening = Cholesky(gram)
        return -0.5 * (whitening.logdet + whitening.solve(target).trace())

    grams, _, evaluations = maximise(first, LinearGramKernel(jitter=0.0), likelihood, [1.0, 1.0, 1.0])
    worst = max(float((g - geodesic(first, target, (i + 1) / 4)).abs().max()) for i, g in enumerate(grams))
    return Measured(worst, note=f"6 points, 3 layers, nu = 1, L-BFGS with {evaluations} evaluations from G_l = G_0")


@claim(
    "With infinite degrees of freedom a deep kernel machine is the NNGP",
    place="abstract; exact regression with the kernel of an infinitely wide network",
    unit="largest difference of means and variances",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def infinite_dof_is_nngp(seed: int) -> Measured:
    x, y, at = _problem(seed)
    frozen = _machine(x, 2, math.inf).frozen()
    found = Frozen(frozen.machine, frozen.known, _posterior(frozen, x, y))(at)
    hidden = [infwidth.ReLU(), infwidth.Dense(math.sqrt(2), math.sqrt(0.1))]
    network = infwidth.Sequential(infwidth.Dense(1.0), *3 * hidden)
    kernel = Cholesky(network.kernel(x, get="nngp"), float(_NOISE))
    cross = network.kernel(at, x, get="nngp")
    mean = cross @ kernel.solve(y)
    variance = network.diagonal(at, get="nngp") - kernel.whiten(cross.mT).square().sum(0)
    with torch.no_grad():
        worst = max(float((found.mean - mean).abs().max()), float((found.variance - variance).abs().max()))
    return Measured(worst, note="15 rows, all inducing points; the kernel by our infinite-width engine")


def _posterior(frozen: Frozen, x: Tensor, y: Tensor):  # type: ignore[no-untyped-def]
    with torch.no_grad():
        return best_posterior(Sums.of(*frozen.features(x), y), _NOISE, frozen.posterior.inverse)


@claim(
    "As degrees of freedom grow, the learned Gram matrices become those of the NNGP",
    place="abstract",
    unit="largest relative difference at nu = 1e8",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def large_dof_is_nngp(seed: int) -> Measured:
    x, y, _ = _problem(seed)
    kernel = ArcCosineGramKernel(jitter=1e-6).requires_grad_(False)
    distance = {}
    for dof in (1e8, 1.0):
        fixed = inner_products(x)
        worst = 0.0
        for gram in solve_dkm(x, y, kernel=kernel, dof=dof).gram_matrices:
            fixed = kernel.inducing(fixed)[0]
            worst = max(worst, float((gram - fixed).abs().max() / fixed.abs().max()))
        distance[dof] = worst
    return Measured(distance[1e8], note=f"15 rows, 2 layers; at nu = 1 the difference is {distance[1.0]:.2g}")


@claim(
    "With every row an inducing point the sparse machine is the full one: objective and predictions",
    place="inducing points, arXiv:2108.13097 and 2309.09814",
    unit="largest difference, objective and predictive mean",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def sparse_is_full(seed: int) -> Measured:
    x, y, at = _problem(seed)
    full = solve_dkm(x, y, kernel=ArcCosineGramKernel(jitter=0.0), noise=float(_NOISE))
    machine = _machine(x, 2, 1.0)
    before = inner_products(x)
    with torch.no_grad():
        for layer, gram in zip(machine.gram_layers(), full.gram_matrices, strict=True):
            before = ArcCosineGramKernel(jitter=0.0).inducing(before)[0]
            layer.V.copy_(untriangle(Cholesky(before).whiten(Cholesky(gram).factor)))
            before = gram
        frozen = machine.frozen()
        sums = Sums.of(*frozen.features(x), y)
        bound = collapsed_bound(sums, _NOISE) - machine.stack.divergence()
        found = Frozen(machine, frozen.known, _posterior(frozen, x, y))(at).mean
        cross, _ = frozen.triple(at)
        mean = cross @ Cholesky(full.top, float(_NOISE)).solve(y)
    objective = abs(float(bound) - full.objective)
    return Measured(max(objective, float((found - mean).abs().max())), note=f"objective {full.objective:.3f} nats")


@claim(
    "Rotating inputs and permuting inducing points changes nothing",
    place="kernels of inner products",
    unit="largest difference of means, variances and prices",
    better="zero",
    tier="quick",
    tolerance=1e-9,
)
def invariances(seed: int) -> Measured:
    x, _, at = _problem(seed)
    config = DeepKernelMachineConfig(3, 2, len(x), n_layers=2)

    def outcome(points: Tensor, rows: Tensor, order: Tensor) -> Tensor:
        machine = DeepKernelMachine(config, points[order]).eval()
        with torch.no_grad():
            for layer, gram in zip(machine.gram_layers(), grams, strict=True):
                machine.frozen()
                layer.V.copy_(untriangle(Cholesky(layer.passed.kernel).whiten(Cholesky(gram[order][:, order]).factor)))
            kernel = Cholesky(machine.stack.inducing(machine.entry.inducing())[0])
            machine.output.mu.copy_(kernel.whiten(mean[order]))
            machine.output.V.copy_(untriangle(kernel.whiten(Cholesky(spread[order][:, order]).factor)))
            found = machine(rows)
            return torch.cat([found.mean.flatten(), found.variance, machine.divergence()[None]])

    roots = _draws(3, len(x), len(x), seed=seed + 2)
    *grams, spread = list(roots @ roots.mT / len(x) + 0.5 * torch.eye(len(x), dtype=torch.float64))
    mean = _draws(len(x), 2, seed=seed + 3)
    rotation = torch.linalg.qr(_draws(3, 3, seed=seed + 4))[0]
    shuffled = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    plain = outcome(x, at, torch.arange(len(x)))
    others = outcome(x @ rotation, at @ rotation, torch.arange(len(x))), outcome(x, at, shuffled)
    return Measured(max(float((other - plain).abs().max()) for other in others), note="15 inducing points, 2 layers")


@claim(
    "The variance of a row follows from the whole matrix of all rows",
    place="conditioning on inducing points",
    unit="largest difference",
    better="zero",
    tier="quick",
    tolerance=1e-10,
)
def diagonal_is_of_the_whole(seed: int) -> Measured:
    x, _, at = _problem(seed)
    kernel = ArcCosineGramKernel(jitter=0.0)
    whole = kernel.inducing(inner_products(torch.cat([x, at])))[0].detach()
    n = len(x)
    root = _draws(n, n, seed=seed + 5)
    machine = _machine(x, 1, 1.0)
    layer = machine.gram_layers()[0]
    with torch.no_grad():
        layer.V.copy_(0.3 * root)
        gram, known = layer.inducing(whole[:n, :n])
        cross, own = layer.points(whole[n:, :n], whole.diagonal()[n:], known)
    gain = torch.linalg.solve(whole[:n, :n], whole[:n, n:])
    expected = whole[n:, n:] - whole[n:, :n] @ gain + gain.mT @ gram @ gain
    worst = float((own - expected.diagonal()).abs().max()), float((cross - gain.mT @ gram).abs().max())
    return Measured(max(worst), note="the full conditional covariance, dense")


@claim(
    "A row's prediction does not depend on the rows predicted with it",
    place="erratum of the official package, whose normalisation takes statistics of the batch",
    unit="largest difference of the mean, alone and among others",
    better="zero",
    tier="quick",
    tolerance=1e-10,
)
def rows_are_for_themselves(seed: int) -> Measured:
    x, y, at = _problem(seed)
    differences = []
    official = DeepKernelMachineConfig(3, 1, len(x), t_norm="global", t_scale="global", batch_stats=True)
    for config in (DeepKernelMachineConfig(3, 1, len(x)), official):
        machine = DeepKernelMachine(config, x).eval()
        frozen = machine.frozen()
        frozen = Frozen(machine, frozen.known, _posterior(frozen, x, y))
        with torch.no_grad():
            together = frozen(at).mean
            alone = torch.cat([frozen(row[None]).mean for row in at])
        differences.append(float((together - alone).abs().max()))
    ours, theirs = differences
    return Measured(ours, note=f"targets of size 1; with batch_stats=True, as the official code, it is {theirs:.2f}")


@claim(
    "The likelihood's gradient moves the kernel: learning raises the objective above that of the NNGP",
    place="abstract",
    unit="nats gained",
    better="higher",
    tier="quick",
    gate=0.0,
)
def learning_gains(seed: int) -> Measured:
    x, y, _ = _problem(seed, n=30)
    learned = solve_dkm(x, y, dof=1.0)
    kernel = ArcCosineGramKernel(jitter=1e-6)
    fixed = inner_products(x)
    for _ in range(2):
        fixed = kernel.inducing(fixed)[0]
    nngp = float(gaussian_log_likelihood(y, kernel, _NOISE)(fixed).detach())
    return Measured(learned.objective - nngp, note=f"30 rows, one output, nu = 1; NNGP {nngp:.2f} nats")
