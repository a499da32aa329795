"""What is told of songs: tags, valence and arousal."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64
from numpy import ndarray


@dataclass(frozen=True)
class EmotionResult:
    """Emotions of songs, or of moments of one.

    Attributes:
        valence: Unpleasant (1) to pleasant (9); nothing keeps it inside.
        arousal: Calm (1) to excited (9).
        proba: Score of every tag. Training weighs a tag's rare examples by one over its frequency p, so that 0.5 says
            "as likely as p" and not "as likely as not".
        vocabulary: The tags.
        times: Middle of each moment in seconds, for a curve.
    """

    valence: Float32[ndarray, " n"]
    arousal: Float32[ndarray, " n"]
    proba: Float32[ndarray, "n tags"]
    vocabulary: tuple[str, ...]
    times: Float64[ndarray, " n"] | None = None

    def tags(self, threshold: float = 0.5) -> list[tuple[str, ...]]:
        """Tags that score above `threshold`, the strongest first."""
        return [tuple(self.vocabulary[tag] for tag in np.argsort(-row) if row[tag] > threshold) for row in self.proba]
