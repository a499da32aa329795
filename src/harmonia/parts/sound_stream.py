"""Sound files read and written piece by piece, for songs that are longer than memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from jaxtyping import Float32

from harmonia.core.errors import InputError, require
from harmonia.core.media import Media, whole_file
from harmonia.core.progress import say
from harmonia.media import Audio
from harmonia.media.audio import FILE_LIMIT
from harmonia.media.files import content, existing
from harmonia.media.sound_headers import has_end_mark, promised_frames

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BLOCK = 1 << 16
_LOST_UNNOTICED_S = 0.5
_WAV_LIMIT = 4_000_000_000

STREAMED = ("wav", "w64", "flac", "ogg", "mp3", "aiff", "au", "caf")
"""Contents of files that are read piece by piece."""


class SoundReader:
    """A sound file at the wanted sample rate, read from left to right. Made by `open_sound`.

    Attributes:
        channels: Number of channels.
        total: Number of samples per channel, at the wanted rate.
    """

    def __init__(self, file: Any, name: str, rate: int) -> None:
        self.channels: int = file.channels
        self.total = round(file.frames * rate / file.samplerate)
        self._file, self._name, self._rate = file, name, rate
        self._start = 0
        self._kept: Float32[np.ndarray, "time channels"] = np.zeros((0, file.channels), dtype=np.float32)
        self._blocks = self._resampled()

    def read(self, start: int, stop: int) -> Float32[np.ndarray, "channels time"]:
        """The samples from `start` to `stop`; what lies before `start` is forgotten."""
        assert start >= self._start, "sounds are read from left to right"
        pieces, end = [self._kept], self._start + len(self._kept)
        while end < stop:
            pieces.append(next(self._blocks))
            end += len(pieces[-1])
        kept = np.concatenate(pieces) if len(pieces) > 1 else self._kept
        self._start, self._kept = start, kept[start - self._start :]
        return self._kept[: stop - start].T

    def _resampled(self) -> Iterator[Float32[np.ndarray, "time channels"]]:
        if self._file.samplerate == self._rate:
            yield from self._decoded()
        else:
            soxr = require("soxr", extra="audio")
            resampler = soxr.ResampleStream(
                self._file.samplerate, self._rate, self.channels, dtype="float32", quality="VHQ"
            )
            for block in self._decoded():
                yield resampler.resample_chunk(block)
            yield resampler.resample_chunk(np.zeros((0, self.channels), dtype=np.float32), last=True)
        # The resampler may end a sample early, and the length of an mp3 file is an estimate.
        while True:
            yield np.zeros((_BLOCK, self.channels), dtype=np.float32)

    def _decoded(self) -> Iterator[Float32[np.ndarray, "time channels"]]:
        soundfile = require("soundfile", extra="audio")
        read = 0
        try:
            while len(block := self._file.read(_BLOCK, dtype="float32", always_2d=True)):
                if not np.isfinite(block).all():
                    raise InputError(
                        "the sound holds samples that are not finite",
                        f"NaN or infinity near {read / self._file.samplerate:.1f} s of {self._name}",
                        "Mend or drop them.",
                    )
                read += len(block)
                yield block
        except soundfile.LibsndfileError as error:
            got = f"{self._name}: {error}"
            raise InputError("the sound cannot be read to its end", got, "Convert the file to wav first.") from None
        missing_s = (self._file.frames - read) / self._file.samplerate
        if missing_s > _LOST_UNNOTICED_S:
            raise InputError(
                "the audio file ends early", f"{missing_s:.1f} s missing of {self._name}", "Pass the complete file."
            )


@contextmanager
def open_sound(path: str | Path, rate: int) -> Iterator[SoundReader]:
    """Open a sound file for reading at `rate`, resampled on the way where its own rate differs.

    Raises:
        InputError: missing, empty, not a file that libsndfile reads, or with less samples than its header promises;
            later, while reading: corrupt, ending early, or samples that are not finite.
    """
    path = Path(path)
    with _opened(path) as file:
        if file.samplerate != rate:
            say(f"Resampled from {file.samplerate} to {rate} Hz; what is written stays at that rate.")
        yield SoundReader(file, path.name, rate)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """libsndfile's file."""
    soundfile = require("soundfile", extra="audio")
    if not path.is_file():
        raise InputError("there is no such sound file", path, "Check the path.")
    try:
        file = soundfile.SoundFile(path)
    except (soundfile.LibsndfileError, OSError) as error:
        raise InputError(
            "the file is no sound that can be streamed", error, f"Convert it first: ffmpeg -i {path.name} sound.wav"
        ) from None
    with file:
        if not 0 < file.frames < 2**62:
            raise InputError("the audio file holds no sound", f"{path.name}", "Pass a file that plays.")
        _refuse_cut(path, file.frames, file.samplerate)
        yield file


class SoundSource(Media):
    """A sound to be read from left to right, as often as needed: a file that stays on disk, or samples in memory.

    What a job takes that gives back less than it hears: a song of any length then needs the memory of its pieces.
    Files that libsndfile cannot read piece by piece (mp4, webm, ...) are held as a whole.

    Arguments:
        source: A file, or a sound.

    Attributes:
        rate: Its own sampling rate in hertz.
        channels: Number of channels.
        seconds: Length; of an mp3 file an estimate.

    Example:
        >>> source = SoundSource(Audio(np.zeros((2, 48000)), 48000))
        >>> with source.opened(16000) as reader:
        ...     source.seconds, reader.total, reader.read(0, 100).shape
        (1.0, 16000, (2, 100))
    """

    kind: ClassVar[str] = Audio.kind
    suffixes: ClassVar[tuple[str, ...]] = Audio.suffixes

    def __init__(self, source: Path | Audio) -> None:
        self._source = source
        with self._file() as file:
            self.rate, self.channels, self.seconds = file.samplerate, file.channels, file.frames / file.samplerate

    @classmethod
    def read(cls, path: str | Path | Audio) -> SoundSource:
        """A file, of which only the head is looked at yet; or a sound that is in memory already.

        Raises:
            InputError: missing, empty, or not sound. What is wrong further on is told when it is read.
        """
        if isinstance(path, Audio):
            return cls(path)
        path = existing(path, cls.kind, FILE_LIMIT)
        streamed = content(path) in STREAMED or path.suffix.lower() == ".mp3"
        return cls(path if streamed else Audio.read(path))

    @contextmanager
    def opened(self, rate: int | None = None) -> Iterator[SoundReader]:
        """The sound from its beginning, at its own rate or another one.

        Raises:
            InputError: while reading: corrupt, ending early, or samples that are not finite.
        """
        name = self._source.name if isinstance(self._source, Path) else "the sound"
        with self._file() as file:
            yield SoundReader(file, name, rate or self.rate)

    def mono(self, rate: int | None = None) -> Audio:
        """All of it mixed down to one channel, at its own rate or another one, in little more memory than that takes.

        Raises:
            InputError: as `opened`.

        Example:
            >>> SoundSource(Audio(np.ones((2, 48000)), 48000)).mono(16000).samples.shape
            (1, 16000)
        """
        with self.opened(rate) as reader:
            samples = np.empty((1, reader.total), dtype=np.float32)
            for start in range(0, reader.total, _BLOCK):
                stop = min(start + _BLOCK, reader.total)
                samples[0, start:stop] = reader.read(start, stop).mean(0)
        return Audio(samples, rate or self.rate)

    def audio(self) -> Audio:
        """All of it in memory."""
        return Audio.read(self._source) if isinstance(self._source, Path) else self._source

    def show(self) -> Figure:
        """Waveform over a spectrogram."""
        return self.audio().show()

    @contextmanager
    def _file(self) -> Iterator[Any]:
        if isinstance(self._source, Path):
            with _opened(self._source) as file:
                yield file
        else:
            yield _Held(self._source)

    def _write(self, path: Path) -> None:
        self.audio()._write(path)


class _Held:
    """A sound in memory, read as libsndfile's files are."""

    def __init__(self, sound: Audio) -> None:
        self.samplerate, self.channels, self.frames = sound.rate, sound.channels, sound.samples.shape[1]
        self._samples, self._start = sound.samples.T, 0

    def read(self, frames: int, dtype: str, always_2d: bool) -> Float32[np.ndarray, "time channels"]:
        block = self._samples[self._start : self._start + frames]
        self._start += len(block)
        return block


class SampleTape:
    """Samples of one channel on disk: appended at the end, read anywhere; the file goes with the object.

    Example:
        >>> tape = SampleTape()
        >>> tape.append(np.arange(5, dtype=np.float32))
        >>> len(tape), tape[1:3]
        (5, array([1., 2.], dtype=float32))
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed, and so deleted, with the object)
        self._length = 0

    def append(self, samples: Float32[np.ndarray, " time"]) -> None:
        """Add samples at the end."""
        self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(samples).tobytes())
        self._length += len(samples)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> Float32[np.ndarray, " part"]:
        start, stop, step = part.indices(self._length)
        self._file.seek(4 * start)
        held = np.frombuffer(self._file.read(4 * max(0, stop - start)), dtype=np.float32).copy()
        return held[::step]


def _refuse_cut(path: Path, frames: int, rate: int) -> None:
    """Refuse a file that was cut off; libsndfile would give what is there as if it were all."""
    there, whole = frames / rate, promised_frames(path, frames) / rate
    if whole - there > _LOST_UNNOTICED_S:
        got = f"{there:.1f} s of the {whole:.1f} s that {path.name} promises"
        raise InputError("the audio file ends early", got, "Pass the complete file.")
    if not has_end_mark(path):
        say(f"{path.name} has no end mark; its end may be missing.")


class SoundWriter:
    """A sound file that grows. Made by `new_sound`.

    Attributes:
        peak: Largest absolute sample so far.
    """

    def __init__(self, file: Any) -> None:
        self.peak = 0.0
        self._file = file

    def write(self, samples: Float32[np.ndarray, "channels time"]) -> None:
        """Append samples."""
        self.peak = max(self.peak, float(np.abs(samples).max(initial=0.0)))
        self._file.write(samples.T)


@contextmanager
def new_sound(path: str | Path, rate: int, channels: int, total: int) -> Iterator[SoundWriter]:
    """A new sound file of 32-bit floats (``.wav``) or 24 bits (``.flac``); it appears whole or not at all.

    Arguments:
        path: The file.
        rate: Sampling rate in hertz.
        channels: Number of channels.
        total: Samples per channel to come; beyond 4 GB a wav file becomes RF64, which most programs read.

    Raises:
        InputError: another suffix.
    """
    soundfile = require("soundfile", extra="audio")
    path = Path(path)
    large = 4 * channels * total > _WAV_LIMIT
    formats = {".wav": ("RF64" if large else "WAV", "FLOAT"), ".flac": ("FLAC", "PCM_24")}
    if path.suffix.lower() not in formats:
        raise InputError("sound is not written to this kind of file", path.name, "Use .wav or .flac.")
    form, subtype = formats[path.suffix.lower()]
    with whole_file(path) as temporary:
        with soundfile.SoundFile(temporary, "w", rate, channels, subtype=subtype, format=form) as file:
            writer = SoundWriter(file)
            yield writer
        if subtype == "PCM_24" and writer.peak > 1:
            say(f"{path.name} was clipped (its peak was {writer.peak:.2f}); .wav keeps the level.")
