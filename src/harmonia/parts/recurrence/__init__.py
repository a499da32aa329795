"""Diagonal linear recurrences ``s_t = a_t s_{t-1} + x_t``: one engine for every way of running them.

What does not change over time runs as a `DiagonalSystem`: as a long convolution (`diagonal_kernel`, `fft_convolve`),
as a recurrence (`DiagonalSystem.step`), or in pieces that hand their state on (`DiagonalSystem.run`). What does change
over time, selective state spaces and irregular sampling, runs as a `linear_scan`, and two states that drive each other
along two axes as a `grid_scan`. All of them agree to rounding, with gradients, real or complex, on any device, in plain
torch.
"""

from harmonia.parts.recurrence.convolution import fft_convolve
from harmonia.parts.recurrence.discretization import bilinear, expm1_ratio, zero_order_hold
from harmonia.parts.recurrence.grid import GridRow, GridStates, grid_scan
from harmonia.parts.recurrence.kernel import accumulate, diagonal_kernel
from harmonia.parts.recurrence.scan import linear_scan
from harmonia.parts.recurrence.system import DiagonalSystem

__all__ = [
    "DiagonalSystem",
    "GridRow",
    "GridStates",
    "accumulate",
    "bilinear",
    "diagonal_kernel",
    "expm1_ratio",
    "fft_convolve",
    "grid_scan",
    "linear_scan",
    "zero_order_hold",
]
