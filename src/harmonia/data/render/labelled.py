"""Short instrumental excerpts whose labels are known, for probing: notes of instruments, pieces, moods.

    notes     one note each: instrument family, program, pitch
    pieces    a band in one of six styles: key, tempo, style, all drawn independently
    moods     pieces of `harmonia.data.render.mood`: valence and arousal

Many excerpts are played in one go, one after another, and cut apart. They are kept in the cache.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32

from harmonia.core.errors import InputError
from harmonia.core.media import whole_file
from harmonia.core.progress import track
from harmonia.data.cache import cache_folder
from harmonia.data.render.band import MAJOR_SCALE, MINOR_SCALE, Chord, Part, Rng, Strike, chart
from harmonia.data.render.mood import Mood, render_mood
from harmonia.data.render.synth import play_together

Kind = Literal["notes", "pieces", "moods"]

RATE = 22050
RENDERER = 2
"""Raised whenever the same seed renders to other sounds, so that old caches are not taken for new ones."""

FAMILIES: dict[str, tuple[int, ...]] = {
    "keyboard": (0, 1, 3, 4, 6, 7),
    "mallet": (8, 9, 11, 12, 13, 14),
    "organ": (16, 17, 18, 19, 20, 21),
    "guitar": (24, 25, 26, 27, 29, 30),
    "bass": (32, 33, 34, 35, 36, 38),
    "string": (40, 41, 42, 44, 48, 49),
    "brass": (56, 57, 58, 60, 61, 62),
    "reed": (64, 65, 66, 68, 70, 71),
    "flute": (72, 73, 74, 75, 78, 79),
    "voice": (52, 53, 54, 85, 91, 94),
}
"""General MIDI programs (0-based) of the families of instruments."""

TONICS = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
TEMPI = {"slow": (62.0, 80.0), "moderate": (94.0, 116.0), "fast": (140.0, 170.0)}
_GAP_S = 0.75
_TRACKS = 15
_NOTE_S = 1.2
_PIECE_S = 4.0


@dataclass(frozen=True)
class Excerpts:
    """Mono excerpts of equal length and what is true of them.

    Attributes:
        samples: One excerpt a row.
        rate: In hertz.
        labels: Name of a label to its values, one an excerpt.
        provenance: What was rendered from what.
    """

    samples: Float32[np.ndarray, "excerpts time"]
    rate: int
    labels: dict[str, np.ndarray]
    provenance: str

    def __len__(self) -> int:
        return len(self.samples)


def excerpts(kind: Kind, count: int, *, seed: int = 0) -> Excerpts:
    """Rendered excerpts; those rendered before are read from the cache.

    Arguments:
        kind: ``notes`` (labels family, program, pitch), ``pieces`` (key, tempo, bpm, style) or ``moods`` (valence,
            arousal).
        count: How many.
        seed: Another seed gives others.

    Raises:
        InputError: an unknown kind, or fewer than one.
        MissingDependency: symusic, FluidSynth or the soundfont is not installed.
    """
    if kind not in _MAKERS or count < 1:
        raise InputError("there are no such excerpts", f"{count} {kind}", "Ask for notes, pieces or moods.")
    key = hashlib.sha256(repr((RENDERER, kind, count, seed)).encode()).hexdigest()[:16]
    path = cache_folder("excerpts") / f"{kind}-{key}.npz"
    if not path.is_file():
        made = _MAKERS[kind](count, np.random.default_rng([seed, len(kind)]))
        with whole_file(path) as temporary:
            scaled = np.round(32767 * made.samples / max(1e-9, np.abs(made.samples).max())).astype(np.int16)
            np.savez_compressed(temporary, samples=scaled, labels=json.dumps(_plain(made.labels)), said=made.provenance)
    return _read(path)


def _read(path: Path) -> Excerpts:
    with np.load(path) as content:
        labels = {name: np.array(values) for name, values in json.loads(str(content["labels"])).items()}
        return Excerpts(content["samples"].astype(np.float32) / 32768, RATE, labels, str(content["said"]))


def _plain(labels: dict[str, np.ndarray]) -> dict[str, list[object]]:
    return {name: values.tolist() for name, values in labels.items()}


# --------------------------------------------------------------------------------------------------------------- notes


def _notes(count: int, rng: Rng) -> Excerpts:
    """Families, their programs and pitches from C3 to B4 in turn; velocity and length are drawn."""
    names = list(FAMILIES)
    drawn = rng.permutation(count)
    family = np.array([names[i % len(names)] for i in drawn])
    program = np.array([FAMILIES[name][i // len(names) % 6] for name, i in zip(family, drawn)])
    pitch = 48 + rng.permutation(count) % 24
    samples = np.empty((count, round(_NOTE_S * RATE)), dtype=np.float32)
    for together in np.array_split(np.unique(program), -(-len(np.unique(program)) // _TRACKS)):
        rows = np.flatnonzero(np.isin(program, together))
        strikes = [Strike(0.02, rng.uniform(0.6, 0.95), int(pitch[row]), int(rng.integers(55, 115))) for row in rows]
        parts = [[Part("other", int(program[row]), (strike,))] for row, strike in zip(rows, strikes)]
        samples[rows] = _played(parts, _NOTE_S)
    labels = {"family": family, "program": program, "pitch": pitch}
    return Excerpts(samples, RATE, labels, "single notes of General MIDI instruments, rendered from the soundfont")


# -------------------------------------------------------------------------------------------------------------- pieces


def _pieces(count: int, rng: Rng) -> Excerpts:
    """Keys, tempi and styles each evenly spread and independent of one another."""
    spread = [rng.permutation(count) for _ in range(3)]
    keys = [(int(i) % 12, bool(i // 12 % 2)) for i in spread[0]]
    paces = [tuple(TEMPI)[int(i) % len(TEMPI)] for i in spread[1]]
    styles = np.array([tuple(STYLES)[int(i) % len(STYLES)] for i in spread[2]])
    bpm = np.array([rng.uniform(*TEMPI[pace]) for pace in paces])
    samples = np.empty((count, round(_PIECE_S * RATE)), dtype=np.float32)
    for style, arrange in STYLES.items():
        rows = np.flatnonzero(styles == style)
        samples[rows] = _played([_piece(rng, arrange, *keys[row], bpm[row]) for row in rows], _PIECE_S)
    labels = {
        "key": np.array([f"{TONICS[tonic]} {'minor' if minor else 'major'}" for tonic, minor in keys]),
        "tempo": np.array(paces),
        "bpm": bpm,
        "style": styles,
    }
    return Excerpts(samples, RATE, labels, "composed by chord patterns, rendered from the soundfont")


def _piece(rng: Rng, arrange: Style, tonic: int, minor: bool, bpm: float) -> list[Part]:
    bar = 240 / bpm
    drawn, _, chords = chart(rng, int(np.ceil(_PIECE_S / bar)), bar, minor=minor)
    moved = [Chord(c.onset, c.offset, (c.root + tonic - drawn) % 12, c.quality) for c in chords]
    scale = tuple((tonic + step) % 12 for step in (MINOR_SCALE if minor else MAJOR_SCALE))
    parts = arrange(rng, moved, bar, scale)
    return [Part(p.stem, p.program, tuple(_within(p.notes, _PIECE_S)), p.gain_db, p.pan) for p in parts]


def _within(notes: Sequence[Strike], seconds: float) -> Iterator[Strike]:
    for note in notes:
        if note.onset < seconds - 0.05:
            yield note._replace(offset=min(note.offset, seconds))


Style = Callable[[Rng, list[Chord], float, tuple[int, ...]], list[Part]]


def _chorale(rng: Rng, chords: list[Chord], bar: float, scale: tuple[int, ...]) -> list[Part]:
    """Block chords of one sustained instrument, the melody on top."""
    program = int(rng.choice((19, 48, 52)))
    held = [s for c in chords for s in _chord(c, c.onset, c.offset, 55, 70)]
    roots = [Strike(c.onset, c.offset, 36 + (c.root + 4) % 12, 72) for c in chords]
    return [Part("other", program, (*held, *roots, *_tune(rng, chords, bar / 4, scale, 67, 76)))]


def _rock(rng: Rng, chords: list[Chord], bar: float, scale: tuple[int, ...]) -> list[Part]:
    """Distorted fifths and bass on eighths over a straight beat."""
    step = bar / 8
    fifths = [
        Strike(t, t + 0.8 * step, 40 + (c.root + 8) % 12 + up, 95) for c, t in _grid(chords, step) for up in (0, 7)
    ]
    bass = [Strike(t, t + 0.8 * step, 28 + (c.root + 8) % 12, 100) for c, t in _grid(chords, step)]
    lead = tuple(_tune(rng, chords, bar / 8, scale, 64, 96))
    beat = _beat(chords, bar, {36: (0, 8, 10), 38: (4, 12), 42: tuple(range(0, 16, 2))})
    return [
        Part("other", int(rng.choice((29, 30))), tuple(fifths), -5),
        Part("bass", 33, tuple(bass), -3),
        Part("other", int(rng.choice((27, 30))), lead, -3),
        Part("drums", 0, beat, -4),
    ]


def _swing(rng: Rng, chords: list[Chord], bar: float, scale: tuple[int, ...]) -> list[Part]:
    """Walking bass, off-beat piano chords, a swung ride cymbal."""
    beat = bar / 4
    comping = [s for c, t in _grid(chords, 2 * beat) for s in _chord(c, t + 2 / 3 * beat, t + beat, 55, 66)]
    walk = [
        Strike(t, t + 0.9 * beat, 33 + (int(rng.choice(c.pitch_classes)) + 3) % 12, 84) for c, t in _grid(chords, beat)
    ]
    tune = tuple(_tune(rng, chords, beat / 3, scale, 70, 84, rests=0.5))
    ride = tuple(
        Strike(t + late * beat, t + late * beat + 0.2, 51, 70)
        for number, (_, t) in enumerate(_grid(chords, beat))
        for late in ((0.0,) if number % 2 == 0 else (0.0, 2 / 3))
    )
    return [
        Part("other", 0, tuple(comping), -5),
        Part("bass", 32, tuple(walk), -2),
        Part("other", int(rng.choice((56, 66))), tune, -2),
        Part("drums", 0, ride, -6),
    ]


def _dance(rng: Rng, chords: list[Chord], bar: float, scale: tuple[int, ...]) -> list[Part]:
    """Four on the floor, off-beat bass and synthesiser stabs."""
    step = bar / 8
    stabs = [s for c, t in _grid(chords, 2 * step) for s in _chord(c, t + step, t + 1.7 * step, 60, 84)]
    bass = [Strike(t + step, t + 1.8 * step, 36 + (c.root + 4) % 12 - 4, 100) for c, t in _grid(chords, 2 * step)]
    lead = tuple(_tune(rng, chords, bar / 16, scale, 76, 84, rests=0.35))
    beat = _beat(chords, bar, {36: (0, 4, 8, 12), 39: (4, 12), 46: (2, 6, 10, 14)})
    return [
        Part("other", int(rng.choice((81, 90, 62))), tuple(stabs), -6),
        Part("bass", 38, tuple(bass), -2),
        Part("other", int(rng.choice((80, 81))), lead, -6),
        Part("drums", 0, beat, -2),
    ]


def _bossa(rng: Rng, chords: list[Chord], bar: float, scale: tuple[int, ...]) -> list[Part]:
    """A syncopated nylon guitar, two basses a bar, rim and shaker, a flute."""
    strokes = (0, 3, 6, 10, 12)
    guitar = [
        s
        for c in chords
        for place in strokes
        if (t := c.onset + place * bar / 16) < c.offset - 1e-6
        for s in _chord(c, t, t + bar / 10, 52, 74)
    ]
    bass = [Strike(t, t + 0.4 * bar, 33 + (c.root + 3) % 12, 84) for c, t in _grid(chords, bar / 2)]
    beat = _beat(chords, bar, {37: (0, 3, 6, 10, 13), 70: tuple(range(0, 16, 2))})
    tune = tuple(_tune(rng, chords, bar / 8, scale, 74, 80, rests=0.4))
    return [
        Part("other", 24, tuple(guitar), -3),
        Part("bass", 32, tuple(bass), -2),
        Part("other", int(rng.choice((73, 71))), tune, -3),
        Part("drums", 0, beat, -7),
    ]


def _stride(rng: Rng, chords: list[Chord], bar: float, scale: tuple[int, ...]) -> list[Part]:
    """A piano alone: bass and chord in turn in the left hand, a quick right hand."""
    beat = bar / 4
    left = []
    for number, (c, t) in enumerate(_grid(chords, beat)):
        low = [Strike(t, t + 0.8 * beat, 33 + (c.root + 3) % 12, 84)]
        left += low if number % 2 == 0 else list(_chord(c, t, t + 0.5 * beat, 55, 70))
    return [Part("other", 0, (*left, *_tune(rng, chords, bar / 8, scale, 76, 88, rests=0.2)))]


STYLES: dict[str, Style] = {
    "chorale": _chorale,
    "rock": _rock,
    "swing": _swing,
    "dance": _dance,
    "bossa nova": _bossa,
    "stride piano": _stride,
}


def _grid(chords: Sequence[Chord], step: float) -> Iterator[tuple[Chord, float]]:
    for chord in chords:
        for number in range(max(1, round((chord.offset - chord.onset) / step))):
            yield chord, chord.onset + number * step


def _chord(chord: Chord, start: float, stop: float, base: int, velocity: int) -> Iterator[Strike]:
    for tone in chord.pitch_classes:
        yield Strike(start, stop, base + (tone - base) % 12, velocity)


def _tune(
    rng: Rng,
    chords: Sequence[Chord],
    step: float,
    scale: tuple[int, ...],
    centre: int,
    velocity: int,
    rests: float = 0.25,
) -> Iterator[Strike]:
    """A walk on the scale, on a tone of the chord where it begins."""
    ladder = [pitch for pitch in range(centre - 9, centre + 10) if pitch % 12 in scale]
    place = len(ladder) // 2
    for number, (chord, onset) in enumerate(_grid(chords, step)):
        if number and rng.random() < rests:
            continue
        place = int(np.clip(place + rng.integers(-2, 3), 0, len(ladder) - 1))
        pitch = ladder[place]
        if abs(onset - chord.onset) < 1e-6:
            pitch = min(
                (p for p in range(centre - 9, centre + 10) if p % 12 in chord.pitch_classes),
                key=lambda p: abs(p - ladder[place]),
            )
        yield Strike(onset, onset + 0.9 * step, pitch, velocity)


def _beat(chords: Sequence[Chord], bar: float, strokes: dict[int, tuple[int, ...]]) -> tuple[Strike, ...]:
    bars = round(chords[-1].offset / bar)
    return tuple(
        Strike((number + place / 16) * bar, (number + place / 16) * bar + 0.15, key, 90)
        for number in range(bars)
        for key, places in strokes.items()
        for place in places
    )


# --------------------------------------------------------------------------------------------------------------- moods


def _moods(count: int, rng: Rng) -> Excerpts:
    valence, arousal = rng.uniform(1, 9, (2, count))
    rows = []
    for number in track(range(count), "Rendering moods"):
        mood = Mood.expressing(valence[number], arousal[number], rng)
        rows.append(render_mood(mood, int(rng.integers(2**31)), seconds=_PIECE_S, rate=RATE).mixture.mono().samples[0])
    labels = {"valence": valence, "arousal": arousal}
    return Excerpts(
        np.stack(rows), RATE, labels, "composed to express valence and arousal, rendered from the soundfont"
    )


_MAKERS: dict[str, Callable[[int, Rng], Excerpts]] = {"notes": _notes, "pieces": _pieces, "moods": _moods}


def _played(pieces: Sequence[Sequence[Part]], seconds: float) -> Float32[np.ndarray, "pieces time"]:
    """Each piece on its own, all played in one go: parts of one instrument share a track, pieces follow one another."""
    stride, merged = seconds + _GAP_S, dict[tuple[str, int, float, float], list[Strike]]()
    for number, parts in enumerate(pieces):
        for part in parts:
            moved = (s._replace(onset=s.onset + number * stride, offset=s.offset + number * stride) for s in part.notes)
            merged.setdefault((part.stem, part.program, part.gain_db, part.pan), []).extend(moved)
    whole = [Part(stem, program, tuple(notes), gain, pan) for (stem, program, gain, pan), notes in merged.items()]
    sound = play_together(whole, round(len(pieces) * stride * RATE), RATE).mean(0)
    starts = np.round(np.arange(len(pieces)) * stride * RATE).astype(int)
    rows = np.stack([sound[start : start + round(seconds * RATE)] for start in starts])
    return rows.astype(np.float32)
