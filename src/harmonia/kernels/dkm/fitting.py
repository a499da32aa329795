"""Training: all rows at once by L-BFGS, with the output solved for where there is a formula; or minibatches by Adam."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial, reduce
from operator import add
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.quasirandom import SobolEngine
from torch.utils.checkpoint import checkpoint

from harmonia.core.progress import say, track
from harmonia.kernels.dkm.collapsed import Sums, best_posterior, collapsed_bound
from harmonia.kernels.dkm.network import Frozen, Machine
from harmonia.kernels.dkm.optimise import minimise
from harmonia.kernels.dkm.output import Posterior, categorical_expectation, gaussian_expectation
from harmonia.kernels.dkm.triple import untriangle

PORTION = 4096
"""Rows that are in memory at once; of more, what their gradient needs is computed again."""

DRAWS = 32
"""Quasi-random points of the expectation over logits while training."""

LEAST_NOISE = 1e-6
"""Lowest variance of the noise relative to the targets' variance."""


class Schedule(NamedTuple):
    """How long and how: `batch_size` None for L-BFGS on all rows, else Adam with `learning_rate`, to 0 by a cosine."""

    max_iter: int
    batch_size: int | None
    learning_rate: float
    seed: int


class Noise(nn.Module):
    """The variance of the targets' noise, learned or given."""

    def __init__(self, variance: float, learned: bool) -> None:
        super().__init__()
        excess = torch.tensor(max(variance - LEAST_NOISE, 1e-12), dtype=torch.float64)
        self.log_excess = nn.Parameter(excess.log(), requires_grad=learned)

    def forward(self) -> Tensor:
        return self.log_excess.exp() + LEAST_NOISE


def normal_points(count: int, dimensions: int, seed: int) -> Float[Tensor, "count 1 dimensions"]:
    """Standard normal points that cover their distribution evenly, with their mirror images (scrambled Sobol)."""
    uniform = SobolEngine(dimensions, scramble=True, seed=seed).draw((count + 1) // 2, dtype=torch.float64)
    half = torch.special.ndtri(uniform.clamp(1e-9, 1 - 1e-9))
    return torch.cat([half, -half])[:, None]


def sums_of(frozen: Frozen, x: Tensor, y: Tensor) -> Sums:
    """What the collapsed bound needs of all rows, in portions."""

    def portion(rows: Tensor, targets: Tensor) -> Sums:
        return Sums.of(*frozen.features(rows), targets)

    if len(x) <= PORTION:
        return portion(x, y)
    parts = zip(x.split(PORTION), y.split(PORTION), strict=True)
    return reduce(add, (Sums(*checkpoint(portion, *part, use_reentrant=False)) for part in parts))


def fit_regression(
    machine: Machine, x: Float[Tensor, "n d"], y: Float[Tensor, "n k"], noise: Noise, schedule: Schedule
) -> Float[np.ndarray, " steps"]:
    """Maximise the bound; afterwards the output is the best there is for the kernel that was found.

    Returns:
        The bound in nats per row, by evaluation.
    """

    def bound() -> Tensor:
        frozen = machine.frozen()
        return (collapsed_bound(sums_of(frozen, x, y), noise()) - machine.stack.divergence()) / len(x)

    machine.train()
    if schedule.batch_size is None:
        free = [*machine.entry.parameters(), *machine.stack.parameters(), *noise.parameters()]
        path = -minimise(lambda: -bound(), free, schedule.max_iter).path
    else:

        def batch(rows: Tensor) -> Tensor:
            return gaussian_expectation(machine(x[rows]), y[rows], noise()).mean() - machine.divergence() / len(x)

        path = _adam(batch, [*machine.parameters(), *noise.parameters()], len(x), schedule)
    machine.eval()
    with torch.no_grad():
        frozen = machine.frozen()
        sums = sums_of(frozen, x, y)
        load_posterior(machine, best_posterior(sums, noise(), frozen.posterior.inverse))
        last = (collapsed_bound(sums, noise()) - machine.stack.divergence()) / len(x)
    say(f"Bound {float(last):.4f} nats a row after {len(path)} evaluations; noise {noise().item():.3g}.")
    return np.append(path, float(last))


def fit_classes(
    machine: Machine, x: Float[Tensor, "n *shape"], labels: Int64[Tensor, " n"], schedule: Schedule
) -> Float[np.ndarray, " steps"]:
    """Maximise the bound of a softmax likelihood, whose expectation is taken at fixed quasi-random points.

    Returns:
        The bound in nats per row, by evaluation.
    """
    draws = normal_points(DRAWS, machine.output.mu.shape[1], schedule.seed)

    def whole() -> Tensor:
        frozen = machine.frozen()
        expected = partial(_expected, frozen, draws)
        if len(x) <= PORTION:
            total = expected(x, labels)
        else:
            parts = zip(x.split(PORTION), labels.split(PORTION), strict=True)
            total = reduce(add, (checkpoint(expected, *part, use_reentrant=False) for part in parts))
        return (total - machine.divergence()) / len(x)

    machine.train()
    if schedule.batch_size is None:
        found = minimise(lambda: -whole(), machine.parameters(), schedule.max_iter)
        path = -np.append(found.path, found.value)
    else:

        def batch(rows: Tensor) -> Tensor:
            expected = categorical_expectation(machine(x[rows]), labels[rows], draws)
            return expected.mean() - machine.divergence() / len(x)

        path = _adam(batch, machine.parameters(), len(x), schedule)
    machine.eval()
    say(f"Bound {path[-1]:.4f} nats a row after {len(path)} evaluations.")
    return path


def _expected(frozen: Frozen, draws: Tensor, x: Tensor, labels: Tensor) -> Tensor:
    return categorical_expectation(frozen(x), labels, draws).sum()


def load_posterior(machine: Machine, posterior: Posterior) -> None:
    """Set the output's parameters to a posterior in whitened coordinates."""
    with torch.no_grad():
        machine.output.mu.copy_(posterior.mean)
        machine.output.V.copy_(untriangle(posterior.factor))


def _adam(
    batch: Callable[[Tensor], Tensor], parameters: Iterable[nn.Parameter], n: int, schedule: Schedule
) -> np.ndarray:
    assert schedule.batch_size is not None
    free = [p for p in parameters if p.requires_grad]
    optimizer = torch.optim.Adam(free, schedule.learning_rate)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, schedule.max_iter)
    generator = torch.Generator().manual_seed(schedule.seed)
    size = min(schedule.batch_size, n)
    order, path = torch.empty(0, dtype=torch.int64), []
    for _ in track(range(schedule.max_iter), "Training"):
        if len(order) < size:
            order = torch.randperm(n, generator=generator)
        rows, order = order[:size], order[size:]
        value = batch(rows)
        optimizer.zero_grad()
        (-value).backward()
        optimizer.step()
        rate.step()
        path.append(float(value.detach()))
    return np.array(path)
