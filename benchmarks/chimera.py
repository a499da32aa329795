"""Chimera's scan beside what one would write instead: the double loop, the wavefront, and mambapy for one variable."""

from harmonia.app.bench import Race


def step_of(scan, shape):
    """Forwards and backwards; gives the gradient of the inputs."""
    import torch

    from harmonia.sequences.chimera.claims.grids import random_grid

    grid = [each.requires_grad_() for each in random_grid(*shape, seed=0)]
    target = torch.randn(grid[0].shape, generator=torch.Generator().manual_seed(1))

    def step():
        return torch.autograd.grad(scan(grid), grid, target)[0].numpy()

    return step


def ours(shape):
    from harmonia.sequences.chimera import selective_scan_2d

    return step_of(lambda grid: selective_scan_2d(*grid), shape)


def double_loop(shape):
    from harmonia.sequences.chimera.claims.grids import double_loop

    return step_of(double_loop, shape)


def wavefront(shape):
    from harmonia.sequences.chimera.claims.grids import wavefront

    return step_of(wavefront, shape)


def our_one_variable(shape):
    """Mamba's scan as a grid of one row, with nothing across."""
    import torch

    from harmonia.sequences.chimera import selective_scan_2d

    def scan(grid):
        x, delta, other, a1, _, _, a4, b1, b2, c1, c2 = grid
        none = torch.zeros_like(a1)
        y = selective_scan_2d(x, delta, other, a1, none, none, a4, b1, b2, c1, 0 * c2, hold="euler")
        return y + sum(0 * each.sum() for each in grid)  # all are asked for their gradient

    return step_of(scan, shape)


def mambapy_one_variable(shape):
    from mambapy.pscan import pscan
    from torch import exp

    def scan(grid):
        x, delta, b, c = (grid[i][:, 0] for i in (0, 1, 7, 9))
        inputs = delta[..., None] * b[:, :, None] * x[..., None]
        states = pscan(exp(delta[..., None] * grid[3]), inputs)
        y = (states @ c.unsqueeze(-1)).squeeze(-1)[:, None]
        return y + sum(0 * each.sum() for each in grid)

    return step_of(scan, shape)


LOOPS = "the peer is torch's plain operations, coefficients materialised; see claims/grids.py"

RACES = (
    Race(
        "torch",
        "2-D scan beside the double loop, batch 2, 8 variables, 128 steps, 16 channels, state 8, with gradient",
        ours,
        double_loop,
        {"shape": [2, 8, 128, 16, 8]},
        tolerance=1e-4,
        repeats=3,
        note=LOOPS,
    ),
    Race(
        "torch",
        "2-D scan beside the wavefront, batch 8, 21 variables, 512 steps, 32 channels, state 16, with gradient",
        ours,
        wavefront,
        {"shape": [8, 21, 512, 32, 16]},
        tolerance=1e-4,
        repeats=2,
        note=LOOPS,
    ),
    Race(
        "mambapy",
        "one variable, batch 4, 2,048 steps, 64 channels, state 16, with gradient",
        our_one_variable,
        mambapy_one_variable,
        {"shape": [4, 1, 2048, 64, 16]},
        tolerance=1e-4,
        note="ours computes the second, uncoupled state as well",
    ),
)
