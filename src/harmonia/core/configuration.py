"""Configurations of networks: frozen dataclasses that files hold as plain fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from harmonia.core.errors import InputError

C = TypeVar("C")


def config_of(kind: type[C], given: C | Mapping[str, Any]) -> C:
    """A configuration from itself or from its fields, as they are read from ``config.json``.

    Raises:
        InputError: fields that there are not.

    Example:
        >>> Size = dataclasses.make_dataclass("Size", ["width"])
        >>> config_of(Size, {"width": 3}), config_of(Size, Size(4))
        (Size(width=3), Size(width=4))
    """
    if isinstance(given, kind):
        return given
    assert isinstance(given, Mapping)
    unknown = sorted(set(given) - {field.name for field in dataclasses.fields(kind)})  # type: ignore[arg-type]
    if unknown:
        raise InputError("the configuration has fields this model does not know", ", ".join(unknown), "Drop them.")
    return kind(**given)
