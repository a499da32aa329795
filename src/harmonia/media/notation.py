"""MusicXML and ABC, through music21, to MIDI bytes and back.

What is refused before music21 sees it: archives that unpack to more than they should, and XML that declares
entities, which can grow a few bytes into gigabytes.
"""

from __future__ import annotations

import re
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from harmonia.core.errors import InputError, require
from harmonia.core.progress import say
from harmonia.media.files import content_of, decoded_text, too_large, unreadable

_MOST_REPEATS = 32
_DEEPEST_REPEATS = 5
_ABC = re.compile(r"^X:\s*\d+", re.MULTILINE)


def midi_of(path: Path, form: str, limit: int) -> bytes:
    """A notation file as MIDI bytes, repeats played out (ABC with two bar lines or more), chord symbols silent.

    Raises:
        InputError: neither MusicXML nor ABC, damaged, or larger than `limit` bytes unpacked.
    """
    text = _unzipped(path, limit) if form == "zip" else decoded_text(path, "score", limit)
    if "<score-partwise" in text or "<score-timewise" in text:
        _refuse_bad_xml(text, path)
        notation = "musicxml"
    elif _ABC.search(text):
        notation = "abc"
    else:
        raise InputError("the file is no score", f"other text in {path.name}", "Pass MIDI, MusicXML or ABC.")
    music21 = require("music21", extra="music")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stream = music21.converter.parseData(text, format=notation)
            return _midi(_first(stream), path)
    except Exception as error:  # music21 raises whatever its parser trips over; all of it is about this text
        raise unreadable("score", path, error or type(error).__name__, "Export it again.") from None


def musicxml_of(midi: bytes) -> bytes:
    """MIDI bytes as a MusicXML document; times are rounded to what notation can write."""
    music21 = require("music21", extra="music")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stream = music21.converter.parseData(midi, format="midi")
        return music21.musicxml.m21ToXml.GeneralObjectExporter(stream).parse()


def _midi(stream: Any, path: Path) -> bytes:
    music21 = require("music21", extra="music")
    for symbol in list(stream.recurse().getElementsByClass(music21.harmony.Harmony)):
        symbol.activeSite.remove(symbol)
    if _runaway(stream):
        say(f"The repeats of {path.name} do not match; it is played without them.")
        for bar in list(stream.recurse().getElementsByClass(music21.bar.Repeat)):
            bar.activeSite.remove(bar)
    return music21.midi.translate.streamToMidiFile(stream).writestr()


def _runaway(stream: Any) -> bool:
    """Whether repeats lie so deep in each other, or are played so often, that the music would have no end.

    music21 takes an end without a beginning as a repeat of all before it, so every further one doubles the music.
    """
    for part in getattr(stream, "parts", ()) or (stream,):
        depth = deepest = unmatched = 0
        for bar in part.recurse().getElementsByClass("Repeat"):
            if bar.direction == "start":
                depth += 1
            elif depth:
                depth -= 1
            else:
                unmatched += 1
            deepest = max(deepest, depth)
            if deepest + unmatched > _DEEPEST_REPEATS or (bar.times or 2) > _MOST_REPEATS:
                return True
    return False


def _first(stream: Any) -> Any:
    """The first tune of an ABC book."""
    scores = list(getattr(stream, "scores", ()))
    return scores[0] if scores else stream


def _unzipped(path: Path, limit: int) -> str:
    """The score inside an ``.mxl`` archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [info for info in archive.infolist() if info.filename.lower().endswith((".xml", ".musicxml"))]
            inner = next((info for info in names if not info.filename.startswith("META-INF")), None)
            if inner is None:
                raise InputError("the archive holds no score", path.name, "Pass a MusicXML archive (.mxl).")
            with archive.open(inner) as file:
                data = file.read(limit + 1)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise unreadable("score", path, error, "Export it again.") from None
    if len(data) > limit:
        raise too_large("score", path, "more unpacked", limit)
    if content_of(data[:4096]) != "text":
        raise InputError("the archive holds no score", f"binary data in {path.name}", "Pass a MusicXML archive (.mxl).")
    return data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", errors="replace")


def _refuse_bad_xml(text: str, path: Path) -> None:
    if "<!ENTITY" in text:
        raise InputError("the score declares XML entities", path.name, "Export it again, without a document type.")
    try:
        ElementTree.fromstring(text.encode())
    except ElementTree.ParseError as error:
        raise unreadable("score", path, error, "Export it again.") from None
