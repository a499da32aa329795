"""Mixtures to train on and to measure on: made on the fly from single speakers, or read from published sets.

What users have is recordings of single speakers: a folder with one folder a speaker, as LibriSpeech and most
corpora are. `DynamicMix` draws any number of mixtures from them. Published mixtures are read as they are: WSJ0-2mix
(``mix s1 s2``), Libri2Mix (``mix_clean`` or ``mix_both``, ``s1 s2``), lists of files (``.scp``), and tables (``.csv``).
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int16
from numpy import ndarray
from scipy.signal import oaconvolve
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.core.progress import say, track
from harmonia.media import Audio

SOUNDS = (".wav", ".flac", ".ogg", ".mp3")
MIXTURES = ("mix", "mix_clean", "mix_both", "mixture")


class Mixed(NamedTuple):
    """A mixture and what it is made of.

    Attributes:
        mixture: Samples.
        sources: Samples of each speaker, as heard in the mixture.
    """

    mixture: Float[ndarray, " time"]
    sources: Float[ndarray, "speakers time"]


@dataclass(frozen=True)
class Speaker:
    """A person and what they said, as 16-bit samples to save memory."""

    name: str
    sentences: tuple[Int16[ndarray, " time"], ...]


def read_speakers(folder: str | Path, rate: int) -> list[Speaker]:
    """Read a folder with one folder a speaker, each holding sound files at any depth.

    Arguments:
        folder: The folder.
        rate: Sampling rate to bring the sound to, in hertz.

    Raises:
        InputError: no such folder, fewer than two speakers, or a file that is no sound.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError("there is no such folder of speakers", folder, "Pass one with a folder for each speaker.")
    found = {place.name: _sounds(place) for place in sorted(folder.iterdir()) if place.is_dir()}
    files = {name: paths for name, paths in found.items() if paths}
    if len(files) < 2:
        raise InputError("mixtures need two speakers", f"{len(files)} folders with sound", "Give each a folder.")
    speakers = [
        Speaker(name, tuple(_int16(Audio.read(path).mono().resampled(rate).samples[0]) for path in paths))
        for name, paths in track(files.items(), "Reading speakers", len(files))
    ]
    minutes = sum(len(each) for speaker in speakers for each in speaker.sentences) / rate / 60
    say(f"Read {len(speakers)} speakers, {minutes:.1f} min.")
    return speakers


@dataclass(frozen=True)
class DynamicMix:
    """Draws mixtures of different speakers, each saying sentence after sentence with pauses between.

    Attributes:
        speakers: Who can be drawn.
        rate: Sampling rate in hertz.
        seconds: Length of a mixture.
        n_speakers: How many talk in one.
        gain_db: Levels differ by a gain drawn from -gain_db to gain_db.
        speed: Largest change of speed and pitch together, as a fraction: one voice becomes many.
        pause_s: Longest pause between two sentences.
        reverb: Probability of a room: every speaker through an exponentially decaying impulse response of its own.
        noise: Probability of steady noise, 10 to 30 dB below the speakers.
    """

    speakers: Sequence[Speaker]
    rate: int
    seconds: float
    n_speakers: int = 2
    gain_db: float = 5.0
    speed: float = 0.25
    pause_s: float = 1.0
    reverb: float = 0.2
    noise: float = 0.2

    def __post_init__(self) -> None:
        if len(self.speakers) < self.n_speakers:
            got = f"{len(self.speakers)} speakers"
            raise InputError(f"a mixture needs {self.n_speakers} different speakers", got, "Give more folders.")

    @property
    def length(self) -> int:
        """Samples of a mixture."""
        return round(self.seconds * self.rate)

    def draw(self, generator: torch.Generator, batch: int) -> tuple[Tensor, Tensor]:
        """Mixtures ``[batch, time]`` and their sources ``[batch, speakers, time]``."""
        seed = int(torch.randint(2**62, (), generator=generator))
        mixed = [self.one(np.random.default_rng([seed, number])) for number in range(batch)]
        mixtures, sources = (np.stack([each[i] for each in mixed]) for i in range(2))
        return torch.from_numpy(mixtures), torch.from_numpy(sources)

    def one(self, random: np.random.Generator) -> Mixed:
        """One mixture, at a level of -26 dB RMS a speaker before their gains."""
        chosen = random.choice(len(self.speakers), self.n_speakers, replace=False)
        sources = np.stack([self._talking(self.speakers[number], random) for number in chosen])
        if random.random() < self.reverb:
            seconds = random.uniform(0.1, 0.5)
            sources = np.stack([reverberated(each, seconds, self.rate, random) for each in sources])
        level = np.sqrt(np.square(sources).mean(1, keepdims=True)).clip(1e-4)
        gains = 10 ** ((random.uniform(-self.gain_db, self.gain_db, (len(sources), 1)) - 26) / 20)
        sources = (sources / level * gains).astype(np.float32)
        mixture = sources.sum(0)
        if random.random() < self.noise:
            depth = random.uniform(10, 30)
            noise = coloured_noise(self.length, random)
            mixture = mixture + noise * np.sqrt(np.square(mixture).mean()) * 10 ** (-depth / 20)
        return Mixed(mixture.astype(np.float32), sources)

    def _talking(self, speaker: Speaker, random: np.random.Generator) -> Float[ndarray, " time"]:
        """Sentences in random order with pauses, from a random place in the first; slower or faster as one."""
        speed = 1 + random.uniform(-self.speed, self.speed)
        needed = int(self.length * speed) + 2
        pieces: list[ndarray] = []
        count = 0
        while count < needed:
            sentence = speaker.sentences[int(random.integers(len(speaker.sentences)))]
            if not pieces:
                sentence = sentence[int(random.integers(max(1, len(sentence) // 2))) :]
            pause = np.zeros(int(random.uniform(0, self.pause_s) * self.rate), dtype=np.int16)
            pieces += [sentence, pause]
            count += len(sentence) + len(pause)
        said = np.concatenate(pieces)[:needed].astype(np.float32) / 32768
        places = np.arange(self.length) * speed
        return np.interp(places, np.arange(needed), said).astype(np.float32)


def fixed_mixtures(mix: DynamicMix, count: int, seed: int) -> list[Mixed]:
    """Mixtures to measure on, the same for the same seed."""
    return [mix.one(np.random.default_rng([seed, number])) for number in range(count)]


def reverberated(
    sound: Float[ndarray, " time"], seconds: float, rate: int, random: np.random.Generator
) -> Float[ndarray, " time"]:
    """The sound in a room: the direct sound, and noise that has fallen by 60 dB after `seconds`.

    Example:
        >>> click = np.eye(1, 4000, dtype=np.float32)[0]
        >>> wet = reverberated(click, 0.2, 8000, np.random.default_rng(0))
        >>> wet.shape, bool(abs(wet[0] - 1) < 1e-6), bool(abs(wet[3000:]).max() < 1e-4)
        ((4000,), True, True)
    """
    time = np.arange(int(1.5 * seconds * rate)) / rate
    response = random.normal(size=len(time)) * 10 ** (-3 * time / seconds)
    # The reverberation is 3 to 12 dB weaker than the direct sound, and begins 5 ms after it.
    response[: rate // 200] = 0
    response *= 10 ** (-random.uniform(3, 12) / 20) / max(float(np.linalg.norm(response)), 1e-9)
    response[0] = 1
    return oaconvolve(sound, response)[: len(sound)].astype(np.float32)


def coloured_noise(length: int, random: np.random.Generator) -> Float[ndarray, " time"]:
    """Steady noise of unit power whose spectrum falls by 0 to 6 dB an octave."""
    spectrum = np.fft.rfft(random.normal(size=length))
    spectrum *= np.maximum(np.arange(len(spectrum)), 1.0) ** -random.uniform(0, 1)
    noise = np.fft.irfft(spectrum, length)
    return (noise / np.sqrt(np.square(noise).mean())).astype(np.float32)


def read_mixtures(place: str | Path, rate: int, limit: int | None = None) -> list[Mixed]:
    """Read published mixtures with their sources.

    Arguments:
        place: A folder with ``s1``, ``s2``, ... beside ``mix`` (WSJ0), or ``mix_clean`` or ``mix_both`` (Libri2Mix),
            whose files have the same names; a list ``.scp`` with the files of a mixture and its sources on each line;
            or a ``.csv`` with columns mix, s1, s2, ...; paths are relative to the file.
        rate: Sampling rate to bring the sound to, in hertz.
        limit: Read at most so many.

    Raises:
        InputError: none of these, files that are missing, or sources of another length than their mixture.
    """
    place = Path(place)
    rows = _folder_rows(place) if place.is_dir() else _listed_rows(place)
    if not rows:
        mend = "Use mix/, s1/, s2/; mix_clean/, s1/, s2/; an .scp list; or a .csv with columns mix, s1, s2."
        raise InputError(f"'{place.name}' holds no mixtures with their sources", place, mend)
    return [_read_row(row, rate) for row in track(rows[:limit], "Reading mixtures")]


def fixed_draw(
    mixtures: Sequence[Mixed], length: int, batch: int
) -> Callable[[torch.Generator], tuple[Tensor, Tensor]]:
    """Draws batches of random crops of published mixtures; shorter ones are padded with silence.

    Arguments:
        mixtures: With their sources.
        length: Samples of a crop.
        batch: Crops of a batch.
    """

    def crop(sounds: Float[ndarray, "*sources time"], start: int) -> Float[ndarray, "*sources crop"]:
        part = sounds[..., start : start + length]
        return np.pad(part, [(0, 0)] * (part.ndim - 1) + [(0, length - part.shape[-1])])

    def draw(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        drawn = []
        for number in torch.randint(len(mixtures), (batch,), generator=generator).tolist():
            mixture, sources = mixtures[number]
            start = int(torch.randint(max(1, len(mixture) - length + 1), (), generator=generator))
            drawn.append((crop(mixture, start), crop(sources, start)))
        together = (np.stack(each).astype(np.float32) for each in zip(*drawn, strict=True))
        mixed, sources = (torch.from_numpy(each) for each in together)
        return mixed, sources

    return draw


def has_mixtures(place: str | Path) -> bool:
    """Whether a place is laid out as `read_mixtures` reads it."""
    place = Path(place)
    return bool(_folder_rows(place)) if place.is_dir() else place.suffix.lower() in (".scp", ".csv")


def _folder_rows(folder: Path) -> list[list[Path]]:
    mixtures = next((folder / name for name in MIXTURES if (folder / name).is_dir()), None)
    sources = sorted(path for path in folder.glob("s[1-9]") if path.is_dir())
    if mixtures is None or not sources:
        return []
    return [[path, *(source / path.name for source in sources)] for path in _sounds(mixtures)]


def _listed_rows(path: Path) -> list[list[Path]]:
    if not path.is_file():
        raise InputError("there is no such list of mixtures", path, "Check the path.")
    text = path.read_text(encoding="utf-8")
    if path.suffix.lower() == ".csv":
        table = list(csv.DictReader(text.splitlines()))
        mixture = next((name for name in (*MIXTURES, "mix_wav", "mixture_path") if table and name in table[0]), None)
        sources = sorted(name for name in (table[0] if table else {}) if name[:1] == "s" and name[1:2].isdigit())
        return [[path.parent / row[name] for name in (mixture, *sources)] for row in table] if mixture else []
    return [[path.parent / name for name in line.split()] for line in text.splitlines() if len(line.split()) > 2]


def _read_row(row: list[Path], rate: int) -> Mixed:
    mixture, *sources = (Audio.read(path).mono().resampled(rate).samples[0] for path in row)
    if any(len(source) != len(mixture) for source in sources):
        got = ", ".join(str(len(each)) for each in (mixture, *sources))
        raise InputError(f"the sources of {row[0].name} differ from it in length", f"{got} samples", "Cut them alike.")
    return Mixed(mixture, np.stack(sources))


def _sounds(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SOUNDS)


def _int16(samples: Float[ndarray, " time"]) -> Int16[ndarray, " time"]:
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
