"""A small description of how music sounds that needs no network: level, colour, roughness of the surface, pulse.

Of a log-mel spectrogram: mean, spread and mean step from frame to frame of every band; mean and spread of the level;
and the autocorrelation of the onset strength at beats of 40 to 240 a minute. It is what the embedded weights listen
to, where released ones listen to MERT.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy import ndarray

from harmonia.parts.spectral import STFT, MelSpectrogram, mel_filterbank, power_to_db

RATE = 22050
BANDS = 40
TEMPI = np.geomspace(40.0, 240.0, 16)
WIDTH = 3 * BANDS + 2 + len(TEMPI)
_N_FFT, _HOP = 1024, 512
_FLOOR = 1e-8


def sound_statistics(sound: Float[ndarray, " time"]) -> Float64[ndarray, "138"]:
    """The description of a mono sound at `RATE`.

    Arguments:
        sound: At least one sample; its level matters.

    Example:
        >>> sound_statistics(np.zeros(RATE)).shape
        (138,)
    """
    audio = torch.from_numpy(np.ascontiguousarray(sound, dtype=np.float32))
    filters = mel_filterbank(RATE, _N_FFT, BANDS, low_hz=30.0, high_hz=10_000.0)
    mel = power_to_db(MelSpectrogram(STFT(_N_FFT, _HOP, pad_mode="constant"), filters)(audio), floor=_FLOOR).numpy()
    steps = np.diff(mel, axis=1, prepend=mel[:, :1])
    level = 10 * np.log10(np.maximum(10 ** (mel / 10), _FLOOR).mean(0))
    onsets = np.maximum(steps, 0).mean(0)
    parts = (mel.mean(1), mel.std(1), np.abs(steps).mean(1), [level.mean(), level.std()], _pulse(onsets))
    return np.concatenate(parts).astype(np.float64)


def _pulse(onsets: Float[ndarray, " frames"]) -> Float64[ndarray, "16"]:
    """Autocorrelation of the onset strength at each of `TEMPI`, relative to that at lag zero."""
    centred = onsets - onsets.mean()
    size = 2 * len(centred)
    correlation = np.fft.irfft(np.abs(np.fft.rfft(centred, size)) ** 2, size)[: len(centred)]
    if correlation[0] <= 1e-9 * len(centred):
        return np.zeros(len(TEMPI))
    lags = 60 / TEMPI * RATE / _HOP
    return np.interp(lags, np.arange(len(correlation)), correlation / correlation[0], right=0.0)
