"""Conjugate Bayesian regression: normal-inverse-gamma, exact, updated one observation at a time.

Model: ``y = w . x + s e`` with e standard normal, ``s^2 ~ InverseGamma(a, b)`` and ``w | s^2 ~ N(m, s^2 P)``. After a
pair (x, y), with the error ``e = y - m . x`` and ``q = 1 + x . P x``::

    m += P x e / q      P -= P x x' P / q      a += 1/2      b += e^2 / (2 q)

and a new y at x is Student-t with 2a degrees of freedom, location m . x and squared scale ``b/a (1 + x . P x)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError

LOST = 1e-4
"""Relative error from rounding that is not accepted."""


class StudentT(NamedTuple):
    """Student-t distributions, by their degrees of freedom, location and scale."""

    df: Float[Tensor, "*batch"]
    location: Float[Tensor, "*batch"]
    scale: Float[Tensor, "*batch"]

    def log_prob(self, y: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Log density."""
        return torch.distributions.StudentT(self.df, self.location, self.scale).log_prob(y)

    @property
    def variance(self) -> Float[Tensor, "*batch"]:
        """``scale^2 df / (df - 2)``; infinite with two degrees of freedom or fewer."""
        finite = self.df > 2
        ratio = self.df / torch.where(finite, self.df - 2, torch.ones_like(self.df))
        return torch.where(finite, self.scale.square() * ratio, torch.full_like(self.df, torch.inf))

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "count *batch"]:
        """Draws: a normal one over the square root of a gamma one."""
        shape = (count, *self.location.shape)
        normal = torch.randn(shape, generator=generator, dtype=self.location.dtype)
        half = (self.df / 2).expand(shape)
        gamma = torch._standard_gamma(half.contiguous(), generator=generator)
        return self.location + self.scale * normal * (half / gamma).sqrt()


@dataclass(frozen=True)
class NormalInverseGamma:
    """What is known about weights and noise of a linear model; all leading axes are a batch.

    Attributes:
        mean: m, of the weights.
        covariance: P, of the weights in units of the noise's variance.
        shape: a, of the inverse gamma.
        rate: b, of the inverse gamma.

    Raises:
        InputError: a or b not positive, or shapes that do not fit.

    Example:
        >>> prior = NormalInverseGamma.prior(2, precision=1.0, shape=20.0, rate=20.0)
        >>> later = prior.update(torch.tensor([1.0, 0.0]).double(), torch.tensor(3.0).double())
        >>> later.mean.tolist(), later.shape.item(), later.rate.item()
        ([1.5, 0.0], 20.5, 22.25)
    """

    mean: Float[Tensor, "*batch dim"]
    covariance: Float[Tensor, "*batch rows columns"]
    shape: Float[Tensor, "*batch"]
    rate: Float[Tensor, "*batch"]

    def __post_init__(self) -> None:
        if not ((self.shape > 0).all() and (self.rate > 0).all()):
            got = f"shape {self.shape.min().item():g}, rate {self.rate.min().item():g}"
            raise InputError("shape and rate of an inverse gamma are positive", got, "Pass positive numbers.")
        if self.covariance.shape != (*self.mean.shape, self.mean.shape[-1]):
            got = f"{tuple(self.mean.shape)} and {tuple(self.covariance.shape)}"
            raise InputError("mean and covariance of the weights do not fit", got, "Pass [..., d] and [..., d, d].")

    @classmethod
    def prior(
        cls, dim: int, *, mean: float = 0.0, precision: float = 1.0, shape: float = 1.0, rate: float = 1.0
    ) -> NormalInverseGamma:
        """A prior with equal, independent weights, in float64."""
        if precision <= 0:
            raise InputError("the precision of a prior is positive", precision, "Pass a positive number.")
        return cls(
            torch.full((dim,), mean, dtype=torch.float64),
            torch.eye(dim, dtype=torch.float64) / precision,
            torch.tensor(shape, dtype=torch.float64),
            torch.tensor(rate, dtype=torch.float64),
        )

    def expand(self, *batch: int) -> NormalInverseGamma:
        """The same knowledge for a batch of problems."""
        return NormalInverseGamma(*(value.expand(*batch, *value.shape) for value in vars(self).values()))

    def predict(self, x: Float[Tensor, "*batch dim"]) -> StudentT:
        """What is known about y at x."""
        location, spread, _ = self._at(x)
        return StudentT(2 * self.shape.expand(location.shape), location, (self.rate / self.shape * spread).sqrt())

    def _at(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """m . x, 1 + x . P x and P x."""
        turned = (self.covariance @ x[..., None])[..., 0]
        return (self.mean * x).sum(-1), 1 + (x * turned).sum(-1), turned

    def update(self, x: Float[Tensor, "*batch dim"], y: Float[Tensor, "*batch"]) -> NormalInverseGamma:
        """After one more pair.

        Raises:
            InputError: a value that is not finite.
        """
        if not (torch.isfinite(x).all() and torch.isfinite(y).all()):
            raise InputError("an observation is not finite", "NaN or infinity", "Leave such observations out.")
        location, spread, turned = self._at(x)
        gain, error = turned / spread[..., None], y - location
        covariance = self.covariance - gain[..., None] * turned[..., None, :]
        return NormalInverseGamma(
            self.mean + gain * error[..., None],
            0.5 * (covariance + covariance.mT),
            (self.shape + 0.5).expand(error.shape),
            self.rate + 0.5 * error.square() / spread,
        )

    def update_above(self, x: Float[Tensor, "*batch dim"], bound: Float[Tensor, "*batch"]) -> NormalInverseGamma:
        """After one more pair of which only ``y >= bound`` is known (a censored regression, Tobin 1958).

        What is known stays in the family by matching moments (assumed density filtering, Minka 2001): with the noise's
        variance at its expectation b/a, y is normal before, and the mean and variance of that normal law above the
        bound move the weights as an observation would. A bound far below what is expected teaches nothing, one far
        above it as much as an observation. About the noise nothing is learnt.

        Raises:
            InputError: a value that is not finite.
        """
        if not (torch.isfinite(x).all() and torch.isfinite(bound).all()):
            raise InputError("a bound is not finite", "NaN or infinity", "Leave such observations out.")
        location, spread, turned = self._at(x)
        scale = (self.rate / self.shape * spread).sqrt()
        z = (bound - location) / scale
        hazard = (-0.5 * z.square() - 0.5 * math.log(2 * math.pi) - torch.special.log_ndtr(-z)).exp()
        gain, learnt = turned / spread[..., None], hazard * (hazard - z)
        covariance = self.covariance - learnt[..., None, None] * gain[..., None] * turned[..., None, :]
        return NormalInverseGamma(
            self.mean + gain * (scale * hazard)[..., None],
            0.5 * (covariance + covariance.mT),
            self.shape.expand(z.shape),
            self.rate.expand(z.shape),
        )

    def absorb(self, x: Float[Tensor, "*batch n dim"], y: Float[Tensor, "*batch n"]) -> NormalInverseGamma:
        """After many pairs at once: the same as one after another.

        Raises:
            InputError: inputs that double precision cannot tell apart beside what the prior says.
        """
        before = torch.linalg.inv(self.covariance)
        after = before + x.mT @ x
        _refuse_multiples(after)
        covariance = torch.linalg.inv(after)
        mean = (covariance @ (before @ self.mean[..., None] + x.mT @ y[..., None]))[..., 0]
        # b without cancellation: residuals of the data and of the prior's mean
        residual = (y - (x @ mean[..., None])[..., 0]).square().sum(-1)
        moved = mean - self.mean
        distance = (moved * (before @ moved[..., None])[..., 0]).sum(-1)
        shape, rate = self.shape + y.shape[-1] / 2, self.rate + (residual + distance) / 2
        return NormalInverseGamma(mean, 0.5 * (covariance + covariance.mT), shape.expand(rate.shape), rate)

    def log_evidence(self, x: Float[Tensor, "*batch n dim"], y: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
        """Log density of all of y, weights and noise integrated out: a ratio of normalising constants."""
        after = self.absorb(x, y)
        widths = 0.5 * (torch.logdet(after.covariance) - torch.logdet(self.covariance))
        shapes = torch.lgamma(after.shape) - torch.lgamma(self.shape)
        rates = self.shape * self.rate.log() - after.shape * after.rate.log()
        return widths + shapes + rates - 0.5 * y.shape[-1] * math.log(2 * math.pi)

    def prequential(self, x: Float[Tensor, "*batch n dim"], y: Float[Tensor, "*batch n"]) -> StudentT:
        """What was known about each y just before it was seen, for all of a sequence at once.

        With ``L L' = I + X P X'`` and ``z = L^-1 (y - X m)``, the location is ``m . x_t + sum_(s<t) L_ts z_s``, the
        squared scale ``b/a L_tt^2``, and b grows by ``z_t^2 / 2``: one Cholesky factorisation, O(n^3), instead of n
        updates. The sum of the log densities is the log evidence of the sequence.

        Raises:
            InputError: inputs so large that double precision loses the noise (I) beside them.
        """
        spread = x @ self.covariance @ x.mT + torch.eye(x.shape[-2], dtype=x.dtype, device=x.device)
        largest = spread.diagonal(dim1=-2, dim2=-1).amax()
        if not largest * torch.finfo(spread.dtype).eps < LOST:
            got = f"{largest:.2g} times the noise's variance"
            mend = "Scale the inputs down, or give their weights a smaller prior covariance."
            raise InputError("what the inputs explain under the prior hides the noise", got, mend)
        factor = torch.linalg.cholesky(spread)
        prior = (x @ self.mean[..., None])[..., 0]
        z = torch.linalg.solve_triangular(factor, (y - prior)[..., None], upper=False)
        location = prior + (factor.tril(-1) @ z)[..., 0]
        before = torch.arange(x.shape[-2], dtype=x.dtype, device=x.device) / 2
        energy = 0.5 * z[..., 0].square()
        shape = self.shape[..., None] + before
        rate = self.rate[..., None] + torch.nn.functional.pad(energy[..., :-1].cumsum(-1), (1, 0))
        scale = (rate / shape).sqrt() * factor.diagonal(dim1=-2, dim2=-1)
        return StudentT((2 * shape).expand(location.shape), location, scale.expand(location.shape))

    def forget(self, keep: float, prior: NormalInverseGamma) -> NormalInverseGamma:
        """Weigh everything learnt by `keep` and the prior by the rest, so that old data fade and none blow up.

        The natural parameters are averaged: ``P^-1``, ``P^-1 m``, a, and ``b + m . P^-1 m / 2``.

        Raises:
            InputError: `keep` outside of (0, 1].
        """
        if not 0 < keep <= 1:
            raise InputError("the share that is kept lies in (0, 1]", keep, "Pass for instance 0.995.")
        parts = []
        for weight, each in ((keep, self), (1 - keep, prior)):
            precision = torch.linalg.inv(each.covariance)
            pull = (precision @ each.mean[..., None])[..., 0]
            energy = each.rate + 0.5 * (each.mean * pull).sum(-1)
            parts.append([weight * value for value in (precision, pull, each.shape, energy)])
        precision, pull, shape, energy = (a + b for a, b in zip(*parts))
        covariance = torch.linalg.inv(precision)
        mean = (covariance @ pull[..., None])[..., 0]
        return NormalInverseGamma(mean, 0.5 * (covariance + covariance.mT), shape, energy - 0.5 * (mean * pull).sum(-1))


def _refuse_multiples(precision: Float[Tensor, "*batch dim dim"]) -> None:
    """Refuse a precision whose inverse is lost to rounding: some input is nearly a combination of those before it."""
    scale = precision.diagonal(dim1=-2, dim2=-1).rsqrt()
    factor, failed = torch.linalg.cholesky_ex(scale[..., None] * precision * scale[..., None, :])
    own = factor.diagonal(dim1=-2, dim2=-1).square()  # share of an input that those before it do not hold
    least = torch.finfo(own.dtype).eps / LOST
    if failed.any() or not (own > least).all():
        got, mend = f"a share below {least:.0e}", "Drop one of them, or bring the inputs to the prior's scale."
        raise InputError("inputs are combinations of others but for what rounding hides", got, mend)
