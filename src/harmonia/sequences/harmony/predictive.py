"""Predictive distributions, all in the units of the data: draws, likelihood, quantiles, probabilities.

`LocationScale` families treat every number by itself, so that a number of which only a lower bound is known (demand
that was measured at its limit) has a likelihood of its own: the probability of at least so much (Tobin 1958). A
coupled flow and quantiles at fixed levels have none, and say so.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float
from scipy import special
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.flows import RealNVP, Spline
from harmonia.parts.instance_norm import InstanceNorm
from harmonia.sequences.harmony.student_t import log_survival, plain

_LOG_ROOT = 0.5 * math.log(2 * math.pi)


class Predictive(ABC):
    """Distributions of ``[batch, horizon, targets]`` numbers.

    Arguments:
        norm: Takes numbers to units of the window and back.
    """

    def __init__(self, norm: InstanceNorm) -> None:
        self.norm = norm

    @property
    def resolution(self) -> float:
        """The smallest tail probability that quantiles can tell; 0 where they are in closed form."""
        return 0.0

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """Batch, horizon, targets."""

    @abstractmethod
    def draw(
        self, normal: Float[Tensor, "count batch horizon targets"]
    ) -> Float[Tensor, "count batch horizon targets"]:
        """Futures from standard normal numbers."""

    @abstractmethod
    def loss(
        self, y: Float[Tensor, "batch horizon targets"], censored: Bool[Tensor, "batch horizon targets"] | None = None
    ) -> Float[Tensor, " batch"]:
        """What training minimises, in nats for densities.

        Arguments:
            y: What happened.
            censored: Numbers of which y is a lower bound only.

        Raises:
            InputError: lower bounds, where the family has no likelihood for them.
        """

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


class LocationScale(Predictive):
    """Independent numbers ``y = mean + std z``, where z has a standard law that the family gives.

    A number that is known costs ``-log p(z) + log std``, one that was at least y costs ``-log P(Z >= z)``.

    Arguments:
        mean, std: In units of the window.
    """

    def __init__(self, mean: Tensor, std: Tensor, norm: InstanceNorm) -> None:
        super().__init__(norm)
        self.mean, self.std = mean, std

    @property
    def shape(self) -> tuple[int, int, int]:
        batch, horizon, targets = self.mean.shape
        return batch, horizon, targets

    @abstractmethod
    def from_normal(self, normal: Tensor) -> Tensor:
        """z of the same probability as a standard normal number."""

    @abstractmethod
    def log_density(self, z: Tensor) -> Tensor:
        """log p(z)."""

    @abstractmethod
    def log_survival(self, z: Tensor) -> Tensor:
        """log P(Z >= z)."""

    @abstractmethod
    def probability(self, z: Tensor) -> Tensor:
        """P(Z <= z)."""

    def _standard(self, y: Tensor) -> Tensor:
        return (self.norm.apply(y) - self.mean) / self.std

    def draw(
        self, normal: Float[Tensor, "count batch horizon targets"]
    ) -> Float[Tensor, "count batch horizon targets"]:
        return self.norm.undo(self.mean + self.std * self.from_normal(normal))

    def loss(
        self, y: Float[Tensor, "batch horizon targets"], censored: Bool[Tensor, "batch horizon targets"] | None = None
    ) -> Float[Tensor, " batch"]:
        z = self._standard(y)
        found = self.log_density(z) - self.std.log() - self.norm.spread.log()
        if censored is not None:
            found = torch.where(censored, self.log_survival(z), found)
        return -found.sum((1, 2))

    def cdf(self, y: Float[Tensor, "batch horizon targets"]) -> Float[Tensor, "batch horizon targets"]:
        return self.probability(self._standard(y))


class NormalPredictive(LocationScale):
    """Independent normal numbers."""

    def from_normal(self, normal: Tensor) -> Tensor:
        return normal

    def log_density(self, z: Tensor) -> Tensor:
        return -0.5 * z.square() - _LOG_ROOT

    def log_survival(self, z: Tensor) -> Tensor:
        return torch.special.log_ndtr(-z)

    def probability(self, z: Tensor) -> Tensor:
        return torch.special.ndtr(z)


class SplinePredictive(LocationScale):
    """z is a monotone spline of a standard normal number, another one for each number."""

    def __init__(self, mean: Tensor, std: Tensor, norm: InstanceNorm, spline: Spline) -> None:
        super().__init__(mean, std, norm)
        self.spline = spline

    def from_normal(self, normal: Tensor) -> Tensor:
        return self.spline(normal)[0]

    def log_density(self, z: Tensor) -> Tensor:
        normal, log_slope = self.spline.inverse(z)
        return -0.5 * normal.square() - _LOG_ROOT + log_slope

    def log_survival(self, z: Tensor) -> Tensor:
        return torch.special.log_ndtr(-self.spline.inverse(z)[0])

    def probability(self, z: Tensor) -> Tensor:
        return torch.special.ndtr(self.spline.inverse(z)[0])


class StudentTPredictive(LocationScale):
    """z is a Student-t number with degrees of freedom of its own."""

    def __init__(self, mean: Tensor, std: Tensor, norm: InstanceNorm, df: Tensor) -> None:
        super().__init__(mean, std, norm)
        self.df = df

    def from_normal(self, normal: Tensor) -> Tensor:
        probability = torch.special.ndtr(normal.double()).clamp(1e-12, 1 - 1e-12)
        return torch.from_numpy(special.stdtrit(plain(self.df), plain(probability))).to(self.mean)

    def log_density(self, z: Tensor) -> Tensor:
        return torch.distributions.StudentT(self.df).log_prob(z)

    def log_survival(self, z: Tensor) -> Tensor:
        return log_survival(z, self.df)

    def probability(self, z: Tensor) -> Tensor:
        return torch.from_numpy(special.stdtr(plain(self.df), plain(z))).to(self.mean)


class RealNVPPredictive(Predictive):
    """``y = f(u)`` with a RealNVP f over the flattened steps and targets, from independent normal numbers u.

    Marginals are known by samples only. Lower bounds are refused: steps are coupled, so the probability of at least so
    much in some of them is an integral over all of them that has no closed form.
    """

    draws = 2048

    def __init__(self, mean: Tensor, std: Tensor, norm: InstanceNorm, flow: RealNVP) -> None:
        super().__init__(norm)
        self.mean, self.std, self.flow = mean, std, flow

    @property
    def resolution(self) -> float:
        return 1.0 / self.draws

    @property
    def shape(self) -> tuple[int, int, int]:
        batch, horizon, targets = self.mean.shape
        return batch, horizon, targets

    def draw(
        self, normal: Float[Tensor, "count batch horizon targets"]
    ) -> Float[Tensor, "count batch horizon targets"]:
        window, _ = self.flow((self.mean + self.std * normal).flatten(2))
        return self.norm.undo(window.view_as(normal))

    def loss(
        self, y: Float[Tensor, "batch horizon targets"], censored: Bool[Tensor, "batch horizon targets"] | None = None
    ) -> Float[Tensor, " batch"]:
        if censored is not None:
            raise _no_likelihood("realnvp")
        u, log_det = self.flow.inverse(self.norm.apply(y).flatten(1))
        z = (u.view_as(y) - self.mean) / self.std
        found = -0.5 * z.square() - _LOG_ROOT - self.std.log() - self.norm.spread.log()
        return -found.sum((1, 2)) - log_det

    def _samples(self) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        normal = torch.randn(self.draws, *self.shape, generator=generator)
        return self.draw(normal.to(self.mean))

    def icdf(self, levels: Float[Tensor, " levels"]) -> Float[Tensor, "levels batch horizon targets"]:
        return torch.quantile(self._samples(), levels.to(self.mean.dtype), dim=0)

    def cdf(self, y: Float[Tensor, "batch horizon targets"]) -> Float[Tensor, "batch horizon targets"]:
        return (self._samples() <= y).to(y.dtype).mean(0)


class QuantilePredictive(Predictive):
    """Quantiles at fixed levels, straight lines between them, flat beyond the outermost.

    Lower bounds are refused: without a family, quantiles above a limit cannot be told from what was measured below it.
    """

    def __init__(self, quantiles: Tensor, levels: Tensor, norm: InstanceNorm) -> None:
        super().__init__(norm)
        self.quantiles, self.levels = quantiles, levels

    @property
    def resolution(self) -> float:
        return 1.0 - float(self.levels[-1])

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

    def loss(
        self, y: Float[Tensor, "batch horizon targets"], censored: Bool[Tensor, "batch horizon targets"] | None = None
    ) -> Float[Tensor, " batch"]:
        """Twice the mean pinball loss, an estimate of the CRPS, in units of the window."""
        if censored is not None:
            raise _no_likelihood("quantile")
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


def _no_likelihood(head: str) -> InputError:
    what = "this family of distributions has no likelihood for demand that was at its limit"
    return InputError(what, head, "Choose spline, normal or studentt, or pass inf for the limit.")
