"""Songs with their vocal stem, held in memory, and the random remixes that training draws from them.

Three layouts on disk are read: one folder a song (``<song>/vocals.wav`` beside ``instrumental.*`` or ``mixture.*``, as
MUSDB18-HQ and MSST's type 1), one folder a stem (``vocals/<song>.wav`` beside ``instrumental/`` or ``other/``, MSST's
type 2), and MUSDB's ``<song>.stem.mp4`` (needs ``ffmpeg``). A ``notes.json`` in a song's folder
holds the melody as ``[[onset_s, offset_s, midi], ...]``, alone or under the key ``notes``.
"""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int16
from numpy import ndarray
from torch import Tensor

from harmonia.core.errors import InputError, MissingDependency
from harmonia.core.progress import say, track

SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif")
BACKINGS = ("instrumental", "accompaniment", "other", "no_vocals")
MUSDB_STEMS = ("mixture", "drums", "bass", "other", "vocals")

Notes = Float[ndarray, "_ 3"]


@dataclass(frozen=True)
class Stems:
    """One song taken apart, as 16-bit samples to save memory.

    Attributes:
        name: The song's name.
        vocals: The voice.
        instrumental: Everything else; the mixture is their sum.
        notes: The melody, one row (onset_s, offset_s, midi) a note; no rows where it is not known.
    """

    name: str
    vocals: Int16[ndarray, "channels time"]
    instrumental: Int16[ndarray, "channels time"]
    notes: Notes

    @classmethod
    def of(
        cls,
        name: str,
        vocals: Float[ndarray, "channels time"],
        instrumental: Float[ndarray, "channels time"],
        notes: Any = (),
    ) -> Stems:
        """From floating-point samples in [-1, 1]; the longer stem is cut to the shorter."""
        time = min(vocals.shape[-1], instrumental.shape[-1])
        rows = np.asarray(notes, dtype=np.float64).reshape(-1, 3)
        return cls(name, _to_int16(vocals[:, :time]), _to_int16(instrumental[:, :time]), rows)

    def mixture(self) -> Float[ndarray, "channels time"]:
        return (self.vocals.astype(np.float32) + self.instrumental.astype(np.float32)) / 32768


def read_stems(folder: Path, rate: int, channels: int, limit: int | None = None) -> list[Stems]:
    """Read every song of a data set's folder.

    Arguments:
        folder: A folder in one of the three layouts.
        rate: Sample rate to bring the audio to.
        channels: 1 mixes down, 2 doubles mono.
        limit: Read at most so many songs.

    Raises:
        InputError: a folder that is none of the three layouts.
    """
    songs = _songs(folder)[:limit]
    if not songs:
        raise InputError(
            "no songs with a vocal stem",
            folder,
            "Use <song>/vocals.wav with instrumental.wav or mixture.wav beside it, vocals/*.wav beside "
            "instrumental/*.wav, or *.stem.mp4.",
        )
    read = [_read_song(name, files, rate, channels) for name, files in track(songs, "Reading songs")]
    minutes = sum(song.vocals.shape[-1] for song in read) / rate / 60
    say(f"Read {len(read)} songs, {minutes:.1f} min, {sum(len(song.notes) > 0 for song in read)} with notes.")
    return read


@dataclass(frozen=True)
class Remix:
    """Random training examples: a voice of one song over the backing of another.

    Attributes:
        songs: Where voices come from.
        rate: Their sample rate.
        length: Samples of one example.
        batch: Examples of one batch.
        backings: Where other backings come from; the same songs by default.
        swap: Probability that the backing is another song's.
        shift: Largest change of speed and pitch together (as a tape would), in semitones, drawn as a whole number.
        gain_db: Largest gain or attenuation of either part.
        mute: Probability that nobody sings.
    """

    songs: Sequence[Stems]
    rate: int
    length: int
    batch: int = 4
    backings: Sequence[Stems] | None = None
    swap: float = 0.75
    shift: int = 3
    gain_db: float = 6.0
    mute: float = 0.05

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor, list[Notes]]:
        """A batch: mixtures ``[batch, channels, length]``, their voices, and the notes that sound in each example.

        Times of the notes are seconds from the start of the example; those cut by its borders are cut.
        """
        random = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        examples = [self._example(random) for _ in range(self.batch)]
        mixture, vocals, notes = zip(*examples, strict=True)
        return torch.from_numpy(np.stack(mixture)), torch.from_numpy(np.stack(vocals)), list(notes)

    def _example(self, random: np.random.Generator) -> tuple[ndarray, ndarray, Notes]:
        voice = self.songs[int(random.integers(len(self.songs)))]
        others = self.backings or self.songs
        backing = others[int(random.integers(len(others)))] if random.random() < self.swap else voice
        aligned = backing is voice
        shift = int(random.integers(-self.shift, self.shift + 1))
        start = self._start(voice.vocals, shift, random)
        vocals, notes = self._crop(voice.vocals, start, shift), self._notes(voice.notes, start, shift)
        other = shift if aligned else int(random.integers(-self.shift, self.shift + 1))
        begin = start if aligned else self._start(backing.instrumental, other, random)
        instrumental = self._crop(backing.instrumental, begin, other)
        vocals = _placed(vocals, random, self.gain_db)
        instrumental = _placed(instrumental, random, self.gain_db)
        if random.random() < self.mute:
            vocals, notes = np.zeros_like(vocals), notes[:0]
        return vocals + instrumental, vocals, notes

    def _start(self, sound: ndarray, shift: int, random: np.random.Generator) -> int:
        """Where the crop begins; of three places the one with most energy, so that few examples are silent."""
        last = max(0, sound.shape[-1] - self._source_length(shift))
        places = random.integers(0, last + 1, size=3)
        length = self._source_length(shift)
        energy = [np.square(sound[0, p : p + length : 16].astype(np.float32)).sum() for p in places]
        return int(places[int(np.argmax(energy))])

    def _source_length(self, shift: int) -> int:
        return math.ceil(self.length * 2 ** (shift / 12)) + 1

    def _crop(self, sound: ndarray, start: int, shift: int) -> Float[ndarray, "channels time"]:
        """The samples from `start`, played `shift` semitones faster, padded with silence."""
        length = self._source_length(shift)
        piece = sound[:, start : start + length].astype(np.float32) / 32768
        piece = np.pad(piece, ((0, 0), (0, length - piece.shape[-1])))
        if shift == 0:
            return piece[:, : self.length]
        places = np.arange(self.length) * 2 ** (shift / 12)
        before = places.astype(np.int64)
        weight = (places - before).astype(np.float32)
        return piece[:, before] * (1 - weight) + piece[:, before + 1] * weight

    def _notes(self, notes: Notes, start: int, shift: int) -> Notes:
        speed = 2 ** (shift / 12)
        moved = notes.copy()
        moved[:, :2] = np.clip((notes[:, :2] - start / self.rate) / speed, 0, self.length / self.rate)
        moved[:, 2] += shift
        return moved[moved[:, 1] > moved[:, 0]]


def _placed(sound: ndarray, random: np.random.Generator, gain_db: float) -> Float[ndarray, "channels time"]:
    """Random gain, polarity, balance, and exchange of left and right."""
    gain = 10 ** (random.uniform(-gain_db, gain_db) / 20) * random.choice((-1.0, 1.0))
    if sound.shape[0] == 2:
        balance = random.uniform(-0.3, 0.3)
        sound = sound[:: random.choice((-1, 1))] * np.array([[1 - balance], [1 + balance]], dtype=np.float32)
    return (gain * sound).astype(np.float32)


def _songs(folder: Path) -> list[tuple[str, dict[str, Path]]]:
    """Name and files of every song; keys are stem names, ``notes``, or ``musdb`` for a multi-stream file."""
    found: list[tuple[str, dict[str, Path]]] = []
    if (folder / "vocals").is_dir():
        for voice in _sounds(folder / "vocals"):
            beside = {stem: _sound(folder / stem, voice.stem) for stem in (*BACKINGS, "mixture")}
            found.append((voice.stem, {"vocals": voice} | {stem: path for stem, path in beside.items() if path}))
        return [(name, files) for name, files in found if len(files) > 1]
    for place in [folder, *sorted(path for path in folder.rglob("*") if path.is_dir())]:
        files = {path.stem: path for path in _sounds(place)}
        if "vocals" in files and len(files) > 1:
            notes = place / "notes.json"
            found.append((place.name, files | ({"notes": notes} if notes.exists() else {})))
    found += [(path.name.removesuffix(".stem.mp4"), {"musdb": path}) for path in sorted(folder.rglob("*.stem.mp4"))]
    return found


def _sounds(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SOUNDS)


def _sound(folder: Path, stem: str) -> Path | None:
    return next((folder / f"{stem}{suffix}" for suffix in SOUNDS if (folder / f"{stem}{suffix}").exists()), None)


def _read_song(name: str, files: dict[str, Path], rate: int, channels: int) -> Stems:
    if "musdb" in files:
        stems = _read_musdb(files["musdb"], rate, channels)
    else:
        stems = {stem: _read_sound(path, rate, channels) for stem, path in files.items() if stem != "notes"}
    vocals = stems.pop("vocals")
    backing = next((stems[stem] for stem in BACKINGS if stem in stems and "drums" not in stems), None)
    if backing is None and "mixture" in stems:
        time = min(vocals.shape[-1], stems["mixture"].shape[-1])
        backing = stems["mixture"][:, :time] - vocals[:, :time]
    elif backing is None:
        time = min(sound.shape[-1] for sound in stems.values())
        backing = sum((sound[:, :time] for sound in stems.values()), np.zeros((channels, time), np.float32))
    return Stems.of(name, vocals, backing, _read_notes(files["notes"]) if "notes" in files else ())


def _read_notes(path: Path) -> Any:
    try:
        content = json.loads(path.read_text())
        notes = np.asarray(content["notes"] if isinstance(content, dict) else content, dtype=np.float64)
        return notes.reshape(-1, 3)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            "a file of notes that cannot be read", path, "Write [[onset_s, offset_s, midi], ...]."
        ) from error


def _read_sound(path: Path, rate: int, channels: int) -> Float[ndarray, "channels time"]:
    from harmonia.media import Audio

    audio = Audio.read(path).resampled(rate)
    return (audio.mono() if channels == 1 else audio.stereo()).samples


def _read_musdb(path: Path, rate: int, channels: int) -> dict[str, ndarray]:
    """The five streams of a MUSDB file, through ffmpeg."""
    if shutil.which("ffmpeg") is None:
        raise MissingDependency("reading .stem.mp4 needs the program 'ffmpeg'", "no such program", "Install ffmpeg.")
    stems = {}
    for stream, stem in enumerate(MUSDB_STEMS):
        command = ["ffmpeg", "-v", "error", "-i", str(path), "-map", f"0:a:{stream}", "-ac", str(channels)]
        run = subprocess.run([*command, "-ar", str(rate), "-f", "f32le", "-"], capture_output=True, check=False)
        if run.returncode:
            raise InputError("a MUSDB file that ffmpeg cannot read", path, run.stderr.decode(errors="replace").strip())
        stems[stem] = np.frombuffer(run.stdout, dtype=np.float32).reshape(-1, channels).T
    return stems


def _to_int16(samples: ndarray) -> Int16[ndarray, "channels time"]:
    return np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
