"""What the scan is compared with: the recurrence as it is defined, one cell or one anti-diagonal after another."""

from __future__ import annotations

import torch
from torch import Tensor

from harmonia.sequences.chimera import selective_scan
from harmonia.sequences.chimera.selective_scan import Coupling, Hold


def random_grid(
    batch: int, variables: int, length: int, channels: int, state: int, seed: int, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    """Inputs, steps, rates, couplings and weights, in the order of `selective_scan_2d`."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype)

    grid, rates, weights = (batch, variables, length), (channels, state), (batch, variables, length, state)
    steps = [torch.nn.functional.softplus(draw(*grid, channels) - 1) for _ in range(2)]
    first, last = (-torch.exp(draw(*rates)) for _ in range(2))
    couplings = [torch.tanh(draw(*rates)) for _ in range(2)]
    return [draw(*grid, channels), *steps, first, *couplings, last, *(draw(*weights) for _ in range(4))]


def coefficients(grid: list[Tensor], coupling: Coupling, hold: Hold) -> tuple[Tensor, ...]:
    """a1 .. a4 and both increments of every cell as defined, ``[batch, variables, time, channels, state]``."""
    x, delta_t, delta_v, A1, A2, A3, A4, B1, B2, _, _ = grid
    along, across, value = delta_t[..., None], delta_v[..., None], x[..., None]
    a1, a4 = torch.exp(along * A1), torch.exp(across * A4)
    if coupling == "stable":
        a2, a3 = A2 * (1 - a1), A3 * (1 - a4)
    else:
        a2, a3 = torch.exp(along * A2), torch.exp(across * A3)
    gain1, gain4 = ((a1 - 1) / A1, (a4 - 1) / A4) if hold == "zoh" else (along, across)
    return a1, a2, a3, a4, gain1 * B1[..., None, :] * value, gain4 * B2[..., None, :] * value


def double_loop(grid: list[Tensor], coupling: Coupling = "stable", hold: Hold = "zoh") -> Tensor:
    """The recurrence one cell after another."""
    a1, a2, a3, a4, x1, x2 = coefficients(grid, coupling, hold)
    zero = torch.zeros_like(x1[:, 0, 0])
    before: list[tuple[Tensor, Tensor]] = [(zero, zero)] * x1.shape[2]
    rows = []
    for v in range(x1.shape[1]):
        left, row = (zero, zero), []
        for t in range(x1.shape[2]):
            h1 = a1[:, v, t] * left[0] + a2[:, v, t] * left[1] + x1[:, v, t]
            h2 = a3[:, v, t] * before[t][0] + a4[:, v, t] * before[t][1] + x2[:, v, t]
            left = (h1, h2)
            row.append(left)
        before = row
        rows.append(row)
    h1, h2 = (torch.stack([torch.stack([each[i] for each in row], 1) for row in rows], 1) for i in (0, 1))
    return (h1 * grid[-2][..., None, :]).sum(-1) + (h2 * grid[-1][..., None, :]).sum(-1)


def wavefront(grid: list[Tensor], coupling: Coupling = "stable", hold: Hold = "zoh") -> Tensor:
    """The recurrence one anti-diagonal after another: a cell needs two cells of the diagonal before, and no others."""
    variables, length = grid[0].shape[1:3]
    weights = (each[..., None, :] for each in grid[-2:])
    diagonals = (_skewed(each).unbind(2) for each in (*coefficients(grid, coupling, hold), *weights))
    h1 = h2 = torch.zeros_like(grid[0][:, :, 0, :, None]) * grid[7][:, :, 0, None]
    found = []
    for a1, a2, a3, a4, x1, x2, c1, c2 in zip(*diagonals):
        above1, above2 = (torch.cat([torch.zeros_like(h[:, :1]), h[:, :-1]], 1) for h in (h1, h2))
        h1, h2 = a1 * h1 + a2 * h2 + x1, a3 * above1 + a4 * above2 + x2
        found.append((h1 * c1 + h2 * c2).sum(-1))
    skewed = torch.stack(found, 2)
    return torch.stack([skewed[:, v, v : v + length] for v in range(variables)], 1)


def _skewed(cells: Tensor) -> Tensor:
    """``[batch, variables, time, ...]`` with row v moved v steps to the right, zeros where nothing is."""
    variables = cells.shape[1]
    rows = []
    for v, row in enumerate(cells.unbind(1)):
        before, after = (row.new_zeros(len(row), count, *row.shape[2:]) for count in (v, variables - 1 - v))
        rows.append(torch.cat([before, row, after], 1))
    return torch.stack(rows, 1)


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).detach().abs().max() / expected.detach().abs().max())


def inner(grid: list[Tensor]) -> list[Tensor]:
    """As the scan keeps it: time and batch last."""
    return [each.T if each.ndim == 2 else each.permute(1, 3, 2, 0).contiguous() for each in grid]


def in_tiles(grid: list[Tensor], hold: Hold = "zoh") -> Tensor:
    """The scan in tiles that run again on the way back, whatever the size."""
    y: Tensor = selective_scan._Tiled.apply("stable", hold, *inner(grid))
    return y.permute(3, 0, 2, 1)
