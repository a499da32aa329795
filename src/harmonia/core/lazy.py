"""Public names that import their module only when they are used, so that ``import harmonia`` stays instant."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


def lazy(package: str, names: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """The ``__getattr__``, ``__dir__`` and ``__all__`` of a package whose names live in submodules.

    Arguments:
        package: ``__name__`` of the package.
        names: Public name to the submodule that defines it. A name equal to its submodule is the submodule itself.

    Example::

        __getattr__, __dir__, __all__ = lazy(__name__, {"Audio": "audio", "Score": "score"})
    """

    def getattribute(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(f"{package}.{names[name]}")
        value = module if names[name] == name else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    def directory() -> list[str]:
        return sorted({*vars(sys.modules[package]), *names})

    return getattribute, directory, list(names)
