"""The distributions a network can end in.

    normal      independent normal numbers
    realnvp     a RealNVP flow over all steps and targets at once, from a normal base: the paper's
    spline      a monotone spline for each number, from a normal base: exact quantiles and probabilities
    studentt    independent Student-t numbers
    quantile    quantiles at fixed levels, fitted by the pinball loss

A head turns a network's numbers and the normalisation of the window into a `Predictive`; `Predictive.loss` is what is
minimised, the negative log density except for ``quantile``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.parts.flows import RealNVP, Spline
from harmonia.parts.instance_norm import InstanceNorm
from harmonia.sequences.harmony.predictive import (
    NormalPredictive,
    Predictive,
    QuantilePredictive,
    RealNVPPredictive,
    SplinePredictive,
    StudentTPredictive,
)

HeadName = Literal["normal", "realnvp", "spline", "studentt", "quantile"]

STD_FLOOR = 1e-3
"""Smallest standard deviation, in units of the window's spread."""


class Head(nn.Module, ABC):
    """Makes distributions of numbers.

    Arguments:
        horizon: Steps.
        targets: Variables.
        width: Of the tokens.
        released: Without the floor under the standard deviation.
    """

    numbers: int

    def __init__(self, horizon: int, targets: int, width: int, released: bool) -> None:
        super().__init__()
        self.floor = 0.0 if released else STD_FLOOR

    @abstractmethod
    def forward(self, numbers: Float[Tensor, "numbers batch horizon targets"], norm: InstanceNorm) -> Predictive:
        """The distribution that `numbers` stand for."""

    def _std(self, number: Tensor) -> Tensor:
        return F.softplus(number) + self.floor


class NormalHead(Head):
    """Mean and standard deviation."""

    numbers = 2

    def forward(self, numbers: Float[Tensor, "numbers batch horizon targets"], norm: InstanceNorm) -> Predictive:
        return NormalPredictive(numbers[0], self._std(numbers[1]), norm)


class RealNVPHead(Head):
    """Mean and standard deviation of the base, and one flow for all windows."""

    numbers = 2

    def __init__(self, horizon: int, targets: int, width: int, released: bool) -> None:
        super().__init__(horizon, targets, width, released)
        self.flow = RealNVP(horizon * targets, width)

    def forward(self, numbers: Float[Tensor, "numbers batch horizon targets"], norm: InstanceNorm) -> Predictive:
        return RealNVPPredictive(numbers[0], self._std(numbers[1]), norm, self.flow)


class SplineHead(Head):
    """Mean, standard deviation and a spline of eight bins."""

    numbers = 2 + 25

    def forward(self, numbers: Float[Tensor, "numbers batch horizon targets"], norm: InstanceNorm) -> Predictive:
        spline = Spline(0.3 * numbers[2:].movedim(0, -1))
        return SplinePredictive(numbers[0], self._std(numbers[1]), norm, spline)


class StudentTHead(Head):
    """Location, scale and degrees of freedom above two."""

    numbers = 3

    def forward(self, numbers: Float[Tensor, "numbers batch horizon targets"], norm: InstanceNorm) -> Predictive:
        return StudentTPredictive(numbers[0], self._std(numbers[1]), norm, 2 + F.softplus(numbers[2]))


class QuantileHead(Head):
    """The median and the distances between neighbouring quantiles."""

    levels = torch.tensor([0.005, 0.01, 0.025, *[i / 20 for i in range(1, 20)], 0.975, 0.99, 0.995])
    numbers = len(levels)

    def forward(self, numbers: Float[Tensor, "numbers batch horizon targets"], norm: InstanceNorm) -> Predictive:
        middle = len(self.levels) // 2
        steps = F.softplus(numbers[1:] - 1) + 1e-4
        up, down = steps[middle:].cumsum(0), steps[:middle].flip(0).cumsum(0).flip(0)
        quantiles = torch.cat([numbers[:1] - down, numbers[:1], numbers[:1] + up])
        return QuantilePredictive(quantiles, self.levels.to(numbers.device), norm)


HEADS: dict[str, type[Head]] = {
    "normal": NormalHead,
    "realnvp": RealNVPHead,
    "spline": SplineHead,
    "studentt": StudentTHead,
    "quantile": QuantileHead,
}
