"""Data that is here: real data that packages bring, a rendered demo song, and readers of published data-set layouts.

Every loader says where its data come from and under which licence; what is rendered says so.
"""

from __future__ import annotations

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Song": "song",
        "demo_song": "demo",
        "demo_truth": "demo",
    },
)
