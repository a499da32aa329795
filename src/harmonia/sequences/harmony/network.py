"""The forecaster's network: indicators as tokens, attention down a hierarchy of levels, a distribution at the end.

A window ``[batch, lookback, variables]`` is normalised by its own mean and spread (`harmonia.parts.instance_norm`);
every variable and every mark of the calendar becomes one token (`harmonia.parts.inverted`); encoder layers let tokens
meet by `CascadingAttention`; the tokens of the target variables give the parameters of a distribution
(`harmonia.sequences.harmony.heads`) over ``[horizon, targets]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.parts.instance_norm import InstanceNorm
from harmonia.parts.inverted import EncoderLayer, InvertedEmbedding, SelfAttention
from harmonia.parts.linear import Linear
from harmonia.sequences.harmony.heads import HEADS, HeadName
from harmonia.sequences.harmony.predictive import Predictive

ALL_LEVELS = -1
"""The level of a token that belongs to all levels."""


@dataclass(frozen=True)
class HarmonyConfig:
    """Sizes of a network.

    Attributes:
        levels: Level of each variable, then of each mark; 1 is the top, `ALL_LEVELS` belongs to all.
        targets: Places of the variables to predict; all of them when empty.
        lookback: Steps of a window.
        horizon: Steps to predict.
        marks: Marks of the calendar.
        width: Of the tokens.
        heads: Of the attention.
        layers: Encoder layers.
        hidden: Units between the linear maps of a layer.
        dropout: Share of numbers dropped in training.
        head: The family of distributions.
        mask: ``inf`` leaves tokens of other levels out of the attention; ``zero`` lets them dilute it with scores of
            zero, as the release does.
        compat: ``release`` normalises with a floor of 1e-5 and puts none under the standard deviation.

    Raises:
        InputError: sizes that do not fit, or an unknown head, mask or compat.
    """

    levels: tuple[int, ...]
    targets: tuple[int, ...] = ()
    lookback: int = 144
    horizon: int = 12
    marks: int = 4
    width: int = 64
    heads: int = 4
    layers: int = 2
    hidden: int = 128
    dropout: float = 0.1
    head: HeadName = "spline"
    mask: Literal["inf", "zero"] = "inf"
    compat: Literal["", "release"] = ""

    def __post_init__(self) -> None:
        if min(self.lookback, self.horizon, self.width, self.layers, self.hidden) < 1 or self.variables < 1:
            raise InputError("sizes of a network are positive", self, "Pass positive numbers.")
        if any(level < 1 and level != ALL_LEVELS for level in self.levels):
            raise InputError("levels count from 1", self.levels, f"Pass 1, 2, ..., or {ALL_LEVELS} for all levels.")
        if any(not 0 <= place < self.variables for place in self.targets):
            raise InputError("targets are places of variables", self.targets, f"Pass 0 to {self.variables - 1}.")
        if not 0 <= self.dropout < 1:
            raise InputError("a share of numbers is dropped", self.dropout, "Pass a dropout from 0 to below 1.")
        words = (("head", self.head, (*HEADS,)), ("mask", self.mask, ("inf", "zero")))
        for name, value, known in (*words, ("compat", self.compat, ("", "release"))):
            if value not in known:
                choices = ", ".join(f"'{word}'" for word in known)
                raise InputError(f"a network has no such {name}", f"'{value}'", f"Use one of: {choices}.")

    @property
    def variables(self) -> int:
        return len(self.levels) - self.marks

    @property
    def predicted(self) -> tuple[int, ...]:
        """Places of the variables that are predicted."""
        return self.targets or tuple(range(self.variables))

    @classmethod
    def released(cls, levels: tuple[int, ...], **sizes: int) -> HarmonyConfig:
        """The network of the official release: width 512, eight heads, hidden 2048, one step ahead."""
        chosen: dict[str, Any] = {"width": 512, "heads": 8, "hidden": 2048, "horizon": 1} | sizes
        return cls(levels, head="realnvp", mask="zero", compat="release", **chosen)


class CascadingAttention(SelfAttention):
    """Attention level by level: each level sees itself and what the level above passes on.

    With the 0/1 mask m_l of level l and ``p_0 = 0``::

        q_l = m_l q + p_(l-1)   (k, v alike)     o_l = softmax(q_l k_l' / sqrt(dim)) v_l
        p_l = m_l o_l                            out = sum_l p_l

    so nothing of a lower level ever reaches a higher one.

    Arguments:
        levels: Level of each token.
        mask: See `HarmonyConfig`.

    Example:
        >>> attention = CascadingAttention(8, heads=2, levels=(1, 1, 2)).eval()
        >>> x = torch.randn(1, 3, 8)
        >>> y = x.clone(); y[:, 2] = 0
        >>> bool(torch.equal(attention(x)[:, :2], attention(y)[:, :2]))
        True
    """

    member: Tensor

    def __init__(
        self,
        width: int,
        heads: int,
        levels: tuple[int, ...],
        dropout: float = 0.1,
        mask: Literal["inf", "zero"] = "inf",
    ) -> None:
        super().__init__(width, heads, dropout)
        self.mask = mask
        level = torch.tensor(levels)
        highest = int(level.max().clamp(min=1))
        member = (level == torch.arange(1, highest + 1)[:, None]) | (level == ALL_LEVELS)
        if mask == "inf":
            member = member[member.any(1)]  # a level without tokens passes nothing on, so it is left out
        self.register_buffer("member", member, persistent=False)

    def meet(
        self,
        query: Float[Tensor, "batch heads tokens dim"],
        key: Float[Tensor, "batch heads tokens dim"],
        value: Float[Tensor, "batch heads tokens dim"],
    ) -> Float[Tensor, "batch heads tokens dim"]:
        """The cascade over levels."""
        total = passed = torch.zeros_like(query)
        above = torch.zeros_like(self.member[0])
        for member in self.member:
            weight = member[:, None].to(query.dtype)
            q, k, v = (weight * part + passed for part in (query, key, value))
            seen = (member | above)[None].expand(len(member), -1) if self.mask == "inf" else None
            passed = weight * self.attend(q, k, v, seen)
            total, above = total + passed, member
        return total


class HarmonyNetwork(nn.Module):
    """Windows to predictive distributions.

    Arguments:
        config: Its sizes.

    Example:
        >>> network = HarmonyNetwork(HarmonyConfig((1, 2, 1, 1, 1, 1), lookback=24, horizon=3)).eval()
        >>> predictive = network(torch.rand(5, 24, 2), torch.zeros(5, 24, 4))
        >>> predictive.log_prob(torch.rand(5, 3, 2)).shape
        torch.Size([5])
    """

    quietest: Tensor

    def __init__(self, config: HarmonyConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = InvertedEmbedding(config.lookback, config.width, config.dropout)
        self.layers = nn.ModuleList(
            EncoderLayer(
                CascadingAttention(config.width, config.heads, config.levels, config.dropout, config.mask),
                config.width,
                config.hidden,
                config.dropout,
            )
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.head = HEADS[config.head](config.horizon, len(config.predicted), config.width, config.compat == "release")
        self.projection = Linear(config.width, self.head.numbers * config.horizon)
        self.register_buffer("quietest", torch.ones(config.variables))

    def forward(
        self, past: Float[Tensor, "batch lookback variables"], marks: Float[Tensor, "batch lookback marks"]
    ) -> Predictive:
        """The distribution of what follows windows, in the units of the data."""
        norm = self.normalisation(past)
        tokens = self.embedding(torch.cat([norm.apply(past), marks], dim=2))
        for layer in self.layers:
            tokens = layer(tokens)
        places = list(self.config.predicted)
        numbers = self.projection(self.norm(tokens)[:, places]).unflatten(2, (self.head.numbers, -1))
        back = InstanceNorm(norm.mean[..., places], norm.spread[..., places])
        return self.head(numbers.permute(2, 0, 3, 1), back)  # numbers batch horizon targets

    def normalisation(self, past: Float[Tensor, "batch lookback variables"]) -> InstanceNorm:
        """Mean and spread of windows; a quiet window keeps 5% of its level and 2% of the quietest workload's spread."""
        if self.config.compat == "release":
            return InstanceNorm.of(past)
        norm = InstanceNorm.of(past, floor=0.0)
        floor = (0.05 * past.abs().mean(1, keepdim=True)).square() + (0.02 * self.quietest).square()
        return InstanceNorm(norm.mean, (norm.spread.square() + floor + 1e-12).sqrt())
