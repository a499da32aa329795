"""The song every audio method shows itself on when the user gives none: rendered, 20 s, by a voice no weights of ours
were trained on.

It is kept as two Vorbis files, vocals and instrumental; the mixture is their sum, so what a separator should find is
known to the last bit.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from harmonia.core.errors import require
from harmonia.core.media import whole_file
from harmonia.data.song import Song
from harmonia.media import Audio

_FOLDER = Path(__file__).parent / "embedded" / "demo_song"


@cache
def demo_truth() -> Song:
    """The demo song with its stems, vocal notes, chords, beats and phonemes.

    Example:
        >>> song = demo_truth()
        >>> sorted(song.stems), round(song.mixture.seconds, 1)
        (['instrumental', 'vocals'], 20.0)
        >>> [words for _, _, words in song.lines][0]
        'nobody knows where the swallows go'
    """
    return Song.read(_FOLDER)


def demo_song() -> Audio:
    """The mixture of the demo song."""
    return demo_truth().mixture


def render_demo(folder: Path = _FOLDER) -> None:
    """Render the demo song anew; needs the extra ``render`` and the Debian packages its README names."""
    from harmonia.data.render import render_song

    song = render_song(102, "test", seconds=20.0, voice="festival:cmu_us_slt_arctic_hts", font="FluidR3_GM")
    song.write(folder, names=())
    for name in ("vocals", "instrumental"):
        _write_vorbis(folder / f"{name}.ogg", song.sound(name))


def _write_vorbis(path: Path, audio: Audio) -> None:
    soundfile = require("soundfile", extra="audio")
    options = {"format": "OGG", "subtype": "VORBIS", "compression_level": 0.6}
    with (
        whole_file(path) as temporary,
        soundfile.SoundFile(temporary, "w", audio.rate, audio.channels, **options) as file,
    ):
        for start in range(0, audio.samples.shape[1], audio.rate):  # libvorbis overflows its stack on long blocks
            file.write(audio.samples[:, start : start + audio.rate].T)
