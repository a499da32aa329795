"""The network: blocks of a trend head and a seasonal head, gated, and what is read from them.

A block takes the stream x of every variable, time and channel to::

    z = SiLU(W_z norm(x)),   u = SiLU(conv_time(W_u x)),   trend = SSM_slow(u),   season = SSM_fast(u - P trend)
    x <- x + W_o (trend * z) + W_o (sigmoid(W_g u) * season * z)

(paper, Section 3 by its summaries; layout ours). Only the gate sees the normalised stream: the channels of a single
value differ by constants, and normalising over them would take away how large the value is. The two additions are kept
apart all the way: a forecast is exactly a linear part of the window, plus what the trend heads add, plus what the
seasonal heads add.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from huggingface_hub import PyTorchModelHubMixin
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.core.checks import check_choice, check_whole
from harmonia.core.configuration import config_of
from harmonia.core.errors import InputError
from harmonia.parts.attention import RMSNorm
from harmonia.sequences.chimera.selective_scan import Coupling
from harmonia.sequences.chimera.ssm import GridState, SSM2d, Transition

SLOW, FAST = (1e-3, 1e-1), (1e-2, 1.0)
"""Initial steps along time of the trend and the seasonal head: small steps remember long."""


@dataclass(frozen=True)
class ChimeraConfig:
    """Shape of the network.

    Attributes:
        d_model: Channels E.
        d_state: Size N of each of the two states.
        n_layers: Blocks.
        patch: Values that make one step of the grid; longer patches make long windows cheap.
        conv: Steps of the causal convolution before the heads.
        dropout: Probability.
        bidirectional: Whether to sweep over variables in both orders.
        selective: Whether steps and weights depend on the input.
        transition: ``diag``, ``scalar`` or ``companion``.
        coupling: ``stable`` or ``paper``; the stable one also bounds what steps and weights read, see `Sweep`.
        seasonal: Whether there is a seasonal head beside the trend head.
        coupled: Whether variables know of each other; without, every variable is a series by itself.
        horizon: Values a forecast has; 0 without one.
        lookback: Values of a window that is forecast from.
        recent: Last steps of the grid that a forecast is read from.
        classes: Classes; 0 without.
        variates: Variables that the network tells apart, by a learned embedding each and weights of their own in the
            class; 0: any number of them, and which is which shows in their values and neighbours alone.

    Raises:
        InputError: sizes that are not positive, unknown choices, or a window that is no whole number of patches.
    """

    d_model: int = 64
    d_state: int = 16
    n_layers: int = 2
    patch: int = 1
    conv: int = 4
    dropout: float = 0.1
    bidirectional: bool = True
    selective: bool = True
    transition: Any = "diag"
    coupling: Any = "stable"
    seasonal: bool = True
    coupled: bool = True
    horizon: int = 0
    lookback: int = 0
    recent: int = 8
    classes: int = 0
    variates: int = 0

    def __post_init__(self) -> None:
        for name in ("d_model", "d_state", "n_layers", "patch", "conv", "recent"):
            object.__setattr__(self, name, check_whole(name, getattr(self, name)))
        for name in ("horizon", "lookback", "classes", "variates"):
            object.__setattr__(self, name, check_whole(name, getattr(self, name), 0))
        check_choice("transition", self.transition, Transition)
        check_choice("coupling", self.coupling, Coupling)
        if not 0 <= self.dropout < 1:
            raise InputError("'dropout' is a probability below 1", self.dropout, "Give e.g. 0.1.")
        if self.horizon and (self.lookback < self.patch or self.lookback % self.patch):
            got = f"lookback={self.lookback}, patch={self.patch}"
            below = self.lookback // self.patch * self.patch
            near = " or ".join(str(each) for each in (below, below + self.patch) if each)
            raise InputError("a window is a whole number of patches", got, f"Use lookback={near}, or another patch.")

    @classmethod
    def of(cls, described: ChimeraConfig | Mapping[str, Any]) -> ChimeraConfig:
        """A config from itself or from its fields; see `config_of`."""
        return config_of(cls, described)


class Streams(NamedTuple):
    """What flows through the network, by where it came from; the stream is their sum.

    Attributes:
        start: The embedded values.
        trend: What all trend heads added.
        season: What all seasonal heads added.
    """

    start: Float[Tensor, "batch variables steps channels"]
    trend: Float[Tensor, "batch variables steps channels"]
    season: Float[Tensor, "batch variables steps channels"]

    def total(self) -> Float[Tensor, "batch variables steps channels"]:
        """Their sum."""
        return self.start + self.trend + self.season


class BlockState(NamedTuple):
    """Where a block stands after some time.

    Attributes:
        recent: The last inputs of its convolution.
        heads: The states of its heads.
    """

    recent: Float[Tensor, "rows channels steps"]
    heads: tuple[tuple[GridState, ...], ...]


class ChimeraBlock(nn.Module):
    """One block; see the module for its equations.

    Example:
        >>> block = ChimeraBlock(ChimeraConfig(d_model=8, d_state=4))
        >>> trend, season = block(torch.randn(2, 3, 10, 8))
        >>> trend.shape
        torch.Size([2, 3, 10, 8])
    """

    def __init__(self, config: ChimeraConfig) -> None:
        super().__init__()
        width = config.d_model
        self.norm = RMSNorm(width)
        self.input, self.input_gate = nn.Linear(width, width), nn.Linear(width, width)
        self.conv = nn.Conv1d(width, width, config.conv, groups=width)
        options: dict[str, Any] = {
            "bidirectional": config.bidirectional and config.coupled,
            "selective": config.selective,
            "transition": config.transition,
            "coupling": config.coupling,
            "bounded": config.coupling == "stable",
        }
        self.trend = SSM2d(width, config.d_state, step_t=SLOW, **options)
        self.season = SSM2d(width, config.d_state, step_t=FAST, **options) if config.seasonal else None
        if config.seasonal:
            self.detrend, self.gate = nn.Linear(width, width, bias=False), nn.Linear(width, width)
        self.output = nn.Linear(width, width, bias=False)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Float[Tensor, "batch variables steps channels"],
        seen: Bool[Tensor, "batch variables steps"] | None = None,
    ) -> tuple[Float[Tensor, "batch variables steps channels"], Float[Tensor, "batch variables steps channels"]]:
        """What the trend head and the seasonal head add to the stream."""
        gate = self.input_gate(self.norm(x))
        u = self._convolved(F.pad(_rows(self.input(x)), (self.conv.kernel_size[0] - 1, 0)), x.shape[1])
        trend = self.trend(u, seen)
        season = None if self.season is None else self.season(u - self.detrend(trend), seen)
        return self._fused(gate, u, trend, season)

    def run(
        self, x: Float[Tensor, "batch variables steps channels"], state: BlockState | None
    ) -> tuple[tuple[Tensor, Tensor], BlockState]:
        """As `forward`, from a state on; and the state after it."""
        gate = self.input_gate(self.norm(x))
        rows, reach = _rows(self.input(x)), self.conv.kernel_size[0] - 1
        rows = F.pad(rows, (reach, 0)) if state is None else torch.cat([state.recent, rows], -1)
        u = self._convolved(rows, x.shape[1])
        trend, first = self.trend.run(u, None if state is None else state.heads[0])
        season, heads = None, [first]
        if self.season is not None:
            season, second = self.season.run(u - self.detrend(trend), None if state is None else state.heads[1])
            heads.append(second)
        return self._fused(gate, u, trend, season), BlockState(rows[..., rows.shape[-1] - reach :], tuple(heads))

    def _convolved(self, rows: Tensor, variables: int) -> Tensor:
        return F.silu(self.conv(rows)).transpose(1, 2).unflatten(0, (-1, variables))

    def _fused(self, gate: Tensor, u: Tensor, trend: Tensor, season: Tensor | None) -> tuple[Tensor, Tensor]:
        z = self.dropout(F.silu(gate))
        slow = self.output(trend * z)
        if season is None:
            return slow, torch.zeros_like(slow)
        return slow, self.output(torch.sigmoid(self.gate(u)) * season * z)


class ChimeraModel(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="harmonia",
    tags=["state-space-model", "time-series"],
    paper_url="https://arxiv.org/abs/2406.04320",
):
    """Embedding, blocks, and the heads that read forecasts, next values and classes.

    Arguments:
        config: A `ChimeraConfig`, or a mapping of its fields.

    Example:
        >>> model = ChimeraModel(ChimeraConfig(d_model=8, d_state=4, horizon=6, lookback=24, classes=3))
        >>> window = torch.randn(2, 24, 5)
        >>> model.forecast(window).shape, model.classify(window).shape, model.following(window).shape
        (torch.Size([2, 6, 5]), torch.Size([2, 3]), torch.Size([2, 24, 5]))
    """

    def __init__(self, config: ChimeraConfig | Mapping[str, Any]) -> None:
        super().__init__()
        self.config = config = ChimeraConfig.of(config)
        self.embed = nn.Linear(config.patch, config.d_model)
        if config.variates:  # a bias of each variable's own, which starts where that of all does
            bound = config.patch**-0.5
            self.variate = nn.Parameter(torch.empty(config.variates, 1, config.d_model).uniform_(-bound, bound))
        self.blocks = nn.ModuleList(ChimeraBlock(config) for _ in range(config.n_layers))
        self.next = nn.Linear(config.d_model, config.patch)
        if config.horizon:
            self.linear = nn.Linear(config.lookback, config.horizon)
            self.recent = min(config.recent, config.lookback // config.patch)
            self.ahead = nn.Linear(self.recent * config.d_model, config.horizon, bias=False)
            self.gains: Tensor
            self.register_buffer("gains", torch.ones(2))
        if config.classes:
            self.attend = None if config.variates else nn.Linear(config.d_model, 1)
            self.decide = nn.Linear(max(1, config.variates) * config.d_model, config.classes)

    # ------------------------------------------------------------------------------------------------- the stream

    def streams(
        self, window: Float[Tensor, "batch time variables"], seen: Bool[Tensor, "batch time variables"] | None = None
    ) -> Streams:
        """Run all blocks over a window whose length is a whole number of patches.

        Arguments:
            window: Values, normalised; zeros where they were not seen.
            seen: Which were; a step of the grid counts as seen where any of its values was.
        """
        start = self._embedded(window)
        cells = None if seen is None else self._patches(seen).any(-1)
        if not self.config.coupled:  # every variable is a grid of one row
            start = start.flatten(0, 1).unsqueeze(1)
            cells = None if cells is None else cells.flatten(0, 1).unsqueeze(1)
        trend, season = torch.zeros_like(start), torch.zeros_like(start)
        for block in self.blocks:
            slow, fast = block(start + trend + season, cells)
            trend, season = trend + slow, season + fast
        found = (start, trend, season)
        return Streams(
            *(each if self.config.coupled else each.view(len(window), -1, *each.shape[2:]) for each in found)
        )

    def _embedded(self, window: Tensor) -> Tensor:
        stream: Tensor = self.embed(self._patches(window))
        if not self.config.variates:
            return stream
        if stream.shape[1] != self.config.variates:
            mend = "Pass these, or use a network without variates."
            raise InputError(f"the network knows {self.config.variates} variables", stream.shape[1], mend)
        return stream + self.variate

    def _patches(self, window: Tensor) -> Tensor:
        return window.transpose(1, 2).unflatten(-1, (-1, self.config.patch))

    # -------------------------------------------------------------------------------------------------- readings

    def forecast(
        self, window: Float[Tensor, "batch time variables"], seen: Bool[Tensor, "batch time variables"] | None = None
    ) -> Float[Tensor, "batch horizon variables"]:
        """All values of the horizon at once: the sum of `parts`."""
        return torch.stack(self.parts(window, self.streams(window, seen))).sum(0)

    def parts(
        self, window: Float[Tensor, "batch time variables"], streams: Streams
    ) -> tuple[
        Float[Tensor, "batch horizon variables"],
        Float[Tensor, "batch horizon variables"],
        Float[Tensor, "batch horizon variables"],
    ]:
        """The forecast's linear part, and what the trend heads and the seasonal heads add to it."""
        heads = (
            gain * self.ahead(each[:, :, -self.recent :].flatten(2)).transpose(1, 2)
            for gain, each in zip(self.gains, (streams.trend, streams.season))
        )
        return self.linear(window.transpose(1, 2)).transpose(1, 2), *heads

    def following(
        self, window: Float[Tensor, "batch time variables"], streams: Streams | None = None
    ) -> Float[Tensor, "batch time variables"]:
        """For every step of the grid the patch that follows it, from it and what came before."""
        return self._next((streams or self.streams(window)).total(), window)

    def _next(self, stream: Tensor, window: Tensor) -> Tensor:
        """The last patch, changed by what is read from the stream."""
        return (self._patches(window) + self.next(stream)).flatten(2).transpose(1, 2)

    def run(
        self, window: Float[Tensor, "batch time variables"], state: tuple[BlockState, ...] | None = None
    ) -> tuple[Float[Tensor, "batch time variables"], tuple[BlockState, ...]]:
        """As `following`, from a state on; and the state after it, whose size does not grow with time."""
        stream = self._embedded(window)
        if not self.config.coupled:
            stream = stream.flatten(0, 1).unsqueeze(1)
        states = []
        for block, before in zip(self.blocks, state or [None] * len(self.blocks)):
            (slow, fast), after = block.run(stream, before)  # type: ignore[operator]
            stream = stream + slow + fast
            states.append(after)
        if not self.config.coupled:
            stream = stream.view(len(window), -1, *stream.shape[2:])
        return self._next(stream, window), tuple(states)

    def closed_loop(
        self, window: Float[Tensor, "batch time variables"], horizon: int
    ) -> Float[Tensor, "batch horizon variables"]:
        """Feed what is predicted back as the next input, until the horizon is reached."""
        found, state = self.run(window)
        found = found[:, -self.config.patch :]
        ahead = [found]
        while len(ahead) * self.config.patch < horizon:
            found, state = self.run(found, state)
            ahead.append(found)
        return torch.cat(ahead, 1)[:, :horizon]

    def classify(
        self, values: Float[Tensor, "batch time variables"], lengths: Int64[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch classes"]:
        """Logits: the mean over time, then variables side by side where they are told apart, or weighted by attention.

        Arguments:
            values: Sequences, zeros behind shorter ones.
            lengths: Values of each; all unless given.
        """
        patch = self.config.patch
        values = F.pad(values, (0, 0, 0, -values.shape[1] % patch))
        stream = self.streams(values).total()
        steps = stream.shape[2]
        counts = stream.new_full((len(values),), steps) if lengths is None else (lengths / patch).ceil().to(stream)
        inside = torch.arange(steps, device=stream.device) < counts[:, None]
        mean = (stream * inside[:, None, :, None]).sum(2) / counts[:, None, None]
        read = mean.flatten(1) if self.attend is None else (torch.softmax(self.attend(mean), 1) * mean).sum(1)
        found: Tensor = self.decide(read)
        return found


def _rows(u: Tensor) -> Tensor:
    """Batch and variables together, time last."""
    return u.flatten(0, 1).transpose(1, 2)


def parameter_groups(model: nn.Module, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """For an optimizer: rates, steps, couplings, direct terms, norms, biases and embeddings are not decayed."""
    plain = ("_log", "couple2", "couple3", "bias", "bias_t", "bias_v", ".D", "gamma", "constants", "variate")
    decayed = [p for name, p in model.named_parameters() if not name.endswith(plain)]
    others = [p for name, p in model.named_parameters() if name.endswith(plain)]
    return [
        {"params": decayed, "lr": learning_rate, "weight_decay": weight_decay},
        {"params": others, "lr": learning_rate, "weight_decay": 0.0},
    ]
