"""The score of a diffusion by kernel regression with a stopping time that is computed, as a scikit-learn estimator."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import chi2
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.score_ntk.flow import Design, ExactDesign, NystromDesign
from harmonia.kernels.score_ntk.forms import Form, GaussianForm, PaperForm
from harmonia.kernels.score_ntk.kernels import KernelName, kernel_of
from harmonia.kernels.score_ntk.oracles import score_of
from harmonia.kernels.score_ntk.process import NoisyPairs, Process, draw_pairs
from harmonia.kernels.score_ntk.stopping import (
    EarlyStop,
    complexity_rule,
    held_out_errors,
    leave_one_out_errors,
    path_errors,
    tau_grid,
)
from harmonia.parts import infwidth
from harmonia.parts.gram import Kernel

Stop = Literal["cv", "loo", "rule", "multi-noise"]

COVERED = 0.999
"""Farther from the mean than Gaussian data of the same covariance are with this probability, and than every training
input, the regression is not trusted."""

VALIDATION_DRAWS = 50
"""Noisy copies of each point that ``stop="multi-noise"`` leaves out."""


class NTKScoreEstimator(BaseEstimator):
    """The score ``grad log p_t`` of diffused data by early-stopped kernel regression with a tangent kernel.

    Denoising score matching is the regression of X_0 on (t, X_t), ``X_t = alpha X_0 + sqrt(h) Z`` (Lemma 3.1): its
    labels are noisy, so it must be stopped early. Training a wide network by gradient descent on it is kernel
    regression under gradient flow, whose whole path comes from one eigendecomposition.

    Arguments:
        mode: ``"paper"``: the two-layer network's kernel, ``f = F(x, t - T_0)``, times uniform. ``"practical"``: what
            samples well: times log-uniform, the Gaussian denoiser plus a learnt correction, a deeper kernel.
        kernel: ``"auto"``: that of the mode; ``"two-layer"``, ``"deep"``, an `infwidth.Sequential` (its tangent
            kernel), or any kernel function.
        t_range: First and last time; ``"auto"``: the mode's, 0.05 to 3 or 0.02 to 4 on the clock G(t).
        schedule: ``"vp"`` (g = 1) or ``"linear"`` (g from 0.1 to 20).
        draws_per_point: Noisy copies of each data point; fewer where they would exceed `max_pairs`.
        stop: When to stop: ``"cv"`` (folds of data points), ``"loo"`` (each data point left out, no further
            eigendecompositions), ``"rule"`` (the paper's, from the kernel's eigenvalues), ``"multi-noise"`` (a fifth of
            the points, many noisy copies each), or a time.
        radius: Denoised points are kept within this distance of the origin (Assumption 3.2) or, in practical mode, of
            the mean; ``"auto"``: 1.1 times the farthest data point.
        separate: Choose a time for every output of the regression (every principal direction of the data, in practical
            mode) instead of one for all; for ``stop="cv"``, ``"loo"`` and ``"multi-noise"``.
        bias: Append a constant to the regression's inputs; False for the paper's own kernel.
        max_pairs: Most noisy copies in all. Of more data points than this, as many are drawn.
        landmarks: Approximate the kernel by this many landmarks (Nystrom); None: exact.
        folds: Folds of ``stop="cv"``.
        random_state: Seed of noise, times and folds.

    Attributes:
        early_stop_: The `EarlyStop`: time, noise level, error curve.
        pairs_: The noisy copies.
        radius_: The radius in use.

    Raises:
        InputError: parameters out of range, or a stopping time that is not positive.

    Example:
        >>> X = np.random.default_rng(0).standard_normal((60, 2)) * [1.0, 0.2]
        >>> model = NTKScoreEstimator(draws_per_point=4, random_state=0).fit(X)
        >>> model.score(0.5, X).shape, model.early_stop_.tau > 0
        ((60, 2), True)

    References:
        Han, Razaviyayn, Xu. Neural Network-Based Score Estimation in Diffusion Models: Optimization and
        Generalization. ICLR 2024, https://arxiv.org/abs/2401.15604
    """

    def __init__(  # untyped: scikit-learn's constructors take anything, and `fit` checks
        self,
        mode="practical",
        *,
        kernel="auto",
        t_range="auto",
        schedule="vp",
        draws_per_point=10,
        stop="cv",
        radius="auto",
        separate=False,
        bias=True,
        max_pairs=3000,
        landmarks=None,
        folds=5,
        random_state=None,
    ):
        self.mode: Literal["practical", "paper"] = mode
        self.kernel: Literal["auto"] | KernelName | infwidth.Sequential | Kernel = kernel
        self.t_range: Literal["auto"] | tuple[float, float] = t_range
        self.schedule: Literal["vp", "linear"] = schedule
        self.draws_per_point: int = draws_per_point
        self.stop: Stop | float = stop
        self.radius: Literal["auto"] | float = radius
        self.separate: bool = separate
        self.bias: bool = bias
        self.max_pairs: int = max_pairs
        self.landmarks: int | None = landmarks
        self.folds: int = folds
        self.random_state: int | np.random.RandomState | None = random_state

    def fit(self, X: Any, y: Any = None) -> NTKScoreEstimator:
        """Learn from data points, one a row, of about unit scale.

        Warns where the data are few, heavy-tailed or of a scale that the last time does not turn into noise.
        """
        points = torch.from_numpy(validate_data(self, X, dtype=np.float64, ensure_min_samples=2))
        self._check_parameters()
        generator = torch.Generator().manual_seed(
            int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        )
        self.process_ = Process(self.schedule)
        form_type = PaperForm if self.mode == "paper" else GaussianForm
        self.t_range_ = self._times(form_type.clock_range)
        _warn_of_data(points, float(self.process_.alpha(torch.tensor(self.t_range_[1]))))
        if len(points) > self.max_pairs:
            points = points[torch.randperm(len(points), generator=generator)[: self.max_pairs]]
        self.form_: Form = (
            PaperForm(self.t_range_[0], self.bias)
            if self.mode == "paper"
            else GaussianForm.of(self.process_, points, self.bias)
        )
        self.centre_ = torch.zeros(points.shape[1], dtype=torch.float64) if self.mode == "paper" else points.mean(0)
        farthest = float((points - self.centre_).norm(dim=1).amax())
        self.radius_ = 1.1 * farthest if self.radius == "auto" else float(self.radius)
        draws = max(1, min(self.draws_per_point, self.max_pairs // len(points)))
        self.pairs_ = draw_pairs(self.process_, points, draws, self.t_range_, self.form_.spacing, generator)
        self.outlier_ = math.inf
        if isinstance(self.form_, GaussianForm):
            farthest = float(self.form_.distance(self.pairs_.t, self.pairs_.x).amax())
            self.outlier_ = max(farthest, math.sqrt(chi2.ppf(COVERED, points.shape[1])))
        self._learn(draws, generator)
        return self

    def _learn(self, draws: int, generator: torch.Generator) -> None:
        kernel = kernel_of(self.form_.kernel if self.kernel == "auto" else self.kernel)
        inputs, labels = self.regression(self.pairs_)
        design: Design
        if self.landmarks is not None and self.landmarks < len(inputs):
            design = NystromDesign(kernel, inputs, self.landmarks, generator)
        else:
            design = ExactDesign(kernel, inputs)
        self.kernel_, self.anchors_, self.flow_ = kernel, design.anchors, design.flow()
        self.early_stop_ = self._stop(design, labels, draws, generator)
        if math.isinf(self.early_stop_.tau):
            warnings.warn("training without end memorises the data: samples will be copies of it", stacklevel=3)
        times = self.early_stop_.separate
        if times is None:
            times = torch.full((labels.shape[1],), self.early_stop_.tau, dtype=torch.float64)
        self._coefficients = self.flow_.separate_coefficients(labels, times)

    def stopped_at(self, tau: float) -> NTKScoreEstimator:
        """The same fit after another training time, for all outputs; infinity memorises."""
        check_is_fitted(self)
        if not tau > 0:
            raise InputError("the stopping time must be positive", tau, "Pass a time.")
        other = copy.copy(self)
        other.early_stop_ = replace(self.early_stop_, tau=float(tau), separate=None)
        _, labels = self.regression(self.pairs_)
        other._coefficients = self.flow_.coefficients(labels, [tau])[0]
        return other

    def _stop(self, design: Design, labels: Tensor, draws: int, generator: torch.Generator) -> EarlyStop:
        taus = tau_grid(self.flow_.values)
        grid = taus.tolist()
        curves = {"loo": leave_one_out_errors(self.flow_, labels, draws, grid)}
        if self.stop == "cv":
            points = int(self.pairs_.source[-1]) + 1
            curves["cv"] = held_out_errors(design, labels, self.pairs_.source, grid, min(self.folds, points), generator)
        elif self.stop == "multi-noise":
            curves["multi-noise"] = self._many_noises(design, labels, grid, generator)
        chosen = curves.get(str(self.stop), curves["loo"])
        totals = {name: one.sum(1) for name, one in curves.items()}
        choices = {name: grid[int(total.argmin())] for name, total in totals.items()}
        # The label noise is what even the best fit leaves.
        sigma = math.sqrt(float(chosen.sum(1).min()) / labels.shape[1])
        choices["rule"] = complexity_rule(self.flow_.values, len(labels), sigma)
        tau = choices[self.stop] if isinstance(self.stop, str) else float(self.stop)
        separate = taus[chosen.argmin(0)] if self.separate and self.stop in curves else None
        return EarlyStop(tau, sigma, taus, chosen.sum(1), choices, totals, chosen, separate)

    def _many_noises(self, design: Design, labels: Tensor, taus: Sequence[float], generator: torch.Generator) -> Tensor:
        """Errors on many noisy copies of a fifth of the points, which training does not see."""
        source = self.pairs_.source
        order = torch.randperm(int(source[-1]) + 1, generator=generator)
        left = torch.zeros(len(order), dtype=torch.bool)
        left[order[: max(1, len(order) // 5)]] = True
        rest = (~left[source]).nonzero()[:, 0]
        points = self.pairs_.x0[left[source]].unique(dim=0)
        fresh = draw_pairs(self.process_, points, VALIDATION_DRAWS, self.t_range_, self.form_.spacing, generator)
        inputs, targets = self.regression(fresh)
        anchors = design.anchors if len(design.anchors) < len(design) else design.anchors[rest]
        return path_errors(self.kernel_(inputs, anchors), design.path(labels[rest], taus, rest), targets)

    def regression(self, pairs: NoisyPairs) -> tuple[Float[Tensor, "n features"], Float[Tensor, "n d"]]:
        """Inputs and noisy labels of the regression that those pairs are."""
        return self.form_.features(pairs.t, pairs.x), self.form_.labels(pairs.t, pairs.x, pairs.x0)

    def denoise_tensor(self, t: Float[Tensor, " n"], x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """`denoise` for tensors; differentiable in x."""
        cross = self.kernel_(self.form_.features(t, x), self.anchors_)
        return self._projected(t, x, cross @ self._coefficients)

    def score_tensor(self, t: Float[Tensor, " n"], x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """`score` for tensors; differentiable in x."""
        return score_of(self.denoise_tensor(t, x), self.process_, t, x)

    def _projected(self, t: Tensor, x: Tensor, output: Tensor) -> Tensor:
        """The denoised point, linear far away from the data and at most `radius_` from their centre."""
        if isinstance(self.form_, GaussianForm):
            output = torch.where((self.form_.distance(t, x) > self.outlier_)[:, None], 0.0, output)
        away = self.form_.denoised(t, x, output) - self.centre_
        return self.centre_ + away * (self.radius_ / away.norm(dim=1, keepdim=True).clamp_min(1e-300)).clamp(max=1)

    def denoise(self, t: float | Float[np.ndarray, " times"], x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """The expected data point ``E[X_0 | X_t = x]``.

        Arguments:
            t: Times, or one for all points.
            x: Noisy points.

        Raises:
            InputError: times outside of the range of training, or points that do not fit.
        """
        times, points = self._checked(t, x)
        with torch.no_grad():
            return self.denoise_tensor(times, points).numpy()

    def score(self, t: float | Float[np.ndarray, " times"], x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """The score ``grad log p_t(x) = (alpha f(t, x) - x) / h``; arguments as `denoise`."""
        times, points = self._checked(t, x)
        with torch.no_grad():
            return self.score_tensor(times, points).numpy()

    def path_(
        self,
        taus: Sequence[float],
        t: float | Float[np.ndarray, " times"],
        x: Float[np.ndarray, "n d"],
    ) -> Float[np.ndarray, "taus n d"]:
        """Denoised points after each of those training times, all from the one eigendecomposition."""
        times, points = self._checked(t, x)
        cross = self.kernel_(self.form_.features(times, points), self.anchors_)
        _, labels = self.regression(self.pairs_)
        outputs = cross @ self.flow_.coefficients(labels, taus)
        return torch.stack([self._projected(times, points, output) for output in outputs]).numpy()

    def _checked(self, t: float | np.ndarray, x: np.ndarray) -> tuple[Tensor, Tensor]:
        check_is_fitted(self)
        points = torch.from_numpy(validate_data(self, x, dtype=np.float64, reset=False))
        times = torch.as_tensor(np.asarray(t, dtype=np.float64)).reshape(-1)
        if len(times) not in (1, len(points)):
            raise InputError("times and points differ in number", f"{len(times)} and {len(points)}", "Match them.")
        first, last = self.t_range_
        if not bool(((times > first * (1 - 1e-6)) & (times < last * (1 + 1e-6))).all()):
            mend = "Stay inside, or fit with another t_range."
            raise InputError(f"times must be between {first:g} and {last:g}", np.asarray(t), mend)
        return times.expand(len(points)), points

    def _times(self, clock_range: tuple[float, float]) -> tuple[float, float]:
        if self.t_range == "auto":
            first, last = self.process_.time(torch.tensor(clock_range, dtype=torch.float64)).tolist()
        else:
            first, last = self.t_range
        if not 0 < first < last < math.inf:
            raise InputError("t_range must be two ascending positive times", self.t_range, "Pass e.g. (0.02, 4.0).")
        return float(first), float(last)

    def _check_parameters(self) -> None:
        if self.mode not in ("practical", "paper"):
            raise InputError("no such mode", repr(self.mode), "Use 'practical' or 'paper'.")
        if isinstance(self.stop, str) and self.stop not in ("cv", "loo", "rule", "multi-noise"):
            raise InputError("no such way to stop", self.stop, "Use cv, loo, rule, multi-noise or a time.")
        if not isinstance(self.stop, str) and not self.stop > 0:
            raise InputError("the stopping time must be positive", self.stop, "Pass a time, or 'cv'.")
        if self.radius != "auto" and not float(self.radius) > 0:
            raise InputError("the radius must be positive", self.radius, "Pass 'auto'.")
        for name, least in (("draws_per_point", 1), ("max_pairs", 2), ("folds", 2), ("landmarks", 1)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, (int, np.integer)) or value < least):
                raise InputError(f"{name} must be a whole number of at least {least}", value, "Pass another.")


def _warn_of_data(points: Tensor, last_alpha: float) -> None:
    n, d = points.shape
    if n < 10 * d:
        warnings.warn(f"{n} points are few for {d} dimensions: fewer than ten each", stacklevel=3)
    energy = points.square().sum(1).sort(descending=True).values
    largest = float(energy[: max(1, n // 100)].sum() / energy.sum().clamp_min(1e-300))
    if n >= 100 and largest > 0.3:
        warnings.warn(
            f"a hundredth of the points has {100 * largest:.0f}% of their energy: heavy tails; transform them",
            stacklevel=3,
        )
    left = last_alpha**2 * float(energy.mean()) / d
    if left > 0.1:
        warnings.warn(
            f"at the last time data of mean square {left:.2g} per coordinate are left in unit noise: standardise the "
            "data, or choose a later last time",
            stacklevel=3,
        )
