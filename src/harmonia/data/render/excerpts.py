"""Music without voices whose key, chords, instruments and pitches are known: to pre-train on, and to probe features.

Excerpts are accompaniments of `harmonia.data.render.band`, detuned by up to 30 cents; snippets are single notes or
chords of one instrument. All are rendered, in tune with each other, by FluidSynth; excerpts of ``split="test"`` are
never in ``"train"``.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    program: int,
    pitches: Sequence[Sequence[int]],
    *,
    seconds: float = 1.0,
    rate: int = 24000,
    velocities: Sequence[int] | None = None,
    font: str = "TimGM6mb",
) -> Float32[np.ndarray, "snippets time"]:
    """Notes or chords of one instrument, each as long as the others.

    Arguments:
        program: General MIDI program, 0-based.
        pitches: MIDI pitches that sound together, for each snippet.
        seconds: Length of a snippet; its notes end a quarter of a second before.
        rate: Sample rate, Hz.
        velocities: One for each snippet; 90 unless given.
        font: ``"TimGM6mb"`` or ``"FluidR3_GM"``.

    Raises:
        InputError: no snippets, or shorter than half a second.
        MissingDependency: symusic, FluidSynth or the soundfont is not installed.
    """
    if not len(pitches) or seconds < 0.5:
        got = f"{len(pitches)} snippets of {seconds} s"
        raise InputError("snippets are at least one, of half a second or more", got, "Ask for such.")
    struck = velocities or [90] * len(pitches)
    length = round(seconds * rate)
    strikes = tuple(
        Strike(number * seconds, (number + 1) * seconds - _TAIL, pitch, velocity)
        for number, (together, velocity) in enumerate(zip(pitches, struck, strict=True))
        for pitch in together
    )
    sound = play_together([Part("other", program, strikes)], length * len(pitches), rate, font).mean(0)
    return sound.reshape(len(pitches), length).astype(np.float32)


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
