"""The selective scan in two dimensions: a state space that runs along time and across variables at once.

Two states a cell, h1 along time and h2 across variables, as the method's summaries give them (paper, Section 3)::

    h1[v, t] = a1 h1[v, t-1] + a2 h2[v, t-1] + b1 x[v, t]
    h2[v, t] = a3 h1[v-1, t] + a4 h2[v-1, t] + b2 x[v, t]        y[v, t] = C1 h1[v, t] + C2 h2[v, t]

with steps Delta that depend on the input: ``a1 = exp(Delta_t A1)``, ``a4 = exp(Delta_v A4)``. The paper's couplings
``exp(Delta_t A2)`` and ``exp(Delta_v A3)`` stand near 1 for small steps, beside an a1 and a4 near 1. What is constant
in time then enters the next variable ``a4 + a3 a2 / (1 - a1)`` times: over time the states of a given number of
variables stay bounded, but with that number they grow exponentially. Ours are shares of what the state lets go::

    a2 = alpha2 (1 - a1),   a3 = alpha3 (1 - a4),   |alpha| < 1

so that each state relaxes towards a mixture of the other and the input, and ``|a1| + |a2| <= 1`` whatever the steps.
By induction over cells, with ``D = sup |B x / A|``: ``sup |h| <= D / (1 - max |alpha|)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.checks import check_choice
from harmonia.core.errors import InputError
from harmonia.parts.recurrence import GridRow, GridStates, grid_scan

Coupling = Literal["stable", "paper"]
Hold = Literal["zoh", "euler"]
Outer = Literal["auto", "variables", "time"]

TILE = 1 << 17
"""States of one row that are worked on together: what stays in a processor's cache."""

KEPT = 1 << 22
"""Up to so many states autograd may keep everything; beyond, tiles are run again on the way back."""


@dataclass(frozen=True)
class Cells:
    """What a scan runs on, time and batch innermost: everything that is broadcast then has a long last axis.

    Attributes:
        x: Inputs.
        delta_t, delta_v: Steps along time and across variables.
        A1, A4: Rates along time and across variables, negative.
        A2, A3: Couplings: shares alpha (``stable``), or rates (``paper``).
        B1, B2: Weights of the inputs.
        C1, C2: Weights of the states.
    """

    x: Float[Tensor, "variables channels time batch"]
    delta_t: Float[Tensor, "variables channels time batch"]
    delta_v: Float[Tensor, "variables channels time batch"]
    A1: Float[Tensor, "#state channels"]
    A2: Float[Tensor, "#state channels"]
    A3: Float[Tensor, "#state channels"]
    A4: Float[Tensor, "#state channels"]
    B1: Float[Tensor, "variables state time batch"]
    B2: Float[Tensor, "variables state time batch"]
    C1: Float[Tensor, "variables state time batch"]
    C2: Float[Tensor, "variables state time batch"]

    def tensors(self) -> tuple[Tensor, ...]:
        """All of them, in order."""
        return tuple(vars(self).values())

    def turned(self) -> Cells:
        """The same grid with time and variables, and so the two states, changed over."""
        x, delta_t, delta_v, b1, b2, c1, c2 = (
            each.transpose(0, 2).contiguous()
            for each in (self.x, self.delta_t, self.delta_v, self.B1, self.B2, self.C1, self.C2)
        )
        return Cells(x, delta_v, delta_t, self.A4, self.A3, self.A2, self.A1, b2, b1, c2, c1)

    def tile(self, channels: slice) -> Cells:
        """Some of the channels: they do not know of each other."""
        wide = [each[:, channels] for each in self.tensors()[:7]]
        return Cells(*wide, *self.tensors()[7:])

    def rows(self, coupling: Coupling, hold: Hold) -> Iterator[GridRow]:
        """Coefficients of each variable; states and channels are the batch of the scan, the batch its features."""
        A1, A2, A3, A4 = (each[:, :, None, None] for each in (self.A1, self.A2, self.A3, self.A4))
        cells = (self.x, self.delta_t, self.delta_v, self.B1.unsqueeze(2), self.B2.unsqueeze(2))
        # Unbound at once: taken one by one, each variable's gradient would be as large as that of all.
        for x, along, across, b1, b2 in zip(*(each.unbind() for each in cells)):
            # What the states let go of, 1 - a, is what loses no digits for small steps.
            gone1, gone4 = -torch.expm1(along * A1), -torch.expm1(across * A4)
            if coupling == "stable":
                a2, a3 = A2 * gone1, A3 * gone4
            else:
                a2, a3 = torch.exp(along * A2), torch.exp(across * A3)
            if hold == "zoh":  # (a - 1) / A: exact for inputs that are held between samples
                x1, x2 = gone1 * (-1 / A1) * (x * b1), gone4 * (-1 / A4) * (x * b2)
            else:  # Mamba's simplification of it
                x1, x2 = (along * x) * b1, (across * x) * b2
            yield GridRow(*(each.expand(x1.shape).flatten(0, 1) for each in (1 - gone1, a2, a3, 1 - gone4, x1, x2)))

    def read(self, states: Iterable[GridStates]) -> Float[Tensor, "variables channels time batch"]:
        """What states give, variable by variable."""
        found = []
        for each, c1, c2 in zip(states, self.C1.unsqueeze(2).unbind(), self.C2.unsqueeze(2).unbind()):
            h1, h2 = (h.unflatten(0, (-1, self.x.shape[1])) for h in each)
            found.append(torch.addcmul(h1 * c1, h2, c2).sum(0))
        return torch.stack(found)

    def run(self, coupling: Coupling, hold: Hold) -> Float[Tensor, "variables channels time batch"]:
        """The outputs from rest."""
        return self.read(grid_scan(self.rows(coupling, hold)))


def selective_scan_2d(
    x: Float[Tensor, "batch variables time channels"],
    delta_t: Float[Tensor, "batch variables time channels"],
    delta_v: Float[Tensor, "batch variables time channels"],
    A1: Float[Tensor, "channels #state"],
    A2: Float[Tensor, "channels #state"],
    A3: Float[Tensor, "channels #state"],
    A4: Float[Tensor, "channels #state"],
    B1: Float[Tensor, "batch variables time state"],
    B2: Float[Tensor, "batch variables time state"],
    C1: Float[Tensor, "batch variables time state"],
    C2: Float[Tensor, "batch variables time state"],
    *,
    coupling: Any = "stable",
    hold: Any = "zoh",
    outer: Any = "auto",
) -> Float[Tensor, "batch variables time channels"]:
    """Run a two-dimensional selective state space over a grid of variables and times; see the module.

    The work is proportional to variables times time. The result holds one number a cell and channel, and so does what
    is kept for the gradient: coefficients and states, larger by the size of the state, live tile by tile in a cache.

    Arguments:
        x: Inputs.
        delta_t: Steps along time, not negative; 0 holds the state, so that a missing value changes nothing.
        delta_v: Steps across variables, not negative.
        A1: Rates along time, negative; one for all states where the last axis is 1 (Mamba-2).
        A2: Coupling of h1 to h2: a share in [-1, 1] (``stable``), or a negative rate (``paper``).
        A3: Coupling of h2 to h1, likewise.
        A4: Rates across variables, negative.
        B1, B2: Weights of the input.
        C1, C2: Weights of the states.
        coupling: ``stable``, bounded whatever the steps; ``paper`` can grow exponentially with the variables.
        hold: ``zoh``, exact for inputs held between samples; ``euler``, as Mamba does.
        outer: Which axis is looped over, the other is scanned; the shorter one unless given. The result is the same.

    Raises:
        InputError: an unknown option, an empty grid, rates that are not negative, negative steps, shares above 1, or
            results that are not finite.

    Example:
        >>> cell = torch.ones(1, 2, 3, 1)
        >>> decay, none = torch.tensor([[-1.0]]), torch.tensor([[0.0]])
        >>> y = selective_scan_2d(cell, cell, cell, decay, none, none, decay, cell, cell, cell, 0 * cell)
        >>> y[0, :, :, 0]
        tensor([[0.6321, 0.8647, 0.9502],
                [0.6321, 0.8647, 0.9502]])
    """
    for name, value, kind in (("coupling", coupling, Coupling), ("hold", hold, Hold), ("outer", outer, Outer)):
        check_choice(name, value, kind)
    if 0 in x.shape[1:3]:
        raise InputError("the grid is empty", tuple(x.shape), "Pass a variable and a time at least.")
    if not bool((A1 < 0).all() and (A4 < 0).all()):
        raise InputError("the rates A1 and A4 are negative", "one that is not", "Pass -exp(...).")
    if bool((delta_t < 0).any() or (delta_v < 0).any()):
        raise InputError("steps are not negative", "one that is", "Pass softplus(...).")
    if coupling == "stable" and not bool((A2.abs() <= 1).all() and (A3.abs() <= 1).all()):
        raise InputError("the shares A2 and A3 lie in [-1, 1]", "one that does not", "Pass tanh(...).")
    grid, rates = [x, delta_t, delta_v, B1, B2, C1, C2], [A1.T, A2.T, A3.T, A4.T]
    inner = [each.permute(1, 3, 2, 0).contiguous() for each in grid]
    cells = Cells(*inner[:3], *rates, *inner[3:])
    turn = outer == "time" or (outer == "auto" and x.shape[2] < x.shape[1])
    cells = cells.turned() if turn else cells
    if x.numel() * B1.shape[-1] <= KEPT:
        y = cells.run(coupling, hold)
    else:
        y = _Tiled.apply(coupling, hold, *cells.tensors())
    if not bool(torch.isfinite(y).all()):
        if coupling == "paper" and all(bool(torch.isfinite(each).all()) for each in grid):
            mend = "Use coupling='stable', or fewer variables."
            raise InputError("the coupled recurrence grew beyond all numbers", "coupling='paper'", mend)
        raise InputError("the scan gave no finite numbers", "NaN or infinity", "Pass finite inputs, steps and weights.")
    return (y.transpose(0, 2) if turn else y).permute(3, 0, 2, 1)


class _Tiled(torch.autograd.Function):
    """`Cells.run` tile by tile, keeping only its inputs; each tile runs again on the way back."""

    @staticmethod
    def forward(ctx: Any, coupling: Coupling, hold: Hold, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors)
        ctx.options = coupling, hold
        cells = Cells(*tensors)
        return torch.cat([cells.tile(channels).run(coupling, hold) for channels in _tiles(cells)], 1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        cells = Cells(*ctx.saved_tensors)
        totals = Cells(*(torch.zeros_like(each) for each in cells.tensors()))
        for channels in _tiles(cells):
            tile = Cells(*(each.detach().requires_grad_() for each in cells.tile(channels).tensors()))
            with torch.enable_grad():
                y = tile.run(*ctx.options)
            # Of the couplings to the row above, a single variable uses none.
            found = torch.autograd.grad(y, tile.tensors(), grad[:, channels], materialize_grads=True)
            for total, part in zip(totals.tile(channels).tensors(), found):
                total += part
        return None, None, *totals.tensors()


def _tiles(cells: Cells) -> Iterator[slice]:
    _, channels, time, batch = cells.x.shape
    wide = min(channels, max(1, TILE // (cells.B1.shape[1] * time * batch)))
    for first in range(0, channels, wide):
        yield slice(first, first + wide)
