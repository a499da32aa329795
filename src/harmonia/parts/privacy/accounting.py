"""What a release costs: (epsilon, delta), zero-concentrated privacy, composition, and a budget that is kept.

Two data sets are neighbours when one has a row that the other lacks (``add-remove``, the default), or when one row
differs (``replace-one``: both a removal and an addition, so every sensitivity doubles). A mechanism is (eps, delta)
private when no event is more than ``e^eps`` times likelier plus delta on one of two neighbours than on the other.

References:
    Improving the Gaussian Mechanism for Differential Privacy, Balle & Wang, 2018 (arXiv:1805.06530), theorem 8.
    The Discrete Gaussian for Differential Privacy, Canonne, Kamath & Steinke, 2020 (arXiv:2004.00010), proposition 12.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from scipy.optimize import brentq, minimize_scalar
from scipy.special import log_ndtr

from harmonia.core.checks import is_number
from harmonia.core.errors import InputError
from harmonia.parts.privacy.noise import NoiseKind, rounding_distance

Neighbours = Literal["add-remove", "replace-one"]

_EXAMPLES = {"eps": "1", "delta": "1e-6"}


def gaussian_delta(eps: float, ratio: float) -> float:
    """The least delta of Gaussian noise: ``Phi(r/2 - eps/r) - e^eps Phi(-r/2 - eps/r)`` with r = sensitivity / sigma.

    Example:
        >>> round(gaussian_delta(1.0, 1 / 3.7306), 8)
        1e-05
    """
    if ratio == 0:
        return 0.0
    first, second = log_ndtr(ratio / 2 - eps / ratio), eps + log_ndtr(-ratio / 2 - eps / ratio)
    return float(max(0.0, -math.expm1(min(0.0, second - first)) * math.exp(first)))


def gaussian_ratio(eps: float, delta: float) -> float:
    """The largest sensitivity / sigma that Gaussian noise of (eps, delta) affords, to 1e-12; valid for every eps."""
    low, high = 1e-12, 1.0
    while gaussian_delta(eps, high) <= delta and high < 1e12:
        high *= 2
    while high / low > 1 + 1e-12:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if gaussian_delta(eps, middle) <= delta else (low, middle)
    return low


def epsilon_of_rho(rho: float, delta: float) -> float:
    """The epsilon, at this delta, of a mechanism that is rho-zCDP.

    ``eps = min_a  a rho + (a log(1 - 1/a) - log(delta (a - 1))) / (a - 1)`` over orders a > 1.

    Example:
        >>> round(epsilon_of_rho(0.03, 1e-5), 2)
        0.99
    """
    if rho == 0 or math.isinf(rho):
        return rho

    def at(log_excess: float) -> float:
        order, added = _conversion(log_excess, delta)
        return order * rho + added

    return max(0.0, _least(at))


def rho_of_epsilon(eps: float, delta: float) -> float:
    """The largest rho whose `epsilon_of_rho` is at most eps: what eps leaves at the order that leaves most."""

    def at(log_excess: float) -> float:
        order, added = _conversion(log_excess, delta)
        return (added - eps) / order

    return max(0.0, -_least(at))


def _conversion(log_excess: float, delta: float) -> tuple[float, float]:
    """The order a with log(a - 1) as given, and what the conversion at it adds to ``a rho``."""
    excess = math.exp(log_excess)
    order = 1 + excess
    return order, (order * math.log(excess / order) - math.log(delta) - log_excess) / excess


def _least(at: Callable[[float], float]) -> float:
    """Of all orders; a worse one than the best would only cost more."""
    return float(minimize_scalar(at, bounds=(-12.0, 25.0), method="bounded").fun)


@dataclass(frozen=True)
class Charge:
    """What one release costs.

    Attributes:
        release: What was released.
        mechanism: ``laplace`` or ``gaussian``.
        ratio: Sensitivity over the scale of the noise: in the l1 norm for Laplace, in the l2 norm for Gaussian noise.
        epsilon, delta: The guarantee of this release alone.
        numbers: How many noisy numbers were released with exact samplers; 0: by floating point.
        disjoint: Charges of one such name concern disjoint sets of rows, so the largest of them counts; empty: alone.
    """

    release: str
    mechanism: NoiseKind
    ratio: float
    epsilon: float
    delta: float
    numbers: int = 0
    disjoint: str = ""

    @property
    def rho(self) -> float:
        """Of zero-concentrated privacy: ``ratio^2 / 2``, of either mechanism."""
        return self.ratio**2 / 2


@dataclass(frozen=True)
class Spent:
    """A total: (epsilon, delta), and rho."""

    epsilon: float
    delta: float
    rho: float


class PrivacyAccountant:
    """A ledger of releases on the same people's data, with a budget that it keeps.

    Pass one accountant to all estimators that see the same rows, also through `sklearn.clone`, a pipeline or a grid
    search: copies of an estimator share it. A release that would exceed the budget is refused before data are touched.
    A pickled copy, such as another process has, refuses releases, for the original would not know of them.
    It counts releases only: a score on private held-out rows, and a choice by it, is not private and not in the ledger.

    Arguments:
        eps: Total epsilon; infinite: only record.
        delta: Total delta.

    Attributes:
        charges: What was released.

    Example:
        >>> accountant = PrivacyAccountant(eps=1.0)
        >>> accountant.spend(Charge("a histogram", "laplace", ratio=0.7, epsilon=0.7, delta=0.0))
        >>> accountant.spend(Charge("another", "laplace", ratio=0.7, epsilon=0.7, delta=0.0))
        Traceback (most recent call last):
        ...
        harmonia.core.errors.InputError: the privacy budget does not allow this release (got epsilon 1.4 at delta 0 in
        all, of 1). Release less, with less epsilon, or none.
    """

    def __init__(self, eps: float = math.inf, delta: float = 0.0) -> None:
        check_budget(eps, delta)
        self.eps, self.delta = float(eps), float(delta)
        self.charges: list[Charge] = []
        self._is_copy = False

    def __sklearn_clone__(self) -> PrivacyAccountant:
        return self

    def __deepcopy__(self, memo: object) -> PrivacyAccountant:
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _is_copy=True)

    def __repr__(self) -> str:
        return f"PrivacyAccountant(eps={self.eps:g}, delta={self.delta:g})"

    def check(self, charge: Charge) -> None:
        """Raise `InputError` if the budget does not allow this release, or could not know of it."""
        if self._is_copy:
            mend = "Use one process (n_jobs=1), or a new accountant that is given the charges so far."
            raise InputError("a pickled copy of an accountant cannot be charged", "a copy, as in another process", mend)
        after = compose([*self.charges, charge], self.delta)
        got = f"epsilon {after.epsilon:.4g} at delta {after.delta:.4g} in all, of {self.eps:g}"
        if after.delta > self.delta * (1 + 1e-9) and self.eps < math.inf:
            got += f" at delta {self.delta:g}"
            mend = f"Give the accountant delta={after.delta:.4g} or more, or release with delta=0."
            raise InputError("the privacy budget has too little delta for this release", got, mend)
        if after.epsilon > self.eps * (1 + 1e-9):
            mend = "Release less, with less epsilon, or none."
            raise InputError("the privacy budget does not allow this release", got, mend)

    def spend(self, charge: Charge) -> None:
        """Record a release.

        Raises:
            InputError: it exceeds the budget; nothing is recorded.
        """
        self.check(charge)
        self.charges.append(charge)

    def spent(self, delta: float | None = None) -> Spent:
        """The total so far, at the budget's delta or another."""
        return compose(self.charges, self.delta if delta is None else delta)


def compose(charges: Iterable[Charge], delta: float = 0.0) -> Spent:
    """The least total epsilon that is known to hold at this delta; with a larger delta when it cannot hold at less.

    The best of basic composition (sums), zCDP (sums of rho) and, for Gaussian noise alone, its exact curve. Charges on
    disjoint rows count once, with the largest of each kind.

    Example:
        >>> one = Charge("a", "gaussian", gaussian_ratio(1.0, 1e-6), 1.0, 1e-6)
        >>> total = compose([one] * 16, delta=1e-5)
        >>> total.epsilon < 5, compose([one] * 16, delta=1.6e-5).epsilon < 16
        (True, True)
    """
    groups: dict[object, list[Charge]] = {}
    for position, charge in enumerate(charges):
        groups.setdefault(charge.disjoint or position, []).append(charge)
    if not groups:
        return Spent(0.0, 0.0, 0.0)
    parts = list(groups.values())
    rho = sum(max(charge.rho for charge in part) for part in parts)
    basic = sum(max(charge.epsilon for charge in part) for part in parts)
    needed = sum(max(charge.delta for charge in part) for part in parts)
    found = [(basic, needed)] if needed <= max(delta, 0.0) * (1 + 1e-9) else []
    if delta > 0 and math.isfinite(rho):
        found.append((epsilon_of_rho(rho, delta), delta))
        if all(charge.mechanism == "gaussian" for part in parts for charge in part):
            found += _exact_gaussian(parts, rho, delta)
    epsilon, at = min(found, default=(basic, needed))
    return Spent(epsilon, at, rho)


def _exact_gaussian(parts: list[list[Charge]], rho: float, delta: float) -> list[tuple[float, float]]:
    """Composed Gaussian mechanisms are one; exact samplers add their distance from it."""
    distance = sum(max(rounding_distance(charge.numbers) for charge in part) for part in parts)
    ratio = math.sqrt(2 * rho)

    def excess(eps: float) -> float:
        return gaussian_delta(eps, ratio) + (1 + math.exp(min(eps, 700.0))) * distance - delta

    highest = 700.0
    if distance > 0:  # beyond this the second term alone is too large
        highest = min(highest, math.log(max(delta / (2 * distance), 2.0)))
    if excess(0.0) <= 0:
        return [(0.0, delta)]
    return [(float(brentq(excess, 0.0, highest, xtol=1e-9)), delta)] if excess(highest) < 0 else []


def calibrated_ratio(kind: NoiseKind, eps: float, delta: float, numbers: int) -> float:
    """The largest sensitivity over noise scale that (eps, delta) affords.

    Arguments:
        kind: Of the noise.
        eps, delta: The guarantee.
        numbers: How many numbers exact samplers draw; 0: floating point.

    Example:
        >>> calibrated_ratio("laplace", 0.5, 0.0, 10)
        0.5
        >>> 1 / calibrated_ratio("gaussian", 1.0, 1e-5, 2000)
        3.7306...
    """
    if math.isinf(eps):
        return math.inf
    if kind == "laplace":
        return eps
    slack = (1 + math.exp(min(eps, 700.0))) * rounding_distance(numbers)
    concentrated = math.sqrt(2 * rho_of_epsilon(eps, delta))
    return max(concentrated, gaussian_ratio(eps, delta - slack)) if slack < delta / 2 else concentrated


def check_budget(eps: Any, delta: Any) -> None:
    """Raise `InputError` unless eps > 0 and 0 <= delta < 1, numbers of Python or NumPy."""
    for name, value in (("eps", eps), ("delta", delta)):
        if not is_number(value):
            raise InputError(f"'{name}' is a number", repr(value), f"Give e.g. {name}={_EXAMPLES[name]}.")
    if not eps > 0:
        raise InputError("'eps' is a number above 0", repr(eps), "Give e.g. eps=1.")
    if not 0 <= delta < 1:
        raise InputError("'delta' is a number from 0 to below 1", repr(delta), "Give 0, or far less than 1 / rows.")
