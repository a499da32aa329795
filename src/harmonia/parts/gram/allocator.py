"""Keeping freed memory for the next tile."""

from __future__ import annotations

import ctypes
from functools import cache

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT, _LARGEST = 256 * 2**20, 32 * 2**20


@cache
def keep_freed_memory() -> bool:
    """Ask the C library to keep up to 256 MB of freed memory instead of returning it to the system at once.

    Tiles free and allocate the same megabytes thousands of times. By default glibc returns them in between, and the
    system hands out zeroed pages again: half of the time of a kernel matrix. The setting holds for the whole process;
    other allocators and systems ignore it.

    Returns:
        Whether the C library took it.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST) and mallopt(_TRIM_THRESHOLD, _KEPT))
