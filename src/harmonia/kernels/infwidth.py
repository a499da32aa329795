"""Infinitely wide networks, layer by layer: the public face of the engine in `harmonia.parts.infwidth`."""

from __future__ import annotations

from harmonia.parts.infwidth import *  # noqa: F403
from harmonia.parts.infwidth import __all__ as __all__
