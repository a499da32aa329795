"""The distributions a network can end in, all in the units of the data.

    normal      independent normal numbers
    realnvp     a RealNVP flow over all steps and targets at once, from a normal base: the paper's
    spline      a monotone spline for each number, from a normal base: exact quantiles and probabilities
    studentt    independent Student-t numbers
    quantile    quantiles at fixed levels, fitted by the pinball loss

A head turns a network's numbers and the normalisation of the window into a `Predictive`; `Predictive.loss` is what is
minimised, the negative log density except for ``quantile``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal

import torch
from jaxtyping import Float
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.parts.flows import RealNVP, Spline
from harmonia.parts.instance_norm import InstanceNorm

HeadName = Literal["normal", "realnvp", "spline", "studentt", "quantile"]

STD_FLOOR = 1e-3
"""Smallest standard deviation, in units of the window's spread."""

_LOG_ROOT = 0.5 * math.log(2 * math.pi)


class Predictive(ABC):
    """Distributions of ``[batch, horizon, targets]`` numbers.

    Arguments:
        norm: Takes numbers to units of the window and back.
    """

    exact = True
    """Whether quantiles and probabilities are in closed form."""

    def __init__(self, norm: InstanceNorm) -> None:
        self.norm = norm

    @abstractmethod
    def draw(
        self, normal: Float[Tensor, "count batch horizon targets"]
    ) -> Float[Tensor, "count batch horizon targets"]:
        """Futures from standard normal numbers."""

    @abstractmethod
    def loss(self, y: Float[Tensor, "batch horizon targets"]) -> Float[Tensor, " batch"]:
        """What training minimises, in nats for densities."""

    def log_prob(self, y: Float[Tensor, "batch horizon targets"]) -> Float[Tensor, " batch"]:
        """Log density of whole futures."""
        return -self.loss(y)

    def icdf(self, levels: Float[Tensor, " levels"]) -> Float[Tensor, "levels batch horizon targets"]:
        """Quantiles of each number."""
        normal = torch.special.ndtri(levels.double()).to(self.norm.mean.dtype)
        horizon, targets = self.shape[1:]
        return self.draw(normal[:, None, None, None].expand(-1, self.shape[0], horizon, targets))

    @abstractmethod
    def cdf(self, y: Float[Tensor, "batch horizon targets"]) -> Float[Tensor, "batch horizon targets"]:
        """Probability that each number is at most y."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """Batch, horizon, targets."""

    def _to_window(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """y in units of the window, and the log-determinant of that change."""
        count = y.shape[1]
        return self.norm.apply(y), -count * self.norm.spread.log().sum((1, 2))


class NormalPredictive(Predictive):
    """Independent normal numbers with given mean and standard deviation, both in units of the window."""

    def __init__(self, mean: Tensor, std: Tensor, norm: InstanceNorm) -> None:
        super().__init__(norm)
        self.mean, self.std = mean, std

    @property
    def shape(self) -> tuple[int, int, int]:
        batch, horizon, targets = self.mean.shape
        return batch, horizon, targets

    def base(self, normal: Tensor) -> Tensor:
        """The base variable of flows."""
        return self.mean + self.std * normal

    def base_log_prob(self, u: Tensor) -> Tensor:
        """Log density of the base variable, number by number."""
        return -0.5 * ((u - self.mean) / self.std).square() - self.std.log() - _LOG_ROOT

    def draw(
        self, normal: Float[Tensor, "count batch horizon targets"]
    ) -> Float[Tensor, "count batch horizon targets"]:
        return self.norm.undo(self.base(normal))

    def loss(self, y: Float[Tensor, "batch horizon targets"]) -> Float[Tensor, " batch"]:
        window, change = self._to_window(y)
        return -self.base_log_prob(window).sum((1, 2)) - change

    def cdf(self, y: Float[Tensor, "batch horizon targets"]) -> Float[Tensor, "batch horizon targets"]:
        return torch.special.ndtr((self.norm.apply(y) - self.mean) / self.std)


class RealNVPPredictive(NormalPredictive):
    """``y = f(u)`` with a RealNVP f over the flattened steps and targets; marginals are known by samples only."""

    exact = False
    draws = 2048

    def __init__(self, mean: Tensor, std: Tensor, norm: InstanceNorm, flow: RealNVP) -> None:
        super().__init__(mean, std, norm)
        self.flow = flow

    def draw(
        self, normal: Float[Tensor, "count batch horizon targets"]
    ) -> Float[Tensor, "count batch horizon targets"]:
        window, _ = self.flow(self.base(normal).flatten(2))
        return self.norm.undo(window.view_as(normal))

    def loss(self, y: Float[Tensor, "batch horizon targets"]) -> Float[Tensor, " batch"]:
        window, change = self._to_window(y)
        u, log_det = self.flow.inverse(window.flatten(1))
        return -self.base_log_prob(u.view_as(y)).sum((1, 2)) - log_det - change

    def _samples(self) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        normal = torch.randn(self.draws, *self.shape, generator=generator)
        return self.draw(normal.to(self.mean))

    def icdf(self, levels: Float[Tensor, " levels"]) -> Float[Tensor, "levels batch horizon targets"]:
        return torch.quantile(self._samples(), levels.to(self.mean.dtype), dim=0)

    def cdf(self, y: Float[Tensor, "batch horizon targets"]) -> Float[Tensor, "batch horizon targets"]:
        return (self._samples() <= y).to(y.dtype).mean(0)


class SplinePredictive(NormalPredictive):
    """``y = mean + std T(z)`` with z standard normal and a monotone spline T of its own for each number."""

    def __init__(self, mean: Tensor, std: Tensor, norm: InstanceNorm, spline: Spline) -> None:
        super().__init__(mean, std, norm)
        self.spline = spline

    def draw(
        self, normal: Float[Tensor, "count batch horizon targets"]
    ) -> Float[Tensor, "count batch horizon targets"]:
        return self.norm.undo(self.mean + self.std * self.spline(normal)[0])

    def loss(self, y: Float[Tensor, "batch horizon targets"]) -> Float[Tensor, " batch"]:
        window, change = self._to_window(y)
        z, log_slope = self.spline.inverse((window - self.mean) / self.std)
        density = -0.5 * z.square() - _LOG_ROOT + log_slope - self.std.log()
        return -density.sum((1, 2)) - change

    def cdf(self, y: Float[Tensor, "batch horizon targets"]) -> Float[Tensor, "batch horizon targets"]:
        return torch.special.ndtr(self.spline.inverse((self.norm.apply(y) - self.mean) / self.std)[0])


class StudentTPredictive(NormalPredictive):
    """Independent Student-t numbers with location, scale and degrees of freedom."""

    def __init__(self, mean: Tensor, std: Tensor, norm: InstanceNorm, df: Tensor) -> None:
        super().__init__(mean, std, norm)
        self.df = df

    def draw(
        self, normal: Float[Tensor, "count batch horizon targets"]
    ) -> Float[Tensor, "count batch horizon targets"]:
        probability = torch.special.ndtr(normal.double()).clamp(1e-12, 1 - 1e-12)
        t = stats.t.ppf(probability.cpu().numpy(), self.df.detach().double().cpu().numpy())
        return self.norm.undo(self.mean + self.std * torch.from_numpy(t).to(self.mean))

    def loss(self, y: Float[Tensor, "batch horizon targets"]) -> Float[Tensor, " batch"]:
        window, change = self._to_window(y)
        density = torch.distributions.StudentT(self.df, self.mean, self.std).log_prob(window)
        return -density.sum((1, 2)) - change

    def cdf(self, y: Float[Tensor, "batch horizon targets"]) -> Float[Tensor, "batch horizon targets"]:
        z = ((self.norm.apply(y) - self.mean) / self.std).detach().double().cpu().numpy()
        found = stats.t.cdf(z, self.df.detach().double().cpu().numpy())
        return torch.from_numpy(found).to(self.mean)


class QuantilePredictive(Predictive):
    """Quantiles at fixed levels, straight lines between them, flat beyond the outermost."""

    exact = False

    def __init__(self, quantiles: Tensor, levels: Tensor, norm: InstanceNorm) -> None:
        super().__init__(norm)
        self.quantiles, self.levels = quantiles, levels

    @property
    def shape(self) -> tuple[int, int, int]:
        _, batch, horizon, targets = self.quantiles.shape
        return batch, horizon, targets

    def draw(
        self, normal: Float[Tensor, "count batch horizon targets"]
    ) -> Float[Tensor, "count batch horizon targets"]:
        levels = self.levels.to(normal.dtype)
        probability = torch.special.ndtr(normal).clamp(levels[0], levels[-1])
        right = torch.searchsorted(levels, probability.contiguous()).clamp(1, len(levels) - 1)
        share = (probability - levels[right - 1]) / (levels[right] - levels[right - 1])
        low, high = (self.quantiles.gather(0, at) for at in (right - 1, right))
        return self.norm.undo(low + share * (high - low))

    def loss(self, y: Float[Tensor, "batch horizon targets"]) -> Float[Tensor, " batch"]:
        """Twice the mean pinball loss, an estimate of the CRPS, in units of the window."""
        error = self.norm.apply(y) - self.quantiles
        p = self.levels.to(error.dtype)[:, None, None, None]
        return 2 * torch.maximum(p * error, (p - 1) * error).mean(0).sum((1, 2))

    def cdf(self, y: Float[Tensor, "batch horizon targets"]) -> Float[Tensor, "batch horizon targets"]:
        window = self.norm.apply(y)
        knots = self.quantiles.movedim(0, -1).contiguous()
        right = torch.searchsorted(knots, window[..., None].contiguous()).clamp(1, len(self.levels) - 1)
        low, high = knots.gather(-1, right - 1)[..., 0], knots.gather(-1, right)[..., 0]
        levels = self.levels.to(y.dtype)
        share = ((window - low) / (high - low)).clamp(0, 1)
        right = right[..., 0]
        found = levels[right - 1] + share * (levels[right] - levels[right - 1])
        found = torch.where(window < knots[..., 0], torch.zeros_like(found), found)
        return torch.where(window > knots[..., -1], torch.ones_like(found), found)


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


class RealNVPHead(NormalHead):
    """Mean and standard deviation of the base, and one flow for all windows."""

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
