"""MusicXML and ABC to MIDI bytes, and MIDI back to MusicXML.

ABC is played by the program abc2midi that symusic brings, with chord symbols silent; MusicXML by music21. Both run in
a process of their own under a time limit, because damaged notation crashes the one and sends the other into loops
without end (``python -m harmonia.media.notation`` is music21's process).

What is refused before: archives that unpack to more than they should, and XML that declares entities, which can grow
a few bytes into gigabytes.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from harmonia.core.errors import InputError, require
from harmonia.media.files import content_of, decoded_text, too_large, unreadable
from harmonia.media.midi import check

_ABC = re.compile(r"^X:\s*\d+", re.MULTILINE)
_MEND = "Export it again."
_TIME_LIMIT_S = 15.0


def midi_of(path: Path, form: str, limit: int) -> bytes:
    """A notation file as MIDI bytes, repeats played out; of an ABC book the first tune.

    Raises:
        InputError: neither MusicXML nor ABC, damaged, or larger than `limit` bytes unpacked.
    """
    text = _unzipped(path, limit) if form == "zip" else decoded_text(path, "score", limit)
    if "<score-partwise" in text or "<score-timewise" in text:
        _refuse_bad_xml(text, path)
        require("music21", extra="music")
        return _output([sys.executable, "-m", __name__], text, path)
    if _ABC.search(text):
        return _abc_to_midi(text, path)
    raise InputError("the file is no score", f"other text in {path.name}", "Pass MIDI, MusicXML or ABC.")


def musicxml_of(midi: bytes) -> bytes:
    """MIDI bytes as a MusicXML document; times are rounded to what notation can write."""
    music21 = require("music21", extra="music")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stream = music21.converter.parseData(midi, format="midi")
        return music21.musicxml.m21ToXml.GeneralObjectExporter(stream).parse()


def _abc_to_midi(text: str, path: Path) -> bytes:
    symusic = require("symusic", extra="music")
    program = Path(str(symusic.__file__)).with_name("bin") / f"abc2midi{'.exe' * (sys.platform == 'win32')}"
    own = "\n".join(line for line in text.splitlines() if "abc-include" not in line)  # no other files
    together = re.sub(r"^K:", "%%MIDI chordattack 0\nK:", own, count=1, flags=re.MULTILINE)  # no strummed chords
    with tempfile.TemporaryDirectory() as folder:
        tune, midi = Path(folder) / "tune.abc", Path(folder) / "tune.mid"
        tune.write_text(together + "\n", encoding="utf-8")
        _output([str(program), str(tune), "-o", str(midi), "-NGUI", "-silent"], "", path)
        if not midi.exists():
            raise unreadable("score", path, "no tune in it", _MEND)
        data = midi.read_bytes()
    check(data, path)
    score = symusic.Score.from_midi(data)
    # abc2midi begins every event one tick late and ends every note on time.
    for track in score.tracks:
        for note in track.notes:
            note.time, note.duration = note.time - 1, note.duration + 1
        for word in track.lyrics:
            word.time = max(0, word.time - 1)
    for event in (*score.tempos, *score.time_signatures, *score.key_signatures):
        event.time = max(0, event.time - 1)
    return score.dumps_midi()


def _output(command: list[str], text: str, path: Path) -> bytes:
    """What a program prints, or an error of ours when it fails, crashes or takes too long."""
    limit_s = _TIME_LIMIT_S + path.stat().st_size / 50_000
    try:
        done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        raise unreadable("score", path, f"no end of it after {limit_s:.0f} s", _MEND) from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise unreadable("score", path, said[-1] if said else "the parser crashed", _MEND)
    return done.stdout


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
    except InputError:
        raise
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError, ValueError) as error:
        raise unreadable("score", path, error, _MEND) from None
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
    except (ElementTree.ParseError, LookupError, ValueError) as error:
        raise unreadable("score", path, error, _MEND) from None


def _play(text: str) -> bytes:
    """MusicXML through music21, chord symbols silent."""
    import music21

    stream: Any = music21.converter.parseData(text, format="musicxml")
    for symbol in list(stream.recurse().getElementsByClass(music21.harmony.Harmony)):
        symbol.activeSite.remove(symbol)
    for part in stream.parts:
        _begin_repeats(part)
    return music21.midi.translate.streamToMidiFile(stream).writestr()


def _begin_repeats(part: Any) -> None:
    """Mark where repeats begin that only their end is written of: after the repeat before.

    music21 itself takes them to begin at the beginning, and plays all earlier repeats in them again.
    """
    from music21 import bar

    begun, begin = True, None
    endings = [set(bracket.getSpannedElements()) for bracket in part.recurse().getElementsByClass("RepeatBracket")]
    for measure in part.getElementsByClass("Measure"):
        left, right = measure.leftBarline, measure.rightBarline
        if isinstance(left, bar.Repeat) and left.direction == "start":
            begun = True
        elif not begun and begin is None and not any(measure in ending for ending in endings):
            begin = measure
        if isinstance(right, bar.Repeat) and right.direction == "end":
            if not begun and begin is not None:
                begin.leftBarline = bar.Repeat(direction="start")
            begun, begin = False, None


def main() -> None:
    """MusicXML on standard input to MIDI on standard output."""
    warnings.simplefilter("ignore")
    try:
        midi = _play(sys.stdin.buffer.read().decode())
    except Exception as error:  # music21 raises whatever it trips over; all of it is about this text
        sys.exit(" ".join(str(error).split()) or type(error).__name__)
    sys.stdout.buffer.write(midi)


if __name__ == "__main__":
    main()
