"""What is said of a song: a logit and a probability for every window, one for the whole, and how sure that is."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from harmonia.audio.sonics.calibration import Calibration
from harmonia.core.errors import InputError
from harmonia.core.media import Media

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure

WARNING = "A score is no proof: it says how a song compares with the songs a model was trained on."


@dataclass(frozen=True, eq=False)
class Verdict(Media):
    """What a detector says of a song, written as JSON.

    Attributes:
        seconds: Length of the song.
        window: Length of a window in seconds.
        starts: Where the windows begin, in seconds.
        logits: Of each window; NaN where more than half of it is silent.
        calibration: How they are read.
        trained_on: What the model was trained on.
        notes: What a reader should know of this song: short, silent, resampled.
    """

    kind: ClassVar[str] = "verdict"
    suffixes: ClassVar[tuple[str, ...]] = (".json",)

    seconds: float
    window: float
    starts: Float[ndarray, " windows"]
    logits: Float[ndarray, " windows"]
    calibration: Calibration = field(default_factory=Calibration)
    trained_on: str = ""
    notes: tuple[str, ...] = ()

    @property
    def logit(self) -> float:
        """Mean of the windows that sound; NaN where none does."""
        heard = self.logits[np.isfinite(self.logits)]
        return float(heard.mean()) if len(heard) else float("nan")

    @property
    def probability(self) -> float:
        """Of the song being synthetic, before anything is known of how many are."""
        return float(self.calibration.probability(np.array(self.logit)))

    @property
    def probabilities(self) -> Float[ndarray, " windows"]:
        """Of each window."""
        return self.calibration.probability(self.logits)

    @property
    def synthetic(self) -> bool | None:
        """Whether the song is called synthetic; None where it cannot be told."""
        return None if np.isnan(self.logit) else self.logit > self.calibration.threshold

    @property
    def flagged(self) -> list[tuple[float, float]]:
        """Stretches of the song, in seconds, where the window around each moment is called synthetic."""
        above = self.logits > self.calibration.threshold
        middles = self.starts + self.window / 2
        edges = np.concatenate([[0.0], (middles[:-1] + middles[1:]) / 2, [self.seconds]])
        stretches: list[tuple[float, float]] = []
        for number in np.flatnonzero(above):
            begin, end = float(edges[number]), float(edges[number + 1])
            if stretches and stretches[-1][1] == begin:
                begin = stretches.pop()[0]
            stretches.append((begin, end))
        return stretches

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        if self.synthetic is None:
            return "Nothing can be said: the song is silent."
        kind = "synthetic" if self.synthetic else "real"
        said = f"Sounds like the {kind} songs of the training data (score {self.probability:.2f})"
        if not self.flagged:
            return f"{said}; nothing is flagged."
        shown = " and ".join(f"{begin:.1f} to {end:.1f} s" for begin, end in self.flagged[:3])
        more = f" and {len(self.flagged) - 3} more" if len(self.flagged) > 3 else ""
        return f"{said}; flagged: {shown}{more}."

    @classmethod
    def read(cls, path: str | Path) -> Verdict:
        """A verdict is given by a job, not read.

        Raises:
            InputError: always.
        """
        raise InputError("a verdict is given by a job, not read", Path(path).name, "Pass the song itself.")

    def _write(self, path: Path) -> None:
        path.write_text(json.dumps(self.content(), indent=2, allow_nan=False) + "\n", encoding="utf-8")

    def content(self) -> dict[str, object]:
        """What is written: plain values, null for what cannot be told."""
        return {
            "verdict": {None: "cannot be told", True: "synthetic", False: "real"}[self.synthetic],
            "probability": _plain(self.probability),
            "share_of_real_songs_scoring_as_high": _plain(self.calibration.rarity(self.logit)),
            "threshold": _plain(float(self.calibration.probability(np.array(self.calibration.threshold)))),
            "flagged_s": [[round(begin, 3), round(end, 3)] for begin, end in self.flagged],
            "seconds": round(self.seconds, 3),
            "windows": [
                {
                    "start_s": round(float(start), 3),
                    "end_s": round(float(start) + self.window, 3),
                    "probability": _plain(p),
                }
                for start, p in zip(self.starts, self.probabilities, strict=True)
            ],
            "trained_on": self.trained_on,
            "calibration": self.calibration.note or "none: the network's own probability",
            "notes": list(self.notes),
            "warning": WARNING,
        }

    def show(self) -> MatplotlibFigure:
        """Probability over time."""
        from harmonia.audio.sonics.report import timeline

        return timeline(self)


def _plain(value: float | np.floating) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
