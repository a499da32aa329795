"""Weights closest to given ones that make features of a sample have given means: a convex dual, solved by Newton steps.

Primal: minimise ``KL(w || w0) = 1/n sum_o w_o log(w_o / w0_o)`` over weights of mean 1, subject to
``|1/n sum_o w_o f_j(x_o) - target_j| <= C`` for every feature j. Its solution is ``w = w0 exp(f(x) a) / Z``, with

    a = argmin  log Z(a) - target . a + C |a|_1,        Z(a) = 1/n sum_o w0_o exp(f(x_o) a).

The dual is convex in as few unknowns as there are features. ``C |a|`` has a kink; a logarithmic barrier on the
constraints is the same as rounding that kink, in closed form: with ``r = sqrt(m^2 + C^2 a^2)``,

    C |a|  ->  r - m + m log(2 m / (m + r)),

whose slope stays inside (-C, C). So every iterate that is stationary keeps the constraints strictly, and is within
``2 m`` per feature of the optimum; m falls until that gap is below rounding of what matters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from harmonia.core.errors import InputError

_GAP = 1e-8
"""Largest accepted distance from the optimum, in nats of the weights' divergence."""

_STEPS, _HALVINGS = 60, 50
_BLOCK = 16384
"""Rows whose share of a sum is computed at once: no further copy of the features is needed."""

_ELASTIC = 1e-4
"""Ridge on the multipliers where no weights satisfy the constraints, so that violations cost their squares."""


@dataclass(frozen=True)
class Balanced:
    """Weights that balance features, and how well.

    Attributes:
        weights: One for each row of the sample, of mean 1.
        multipliers: The dual solution a: how much each feature had to be pushed.
        before: ``mean(w0 f_j) - target_j``.
        imbalance: ``mean(w f_j) - target_j``.
        divergence: ``KL(w || w0)`` in nats.
        gap: How much smaller the divergence of feasible weights could be at most.
        infeasible: Features that had to be left out of balance, where no weights satisfy all constraints at once.
        steps: Newton steps taken.
    """

    weights: Float64[ndarray, " n"]
    multipliers: Float64[ndarray, " features"]
    before: Float64[ndarray, " features"]
    imbalance: Float64[ndarray, " features"]
    divergence: float
    gap: float
    infeasible: ndarray
    steps: int


def effective_sample_size(weights: Float64[ndarray, " n"]) -> float:
    """``(sum w)^2 / sum w^2``: how many equally weighted rows would vary as little (Kish).

    Example:
        >>> effective_sample_size(np.array([1.0, 1.0, 0.0, 0.0]))
        2.0
    """
    return float(weights.sum() ** 2 / np.square(weights).sum())


def balance_moments(
    features: Float64[ndarray, "n features"],
    target: Float64[ndarray, " target"],
    *,
    base_weights: Float64[ndarray, " rows"] | None = None,
    tol: float = 1e-3,
    ridge: float = 0.0,
) -> Balanced:
    """The weights nearest to `base_weights` under which every feature has its target mean, up to `tol`.

    Entropy balancing with inequality constraints; with a constant base it needs no model of who is in the sample.

    Arguments:
        features: One row for each member of the sample.
        target: Means that the weighted sample should have.
        base_weights: Positive; 1 unless given. They are scaled to mean 1.
        tol: C, the largest accepted imbalance of a feature; 0 for exact balance, infinity for none.
        ridge: Adds ``ridge / 2 |a|^2`` to the dual: imbalances beyond `tol` are then possible, and cost their squares.

    Raises:
        InputError: arrays that do not fit or are not finite, weights that are not positive, a negative number.

    Example:
        >>> ages = np.array([[20.0], [30.0], [40.0], [70.0]])
        >>> found = balance_moments(ages, np.array([50.0]), tol=0.0)
        >>> round(float((found.weights * ages[:, 0]).mean()), 3)
        50.0
    """
    _check(features, target, base_weights, tol, ridge)
    n = len(features)
    base = np.ones(n) if base_weights is None else base_weights / base_weights.mean()
    # In units of its deviation a feature that is nearly constant is as well conditioned as any other.
    scale = _deviations(features)
    scale = np.where(scale > 0, scale, 1.0)
    centred = features - target
    centred /= scale
    problem = _Dual(centred, np.log(base), tol / scale, ridge / scale**2)
    start, feasible = problem.at(np.zeros(features.shape[1])), True
    if np.isinf(tol):
        point, gap, steps = start, 0.0, 0
    else:
        elastic = _Dual(problem.features, problem.log_base, problem.tol, (ridge + _ELASTIC) / scale**2)
        solved = problem.solve(start)
        feasible = solved is not None
        solved = solved or elastic.solve(start)
        if solved is None:
            raise InputError("balancing did not converge", f"{n} rows", "Give a larger tol, or a ridge.")
        point, gap, steps = solved
    imbalance = point.gradient * scale
    return Balanced(
        weights=point.weights,
        multipliers=point.multipliers / scale,
        before=start.gradient * scale,
        imbalance=imbalance,
        divergence=point.divergence,
        gap=gap,
        infeasible=np.flatnonzero(~feasible & (np.abs(imbalance) > tol + 1e-6 * scale)),
        steps=steps,
    )


def _blocks(n: int) -> list[slice]:
    return [slice(start, start + _BLOCK) for start in range(0, n, _BLOCK)]


def _deviations(features: ndarray) -> Float64[ndarray, " features"]:
    """Standard deviations of the columns."""
    mean = features.mean(0)
    return np.sqrt(sum(np.square(features[rows] - mean).sum(0) for rows in _blocks(len(features))) / len(features))


def _check(features: ndarray, target: ndarray, base_weights: ndarray | None, tol: float, ridge: float) -> None:
    if not features.size or len(target) != features.shape[1]:
        got = f"{features.shape} and {target.shape}"
        raise InputError("features and their target means do not fit", got, "Pass (n, J) and (J,), both not empty.")
    if not (np.isfinite(features).all() and np.isfinite(target).all()):
        raise InputError("features and target must be finite", "NaN or infinity", "Repair or drop such rows.")
    if base_weights is not None:
        if base_weights.shape != (len(features),):
            raise InputError("base weights do not fit", base_weights.shape, f"Pass {len(features)} numbers.")
        if not (np.isfinite(base_weights).all() and (base_weights > 0).all()):
            raise InputError(
                "base weights must be positive and finite", base_weights.min(), "Drop or repair such rows."
            )
    for name, value in (("tol", tol), ("ridge", ridge)):
        if not value >= 0:
            raise InputError(f"{name} cannot be negative", value, f"Give {name} >= 0.")


@dataclass(frozen=True)
class _Point:
    """The smooth part of the dual at some multipliers."""

    multipliers: ndarray
    value: float
    weights: ndarray
    gradient: ndarray
    divergence: float


@dataclass(frozen=True)
class _Dual:
    """``log Z(a) + barrier(a) + ridge / 2 |a|^2`` for features whose targets are 0."""

    features: ndarray
    log_base: ndarray
    tol: ndarray
    ridge: ndarray

    def at(self, multipliers: ndarray) -> _Point:
        exponent = self.features @ multipliers
        logits = self.log_base + exponent
        top = logits.max()
        weights = np.exp(logits - top)
        mean = weights.mean()
        weights /= mean
        value = float(top + np.log(mean))
        gradient = weights @ self.features / len(weights)
        return _Point(multipliers, value, weights, gradient, float((weights * exponent).mean()) - value)

    def solve(self, point: _Point) -> tuple[_Point, float, int] | None:
        """Optimum, gap and number of steps, along the barrier's path; None if the constraints contradict each other."""
        count = len(point.multipliers)
        # No weights diverge from the base by more than all weight on its least likely row does: by weak duality a
        # larger dual value proves that no weights satisfy the constraints. With a ridge they need not.
        hard = bool((self.ridge == 0).any())
        most = float(np.log(np.exp(self.log_base).sum()) - self.log_base.min()) + 1e-6 if hard else np.inf
        barrier, steps = 0.05 / count if self.tol.any() else 0.0, 0
        while True:
            last = 2 * count * barrier <= _GAP
            goal = _GAP**2 if last else 0.01 * barrier
            for _ in range(_STEPS):
                direction, decrement = self._newton(point, barrier)
                moved = self._line_search(point, direction, decrement, barrier) if decrement > goal else None
                if moved is None:
                    break
                point, steps = moved, steps + 1
                if -(point.value + float((self.tol * np.abs(point.multipliers)).sum())) > most:
                    return None
            else:
                return None
            if last:
                return point, 2 * count * barrier + decrement, steps
            barrier /= 10

    def total(self, point: _Point, barrier: float) -> float:
        """The whole objective."""
        slope = self.tol * point.multipliers
        root = np.hypot(barrier, slope)
        kinks = root - barrier + (barrier * np.log(2 * barrier / (barrier + root)) if barrier else 0.0)
        return point.value + float(kinks.sum() + (self.ridge * np.square(point.multipliers)).sum() / 2)

    def _newton(self, point: _Point, barrier: float) -> tuple[ndarray, float]:
        """Newton's direction, and half its squared length: how much the objective can still fall."""
        a = point.multipliers
        gradient, curvature = point.gradient + self.ridge * a, self.ridge.copy()
        if barrier:
            root = np.hypot(barrier, self.tol * a)
            gradient += np.square(self.tol) * a / (barrier + root)
            curvature += np.square(self.tol) * barrier / (root * (barrier + root))
        hessian = -np.outer(point.gradient, point.gradient)
        shares = np.sqrt(point.weights / len(point.weights))
        for rows in _blocks(len(shares)):
            scaled = self.features[rows] * shares[rows, None]
            hessian += scaled.T @ scaled
        hessian[np.diag_indices_from(hessian)] += curvature
        mean = max(float(hessian.diagonal().mean()), 1e-300)
        for jitter in (1e-14, 1e-11, 1e-8, 1e-5):
            hessian[np.diag_indices_from(hessian)] += jitter * mean
            try:
                direction = -cho_solve(cho_factor(hessian), gradient)
            except LinAlgError:
                continue
            return direction, float(-gradient @ direction) / 2
        raise InputError("the features' covariance is not finite", mean, "Scale the features down.")

    def _line_search(self, point: _Point, direction: ndarray, decrement: float, barrier: float) -> _Point | None:
        """The first of the steps 1, 1/2, 1/4, ... that lowers the objective enough; None at the limit of rounding."""
        here, length = self.total(point, barrier), 1.0
        for _ in range(_HALVINGS):
            there = self.at(point.multipliers + length * direction)
            if self.total(there, barrier) <= here - 1e-4 * length * decrement:
                return there
            length /= 2
        return None
