"""Identities: ways to run the same recurrence, causality, symmetry, and the bound of the stable coupling."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from harmonia.core.claim import Measured, claim
from harmonia.sequences.chimera.claims.grids import (
    coefficients,
    double_loop,
    in_tiles,
    random_grid,
    relative,
    wavefront,
)
from harmonia.sequences.chimera.selective_scan import selective_scan_2d
from harmonia.sequences.chimera.ssm import SSM2d


@claim(
    "The row scan is the double loop is the wavefront (float32)",
    place="the parallel 2-D scan, Sec. 3 as summarised",
    unit="relative",
    better="zero",
    tier="quick",
    tolerance=1e-5,
)
def ways_to_scan(seed: int) -> Measured:
    """Both axes as the outer one, in tiles and without, stable coupling and Mamba's hold."""
    worst = 0.0
    for hold in ("zoh", "euler"):
        grid = random_grid(2, 5, 17, 4, 3, seed)
        expected = double_loop(grid, hold=hold)
        found = [wavefront(grid, hold=hold), in_tiles(grid, hold)]
        found += [selective_scan_2d(*grid, hold=hold, outer=outer) for outer in ("variables", "time")]
        worst = max(worst, *(relative(each, expected) for each in found))
    return Measured(worst)


@claim(
    "Gradients of the row scan in tiles are those of the double loop (float32)",
    place="the parallel 2-D scan, Sec. 3 as summarised",
    unit="relative",
    better="zero",
    tier="quick",
    tolerance=1e-4,
)
def gradients(seed: int) -> Measured:
    grid = [each.requires_grad_() for each in random_grid(2, 4, 11, 4, 3, seed)]
    target = torch.randn(grid[0].shape, generator=torch.Generator().manual_seed(seed))
    expected = torch.autograd.grad(double_loop(grid), grid, target)
    found = torch.autograd.grad(in_tiles(grid), grid, target)
    return Measured(max(relative(a, b) for a, b in zip(found, expected)))


@claim(
    "Layers that do not depend on their input: scan, convolution and Taylor coefficients agree",
    place="Sec. 3: 2-D SSMs as convolutions",
    unit="relative",
    better="zero",
    tier="quick",
    tolerance=1e-10,
)
def kernels(seed: int) -> Measured:
    """H1 (1 - a1 z) = b1 + a2 z H2, H2 (1 - a4 w) = b2 + a3 w H1: power series in z and w, by long division."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = SSM2d(3, 2, bidirectional=False, selective=False, step_t=(0.1, 1.0)).double()
        x = torch.randn(2, 4, 9, 3, dtype=torch.float64)
    with torch.no_grad():
        convolved = layer(x)
        scanned, _ = layer.run(x)
        kernel = layer.upward.kernel(4, 9)
        series = _taylor(layer, 4, 9)
    return Measured(max(relative(scanned, convolved), relative(kernel, series)))


def _taylor(layer: SSM2d, variables: int, length: int) -> Tensor:
    """``K = C1 H1 + C2 H2`` with ``H1 = (b1 (1 - a4 w) + a2 z b2) / ((1 - a1 z)(1 - a4 w) - a2 a3 z w)``."""
    sweep = layer.upward
    one = torch.ones(1, 1, 1, 3, dtype=torch.float64)
    grid = [one, *sweep._cells(one, None)]
    a1, a2, a3, a4, b1, b2 = (each[0, 0, 0].numpy() for each in coefficients(grid, "stable", "zoh"))
    c1, c2 = (each[0, 0, 0].numpy() for each in grid[-2:])
    total = np.zeros((variables, length, 3))
    for e, n in np.ndindex(*a1.shape):
        p, q, r, s = a1[e, n], a2[e, n], a3[e, n], a4[e, n]
        above = {1: (b1[e, n], -b1[e, n] * s, q * b2[e, n]), 2: (b2[e, n], r * b1[e, n], -b2[e, n] * p)}
        for which, weight in ((1, c1[n]), (2, c2[n])):
            constant, w, z = above[which]
            numerator = np.zeros((variables, length))
            numerator[0, 0], numerator[1, 0], numerator[0, 1] = constant, w, z
            h = np.zeros((variables + 1, length + 1))  # a border of zeros in front
            for i, j in np.ndindex(variables, length):
                # The denominator is 1 - p z - s w + (p s - q r) z w.
                h[i + 1, j + 1] = numerator[i, j] + p * h[i + 1, j] + s * h[i, j + 1] - (p * s - q * r) * h[i, j]
            total[:, :, e] += weight * h[1:, 1:]
    return torch.from_numpy(total)


@claim(
    "Time is causal: later inputs change no earlier output",
    place="Sec. 3: causal along time",
    unit="max abs",
    better="zero",
    tier="quick",
    tolerance=0.0,
)
def causal(seed: int) -> Measured:
    layer, x = _layer(seed)
    other = x.clone()
    other[:, :, 8:] = torch.randn_like(other[:, :, 8:])
    with torch.no_grad():
        return Measured(float((layer(x) - layer(other))[:, :, :8].abs().max()))


@claim(
    "Variables in reverse with both sweeps swapped: the outputs in reverse, nothing else",
    place="Sec. 3: bidirectional along variates",
    unit="relative",
    better="zero",
    tier="quick",
    tolerance=1e-6,
)
def reversed_variables(seed: int) -> Measured:
    layer, x = _layer(seed)
    with torch.no_grad():
        expected = layer(x)
        layer.upward, layer.downward = layer.downward, layer.upward  # type: ignore[assignment]
        return Measured(relative(layer(x.flip(1)).flip(1), expected))


def _layer(seed: int) -> tuple[SSM2d, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SSM2d(4, 6), torch.randn(2, 5, 16, 4)


@claim(
    "Stable coupling keeps the state below its bound; the paper's grows exponentially with the number of variables",
    place="bound of ours; the paper's discretisation as summarised",
    unit="largest state over the bound",
    better="lower",
    tier="quick",
    gate=1.0,
)
def bounded(seed: int) -> Measured:
    """sup |h| <= D / (1 - max |alpha|), D = sup |B x / A|: 3 variables in 10,000 steps, and 100 variables in 300."""
    ratio = max(_over_bound(variables, length, seed) for variables, length in ((3, 10_000), (100, 300)))
    reached = [f"{_papers_peak(variables, 300, seed):.0e} with {variables}" for variables in (3, 30, 100)]
    note = f"in 300 steps the paper's coupling reaches {', '.join(reached)} variables"
    return Measured(ratio, note=note)


def _over_bound(variables: int, length: int, seed: int) -> float:
    """The largest state of ours over its bound, for random parameters, steps and inputs of +-1."""
    grid = random_grid(1, variables, length, 2, 2, seed)
    grid[0] = torch.sign(grid[0])
    grid[7:9] = [torch.sign(each) for each in grid[7:9]]
    alpha = float(torch.stack(grid[4:6]).abs().max())
    drive = float(1 / torch.stack([grid[3], grid[6]]).abs().min())
    peak = 0.0
    for state in range(2):  # reading one state at a time shows it as it is
        for reads in ((1, 0), (0, 1)):
            chosen = torch.zeros_like(grid[9])
            chosen[..., state] = 1
            y = selective_scan_2d(*[*grid[:9], reads[0] * chosen, reads[1] * chosen])
            peak = max(peak, float(y.abs().max()))
    return peak * (1 - alpha) / drive


def _papers_peak(variables: int, length: int, seed: int) -> float:
    """The largest output with the paper's coupling; float64, which it does not leave."""
    grid = [each.double() for each in random_grid(1, variables, length, 2, 2, seed)]
    rates = [-torch.exp(each) for each in grid[4:6]]
    return float(selective_scan_2d(*[*grid[:4], *rates, *grid[6:]], coupling="paper").abs().max())
