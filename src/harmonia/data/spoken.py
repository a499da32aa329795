"""Eight digits of pi, spoken: the sound that a classifier of words shows itself on when the user gives none.

Rendered by formant voices that no weights of ours were trained on; kept as one FLAC file.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from harmonia.media import Audio

DIGITS = (3, 1, 4, 1, 5, 9, 2, 6)
"""What is said, one digit a second."""

_FILE = Path(__file__).parent / "embedded" / "demo_digits" / "pi.flac"
_RATE = 8000


@cache
def demo_digits() -> Audio:
    """Eight seconds, a digit in each.

    Example:
        >>> demo_digits().seconds, demo_digits().rate
        (8.0, 8000)
    """
    return Audio.read(_FILE)


def render_demo(path: Path = _FILE) -> None:
    """Render the digits anew; needs the extra ``audio`` and the Debian package espeak-ng."""
    from harmonia.data.render.digits import render_digits

    clips = render_digits("test", 60, _RATE, seed=1)
    taken: list[int] = []
    for digit in DIGITS:
        taken.append(next(i for i in np.flatnonzero(clips.labels == digit).tolist() if i not in taken))
    path.parent.mkdir(parents=True, exist_ok=True)
    Audio(clips.clips[taken].reshape(-1), _RATE).write(path)
