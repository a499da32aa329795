"""Where things made once are kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """The folder for a kind of made thing: in HARMONIA_CACHE, or in the user's cache directory.

    Example:
        >>> cache_folder("maps").name
        'maps'
    """
    own = os.environ.get("HARMONIA_CACHE")
    base = Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "harmonia"
    return base / kind
