"""Music whose mood is known: a small band whose mode, tempo, register, loudness, articulation and dissonance are set.

These are the means by which composers and performers express valence and arousal (Gabrielsson & Lindström 2010). What
is rendered has no voice and no vocal stem; it is made to train and test on, not to be beautiful.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harmonia.core.errors import InputError
from harmonia.data.render.band import MAJOR_SCALE, MINOR_SCALE, Chord, Part, Rng, Strike, chart
from harmonia.data.render.synth import play_together
from harmonia.data.song import Song
from harmonia.media import Audio

_BRIGHT, _MILD, _SOFT = (6, 12, 25, 80), (0, 1, 4, 11, 24), (48, 49, 89, 91, 19)
_LEADS = {"bright": (56, 73, 80, 81, 21), "mild": (0, 11, 40, 68, 73), "soft": (42, 70, 71, 75, 52)}
_KICK, _SNARE, _HAT, _OPEN = 36, 38, 42, 46


@dataclass(frozen=True)
class Mood:
    """What can be set of a piece.

    Attributes:
        major: Major or minor mode.
        tempo: Quarter notes a minute, 40 to 220.
        register: Mean MIDI pitch of the melody, 48 to 84.
        loudness: Level in dB below the loudest, -30 to 0; also how hard notes are struck.
        articulation: Share of its time that a note sounds, 0.15 (staccato) to 1 (legato).
        dissonance: Probability that a note is joined by its neighbour a semitone away, 0 to 1.
        activity: Density of notes and drums, 0 to 1.

    Raises:
        InputError: a value out of range.
    """

    major: bool = True
    tempo: float = 110.0
    register: float = 66.0
    loudness: float = -10.0
    articulation: float = 0.7
    dissonance: float = 0.0
    activity: float = 0.5

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"the {name} of a mood is out of range", value, f"Use {low:g} to {high:g}.")

    @classmethod
    def expressing(cls, valence: float, arousal: float, rng: Rng, noise: float = 1.0) -> Mood:
        """A mood that expresses valence and arousal on the scale 1 to 9: a fixed map with noise.

        Mode and dissonance follow valence, loudness, activity and articulation follow arousal, tempo and register
        both. Performers do alike, never exactly: `noise` scales the spread, and the mode is drawn with probability
        ``1 / (1 + exp(-3 v))``.

        Arguments:
            valence: 1 (unpleasant) to 9.
            arousal: 1 (calm) to 9.
            rng: Where the noise comes from.
            noise: 0 for none.
        """
        v, a = (valence - 5) / 4, (arousal - 5) / 4
        draw = noise * rng.normal(size=6)
        chance = 1 / (1 + np.exp(-3 * v))
        values = (
            105 * 2 ** (0.6 * a + 0.15 * v + 0.12 * draw[0]),
            66 + 5 * v + 3 * a + 2 * draw[1],
            -13 + 9 * a + 2 * draw[2],
            0.62 - 0.28 * a + 0.08 * draw[3],
            0.14 - 0.2 * v + 0.04 * a + 0.05 * draw[4],
            0.5 + 0.4 * a + 0.1 * draw[5],
        )
        clipped = (float(np.clip(value, low, high)) for value, (_, low, high) in zip(values, _RANGES, strict=True))
        return cls(bool(rng.random() < chance if noise else v >= 0), *clipped)


_RANGES = (
    ("tempo", 40.0, 220.0),
    ("register", 48.0, 84.0),
    ("loudness", -30.0, 0.0),
    ("articulation", 0.15, 1.0),
    ("dissonance", 0.0, 1.0),
    ("activity", 0.0, 1.0),
)


def render_mood(mood: Mood, seed: int, *, seconds: float = 12.0, rate: int = 22050, font: str = "TimGM6mb") -> Song:
    """Compose and play a piece in a mood; the same arguments give the same bits.

    Arguments:
        mood: What is set; key, chords, melody and instruments are drawn.
        seed: Which piece.
        seconds: Length, 2 to 600.
        rate: Sample rate, Hz.
        font: ``"TimGM6mb"`` or ``"FluidR3_GM"``.

    Returns:
        A song with one stem, the notes of its melody, chords and beats.

    Raises:
        InputError: a length out of range.
        MissingDependency: symusic, FluidSynth or the soundfont is not installed.
    """
    if not 2 <= seconds <= 600:
        raise InputError("the length of the piece is out of range", f"{seconds} s", "Use 2 to 600 seconds.")
    rng = np.random.default_rng([seed, 0x300D])
    bar = 240 / mood.tempo
    bars = int(np.ceil(seconds / bar))
    tonic, _, chords = chart(rng, bars, bar, minor=not mood.major)
    scale = MAJOR_SCALE if mood.major else MINOR_SCALE
    colour = "bright" if mood.activity > 0.62 else "soft" if mood.activity < 0.38 else "mild"
    melody = list(_melody(rng, mood, chords, bar, tonic, scale))
    accompaniment = {"bright": _BRIGHT, "mild": _MILD, "soft": _SOFT}[colour]
    comping = tuple(_clashing(rng, mood, _comping(mood, chords, bar)))
    parts = [
        Part("other", int(rng.choice(_LEADS[colour])), tuple(_clashing(rng, mood, melody)), pan=0.2),
        Part("other", int(rng.choice(accompaniment)), comping, gain_db=-4, pan=-0.3),
        Part("bass", int(rng.choice((32, 33, 38, 43))), tuple(_bass(mood, chords, bar)), gain_db=-2),
    ]
    if rng.random() < 1.6 * mood.activity - 0.3:
        parts.append(Part("drums", 0, tuple(_drums(mood, bars, bar)), gain_db=-3))
    sound = play_together(parts, round(seconds * rate), rate, font)
    gain = 0.2 * 10 ** (mood.loudness / 20) / (np.sqrt(np.mean(sound**2)) + 1e-9)
    return Song(
        stems={"instrumental": Audio(np.tanh(gain * sound), rate)},
        notes=tuple((s.onset, min(s.offset, seconds), float(s.pitch)) for s in melody if s.onset < seconds),
        chords=tuple((c.onset, min(c.offset, seconds), c.label) for c in chords if c.onset < seconds),
        beats=tuple((b * bar / 4, b % 4 + 1) for b in range(4 * bars) if b * bar / 4 < seconds),
        phonemes=(),
        lines=(),
        f0=np.zeros(0),
        provenance=f"rendered, not recorded: {mood}, soundfont {font}, seed {seed}",
    )


def _struck(mood: Mood, accent: float = 0.0) -> int:
    return int(np.clip(100 + 1.8 * mood.loudness + accent, 30, 120))


def _melody(
    rng: Rng, mood: Mood, chords: list[Chord], bar: float, tonic: int, scale: tuple[int, ...]
) -> Iterator[Strike]:
    """A walk on the scale around the register, on chord tones where a beat is strong."""
    step = bar / (16 if mood.activity > 0.75 else 8 if mood.activity > 0.3 else 4)
    pitch = float(mood.register)
    for chord in chords:
        for number, onset in enumerate(np.arange(chord.onset, chord.offset - 1e-6, step)):
            if number and rng.random() > 0.45 + 0.5 * mood.activity:
                continue
            tones = chord.pitch_classes if number % 4 == 0 else [(tonic + degree) % 12 for degree in scale]
            aim = pitch + rng.normal(0, 3) + 0.3 * (mood.register - pitch)
            pitch = min((p for p in range(36, 97) if p % 12 in tones), key=lambda p: abs(p - aim))
            yield Strike(onset, onset + mood.articulation * step, pitch, _struck(mood, 6.0 * (number % 4 == 0)))


def _comping(mood: Mood, chords: list[Chord], bar: float) -> Iterator[Strike]:
    """Chords once a bar, on quarters, or on eighths, by activity, in the octaves below the melody."""
    times = 1 if mood.activity < 0.35 else 4 if mood.activity < 0.7 else 8
    base = round(mood.register) - 14
    for chord in chords:
        step = bar / times
        for onset in np.arange(chord.onset, chord.offset - 1e-6, step):
            length = max(0.08, mood.articulation * min(step, chord.offset - onset))
            for tone in chord.pitch_classes:
                yield Strike(onset, onset + length, base + (tone - base) % 12, _struck(mood, -10))


def _bass(mood: Mood, chords: list[Chord], bar: float) -> Iterator[Strike]:
    times = 1 if mood.activity < 0.35 else 2 if mood.activity < 0.6 else 8
    for chord in chords:
        step = bar / times
        for onset in np.arange(chord.onset, chord.offset - 1e-6, step):
            length = max(0.1, mood.articulation * min(step, chord.offset - onset))
            yield Strike(onset, onset + length, 36 + (chord.root - 4) % 12 - 8, _struck(mood))


def _drums(mood: Mood, bars: int, bar: float) -> Iterator[Strike]:
    hats = range(0, 16, 2) if mood.activity < 0.75 else range(16)
    strokes = {_KICK: (0, 8) if mood.activity < 0.7 else (0, 4, 8, 12), _SNARE: (4, 12), _HAT: hats, _OPEN: (14,)}
    for number in range(bars):
        for key, places in strokes.items():
            for place in places:
                onset = (number + place / 16) * bar
                yield Strike(onset, onset + 0.2, key, _struck(mood, -12.0 * (key == _HAT)))


def _clashing(rng: Rng, mood: Mood, strikes: Iterator[Strike] | list[Strike]) -> Iterator[Strike]:
    """The notes, some of them together with their neighbour a semitone above."""
    for strike in strikes:
        yield strike
        if rng.random() < mood.dissonance:
            yield strike._replace(pitch=strike.pitch + 1)
