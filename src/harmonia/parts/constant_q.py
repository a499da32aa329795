"""Constant-Q transform: a spectrum whose bins lie at equal musical intervals and whose windows shrink with frequency.

    X[k, t] = sqrt(N_k) sum_n x[t hop + n] conj(a_k[n]),    a_k[n] = w_k[n] exp(2 pi i f_k n / rate) / sum w_k

with ``f_k = fmin 2^(k / bins_per_octave)``, a periodic Hann window ``w_k`` of ``N_k = ceil(Q rate / f_k)`` samples
around zero, and Q wavelengths in a window (Brown 1991). These are the values of nnAudio's ``CQT1992v2`` and of
``librosa.cqt(scale=True)``.

No kernel is ever written down. The spectrum of a Hann-windowed tone is known in closed form and falls off with the
cube of the distance, so that each bin needs a narrow band of one long Fourier transform; the frames, a hop apart, come
out of the same product by folding it to their number (sampling in time is summing in frequency).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.nn import functional as F

from harmonia.core.errors import InputError
from harmonia.parts.spectral import PadMode

C1_HZ = 32.70319566257483
"""The lowest C of a piano, where constant-Q transforms of music usually begin."""

_BLOCK = 1024
"""Frames whose Fourier transform is taken at once; longer signals are cut into such blocks, which changes nothing."""


@dataclass(frozen=True)
class ConstantQ:
    """Constant-Q transform with centred frames, fast on processors, differentiable.

    Arguments:
        sample_rate: In hertz.
        hop_length: Samples between frames.
        fmin: Frequency of the lowest bin in hertz.
        bins: Number of bins.
        bins_per_octave: Bins in a factor of two.
        filter_scale: Scales the length of all windows; below 1 resolves time better and frequency worse.
        pad_mode: How the signal is continued beyond its ends by half the longest window; ``constant`` is silence.
        tolerance: The part of a window's spectrum that is left out lies this far below its maximum.

    Raises:
        InputError: bins above half the sample rate; a signal too short to be continued as asked.

    Example:
        >>> constant_q = ConstantQ(22050, 512, bins=84, bins_per_octave=12)
        >>> tone = torch.sin(2 * torch.pi * 440 * torch.arange(22050) / 22050)
        >>> spectrum = constant_q(tone)
        >>> spectrum.shape, int(spectrum.abs().mean(-1).argmax())        # A4 lies 45 semitones above C1
        (torch.Size([84, 44]), 45)
    """

    sample_rate: int
    hop_length: int
    fmin: float = C1_HZ
    bins: int = 84
    bins_per_octave: int = 12
    filter_scale: float = 1.0
    pad_mode: PadMode = "constant"
    tolerance: float = 1e-5

    def __post_init__(self) -> None:
        if min(self.hop_length, self.bins, self.bins_per_octave) < 1 or min(self.fmin, self.filter_scale) <= 0:
            raise InputError("a constant-Q transform needs positive sizes", self, "Change them.")
        if float(self.frequencies[-1]) > self.sample_rate / 2:
            got = f"a highest bin at {float(self.frequencies[-1]):.0f} Hz, sample rate {self.sample_rate} Hz"
            raise InputError("the bins reach above half the sample rate", got, "Ask for fewer bins or resample.")

    @property
    def frequencies(self) -> Float[Tensor, " bins"]:
        """Frequencies of the bins in hertz, float64."""
        return self.fmin * 2.0 ** (torch.arange(self.bins, dtype=torch.float64, device="cpu") / self.bins_per_octave)

    @property
    def lengths(self) -> Float[Tensor, " bins"]:
        """Window lengths in samples, float64."""
        quality = self.filter_scale / (2.0 ** (1.0 / self.bins_per_octave) - 1.0)
        return torch.ceil(quality * self.sample_rate / self.frequencies)

    def __call__(self, audio: Float[Tensor, "*batch time"]) -> Complex[Tensor, "*batch bins frames"]:
        """The complex spectrum, ``1 + time // hop_length`` frames; its magnitude is ``.abs()``."""
        longest = int(self.lengths[0])
        before, after = math.ceil(longest / 2), longest // 2
        if audio.shape[-1] < 1 or (self.pad_mode in ("reflect", "circular") and audio.shape[-1] <= before):
            raise InputError(
                "the signal is too short for this spectrum",
                f"{audio.shape[-1]} samples, padding '{self.pad_mode}' by {before}",
                "Pass a longer signal, or pad_mode='constant'.",
            )
        frames = 1 + audio.shape[-1] // self.hop_length
        # Frames per transform: as many as asked for, and those that the longest window reaches beyond them.
        reach = math.ceil(longest / self.hop_length)
        size = _fast_length(min(frames, max(_BLOCK, reach)) + reach)
        usable = size - reach
        blocks = math.ceil(frames / usable)
        flat = audio.reshape(1, -1, audio.shape[-1])
        flat = F.pad(flat, (before, after), mode=self.pad_mode)[0]
        needed = ((blocks - 1) * usable + size) * self.hop_length
        flat = F.pad(flat, (0, max(0, needed - flat.shape[-1])))
        bank = _bank(self, size, before, audio.dtype, audio.device)
        pieces = [
            self._block(flat[:, start : start + size * self.hop_length], bank)[..., :usable]
            for start in range(0, blocks * usable * self.hop_length, usable * self.hop_length)
        ]
        spectrum = torch.cat(pieces, -1) if len(pieces) > 1 else pieces[0]
        return spectrum[..., :frames].reshape(*audio.shape[:-1], self.bins, frames)

    def _block(self, audio: Float[Tensor, "batch time"], bank: tuple[_Band, ...]) -> Tensor:
        # Row r holds the frequencies that all fold onto the same ones when every hop-th sample is kept.
        rows = torch.fft.fft(audio).unflatten(-1, (self.hop_length, -1))
        around = max(0, max(band.start + band.rows for band in bank) - self.hop_length)
        rows = torch.cat([rows, rows[:, :around]], dim=1) if around else rows
        folded = [(rows[:, band.start : band.start + band.rows] * band.spectrum).sum(1) for band in bank]
        return torch.fft.ifft(torch.stack(folded, 1))


class _Band(NamedTuple):
    """Conjugate spectrum of a window in rows of as many frequencies as there are frames."""

    start: int
    rows: int
    spectrum: Complex[Tensor, "rows frames"]


@lru_cache(maxsize=4)
def _bank(constant_q: ConstantQ, size: int, before: int, dtype: torch.dtype, device: torch.device) -> tuple[_Band, ...]:
    """What to multiply the Fourier transform of ``size * hop`` samples with, one band a bin."""
    rate, hop = constant_q.sample_rate, constant_q.hop_length
    # |W(x)| of a Hann window, x in bins of its own length, falls like 1 / (pi x^3).
    width = max(4.0, (1.0 / (math.pi * constant_q.tolerance)) ** (1.0 / 3.0))
    kind = torch.complex64 if dtype == torch.float32 else torch.complex128
    bank = []
    with torch.inference_mode(False), torch.no_grad():  # a bank first made in inference mode can serve training later
        for hz, length in zip(constant_q.frequencies.tolist(), constant_q.lengths.tolist(), strict=True):
            half = min(width * rate / length, rate / 2)
            first = math.floor((hz - half) * hop / rate)
            last = min(math.ceil((hz + half) * hop / rate), first + hop)
            bins = torch.arange(first * size, last * size, dtype=torch.float64, device="cpu")
            turn = 2 * math.pi * bins / (size * hop)
            spectrum = _hann_tone(2 * math.pi * hz / rate - turn, int(length)).conj()
            # Frame t is centred `before` samples into its stretch; sqrt(N) / sum w, and 1 / hop from folding.
            shift = torch.polar(torch.ones_like(turn), turn * before)
            values = spectrum * shift * (math.sqrt(length) / (0.5 * length) / hop)
            bank.append(_Band(first % hop, last - first, values.reshape(-1, size).to(kind).to(device)))
    return tuple(bank)


def _hann_tone(angle: Float[Tensor, " n"], length: int) -> Complex[Tensor, " n"]:
    """``sum_n w[n] exp(i angle n)`` for a periodic Hann window on ``n = -ceil(length / 2), ...``, in closed form."""

    def geometric(theta: Tensor) -> Tensor:
        # sum_{j < N} e^{i theta j} = e^{i theta (N - 1) / 2} sin(N theta / 2) / sin(theta / 2)
        sine = torch.sin(theta / 2)
        close = sine.abs() < 1e-9
        ratio = torch.where(close, length, torch.sin(length * theta / 2) / torch.where(close, 1.0, sine))
        return torch.polar(torch.ones_like(theta), theta * ((length - 1) / 2)) * ratio

    step = 2 * math.pi / length
    total = 0.5 * geometric(angle) - 0.25 * (geometric(angle + step) + geometric(angle - step))
    return total * torch.polar(torch.ones_like(angle), -angle * math.ceil(length / 2))


def _fast_length(frames: int) -> int:
    """The next number of the form ``2^a 3^b 5^c``, for which Fourier transforms are fast.

    Example:
        >>> [_fast_length(n) for n in (1, 7, 121)]
        [1, 8, 125]
    """
    while True:
        rest = frames
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return frames
        frames += 1
