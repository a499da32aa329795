"""The one family of errors a user sees.

Every error says three things: *what* is wrong, what we *got*, and the *mend*. The command line prints them and
exits with 2; ``--debug`` shows the traceback.
"""

from __future__ import annotations

import importlib
from types import ModuleType


class HarmoniaError(Exception):
    """Base of all errors of this library."""


class InputError(HarmoniaError, ValueError):
    """Input that cannot be used.

    It is a `ValueError`, so scikit-learn and other callers that expect one are served.

    Arguments:
        what: What is wrong, as a noun phrase or sentence without a full stop.
        got: What was found instead; any object, shown by `str`.
        mend: What to do about it, as an imperative sentence.

    Example:
        >>> raise InputError("the audio file is empty", "0 samples", "Pass a file with at least one sample.")
        Traceback (most recent call last):
        ...
        harmonia.core.errors.InputError: the audio file is empty (got 0 samples). Pass a file with at least one sample.
    """

    def __init__(self, what: str, got: object, mend: str) -> None:
        self.what, self.got, self.mend = what, str(got), mend
        super().__init__(f"{what} (got {self.got}). {mend}")

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str]]:
        return type(self), (self.what, self.got, self.mend)


class MissingDependency(InputError, ImportError):
    """An optional Python package, or a program, that a job needs is not installed."""


class WeightsError(InputError):
    """Weights that cannot be found, read, verified or loaded."""


class Cancelled(HarmoniaError):
    """The user stopped a long job."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency, or say which extra of ours brings it.

    Example:
        >>> require("json", extra="audio").dumps([1])
        '[1]'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = error.name or module
        raise MissingDependency(
            f"this needs the Python package '{missing}'",
            "an installation without it",
            f"Run: pip install 'harmonia[{extra}]'.",
        ) from error
