"""Melodies out of ABC text, thousands in seconds.

Reads what the folk collections use: key signatures with modes, accidentals that hold until the bar line, octave marks,
lengths, broken rhythm, tuplets, ties. Of a chord the highest note is kept; grace notes, ornaments, chord symbols and
words are skipped; repeats are not played out, and of voices only the first is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from harmonia.data.tune import Tune, TuneNote

_STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_FIFTHS = {"F": -1, "C": 0, "G": 1, "D": 2, "A": 3, "E": 4, "B": 5}
_MODES = {"maj": 0, "ion": 0, "mix": -1, "dor": -2, "m": -3, "min": -3, "aeo": -3, "phr": -4, "loc": -5, "lyd": 1}
_TUPLETS = {2: 3, 3: 2, 4: 3, 5: 2, 6: 2, 7: 2, 8: 3, 9: 2}
_SKIPPED = re.compile(r'%.*|"[^"]*"|\{[^}]*\}|![^!\n]*!|\+[a-z]+\+')
_TOKEN = re.compile(
    r"(?P<inline>\[[A-Za-z]:[^\]]*\])"
    r"|(?P<chord>\[(?![|\d]))|(?P<chordend>\]\d*)"
    r"|(?P<tuplet>\((?P<p>\d)(?::(?P<q>\d?)(?::(?P<r>\d?))?)?)"
    r"|(?P<accidental>\^{1,2}|_{1,2}|=)?(?P<letter>[A-Ga-gzx])(?P<octave>[,']*)(?P<length>\d*/*\d*)(?P<tie>-?)"
    r"|(?P<bar>:*\|[\]|:\d]*|::)|(?P<broken>[<>]+)"
)


def read_abc(text: str, collection: str) -> Iterator[Tune]:
    """The tunes of an ABC book that have at least one note.

    Example:
        >>> book = "X:1\\nT:Up\\nM:3/4\\nL:1/8\\nK:D\\nD2 F2 A2 | f4 z2 |]"
        >>> [(note.onset, note.pitch) for note in next(read_abc(book, "ours")).notes]
        [(0.0, 62), (1.0, 66), (2.0, 69), (3.0, 78)]
    """
    for block in re.split(r"^(?=X:)", text, flags=re.MULTILINE):
        if block.startswith("X:"):
            tune = _Reader(collection).read(block)
            if tune.notes:
                yield tune


@dataclass
class _Reader:
    collection: str
    title: str = ""
    metre: str = ""
    unit: Fraction | None = None
    fifths: int = 0
    now: float = 0.0
    altered: dict[tuple[str, int], int] = field(default_factory=dict)
    notes: list[tuple[float, float, int]] = field(default_factory=list)

    def read(self, block: str) -> Tune:
        body, voice = [], ""
        for line in block.splitlines():
            header = re.match(r"([A-Za-z]):\s*(.*)", line)
            if header and header[1] == "V":
                voice = voice or header[2].split()[0] if header[2] else voice
                if header[2].split()[:1] != [voice]:
                    body.append("\0")
            elif header:
                body.append(f"[{header[1]}:{header[2].strip()}]")
            else:
                body.append(line)
        self._body("\n".join(self._first_voice(body)))
        return Tune(self.title, self.collection, self.metre, tuple(TuneNote(*note) for note in self.notes))

    @staticmethod
    def _first_voice(lines: list[str]) -> list[str]:
        return lines[: lines.index("\0")] if "\0" in lines else lines

    def _field(self, name: str, value: str) -> None:
        value = value.split("%")[0].strip()
        if name == "T" and not self.title:
            self.title = value
        elif name == "M":
            self.metre = {"C": "4/4", "C|": "2/2", "none": ""}.get(value, value)
        elif name == "L" and re.fullmatch(r"\d+/\d+", value):
            self.unit = Fraction(value)
        elif name == "K":
            self.fifths = _key(value)

    def _length(self, written: str) -> float:
        if self.unit is None:  # the standard's default: a sixteenth in metres below 3/4
            metre = re.fullmatch(r"(\d+)/(\d+)", self.metre)
            short = metre is not None and Fraction(int(metre[1]), int(metre[2])) < Fraction(3, 4)
            self.unit = Fraction(1, 16) if short else Fraction(1, 8)
        above, slashes, below = re.fullmatch(r"(\d*)(/*)(\d*)", written).groups()  # type: ignore[union-attr]
        divisor = (int(below or 0) or 2 ** len(slashes)) if slashes else 1
        return 4 * float(self.unit) * int(above or 1) / divisor

    def _body(self, text: str) -> None:
        tuplet, left, pending = 1.0, 0, 1.0
        in_chord, chord_size, tied = False, 0, False
        for token in _TOKEN.finditer(self._without_skipped(text)):
            if token["inline"]:
                self._field(token["inline"][1], token["inline"][3:-1])
            elif token["bar"]:
                self.altered.clear()
            elif token["chord"]:
                in_chord, chord_size = True, 0
            elif token["chordend"]:
                in_chord, chord_size = False, 0
            elif token["tuplet"]:
                p = max(1, int(token["p"]))
                tuplet, left = int(token["q"] or _TUPLETS.get(p, p)) / p, int(token["r"] or p)
            elif token["broken"] and self.notes:
                share = 0.5 ** len(token["broken"])
                before, pending = (2 - share, share) if token["broken"][0] == ">" else (share, 2 - share)
                onset, length, pitch = self.notes[-1]
                self.notes[-1] = (onset, length * before, pitch)
                self.now += length * (before - 1)
            elif token["letter"]:
                rest = token["letter"] in "zx"
                pitch = 0 if rest else self._pitch(token["accidental"], token["letter"], token["octave"])
                chord_size += in_chord
                if chord_size > 1 and self.notes:
                    onset, length, highest = self.notes[-1]
                    self.notes[-1] = (onset, length, max(highest, pitch))
                    continue
                length = self._length(token["length"]) * pending * (tuplet if left else 1)
                pending, left = 1.0, max(0, left - 1)
                if not rest:
                    self._play(pitch, length, tied)
                tied = bool(token["tie"])
                self.now += length

    def _play(self, pitch: int, length: float, tied: bool) -> None:
        if tied and self.notes and self.notes[-1][2] == pitch:
            onset, before, _ = self.notes[-1]
            self.notes[-1] = (onset, before + length, pitch)
        elif length > 0:
            self.notes.append((self.now, length, pitch))

    @staticmethod
    def _without_skipped(text: str) -> str:
        return "\n".join(
            line if line.startswith("[") and ":" in line[:3] else _SKIPPED.sub("", line) for line in text.split("\n")
        )

    def _pitch(self, accidental: str | None, letter: str, marks: str) -> int:
        octave = 5 + letter.islower() + marks.count("'") - marks.count(",")
        name = letter.upper()
        if accidental:
            self.altered[name, octave] = accidental.count("^") - accidental.count("_")
        alter = self.altered.get((name, octave), self._signature(name))
        return 12 * octave + _STEPS[name] + alter

    def _signature(self, name: str) -> int:
        place = "FCGDAEB".index(name)
        return int(place < self.fifths) - int(6 - place < -self.fifths)


def _key(value: str) -> int:
    """Sharps (or minus flats) of a key field: ``D`` 2, ``Ador`` 1, ``Bb`` -2, ``HP`` 2."""
    if value.startswith(("HP", "Hp")):
        return 2
    key = re.match(r"([A-G])([#b]?)\s*([A-Za-z]*)", value)
    if key is None:
        return 0
    mode = key[3].lower()
    shift = _MODES.get(mode[:3], _MODES.get(mode, 0))
    return _FIFTHS[key[1]] + 7 * ((key[2] == "#") - (key[2] == "b")) + shift
