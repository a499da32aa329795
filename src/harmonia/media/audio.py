"""Sound: samples in float32 and a sampling rate.

Reads wav, flac, ogg, mp3, aiff, au, caf and w64 through libsndfile, and the sound of mp4, m4a, aac, webm and matroska
files through PyAV. Writes wav as 32-bit floats, so that what is read back is exactly what was written, and flac with
24 bits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from jaxtyping import Float32

from harmonia.core.errors import InputError, require
from harmonia.core.media import Media
from harmonia.core.progress import say
from harmonia.media.container import DEMUXERS, decode_audio
from harmonia.media.files import GIB, MIB, content, existing, too_large, unreadable
from harmonia.media.sound_headers import has_end_mark, promised_frames

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure

FILE_LIMIT = 16 * GIB
DECODED_LIMIT = 2 * GIB
"""Most bytes of float32 samples that `Audio.read` will hold: 1 h 41 min of stereo at 44.1 kHz."""

RATES = (1_000, 768_000)
"""Lowest and highest sampling rate in hertz."""

MAX_CHANNELS = 64

_LIBSNDFILE = ("wav", "w64", "flac", "ogg", "mp3", "aiff", "au", "caf")
_BLOCK = 1 << 18
_LOST_UNNOTICED_S = 0.5
_CONVERT = "Convert it first, for example: ffmpeg -i {name} sound.wav"


@dataclass(frozen=True, eq=False)
class Audio(Media):
    """Samples and their rate.

    Arguments:
        samples: ``[channels, time]``, or ``[time]`` for one channel. Floats are kept as they are, with full scale at
            ±1; 8, 16 and 32-bit integers are scaled to it.
        rate: Sampling rate in hertz.

    Raises:
        InputError: empty, not finite, more than 64 channels, or a rate outside 1 kHz to 768 kHz.

    Example:
        >>> tone = Audio(np.sin(2 * np.pi * 440 * np.arange(24000) / 48000), rate=48000)
        >>> tone.channels, tone.seconds, tone.samples.dtype
        (1, 0.5, dtype('float32'))
        >>> tone.stereo().cut(0.1, 0.3).samples.shape
        (2, 9600)
    """

    kind: ClassVar[str] = "audio"
    suffixes: ClassVar[tuple[str, ...]] = (".wav", ".flac")

    samples: Float32[np.ndarray, "channels time"]
    rate: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples", _checked_samples(self.samples))
        object.__setattr__(self, "rate", _checked_rate(self.rate))

    @property
    def channels(self) -> int:
        return self.samples.shape[0]

    @property
    def seconds(self) -> float:
        return self.samples.shape[1] / self.rate

    @property
    def peak(self) -> float:
        """Largest absolute sample; full scale is 1."""
        return float(max(self.samples.max(), -self.samples.min()))

    @classmethod
    def read(cls, path: str | Path, *, partial: bool = False) -> Self:
        """Read sound from a file.

        A file that ends before its header says it should is an error, since results over half a song look like
        results over the song. Half a second may be missing (headers of mp3 files are estimates). Ogg files do not say
        how long they are: of one without an end mark the sound that is there is read, and the user is told.

        Arguments:
            path: The file.
            partial: Take what there is of a file that ends early, and tell the user.

        Raises:
            InputError: missing, empty, corrupt, ending early, longer than `DECODED_LIMIT`, or not sound.
        """
        path = existing(path, cls.kind, FILE_LIMIT)
        form = content(path)
        if form in DEMUXERS:
            samples, rate, promised_s = decode_audio(path, DECODED_LIMIT)
        elif form in _LIBSNDFILE or path.suffix.lower() == ".mp3":
            samples, rate, promised_s = _decode(path)
            if not has_end_mark(path):
                say(f"{path.name} has no end mark; its end may be missing.")
        else:
            raise InputError("the file is no known sound", f"{form} data in {path.name}", "Pass wav, flac, ogg or mp3.")
        got_s = samples.shape[1] / rate
        if promised_s - got_s > _LOST_UNNOTICED_S:
            if not partial:
                raise InputError(
                    "the audio file ends early",
                    f"{got_s:.1f} s of the {promised_s:.1f} s that {path.name} promises",
                    "Pass the complete file; in Python, Audio.read(path, partial=True) takes what there is.",
                )
            say(f"{path.name} ends early: read {got_s:.1f} s of {promised_s:.1f} s.")
        return cls(samples, rate)

    def _write(self, path: Path) -> None:
        soundfile = require("soundfile", extra="audio")
        if path.suffix.lower() == ".wav":
            soundfile.write(path, self.samples.T, self.rate, format="WAV", subtype="FLOAT")
            return
        if self.channels > 8 or self.rate > 655_350:
            got = f"{self.channels} channels at {self.rate} Hz"
            raise InputError("flac holds at most 8 channels and 655,350 Hz", got, "Write it as .wav.")
        samples = self.samples
        if self.peak > 1:
            say(f"Lowered by {20 * np.log10(self.peak):.1f} dB for flac, which would clip; .wav keeps the level.")
            samples = samples / self.peak
        soundfile.write(path, samples.T, self.rate, format="FLAC", subtype="PCM_24")

    def show(self) -> MatplotlibFigure:
        """Waveform over a spectrogram with mel-spaced frequencies."""
        from harmonia.media.spectrogram import draw

        return draw(self.samples, self.rate)

    def resampled(self, rate: int) -> Self:
        """The same sound at another sampling rate, by soxr at its highest quality."""
        rate = _checked_rate(rate)
        if rate == self.rate:
            return self
        soxr = require("soxr", extra="audio")
        samples = soxr.resample(np.ascontiguousarray(self.samples.T), self.rate, rate, quality="VHQ").T
        if not samples.shape[1]:
            got = f"{self.samples.shape[1]} samples at {self.rate} Hz"
            raise InputError(f"the sound is too short for {rate} Hz", got, "Pass a longer sound.")
        return type(self)(samples, rate)

    def mono(self) -> Self:
        """The mean of all channels as one."""
        return self if self.channels == 1 else type(self)(self.samples.mean(0, keepdims=True), self.rate)

    def stereo(self) -> Self:
        """Two channels: one channel is doubled, of more than two the mean is doubled."""
        return self if self.channels == 2 else type(self)(self.mono().samples.repeat(2, axis=0), self.rate)

    def cut(self, start: float = 0.0, end: float | None = None) -> Self:
        """From `start` to `end` in seconds; `end` may lie beyond the sound's.

        Raises:
            InputError: nothing lies between.
        """
        end = self.seconds if end is None else min(end, self.seconds)
        first, last = round(max(start, 0.0) * self.rate), round(end * self.rate)
        if not first < last:
            got = f"{start:g} s to {end:g} s of {self.seconds:g} s"
            raise InputError("the cut holds no sound", got, "Choose a start before the end and inside the sound.")
        return type(self)(self.samples[:, first:last], self.rate)

    @property
    def loudness(self) -> float:
        """Integrated loudness in LUFS (ITU-R BS.1770-4, gated); minus infinity for silence.

        Raises:
            InputError: shorter than 0.4 s, or more than 5 channels, for which it is not defined.
        """
        pyloudnorm = require("pyloudnorm", extra="audio")
        if self.seconds <= 0.4 or self.channels > 5:
            got = f"{self.seconds:.2f} s and {self.channels} channels"
            raise InputError("loudness is defined from 0.4 s on and for up to 5 channels", got, "Pass such a sound.")
        return float(pyloudnorm.Meter(self.rate).integrated_loudness(self.samples.T.astype(np.float64)))

    def normalised(self, lufs: float = -16.0) -> Self:
        """Scaled to a loudness in LUFS; peaks may pass full scale.

        Raises:
            InputError: silence, or a sound without a loudness.
        """
        loudness = self.loudness
        if not np.isfinite(loudness):
            raise InputError("silence cannot be made louder", f"{loudness} LUFS", "Pass a sound that can be heard.")
        return type(self)(self.samples * np.float32(10 ** ((lufs - loudness) / 20)), self.rate)


def _checked_samples(samples: Any) -> Float32[np.ndarray, "channels time"]:
    array = np.asarray(samples)
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2:
        raise InputError("samples have the shape [channels, time]", array.shape, "Pass such an array.")
    if not array.size:
        raise InputError("the sound is empty", f"shape {array.shape}", "Pass at least one sample.")
    if array.shape[0] > MAX_CHANNELS:
        mend = "Samples are [channels, time]: transpose them." if array.shape[1] <= MAX_CHANNELS else "Pass fewer."
        raise InputError(f"sound has at most {MAX_CHANNELS} channels", array.shape[0], mend)
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):
            array = array.astype(np.float32, copy=False)
    elif array.dtype in (np.int16, np.int32):
        array = (array / -float(np.iinfo(array.dtype).min)).astype(np.float32)
    elif array.dtype == np.uint8:
        array = (array.astype(np.float32) - 128) / 128
    else:
        raise InputError("samples are floats or 8, 16 or 32-bit integers", array.dtype, "Convert them to float32.")
    # Any NaN or infinity shows in the extremes, which need no temporary of the sound's size.
    if not (np.isfinite(array.min()) and np.isfinite(array.max())):
        channel, sample = np.argwhere(~np.isfinite(array))[0]
        got = f"{array[channel, sample]} at sample {sample} of channel {channel}"
        raise InputError("the sound holds samples that are not finite", got, "Mend or drop them.")
    return array


def _checked_rate(rate: Any) -> int:
    low, high = RATES
    hertz = float(rate) if isinstance(rate, Real) else np.nan
    if not (low <= hertz <= high and hertz.is_integer()):
        raise InputError(f"a sampling rate is a whole number of {low} to {high} Hz", rate, "Pass such a rate.")
    return int(hertz)


def _decode(path: Path) -> tuple[Float32[np.ndarray, "channels time"], int, float]:
    """All samples that libsndfile gives, the rate, and the seconds that the file promises."""
    soundfile = require("soundfile", extra="audio")
    blocks: list[np.ndarray] = []
    mend = _CONVERT.format(name=path.name)
    try:
        with _opened(path) as file:
            rate, channels, promised = _checked_rate(file.samplerate), file.channels, file.frames
            if not 1 <= channels <= MAX_CHANNELS:
                raise InputError(f"sound has at most {MAX_CHANNELS} channels", channels, "Pass fewer.")
            most = DECODED_LIMIT // (4 * channels)
            if 0 <= promised < 2**62 and promised > most:
                raise too_large("audio", path, f"{4 * channels * promised / MIB:.0f} MiB of samples", DECODED_LIMIT)
            try:
                while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
                    blocks.append(block)
                    if len(blocks) * _BLOCK > most:
                        raise too_large("audio", path, "more samples", DECODED_LIMIT)
            except soundfile.LibsndfileError as error:
                if not blocks:
                    raise unreadable("audio", path, error, mend) from None
    except (soundfile.LibsndfileError, OSError, MemoryError) as error:
        raise unreadable("audio", path, error, mend) from None
    if not blocks:
        raise InputError("the audio file holds no sound", f"0 samples in {path.name}", "Pass a file that plays.")
    promised = promised_frames(path, promised) if promised < 2**62 else 0
    samples = np.empty((channels, sum(map(len, blocks))), dtype=np.float32)
    np.concatenate([block.T for block in blocks], axis=1, out=samples)
    return samples, rate, promised / rate


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """libsndfile on a file descriptor: with a name it would believe some suffixes more than the content."""
    soundfile = require("soundfile", extra="audio")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with soundfile.SoundFile(descriptor, closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)
