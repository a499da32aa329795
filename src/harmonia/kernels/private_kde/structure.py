"""What all estimators here share: a budget, releases that are charged to it, and a file without the rows."""

from __future__ import annotations

import json
import secrets
import zipfile
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import msgspec
import numpy as np
from jaxtyping import Float64
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from harmonia.core.errors import InputError
from harmonia.core.media import whole_file
from harmonia.kernels.private_kde.accounting import Charge, PrivacyAccountant, Spent
from harmonia.kernels.private_kde.mechanism import Budget, Mechanism
from harmonia.kernels.private_kde.noise import Randomness
from harmonia.kernels.private_kde.sketch import Sketch

FORMAT = "harmonia private sketch 1"

_RELEASED = frozenset(
    {
        "classes_",
        "feature_names_in_",
        "ledger_",
        "mechanism_",
        "n_batches_",
        "n_features_in_",
        "prepared_",
        "release_id_",
        "released_",
        "sketch_",
    }
)
"""Attributes that hold nothing but noisy sums and public things."""


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
            InputError: another suffix, or an object that holds arrays that were never released.
        """
        check_is_fitted(self)
        path = Path(path)
        if path.suffix != ".npz":
            raise InputError("a sketch is written to a .npz file", path.name, "Change the suffix.")
        self._refuse_unreleased()
        header = {
            "format": FORMAT,
            "class": type(self).__name__,
            "sketch": type(self.sketch_).__name__,
            "parameters": {name: value for name, value in self.get_params(False).items() if _is_plain(value)},
            "charges": [vars(charge) for charge in self.ledger_.charges],
            "release_id": self.release_id_,
            "n_batches": self.n_batches_,
            "n_features_in": self.n_features_in_,
            "feature_names_in": list(getattr(self, "feature_names_in_", ())),
        }
        arrays: dict[str, Any] = {f"sketch/{name}": value for name, value in self.sketch_.state().items()}
        if hasattr(self, "classes_"):
            arrays["classes"] = self.classes_
        with whole_file(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, header=np.array(json.dumps(header)), released=self.released_, **arrays)
        return path

    @classmethod
    def load(cls, path: str | Path) -> Any:
        """Read what `save` wrote; it answers queries, and costs nothing more.

        Raises:
            InputError: no such file, another file, or one with keys that are missing or unknown.
        """
        content = _read(Path(path))
        try:
            header = json.loads(str(content.pop("header")))
            if header["format"] != FORMAT or header["class"] != cls.__name__:
                got = f"{header['format']}, {header['class']}"
                raise InputError(f"the file is no saved {cls.__name__}", got, "Load it with the class that saved it.")
            kinds = {kind.__name__: kind for kind in cls.sketches}
            found = cls(**header["parameters"])
            state = {name[7:]: content.pop(name) for name in list(content) if name.startswith("sketch/")}
            found.sketch_ = kinds[header["sketch"]].restore(state)
            unknown = set(state) ^ set(found.sketch_.state())
            found.released_ = content.pop("released")
            if "classes" in content:
                found.classes_ = content.pop("classes")
            unknown |= set(content)
            if unknown:
                raise InputError("the file has keys that are missing or unknown", sorted(unknown), "Save it again.")
            if found.released_.shape[-1] != found.sketch_.blocks.size or not np.isfinite(found.released_).all():
                got = str(found.released_.shape)
                raise InputError("the released numbers do not fit the sketch", got, "Save it again.")
            found.ledger_ = PrivacyAccountant()
            found.ledger_.charges = [msgspec.convert(charge, Charge) for charge in header["charges"]]
            found.release_id_, found.n_batches_ = str(header["release_id"]), int(header["n_batches"])
            found.n_features_in_ = int(header["n_features_in"])
            if header["feature_names_in"]:
                found.feature_names_in_ = np.array(header["feature_names_in"], dtype=object)
            found.mechanism_ = Mechanism.calibrate(found.sketch_.blocks, found._budget())
            found.prepared_ = found._prepare()
        except (KeyError, TypeError, IndexError, json.JSONDecodeError, msgspec.ValidationError) as error:
            raise InputError(
                "the file is no saved sketch", f"{type(error).__name__}: {error}", "Save it again."
            ) from None
        return found

    def __getstate__(self) -> dict[str, Any]:
        self._refuse_unreleased()
        return super().__getstate__()

    def _budget(self) -> Budget:
        for name in ("secure", "unsafe_reproducible"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise InputError(f"'{name}' is True or False", repr(getattr(self, name)), "Change it.")
        return Budget(self.eps, self.delta, self.neighbours, self.noise, bool(self.secure))

    def _sampling_error(self) -> float:
        return 0.0

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
        self.ledger_.spend(charge)

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

    def _refuse_unreleased(self) -> None:
        parameters = set(self.get_params(False))
        for name, value in vars(self).items():
            if name not in _RELEASED and name not in parameters and not _is_plain(value):
                got = f"'{name}', {type(value).__name__}"
                mend = "Delete it: a sketch is saved without the rows it was made from."
                raise InputError("the object holds something that was never released", got, mend)


class PrivateStructure(PrivateEstimator):
    """A sketch of one set of rows: answers sums over them, with their standard errors."""

    def fit(self, X: Any, y: Any = None) -> PrivateStructure:
        """Release a sketch of the rows; its cost adds to what this object and its accountant spent before.

        Raises:
            InputError: unusable parameters or bounds, missing values, or a budget that does not allow it. In all these
                cases nothing is spent.
        """
        X = validate_data(self, X, dtype=np.float64)
        self._begin(X)
        return self._release(X)

    def partial_fit(self, X: Any, y: Any = None) -> PrivateStructure:
        """Add rows that no batch before held: each batch has noise of its own, and the budget is spent once for all.

        A person whose rows are in k batches has k times the epsilon. The variance of answers grows with the number of
        batches.
        """
        first = not hasattr(self, "sketch_")
        X = validate_data(self, X, dtype=np.float64, reset=first)
        if first:
            self._begin(X)
        return self._release(X)

    def _release(self, X: np.ndarray) -> PrivateStructure:
        self._pay(f"{type(self).__name__} of {X.shape[1]} columns")
        sums = self.sketch_.sums(X, self.mechanism_.each_step())
        self.released_ = self.released_ + self.mechanism_.add_noise(sums, self._source())
        self.n_batches_ += 1
        self.prepared_ = self._prepare()
        return self

    @property
    def n_rows_(self) -> float:
        """The noisy number of rows, at least 1: the true one is private."""
        return max(1.0, float(self.released_[0]))

    def query(self, Y: Any, return_std: bool = False) -> Any:
        """Sums over the private rows for every row of Y; any number of queries costs nothing more.

        Arguments:
            Y: Queries.
            return_std: Also return their standard errors.

        Raises:
            InputError: queries with missing values or of other columns. sklearn.exceptions.NotFittedError: nothing was
                released.
        """
        Y = self._queries(Y)
        found = self.sketch_.answer(self.prepared_, Y)
        if self.post_process:
            found = found.clip(0)
        return (found, self._std(Y)) if return_std else found

    def noise_std(self, Y: Any) -> Float64[np.ndarray, " q"]:
        """Standard deviation of the answers that comes from the noise alone: exact, and known before the release."""
        Y = self._queries(Y)
        return np.sqrt(self.sketch_.variance(self._variances(), Y))

    def _std(self, Y: Float64[np.ndarray, "q d"]) -> Float64[np.ndarray, " q"]:
        return np.sqrt(self.sketch_.variance(self._variances(), Y))

    def _queries(self, Y: Any) -> Float64[np.ndarray, "q d"]:
        check_is_fitted(self)
        return validate_data(self, Y, dtype=np.float64, reset=False)


def _is_plain(value: Any) -> bool:
    """Whether a value is a number, a word, or a few of them."""
    if isinstance(value, (list, tuple)):
        return len(value) <= 1024 and all(_is_plain(entry) for entry in value)
    return value is None or isinstance(value, (bool, int, float, str))


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise InputError("the sketch is not there", path, "Check the path.")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise InputError("the file is no saved sketch", f"{path.name}: {error}", "Pass what `save` wrote.") from None
