"""Instance normalisation of windows: subtract each window's mean, divide by its spread, and undo both at the end."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor


class InstanceNorm(NamedTuple):
    """Mean and spread of each window and variable over time, ``spread = sqrt(var + floor)`` (biased variance).

    Attributes:
        mean: Subtracted.
        spread: Divided by.

    Example:
        >>> import torch
        >>> window = torch.tensor([[[1.0], [3.0]]])
        >>> norm = InstanceNorm.of(window, floor=0.0)
        >>> norm.apply(window).flatten().tolist(), norm.undo(torch.zeros(1, 1, 1)).item()
        ([-1.0, 1.0], 2.0)
    """

    mean: Float[Tensor, "batch 1 variables"]
    spread: Float[Tensor, "batch 1 variables"]

    @classmethod
    def of(cls, window: Float[Tensor, "batch time variables"], floor: float = 1e-5) -> InstanceNorm:
        """Measure windows; `floor` is added to the variance, so that a constant window can be divided by it."""
        variance = window.var(1, keepdim=True, correction=0)
        return cls(window.mean(1, keepdim=True), (variance + floor).sqrt())

    def apply(self, values: Float[Tensor, "*draws batch time v"]) -> Float[Tensor, "*draws batch time v"]:
        """To units of the window."""
        return (values - self.mean) / self.spread

    def undo(self, values: Float[Tensor, "*draws batch time v"]) -> Float[Tensor, "*draws batch time v"]:
        """Back to units of the data."""
        return values * self.spread + self.mean
