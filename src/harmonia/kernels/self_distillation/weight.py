"""The best weight of the truth, in closed form.

The student of a step is affine in its weight: ``f_alpha = alpha f_1 + (1 - alpha) g`` with the ordinary fit ``f_1`` and
the student ``g`` that sees predictions only. Its squared error on held-out targets ``v`` is a parabola with the minimum

    alpha* = <v - g, f_1 - g> / |f_1 - g|^2

the slope of a regression through the origin, which also gives its standard error. For generalised cross-validation the
parabola is divided by ``(1 - dof / n)^2``, with degrees of freedom affine in alpha; that has one stationary point too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy.optimize import minimize_scalar
from torch import Tensor

from harmonia.core.errors import InputError

Outputs = Float[ndarray, "..."] | Float[Tensor, "..."]
Reading = Literal["over-regularised", "under-regularised", "about right"]

NEAR_ONE = 0.2
"""A weight this close to 1 says that the penalty is about right."""


@dataclass(frozen=True)
class OptimalWeight:
    """The best weight of the truth, and what it says about the ordinary fit.

    Above 1 it is over-regularised, below 1 under-regularised: with the weight ``xi = 1 - alpha`` of the teacher,
    ``sign(xi) = -sign(R'(penalty))`` for the risk R of ridge regression (arXiv:2602.17565).

    Attributes:
        value: alpha*, not clipped; NaN if the student equals the teacher, so that the weight has no effect.
        error: Its standard error; NaN where there is none (generalised cross-validation).

    Example:
        >>> OptimalWeight(2.3, 0.2).reading
        'over-regularised'
    """

    value: float
    error: float = math.nan

    @property
    def reading(self) -> Reading:
        """What the weight says about the penalty; within two standard errors of 1, nothing."""
        margin = max(NEAR_ONE, 0.0 if math.isnan(self.error) else 2 * self.error)
        if math.isnan(self.value) or abs(self.value - 1) <= margin:
            return "about right"
        return "over-regularised" if self.value > 1 else "under-regularised"

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "The student equals its teacher, so the weight of the truth has no effect."
        number = f"{self.value:.2f}" + ("" if math.isnan(self.error) else f" ± {self.error:.2f}")
        start = f"The best weight of the truth is {number}"
        match self.reading:
            case "about right":
                return f"{start}, not clearly away from 1: the penalty is about right, distilling changes little."
            case "over-regularised":
                return f"{start}, above 1: the fit is over-regularised, a smaller penalty would do better."
            case _:
                return f"{start}, below 1: the fit is under-regularised, a larger penalty would do better."


@dataclass(frozen=True)
class Mixture:
    """Held-out errors of the two ends of a step, between which its weight chooses.

    Attributes:
        first: Errors of the ordinary fit (weight 1).
        pure: Errors of the student that sees predictions only (weight 0).
        first_dof, pure_dof: Degrees of freedom over rows, for generalised cross-validation; 0 for held-out errors.
    """

    first: Float[Tensor, "*shape"]
    pure: Float[Tensor, "*shape"]
    first_dof: float = 0.0
    pure_dof: float = 0.0

    def score(self, alpha: float) -> float:
        """Mean squared error, corrected for degrees of freedom, of the student with that weight."""
        dof = alpha * self.first_dof + (1 - alpha) * self.pure_dof
        if dof >= 1:
            return math.inf
        return float((alpha * self.first + (1 - alpha) * self.pure).square().mean()) / (1 - dof) ** 2

    def best(self) -> OptimalWeight:
        """The weight with the least score; NaN if there is none."""
        slope = self.first - self.pure
        q0, q1, q2 = (float(x.sum()) for x in (self.pure.square(), 2 * self.pure * slope, slope.square()))
        if q2 <= 1e-20 * max(q0, float(self.first.square().sum())):
            return OptimalWeight(math.nan)
        # Stationary point of (q0 + q1 x + q2 x^2) / (t0 + t1 x)^2.
        t0, t1 = 1 - self.pure_dof, self.pure_dof - self.first_dof
        scale = 2 * q2 * t0 - t1 * q1
        value = (2 * t1 * q0 - q1 * t0) / scale if scale else math.inf
        if not math.isfinite(self.score(value)):  # beyond the pole, where degrees of freedom exceed the rows
            return OptimalWeight(math.nan)
        if t1 != 0:
            return OptimalWeight(value)
        residual = self.pure + value * slope
        return OptimalWeight(value, math.sqrt(float((slope * residual).square().sum())) / q2)


def optimal_weight(v: Outputs, f_teacher: Outputs, f_student: Outputs) -> OptimalWeight:
    """The best weight of the truth for one step of distillation, with its standard error.

    Arguments:
        v: Held-out targets, of any shape; classes as one-hot rows.
        f_teacher: What the ordinary fit predicts for them; probabilities for classes.
        f_student: What a student that was trained on predictions only (weight 0) predicts.

    Raises:
        InputError: arrays of different shapes, empty, or not finite.

    Example:
        >>> v = np.array([1.0, 2.0, 3.0])
        >>> round(optimal_weight(v, 0.8 * v, 0.6 * v).value, 6)
        2.0
    """
    truth, teacher, student = (torch.as_tensor(np.asarray(x, dtype=np.float64)) for x in (v, f_teacher, f_student))
    if not truth.shape == teacher.shape == student.shape:
        got = ", ".join(str(tuple(x.shape)) for x in (truth, teacher, student))
        raise InputError("targets and predictions differ in shape", got, "Pass three arrays of one shape.")
    if not truth.numel():
        raise InputError("there are no held-out targets", "an empty array", "Hold some rows out.")
    if not all(bool(x.isfinite().all()) for x in (truth, teacher, student)):
        raise InputError("targets or predictions are not finite", "NaN or infinity", "Check the training.")
    return Mixture(truth - teacher, truth - student).best()


def optimal_alpha(v: Outputs, f_teacher: Outputs, f_student: Outputs, clip: bool = False) -> float:
    """The best weight of the truth for one step of distillation.

    Arguments:
        v, f_teacher, f_student: As of `optimal_weight`.
        clip: Whether to keep to the paper's domain, 0 to 1.

    Returns:
        ``<v - g, f - g> / |f - g|^2``; 1 where the student equals its teacher.

    Example:
        >>> v = np.array([1.0, 2.0, 3.0])
        >>> optimal_alpha(v, 0.8 * v, 0.6 * v, clip=True)
        1.0
    """
    value = optimal_weight(v, f_teacher, f_student).value
    return usable(value, clip)


def optimal_alpha_of_log_loss(labels: Float[ndarray, "n k"], f_teacher: Outputs, f_student: Outputs) -> float:
    """The weight in [0, 1] whose mixed probabilities have the least cross entropy; a convex search.

    Arguments:
        labels: Classes as one-hot rows.
        f_teacher, f_student: Probabilities of the ordinary fit and of the student of weight 0.

    Example:
        >>> labels = np.eye(2)
        >>> teacher, student = np.array([[0.9, 0.1], [0.7, 0.3]]), np.full((2, 2), 0.5)
        >>> round(optimal_alpha_of_log_loss(labels, teacher, student), 3)
        0.625
    """
    right_teacher, right_student = ((labels * np.asarray(p)).sum(1) for p in (f_teacher, f_student))

    def loss(alpha: float) -> float:
        mixed = alpha * right_teacher + (1 - alpha) * right_student
        return -float(np.log(np.maximum(mixed, 1e-12)).mean())

    found = minimize_scalar(loss, bounds=(0.0, 1.0), method="bounded", options={"xatol": 1e-6})
    return float(found.x)


def usable(alpha: float, clip: bool) -> float:
    """An optimal weight as it is applied: 1 where it has no effect, clipped if wanted."""
    if math.isnan(alpha):
        return 1.0
    return min(1.0, max(0.0, alpha)) if clip else alpha
