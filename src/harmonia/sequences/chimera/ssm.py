"""The layer: two-dimensional state spaces, swept over the variables in both orders, with steps chosen by the input."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.core.checks import check_choice, check_whole
from harmonia.core.errors import InputError
from harmonia.parts.recurrence import GridStates, grid_scan
from harmonia.sequences.chimera.impulse import companion, companion_scan, convolve_2d
from harmonia.sequences.chimera.selective_scan import Cells, Coupling, Hold, selective_scan_2d

Transition = Literal["diag", "scalar", "companion"]


class GridState(NamedTuple):
    """Where a sweep stands after some time: both states of every variable, to carry on from."""

    h1: Float[Tensor, "batch variables channels state"]
    h2: Float[Tensor, "batch variables channels state"]


class Sweep(nn.Module):
    """One state space over time and over variables in ascending order.

    Steps and weights are linear in the input, as in Mamba: ``Delta = softplus(W x + b)``, ``B, C = W x``.

    Arguments:
        d_model: Channels.
        d_state: Size of each of the two states.
        step_t: Range of initial steps along time: small ones remember long.
        step_v: Range of initial steps across variables.
        selective: Whether steps and weights depend on the input.
        transition: ``diag`` (2-D Mamba), ``scalar`` (2-D Mamba-2: one rate for all states of a channel), or
            ``companion`` along time (autoregressions; not selective, stable coupling and exact hold only).
        coupling: See `selective_scan_2d`.
        hold: Likewise.
        bounded: Whether steps and weights read ``x / sqrt(1 + mean(x^2))`` instead of x. Outputs then grow like their
            input, no more like its cube, which heads behind one another would raise to the ninth power and beyond.

    Raises:
        InputError: an unknown choice, or a companion matrix with options that it does not have.
    """

    def __init__(
        self,
        d_model: int,
        d_state: int,
        step_t: tuple[float, float] = (1e-3, 1e-1),
        step_v: tuple[float, float] = (1e-1, 1.0),
        *,
        selective: bool = True,
        transition: Any = "diag",
        coupling: Any = "stable",
        hold: Any = "zoh",
        bounded: bool = False,
    ) -> None:
        super().__init__()
        d_model, d_state = check_whole("d_model", d_model), check_whole("d_state", d_state)
        for name, value, kind in (("transition", transition, Transition), ("coupling", coupling, Coupling)):
            check_choice(name, value, kind)
        check_choice("hold", hold, Hold)
        if transition == "companion" and (selective or coupling != "stable" or hold != "zoh"):
            got = f"selective={selective}, coupling={coupling!r}, hold={hold!r}"
            mend = "Use selective=False, coupling='stable', hold='zoh'."
            raise InputError("a companion matrix is constant along time", got, mend)
        self.d_state, self.selective, self.transition = d_state, selective, transition
        self.coupling, self.hold, self.bounded = coupling, hold, bounded
        rates = 1 if transition == "scalar" else d_state
        initial = torch.log(torch.arange(1.0, rates + 1)).repeat(d_model, 1)
        self.A1_log, self.A4_log = (nn.Parameter(initial.clone()) for _ in range(2))
        if transition == "companion":
            self.A1_log = nn.Parameter(torch.zeros(d_model, d_state))  # the last column
        start = 0.3 * torch.randn(2, d_model, rates) if coupling == "stable" else initial.expand(2, -1, -1)
        start = 0 * start if transition == "companion" else start
        self.couple2, self.couple3 = (nn.Parameter(each.clone()) for each in start)
        self.bias_t, self.bias_v = (nn.Parameter(_step_bias(d_model, *each)) for each in (step_t, step_v))
        if selective:
            rank = math.ceil(d_model / 16)
            self.weights = nn.Linear(d_model, 4 * d_state, bias=False)
            self.low = nn.Linear(d_model, 2 * rank, bias=False)
            self.steps_t, self.steps_v = (nn.Linear(rank, d_model, bias=False) for _ in range(2))
        else:
            self.constants = nn.Parameter(torch.randn(4, d_state) / math.sqrt(d_state))

    def forward(
        self,
        x: Float[Tensor, "batch variables time channels"],
        seen: Bool[Tensor, "batch variables time"] | None = None,
    ) -> Float[Tensor, "batch variables time channels"]:
        """The outputs; where a cell was not `seen` its steps are 0, so that its states hold."""
        if not self.selective:
            if seen is not None:
                raise InputError("missing values need steps that vary", "selective=False", "Use a selective layer.")
            return convolve_2d(x, self.kernel(x.shape[1], x.shape[2]))
        return selective_scan_2d(x, *self._cells(x, seen), coupling=self.coupling, hold=self.hold)

    def kernel(self, variables: int, time: int) -> Float[Tensor, "variables time channels"]:
        """The response to an impulse in the first cell; for layers that do not depend on their input.

        Raises:
            InputError: one that does.
        """
        if self.selective:
            raise InputError("a selective layer has no one kernel", "selective=True", "Use selective=False.")
        impulse = self.bias_t.new_zeros(1, variables, time, len(self.bias_t))
        impulse[:, 0, 0] = 1
        if self.transition == "companion":
            return self.run(impulse)[0][0]
        return selective_scan_2d(impulse, *self._cells(impulse, None), coupling=self.coupling, hold=self.hold)[0]

    def run(
        self, x: Float[Tensor, "batch variables time channels"], state: GridState | None = None
    ) -> tuple[Float[Tensor, "batch variables time channels"], GridState]:
        """Outputs from a state on, and the state after them: one time after another, variables by a scan."""
        if self.transition == "companion":
            down, across = self._constant_variables()
            b1, b2, c1, c2 = self.constants
            ones = torch.ones_like(self.couple2)
            y, (h1, h2) = companion_scan(
                x, companion(self.A1_log), torch.tanh(self.couple2), down, across,
                (ones * b1, (1 - across) / torch.exp(self.A4_log) * b2), (c1, c2), state,
            )  # fmt: skip
            return y, GridState(h1, h2)
        inner = (each.permute(1, 3, 2, 0) for each in (x, *self._per_cell(x, None)))
        values, delta_t, delta_v, *weights = inner
        cells = Cells(values, delta_t, delta_v, *(each.T for each in self._rates()), *weights).turned()
        above = None
        if state is not None:
            # In the turned grid h2 comes first; states and channels are its batch, variables its time.
            above = GridStates(*(each.permute(3, 2, 1, 0).flatten(0, 1) for each in (state.h2, state.h1)))
        found = list(grid_scan(cells.rows(self.coupling, self.hold), above))
        y = cells.read(found).permute(3, 2, 0, 1)
        h2, h1 = (each.unflatten(0, (self.d_state, -1)).permute(3, 2, 1, 0) for each in found[-1])
        return y, GridState(h1, h2)

    def _rates(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        couple = torch.tanh if self.coupling == "stable" else lambda log: -torch.exp(log)
        return -torch.exp(self.A1_log), couple(self.couple2), couple(self.couple3), -torch.exp(self.A4_log)

    def _constant_variables(self) -> tuple[Tensor, Tensor]:
        across = torch.exp(-F.softplus(self.bias_v)[:, None] * torch.exp(self.A4_log))
        return torch.tanh(self.couple3) * (1 - across), across

    def _per_cell(self, x: Tensor, seen: Tensor | None) -> tuple[Tensor, ...]:
        """Steps along time and across variables, and the four weights, of every cell."""
        if self.selective:
            if self.bounded:
                x = x * torch.rsqrt(1 + x.square().mean(-1, keepdim=True))
            low_t, low_v = self.low(x).chunk(2, -1)
            delta_t = F.softplus(self.steps_t(low_t) + self.bias_t)
            delta_v = F.softplus(self.steps_v(low_v) + self.bias_v)
            weights = self.weights(x).chunk(4, -1)
        else:
            delta_t, delta_v = (F.softplus(each).expand(x.shape) for each in (self.bias_t, self.bias_v))
            weights = tuple(each.expand(*x.shape[:3], -1) for each in self.constants)
        if seen is not None:
            delta_t, delta_v = delta_t * seen.unsqueeze(-1), delta_v * seen.unsqueeze(-1)
        return delta_t, delta_v, *weights

    def _cells(self, x: Tensor, seen: Tensor | None) -> tuple[Tensor, ...]:
        delta_t, delta_v, *weights = self._per_cell(x, seen)
        return delta_t, delta_v, *self._rates(), *weights


class SSM2d(nn.Module):
    """Two-dimensional state space layer: a `Sweep` over the variables upwards, one downwards, and a direct term.

    Time stays causal; variables have no order of their own, so both are taken, with parameters of their own.

    Arguments:
        d_model: Channels.
        d_state: Size of each state.
        bidirectional: Whether to sweep in both orders.
        options: Those of `Sweep`.

    Example:
        >>> layer = SSM2d(4, 8)
        >>> layer(torch.randn(2, 3, 10, 4)).shape
        torch.Size([2, 3, 10, 4])
    """

    def __init__(self, d_model: int, d_state: int = 16, bidirectional: bool = True, **options: object) -> None:
        super().__init__()
        self.upward = Sweep(d_model, d_state, **options)  # type: ignore[arg-type]
        self.downward = Sweep(d_model, d_state, **options) if bidirectional else None  # type: ignore[arg-type]
        self.D = nn.Parameter(torch.ones(d_model))

    def forward(
        self,
        x: Float[Tensor, "batch variables time channels"],
        seen: Bool[Tensor, "batch variables time"] | None = None,
    ) -> Float[Tensor, "batch variables time channels"]:
        """Outputs of all cells; the direct term is counted once."""
        y = self.upward(x, seen) + self.D * (x if seen is None else x * seen.unsqueeze(-1))
        if self.downward is not None:
            y = y + self.downward(x.flip(1), None if seen is None else seen.flip(1)).flip(1)
        return y

    def run(
        self, x: Float[Tensor, "batch variables time channels"], state: tuple[GridState, ...] | None = None
    ) -> tuple[Float[Tensor, "batch variables time channels"], tuple[GridState, ...]]:
        """Outputs from a state on, and the state after them, of ``variables x channels x state`` numbers a sweep."""
        y, first = self.upward.run(x, None if state is None else state[0])
        y = y + self.D * x
        if self.downward is None:
            return y, (first,)
        other, second = self.downward.run(x.flip(1), None if state is None else state[1])
        return y + other.flip(1), (first, second)


def _step_bias(channels: int, low: float, high: float) -> Tensor:
    """What softplus maps to steps drawn log-uniformly from a range."""
    step = torch.exp(torch.empty(channels).uniform_(math.log(low), math.log(high)))
    return step + torch.log(-torch.expm1(-step))
