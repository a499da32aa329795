"""Folders of pieces, read for comparison: scores as melodies, sound files as sounds."""

from __future__ import annotations

from pathlib import Path

from harmonia.audio.music_fm_survey.overlap import Melody, melody_of
from harmonia.core.errors import InputError
from harmonia.core.progress import say, track
from harmonia.media import Audio, Score

SCORES = (".mid", ".midi", ".xml", ".musicxml", ".mxl", ".abc")
SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".m4a", ".aiff")
LONGEST_S = 120.0


def read_collection(folder: Path) -> dict[str, Melody] | dict[str, Audio]:
    """The pieces of a folder by their paths: melodies if there are scores, else sounds (the first two minutes of each).

    Raises:
        InputError: no folder, or one without pieces; files that cannot be read are left out and told.
    """
    if not folder.is_dir():
        raise InputError("a collection is a folder", folder, "Pass a folder of scores or sounds.")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    scores = [path for path in files if path.suffix.lower() in SCORES]
    sounds = [path for path in files if path.suffix.lower() in SOUNDS]
    if not scores and not sounds:
        found = ", ".join(sorted({path.suffix for path in files})) or "no files"
        raise InputError("the folder holds no pieces", found, f"Pass {', '.join(SCORES + SOUNDS)}.")
    if scores and sounds:
        say(f"{folder.name} holds scores and sounds; the scores are compared.")
    melodies: dict[str, Melody] = {}
    heard: dict[str, Audio] = {}
    for path in track(scores or sounds, f"Reading {folder.name}"):
        name = str(path.relative_to(folder))
        try:
            if scores:
                melodies[name] = melody_of(Score.read(path))
            else:
                sound = Audio.read(path)
                heard[name] = sound.cut(0, LONGEST_S) if sound.seconds > LONGEST_S else sound
        except InputError as error:
            say(f"Left out {name}: {error}")
    if not melodies and not heard:
        raise InputError("no piece of the folder can be read", folder, "Mend the files.")
    return melodies or heard
