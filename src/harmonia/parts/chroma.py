"""Chromagrams of recorded music, and the chords heard in them.

Strength of pitch classes from a constant-Q spectrum: each bin's median over 0.8 s (which removes drums), compressed,
less the mean of its surroundings (which removes noise and the tilt of the spectrum), folded into one octave.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy import ndarray
from scipy.ndimage import median_filter, uniform_filter1d

from harmonia.parts.constant_q import ConstantQ
from harmonia.parts.harmony import Chord, find_chords, fold_octaves

RATE = 22050
_HOP = 2048
_PER_OCTAVE = 36
_OCTAVES = 7
_BASS_OCTAVES = 2
_COMPRESSION = 100.0
_MEDIAN_FRAMES = 9
_TOLERANCE = 1e-3


class Chromagram(NamedTuple):
    """Strength of pitch classes over time, C first.

    Attributes:
        chroma: From C2 to B6.
        bass: From C1 to B2.
        frame_rate: Frames a second.
    """

    chroma: Float64[ndarray, "frames 12"]
    bass: Float64[ndarray, "frames 12"]
    frame_rate: float


def chromagram(sound: Float[ndarray, " time"]) -> Chromagram:
    """The chromagram of a mono sound at `RATE`, one frame every 93 ms.

    Example:
        >>> tone = np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)
        >>> int(chromagram(tone).chroma.mean(0).argmax())          # A
        9
    """
    constant_q = ConstantQ(RATE, _HOP, bins=_OCTAVES * _PER_OCTAVE, bins_per_octave=_PER_OCTAVE, tolerance=_TOLERANCE)
    magnitudes = constant_q(torch.from_numpy(np.ascontiguousarray(sound, dtype=np.float32))).abs().numpy()
    steady = median_filter(magnitudes, size=(1, _MEDIAN_FRAMES), mode="nearest")
    strength = np.log1p(_COMPRESSION * steady / max(float(steady.max()), 1e-9))
    peaks = np.maximum(0.0, strength - uniform_filter1d(strength, _PER_OCTAVE, axis=0))
    octave = _PER_OCTAVE
    return Chromagram(
        fold_octaves(peaks[octave : (_OCTAVES - 1) * octave], octave, 36.0),
        fold_octaves(peaks[: _BASS_OCTAVES * octave], octave, 24.0),
        RATE / _HOP,
    )


def hear_chords(sound: Float[ndarray, " time"]) -> list[Chord]:
    """The chords of a mono sound at `RATE`, by templates and Viterbi's algorithm (`find_chords`).

    Example:
        >>> time = np.arange(4 * RATE) / RATE
        >>> chord = sum(np.sin(2 * np.pi * 440 * 2 ** (step / 12) * time) for step in (-24, 0, 4, 7))
        >>> [chord.label for chord in hear_chords(chord)]
        ['A:maj']
    """
    chroma, bass, frame_rate = chromagram(sound)
    chords = find_chords(chroma, frame_rate, bass=bass)
    seconds = len(sound) / RATE
    heard = [chord._replace(offset=min(chord.offset, seconds)) for chord in chords if chord.onset < seconds]
    return [*heard[:-1], heard[-1]._replace(offset=seconds)] if heard else []
