"""Short-time spectra of sound: STFT and its inverse, mel filterbanks (Slaney and HTK), log-mel and decibels.

Everything that libraries disagree about is an explicit argument: the padding at the edges (librosa pads with zeros,
``torch.stft`` reflects), the mel scale, the normalisation of its triangles, and the floor of a logarithm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.nn import functional as F

from harmonia.core.errors import InputError

MelScale = Literal["slaney", "htk"]
PadMode = Literal["reflect", "constant", "replicate", "circular"]

# Slaney's Auditory Toolbox: linear below 1 kHz (200/3 Hz per mel), then 27 mels for every factor of 6.4.
_HZ_PER_MEL = 200.0 / 3.0
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27.0


@dataclass(frozen=True)
class STFT:
    """Short-time Fourier transform with centred frames and a periodic Hann window, and its least-squares inverse.

    ``X[f, t] = sum_m x[t hop + m - n_fft/2] w[m] exp(-2 pi i f m / n_fft)``

    Arguments:
        n_fft: Length of the transform.
        hop_length: Samples between frames.
        pad_mode: How the signal is continued by ``n_fft / 2`` samples on either side.
        win_length: Length of the Hann window; ``n_fft`` when None.

    Raises:
        InputError: a signal too short to be reflected.

    Example:
        >>> spectrum = STFT(512, 128, pad_mode="reflect")
        >>> audio = torch.sin(torch.arange(4000.0) / 5)
        >>> spectrum(audio).shape
        torch.Size([257, 32])
        >>> bool((spectrum.inverse(spectrum(audio), 4000) - audio).abs().max() < 1e-5)
        True
    """

    n_fft: int
    hop_length: int
    pad_mode: PadMode
    win_length: int | None = None

    def __call__(self, audio: Float[Tensor, "*batch time"]) -> Complex[Tensor, "*batch freq frames"]:
        """The complex spectrum, ``1 + time // hop_length`` frames of ``n_fft // 2 + 1`` bins."""
        half = self.n_fft // 2
        if audio.shape[-1] <= (half if self.pad_mode in ("reflect", "circular") else 0):
            raise InputError(
                "the signal is too short for this spectrum",
                f"{audio.shape[-1]} samples, n_fft {self.n_fft}, padding '{self.pad_mode}'",
                f"Pad it to more than {half} samples.",
            )
        padded = F.pad(audio.reshape(1, -1, audio.shape[-1]), (half, half), mode=self.pad_mode)[0]
        spectrum = torch.stft(
            padded,
            self.n_fft,
            self.hop_length,
            self.win_length,
            window=self._window(audio),
            center=False,
            return_complex=True,
        )
        return spectrum.unflatten(0, audio.shape[:-1]) if audio.ndim > 1 else spectrum[0]

    def inverse(self, spectrum: Complex[Tensor, "*batch freq frames"], length: int) -> Float[Tensor, "*batch time"]:
        """The signal of `length` samples whose spectrum is nearest in least squares."""
        audio = torch.istft(
            spectrum.reshape(-1, *spectrum.shape[-2:]),
            self.n_fft,
            self.hop_length,
            self.win_length,
            window=self._window(spectrum.real),
            length=length,
        )
        return audio.reshape(*spectrum.shape[:-2], length)

    def _window(self, like: Tensor) -> Tensor:
        return torch.hann_window(self.win_length or self.n_fft, dtype=like.dtype, device=like.device)


def hz_to_mel(hz: Float[Tensor, "*n"], scale: MelScale) -> Float[Tensor, "*n"]:
    """Frequency in hertz to mel.

    Slaney: ``m = 3 f / 200`` below 1 kHz, ``15 + 27 log_6.4(f / 1000)`` above; HTK: ``m = 2595 log10(1 + f / 700)``.

    Example:
        >>> hz_to_mel(torch.tensor([500.0, 6400.0]), "slaney")
        tensor([ 7.5000, 42.0000])
    """
    if scale == "htk":
        return 2595.0 * torch.log10(1.0 + hz / 700.0)
    above = _BREAK_MEL + torch.log(hz.clamp(min=_BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return torch.where(hz < _BREAK_HZ, hz / _HZ_PER_MEL, above)


def mel_to_hz(mel: Float[Tensor, "*n"], scale: MelScale) -> Float[Tensor, "*n"]:
    """Mel to frequency in hertz, the inverse of `hz_to_mel`.

    Example:
        >>> mel_to_hz(torch.tensor([7.5, 42.0]), "slaney")
        tensor([ 500.0000, 6400.0000])
    """
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    above = _BREAK_HZ * torch.exp(_LOG_STEP * (mel.clamp(min=_BREAK_MEL) - _BREAK_MEL))
    return torch.where(mel < _BREAK_MEL, mel * _HZ_PER_MEL, above)


def mel_corners(
    num_mels: int, low_hz: float, high_hz: float, scale: MelScale = "slaney", dtype: torch.dtype = torch.float64
) -> Float[Tensor, " corners"]:
    """Corners of the triangles of a mel filterbank in hertz: filter k rises from corner k and ends at k + 2.

    Example:
        >>> mel_corners(2, 0.0, 1000.0)
        tensor([   0.0000,  333.3333,  666.6667, 1000.0000], dtype=torch.float64)
    """
    low, high = hz_to_mel(torch.tensor([low_hz, high_hz], dtype=torch.float64, device="cpu"), scale)
    return mel_to_hz(torch.linspace(float(low), float(high), num_mels + 2, dtype=dtype, device="cpu"), scale)


def mel_filterbank(
    sample_rate: int,
    n_fft: int,
    num_mels: int,
    *,
    low_hz: float = 0.0,
    high_hz: float | None = None,
    scale: MelScale = "slaney",
    norm: Literal["slaney"] | None = "slaney",
    dtype: torch.dtype = torch.float64,
) -> Float[Tensor, "num_mels freq"]:
    """Triangular mel filters over the bins of a spectrum.

    ``M[k, f] = max(0, min((f - c_k) / (c_{k+1} - c_k), (c_{k+2} - f) / (c_{k+2} - c_{k+1})))``, multiplied by
    ``2 / (c_{k+2} - c_k)`` (equal area) under the Slaney normalisation. Same values as ``librosa.filters.mel``;
    ``scale="htk", norm=None`` gives the filters of torchaudio's default.

    Arguments:
        sample_rate: In hertz.
        n_fft: Length of the transform.
        num_mels: Number of filters.
        low_hz: Lowest corner.
        high_hz: Highest corner; half the sample rate when None.
        scale: ``slaney`` (librosa's default) or ``htk``.
        norm: ``slaney`` for triangles of equal area, None for triangles of height one.
        dtype: Precision of the computation and of the result. Networks trained behind torchaudio saw filters that were
            computed in float32; they differ from rounded float64 ones by up to 1e-5.

    Example:
        >>> mel_filterbank(16000, 512, 40).shape
        torch.Size([40, 257])
    """
    if num_mels < 1 or not 0 <= low_hz < (high_hz or sample_rate / 2):
        raise InputError(
            "this mel filterbank cannot be built",
            f"{num_mels} filters from {low_hz} to {high_hz} Hz",
            "Ask for at least one filter over a rising range of frequencies.",
        )
    corners = mel_corners(num_mels, low_hz, high_hz or sample_rate / 2, scale, dtype)[:, None]
    bins = torch.arange(n_fft // 2 + 1, dtype=dtype, device="cpu") * (sample_rate / n_fft)
    rising = (bins - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - bins) / (corners[2:] - corners[1:-1])
    filters = torch.minimum(rising, falling).clamp(min=0.0)
    return filters * (2.0 / (corners[2:] - corners[:-2])) if norm == "slaney" else filters


def power_to_db(
    power: Float[Tensor, "*batch"], *, floor: float = 1e-10, range_db: float | None = None
) -> Float[Tensor, "*batch"]:
    """Power in decibels, ``10 log10(max(power, floor))``, cut at `range_db` below its maximum when that is given.

    Example:
        >>> power_to_db(torch.tensor([1.0, 0.01, 0.0]), range_db=60.0)
        tensor([  0., -20., -60.])
    """
    level = 10.0 * torch.log10(power.clamp(min=floor))
    return level if range_db is None else level.clamp(min=float(level.max()) - range_db)


@dataclass(frozen=True)
class MelSpectrogram:
    """Mel spectrogram, ``M |STFT(x)|^power``, or its logarithm ``log(max(., floor))``.

    Arguments:
        stft: The spectrum beneath.
        filters: A mel filterbank, as from `mel_filterbank`.
        power: 2 for power, 1 for magnitude.
        log_floor: Floor of the natural logarithm; None for no logarithm.

    Example:
        >>> filters = mel_filterbank(16000, 512, 40)
        >>> log_mel = MelSpectrogram(STFT(512, 160, pad_mode="constant"), filters, log_floor=1e-5)
        >>> log_mel(torch.randn(2, 16000)).shape
        torch.Size([2, 40, 101])
    """

    stft: STFT
    filters: Float[Tensor, "num_mels freq"]
    power: float = 2.0
    log_floor: float | None = None

    def __call__(self, audio: Float[Tensor, "*batch time"]) -> Float[Tensor, "*batch num_mels frames"]:
        """The (log-)mel spectrogram of `audio`."""
        energy = self.stft(audio).abs().pow(self.power)
        mel = self.filters.to(energy) @ energy
        return mel if self.log_floor is None else mel.clamp(min=self.log_floor).log()
