"""Two people who talk over each other: the recording a speech separator shows itself on when the user gives none.

Rendered, 14 s, by two voices that no weights of ours were trained on. It is kept as one Vorbis file a speaker; the
mixture is their sum, so what a separator should find is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, reduce
from pathlib import Path

import numpy as np

from harmonia.core.errors import require
from harmonia.core.media import whole_file
from harmonia.media import Audio

_FOLDER = Path(__file__).parent / "embedded" / "demo_talk"
_NAMES = ("rms", "slt")
_RATE = 16000

# When each begins a sentence (s): alone, into the other's, and together.
_TURNS = {"flite:rms": (0.3, 4.6, 9.6), "festival:cmu_us_slt_arctic_hts": (2.4, 6.2, 9.9)}


@dataclass(frozen=True)
class Conversation:
    """People who talk over each other.

    Attributes:
        speakers: What each says, mono, of one length.
        names: Who they are.
    """

    speakers: tuple[Audio, ...]
    names: tuple[str, ...]

    @property
    def mixture(self) -> Audio:
        """The sum of the speakers."""
        return Audio(reduce(np.add, (speaker.samples for speaker in self.speakers)), self.speakers[0].rate)


@cache
def demo_talk() -> Conversation:
    """The embedded conversation.

    Example:
        >>> talk = demo_talk()
        >>> talk.names, round(talk.mixture.seconds, 1)
        (('rms', 'slt'), 14.0)
    """
    return Conversation(tuple(Audio.read(_FOLDER / f"{name}.ogg") for name in _NAMES), _NAMES)


def render_demo(folder: Path = _FOLDER, seconds: float = 14.0) -> None:
    """Render the conversation anew; needs the extra ``render`` and the Debian packages its README names."""
    from harmonia.data.render.talk import sentences, spoken, talkers

    for name, (voice, turns) in zip(_NAMES, _TURNS.items(), strict=True):
        said = sentences(talkers("test")[voice], seed=7)
        samples = np.zeros(round(seconds * _RATE), dtype=np.float32)
        for start_s in turns:
            sound = spoken(talkers("test")[voice], next(said), _RATE).samples[0]
            first = round(start_s * _RATE)
            part = samples[first : first + len(sound)]
            part += sound[: len(part)]
        soundfile = require("soundfile", extra="audio")
        options = {"format": "OGG", "subtype": "VORBIS", "compression_level": 0.5}
        path = folder / f"{name}.ogg"
        with (
            whole_file(path) as temporary,
            soundfile.SoundFile(temporary, "w", _RATE, 1, **options) as file,
        ):
            for start in range(0, len(samples), _RATE):  # libvorbis overflows its stack on long blocks
                file.write(samples[start : start + _RATE])
