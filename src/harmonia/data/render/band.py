"""A band from a chord chart: drums, bass and up to four instruments in common accompaniment patterns.

A part is a list of `Strike`; `harmonia.data.render.synth.play` turns it into sound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Strike(NamedTuple):
    """One note of an instrument: seconds, MIDI pitch (or drum key), velocity."""

    onset: float
    offset: float
    pitch: int
    velocity: int


@dataclass(frozen=True)
class Part:
    """An instrument of the band: its stem, General MIDI program (0-based; ignored for drums), and notes."""

    stem: str
    program: int
    notes: tuple[Strike, ...]
    gain_db: float = 0.0
    pan: float = 0.0


@dataclass(frozen=True)
class Chord:
    """A chord of the chart: seconds, root pitch class, quality in Harte's shorthand, pitch classes."""

    onset: float
    offset: float
    root: int
    quality: str

    @property
    def label(self) -> str:
        return f"{_NAMES[self.root]}:{self.quality}"

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        return tuple((self.root + step) % 12 for step in QUALITIES[self.quality])


Rng = np.random.Generator
Spans = Sequence[tuple[float, float]]

_NAMES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
QUALITIES = {
    "maj": (0, 4, 7),
    "min": (0, 3, 7),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "min7": (0, 3, 7, 10),
    "sus4": (0, 5, 7),
}
# (scale step in semitones, quality) per bar; four or eight bars, repeated.
_MAJOR = (
    ((0, "maj"), (7, "maj"), (9, "min"), (5, "maj")),
    ((9, "min"), (5, "maj"), (0, "maj"), (7, "maj")),
    ((0, "maj"), (9, "min"), (5, "maj"), (7, "maj")),
    ((0, "maj7"), (9, "min7"), (2, "min7"), (7, "7")),
    ((0, "maj"), (4, "min"), (5, "maj"), (7, "sus4")),
    ((0, "maj"), (5, "maj"), (0, "maj"), (7, "7")),
    ((2, "min7"), (7, "7"), (0, "maj7"), (9, "min7")),
    ((0, "maj"), (10, "maj"), (5, "maj"), (0, "maj")),
)
_MINOR = (
    ((0, "min"), (8, "maj"), (3, "maj"), (10, "maj")),
    ((0, "min"), (10, "maj"), (8, "maj"), (7, "7")),
    ((0, "min7"), (5, "min7"), (10, "7"), (3, "maj7")),
    ((0, "min"), (5, "min"), (8, "maj"), (7, "7")),
    ((0, "min"), (3, "maj"), (10, "maj"), (5, "maj")),
)
MAJOR_SCALE, MINOR_SCALE = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)

_KICK, _SNARE, _RIM, _CLAP, _HAT, _OPEN, _RIDE, _CRASH, _SHAKER, _CONGA = 36, 38, 37, 39, 42, 46, 51, 49, 70, 63
# Each groove: drum key -> strokes of a bar in sixteenths.
_GROOVES: tuple[dict[int, tuple[int, ...]], ...] = (
    {_KICK: (0, 8), _SNARE: (4, 12), _HAT: (0, 2, 4, 6, 8, 10, 12, 14)},
    {_KICK: (0, 6, 8), _SNARE: (4, 12), _HAT: tuple(range(16))},
    {_KICK: (0, 4, 8, 12), _CLAP: (4, 12), _OPEN: (2, 6, 10, 14)},
    {_KICK: (0, 7, 10), _SNARE: (4, 12), _RIDE: (0, 4, 6, 8, 12, 14)},
    {_KICK: (0, 10), _RIM: (4, 12), _SHAKER: tuple(range(0, 16, 2))},
    {_KICK: (0, 3, 8, 11), _RIM: (3, 6, 10, 12), _CONGA: (2, 5, 14)},
    {_KICK: (0,), _SNARE: (8,), _HAT: (0, 4, 8, 12)},
)
_KEYS = (0, 1, 2, 4, 5, 6, 7, 11, 16, 17, 18, 19)
_PLUCKED = (24, 25, 26, 27, 28, 29, 45, 46, 104, 105)
_PADS = (48, 49, 50, 51, 61, 63, 88, 89, 90, 92, 94, 95)
_LEADS = (9, 12, 21, 22, 30, 40, 41, 42, 56, 57, 60, 64, 65, 66, 68, 71, 73, 75, 80, 81, 87)
_BASSES = (32, 33, 34, 35, 36, 38, 39)


def chart(rng: Rng, bars: int, bar: float, minor: bool | None = None) -> tuple[int, tuple[int, ...], list[Chord]]:
    """A key, its scale and one chord a bar (now and then two): ``(tonic, scale, chords)``; the mode may be given."""
    tonic = int(rng.integers(12))
    drawn = rng.random() < 0.4
    minor = drawn if minor is None else minor
    cycle = (_MINOR if minor else _MAJOR)[rng.integers(len(_MINOR if minor else _MAJOR))]
    chords = []
    for number in range(bars):
        step, quality = cycle[number % len(cycle)]
        start, root = number * bar, (tonic + step) % 12
        if number % 4 == 3 and quality != "sus4" and rng.random() < 0.4:
            chords.append(Chord(start, start + bar / 2, root, quality))
            chords.append(Chord(start + bar / 2, start + bar, (tonic + 7) % 12, "7"))
        else:
            chords.append(Chord(start, start + bar, root, quality))
    return tonic, MINOR_SCALE if minor else MAJOR_SCALE, chords


def arrange(
    rng: Rng,
    chords: Sequence[Chord],
    scale: Sequence[int],
    rests: Spans,
    bar: float,
) -> list[Part]:
    """Parts for a chart.

    Drums, bass, one or two chordal instruments, sometimes a pad and a lead instrument that fills the rests.
    """
    parts = []
    if rng.random() < 0.9:
        parts.append(Part("drums", 0, tuple(_drums(rng, chords, bar)), gain_db=rng.uniform(-3, 3)))
    if rng.random() < 0.95:
        parts.append(Part("bass", int(rng.choice(_BASSES)), tuple(_bass(rng, chords, bar)), gain_db=rng.uniform(-2, 3)))
    for _ in range(int(rng.integers(1, 3))):
        program = int(rng.choice(_KEYS if rng.random() < 0.5 else _PLUCKED))
        notes = tuple(_comping(rng, chords, bar))
        parts.append(Part("other", program, notes, gain_db=rng.uniform(-5, 1), pan=rng.uniform(-0.8, 0.8)))
    if rng.random() < 0.5:
        notes = tuple(_pad(rng, chords))
        parts.append(
            Part("other", int(rng.choice(_PADS)), notes, gain_db=rng.uniform(-9, -3), pan=rng.uniform(-0.4, 0.4))
        )
    if rng.random() < 0.6:
        notes = tuple(_fills(rng, chords, scale, rests, bar))
        if notes:
            program = int(rng.choice(_LEADS))
            parts.append(Part("other", program, notes, gain_db=rng.uniform(-6, 1), pan=rng.uniform(-0.6, 0.6)))
    return parts


def _drums(rng: Rng, chords: Sequence[Chord], bar: float) -> Iterator[Strike]:
    groove = _GROOVES[rng.integers(len(_GROOVES))]
    swing = rng.choice([0.0, 0.0, 0.25]) * bar / 16
    bars = round(chords[-1].offset / bar)
    for number in range(bars):
        fill = number % 4 == 3 and rng.random() < 0.6
        for key, strokes in groove.items():
            for stroke in strokes:
                if fill and stroke >= 12 and key != _KICK:
                    continue
                yield _drum(
                    rng, number * bar + stroke * bar / 16 + swing * (stroke % 2), key, 100 if stroke % 4 == 0 else 78
                )
        if fill:
            for stroke, key in zip(range(12, 16), rng.choice([38, 41, 43, 45, 47, 48, 50], 4)):
                yield _drum(rng, number * bar + stroke * bar / 16, int(key), 95)
        if number % 4 == 0 and rng.random() < 0.6:
            yield _drum(rng, number * bar, _CRASH, 90)


def _drum(rng: Rng, time: float, key: int, velocity: float) -> Strike:
    onset = max(0.0, time + rng.normal(0, 0.004))
    return Strike(onset, onset + 0.2, key, int(np.clip(velocity + rng.normal(0, 8), 30, 127)))


def _bass(rng: Rng, chords: Sequence[Chord], bar: float) -> Iterator[Strike]:
    style = rng.choice(["root", "eighths", "octaves", "walking", "syncopated"])
    for chord in chords:
        root = 28 + (chord.root - 4) % 12
        tones = [root + step for step in QUALITIES[chord.quality]]
        beats = round((chord.offset - chord.onset) / (bar / 4))
        plans: dict[str, list[tuple[float, float, int]]] = {
            "root": [(0, beats, root)],
            "eighths": [(i / 2, 0.5, root) for i in range(2 * beats)],
            "octaves": [(i / 2, 0.4, root + 12 * (i % 2)) for i in range(2 * beats)],
            "walking": [(i, 1.0, int(rng.choice(tones)) if i else root) for i in range(beats)],
            "syncopated": [(0, 1.4, root), (1.5, 0.5, root), *([(2.5, 1.2, tones[2])] if beats > 2 else [])],
        }
        for start, length, pitch in plans[str(style)]:
            onset = chord.onset + start * bar / 4 + abs(rng.normal(0, 0.004))
            yield Strike(onset, onset + 0.92 * length * bar / 4, pitch, int(rng.integers(75, 110)))


def _voicing(chord: Chord, centre: int) -> list[int]:
    return sorted(centre - 6 + (tone - centre + 6) % 12 for tone in chord.pitch_classes)


def _comping(rng: Rng, chords: Sequence[Chord], bar: float) -> Iterator[Strike]:
    style = rng.choice(["whole", "quarters", "arpeggio", "sixteenths", "offbeat", "strum"])
    centre = int(rng.integers(55, 72))
    rhythm = sorted(rng.choice(16, size=int(rng.integers(4, 8)), replace=False).tolist())
    for chord in chords:
        tones = _voicing(chord, centre)
        length = chord.offset - chord.onset
        sixteenths = round(16 * length / bar)
        unit = bar / 16
        loud = int(rng.integers(60, 95))
        if style in ("arpeggio", "sixteenths"):
            step = 2 if style == "arpeggio" else 1
            order = [*tones, tones[0] + 12, *tones[:0:-1]]
            for number, place in enumerate(range(0, sixteenths, step)):
                onset = chord.onset + place * unit + abs(rng.normal(0, 0.003))
                yield Strike(
                    onset, onset + 1.5 * step * unit, order[number % len(order)], loud + int(rng.integers(-8, 8))
                )
            continue
        places = {
            "whole": [0],
            "quarters": list(range(0, sixteenths, 4)),
            "offbeat": list(range(2, sixteenths, 4)),
            "strum": [place for place in rhythm if place < sixteenths],
        }[str(style)]
        for place, after in zip(places, [*places[1:], sixteenths]):
            for number, pitch in enumerate(tones):
                onset = chord.onset + place * unit + 0.012 * number * (style == "strum") + abs(rng.normal(0, 0.003))
                offset = chord.onset + (place + 0.9 * (after - place)) * unit
                yield Strike(onset, max(onset + 0.05, offset), pitch, int(np.clip(loud + rng.integers(-8, 8), 30, 120)))


def _pad(rng: Rng, chords: Sequence[Chord]) -> Iterator[Strike]:
    centre = int(rng.integers(58, 74))
    for chord in chords:
        for pitch in _voicing(chord, centre):
            yield Strike(chord.onset, chord.offset, pitch, 70)


def _fills(
    rng: Rng,
    chords: Sequence[Chord],
    scale: Sequence[int],
    rests: Spans,
    bar: float,
) -> Iterator[Strike]:
    """A lead instrument: answers where the voice rests, or a counter-melody throughout."""
    throughout = rng.random() < 0.35
    centre, pitch = int(rng.integers(64, 80)), 0
    for chord in chords:
        grid = np.arange(chord.onset, chord.offset - 1e-6, bar / 8)
        for onset in grid:
            resting = any(start <= onset < end - 0.1 for start, end in rests)
            if (resting and rng.random() < 0.8) or (throughout and rng.random() < 0.3):
                tones = _voicing(chord, centre)
                pitch = int(rng.choice(tones)) if rng.random() < 0.6 or not pitch else pitch + int(rng.choice([-2, 2]))
                yield Strike(onset, onset + bar / 8 * float(rng.choice([0.9, 1.8])), pitch, int(rng.integers(70, 105)))
