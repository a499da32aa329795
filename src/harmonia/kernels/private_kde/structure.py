"""What all estimators here share: a budget, releases that are charged to it, and a file without the rows."""

from __future__ import annotations

import secrets
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float64
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from harmonia.core.errors import InputError
from harmonia.kernels.private_kde.domain import Domain
from harmonia.kernels.private_kde.sketch import Sketch
from harmonia.kernels.private_kde.storage import read_sketch, refuse_unreleased, write_sketch
from harmonia.parts.privacy.accounting import PrivacyAccountant, Spent
from harmonia.parts.privacy.mechanism import Budget, Mechanism
from harmonia.parts.privacy.noise import Randomness


class ExpectedError(NamedTuple):
    """What to expect of an answer before anything is released, as a mean over the rows.

    Attributes:
        noise: Standard deviation from the noise.
        sampling: Bound of the standard deviation from the random features or directions; 0 where there are none.
    """

    noise: float
    sampling: float

    @property
    def total(self) -> float:
        """Both."""
        return float(np.hypot(*self))


def check_answers(found: np.ndarray) -> np.ndarray:
    """Answers as they are; `InputError` where one is too large for a number, or none."""
    if not np.isfinite(found).all():
        got = f"{np.count_nonzero(~np.isfinite(found))} of {found.size}"
        raise InputError("answers are not finite", got, "Pass queries nearer to the bounds.")
    return found


class PrivateEstimator(BaseEstimator):
    """A sketch of private rows, released once under a budget. Subclasses say which sketch.

    After `fit` only noisy sums are kept: rows are summed, noise is added, both are forgotten.
    """

    sketches: ClassVar[tuple[type[Sketch], ...]]
    """The kinds of sketch it may hold."""

    @abstractmethod
    def _draw_sketch(self, columns: int) -> Sketch:
        """The sketch for rows of so many columns; raises `InputError` for unusable parameters."""

    def privacy_spent(self, delta: float | None = None) -> Spent:
        """What all releases of this object cost together, refits included, at the given or its own delta."""
        check_is_fitted(self)
        return self.ledger_.spent(self.delta if delta is None else delta)

    def expected_error(self, rows: int, columns: int) -> ExpectedError:
        """The error of a mean similarity or distance of `rows` rows, known before any row is seen."""
        sketch = self._draw_sketch(columns)
        cost = Mechanism.calibrate(sketch.blocks, self._budget()).cost
        return ExpectedError(float(np.sqrt(cost)) / rows, self._sampling_error())

    def save(self, path: str | Path) -> Path:
        """Write the released sums and the public sketch to an .npz file that may be shared.

        Raises:
            InputError: another suffix, an object that holds arrays that were never released, or noise that a seed gives
                away (`unsafe_reproducible`).
        """
        check_is_fitted(self)
        return write_sketch(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Any:
        """Read what `save` wrote; it answers queries, and costs nothing more.

        Raises:
            InputError: no such file, another file, or one with keys that are missing or unknown.
        """
        return read_sketch(cls, Path(path))

    def __getstate__(self) -> dict[str, Any]:
        refuse_unreleased(self)
        return super().__getstate__()

    def _budget(self) -> Budget:
        for name in ("secure", "unsafe_reproducible"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise InputError(f"'{name}' is True or False", repr(getattr(self, name)), "Change it.")
        if not isinstance(self.accountant, PrivacyAccountant | None):
            raise InputError("'accountant' is a PrivacyAccountant", repr(self.accountant), "Pass one, or None.")
        return Budget(self.eps, self.delta, self.neighbours, self.noise, bool(self.secure))

    def _sampling_error(self) -> float:
        return 0.0

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        """What is refused leaves every attribute as it was: above all the release that was paid for."""
        before = dict(vars(self))
        try:
            yield
        except BaseException:
            self.__dict__ = before
            raise

    def _begin(self, X: np.ndarray) -> None:
        """A new sketch, and nothing released."""
        if not hasattr(self, "ledger_"):
            self.ledger_ = PrivacyAccountant()
        self.sketch_ = self._draw_sketch(X.shape[1])
        self.mechanism_ = Mechanism.calibrate(self.sketch_.blocks, self._budget())
        self.release_id_ = secrets.token_hex(8)
        self.n_batches_ = 0
        self.released_ = np.zeros(self.sketch_.blocks.size)

    def _pay(self, what: str) -> None:
        """Charge a release of rows that no other batch holds; refuse it before data are touched."""
        charge = self.mechanism_.charge(what, self.release_id_)
        if self.accountant is not None:
            self.accountant.spend(charge)
        self.ledger_.charges.append(charge)

    def _source(self) -> Randomness:
        if not self.unsafe_reproducible:
            return Randomness()
        return Randomness(seed=(self._public_seed() + 7919 * (1 + self.n_batches_)) % 2**32)

    def _public_seed(self) -> int:
        """Of features and directions, which anybody may know. The noise has another source, unless it is unsafe."""
        if self.random_state is None:
            return secrets.randbits(31)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _variances(self) -> Float64[np.ndarray, " blocks"]:
        return self.n_batches_ * self.mechanism_.variances

    def _prepare(self) -> Any:
        return self.sketch_.prepare(self.released_)


class PrivateStructure(PrivateEstimator):
    """A sketch of one set of rows: answers sums over them, with their standard errors."""

    ranges: Any
    ranges_: Domain | None

    def fit(self, X: Any, y: Any = None) -> PrivateStructure:
        """Release a sketch of the rows; its cost adds to what this object and its accountant spent before.

        Raises:
            InputError: unusable parameters or bounds, missing values, or a budget that does not allow it. In all these
                cases nothing is spent, and what was released before stays.
        """
        with self._all_or_nothing():
            X = validate_data(self, X, dtype=np.float64)
            self._begin(X)
            return self._release(X)

    def partial_fit(self, X: Any, y: Any = None) -> PrivateStructure:
        """Add rows that no batch before held: each batch has noise of its own, and the budget is spent once for all.

        A person whose rows are in k batches has k times the epsilon. The variance of answers grows with the number of
        batches.

        Raises:
            InputError: as of `fit`, and nothing changes.
        """
        first = not hasattr(self, "sketch_")
        with self._all_or_nothing():
            X = validate_data(self, X, dtype=np.float64, reset=first)
            if first:
                self._begin(X)
            return self._release(X)

    def _begin(self, X: np.ndarray) -> None:
        super()._begin(X)
        self.ranges_ = None if self.ranges is None else Domain.of(self.ranges, X.shape[1])

    def _release(self, X: np.ndarray) -> PrivateStructure:
        self._pay(f"{type(self).__name__} of {X.shape[1]} columns")
        if self.ranges_ is not None:
            X = self._scaled(np.clip(X, self.ranges_.lower, self.ranges_.upper))
        sums = self.sketch_.sums(X, self.mechanism_.each_step())
        self.released_ = self.released_ + self.mechanism_.add_noise(sums, self._source())
        self.n_batches_ += 1
        self.prepared_ = self._prepare()
        return self

    @property
    def n_rows_(self) -> float:
        """The noisy number of rows, at least 1: the true one is private."""
        check_is_fitted(self)
        return max(1.0, float(self.released_[0]))

    def query(self, Y: Any, return_std: bool = False) -> Any:
        """Sums over the private rows for every row of Y; any number of queries costs nothing more.

        Arguments:
            Y: Queries.
            return_std: Also return their standard errors.

        Raises:
            InputError: queries with missing values, of other columns, or so far away that an answer overflows.
                sklearn.exceptions.NotFittedError: nothing was released.
        """
        Y = self._queries(Y)
        with np.errstate(over="ignore", invalid="ignore"):
            found = check_answers(self.sketch_.answer(self.prepared_, Y))
        if self.post_process:
            found = found.clip(0)
        return (found, self._std(Y)) if return_std else found

    def noise_std(self, Y: Any) -> Float64[np.ndarray, " q"]:
        """Standard deviation of the answers that comes from the noise alone: exact, and the same for all private rows.

        Raises:
            sklearn.exceptions.NotFittedError: nothing was released; `expected_error` tells a typical one before.
        """
        return self._noise_std(self._queries(Y))

    def _noise_std(self, Y: Float64[np.ndarray, "q d"]) -> Float64[np.ndarray, " q"]:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.sqrt(check_answers(self.sketch_.variance(self._variances(), Y)))

    def _std(self, Y: Float64[np.ndarray, "q d"]) -> Float64[np.ndarray, " q"]:
        return self._noise_std(Y)

    def _queries(self, Y: Any) -> Float64[np.ndarray, "q d"]:
        check_is_fitted(self)
        return self._scaled(validate_data(self, Y, dtype=np.float64, reset=False))

    def _scaled(self, X: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n d"]:
        """Rows in units of the public ranges, if there are any."""
        return X if self.ranges_ is None else (X - self.ranges_.lower) / self.ranges_.widths
