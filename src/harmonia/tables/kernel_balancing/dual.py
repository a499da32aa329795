"""Weights closest to given ones that make features of a sample have given means: a convex dual, solved by Newton steps.

Primal: minimise ``KL(w || w0) = 1/n sum_o w_o log(w_o / w0_o)`` over weights of mean 1, subject to
``|1/n sum_o w_o f_j(x_o) - target_j| <= C`` for every feature j. Its solution is ``w = w0 exp(f(x) a) / Z``, with

    a = argmin  log Z(a) - target . a + C |a|_1,        Z(a) = 1/n sum_o w0_o exp(f(x_o) a).

The dual is convex in as few unknowns as there are features. ``C |a|`` has a kink; a logarithmic barrier on the
constraints is the same as rounding that kink, in closed form: with ``r = sqrt(m^2 + C^2 a^2)``,

    C |a|  ->  r - m + m log(2 m / (m + r)),

whose slope stays inside (-C, C). So every iterate that is stationary keeps the constraints strictly, and is within
``2 m`` per feature of the optimum; m falls until that gap is below rounding of what matters.

Where the sample lacks what the target has, the optimum lies far out and Newton's steps from 0 are tiny. It is then
approached through larger ridges, each solved from the solution of the one before. Without a ridge a direction a with
``max_o f(x_o) a - target . a + C |a|_1 < 0`` proves that no weights satisfy the constraints (Farkas).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from numpy.typing import ArrayLike
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from harmonia.core.checks import as_numbers
from harmonia.core.errors import InputError
from harmonia.tables.kernel_balancing.inputs import positive_weights

_GAP = 1e-8
"""Largest accepted distance from the optimum, in nats of the weights' divergence."""

_STEPS, _MOST_STEPS, _HALVINGS = 30, 1000, 50
"""Newton steps at once from where one is, before a far optimum is approached; of any stage; halvings of a step."""

_BLOCK = 16384
"""Rows whose share of a sum is computed at once: no further copy of the features is needed."""

_ELASTIC = 1e-4
"""Largest ridge, in deviations of the features, where no weights satisfy the constraints: violations cost squares."""

_CALMER = 4.0
"""Factor between the ridges through which a far optimum is approached."""

_LEAST_RIDGE, _ROUGH = 1e-12, 1e-2
"""Where the approach to a problem without a ridge ends, and how far from their optima its first stages do."""

_PROOF = 1e-9
"""In deviations of the features: constraints that contradict each other by less may do so by rounding."""

_CONSTANT = 1e-12
"""Deviations below this share of a feature's size are rounding: no weights move its mean."""


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
        infeasible: Features left out of balance because no weights can do better: their target lies beyond all rows,
            or, without a ridge, it is proven that no weights satisfy all constraints at once.
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
    features: ArrayLike,
    target: ArrayLike,
    *,
    base_weights: ArrayLike | None = None,
    tol: float = 1e-3,
    ridge: float = 0.0,
) -> Balanced:
    """The weights nearest to `base_weights` under which every feature has its target mean, up to `tol`.

    Entropy balancing with inequality constraints; with a constant base it needs no model of who is in the sample.

    Arguments:
        features: (n, J) numbers, one row for each member of the sample.
        target: (J,): means that the weighted sample should have.
        base_weights: (n,), positive; 1 unless given. They are scaled to mean 1.
        tol: C, the largest accepted imbalance of a feature; 0 for exact balance, infinity for none.
        ridge: Adds ``ridge / 2 |a|^2`` to the dual: imbalances beyond `tol` are then possible, and cost their squares.

    Raises:
        InputError: arrays that do not fit or are not finite, weights that are not positive, a negative number, or a
            problem too hard to solve; a larger ridge makes it easier.

    Example:
        >>> ages = np.array([[20.0], [30.0], [40.0], [70.0]])
        >>> found = balance_moments(ages, np.array([50.0]), tol=0.0)
        >>> round(float((found.weights * ages[:, 0]).mean()), 3)
        50.0
    """
    features, target, base = _checked(features, target, base_weights, tol, ridge)
    # In units of its deviation a feature that is nearly constant is as well conditioned as any other.
    deviations = _deviations(features)
    low, high = features.min(0), features.max(0)
    varies = deviations > _CONSTANT * np.maximum(np.maximum(-low, high), np.abs(target))
    scale = np.where(varies, deviations, 1.0)
    fixed = np.where(varies, 0.0, features[0] - target)
    centred = features - target
    centred /= scale
    centred[:, ~varies] = 0.0
    problem = _Dual(centred, np.log(base), tol / scale, ridge / scale**2)
    start = problem.at(np.zeros(len(target)))
    solved = _Solved(start, 0.0, 0, True) if np.isinf(tol) else problem.solve(start)
    imbalance = solved.point.gradient * scale + fixed
    beyond = np.maximum(target - high, low - target) > tol + _CONSTANT * np.abs(target)
    left = np.abs(imbalance) > tol + 1e-6 * scale
    return Balanced(
        weights=solved.point.weights,
        multipliers=solved.point.multipliers / scale,
        before=start.gradient * scale + fixed,
        imbalance=imbalance,
        divergence=solved.point.divergence,
        gap=solved.gap,
        infeasible=np.flatnonzero(beyond | (left & (not solved.feasible))),
        steps=solved.steps,
    )


def _blocks(n: int) -> list[slice]:
    return [slice(start, start + _BLOCK) for start in range(0, n, _BLOCK)]


def _deviations(features: ndarray) -> Float64[ndarray, " features"]:
    """Standard deviations of the columns."""
    mean = features.mean(0)
    return np.sqrt(sum(np.square(features[rows] - mean).sum(0) for rows in _blocks(len(features))) / len(features))


def _checked(
    features: ArrayLike, target: ArrayLike, base_weights: ArrayLike | None, tol: float, ridge: float
) -> tuple[ndarray, ndarray, ndarray]:
    """Features, target and base weights of mean 1 as float64."""
    f, goal = as_numbers(features, "features"), as_numbers(target, "target means")
    if f.ndim != 2 or not f.size or goal.shape != f.shape[1:]:
        got = f"{f.shape} and {goal.shape}"
        raise InputError("features and their target means do not fit", got, "Pass (n, J) and (J,), both not empty.")
    if not (np.isfinite(f).all() and np.isfinite(goal).all()):
        raise InputError("features and target must be finite", "NaN or infinity", "Repair or drop such rows.")
    for name, value, highest in (("tol", tol, np.inf), ("ridge", ridge, np.finfo(float).max)):
        if not 0 <= value <= highest:
            raise InputError(f"{name} cannot be negative, nor endless", value, f"Give {name} >= 0.")
    return f, goal, positive_weights(base_weights, len(f))


@dataclass(frozen=True)
class _Point:
    """The smooth part of the dual at some multipliers."""

    multipliers: ndarray
    value: float
    weights: ndarray
    gradient: ndarray
    divergence: float


class _Descent(NamedTuple):
    """Where Newton's steps led, by how much the objective could still fall, and whether that is little enough."""

    point: _Point
    decrement: float
    steps: int
    settled: bool


class _Solved(NamedTuple):
    """An optimum, its gap, the steps taken, and whether the constraints could all be kept."""

    point: _Point
    gap: float
    steps: int
    feasible: bool


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

    def solve(self, start: _Point) -> _Solved:
        """The optimum along the barrier's path; that of an elastic problem if the constraints contradict each other."""
        count = len(start.multipliers)
        problem, point, steps, near = self, start, 0, True
        first = barrier = 0.05 / count if self.tol.any() else 0.0
        while True:
            last = 2 * count * barrier <= _GAP
            found = problem._descend(
                point, barrier, _GAP**2 if last else 0.01 * barrier, _STEPS if near else _MOST_STEPS
            )
            steps += found.steps
            if near and (not found.settled or self._contradicts(found.point)):
                near = False
                problem, point, size, more = self._approach(start, first)
                barrier, steps = first * size, steps + more
                continue
            if not found.settled:
                raise self._too_hard(steps)
            point = found.point
            if last:
                return _Solved(point, 2 * count * barrier + found.decrement, steps, problem is self)
            barrier /= 10

    def _approach(self, point: _Point, barrier: float) -> tuple[_Dual, _Point, float, int]:
        """Near the optimum by way of larger ridges; near an elastic problem's once a contradiction is proven.

        As the ridge falls, multipliers that contradictions hold up grow in proportion, and the barrier with them.
        """
        least, steps, feasible = float(self.ridge.min()), 0, True
        level, metric = max(1.0, least), self.ridge / least if least else np.ones_like(self.ridge)
        while True:
            problem = replace(self, ridge=level * metric) if level != least else self
            size = 1 / level if level else 1 / _LEAST_RIDGE
            further = self.at(_CALMER * point.multipliers)
            point = min(point, further, key=lambda at: problem.total(at, barrier * size))
            found = problem._descend(point, barrier * size, _ROUGH, _MOST_STEPS)
            point, steps = found.point, steps + found.steps
            if not found.settled:
                raise self._too_hard(steps)
            feasible = feasible and not self._contradicts(point)
            if level == least or (not feasible and level <= _ELASTIC):
                return problem, point, size, steps
            level = max(level / _CALMER, least) if level > _LEAST_RIDGE else least

    def _too_hard(self, steps: int) -> InputError:
        return InputError("balancing did not converge", f"{steps} steps", "Give a larger ridge: any has a solution.")

    def _contradicts(self, point: _Point) -> bool:
        """Whether the multipliers prove that no weights satisfy the constraints; with a ridge none have to."""
        a = np.abs(point.multipliers)
        highest = float((self.features @ point.multipliers).max())
        return not self.ridge.any() and highest + float(self.tol @ a) < -_PROOF * float(a.sum())

    def _descend(self, point: _Point, barrier: float, goal: float, most: int) -> _Descent:
        """Newton's steps until the objective can fall by no more than the goal, or by nothing above rounding."""
        for steps in range(most):
            direction, decrement = self._newton(point, barrier)
            moved = self._line_search(point, direction, decrement, barrier) if decrement > goal else None
            if moved is None:
                return _Descent(point, decrement, steps, True)
            point = moved
        return _Descent(point, decrement, most, False)

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
        # Where all weight is on few rows the covariance is a rounding error of the second moments.
        mean, moment = float(hessian.diagonal().mean()), float(np.square(point.gradient).mean())
        mean = max(mean, 1e-8 * moment, 1e-30)
        for jitter in (1e-14, 1e-11, 1e-8, 1e-5):
            hessian[np.diag_indices_from(hessian)] += jitter * mean
            try:
                direction = -cho_solve(cho_factor(hessian), gradient)
            except LinAlgError:
                continue
            return direction, float(-gradient @ direction) / 2
        raise InputError("the features' covariance is singular", mean, "Give a larger ridge.")

    def _line_search(self, point: _Point, direction: ndarray, decrement: float, barrier: float) -> _Point | None:
        """The first of the steps 1, 1/2, 1/4, ... that lowers the objective enough; None at the limit of rounding."""
        here, length = self.total(point, barrier), 1.0
        for _ in range(_HALVINGS):
            there = self.at(point.multipliers + length * direction)
            fall = here - self.total(there, barrier)
            # Part of a step that changes nothing is rounding, of which there would be no end.
            if fall >= 1e-4 * length * decrement and (fall > 0 or length == 1):
                return there
            length /= 2
        return None
