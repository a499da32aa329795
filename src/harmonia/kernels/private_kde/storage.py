"""Sketches in files that may be shared: released sums and public things, checked when they are written and read."""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from harmonia.core.errors import InputError
from harmonia.core.media import whole_file
from harmonia.kernels.private_kde.domain import Domain
from harmonia.parts.privacy.accounting import Charge, PrivacyAccountant
from harmonia.parts.privacy.mechanism import Budget, Mechanism

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
        "ranges_",
        "release_id_",
        "released_",
        "sketch_",
    }
)
"""Attributes of an estimator that hold nothing but noisy sums and public things."""


def write_sketch(estimator: Any, path: Path) -> Path:
    """Write a fitted estimator to an .npz file. Parameters that are no plain values are left out, as None.

    Raises:
        InputError: another suffix; an object that holds arrays that were never released; noise that a seed gives away;
            classes that are neither words nor numbers. Then nothing is written.
    """
    if path.suffix != ".npz":
        raise InputError("a sketch is written to a .npz file", path.name, "Change the suffix.")
    if estimator.unsafe_reproducible:
        mend = "Fit with unsafe_reproducible=False: who knows the seed removes the noise."
        raise InputError("a sketch with predictable noise is not written", "unsafe_reproducible=True", mend)
    refuse_unreleased(estimator)
    header = {
        "format": FORMAT,
        "class": type(estimator).__name__,
        "sketch": type(estimator.sketch_).__name__,
        "parameters": {name: _plain(value) for name, value in estimator.get_params(False).items()},
        "budget": {name: _plain(value) for name, value in vars(estimator.mechanism_.budget).items()},
        "charges": [vars(charge) for charge in estimator.ledger_.charges],
        "release_id": estimator.release_id_,
        "n_batches": estimator.n_batches_,
        "n_features_in": estimator.n_features_in_,
        "feature_names_in": list(getattr(estimator, "feature_names_in_", ())),
    }
    arrays: dict[str, Any] = {f"sketch/{name}": value for name, value in estimator.sketch_.state().items()}
    if (ranges := getattr(estimator, "ranges_", None)) is not None:
        arrays |= {f"ranges/{name}": value for name, value in ranges.state().items()}
    if hasattr(estimator, "classes_"):
        arrays["classes"] = _labels(estimator.classes_)
        header["classes_are_objects"] = estimator.classes_.dtype == object
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, header=np.array(json.dumps(header)), released=estimator.released_, **arrays)
    return path


def read_sketch(kind: Any, path: Path) -> Any:
    """An estimator of this class from what `write_sketch` wrote.

    Raises:
        InputError: no such file, another file, or one with keys that are missing or unknown.
    """
    content = _read(path)
    try:
        return _restored(kind, content)
    except InputError:
        raise
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        got = f"{type(error).__name__}: {error}"
        raise InputError("the file is no saved sketch", got, "Save it again.") from None


def refuse_unreleased(estimator: Any) -> None:
    """Raise `InputError` if an estimator holds more than parameters, releases and plain values."""
    parameters = set(estimator.get_params(False))
    for name, value in vars(estimator).items():
        if name not in _RELEASED and name not in parameters and not _is_plain(value):
            got = f"'{name}', {type(value).__name__}"
            mend = "Delete it: a sketch is saved without the rows it was made from."
            raise InputError("the object holds something that was never released", got, mend)


def _restored(kind: Any, content: dict[str, np.ndarray]) -> Any:
    header = json.loads(str(content.pop("header")))
    if header["format"] != FORMAT or header["class"] != kind.__name__:
        got = f"{header['format']}, {header['class']}"
        raise InputError(f"the file is no saved {kind.__name__}", got, "Load it with the class that saved it.")
    found = kind(**header["parameters"])
    state = _under("sketch/", content)
    found.sketch_ = {each.__name__: each for each in kind.sketches}[header["sketch"]].restore(state)
    unknown = set(state) ^ set(found.sketch_.state())
    found.released_ = content.pop("released")
    if "ranges" in header["parameters"]:
        ranges = _under("ranges/", content)
        found.ranges_ = Domain.restore(ranges) if ranges else None
    if "classes" in content:
        found.classes_ = content.pop("classes")
        if header["classes_are_objects"]:
            found.classes_ = found.classes_.astype(object)
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
    found.mechanism_ = Mechanism.calibrate(found.sketch_.blocks, Budget(**header["budget"]))
    found.prepared_ = found._prepare()
    # All shapes fit together.
    found.sketch_.estimate(np.atleast_2d(found.released_)[0], np.zeros((1, found.n_features_in_)))
    return found


def _under(prefix: str, content: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Take the arrays out whose names begin so."""
    return {name.removeprefix(prefix): content.pop(name) for name in list(content) if name.startswith(prefix)}


def _labels(classes: np.ndarray) -> np.ndarray:
    """Classes as an array that a file holds without pickle; objects become words or numbers."""
    plain = np.array(classes.tolist()) if classes.dtype.kind not in "biufUS" else classes
    if plain.dtype.kind not in "biufUS" or not (plain.astype(object) == classes).all():
        kinds = ", ".join(sorted({type(label).__name__ for label in classes.tolist()}))
        raise InputError("these classes cannot be saved", kinds, "Fit with labels that are all words or all numbers.")
    return plain


def _plain(value: Any) -> Any:
    value = value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value
    value = [_plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value
    return value if _is_plain(value) else None


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
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError, TypeError) as error:
        raise InputError("the file is no saved sketch", f"{path.name}: {error}", "Pass what `save` wrote.") from None
