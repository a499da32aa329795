"""Scaling laws of training runs: how loss falls with model size and data, with intervals, and what follows from it.

    L(N, D) = E + A N^-a + B D^-b

fitted as in Hoffmann et al. 2022 (arXiv 2203.15556, appendix D.3): with theta = (log A, log B, log E, a, b),

    min_theta sum_i Huber_delta( LSE(log A - a log N_i, log B - b log D_i, log E) - log L_i ),   delta = 1e-3,

by L-BFGS with analytic gradients from a grid of starts. Sizes are centred in the logarithm, which makes the problem
round; that changes nothing else.
"""

from __future__ import annotations

import warnings
from itertools import product
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from numpy.typing import ArrayLike
from scipy.optimize import minimize, minimize_scalar
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from harmonia.core.errors import InputError

Numbers: TypeAlias = ArrayLike | float | int
NAMES = ("E", "A", "B", "a", "b")
FEWEST_RUNS = 8
_EXPONENTS = (1e-3, 3.0)
_NEGLIGIBLE = 0.01


class Optimal(NamedTuple):
    """The best split of a budget of computation: parameters, tokens, and the loss they reach."""

    params: float
    tokens: float
    loss: float


class ScalingLaw(BaseEstimator):
    """``L(N, D) = E + A N^-a + B D^-b`` from finished runs, with bootstrap intervals.

    Arguments:
        delta: Where the Huber loss turns from squares to absolute values, in log loss.
        resamples: Bootstrap resamples of the runs, for the intervals.
        random_state: Seed of the bootstrap.

    Attributes:
        E_, A_, B_, a_, b_: The law.
        draws_: The same of every resample, ``[resamples, 5]``.

    Raises:
        InputError: fewer than 8 runs, fewer than 3 sizes or amounts of data, or values that are not positive.

    Example:
        >>> N, D = np.meshgrid(np.logspace(5, 9, 5), np.logspace(6, 10, 5))
        >>> N, D = N.ravel(), D.ravel()
        >>> law = ScalingLaw(resamples=0).fit(N, D, 1.7 + 400 * N**-0.34 + 410 * D**-0.28)
        >>> round(law.a_, 3), round(law.b_, 3), round(law.E_, 2)
        (0.34, 0.28, 1.7)
    """

    def __init__(self, delta=1e-3, resamples=200, random_state=0):
        self.delta = delta
        self.resamples = resamples
        self.random_state = random_state

    def fit(self, N: ArrayLike, D: ArrayLike, loss: ArrayLike) -> ScalingLaw:
        """Fit to runs.

        Arguments:
            N: Parameters of each run.
            D: Tokens (or seconds, or notes) each was trained on.
            loss: Held-out loss each reached.
        """
        size, data, reached = (np.asarray(values, dtype=np.float64).ravel() for values in (N, D, loss))
        _check_runs(size, data, reached)
        x, y, z = np.log(size), np.log(data), np.log(reached)
        self._centre = np.array([x.mean(), y.mean()])
        runs = np.stack([x - x.mean(), y - y.mean(), z])
        best = min((_fitted(runs, start, self.delta) for start in _starts(z)), key=lambda found: found[1])[0]
        self._set(best)
        rng = np.random.default_rng(self.random_state)
        self.draws_ = np.empty((self.resamples, 5))
        for row in range(self.resamples):
            self.draws_[row] = self._plain(_fitted(runs[:, _resample(rng, size, data)], best, self.delta)[0])
        for name, value, term in (("a", self.a_, self.A_ * size**-self.a_), ("b", self.b_, self.B_ * data**-self.b_)):
            at_bound = not 1.05 * _EXPONENTS[0] < value < 0.95 * _EXPONENTS[1]
            if at_bound or np.ptp(term) < _NEGLIGIBLE * np.ptp(reached):
                warnings.warn(f"these runs do not identify the exponent {name}", stacklevel=2)
        self.size_, self.data_, self.loss_ = size, data, reached
        return self

    def predict(self, N: Numbers, D: Numbers) -> Float64[ndarray, "*runs"]:
        """Loss at other sizes and amounts of data."""
        check_is_fitted(self, "E_")
        return np.asarray(self.E_ + self.A_ * np.asarray(N) ** -self.a_ + self.B_ * np.asarray(D) ** -self.b_)

    def optimal(self, computation: float, per_parameter: float = 6.0) -> Optimal:
        """Size and data that reach the lowest loss with C = 6 N D operations.

        ``N = G (C/6)^(b/(a+b)),  D = (1/G) (C/6)^(a/(a+b)),  G = (a A / (b B))^(1/(a+b))``

        Arguments:
            computation: C, in operations.
            per_parameter: Operations per parameter and token.
        """
        check_is_fitted(self, "E_")
        if not computation > 0:
            raise InputError("a budget of computation is positive", computation, "Pass operations, such as 1e18.")
        product_, both = computation / per_parameter, self.a_ + self.b_
        ratio = (self.a_ * self.A_ / (self.b_ * self.B_)) ** (1 / both)
        params, tokens = ratio * product_ ** (self.b_ / both), product_ ** (self.a_ / both) / ratio
        return Optimal(float(params), float(tokens), float(self.predict(params, tokens)))

    def confint(self, level: float = 0.95) -> dict[str, tuple[float, float]]:
        """Percentile bootstrap intervals of E, A, B, a, b."""
        check_is_fitted(self, "E_")
        if not len(self.draws_):
            raise InputError("intervals need resamples", "resamples=0", "Fit with resamples=200.")
        low, high = np.quantile(self.draws_, [(1 - level) / 2, (1 + level) / 2], axis=0)
        return {name: (float(low[i]), float(high[i])) for i, name in enumerate(NAMES)}

    def interval(self, N: Numbers, D: Numbers, level: float = 0.95) -> Float64[ndarray, "2 *runs"]:
        """Interval of the law's value at other sizes and amounts of data."""
        check_is_fitted(self, "E_")
        e, a_, b_, alpha, beta = (self.draws_[:, i].reshape(-1, *[1] * np.ndim(N)) for i in range(5))
        values = e + a_ * np.asarray(N, dtype=float) ** -alpha + b_ * np.asarray(D, dtype=float) ** -beta
        return np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)

    def _set(self, theta: ndarray) -> None:
        self.E_, self.A_, self.B_, self.a_, self.b_ = map(float, self._plain(theta))

    def _plain(self, theta: ndarray) -> Float64[ndarray, "5"]:
        """E, A, B, a, b from centred log A, log B, log E, a, b."""
        log_a, log_b, log_e, a, b = theta
        return np.array([np.exp(log_e), np.exp(log_a + a * self._centre[0]), np.exp(log_b + b * self._centre[1]), a, b])


def _check_runs(size: ndarray, data: ndarray, loss: ndarray) -> None:
    if not len(size) == len(data) == len(loss):
        got = f"{len(size)}, {len(data)} and {len(loss)}"
        raise InputError("a run has a size, an amount of data and a loss", got, "Pass equally many.")
    values = np.concatenate([size, data, loss])
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise InputError("sizes, amounts of data and losses are positive", "zero, NaN or less", "Drop such runs.")
    got = f"{len(size)} runs, {len(np.unique(size))} sizes, {len(np.unique(data))} amounts of data"
    if len(size) < FEWEST_RUNS or min(len(np.unique(size)), len(np.unique(data))) < 3:
        raise InputError("there are too few runs for a scaling law", got, "Pass 8 runs, 3 sizes, 3 amounts of data.")


def _starts(log_loss: ndarray) -> list[Float64[ndarray, "5"]]:
    """Twelve starts around the data: the asymptote below the best run, the two terms of its order, exponents low to
    high."""
    best, spread = float(log_loss.min()), float(np.exp(log_loss.max()) - np.exp(log_loss.min())) + 1e-9
    return [
        np.array([np.log(spread / 2), np.log(spread / 2), best + np.log(below), a, b])
        for below, a, b in product((0.5, 0.8, 0.95), (0.2, 0.6), (0.2, 0.6))
    ]


def _fitted(runs: ndarray, start: ndarray, delta: float) -> tuple[Float64[ndarray, "5"], float]:
    bounds = [(None, None)] * 3 + [_EXPONENTS] * 2
    options = {"maxiter": 500, "ftol": 1e-12, "gtol": 1e-9}
    found = minimize(objective, start, (runs, delta), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return found.x, float(found.fun)


def objective(theta: ndarray, runs: ndarray, delta: float) -> tuple[float, ndarray]:
    """The sum of Huber losses over delta, and its gradient.

    Arguments:
        theta: log A, log B, log E, a, b.
        runs: Rows log N, log D, log L.
        delta: Where squares turn into absolute values.
    """
    x, y, z = runs
    terms = np.stack([theta[0] - theta[3] * x, theta[1] - theta[4] * y, np.full_like(x, theta[2])])
    top = terms.max(0)
    shares = np.exp(terms - top)
    total = shares.sum(0)
    residual = top + np.log(total) - z
    shares /= total
    size = np.abs(residual)
    value = np.where(size <= delta, 0.5 * residual**2 / delta, size - 0.5 * delta).sum()
    slope = np.clip(residual / delta, -1, 1)
    each = shares @ slope
    return float(value), np.array([*each, -(shares[0] * slope) @ x, -(shares[1] * slope) @ y])


def _resample(rng: np.random.Generator, size: ndarray, data: ndarray) -> ndarray:
    """Runs with replacement, in which at least three sizes and amounts of data remain."""
    for _ in range(100):
        rows = rng.integers(0, len(size), len(size))
        if min(len(np.unique(size[rows])), len(np.unique(data[rows]))) >= 3:
            return rows
    return np.arange(len(size))


def effective_tokens(unique: ArrayLike, epochs: ArrayLike, half_life: float) -> Float64[ndarray, "*runs"]:
    """What repeated data are worth: ``U (1 + R (1 - exp(-(epochs - 1) / R)))`` (Muennighoff et al. 2023).

    Arguments:
        unique: Tokens U seen for the first time.
        epochs: How often each was seen, at least once.
        half_life: R, the number of repetitions by which they have lost most of their worth.

    Example:
        >>> effective_tokens([100.0, 100.0], [1, 1000], 15.0).tolist()
        [100.0, 1600.0]
    """
    unique, epochs = np.asarray(unique, dtype=float), np.asarray(epochs, dtype=float)
    if (epochs < 1).any() or not half_life > 0:
        raise InputError("data are seen once or more, and R is positive", f"R = {half_life}", "Mend them.")
    return unique * (1 + half_life * (1 - np.exp(-(epochs - 1) / half_life)))


def fit_repetition(law: ScalingLaw, N: Numbers, unique: ArrayLike, epochs: ArrayLike, loss: ArrayLike) -> float:
    """The R of `effective_tokens` by which a law explains runs on repeated data best, in squared log loss."""
    observed = np.log(np.asarray(loss, dtype=float))

    def error(log_r: float) -> float:
        return float(
            np.square(np.log(law.predict(N, effective_tokens(unique, epochs, np.exp(log_r)))) - observed).sum()
        )

    return float(np.exp(minimize_scalar(error, bounds=(np.log(0.1), np.log(1e4)), method="bounded").x))


class IsoFlop(NamedTuple):
    """Parabolas through runs of equal computation: budgets, best sizes, and the exponent of one in the other."""

    computation: Float64[ndarray, " budgets"]
    best_size: Float64[ndarray, " budgets"]
    exponent: float


def isoflop(N: ArrayLike, computation: ArrayLike, loss: ArrayLike) -> IsoFlop:
    """The best size for each budget: the lowest point of a parabola in log N through its runs.

    Raises:
        InputError: a budget with fewer than three sizes, or one whose parabola has no lowest point.

    Example:
        >>> N = np.tile(np.logspace(4, 8, 9), 3)
        >>> C = np.repeat([1e13, 1e15, 1e17], 9)
        >>> loss = 1 + 0.1 * (np.log10(N) - 0.5 * np.log10(C / 6))**2
        >>> round(isoflop(N, C, loss).exponent, 3)
        0.5
    """
    size, budget, reached = (np.asarray(values, dtype=np.float64) for values in (N, computation, loss))
    best = []
    for each in np.unique(budget):
        rows = budget == each
        if len(np.unique(size[rows])) < 3:
            raise InputError("a budget has too few sizes", f"{each:g} operations", "Give three sizes for each.")
        curve = np.polyfit(np.log(size[rows]), reached[rows], 2)
        if curve[0] <= 0:
            raise InputError("the runs of a budget have no best size", f"{each:g} operations", "Try more sizes.")
        best.append(np.exp(-curve[1] / (2 * curve[0])))
    exponent = np.polyfit(np.log(np.unique(budget)), np.log(best), 1)[0] if len(best) > 1 else np.nan
    return IsoFlop(np.unique(budget), np.array(best), float(exponent))
