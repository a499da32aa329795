"""Spoken lines taken apart: WORLD's F0, spectral envelope and aperiodicity, and where the syllables are."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from types import ModuleType

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from harmonia.core.errors import InputError, require
from harmonia.data.render.speakers import is_vowel, speak
from harmonia.data.song import Phone

FRAME = 0.005  # seconds between WORLD frames


@dataclass(frozen=True)
class Syllable:
    """Where a spoken syllable, and the vowel in it, begins and ends (seconds in the speech), with its phones."""

    start: float
    vowel_start: float
    vowel_end: float
    end: float
    phones: tuple[Phone, ...] = ()


@dataclass(frozen=True)
class Source:
    """A spoken line after WORLD analysis: F0, log spectral envelope, aperiodicity, and its syllables."""

    rate: int
    f0: np.ndarray
    log_envelope: np.ndarray
    aperiodicity: np.ndarray
    syllables: tuple[Syllable, ...]

    @property
    def natural_pitch(self) -> float:
        """MIDI pitch of the speaking voice."""
        return float(69 + 12 * np.log2(np.median(self.f0[self.f0 > 0]) / 440))


@lru_cache(maxsize=128)
def analyse(voice: str, text: str) -> Source:
    """Speak a line and take it apart (cached)."""
    pyworld = world()
    speech = speak(voice, text)
    signal = np.ascontiguousarray(speech.samples)
    signal = signal / max(1e-9, np.abs(signal).max()) * 0.5
    raw, times = pyworld.harvest(signal, speech.rate, f0_floor=60.0, f0_ceil=500.0, frame_period=1000 * FRAME)
    f0 = pyworld.stonemask(signal, raw, times, speech.rate)
    envelope = pyworld.cheaptrick(signal, f0, times, speech.rate)
    aperiodicity = pyworld.d4c(signal, f0, times, speech.rate)
    if not (f0 > 0).any():
        raise InputError(f"{voice} speaks this line without voice", repr(text), "Use words with vowels.")
    found = _syllables_of_phones(speech.phones) if speech.phones else _syllables_of_loudness(signal, speech.rate, f0)
    if not found:
        raise InputError("no syllable was found in this line", repr(text), "Use words with vowels.")
    log_envelope = np.log(envelope + 1e-12)
    log_envelope -= np.log(np.mean(envelope[f0 > 0].sum(axis=1)))
    return Source(speech.rate, f0, log_envelope, aperiodicity, tuple(found))


def world() -> ModuleType:
    """The pyworld module, without the warning it gives on import."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return require("pyworld", extra="render")


def _syllables_of_phones(phones: Sequence[Phone]) -> list[Syllable]:
    """One syllable a vowel; the last consonant between two vowels (two if it is l, r, w, y) leads the next."""
    vowels = [i for i, phone in enumerate(phones) if is_vowel(phone[2])]
    starts = [0]
    for before, after in pairwise(vowels):
        lead = min(1, after - before - 1)
        if after - before > 3 and phones[after - 1][2] in {"l", "r", "w", "y"}:
            lead = 2
        starts.append(after - lead)
    found = []
    for vowel, first, last in zip(vowels, starts, [*starts[1:], len(phones)]):
        inside = tuple(phones[first:last])
        found.append(Syllable(inside[0][0], phones[vowel][0], phones[vowel][1], inside[-1][1], inside))
    return found


def _syllables_of_loudness(signal: np.ndarray, rate: int, f0: np.ndarray) -> list[Syllable]:
    """Peaks of the smoothed loudness of voiced frames are vowels; the valleys between them part the syllables."""
    hop = rate * FRAME
    edges = np.minimum((np.arange(len(f0) + 1) * hop).astype(int), len(signal))
    power = np.add.reduceat(np.append(signal**2, 0.0), edges[:-1]) / hop
    smooth = gaussian_filter1d(10 * np.log10(gaussian_filter1d(power, 2) + 1e-7), 4)
    voiced_loudness = np.where(f0 > 0, smooth, smooth.min())
    peaks, _ = find_peaks(voiced_loudness, prominence=2.5, distance=round(0.1 / FRAME))
    peaks = np.array([p for p in peaks if f0[p] > 0 and smooth[p] > smooth.max() - 25], dtype=int)
    if not len(peaks):
        return []
    audible = np.flatnonzero(smooth > smooth.max() - 35)
    valleys = [a + int(np.argmin(smooth[a:b])) for a, b in pairwise(peaks.tolist())]
    parts = [int(audible[0]), *valleys, int(audible[-1]) + 1]
    found = []
    for peak, first, last in zip(peaks, parts, parts[1:]):
        loud = (smooth[first:last] > smooth[peak] - 5) & (f0[first:last] > 0)
        inside = np.flatnonzero(loud)
        found.append(
            Syllable(
                first * FRAME, (first + int(inside[0])) * FRAME, (first + int(inside[-1]) + 1) * FRAME, last * FRAME
            )
        )
    return found
