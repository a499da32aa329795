"""Recurrences on a grid against one cell after another, in pieces, and backwards."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia.parts.recurrence import GridRow, grid_scan


def coefficients(rows: int, batch: int, time: int, features: int, seed: int = 0) -> list[GridRow]:
    generator = torch.Generator().manual_seed(seed)
    shape = (rows, 6, batch, time, features)
    drawn = 0.5 * torch.randn(shape, generator=generator, dtype=torch.float64)
    return [GridRow(*row) for row in drawn]


def cell_by_cell(rows: list[GridRow]) -> tuple[torch.Tensor, torch.Tensor]:
    """The definition: every cell from its two neighbours."""
    zero = torch.zeros_like(rows[0].x1[:, 0])
    h1: dict[tuple[int, int], torch.Tensor] = {}
    h2: dict[tuple[int, int], torch.Tensor] = {}
    for v, row in enumerate(rows):
        for t in range(row.x1.shape[1]):
            before, above = (v, t - 1), (v - 1, t)
            h1[v, t] = row.along[:, t] * h1.get(before, zero) + row.into[:, t] * h2.get(before, zero) + row.x1[:, t]
            h2[v, t] = row.down[:, t] * h1.get(above, zero) + row.across[:, t] * h2.get(above, zero) + row.x2[:, t]
    count, length = len(rows), rows[0].x1.shape[1]
    return tuple(  # type: ignore[return-value]
        torch.stack([torch.stack([h[v, t] for t in range(length)], 1) for v in range(count)]) for h in (h1, h2)
    )


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 5), st.integers(1, 3), st.integers(1, 12), st.integers(0, 99))
def test_rows_are_the_cells(rows, batch, time, seed):
    given_rows = coefficients(rows, batch, time, 2, seed)
    found = list(grid_scan(given_rows))
    h1, h2 = cell_by_cell(given_rows)
    torch.testing.assert_close(torch.stack([each.h1 for each in found]), h1)
    torch.testing.assert_close(torch.stack([each.h2 for each in found]), h2)


@pytest.mark.parametrize("cut", [1, 2, 4])
def test_pieces_hand_their_states_on(cut):
    rows = coefficients(5, 2, 6, 2)
    whole = list(grid_scan(rows))
    head = list(grid_scan(rows[:cut]))
    for expected, found in zip(whole, [*head, *grid_scan(rows[cut:], head[-1])], strict=True):
        torch.testing.assert_close(found.h1, expected.h1)
        torch.testing.assert_close(found.h2, expected.h2)


def test_axes_may_swap_their_roles():
    """Time as rows: the states change names, and with them the coefficients."""
    drawn = torch.stack([torch.stack(list(row)) for row in coefficients(4, 1, 6, 2)], 1)  # (6, rows, 1, time, features)
    upright = list(grid_scan(GridRow(*drawn[:, v]) for v in range(4)))
    a1, a2, a3, a4, x1, x2 = drawn.transpose(1, 3)
    turned = list(grid_scan(GridRow(*(each[t] for each in (a4, a3, a2, a1, x2, x1))) for t in range(6)))
    h1 = torch.stack([each.h1 for each in upright])
    torch.testing.assert_close(torch.stack([each.h2 for each in turned]).transpose(0, 2), h1)


def test_gradients():
    drawn = torch.stack([torch.stack(list(row)) for row in coefficients(3, 1, 5, 2)]).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: torch.cat([torch.cat(list(each)) for each in grid_scan(GridRow(*row) for row in x)]), (drawn,)
    )
