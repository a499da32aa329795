"""What inputs become before they meet weights, and what weights become: one dot product then makes the layer.

    y = f(W x + b)  ~  Psi(W, b) Phi(x)

`UniversalFeatures` estimate f without bias (up to its Fourier series); `ReluFeatures` define a layer of their own, the
arc-cosine kernel, which depends on ``|x|``, ``|w|`` and the angle between them and not only on ``w . x``.
"""

from __future__ import annotations

import cmath
import math
import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.kernels.snnk.fourier_series import FourierSeries
from harmonia.parts.gram import (
    DenseProjection,
    best_spread,
    draw_directions,
    log_second_moment,
    scaled_exponential_features,
)
from harmonia.parts.linear import linear

SplitName = Literal["symmetric", "one-sided"]


@dataclass(frozen=True)
class Split:
    """How the wave ``e^{i omega x . w}`` is divided among x and w: ``exp(u . v)`` of two complex vectors.

    ``u = sqrt(omega) scale e^{i angle} x`` and ``v = sqrt(omega) / scale e^{i (pi / 2 - angle)} w``. One feature's
    squared modulus has the mean ``exp(omega (scale^2 |x|^2 + |w|^2 / scale^2 + 2 sin(2 angle) x . w))`` at spread 0.

    Attributes:
        angle: pi / 4: symmetric; -pi / 4: the same with w reflected; pi / 2: all on x.
        scale: What x gets more and w less.
    """

    angle: float = math.pi / 4
    scale: float = 1.0

    @classmethod
    def named(cls, name: SplitName) -> Split:
        """``symmetric``, or ``one-sided``: trigonometric features of x, positive ones of w."""
        if name not in ("symmetric", "one-sided"):
            raise InputError("no such split", repr(name), "Use 'symmetric' or 'one-sided'.")
        return cls(math.pi / 4 if name == "symmetric" else math.pi / 2)

    @classmethod
    def best(cls, x: Float[Tensor, "n d"], w: Float[Tensor, "o d"], frequency: float) -> Split:
        """The split with the least mean second moment over pairs: balanced norms, and the best of three angles."""
        norms = [float(rows.double().square().sum(1).mean().sqrt().clamp(min=1e-12)) for rows in (x, w)]
        balanced = cls(scale=math.sqrt(norms[1] / norms[0]))
        choices = [replace(balanced, angle=angle) for angle in (math.pi / 4, -math.pi / 4, math.pi / 2)]
        return min(choices, key=lambda split: float(split.log_second_moments(x, w, frequency).logsumexp((0, 1))))

    @property
    def factors(self) -> tuple[complex, complex]:
        """Of x and of w, at frequency 1."""
        return cmath.rect(self.scale, self.angle), cmath.rect(1 / self.scale, math.pi / 2 - self.angle)

    def log_second_moments(
        self, x: Float[Tensor, "n d"], w: Float[Tensor, "o d"], frequency: float, spread: float = 0.0
    ) -> Float[Tensor, "n o"]:
        """Of every pair: log of the mean squared modulus of one feature's product."""
        rho, eta = (math.sqrt(frequency) * factor for factor in self.factors)
        return log_second_moment(rho * x.double()[:, None], eta * w.double()[None], spread)

    def spread(self, x: Float[Tensor, "n d"], w: Float[Tensor, "o d"], frequency: float) -> float:
        """The spread that is best for typical pairs."""
        rho, eta = (math.sqrt(frequency) * factor.real for factor in self.factors)
        squared = (rho * x.double()[:, None] + eta * w.double()).square().sum(-1).mean()
        return float(best_spread(squared, x.shape[1]))


def dense_directions(
    inputs: int, m: int, orthogonal: bool, generator: torch.Generator, dtype: torch.dtype
) -> Float[Tensor, "m inputs"]:
    """Gaussian directions as a matrix, orthogonal in blocks if wanted."""
    kind: Literal["orthogonal", "gaussian"] = "orthogonal" if orthogonal else "gaussian"
    return cast(DenseProjection, draw_directions(inputs, m, kind, generator=generator, dtype=dtype)).weight


class FeatureMap(nn.Module, ABC):
    """Features of inputs; `of_weights` gives those of weight rows. All that was drawn is saved with the module."""

    projection: Tensor
    width: int

    @abstractmethod
    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch m"]:
        """Phi of every row."""

    @abstractmethod
    def of_weights(self, weight: Float[Tensor, "o inputs"], bias: Float[Tensor, " o"] | None) -> Float[Tensor, "o m"]:
        """Psi of every row of weights, with its bias."""


class ReluFeatures(FeatureMap):
    """``Phi(x) = max(G x + g, c) / sqrt(m)``, and Psi the same of ``[w, b]``.

    With c = 0 their dot product has the mean ``|x| |w| (sin t + (pi - t) cos t) / (2 pi)``, t the angle of x and w
    (with offsets: of ``[x, 1]`` and ``[w, b]``).

    Arguments:
        projection: G.
        offsets: g: what a constant input beside x is multiplied by.
        threshold: c.
    """

    offsets: Tensor

    def __init__(
        self,
        projection: Float[Tensor, "m inputs"],
        offsets: Float[Tensor, " m"] | None = None,
        threshold: float = 0.0,
    ) -> None:
        super().__init__()
        self.register_buffer("projection", projection)
        self.register_buffer("offsets", torch.zeros_like(projection[:, 0]) if offsets is None else offsets)
        self.threshold = float(threshold)
        self.width = len(projection)

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch m"]:
        """Phi of every row."""
        return linear(x, self.projection, self.offsets).clamp(min=self.threshold) * self.width**-0.5

    def of_weights(self, weight: Float[Tensor, "o inputs"], bias: Float[Tensor, " o"] | None) -> Float[Tensor, "o m"]:
        """Psi: the same map of ``[w, b]``."""
        z = weight @ self.projection.T
        if bias is not None:
            z = z + bias[:, None] * self.offsets
        return z.clamp(min=self.threshold) * self.width**-0.5

    def after(self, weight: Float[Tensor, "inputs before"], bias: Float[Tensor, " inputs"] | None) -> ReluFeatures:
        """The features of ``weight x + bias``, as features of x: exact."""
        offsets = self.offsets if bias is None else self.offsets + self.projection @ bias
        return ReluFeatures(self.projection @ weight, offsets, self.threshold)

    def extra_repr(self) -> str:
        return f"{self.projection.shape[1]} -> {self.width}, threshold={self.threshold:g}"


class UniversalFeatures(FeatureMap):
    """Features of any function: waves of its Fourier series, each split among x and w (universal random features).

    A pair of real numbers holds one complex feature, so that a plain real dot product is the real part of the complex
    one; a constant of the series is one number more.

    Arguments:
        projection: Gaussian directions, one for each pair.
        frequencies: Of each pair, in radians.
        amplitudes: Of each pair, over its chance.
        constant: Of the series.
        split: How waves are divided.
        spreads: Of each pair, see `exponential_features`.
    """

    frequencies: Tensor
    amplitudes: Tensor
    spreads: Tensor

    def __init__(
        self,
        projection: Float[Tensor, "pairs inputs"],
        frequencies: Float[Tensor, " pairs"],
        amplitudes: Float[Tensor, "pairs 2"],
        constant: float = 0.0,
        split: Split | None = None,
        spreads: Float[Tensor, " pairs"] | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("projection", projection)
        self.register_buffer("frequencies", frequencies)
        self.register_buffer("amplitudes", amplitudes)
        self.register_buffer("spreads", torch.zeros_like(frequencies) if spreads is None else spreads)
        self.register_buffer("division", torch.tensor([(split or Split()).angle, (split or Split()).scale]).double())
        self.register_buffer("constant", torch.tensor(float(constant), dtype=torch.float64))
        self.width = 2 * len(projection) + (constant != 0)

    @classmethod
    def draw(
        cls,
        series: FourierSeries,
        inputs: int,
        features: int,
        *,
        generator: torch.Generator,
        orthogonal: bool = True,
        split: Split | None = None,
        product: float = 1.0,
        sample: tuple[Float[Tensor, "n inputs"], Float[Tensor, "o inputs"]] | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> UniversalFeatures:
        """Random features of a series.

        Arguments:
            series: Of the function.
            inputs: Numbers a row.
            features: How many, in pairs; a constant of the series is one more.
            generator: On the processor.
            orthogonal: Directions are orthogonal in blocks.
            split: How waves are divided; with a sample it is chosen, unless given.
            product: Typical ``|x| |w|``, which decides how often each wave is drawn.
            sample: Rows of inputs and of weights, by which split, spreads and chances are chosen.
            dtype: Of the features.
        """
        if features < 2 or features % 2:
            raise InputError("universal features come in pairs", features, "Ask for an even number of at least two.")
        if sample is not None:
            norms = [rows.double().norm(dim=1).mean() for rows in sample]
            product = float(norms[0] * norms[1])
        frequencies, amplitudes = series.draw(features // 2, product, generator)
        spreads = None
        if sample is not None:
            split = split or Split.best(*sample, float(frequencies.mean()))
            found = {w: split.spread(*sample, w) for w in frequencies.unique().tolist()}
            spreads = torch.tensor([found[w] for w in frequencies.tolist()], dtype=dtype)
        return cls(
            dense_directions(inputs, features // 2, orthogonal, generator, dtype),
            frequencies.to(dtype),
            torch.view_as_real(amplitudes).to(dtype),
            series.constant,
            split,
            spreads,
        )

    @property
    def split(self) -> Split:
        """How waves are divided."""
        angle, scale = self.get_buffer("division").tolist()
        return Split(angle, scale)

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch m"]:
        """Phi of every row."""
        z = self._complex(x, self.split.factors[0])
        return self._real(z.real, z.imag, 1.0).to(x.dtype)

    def of_weights(self, weight: Float[Tensor, "o inputs"], bias: Float[Tensor, " o"] | None) -> Float[Tensor, "o m"]:
        """Psi: the wave's other part, times its amplitude and ``e^{i omega b}``."""
        z = self._complex(weight, self.split.factors[1]) * torch.view_as_complex(self.amplitudes)
        if bias is not None:
            z = z * torch.exp(1j * bias[:, None] * self.frequencies)
        return self._real(z.real, -z.imag, float(self.get_buffer("constant"))).to(weight.dtype)

    def std(self, x: Float[Tensor, "n inputs"], w: Float[Tensor, "o inputs"]) -> Float[Tensor, "n o"]:
        """Root mean square of each estimate's noise: at most this, for independent directions."""
        # The real part has half of the squared modulus where the phase is even, and never more than all of it.
        return (self.log_second_moment(x, w) / 2).exp() * len(self.projection) ** -0.5

    def relative_error(self, x: Float[Tensor, "n inputs"], w: Float[Tensor, "o inputs"]) -> float:
        """Of estimates of the function, before they are made: their noise over their size, root mean squares."""
        z = (x.double() @ w.double().T)[..., None] * self.frequencies.double()
        waves = torch.exp(1j * z) * torch.view_as_complex(self.amplitudes.double())
        size = float((self.get_buffer("constant") + waves.mean(-1).real).square().mean().sqrt())
        return float(self.std(x, w).square().mean().sqrt()) / max(size, 1e-300)

    def _complex(self, x: Tensor, factor: complex) -> Tensor:
        # In float64: the exponents of long rows overflow, and lose their digits, in float32.
        features, log_scale = scaled_exponential_features(
            x.double(), self.projection.double(), factor * self.frequencies.double().sqrt(), self.spreads.double()
        )
        # A row too long for its precision is one of shorter features: infinities would make NaN of sums of products,
        # which are added up in float32 at least.
        wide = torch.finfo(torch.promote_types(x.dtype, torch.float32)).max
        most = min(math.log(torch.finfo(x.dtype).max), 0.45 * math.log(wide))
        return features * log_scale.clamp(max=most).exp()

    def _real(self, real: Tensor, imaginary: Tensor, constant: float) -> Tensor:
        features = torch.cat([real, imaginary], -1) * len(self.projection) ** -0.5
        if self.width % 2 == 0:
            return features
        return torch.cat([features, torch.full_like(features[..., :1], constant)], -1)

    def log_second_moment(self, x: Float[Tensor, "n inputs"], w: Float[Tensor, "o inputs"]) -> Float[Tensor, "n o"]:
        """Log of the mean squared modulus of one feature's product, of every pair, averaged over the waves drawn."""
        count: dict[tuple[float, float, float], int] = {}
        sizes = torch.view_as_complex(self.amplitudes.double()).abs().clamp(min=1e-300)
        for key in zip(self.frequencies.tolist(), self.spreads.tolist(), sizes.tolist()):
            count[key] = count.get(key, 0) + 1
        parts = [
            self.split.log_second_moments(x, w, frequency, spread) + math.log(n / len(sizes)) + 2 * math.log(size)
            for (frequency, spread, size), n in count.items()
        ]
        return torch.stack(parts).logsumexp(0)

    def extra_repr(self) -> str:
        return f"{self.projection.shape[1]} -> {self.width}, {len(self.frequencies.unique())} waves"


def warn_of_noise(error: float, size: float = 1.0) -> None:
    """Warn of estimates with more noise than size, at the line that called the caller's caller."""
    if error > size:
        warnings.warn(
            "features of such long rows say little: an estimate is off by about "
            f"{error / max(size, 1e-300):.2g} times its size; use normalize='row', more features, or ReLU features",
            stacklevel=4,
        )
