"""What can be measured of a sung clip without a trained model: pitch, level, tempo, and where somebody sings.

Everything works on mono sound at 16 kHz and on the same frames of 10 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
import scipy.fft
import torch
from jaxtyping import Bool, Float, Float64
from numpy import ndarray

from harmonia.audio.s2cap.attributes import Levels
from harmonia.core.errors import InputError
from harmonia.parts.pitch import Pitch, PitchTracker
from harmonia.parts.sound_stream import SampleTape
from harmonia.parts.spectral import STFT, MelSpectrogram, mel_filterbank

RATE = 16000
HOP_S = 0.01
PIECE = 30 * RATE
"""Samples that are analysed at once."""

_FRAME, _MARGIN = round(HOP_S * RATE), RATE
QUIETEST_DB = -60.0
RANGE_DB = 30.0
"""A frame further below the loudest is no singing but what a separator leaves."""


class Voice(NamedTuple):
    """A voice in numbers.

    Attributes:
        pitch: Its track, a value every 10 ms.
        level_db: RMS of each frame in dB below full scale.
        sung: Frames that are voiced and loud enough.
    """

    pitch: Pitch
    level_db: Float64[ndarray, " frames"]
    sung: Bool[ndarray, " frames"]

    @property
    def share(self) -> float:
        """Share of the time that is sung."""
        return float(self.sung.mean())

    def between(self, begin: float, end: float) -> Voice:
        """The frames between two times in seconds."""
        part = slice(round(begin / HOP_S), max(round(begin / HOP_S) + 1, round(end / HOP_S)))
        return Voice(Pitch(*(values[part] for values in self.pitch)), self.level_db[part], self.sung[part])

    @property
    def f0(self) -> float:
        """Median fundamental frequency of the sung frames in Hz; NaN where nothing is sung."""
        return float(np.median(self.pitch.f0[self.sung])) if self.sung.any() else float("nan")

    @property
    def volume_db(self) -> float:
        """RMS over the sung frames in dB below full scale; minus infinity where nothing is sung."""
        if not self.sung.any():
            return float("-inf")
        return float(10 * np.log10(np.mean(10 ** (self.level_db[self.sung] / 10))))


Sound: TypeAlias = Float[ndarray, " time"] | SampleTape
"""Mono, at 16 kHz; in memory, or on disk where it is long."""


def hear(vocals: Sound, tracker: PitchTracker | None = None) -> Voice:
    """Measure a separated voice, half a minute at a time.

    Arguments:
        vocals: The voice.
        tracker: How pitch is found, on frames of 10 ms.

    Raises:
        InputError: shorter than one frame, or not finite.

    Example:
        >>> tone = 0.1 * np.sign(np.sin(2 * np.pi * 200 * np.arange(16000) / 16000 + 0.1))
        >>> voice = hear(tone)
        >>> round(voice.f0), round(voice.volume_db)
        (200, -20)
    """
    parts = [_heard(vocals, start, tracker or PitchTracker(hop_s=HOP_S)) for start in _starts(len(vocals))]
    f0, probability, level = (np.concatenate(values) for values in zip(*parts, strict=True))
    pitch = Pitch((np.arange(len(f0)) + 0.5) * HOP_S, f0, probability)
    sung = pitch.voiced & (level > max(QUIETEST_DB, float(level.max()) - RANGE_DB))
    return Voice(pitch, level, sung)


def _starts(length: int) -> list[int]:
    """First samples of pieces of half a minute; a rest shorter than a frame begins none."""
    return list(range(0, max(1, length // _FRAME * _FRAME), PIECE))


def _heard(vocals: Sound, start: int, tracker: PitchTracker) -> tuple[Float64[ndarray, " frames"], ...]:
    """F0, its probability and the level of a piece; its pitch is tracked from a second before to a second after it."""
    first = max(0, start - _MARGIN)
    sound = np.asarray(vocals[first : start + PIECE + _MARGIN], dtype=np.float64)
    _, f0, probability = tracker(sound, RATE)
    kept = slice((start - first) // _FRAME, min(len(f0), (start - first + PIECE) // _FRAME))
    blocks = sound[: len(f0) * _FRAME].reshape(-1, _FRAME)[kept]
    return f0[kept], probability[kept], 10 * np.log10(np.maximum((blocks**2).mean(1), 1e-12))


def tempo_of(mix: Float[ndarray, " time"], slowest: float = 50.0, fastest: float = 190.0) -> float:
    """Beats a minute of a clip, by the autocorrelation of its onsets.

    The onset strength is the mean rise of a log-mel spectrogram. A beat of lag l is supported by its half, its double
    and its bar too, ``a(l) + (a(l/2) + a(2l) + a(4l)) / 2``, and weighed by a log-normal prior around 125 beats a
    minute. Half and double tempo are a matter of taste; of swing at 150 beats a minute it finds the half.

    Arguments:
        mix: Mono, at 16 kHz; six seconds or more are needed for a sure answer.
        slowest, fastest: Range of the answer.

    Raises:
        InputError: shorter than two beats of the slowest tempo, or a range that does not rise.

    Example:
        >>> clicks = np.zeros(8 * 16000)
        >>> clicks[:: 8000] = 1.0
        >>> round(tempo_of(clicks))
        120
    """
    if not 0 < slowest < fastest:
        raise InputError("tempi range from slow to fast", f"{slowest} to {fastest}", "Swap them.")
    if len(mix) < 120 / slowest * RATE:
        got = f"{len(mix) / RATE:.2f} s"
        raise InputError("the clip is too short to have a tempo", got, f"Pass {120 / slowest:.1f} s or more.")
    strength = _onsets(mix)
    power = np.abs(scipy.fft.rfft(strength - strength.mean(), 2 * len(strength))) ** 2
    auto = scipy.fft.irfft(power)[: len(strength)] / (len(strength) - np.arange(len(strength)))
    lags = np.arange(60 / fastest / HOP_S, 60 / slowest / HOP_S, 0.25)
    support = np.zeros(len(lags))
    for multiple, weight in ((0.5, 0.5), (1, 1.0), (2, 0.5), (4, 0.5)):
        places = multiple * lags
        inside = places < len(auto) - 1
        support[inside] += weight * np.interp(places[inside], np.arange(len(auto)), auto)
    bpm = 60 / (lags * HOP_S)
    prior = np.exp(-0.5 * (np.log2(bpm / 125) / 1.3) ** 2)
    return float(bpm[np.argmax(support.clip(0) * prior)])


def _onsets(mix: Float[ndarray, " time"]) -> Float64[ndarray, " frames"]:
    filters = mel_filterbank(RATE, 512, 40).float()
    log_mel = MelSpectrogram(STFT(512, round(HOP_S * RATE), pad_mode="constant"), filters, log_floor=1e-6)
    levels = log_mel(torch.from_numpy(np.ascontiguousarray(mix, dtype=np.float32))).double().numpy()
    rise = np.maximum(0.0, levels[:, 1:] - levels[:, :-1])
    return np.asarray(rise.mean(0))


@dataclass(frozen=True)
class Reference:
    """The population that *low*, *normal* and *high* refer to.

    Attributes:
        pitch: Levels of the median F0 in Hz, for each gender.
        volume: Levels of the RMS of the voice in dB below full scale.
        tempo: Levels in beats a minute.
        population: What it is, for people.
    """

    pitch: dict[str, Levels]
    volume: Levels
    tempo: Levels
    population: str

    def attributes(self, f0: float, volume_db: float, bpm: float | None, gender: str) -> dict[str, str]:
        """Pitch, volume and tempo in words; the tempo only where it is known."""
        named = {"pitch": self.pitch[gender].name(f0), "volume": self.volume.name(volume_db)}
        if bpm is not None:
            named["tempo"] = {"low": "slow", "normal": "normal", "high": "fast"}[self.tempo.name(bpm)]
        return named


RENDERED = Reference(
    pitch={"female": Levels(239.9, 359.5), "male": Levels(127.1, 190.4)},
    volume=Levels(-34.0, -26.0),
    tempo=Levels(85.0, 121.0),
    population="rendered singing (harmonia.data.render): halfway between its classes",
)
"""For single songs, which are no population: MIDI 58.5 and 65.5 for women, 47.5 and 54.5 for men."""
