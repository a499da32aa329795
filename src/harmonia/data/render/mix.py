"""Mixes stems: tilt, room, levels; then the 16-bit grid.

On that grid ``mixture = vocals + drums + bass + other`` holds bit for bit, in any order of adding, and survives FLAC.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter, oaconvolve

from harmonia.data.song import STEMS


def mix(rng: np.random.Generator, stems: dict[str, np.ndarray], rate: int) -> dict[str, np.ndarray]:
    """Stereo stems as they sound in the mixture: float32 on the 16-bit grid, peak of their sum 0.6 to 0.95."""
    shaped = {}
    for name in STEMS:
        wet = {"vocals": (0.02, 0.25), "drums": (0.0, 0.12), "bass": (0.0, 0.02), "other": (0.0, 0.25)}[name]
        shaped[name] = _room(rng, _tilt(stems[name], rng.uniform(-3, 3), rate), rate, rng.uniform(*wet))
    voice, band = shaped["vocals"], shaped["drums"] + shaped["bass"] + shaped["other"]
    sounding = np.abs(voice).max(axis=0) > 1e-3 * (np.abs(voice).max() + 1e-12)
    voice_level = np.sqrt(np.mean(voice[:, sounding] ** 2)) if sounding.any() else 1.0
    band_level = np.sqrt(np.mean(band**2)) + 1e-9
    shaped["vocals"] = voice / voice_level * band_level * 10 ** (rng.uniform(-6, 4) / 20)
    peak = np.abs(sum(shaped.values())).max() + 1e-9
    scale = rng.uniform(0.6, 0.95) / peak
    return {name: (np.round(samples * scale * 32768) / 32768).astype(np.float32) for name, samples in shaped.items()}


def _tilt(samples: np.ndarray, decibels: float, rate: int) -> np.ndarray:
    """A gentle shelf: `decibels` more (or less) above about 1.5 kHz."""
    pole = np.exp(-2 * np.pi * 1500 / rate)
    low = lfilter([1 - pole], [1, -pole], samples, axis=-1)
    return np.asarray(low + 10 ** (decibels / 20) * (samples - low))


def _room(rng: np.random.Generator, samples: np.ndarray, rate: int, wet: float) -> np.ndarray:
    """Early silence, then exponentially fading noise, different in the two ears; `wet` is its amplitude share."""
    decay = rng.uniform(0.3, 1.2)
    length = round(decay * rate)
    time = np.arange(length) / rate
    response = rng.standard_normal((2, length)) * 10 ** (-3 * time / decay)
    response[:, : round(rng.uniform(0.005, 0.03) * rate)] = 0
    response = lfilter([0.4], [1, -0.6], response, axis=-1)
    response /= np.sqrt((response**2).sum(axis=1, keepdims=True))
    tail = oaconvolve(samples, response, axes=-1)[:, : samples.shape[1]]
    return (1 - wet) * samples + wet * np.asarray(tail)
