"""Music without voices whose key, chords, instruments and pitches are known: to pre-train on, and to probe features.

Excerpts are accompaniments of `harmonia.data.render.band`, detuned by up to 30 cents; snippets are single notes or
chords of one instrument. All are rendered, in tune with each other, by FluidSynth; excerpts of ``split="test"`` are
never in ``"train"``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.data.render.band import MINOR_SCALE, Part, Strike, arrange, chart
from harmonia.data.render.speakers import Split
from harmonia.data.render.synth import play_together
from harmonia.media import Audio

CENTS = 30.0
_TAIL = 0.25
"""Silence after each snippet, s, in which it fades."""
_INSTRUMENTS = 15


@dataclass(frozen=True)
class Excerpt:
    """A piece of accompaniment and what is known of it.

    Attributes:
        audio: One channel.
        tonic: Pitch class of its key, 0 for C.
        minor: Mode of its key.
        chords: ``(onset, offset, label)`` in seconds.
        programs: General MIDI programs that play, without drums.
        cents: By how much it is out of tune.
    """

    audio: Audio
    tonic: int
    minor: bool
    chords: tuple[tuple[float, float, str], ...]
    programs: tuple[int, ...]
    cents: float

    @property
    def key(self) -> int:
        """The key as a number: the tonic, plus 12 in minor."""
        return self.tonic + 12 * self.minor


def render_excerpt(
    seed: int, split: Split = "train", *, seconds: float = 12.0, rate: int = 24000, font: str = "TimGM6mb"
) -> Excerpt:
    """Compose and play an accompaniment; the same arguments give the same bits.

    Arguments:
        seed: Which piece.
        split: ``"train"`` or ``"test"``.
        seconds: Length, 2 to 600.
        rate: Sample rate, Hz.
        font: ``"TimGM6mb"`` or ``"FluidR3_GM"``.

    Raises:
        InputError: an unknown split or a length out of range.
        MissingDependency: symusic, FluidSynth or the soundfont is not installed.
    """
    if split not in ("train", "test"):
        raise InputError("there is no such split", repr(split), "Use 'train' or 'test'.")
    if not 2 <= seconds <= 600:
        raise InputError("the length of the excerpt is out of range", f"{seconds} s", "Use 2 to 600 seconds.")
    rng = np.random.default_rng([seed, ("train", "test").index(split), 0xE8CE])
    cents = float(rng.uniform(-CENTS, CENTS))
    played = round(rate / 2 ** (cents / 1200))  # played at this rate and taken for the other, all sounds higher
    stretch = rate / played
    bar = 240 / rng.uniform(76, 136)
    tonic, scale, chords = chart(rng, int(np.ceil(seconds * stretch / bar)), bar)
    parts = arrange(rng, chords, scale, (), bar)
    sound = play_together(parts, round(seconds * rate), played, font).mean(0)
    loudness = rng.uniform(0.3, 0.9) / (np.abs(sound).max() + 1e-9)
    told = tuple((c.onset / stretch, min(c.offset / stretch, seconds), c.label) for c in chords)
    return Excerpt(
        audio=Audio((loudness * sound).astype(np.float32), rate),
        tonic=tonic,
        minor=scale == MINOR_SCALE,
        chords=tuple(chord for chord in told if chord[0] < seconds),
        programs=tuple(part.program for part in parts if part.stem != "drums"),
        cents=cents,
    )


def render_snippets(
    programs: int | Sequence[int],
    pitches: Sequence[Sequence[int]],
    *,
    seconds: float = 1.0,
    rate: int = 24000,
    velocities: Sequence[int] | None = None,
    font: str = "TimGM6mb",
) -> Float32[np.ndarray, "snippets time"]:
    """Notes or chords of single instruments, one after another, each as long as the others.

    Arguments:
        programs: General MIDI program, 0-based, of all snippets or of each.
        pitches: MIDI pitches that sound together, for each snippet.
        seconds: Length of a snippet; its notes end a quarter of a second before.
        rate: Sample rate, Hz.
        velocities: One for each snippet; 90 unless given.
        font: ``"TimGM6mb"`` or ``"FluidR3_GM"``.

    Raises:
        InputError: no snippets, or shorter than half a second.
        MissingDependency: symusic, FluidSynth or the soundfont is not installed.
    """
    count = len(pitches)
    if not count or seconds < 0.5:
        got = f"{count} snippets of {seconds} s"
        raise InputError("snippets are at least one, of half a second or more", got, "Ask for such.")
    played = [programs] * count if isinstance(programs, int) else list(programs)
    struck = velocities or [90] * count
    length = round(seconds * rate)
    found = np.empty((count, length), dtype=np.float32)
    for together in _in_turn(played):
        strikes: dict[int, list[Strike]] = {}
        for place, snippet in enumerate(together):
            onset, offset = place * seconds, (place + 1) * seconds - _TAIL
            notes = [Strike(onset, offset, pitch, struck[snippet]) for pitch in pitches[snippet]]
            strikes.setdefault(played[snippet], []).extend(notes)
        parts = [Part("other", program, tuple(notes)) for program, notes in strikes.items()]
        sound = play_together(parts, length * len(together), rate, font).mean(0)
        found[together.start : together.stop] = sound.reshape(-1, length)
    return found


def _in_turn(programs: Sequence[int]) -> Iterator[range]:
    """Stretches of snippets with at most fifteen instruments, as many as are played in one go."""
    start, heard = 0, set[int]()
    for number, program in enumerate(programs):
        if len(heard | {program}) > _INSTRUMENTS:
            yield range(start, number)
            start, heard = number, set()
        heard.add(program)
    yield range(start, len(programs))


def write_excerpts(
    folder: str | Path, split: Split, count: int, *, seconds: float = 12.0, rate: int = 24000, font: str = "TimGM6mb"
) -> list[Path]:
    """Render excerpts to ``folder/<split>/<number>.flac``; those already there are kept.

    Raises:
        InputError: an unknown split or a length out of range.
        MissingDependency: symusic, FluidSynth or the soundfont is not installed.
    """
    paths = []
    for number in track(range(count), f"Rendering {split} excerpts"):
        path = Path(folder) / split / f"{number:05d}.flac"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            render_excerpt(number, split, seconds=seconds, rate=rate, font=font).audio.write(path)
        paths.append(path)
    return paths
