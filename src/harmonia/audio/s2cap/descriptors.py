"""Numbers that tell a voice's gender, age, timbre and expression, and a backing's genre and mood.

Of the voice: its mean envelope and how that moves, how periodic and how noisy it is, where its pitch lies, and how its
pitch moves (glides, vibrato). Of the mixture: the mean envelope, its rises, tempo and mode. Levels are taken off.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import scipy.fft
import torch
from jaxtyping import Float, Float64
from numpy import ndarray

from harmonia.audio.s2cap.measures import HOP_S, RATE, Voice, tempo_of
from harmonia.media import Audio
from harmonia.parts.chroma import RATE as CHROMA_RATE
from harmonia.parts.chroma import chromagram
from harmonia.parts.harmony import find_key
from harmonia.parts.spectral import STFT, MelSpectrogram, mel_filterbank

BANDS = 40
_N_FFT = 512
_STFT = STFT(_N_FFT, round(HOP_S * RATE), pad_mode="constant")
_EDGES_HZ = (300.0, 1000.0, 2000.0, 4000.0, 7500.0)
_STRETCH = 64
"""Frames of 10 ms in which vibrato is looked for."""


def describe_voice(vocals: Float[ndarray, " time"], voice: Voice) -> Float64[ndarray, " features"]:
    """Descriptors of a separated voice; all zeros where less than a quarter of a second is sung.

    Arguments:
        vocals: Mono, at 16 kHz.
        voice: Its measures.
    """
    spectrum = _STFT(torch.from_numpy(np.ascontiguousarray(vocals, dtype=np.float32))).abs().square().double().numpy()
    power = spectrum[:, : len(voice.sung)]
    sung = voice.sung[: power.shape[1]]
    if sung.sum() < 0.25 / HOP_S:
        return np.zeros(2 * BANDS + len(_EDGES_HZ) - 1 + 2 + 2 + 6)
    levels = np.log(_filters() @ power[:, sung] + 1e-9)
    levels -= levels.mean()
    pitch = np.log2(voice.pitch.f0[: len(sung)][sung])
    periodic = voice.pitch.probability[: len(sung)][sung]
    return np.concatenate(
        [
            levels.mean(1),
            levels.std(1),
            _flatness(power[:, sung]),
            [periodic.mean(), periodic.std()],
            [np.median(pitch), np.subtract(*np.percentile(pitch, [75, 25]))],
            _motion(voice),
        ]
    )


def describe_mix(mix: Float[ndarray, " time"]) -> Float64[ndarray, " features"]:
    """Descriptors of a mixture; the tempo of clips too short to have one is taken for 100."""
    sound = torch.from_numpy(np.ascontiguousarray(mix, dtype=np.float32))
    log_mel = MelSpectrogram(_STFT, torch.from_numpy(_filters()).float(), log_floor=1e-8)
    levels = log_mel(sound).double().numpy()
    rises = np.maximum(0.0, levels[:, 1:] - levels[:, :-1]).mean(1) if levels.shape[1] > 1 else np.zeros(BANDS)
    try:
        bpm = tempo_of(mix)
    except ValueError:
        bpm = 100.0
    pace = np.log2(bpm / 100)
    return np.concatenate([levels.mean(1) - levels.mean(), levels.std(1), rises, [pace, pace**2], _mode(mix)])


def _filters() -> Float64[ndarray, "bands freq"]:
    return mel_filterbank(RATE, _N_FFT, BANDS, low_hz=60.0).numpy()


def _flatness(power: Float64[ndarray, "freq frames"]) -> Float64[ndarray, " bands"]:
    """Log of the geometric over the arithmetic mean in four bands: near 0 for noise, far below for harmonics."""
    hertz = np.arange(len(power)) * RATE / _N_FFT
    found = []
    for low, high in pairwise(_EDGES_HZ):
        band = power[(hertz >= low) & (hertz < high)] + 1e-12
        found.append(float((np.log(band).mean(0) - np.log(band.mean(0))).mean()))
    return np.array(found)


def _motion(voice: Voice) -> Float64[ndarray, "6"]:
    """How the pitch moves: quantiles of its slope in octaves a second, and vibrato: its share, depth and spread."""
    f0 = np.where(voice.sung, voice.pitch.f0, np.nan)
    octaves = np.log2(f0)
    slopes = np.abs(octaves[2:] - octaves[:-2]) / (2 * HOP_S)
    slopes = slopes[np.isfinite(slopes) & (slopes < 12)]
    quantiles = np.percentile(slopes, [50, 75, 90]) if len(slopes) else np.zeros(3)
    starts = range(0, max(1, len(octaves) - _STRETCH), _STRETCH // 4)
    whole = [octaves[s : s + _STRETCH] for s in starts if np.isfinite(octaves[s : s + _STRETCH]).all()]
    whole = [piece for piece in whole if len(piece) == _STRETCH and np.ptp(piece) < 0.4]
    if not whole:
        return np.concatenate([quantiles, np.zeros(3)])
    pieces = np.array(whole)
    time = np.arange(_STRETCH) - (_STRETCH - 1) / 2
    pieces = pieces - pieces.mean(1, keepdims=True)
    pieces -= (pieces @ time / (time @ time))[:, None] * time
    power = np.abs(scipy.fft.rfft(pieces * np.hanning(_STRETCH), axis=1)) ** 2
    hertz = np.arange(power.shape[1]) / (_STRETCH * HOP_S)
    shaking = power[:, (hertz > 4) & (hertz < 8)].sum(1)
    share = shaking / (power[:, hertz < 20].sum(1) + 1e-9)
    depth = np.log10(np.sqrt(shaking) + 1e-4)
    return np.concatenate([quantiles, [share.mean(), depth.mean(), depth.max()]])


def _mode(mix: Float[ndarray, " time"]) -> Float64[ndarray, "2"]:
    """Mode of the key that fits best (1 major, -1 minor), and that times how well it fits."""
    if len(mix) < RATE:
        return np.zeros(2)
    sound = Audio(mix, RATE).resampled(CHROMA_RATE).samples[0]
    key = find_key(chromagram(sound).chroma.sum(0))
    if key is None:
        return np.zeros(2)
    mode = 1.0 if key.mode == "major" else -1.0
    return np.array([mode, mode * key.correlation])
