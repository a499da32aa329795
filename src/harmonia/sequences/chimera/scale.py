"""What windows are measured in: their own mean and spread, or those of the whole series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from numpy import ndarray
from torch import Tensor

from harmonia.media import Series
from harmonia.parts.forecasting import LinearWindow, Windows
from harmonia.parts.instance_norm import InstanceNorm
from harmonia.parts.spread import spread_of
from harmonia.sequences.chimera.late import Late

Normalise = Literal["auto", "window", "series"]

CLEAR = 0.9
"""Windows keep their own scale, which levels that were never seen leave alone, unless the other errs less than this."""


@dataclass(frozen=True)
class Scale:
    """A scale of windows.

    Attributes:
        own: Whether windows are measured in mean and spread of their own.
        mean: Of the series, for each variable.
        spread: Of the series, for each variable.
    """

    own: bool
    mean: Float64[ndarray, " variables"]
    spread: Float64[ndarray, " variables"]

    @classmethod
    def of(cls, series: Sequence[Series], normalise: Normalise, late: Late) -> Scale:
        """The scale of series; with ``auto`` windows have their own unless that of the series is clearly better."""
        together = np.concatenate([each.values for each in series])
        spread = spread_of(together)
        own = normalise == "window" or (normalise == "auto" and _wanders(series, spread, late))
        return cls(own, together.mean(0), spread)

    def ordered(self, order: Int64[ndarray, " variables"]) -> Scale:
        """The same for variables in another order."""
        return Scale(self.own, self.mean[order], self.spread[order])

    def apply(
        self, past: Float[Tensor, "batch time v"], seen: Bool[Tensor, "batch time v"]
    ) -> tuple[InstanceNorm, Float[Tensor, "batch time v"], Bool[Tensor, "batch time v"] | None]:
        """The way back, windows in this scale with zeros where nothing was seen, and where that is (None: nowhere)."""
        mean, spread = (torch.from_numpy(each).to(past) for each in (self.mean, self.spread))
        if self.own:
            filled, known = torch.where(seen, past, 0.0), seen.sum(1, keepdim=True)
            count = known.clamp(min=1)
            mean = torch.where(known > 0, filled.sum(1, keepdim=True) / count, mean)  # the series' where nothing is
            variance = torch.where(seen, past - mean, 0.0).square().sum(1, keepdim=True) / count
            norm = InstanceNorm(mean, (variance + 1e-5 * spread.square()).sqrt())
        else:
            norm = InstanceNorm(mean.expand(len(past), 1, -1), spread.expand(len(past), 1, -1))
        scaled = torch.where(seen, norm.apply(past), 0.0)
        return norm, scaled, None if bool(seen.all()) else seen


def _wanders(series: Sequence[Series], spread: Float64[ndarray, " variables"], late: Late) -> bool:
    """Whether the linear rule predicts the last part better from windows in their own scale."""
    if not late.leaves(1):
        return True
    past, future, _ = Windows(series, late.lookback, late.horizon).at(late.windows())
    errors = []
    for own in (False, True):
        rule = LinearWindow(late.horizon, late.lookback, own_scale=own)
        rule.learn(late.early(series))
        errors.append(np.square((rule.point(past.numpy()) - future.numpy()) / spread).mean())
    return bool(CLEAR * errors[1] <= errors[0])
