"""What a `HarmonyForecaster` says: a forecast in the units of the data, from a network's predictive distribution."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy import ndarray
from torch import Tensor

from harmonia.parts.forecasting import Forecast
from harmonia.parts.forecasting.forecast import checked_levels
from harmonia.sequences.harmony.predictive import Predictive

CHUNK = 64
"""Windows whose futures are drawn at once."""


class HarmonyForecast(Forecast):
    """Distributions of the next steps; numbers that cannot be negative are cut at zero.

    Arguments:
        predictives: The network's distributions, of up to `CHUNK` windows each.
        lower: Smallest possible value of each target; minus infinity for none.
        names: Of the targets.
    """

    def __init__(
        self, predictives: list[Predictive], lower: Float64[ndarray, " targets"], names: tuple[str, ...]
    ) -> None:
        self._predictives, self._lower, self.names = predictives, lower, names

    @property
    def shape(self) -> tuple[int, int, int]:
        _, horizon, targets = self._predictives[0].shape
        return sum(each.shape[0] for each in self._predictives), horizon, targets

    @property
    def mean(self) -> Float64[ndarray, "batch horizon targets"]:
        """Expectation of each number, by quantiles in the middle of equally likely parts."""
        return self.quantile((np.arange(64) + 0.5) / 64).mean(0)

    @torch.no_grad()
    def sample(self, count: int, seed: int = 0) -> Float64[ndarray, "count batch horizon targets"]:
        """Futures; every window gets the same normal numbers, so that a batch changes nothing."""
        generator = torch.Generator().manual_seed(seed)
        normal = torch.randn(count, 1, *self.shape[1:], generator=generator)
        return self._cut([p.draw(normal.expand(-1, p.shape[0], -1, -1).contiguous()) for p in self._predictives], 1)

    @torch.no_grad()
    def quantile(self, levels: Float[ndarray, " levels"]) -> Float64[ndarray, "levels batch horizon targets"]:
        wanted = torch.from_numpy(checked_levels(levels)).clamp(1e-6, 1 - 1e-6)
        return self._cut([each.icdf(wanted) for each in self._predictives], 1)

    @torch.no_grad()
    def cdf(self, values: Float[ndarray, "batch horizon targets"]) -> Float64[ndarray, "batch horizon targets"]:
        sizes = [each.shape[0] for each in self._predictives]
        parts = torch.from_numpy(np.asarray(values, dtype=np.float32)).split(sizes)
        found = torch.cat([each.cdf(part) for each, part in zip(self._predictives, parts)]).double().cpu().numpy()
        return np.where(values < self._lower, 0.0, found)

    @torch.no_grad()
    def log_prob(self, values: Float[ndarray, "batch horizon targets"]) -> Float64[ndarray, " batch"]:
        """Log density of whole futures in nats; of the density before it is cut at zero."""
        sizes = [each.shape[0] for each in self._predictives]
        parts = torch.from_numpy(np.asarray(values, dtype=np.float32)).split(sizes)
        return torch.cat([p.log_prob(part) for p, part in zip(self._predictives, parts)]).double().cpu().numpy()

    @property
    def resolution(self) -> float:
        return self._predictives[0].resolution

    def _cut(self, parts: list[Tensor], axis: int) -> ndarray:
        return np.maximum(torch.cat(parts, dim=axis).double().cpu().numpy(), self._lower)
