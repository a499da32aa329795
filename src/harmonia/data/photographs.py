"""Photographs that scikit-learn brings."""

from __future__ import annotations

from typing import Literal

from harmonia.data.source import from_source
from harmonia.media import Image


@from_source(
    "china.jpg and flower.jpg",
    by="dany13 (china), Val Vesa (flower)",
    licence="CC-BY-2.0 (china), CC-BY (flower)",
    package="scikit-learn",
)
def photograph(name: Literal["china", "flower"] = "china") -> Image:
    """A photograph, 640 by 427: a Chinese temple or a flower.

    Example:
        >>> photograph("flower").pixels.shape
        (427, 640, 3)
    """
    from sklearn.datasets import load_sample_image

    return Image(load_sample_image(f"{name}.jpg"))
