"""What the scan costs as either axis grows: processor time, so that other work on the machine does not show."""

from __future__ import annotations

import time

import numpy as np

from harmonia.core.claim import Measured, claim
from harmonia.sequences.chimera.claims.grids import in_tiles, random_grid


def slope(sizes: list[int], seconds: list[float]) -> float:
    """Exponent of a power law."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


@claim(
    "The cost is linear in time: exponent over T = 256 .. 4096, forwards and backwards",
    place="efficiency experiment: training time grows linearly",
    unit="distance of the exponent from 1",
    better="lower",
    tier="full",
    gate=0.1,
)
def linear_in_time(seed: int) -> Measured:
    sizes = [256, 512, 1024, 2048, 4096]
    found = slope(sizes, [_seconds(7, size, seed) for size in sizes])
    return Measured(abs(found - 1), note=f"exponent {found:.3f}; 7 variables, 16 channels, state 8, batch 4")


@claim(
    "The cost is linear in variables: exponent over V = 8 .. 128, forwards and backwards",
    place="abstract: linear in both axes",
    unit="distance of the exponent from 1",
    better="lower",
    tier="full",
    gate=0.1,
)
def linear_in_variables(seed: int) -> Measured:
    sizes = [8, 16, 32, 64, 128]
    found = slope(sizes, [_seconds(size, 256, seed) for size in sizes])
    return Measured(abs(found - 1), note=f"exponent {found:.3f}; 256 steps, 16 channels, state 8, batch 4")


def _seconds(variables: int, length: int, seed: int) -> float:
    """Processor time of one scan, forwards and backwards, the best of three; tiled whatever the size."""
    grid = [each.requires_grad_() for each in random_grid(4, variables, length, 16, 8, seed)]
    best = np.inf
    for _ in range(3):
        start = time.process_time()
        in_tiles(grid).sum().backward()
        best = min(best, time.process_time() - start)
    return best
