"""Draw from a learnt score by the reverse diffusion or its probability flow; log-likelihoods by the latter.

On the clock G, whatever the schedule, noise turns into data by ``dY = (Y/2 + s) dG + dB`` or without noise by
``dY = (Y + s)/2 dG``, run from the last time to the first.
"""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.kernels.score_ntk.estimator import NTKScoreEstimator
from harmonia.kernels.score_ntk.forms import GaussianForm
from harmonia.kernels.score_ntk.oracles import Oracle, score_of
from harmonia.kernels.score_ntk.process import Process

BLOCK = 2000
"""Points that move together."""


class KernelDiffusion:
    """A generative model from a learnt score, or from a known denoiser.

    Arguments:
        estimator: A fitted `NTKScoreEstimator`, or an oracle such as `three_gaussians`.
        t_range: First and last time; the estimator's unless given.

    Raises:
        InputError: an oracle without `t_range`.

    Example:
        >>> X = np.random.default_rng(0).standard_normal((60, 2)) * [1.0, 0.2]
        >>> model = KernelDiffusion(NTKScoreEstimator(draws_per_point=4, random_state=0).fit(X))
        >>> new = model.sample(5, steps=20, random_state=0)
        >>> new.shape, model.log_prob(new, steps=10).shape
        ((5, 2), (5,))
    """

    def __init__(self, estimator: NTKScoreEstimator | Oracle, t_range: tuple[float, float] | None = None) -> None:
        if isinstance(estimator, NTKScoreEstimator):
            check_is_fitted(estimator)
            t_range = t_range or estimator.t_range_
        if t_range is None:
            raise InputError("a known denoiser has no range of times of its own", None, "Pass t_range=(0.02, 4.0).")
        self.estimator, self.t_range = estimator, t_range

    @property
    def process(self) -> Process:
        """The diffusion."""
        return self.estimator.process_ if isinstance(self.estimator, NTKScoreEstimator) else self.estimator.process

    def _denoise(self, t: Tensor, x: Tensor) -> Tensor:
        model = self.estimator
        if isinstance(model, NTKScoreEstimator):
            return model.denoise_tensor(t, x)
        return cast(Oracle, model).denoise(t, x)

    def _score(self, t: Tensor, x: Tensor) -> Tensor:
        times = t.expand(len(x))
        return score_of(self._denoise(times, x), self.process, times, x)

    def _prior(self, d: int) -> torch.distributions.MultivariateNormal:
        """The distribution at the last time: that of Gaussian data where these are known, else the standard normal."""
        form = getattr(self.estimator, "form_", None)
        mean, covariance = torch.zeros(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64)
        if isinstance(form, GaussianForm):
            last = torch.tensor(self.t_range[1], dtype=torch.float64)
            alpha, h = self.process.alpha(last), self.process.h(last)
            mean = alpha * form.mean
            covariance = (form.basis * (alpha.square() * form.variances + h)) @ form.basis.T
        return torch.distributions.MultivariateNormal(mean, covariance)

    @property
    def _dimensions(self) -> int:
        if isinstance(self.estimator, NTKScoreEstimator):
            return int(self.estimator.n_features_in_)
        return self.estimator.sample(1, torch.Generator().manual_seed(0)).shape[1]

    def sample(
        self,
        n: int,
        steps: int = 100,
        method: str = "sde",
        random_state: int | np.random.RandomState | None = None,
        *,
        denoise: bool = False,
    ) -> Float[np.ndarray, "n d"]:
        """New points.

        Arguments:
            n: How many.
            steps: Steps from the last time to the first, equal in the logarithm of the clock.
            method: ``"sde"``: reverse diffusion, exact for linear drifts; ``"ode"``: probability flow by Heun's
                method, which asks for two scores a step and needs about half as many steps.
            random_state: Seed.
            denoise: Take the noise of the first time out at the end.

        Raises:
            InputError: fewer than one point or step, or an unknown method.
        """
        if n < 1 or steps < 1:
            raise InputError("points and steps are at least one", f"{n} and {steps}", "Ask for more.")
        if method not in ("sde", "ode"):
            raise InputError("no such sampler", repr(method), "Use 'sde' or 'ode'.")
        generator = torch.Generator().manual_seed(int(check_random_state(random_state).randint(2**31 - 1)))
        prior = self._prior(self._dimensions)
        noise = torch.randn(n, self._dimensions, generator=generator, dtype=torch.float64)
        y = prior.mean + noise @ prior.scale_tril.T
        times = self.process.times(self.t_range, steps)
        step = self._diffuse if method == "sde" else self._flow
        with torch.no_grad():
            for now, after in track(list(pairwise(times)), "Sampling"):
                y = torch.cat([step(block, now, after, generator) for block in y.split(BLOCK)])
            if denoise:
                first = times[-1]
                y = torch.cat([self._denoise(first.expand(len(block)), block) for block in y.split(BLOCK)])
        return y.numpy()

    def _diffuse(self, y: Tensor, now: Tensor, after: Tensor, generator: torch.Generator) -> Tensor:
        """Exponential integrator: the linear drift exactly, the score as it is at the start of the step."""
        elapsed = self.process.clock(now) - self.process.clock(after)
        growth = torch.exp(elapsed / 2)
        noise = torch.randn(y.shape, generator=generator, dtype=torch.float64)
        return growth * y + 2 * (growth - 1) * self._score(now, y) + torch.expm1(elapsed).sqrt() * noise

    def _flow(self, y: Tensor, now: Tensor, after: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Heun's step of the probability flow."""
        elapsed = self.process.clock(now) - self.process.clock(after)
        slope = (y + self._score(now, y)) / 2
        ahead = y + elapsed * slope
        return y + elapsed / 2 * (slope + (ahead + self._score(after, ahead)) / 2)

    def log_prob(
        self,
        x: Float[np.ndarray, "n d"],
        steps: int = 50,
        probes: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> Float[np.ndarray, " n"]:
        """Log-density of points at the first time, along the probability flow to the last (Song et al. 2021).

        Arguments:
            x: Points.
            steps: Steps of Heun's method.
            probes: Random directions for the divergence (Hutchinson); None: exact, one gradient a coordinate.
            random_state: Seed of the directions.

        Raises:
            InputError: points of another dimension, or not finite.
        """
        points = np.asarray(x, dtype=np.float64)
        d = self._dimensions
        if points.ndim != 2 or points.shape[1] != d or not np.isfinite(points).all():
            raise InputError(f"points must be finite rows of {d} numbers", points.shape, "Reshape or clean them.")
        generator = torch.Generator().manual_seed(int(check_random_state(random_state).randint(2**31 - 1)))
        times = self.process.times(self.t_range, steps).flip(0)
        found = [self._log_prob(block, times, probes, generator) for block in torch.from_numpy(points).split(BLOCK)]
        return torch.cat(found).numpy()

    def _log_prob(self, y: Tensor, times: Tensor, probes: int | None, generator: torch.Generator) -> Tensor:
        gained = torch.zeros(len(y), dtype=torch.float64)
        if probes is None:
            directions = torch.eye(y.shape[1], dtype=torch.float64)[:, None].expand(-1, len(y), -1)
        else:
            signs = torch.randint(0, 2, (probes, *y.shape), generator=generator)
            directions = (2.0 * signs - 1) / probes**0.5
        for now, after in track(list(pairwise(times)), "Log-likelihood"):
            elapsed = self.process.clock(after) - self.process.clock(now)
            slope, spread = self._drift(now, y, directions)
            ahead, spread_ahead = self._drift(after, y + elapsed * slope, directions)
            y = y + elapsed / 2 * (slope + ahead)
            gained = gained + elapsed / 2 * (spread + spread_ahead)
        return self._prior(y.shape[1]).log_prob(y) + gained

    def _drift(self, t: Tensor, y: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Velocity ``-(y + s)/2`` away from the data and its divergence."""
        y = y.detach().requires_grad_()
        velocity = -(y + self._score(t, y)) / 2
        divergence = torch.zeros(len(y), dtype=torch.float64)
        for direction in directions:
            (gradient,) = torch.autograd.grad((velocity * direction).sum(), y, retain_graph=True)
            divergence += (gradient * direction).sum(1)
        return velocity.detach(), divergence
