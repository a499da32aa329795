"""What self-distilled kernel regression and classification share: parameters, kernels, tuning, steps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.model_selection import KFold, check_cv
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.self_distillation.basis import InitialFit
from harmonia.kernels.self_distillation.rows import KernelFunction, KernelLike, Rows, refuse_too_large
from harmonia.kernels.self_distillation.spectral import Smoother, check_step, target_shares, target_shares_along
from harmonia.kernels.self_distillation.tuning import (
    Criterion,
    Folds,
    GeneralizedCV,
    LeaveOneOut,
    Split,
    Tuned,
    follow,
    follow_forever,
)

Tune = Literal["val", "cv", "gcv", "loo"]
Weights = float | int | Sequence[float] | np.ndarray

_PENALTIES = tuple(10.0**exponent for exponent in np.arange(-6, 3.01, 1 / 3))


class DistilledSpectrum(NamedTuple):
    """How much of the targets each step keeps along each eigenvector of the kernel.

    Attributes:
        eigenvalues: Of the (centred) kernel matrix, largest first, (rank,).
        gains: ``diag(B)`` of each step, (steps, rank); of infinitely many steps only their limit.
        power: Share of the targets' energy along each eigenvector, (rank,).
    """

    eigenvalues: np.ndarray
    gains: np.ndarray
    power: np.ndarray


class SelfDistilledKernel(BaseEstimator):
    """Base of `SelfDistilledKernelRidge` and `SelfDistilledKernelClassifier`."""

    kernel: KernelLike
    lam: float | Literal["opt"]
    alpha: float | Sequence[float] | Literal["opt"]
    steps: int | float
    tune: Tune
    cv: Any
    clip: bool
    fit_intercept: bool
    gamma: float | None
    degree: float
    coef0: float
    time: float
    landmarks: int | None
    random_state: int | np.random.RandomState | None

    def __init__(  # untyped: scikit-learn's constructors take anything, and `fit` checks
        self,
        kernel="rbf",
        *,
        lam=1.0,
        alpha="opt",
        steps=2,
        tune="cv",
        cv=5,
        clip=False,
        fit_intercept=True,
        gamma=None,
        degree=3,
        coef0=1,
        time=math.inf,
        landmarks=None,
        random_state=0,
    ):
        self.kernel = kernel
        self.lam = lam
        self.alpha = alpha
        self.steps = steps
        self.tune = tune
        self.cv = cv
        self.clip = clip
        self.fit_intercept = fit_intercept
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.time = time
        self.landmarks = landmarks
        self.random_state = random_state

    def _fit_steps(self, X: np.ndarray, targets: np.ndarray) -> None:
        self._check_parameters()
        y = torch.tensor(targets, dtype=torch.float64)
        function = KernelFunction(self.kernel, {"gamma": self.gamma, "degree": self.degree, "coef0": self.coef0})
        self._rows = self._choose_rows(function, X)
        data = self._rows(X)
        basis = self._rows.basis(data, bool(self.fit_intercept))
        fit = InitialFit.of(basis, y, Smoother(0.0))
        tuned = self._tune_steps(fit, data, y)
        self.fit_ = dataclasses.replace(fit, smoother=tuned.smoother)
        self.lam_ = tuned.smoother.penalty
        self.alphas_ = np.array(tuned.alphas)
        self.scores_ = np.array(tuned.scores)
        self.best_weight_ = tuned.first
        if self.steps == math.inf:
            self._shares = target_shares(self.fit_.gain, tuned.alphas[0], math.inf)[None]
        else:
            self._shares = target_shares_along(self.fit_.gain, tuned.alphas)
        self.step_ = tuned.step
        gains = self.fit_.gain * self._shares
        self.effective_dof_ = (gains.sum(1) + float(basis.intercept)).numpy()
        energy = self.fit_.coordinates.square().sum(1)
        power = energy / energy.sum().clamp_min(torch.finfo(torch.float64).tiny)
        self.spectrum_ = DistilledSpectrum(basis.eigen.values.numpy(), gains.numpy(), power.numpy())

    def _check_parameters(self) -> None:
        if not (self.steps == math.inf or isinstance(self.steps, Integral)) or not self.steps >= 1:
            raise InputError("'steps' is a whole number of at least 1, or infinite", self.steps, "Give e.g. steps=3.")
        if isinstance(self.lam, str) and self.lam != "opt":
            raise InputError("'lam' is a number >= 0 or 'opt'", repr(self.lam), "Change it.")
        if self.tune not in ("val", "cv", "gcv", "loo"):
            raise InputError("no such way to tune", repr(self.tune), "Use 'val', 'cv', 'gcv' or 'loo'.")
        if isinstance(self.alpha, str):
            if self.alpha != "opt":
                raise InputError("'alpha' is a number, a sequence of numbers, or 'opt'", repr(self.alpha), "Change it.")
            return
        weights = np.atleast_1d(np.asarray(self.alpha, dtype=np.float64))
        if weights.ndim != 1 or not np.isfinite(weights).all():
            raise InputError("weights of the truth are finite numbers", self.alpha, "Give e.g. alpha=0.35.")
        if self.clip and ((weights < 0) | (weights > 1)).any():
            raise InputError("with clip=True weights lie between 0 and 1", self.alpha, "Change alpha or clip.")
        if not isinstance(self.alpha, Real) and len(weights) != self.steps - 1:
            got = f"{len(weights)} weights for {self.steps} steps"
            raise InputError("weights of steps 2, 3, ... are one fewer than the steps", got, "Change one of them.")

    def _choose_rows(self, function: KernelFunction, X: np.ndarray) -> Rows:
        if self.landmarks is None or self.landmarks >= len(X):
            if function.kernel == "precomputed" and X.shape[0] != X.shape[1]:
                raise InputError("a precomputed kernel matrix is square", X.shape, "Pass k(X, X).")
            return Rows.exact(function, X, dense=self.tune == "loo")
        if function.kernel == "precomputed" or self.tune == "loo" or self.landmarks < 1:
            raise InputError(
                "'landmarks' is for kernels that are evaluated here, and not for tune='loo'",
                f"kernel={self.kernel!r}, tune={self.tune!r}, landmarks={self.landmarks}",
                "Leave it out, or use tune='cv' or 'gcv'.",
            )
        chosen = check_random_state(self.random_state).permutation(len(X))[: self.landmarks]
        return Rows.nystrom(function, X, chosen)

    def _tune_steps(self, fit: InitialFit, data: Tensor, y: Tensor) -> Tuned:
        """Choose what is "opt": the penalty, the weights, the step."""
        time, size = float(self.time), y.numel()
        if self.lam == "opt":
            unit = max(float(fit.basis.eigen.values.sum()) / len(y), 1e-12)
            smoothers = [Smoother(scale * unit, time, size) for scale in _PENALTIES]
        else:
            smoothers = [Smoother(float(self.lam), time, size)]
        weights = self._given_weights()
        if self.lam == "opt" or isinstance(self.alpha, str):
            criterion = self._criterion(fit, data, y)
        else:  # nothing to tune, but errors are told all the same
            criterion = GeneralizedCV(fit, len(y))
        if self.steps == math.inf:
            found = [follow_forever(criterion, smoother, weights[0], self.clip) for smoother in smoothers]
        else:
            found = [follow(criterion, smoother, weights, self.clip) for smoother in smoothers]
        return min(found, key=lambda tuned: tuned.score)

    def _given_weights(self) -> list[float | None]:
        """Weights of steps 2, 3, ..., of infinitely many steps their one weight; None where it is tuned."""
        count = 1 if self.steps == math.inf else int(self.steps) - 1
        if isinstance(self.alpha, str):
            return [None] * count
        weights = np.atleast_1d(np.asarray(self.alpha, dtype=np.float64)).tolist()
        return weights * count if isinstance(self.alpha, Real) else weights

    def _criterion(self, fit: InitialFit, data: Tensor, y: Tensor) -> Criterion:
        match self.tune:
            case "gcv":
                return GeneralizedCV(fit, len(y))
            case "loo":
                refuse_too_large(
                    5 * y.numel() * len(y), f"leaving out each of {len(y)} rows", "Use tune='cv' or 'gcv'."
                )
                return LeaveOneOut(fit, y)
        if len(y) < 2:
            raise InputError("tuning needs rows to hold out", "n_samples = 1", "Give two rows or more, or fix alpha.")
        intercept, features = bool(self.fit_intercept), self._rows.are_features
        return Folds.of(data, y, self._splits(len(y)), intercept=intercept, features=features)

    def _splits(self, rows: int) -> list[Split]:
        cv = self.cv
        if isinstance(cv, Integral):
            cv = KFold(min(int(cv), rows), shuffle=True, random_state=self.random_state)
        splits = list(check_cv(cv).split(np.zeros((rows, 1))))
        return splits[:1] if self.tune == "val" else splits

    def _predicted(self, X: Any, shares: Tensor) -> np.ndarray:
        return self.fit_.predict_rows(self._rows(X), shares).numpy()

    def _validated(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float64, reset=False)

    def _shares_of(self, step: float | int | None, alpha: float | int | None) -> Tensor:
        """Shares of the true targets in the target of a step."""
        step = self.step_ if step is None else step
        if alpha is None and self.steps == math.inf:
            alpha = self.alphas_[0]
        elif alpha is None and isinstance(self.alpha, Real):
            alpha = self.alpha
        if alpha is not None:  # one weight for all steps has a closed form, so any of them is at hand
            return target_shares(self.fit_.gain, float(alpha), step)
        if check_step(step) > len(self._shares):
            raise InputError("there is no such step", step, f"Steps 1 to {len(self._shares)} were taken.")
        return self._shares[check_step(step) - 1]

    def _path_shares(self, alpha: Weights | None) -> Tensor:
        """Shares of the true targets in the targets of all steps; for several weights one after the other."""
        if alpha is None:
            return self._shares
        if np.ndim(alpha):
            return torch.stack([self._path_shares(float(one)) for one in np.asarray(alpha)])
        weight = float(np.asarray(alpha))
        if self.steps == math.inf:
            return target_shares(self.fit_.gain, weight, math.inf)[None]
        return target_shares_along(self.fit_.gain, [weight] * (int(self.steps) - 1))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = isinstance(self.kernel, str) and self.kernel == "precomputed"
        return tags
