"""How windows are scaled, and what errors are measured in: by the window and the fitted past, never by the future."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.parts.instance_norm import InstanceNorm

Scaling = Literal["window", "maximum", "standard"]

LEAST = 0.01
"""The least spread a window is divided by, as a share of the mean one of its variable in training."""


def spread(window: Float[Tensor, "windows time v"]) -> Float[Tensor, "windows 1 v"]:
    """The mean distance of a window's values from its last one."""
    return (window - window[:, -1:]).abs().sum(1, keepdim=True) / (window.shape[1] - 1)


class Scaler(NamedTuple):
    """Scales of windows: what is subtracted and what they are divided by.

    ``window``: the last value becomes 0, the mean distance from it 1. ``maximum``: the largest value becomes 1.
    ``standard``: the same for all windows, so that levels are seen: mean and standard deviation of each variable in
    training.

    Attributes:
        kind: Which.
        level: Mean of each variable in training.
        deviation: Its standard deviation.
        least: The smallest number that windows are divided by.

    Example:
        >>> line = torch.tensor([[[2.0], [4.0], [6.0]]])
        >>> Scaler.of(line, "window")(line).apply(line).flatten().tolist()
        [-1.3333333730697632, -0.6666666865348816, 0.0]
    """

    kind: Scaling
    level: Float[Tensor, " v"]
    deviation: Float[Tensor, " v"]
    least: Float[Tensor, " v"]

    @classmethod
    def of(cls, windows: Float[Tensor, "windows time v"], kind: Scaling) -> Scaler:
        """Measure the windows to learn from."""
        largest = windows.abs().amax(1, keepdim=True) if kind == "maximum" else spread(windows)
        deviation = windows.std((0, 1), correction=0)
        return cls(kind, windows.mean((0, 1)), _positive(deviation), _positive(LEAST * largest.mean((0, 1))))

    def to(self, device: torch.device) -> Scaler:
        """On another device."""
        return Scaler(self.kind, *(each.to(device) for each in self[1:]))

    def __call__(self, window: Float[Tensor, "windows time v"]) -> InstanceNorm:
        """The scale of each window and variable."""
        if self.kind == "window":
            return InstanceNorm(window[:, -1:], torch.maximum(spread(window), self.least))
        if self.kind == "maximum":
            largest = torch.maximum(window.abs().amax(1, keepdim=True), self.least)
            return InstanceNorm(torch.zeros_like(largest), largest)
        shape = (len(window), 1, window.shape[2])
        return InstanceNorm(self.level.expand(shape), self.deviation.expand(shape))


class Yardstick(NamedTuple):
    """What errors are divided by when forecasts are judged.

    Attributes:
        mean: Mean spread of the windows of each variable in training.
        by_window: Errors count in units of their own window's spread and a tenth of the mean one, so that every sample
            counts alike; otherwise in units of the mean spread, so that large samples count more.
    """

    mean: Float[Tensor, " v"]
    by_window: bool

    @classmethod
    def of(cls, windows: Float[Tensor, "windows time v"], by_window: bool) -> Yardstick:
        """Measure the windows to learn from."""
        return cls(_positive(spread(windows).mean((0, 1))), by_window)

    def to(self, device: torch.device) -> Yardstick:
        """On another device."""
        return Yardstick(self.mean.to(device), self.by_window)

    def __call__(self, window: Float[Tensor, "windows time v"]) -> Float[Tensor, "windows 1 v"]:
        """The unit of each window and variable."""
        return spread(window) + 0.1 * self.mean if self.by_window else self.mean.expand_as(window[:, :1])


def _positive(values: Float[Tensor, " v"]) -> Float[Tensor, " v"]:
    """Where nothing ever changes, 1."""
    return torch.where(values > 0, values, torch.ones_like(values))
