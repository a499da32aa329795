"""Linear recurrences on a grid: one state travels along time, one across rows, and each drives the other.

::

    h1[v, t] = a1 h1[v, t-1] + a2 h2[v, t-1] + x1[v, t]
    h2[v, t] = a3 h1[v-1, t] + a4 h2[v-1, t] + x2[v, t]

zero outside of the grid, every coefficient free to change from cell to cell. The second line needs nothing but the row
above, at the same time: given that row, h2 is elementwise, and h1 is one scan along time. So a grid of V rows takes V
scans, not V T cells one after another nor V + T diagonals, with exactly the same result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.parts.recurrence.scan import linear_scan


class GridRow(NamedTuple):
    """Coefficients and increments of one row; axes of size one are broadcast.

    Attributes:
        along: a1, from h1 one step earlier.
        into: a2, from h2 one step earlier.
        down: a3, from h1 one row above.
        across: a4, from h2 one row above.
        x1: What is added to h1.
        x2: What is added to h2.
    """

    along: Float[Tensor, "#batch #time *#features"]
    into: Float[Tensor, "#batch #time *#features"]
    down: Float[Tensor, "#batch #time *#features"]
    across: Float[Tensor, "#batch #time *#features"]
    x1: Float[Tensor, "batch time *features"]
    x2: Float[Tensor, "batch time *features"]


class GridStates(NamedTuple):
    """The two states of one row.

    Attributes:
        h1: The state that travels along time.
        h2: The state that travels across rows.
    """

    h1: Float[Tensor, "batch time *features"]
    h2: Float[Tensor, "batch time *features"]


def grid_scan(rows: Iterable[GridRow], above: GridStates | None = None) -> Iterator[GridStates]:
    """The states of each row, in order; a row is read when its turn comes, so that no more than one need exist.

    Arguments:
        rows: Coefficients and increments.
        above: The states of the row before the first, to carry on from; zero unless given.

    Example:
        >>> half, one = torch.full((1, 1), 0.5), torch.ones(1, 1)
        >>> impulse, nothing = torch.tensor([[1.0, 0.0, 0.0]]), torch.zeros(1, 3)
        >>> first, second = grid_scan([GridRow(half, one, one, half, x1, nothing) for x1 in (impulse, nothing)])
        >>> first.h1, second.h2, second.h1
        (tensor([[1.0000, 0.5000, 0.2500]]), tensor([[1.0000, 0.5000, 0.2500]]), tensor([[0., 1., 1.]]))
    """
    for row in rows:
        h2 = row.x2 if above is None else torch.addcmul(torch.addcmul(row.x2, row.down, above.h1), row.across, above.h2)
        earlier = torch.cat([torch.zeros_like(h2[:, :1]), h2[:, :-1]], 1)
        above = GridStates(linear_scan(row.along, torch.addcmul(row.x1, row.into, earlier)), h2)
        yield above
