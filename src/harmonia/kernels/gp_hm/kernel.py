"""The prior of one axis: a stationary kernel whose power spectrum is a learnable mixture."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float, Float64
from scipy.signal import find_peaks
from torch import Tensor

from harmonia.core.checks import check_number, is_number
from harmonia.core.errors import InputError
from harmonia.kernels.gp_hm.parameters import Number, Whole
from harmonia.parts.gram import lags

Envelope = Literal["gaussian", "matern52"]
_ENVELOPES: dict[Envelope, Callable[[Tensor, Tensor, int], Tensor]] = {
    "gaussian": lags.gaussian,
    "matern52": lags.matern,
}
HIGHEST_ORDER: dict[Envelope, int] = {"gaussian": 8, "matern52": 2}
"""Derivatives of a solution that its prior has: a Matern-5/2 process is twice differentiable."""


class Component(NamedTuple):
    """One wave of a mixture: its variance, its frequency in cycles per unit of x, and the width (scale) of its line."""

    weight: float
    frequency: float
    width: float


@dataclass(frozen=True, eq=False)
class SpectralMixtureKernel1D:
    """``k(d) = sum_q w_q B(a_q, d) cos(2 pi mu_q d)``: a mixture of Q waves (arXiv:2311.04465).

    By the theorem of Wiener and Khinchin the cosine moves the spectrum of the envelope B to the frequency mu_q. An
    envelope ``exp(-a d^2)`` makes a Gaussian mixture spectrum (the paper's GP-HM-GM), Matern-5/2 one of Student-t
    densities (GP-HM-StM). With Q = 1 and mu = 0 it is the usual kernel.

    Arguments:
        q: Number of components.
        envelope: ``"gaussian"`` or ``"matern52"``.
        freq_scale: Components start evenly between 0 and this frequency, in cycles per unit of x; ``"auto"``: what the
            data and the grid can hold.
        rate: The a_q to start with; by default so large that neighbouring components overlap.
        parameters: log w, log a and mu, once they are known.

    Raises:
        InputError: an unknown envelope, or numbers that make no kernel.

    Example:
        >>> kernel = SpectralMixtureKernel1D(q=2, freq_scale=3.0).on(points=32, length=1.0)
        >>> kernel.k(torch.zeros(1, dtype=torch.float64))
        tensor([1.], dtype=torch.float64)
    """

    q: Whole = 30
    envelope: Envelope = "gaussian"
    freq_scale: Number | str = "auto"
    rate: Number | None = None
    parameters: tuple[Tensor, Tensor, Tensor] | None = None

    def __post_init__(self) -> None:
        if self.envelope not in get_args(Envelope):
            raise InputError("no such envelope", repr(self.envelope), "Use 'gaussian' or 'matern52'.")
        if not isinstance(self.q, Integral) or not 1 <= self.q <= 1000:
            raise InputError("a mixture has between 1 and 1000 components", repr(self.q), "Change 'q'.")
        scale = self.freq_scale
        if not (isinstance(scale, str) and scale == "auto") and not (is_number(scale) and 0 <= scale < math.inf):
            what = "'freq_scale' (in a file 'max_frequency') is a frequency >= 0, or 'auto'"
            raise InputError(what, repr(scale), "Change it.")
        if self.rate is not None:
            check_number("rate", self.rate, above=0)

    def on(self, points: int, length: float) -> SpectralMixtureKernel1D:
        """The kernel with parameters to begin with, for a grid of `points` over `length`.

        ``"auto"`` is here 0.4 of the highest frequency of the grid; `GPPDESolver` tries several.
        """
        if self.parameters is not None:
            return self
        if not 0 < length < math.inf:
            raise InputError("an axis has a length > 0", length, "Pass its extent.")
        scale = 0.2 * (points - 1) / length if isinstance(self.freq_scale, str) else float(self.freq_scale)
        count = int(self.q)
        spacing = scale / max(count - 1, 1)
        # Nothing narrower than the domain resolves.
        omega = 2 * math.pi * max(spacing, 0.25 / length)
        rate = float(self.rate) if self.rate else (omega**2 / 2 if self.envelope == "gaussian" else omega)
        frequency = torch.linspace(0, 1, count, dtype=torch.float64) * scale
        weight = torch.full((count,), -math.log(count), dtype=torch.float64)
        return replace(self, parameters=(weight, torch.full_like(weight, math.log(rate)), frequency))

    def with_parameters(self, weight: Tensor, rate: Tensor, frequency: Tensor) -> SpectralMixtureKernel1D:
        """The same mixture with other log w, log a and mu."""
        return replace(self, parameters=(weight, rate, frequency))

    def k(self, lag: Float[Tensor, "*shape"], order: int = 0) -> Float[Tensor, "*shape"]:
        """``d^n/dd^n k(d)`` at signed lags, n = `order`; in closed form, and differentiable by the parameters."""
        if self.parameters is None:
            raise InputError("the kernel has no parameters yet", "none", "Call `on(points, length)`, or fit.")
        weight, rate, frequency = self.parameters
        envelope, d = _ENVELOPES[self.envelope], lag[..., None]
        waves = lags.modulated([envelope(d, rate.exp(), n) for n in range(order + 1)], d, frequency)
        return (waves * weight.exp()).sum(-1)

    def components(self) -> list[Component]:
        """The waves, largest weight first; a frequency and its mirror image are the same wave."""
        if self.parameters is None:
            return []
        weight, rate, frequency = (values.detach() for values in self.parameters)
        omega = (2 * rate.exp()).sqrt() if self.envelope == "gaussian" else rate.exp()
        rows = zip(weight.exp().tolist(), frequency.abs().tolist(), (omega / (2 * math.pi)).tolist())
        return sorted((Component(*row) for row in rows), reverse=True)

    def density(self, frequency: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """Power spectral density at frequencies >= 0 (one-sided), in variance per cycle per unit of x."""
        found = np.zeros_like(frequency)
        for weight, centre, width in self.components():
            for mirrored in (centre, -centre):
                found += weight * self._spectrum(frequency - mirrored, width)
        return found

    def peaks(self) -> list[float]:
        """Frequencies at which the power density has a peak (2.5 times as high as its valleys), highest peak first.

        Many components may share one line of the spectrum; the peaks are the lines.
        """
        components = self.components()
        end = max(c.frequency + 4 * c.width for c in components)
        grid = np.union1d(np.linspace(0, end, 4000), [c.frequency for c in components])
        mirrored = np.concatenate([-grid[:0:-1], grid])
        density = np.log(np.maximum(self.density(np.abs(mirrored)), 1e-300))
        found, _ = find_peaks(density, prominence=math.log(2.5))
        at = [(-density[i], float(mirrored[i])) for i in found if mirrored[i] >= 0]
        return [frequency for _, frequency in sorted(at)]

    def _spectrum(self, distance: Float64[np.ndarray, " n"], width: float) -> Float64[np.ndarray, " n"]:
        """Fourier transform of the envelope, of integral 1: a normal, or Student's t with five degrees of freedom."""
        z = distance / width
        if self.envelope == "gaussian":
            return np.exp(-0.5 * z**2) / (width * math.sqrt(2 * math.pi))
        return 8 / (3 * math.pi * math.sqrt(5) * width) * (1 + z**2 / 5) ** -3
