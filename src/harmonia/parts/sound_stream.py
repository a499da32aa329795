"""Sound files read and written piece by piece, for songs that are longer than memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from harmonia.core.errors import InputError, require
from harmonia.core.media import whole_file
from harmonia.core.progress import say

_BLOCK = 1 << 16
_LOST_UNNOTICED_S = 0.5
_WAV_LIMIT = 4_000_000_000


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
            raise InputError("the sound cannot be read to its end", error, "Convert the file to wav first.") from None
        missing_s = (self._file.frames - read) / self._file.samplerate
        if missing_s > _LOST_UNNOTICED_S:
            raise InputError(
                "the audio file ends early", f"{missing_s:.1f} s missing of {self._name}", "Pass the complete file."
            )


@contextmanager
def open_sound(path: str | Path, rate: int) -> Iterator[SoundReader]:
    """Open a sound file for reading at `rate`, resampled on the way where its own rate differs.

    Raises:
        InputError: missing, empty, or not a file that libsndfile reads; later, while reading: corrupt, ending early,
            or samples that are not finite.
    """
    soundfile = require("soundfile", extra="audio")
    path = Path(path)
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
        if file.samplerate != rate:
            say(f"Resampled from {file.samplerate} to {rate} Hz; what is written stays at that rate.")
        yield SoundReader(file, path.name, rate)


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
