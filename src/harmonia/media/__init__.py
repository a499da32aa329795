"""Audio, score, image, video, table, series, graph, text: read, check, write, show. Knows no method."""

from __future__ import annotations

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Audio": "audio",
        "Figure": "figure",
        "Graph": "graph",
        "Image": "image",
        "Note": "score",
        "Score": "score",
        "Series": "series",
        "Table": "table",
        "Text": "text",
        "Video": "video",
    },
)
