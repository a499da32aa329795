"""Rendered singing with exact attributes as a captioning data set: clips, vocals and captions on disk.

What `harmonia.data.render.render_style` sets is the truth, so that captions, attribute models and the data-set builder
are measured against something that nobody had to judge by ear.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars

from harmonia.audio.s2cap.attributes import LEXICON
from harmonia.audio.s2cap.grammar import caption_of
from harmonia.core.errors import InputError
from harmonia.core.media import whole_file
from harmonia.core.progress import track
from harmonia.data.render.bulk import check_installed
from harmonia.data.render.speakers import Split
from harmonia.data.render.style import SingingStyle, render_style, singers

MANIFEST = "captions.csv"


def style_attributes(style: SingingStyle) -> dict[str, str]:
    """The nine attributes of a rendered style."""
    return {name: str(getattr(style, name)) for name in LEXICON}


def write_rendered(
    folder: str | Path,
    split: Split,
    count: int,
    *,
    seed: int = 0,
    seconds: float = 6.0,
    snr_db: float | None = None,
    captions: int = 4,
) -> Path:
    """Render clips to ``folder/<id>.flac`` and ``<id>_vocals.flac``, and list them in ``folder/captions.csv``.

    Clips already there are kept, so an interrupted run goes on where it stopped; the list appears when all are there.

    Arguments:
        folder: Where to.
        split: ``"train"`` or ``"test"``: they share no voice, words, clip or phrasing of captions.
        count: How many clips.
        seed: Another seed gives other clips.
        seconds: Length of a clip.
        snr_db: Level of the voice over the backing; drawn from -5 to 5 dB when not given.
        captions: Sentences for each clip, worded differently; one row of the list each.

    Raises:
        InputError: fewer than one clip.
        MissingDependency: a program, voice or soundfont is missing.
    """
    if count < 1:
        raise InputError("a data set has at least one clip", count, "Ask for more.")
    check_installed(split)
    folder = Path(folder)
    drawn = [_draw(seed, number, split) for number in range(count)]
    # Voice by voice, since taking a spoken line apart costs more than singing it.
    for number, style, voice in track(sorted(drawn, key=lambda one: (one[2], one[0])), f"rendering {split} clips"):
        path = folder / f"{number:06d}.flac"
        if not path.is_file():
            song = render_style(style, 1_000_000 * seed + number, split, seconds=seconds, snr_db=snr_db, voice=voice)
            song.stems["vocals"].write(folder / f"{number:06d}_vocals.flac")
            song.mixture.write(path)
    rows = [
        {
            "path": f"{number:06d}.flac",
            "begin": 0.0,
            "end": seconds,
            "caption": caption_of(style_attributes(style), rng, phrasing=split),
            "vocals_path": f"{number:06d}_vocals.flac",
            **style_attributes(style),
            "singer": voice,
        }
        for number, style, voice in drawn
        for rng in [np.random.default_rng([seed, number, 0xCA9])]
        for _ in range(captions)
    ]
    with whole_file(folder / MANIFEST) as temporary:
        polars.DataFrame(rows).write_csv(temporary)
    return folder / MANIFEST


def _draw(seed: int, number: int, split: Split) -> tuple[int, SingingStyle, str]:
    rng = np.random.default_rng([seed, number, ("train", "test").index(split), 0xD7A])
    style = SingingStyle.drawn(rng)
    return number, style, str(rng.choice(singers(style.gender, split)))
