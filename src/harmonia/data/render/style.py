"""Short sung clips whose singing style is known exactly, with the voice and its backing apart.

Nine things are set (`SingingStyle`): register, loudness and tempo as numbers behind their class, the singer's sex and
size of the vocal tract (heard as age), timbre by the spectral envelope, expression by the course of F0, mood by mode
and tempo, genre by the accompaniment. Voices, words and clips of ``split="test"`` never occur in ``"train"``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import numpy as np

from harmonia.core.errors import InputError
from harmonia.data.render.band import Chord, Part, Rng, Strike, chart
from harmonia.data.render.lyrics import lines
from harmonia.data.render.singing import Manner, Track
from harmonia.data.render.speakers import Split, prompts, voices
from harmonia.data.render.speech import FRAME, analyse
from harmonia.data.render.synth import play
from harmonia.data.song import Note, Song
from harmonia.media import Audio

Level = Literal["low", "normal", "high"]
Sex = Literal["female", "male"]
Age = Literal["young", "adult"]
Pace = Literal["slow", "normal", "fast"]
Timbre = Literal["bright", "warm", "breathy", "clear"]
Expression = Literal["straight", "vibrato", "gliding"]
Genre = Literal["ballad", "rock", "electronic", "folk", "jazz"]

_FEMALE = ("espeak:en-us+f2", "espeak:en-gb+f4", "festival:cmu_us_slt_arctic_hts", "flite:slt")
_REGISTERS = {
    "male": {"low": 44.0, "normal": 51.0, "high": 58.0},
    "female": {"low": 55.0, "normal": 62.0, "high": 69.0},
}
_LEVELS_DB = {"low": -38.0, "normal": -30.0, "high": -22.0}
_TEMPI = {"slow": (60.0, 78.0), "normal": (92.0, 112.0), "fast": (130.0, 160.0)}
_MANNERS = {
    "straight": Manner(vibrato=0.0, glide=0.05, drift=2.0),
    "vibrato": Manner(vibrato=70.0, vibrato_rate=5.6, glide=0.06),
    "gliding": Manner(vibrato=0.0, glide=0.28, drift=2.0),
}
_LINES = 12
"""Lines that a voice sings; style is not in the words, and each line must be analysed once."""

_TILTS = {"bright": 4.0, "warm": -6.0, "breathy": -2.0, "clear": 0.0}


@dataclass(frozen=True)
class SingingStyle:
    """What can be set of a clip; `mood` follows from mode and tempo.

    Attributes:
        gender: Sex of the source voice.
        age: ``young``: formants 16 % higher; ``adult``: as they are.
        pitch: Register within the range of that sex, seven semitones apart.
        volume: Level of the voice in steps of 8 dB.
        tempo: Beats a minute: 60 to 78, 92 to 112, 130 to 160.
        major: Mode of the backing.
        timbre: Spectral tilt, or noise above 500 Hz (``breathy``).
        expression: Vibrato of 70 cents, glides of 0.28 s between notes, or neither.
        genre: Accompaniment.
    """

    gender: Sex = "female"
    age: Age = "adult"
    pitch: Level = "normal"
    volume: Level = "normal"
    tempo: Pace = "normal"
    major: bool = True
    timbre: Timbre = "clear"
    expression: Expression = "straight"
    genre: Genre = "ballad"

    @classmethod
    def drawn(cls, rng: Rng) -> SingingStyle:
        """Every attribute drawn by itself, all values alike often.

        Example:
            >>> SingingStyle.drawn(np.random.default_rng(0)).tempo in ("slow", "normal", "fast")
            True
        """
        draw = {name: str(rng.choice(get_args(kind))) for name, kind in _CHOICES.items()}
        return cls(major=bool(rng.random() < 0.5), **draw)  # type: ignore[arg-type]

    @property
    def mood(self) -> str:
        """Calm or joyful in major, sad or tense in minor, by the tempo."""
        if self.major:
            return "calm" if self.tempo == "slow" else "joyful"
        return "tense" if self.tempo == "fast" else "sad"


_CHOICES = {
    "gender": Sex,
    "age": Age,
    "pitch": Level,
    "volume": Level,
    "tempo": Pace,
    "timbre": Timbre,
    "expression": Expression,
    "genre": Genre,
}


def singers(gender: str, split: Split) -> tuple[str, ...]:
    """Names of the voices of a split that are female or male.

    Example:
        >>> singers("male", "test")
        ('flite:rms',)
    """
    female = [name for name in voices(split) if name in _FEMALE or "_f_" in name]
    return tuple(name for name in voices(split) if (name in female) == (gender == "female"))


def render_style(
    style: SingingStyle,
    seed: int,
    split: Split = "train",
    *,
    seconds: float = 6.0,
    rate: int = 16000,
    snr_db: float | None = None,
    voice: str | None = None,
) -> Song:
    """Sing a clip in a style over a backing; the same arguments give the same bits.

    Arguments:
        style: What is set; words, melody, chords and voice are drawn.
        seed: Which clip.
        split: ``"train"`` or ``"test"``.
        seconds: Length, 3 to 60.
        rate: Sample rate, Hz.
        snr_db: Level of the sounding voice over the backing; drawn from -5 to 5 dB when not given.
        voice: A name of `singers`; drawn when not given.

    Returns:
        A mono song with the stems vocals and instrumental, notes, chords, beats and F0.

    Raises:
        InputError: a length out of range, or a voice that is not of this split and sex.
        MissingDependency: a program, voice or soundfont that is not installed, naming its Debian package.
    """
    if not 3 <= seconds <= 60:
        raise InputError("the length of the clip is out of range", f"{seconds} s", "Use 3 to 60 seconds.")
    rng = np.random.default_rng([seed, ("train", "test").index(split), 0x57E1])
    known = singers(style.gender, split)
    singer = voice or str(rng.choice(known))
    if singer not in known:
        raise InputError(f"the {split} split has no such {style.gender} voice", singer, f"Use one of {known}.")
    bpm = float(rng.uniform(*_TEMPI[style.tempo]))
    beat = 60 / bpm
    bars = int(np.ceil(seconds / (4 * beat)))
    tonic, scale, chords = chart(rng, bars, 4 * beat, minor=not style.major)
    centre = _REGISTERS[style.gender][style.pitch] + rng.uniform(-1.2, 1.2)
    manner = _MANNERS[style.expression]
    formants = (1.16 if style.age == "young" else 1.0) * rng.uniform(0.98, 1.02)
    manner = Manner(manner.vibrato, manner.vibrato_rate, manner.glide, manner.drift, float(formants))
    track = Track(seconds + 1.0, rate)
    notes: list[Note] = []
    sung: list[tuple[float, float, str]] = []
    start = beat * float(rng.integers(0, 2)) + 0.15
    while start < seconds - 4 * 0.5 * beat:
        words = _words(rng, singer, split)
        source = analyse(singer, words)
        phrase = _melody(rng, len(source.syllables), start, beat, centre, tonic, scale, chords, seconds)
        if len(phrase) < 2:
            break
        track.add(source, [[note] for note in _filled(phrase, len(source.syllables))], manner, rng)
        notes += phrase
        sung.append((phrase[0][0], phrase[-1][1], words))
        start = phrase[-1][1] + beat
    _colour(track, style.timbre, rate)
    frames = round(seconds * rate)
    signal = track.synthesise()
    voiced = np.zeros(frames)
    voiced[: min(frames, len(signal))] = signal[:frames]
    level = 10 ** ((_LEVELS_DB[style.volume] + rng.uniform(-1.5, 1.5)) / 20)
    vocals = voiced * (level / _sounding_level(voiced))
    backing = sum(
        (_played(part, frames, rate) for part in _accompany(rng, style.genre, chords, beat)), np.zeros(frames)
    )
    snr = float(rng.uniform(-5, 5)) if snr_db is None else snr_db
    instrumental = backing * (level / _sounding_level(backing) * 10 ** (-snr / 20))
    loudest = float(np.abs(vocals + instrumental).max())
    scale_down = min(1.0, 0.99 / loudest)
    return Song(
        stems={"vocals": Audio(scale_down * vocals, rate), "instrumental": Audio(scale_down * instrumental, rate)},
        notes=tuple(note for note in notes if note[1] <= seconds),
        chords=tuple((c.onset, min(c.offset, seconds), c.label) for c in chords if c.onset < seconds),
        beats=tuple((b * beat, b % 4 + 1) for b in range(4 * bars) if b * beat < seconds),
        phonemes=(),
        lines=tuple(sung),
        f0=np.round(track.f0[: round(seconds / FRAME)], 3),
        provenance=f"rendered, not recorded: voice {singer} ({voices(split)[singer].licence}), {style}, seed {seed}",
    )


def _words(rng: Rng, singer: str, split: Split) -> str:
    choices = _prompts(singer) if voices(split)[singer].recorded else lines(split)[:_LINES]
    return str(choices[rng.integers(len(choices))])


@lru_cache(maxsize=32)
def _prompts(singer: str) -> tuple[str, ...]:
    """A few recorded prompts in which syllables are found."""
    fitting = (name for name in prompts(singer) if 3 <= len(analyse(singer, name).syllables) <= 12)
    return tuple(name for name, _ in zip(fitting, range(_LINES), strict=False))


def _melody(
    rng: Rng,
    count: int,
    start: float,
    beat: float,
    centre: float,
    tonic: int,
    scale: tuple[int, ...],
    chords: list[Chord],
    seconds: float,
) -> list[Note]:
    """Up to `count` notes from `start` on, of a half to two beats, within four semitones of a centre."""
    ladder = [p for p in range(30, 90) if (p - tonic) % 12 in scale and abs(p - centre) <= 4]
    place = int(rng.integers(len(ladder)))
    phrase: list[Note] = []
    for number in range(count):
        last = number == count - 1
        length = beat * (2.0 if last else float(rng.choice([0.5, 1.0, 1.5], p=[0.45, 0.45, 0.1])))
        if start + length > seconds - 0.1:
            if phrase:
                phrase[-1] = (phrase[-1][0], min(phrase[-1][1] + 0.5 * beat, seconds - 0.1), phrase[-1][2])
            break
        chord = next(c for c in reversed(chords) if c.onset <= start + 1e-6)
        place = int(np.clip(place + rng.integers(-2, 3), 0, len(ladder) - 1))
        if number % 2 == 0 or last:
            place = min(range(len(ladder)), key=lambda i: (ladder[i] % 12 not in chord.pitch_classes, abs(i - place)))
        phrase.append((start, start + length, float(ladder[place])))
        start += length
    return phrase


def _filled(phrase: list[Note], count: int) -> list[Note]:
    """As many notes as syllables: those that the clip has no room for lie behind its end."""
    notes = list(phrase)
    while len(notes) < count:
        end = notes[-1][1]
        notes.append((end, end + 0.12, notes[-1][2]))
    return notes


def _colour(track: Track, timbre: str, rate: int) -> None:
    """Tilt the envelope of a track above 500 Hz; a breathy voice is also noisy there."""
    hertz = np.arange(track.bins) * rate / (2 * (track.bins - 1))
    octaves = np.log2(np.maximum(hertz, 500.0) / 500.0)
    track.log_envelope += np.log(10) / 10 * _TILTS[timbre] * octaves
    if timbre == "breathy":
        track.aperiodicity = 1 - (1 - track.aperiodicity) * (1 - 0.97 * np.clip(octaves, 0, 1))


def _sounding_level(signal: np.ndarray) -> float:
    """RMS of the samples around which there is sound."""
    blocks = signal[: len(signal) // 160 * 160].reshape(-1, 160)
    power = (blocks**2).mean(1)
    return float(np.sqrt(power[power > 1e-3 * power.max()].mean()) + 1e-9)


def _played(part: Part, frames: int, rate: int) -> np.ndarray:
    sound = play(part, frames, rate).mean(0)
    return np.asarray(sound / (np.sqrt(np.mean(sound**2)) + 1e-9) * 10 ** (part.gain_db / 20))


_KICK, _SNARE, _RIM, _CLAP, _HAT, _OPEN, _RIDE, _SHAKER = 36, 38, 37, 39, 42, 46, 51, 70
_DRUMS: dict[str, dict[int, tuple[int, ...]]] = {
    "rock": {_KICK: (0, 6, 8), _SNARE: (4, 12), _HAT: tuple(range(0, 16, 2))},
    "electronic": {_KICK: (0, 4, 8, 12), _CLAP: (4, 12), _OPEN: (2, 6, 10, 14)},
    "jazz": {_RIDE: (0, 4, 7, 8, 12, 15), _RIM: (4, 12)},
    "folk": {_SHAKER: tuple(range(0, 16, 2))},
}
_BASS = {"ballad": (32, 4.0), "rock": (34, 0.5), "electronic": (38, 0.5), "jazz": (32, 1.0)}
"""Program, and beats between strokes."""


def _accompany(rng: Rng, genre: str, chords: list[Chord], beat: float) -> Iterator[Part]:
    """The parts that make a genre."""
    if genre in _DRUMS:
        yield Part(
            "drums", 0, tuple(_drums(_DRUMS[genre], chords, beat)), {"folk": -10.0, "jazz": -4.0}.get(genre, 0.0)
        )
    if genre in _BASS:
        program, step = _BASS[genre]
        yield Part("bass", program, tuple(_bass(rng, chords, beat, step, genre == "jazz")), -2.0)
    match genre:
        case "ballad":
            yield Part("other", 0, tuple(_chords(chords, beat, 0.5, 62, broken=True)))
            yield Part("other", 48, tuple(_chords(chords, beat, 4.0, 60)), -4.0)
        case "rock":
            yield Part("other", int(rng.choice((29, 30))), tuple(_chords(chords, beat, 0.5, 52)), -2.0)
        case "electronic":
            yield Part("other", int(rng.choice((80, 81))), tuple(_chords(chords, beat, 1.0, 64, late=0.5)), -5.0)
            yield Part("other", 90, tuple(_chords(chords, beat, 4.0, 60)), -6.0)
        case "folk":
            yield Part("other", int(rng.choice((24, 25))), tuple(_chords(chords, beat, 0.5, 58)))
        case _:
            yield Part("other", int(rng.choice((0, 4))), tuple(_chords(chords, beat, 2.0, 60, late=0.66)), -1.0)


def _drums(groove: dict[int, tuple[int, ...]], chords: list[Chord], beat: float) -> Iterator[Strike]:
    for number in range(round(chords[-1].offset / (4 * beat))):
        for key, strokes in groove.items():
            for stroke in strokes:
                onset = (4 * number + stroke / 4) * beat
                yield Strike(onset, onset + 0.2, key, 100 if stroke % 4 == 0 else 80)


def _bass(rng: Rng, chords: list[Chord], beat: float, step: float, walking: bool) -> Iterator[Strike]:
    for chord in chords:
        root = 28 + (chord.root - 4) % 12
        for number, onset in enumerate(np.arange(chord.onset, chord.offset - 1e-6, step * beat)):
            tone = int(rng.choice([0, 3, 5, 7, 10])) if walking and number else 0
            yield Strike(float(onset), float(min(onset + 0.9 * step * beat, chord.offset)), root + tone, 95)


def _chords(
    chords: list[Chord], beat: float, step: float, centre: int, *, broken: bool = False, late: float = 0.0
) -> Iterator[Strike]:
    """Chords every `step` beats, `late` beats behind; broken ones give one tone at a time."""
    for chord in chords:
        tones = sorted(centre - 6 + (tone - centre + 6) % 12 for tone in chord.pitch_classes)
        order = [*tones, *tones[-2:0:-1]]
        for number, onset in enumerate(np.arange(chord.onset, chord.offset - 1e-6, step * beat)):
            begin = float(onset + late * beat)
            for pitch in (order[number % len(order)],) if broken else tones:
                yield Strike(begin, begin + 0.95 * step * beat, pitch, 88 if number % 2 == 0 else 74)
