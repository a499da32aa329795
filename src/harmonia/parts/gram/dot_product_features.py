"""Random features of kernels of a dot product: the exponential ``exp(u . v)``, arc-cosine kernels, power series.

Features of the two arguments may differ: ``f(x . w)`` is estimated by ``phi(x) . psi(w)``, a plain sum of products,
without complex conjugation.

References:
    Rethinking Attention with Performers, Choromanski et al., 2021 (arXiv:2009.14794).
    FAVOR#: Sharp Attention Kernel Approximations, Likhosherstov et al., 2023 (arXiv:2302.00787).
    Kernel Methods for Deep Learning, Cho & Saul, 2009.
    Random Feature Maps for Dot Product Kernels, Kar & Karnick, 2012 (arXiv:1201.6530).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Inexact, Int64
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.gram.random_features import Directions, Projection, draw_directions

Number = complex | float | int | Tensor


def exponential_features(
    x: Float[Tensor, "*batch inputs"],
    directions: Float[Tensor, "m inputs"],
    factor: Number = 1.0,
    spread: Number = 0.0,
) -> Inexact[Tensor, "*batch m"]:
    """``L_g(u) = (1 + 4M)^(d/4) exp(-M |g|^2 + sqrt(1 + 4M) g . u - u . u / 2)`` at ``u = factor x``, of every g.

    For standard Gaussian g and any real or complex u and v ``E L_g(u) L_g(v) = exp(u . v)``, with bilinear dot
    products. A real factor and M = 0: the positive features of Performers; M > 0 lowers their variance where
    ``|u + v|`` is large, see `best_spread`.

    Arguments:
        x: Rows.
        directions: g.
        factor: Real or complex, for all directions or for each.
        spread: M >= 0, for all directions or for each.

    Example:
        >>> g = torch.randn(100_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> x, w = torch.tensor([0.5, 0.1]).double(), torch.tensor([0.2, 0.3]).double()
        >>> product = exponential_features(x, g, 1j) * exponential_features(w, g)
        >>> bool((product.mean() - torch.exp(torch.tensor(0.13j))).abs() < 0.01)
        True
    """
    return _exponents(x, directions, factor, spread).exp()


def scaled_exponential_features(
    x: Float[Tensor, "*batch inputs"],
    directions: Float[Tensor, "m inputs"],
    factor: Number = 1.0,
    spread: Number = 0.0,
) -> tuple[Inexact[Tensor, "*batch m"], Float[Tensor, "*batch 1"]]:
    """`exponential_features` over the largest modulus of each row, and the logarithm of what they were over.

    They do not overflow, also in float32: of long rows a product is ``phi . psi exp(log scale + log scale')``, and in
    quotients, as of attention, the scales cancel.

    Example:
        >>> g = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
        >>> phi, log_scale = scaled_exponential_features(torch.tensor([300.0, 0.0]), g, 1.0, 0.1)
        >>> float(phi.max()), bool(log_scale.isfinite().all())
        (1.0, True)
    """
    exponents = _exponents(x, directions, factor, spread)
    largest = exponents.real.amax(-1, keepdim=True)
    return (exponents - largest).exp(), largest


def _exponents(x: Tensor, directions: Tensor, factor: Number, spread: Number) -> Tensor:
    m = torch.as_tensor(spread, dtype=directions.dtype, device=directions.device)
    turned = factor.is_complex() if isinstance(factor, Tensor) else isinstance(factor, complex)
    dtype = directions.dtype.to_complex() if turned else directions.dtype
    scale = torch.as_tensor(factor, dtype=dtype, device=directions.device)
    volume = directions.shape[1] / 4 * (1 + 4 * m).log() - m * directions.square().sum(1)
    along = (1 + 4 * m).sqrt() * scale * (x @ directions.T)
    return volume + along - scale.square() / 2 * x.square().sum(-1, keepdim=True)


def log_second_moment(
    u: Inexact[Tensor, "*#batch inputs"], v: Inexact[Tensor, "*#batch inputs"], spread: Number = 0.0
) -> Float[Tensor, "*pairs"]:
    """``log E |L_g(u) L_g(v)|^2``: the variance of one feature is its exponential less ``|exp(u . v)|^2``.

    ``(1 + 4M)^d (1 + 8M)^(-d/2) exp(2 (1 + 4M) / (1 + 8M) |Re(u + v)|^2 - Re(u . u + v . v))``.

    Example:
        >>> float(log_second_moment(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 0.0])))
        1.0
    """
    spread = torch.as_tensor(spread, dtype=u.real.dtype, device=u.device)
    squared = (u + v).real.square().sum(-1)
    curl = u.square().sum(-1).real + v.square().sum(-1).real
    growth = 2 * (1 + 4 * spread) / (1 + 8 * spread)
    volume = u.shape[-1] * ((1 + 4 * spread).log() - (1 + 8 * spread).log() / 2)
    return volume + growth * squared - curl


def best_spread(squared: Float[Tensor, "*batch"], inputs: int) -> Float[Tensor, "*batch"]:
    """The spread M with the least `log_second_moment` where ``|Re(u + v)|^2`` is `squared`, on average.

    The root of a quadratic equation, ``M = (1 / r - 1) / 8`` with ``4 s r = sqrt((2 s + d)^2 + 8 d s) - 2 s - d``.

    Example:
        >>> best_spread(torch.tensor([0.0, 8.0]), 4)
        tensor([0.0000, 0.5877])
    """
    s, d = squared.clamp(min=1e-12), inputs
    root = ((2 * s + d).square() + 8 * d * s).sqrt()
    ratio = 2 * d / (root + 2 * s + d)  # the same root, without cancellation
    return ((1 / ratio - 1) / 8).clamp(min=0)


@dataclass(frozen=True, eq=False)
class ArcCosineFeatures:
    """``phi(x) = sqrt(2 / m) s(W x + b)`` with ``E phi(x) . phi(x') = k(x, x')``, k = `ArcCosine`.

    s is the step, the ReLU or its square. With offsets b, Gaussian as W, the kernel is that of ``[x, 1]``.

    Attributes:
        directions: The map to ``W x``.
        offsets: b, or None.
        order: 0, 1 or 2, of the kernel.

    Example:
        >>> from harmonia.parts.gram import ArcCosine
        >>> phi = ArcCosineFeatures.draw(3, 50_000, generator=torch.Generator().manual_seed(0))
        >>> x = torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0]], dtype=torch.float64)
        >>> bool((phi(x) @ phi(x).T - ArcCosine(1)(x)).abs().max() < 0.02)
        True
    """

    directions: Projection
    offsets: Float[Tensor, " m"] | None = None
    order: int = 1

    @classmethod
    def draw(
        cls,
        inputs: int,
        features: int,
        *,
        generator: torch.Generator,
        directions: Directions = "orthogonal",
        offsets: bool = False,
        order: int = 1,
        dtype: torch.dtype = torch.float64,
    ) -> ArcCosineFeatures:
        """Random features.

        Arguments:
            inputs: Numbers a row.
            features: Numbers ``phi(x)`` has.
            generator: On the device where they are to live.
            directions: See `draw_directions`.
            offsets: Whether the kernel sees a constant 1 beside x.
            order: Of the kernel.
            dtype: Of the directions.
        """
        if order not in (0, 1, 2):
            raise InputError("the order of an arc-cosine kernel is 0, 1 or 2", order, "Choose one of them.")
        drawn = draw_directions(inputs, features, directions, generator=generator, dtype=dtype)
        shift = None
        if offsets:
            shift = torch.randn(features, generator=generator, dtype=dtype, device=generator.device)
        return cls(drawn, shift, order)

    def to(self, dtype: torch.dtype) -> ArcCosineFeatures:
        """The same features in another precision."""
        offsets = None if self.offsets is None else self.offsets.to(dtype)
        return ArcCosineFeatures(self.directions.to(dtype), offsets, self.order)

    def __call__(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch m"]:
        z = self.directions(x, self.offsets)
        scale = math.sqrt(2 / z.shape[-1])
        if self.order == 0:
            return (z > 0).to(z.dtype) * scale
        return z.mul_(scale).relu_() if self.order == 1 else z.relu_().square().mul_(scale)


@dataclass(frozen=True, eq=False)
class MaclaurinFeatures:
    """Features of ``f(x . w) = sum_n a_n (x . w)^n``: products of random signs, of which each counts some terms.

    Feature j draws a degree n with probability p_n and n vectors of signs: ``phi_j(x) = r_j prod_i (s_ji . x)``, with
    ``r_j = sqrt(|a_n| / (p_n m))``, and ``psi_j(w)`` is the same times the sign of a_n. Unbiased for every x and w, but
    the variance grows with ``(|x| |w|)^(2n)``.

    Attributes:
        signs: Of every feature's factors, (m, degree, inputs); what lies beyond its degree does not count.
        degrees: Of every feature.
        scale: r.
        sign: Of the coefficient.

    Example:
        >>> exp = [1 / math.factorial(n) for n in range(12)]
        >>> phi = MaclaurinFeatures.draw(exp, 2, 100_000, generator=torch.Generator().manual_seed(0))
        >>> x, w = torch.tensor([[0.3, 0.4]]).double(), torch.tensor([[0.5, -0.1]]).double()
        >>> bool((phi(x) @ phi.of_weights(w).T - math.exp(0.11)).abs() < 0.02)
        True
    """

    signs: Float[Tensor, "m degree inputs"]
    degrees: Int64[Tensor, " m"]
    scale: Float[Tensor, " m"]
    sign: Float[Tensor, " m"]

    @classmethod
    def draw(
        cls,
        coefficients: Sequence[float] | Float[np.ndarray, " terms"],
        inputs: int,
        features: int,
        *,
        generator: torch.Generator,
        radius: float = 1.0,
    ) -> MaclaurinFeatures:
        """Random features in float64.

        Arguments:
            coefficients: a_0, a_1, ...
            inputs: Numbers a row.
            features: m.
            generator: On the processor.
            radius: Of ``|x| |w|``; degrees are drawn in proportion to ``|a_n| radius^n``.

        Raises:
            InputError: no coefficient but zeros, or one that is not finite.
        """
        a = torch.as_tensor(np.asarray(coefficients, dtype=np.float64))
        weights = a.abs() * float(radius) ** torch.arange(len(a))
        if features < 1 or not a.isfinite().all() or not bool(weights.sum() > 0):
            raise InputError("a power series has finite coefficients, not all zero", a.tolist(), "Give some.")
        chance = weights / weights.sum()
        degrees = torch.multinomial(chance, features, replacement=True, generator=generator)
        shape = (features, max(1, int(degrees.max())), inputs)
        signs = 2.0 * torch.randint(0, 2, shape, generator=generator, dtype=torch.float64) - 1
        return cls(signs, degrees, (a[degrees].abs() / (chance[degrees] * features)).sqrt(), a[degrees].sign())

    def __call__(self, x: Float[Tensor, "n inputs"]) -> Float[Tensor, "n m"]:
        counted = torch.arange(self.signs.shape[1]) < self.degrees[:, None]
        factors = torch.einsum("ni,mki->nmk", x.to(self.signs), self.signs)
        return self.scale * torch.where(counted, factors, 1.0).prod(-1)

    def of_weights(self, w: Float[Tensor, "o inputs"]) -> Float[Tensor, "o m"]:
        """Features of the other argument."""
        return self.sign * self(w)

    def second_moment(self, x: Float[Tensor, "n inputs"], w: Float[Tensor, "o inputs"]) -> Float[Tensor, "n o"]:
        """Mean of the square of one feature's product, times m squared, of every pair, averaged over the drawn degrees.

        For signs ``E (s . x)^2 (s . w)^2 = |x|^2 |w|^2 + 2 (x . w)^2 - 2 sum_i x_i^2 w_i^2``.
        """
        x, w = x.to(self.signs), w.to(self.signs)
        squares, others = x.square(), w.square()
        factor = torch.outer(squares.sum(1), others.sum(1)) + 2 * (x @ w.T).square() - 2 * squares @ others.T
        moment = torch.zeros_like(factor)
        for degree in self.degrees.unique().tolist():
            weights = (self.scale[self.degrees == degree].square() * len(self.scale)).square()
            moment += factor**degree * weights.sum() / len(self.scale)
        return moment
