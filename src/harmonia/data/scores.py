"""Scores and melodies of the corpus that music21 brings; read from its files, without importing it where it is slow.

The corpus is "out of copyright in the United States or licensed for use", some encodings for non-commercial use only:
it is read where it is installed, and nothing of it is in this library.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from harmonia.core.errors import InputError
from harmonia.data.abc import read_abc
from harmonia.data.source import from_source, package_folder
from harmonia.data.tune import Tune, TuneNote
from harmonia.media import Score

FolkCollection = Literal["essen", "oneill", "ryan", "aird"]
_FOLK = {"essen": "essenFolksong", "oneill": "oneills1850", "ryan": "ryansMammoth", "aird": "airdsAirs"}
_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_PACKAGE = "music21 (BSD-3-Clause)"


def chorale_names() -> tuple[str, ...]:
    """Names of Bach's four-part chorales and other pieces in the corpus, for `chorale`.

    Example:
        >>> "bwv66.6" in chorale_names()
        True
    """
    return tuple(sorted(path.stem for path in (_corpus() / "bach").glob("*.mxl")))


@from_source(
    "Four-part chorales of J. S. Bach",
    by="encoded by M. Greentree and others",
    licence="music in the public domain; encodings free, some for non-commercial use",
    package=_PACKAGE,
)
def chorale(name: str = "bwv66.6") -> Score:
    """A chorale of `chorale_names`, four voices.

    Raises:
        InputError: there is none of that name.

    Example:
        >>> len(chorale().score.tracks)
        4
    """
    return _score("bach", name, chorale_names())


@from_source(
    "Lead sheets: Alexander's Ragtime Band (I. Berlin, 1911), Jeanie with the Light Brown Hair (S. Foster, 1854)",
    by="encoded for music21",
    licence="music in the public domain in the United States",
    package=_PACKAGE,
)
def lead_sheet(name: Literal["fosterBrownHair", "berlinAlexandersRagtime"] = "fosterBrownHair") -> Score:
    """A melody from a lead sheet.

    Example:
        >>> lead_sheet().score.note_num() > 50
        True
    """
    names = tuple(sorted(path.stem for path in (_corpus() / "leadSheet").glob("*.mxl")))
    return _score("leadSheet", name, names)


@from_source(
    "Sopranos of Bach's chorales with their German words",
    by="encoded by M. Greentree and others",
    licence="music and words in the public domain; encodings free, some for non-commercial use",
    package=_PACKAGE,
)
@cache
def chorale_melodies() -> tuple[Tune, ...]:
    """The chorales' sopranos that carry words, a syllable a note; phrases end at fermatas.

    Example:
        >>> tunes = chorale_melodies()
        >>> len(tunes) > 300, sum(bool(note.syllable) for tune in tunes for note in tune.notes) > 13_000
        (True, True)
    """
    paths = sorted((_corpus() / "bach").glob("*.mxl"))
    tunes = (_soprano(path) for path in paths)
    return tuple(tune for tune in tunes if tune.notes and any(note.syllable for note in tune.notes))


@from_source(
    "Folk tunes: Essen folksong collection, O'Neill 1850, Ryan's Mammoth Collection, Aird's Airs",
    by="H. Schaffrath (Essen); F. O'Neill, W. B. Ryan, J. Aird, encoded by volunteers",
    licence="tunes in the public domain; the Essen encoding for non-commercial distribution",
    package=_PACKAGE,
)
@cache
def folk_tunes(collection: FolkCollection = "aird") -> tuple[Tune, ...]:
    """The melodies of a collection: ``essen`` 8,514, ``oneill`` 2,009, ``ryan`` 1,059, ``aird`` 1,178 tunes.

    Raises:
        InputError: an unknown collection.

    Example:
        >>> tunes = folk_tunes("aird")
        >>> len(tunes) > 1_100, tunes[0].title
        (True, 'The Ranting Highlandman.')
    """
    if collection not in _FOLK:
        raise InputError("there is no such collection", collection, f"Use one of {', '.join(_FOLK)}.")
    tunes: list[Tune] = []
    for path in sorted((_corpus() / _FOLK[collection]).glob("*.abc")):
        tunes += read_abc(path.read_text(encoding="utf-8", errors="replace"), collection)
    return tuple(tunes)


def _corpus() -> Path:
    return package_folder("music21", extra="music") / "corpus"


def _score(folder: str, name: str, names: tuple[str, ...]) -> Score:
    if name not in names:
        mend = f"Use one of {', '.join(names[:5])}, ..." if len(names) > 5 else f"Use one of {', '.join(names)}."
        raise InputError("the corpus holds no such score", name, mend)
    return Score.read(_corpus() / folder / f"{name}.mxl")


def _soprano(path: Path) -> Tune:
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith("xml") and not name.startswith("META-INF")]
        with archive.open(names[0]) as file:
            ended = (element for _, element in ElementTree.iterparse(file))
            part = next(element for element in ended if element.tag == "part")  # the soprano's; no need to read on
    metre = f"{part.findtext('.//time/beats', '')}/{part.findtext('.//time/beat-type', '')}"
    return Tune(path.stem, "chorales", metre.strip("/"), tuple(_part_notes(part)))


def _part_notes(part: ElementTree.Element) -> Iterator[TuneNote]:
    """The notes of a part's first voice, ties joined."""
    now, divisions, open_note, voice = 0.0, 1.0, None, None
    for element in part.iter():
        if element.tag == "divisions":
            divisions = float(element.text or 1)
        if element.tag not in ("note", "backup", "forward"):
            continue
        length = float(element.findtext("duration", "0")) / divisions
        if element.tag != "note":
            now += length if element.tag == "forward" else -length
            continue
        if element.find("grace") is not None or element.find("chord") is not None:
            continue
        voice = voice or element.findtext("voice")
        pitch = element.find("pitch")
        if pitch is not None and element.findtext("voice") == voice:
            ties = {tie.get("type") for tie in element.iterfind("tie")}
            if open_note is not None and "stop" in ties:
                open_note = open_note._replace(duration=open_note.duration + length)
            else:
                if open_note is not None:
                    yield open_note
                open_note = TuneNote(now, length, _midi(pitch), *_syllable(element))
            if element.find(".//fermata") is not None:
                open_note = open_note._replace(phrase_end=True)
        now += length
    if open_note is not None:
        yield open_note


def _midi(pitch: ElementTree.Element) -> int:
    octave = int(pitch.findtext("octave", "4"))
    return 12 * (octave + 1) + _STEPS[pitch.findtext("step", "C")] + round(float(pitch.findtext("alter", "0")))


def _syllable(note: ElementTree.Element) -> tuple[str, str]:
    """The first verse's syllable without verse number or punctuation, and its place in the word."""
    lyric = note.find("lyric")
    if lyric is None:
        return "", "single"
    text = re.sub(r"[^\w'’]|[\d_]", "", lyric.findtext("text", ""))
    return text, lyric.findtext("syllabic", "single")
