"""Composes a song: a chart, a melody on it for every line of words, a singer, a band; then mixes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harmonia.core.errors import InputError
from harmonia.data.render.band import Chord, arrange, chart
from harmonia.data.render.lyrics import lines
from harmonia.data.render.mix import mix
from harmonia.data.render.singing import LONGEST, Manner, Track
from harmonia.data.render.speakers import Split, Voice, prompts, voices
from harmonia.data.render.speech import FRAME, Source, analyse
from harmonia.data.render.synth import SOUNDFONTS, play
from harmonia.data.song import STEMS, Note, Phone, Song
from harmonia.media import Audio


def render_song(
    seed: int,
    split: Split = "train",
    *,
    seconds: float = 12.0,
    rate: int = 44100,
    voice: str | None = None,
    font: str | None = None,
) -> Song:
    """Compose, sing and play a song; the same arguments give the same bits.

    Voices, words and songs of ``split="test"`` never occur in ``"train"``.

    Arguments:
        seed: Which song.
        split: ``"train"`` or ``"test"``.
        seconds: Length of the result, 4 to 600.
        rate: Sample rate, Hz.
        voice: A name of `voices(split)`; drawn by the seed when not given.
        font: ``"TimGM6mb"`` or ``"FluidR3_GM"``; drawn by the seed when not given.

    Raises:
        InputError: an unknown split or voice, or a length out of range.
        MissingDependency: a program, voice or soundfont that is not installed, naming its Debian package.
    """
    if split not in ("train", "test"):
        raise InputError("there is no such split", repr(split), "Use 'train' or 'test'.")
    if not 4 <= seconds <= LONGEST:
        raise InputError("the song length is out of range", f"{seconds} s", f"Use 4 to {LONGEST:.0f} seconds.")
    rng = np.random.default_rng([seed, ("train", "test").index(split), 0x50E6])
    singer = _singer(rng, split, voice)
    bar = 240 / rng.uniform(76, 136)
    bars = int(np.ceil(seconds / bar))
    tonic, scale, chords = chart(rng, bars, bar)
    manner = Manner(
        vibrato=float(rng.uniform(5, 40)),
        vibrato_rate=float(rng.uniform(4.8, 6.4)),
        glide=float(rng.uniform(0.05, 0.09)),
        formants=float(rng.uniform(0.9, 1.15)),
    )
    track = Track(bars * bar + 0.5, rate)
    choir = Track(bars * bar + 0.5, rate) if rng.random() < 0.3 else None
    register = float(rng.uniform(3, 10))
    notes: list[Note] = []
    phonemes: list[Phone] = []
    sung: list[tuple[float, float, str]] = []
    first_bar = int(rng.integers(0, 2)) if bars > 4 else 0
    for number in range(first_bar, bars - 1, 2):
        if number > first_bar and rng.random() < 0.12:
            continue  # the band plays alone for two bars
        words, source = _line(rng, singer, split)
        count = len(source.syllables)
        centre = source.natural_pitch + register
        phrase = _melody(rng, count, number * bar, bar, chords, tonic, scale, centre, seconds)
        if phrase is None:
            continue
        told, _ = track.add(source, [[note] for note in phrase], manner, rng)
        if choir is not None:
            below = [[(on, off, _third_below(pitch, tonic, scale))] for on, off, pitch in phrase]
            choir.add(source, below, manner, rng)
        notes.extend(phrase)
        phonemes.extend(told)
        sung.append((phrase[0][0], phrase[-1][1], words))
    voice_signal = track.synthesise()
    if choir is not None:
        voice_signal = voice_signal + 0.4 * choir.synthesise()
    frames = round(seconds * rate)
    parts = arrange(rng, chords, scale, _rests(sung, bars * bar), bar)
    drawn_font = str(rng.choice(tuple(SOUNDFONTS)))
    font = font or drawn_font
    stems = {name: np.zeros((2, frames)) for name in STEMS}
    for part in parts:
        sound = play(part, frames, rate, font)
        level = np.sqrt(np.mean(sound**2)) + 1e-9
        stems[part.stem] += sound / level * 0.06 * 10 ** (part.gain_db / 20)
    mono = np.zeros(frames)
    mono[: min(frames, len(voice_signal))] = voice_signal[:frames]
    stems["vocals"] = np.stack([mono, mono])
    return Song(
        stems={name: Audio(samples, rate) for name, samples in mix(rng, stems, rate).items()},
        notes=tuple(note for note in notes if note[1] <= seconds),
        chords=tuple((c.onset, min(c.offset, seconds), c.label) for c in chords if c.onset < seconds),
        beats=tuple((b * bar / 4, b % 4 + 1) for b in range(4 * bars) if b * bar / 4 < seconds),
        phonemes=tuple(p for p in phonemes if p[1] <= seconds),
        lines=tuple(sung),
        f0=np.round(track.f0[: round(seconds / FRAME)], 3),
        provenance=f"rendered, not recorded: voice {singer.name} ({singer.licence}), soundfont {font}, "
        f"split {split}, seed {seed}",
    )


def _singer(rng: np.random.Generator, split: Split, name: str | None) -> Voice:
    table = voices(split)
    drawn = list(table)[rng.integers(len(table))]
    if name is not None and name not in table:
        raise InputError(f"the {split} split has no such voice", name, f"Use one of {', '.join(table)}.")
    return table[name or drawn]


def _line(rng: np.random.Generator, singer: Voice, split: Split) -> tuple[str, Source]:
    choices = prompts(singer.name) if singer.recorded else lines(split)
    for _ in range(20):
        words = choices[rng.integers(len(choices))]
        source = analyse(singer.name, words)
        if 2 <= len(source.syllables) <= 14:
            return words, source
    raise InputError("this voice has no line of 2 to 14 syllables", singer.name, "Use another voice.")


def _melody(
    rng: np.random.Generator,
    count: int,
    start: float,
    bar: float,
    chords: Sequence[Chord],
    tonic: int,
    scale: Sequence[int],
    centre: float,
    limit: float,
) -> list[Note] | None:
    """`count` notes in two bars on a grid of eighths (or sixteenths when there are many): chord tones on the beats,
    steps of the scale between, the last note long, then a breath."""
    cells = 16 if count <= 9 else 32
    unit = 2 * bar / cells
    last_onset = round(cells * rng.uniform(0.66, 0.78))
    weights = np.array([4.0 if i % (cells // 8) == 0 else 1.5 for i in range(last_onset)])
    onsets = sorted(rng.choice(last_onset, size=min(count - 1, last_onset), replace=False, p=weights / weights.sum()))
    onsets = [*onsets, last_onset]
    if len(onsets) < count:
        return None
    offsets = [*onsets[1:], min(cells - 1, last_onset + round(cells * rng.uniform(0.12, 0.2)) + 1)]
    ladder = [p for p in range(24, 97) if (p - tonic) % 12 in scale and abs(p - centre) <= 8]
    place = int(np.argmin([abs(p - centre - rng.normal(0, 2)) for p in ladder]))
    phrase: list[Note] = []
    for on, off in zip(onsets, offsets):
        onset, offset = start + on * unit, start + off * unit
        chord = next(c for c in reversed(chords) if c.onset <= onset + 1e-6)
        if phrase:
            place = int(np.clip(place + rng.choice([-3, -2, -1, -1, 0, 1, 1, 2, 3]), 0, len(ladder) - 1))
        strong = on % (cells // 8) == 0 or on == last_onset
        if strong:
            near = sorted(range(len(ladder)), key=lambda i: (ladder[i] % 12 not in chord.pitch_classes, abs(i - place)))
            place = near[0]
        phrase.append((float(onset), float(offset), float(ladder[place])))
    return phrase if phrase[-1][1] <= limit else None


def _third_below(pitch: float, tonic: int, scale: Sequence[int]) -> float:
    below = [p for p in range(int(pitch) - 1, int(pitch) - 6, -1) if (p - tonic) % 12 in scale]
    return float(below[1])


def _rests(sung: Sequence[tuple[float, float, str]], end: float) -> list[tuple[float, float]]:
    starts = [0.0, *(off for _, off, _ in sung)]
    ends = [*(on for on, _, _ in sung), end]
    return [(start, stop) for start, stop in zip(starts, ends) if stop - start > 0.3]
