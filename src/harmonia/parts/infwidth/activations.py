"""Activations with a closed form: ``E[s(u) s(v)]`` and ``E[s'(u) s'(v)]`` for ``(u, v) ~ N(0, [[q1, k], [k, q2]])``.

The first is the activation's *dual* (Daniely et al. 2016, arXiv:1602.05897); the second is its derivative in ``k`` at
fixed variances (Price's theorem), which multiplies the tangent kernel (Jacot et al. 2018, Thm. 1).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.gram.angles import safe_atan2, sine
from harmonia.parts.infwidth.fused import KinkedDual, plain_reverse_mode
from harmonia.parts.infwidth.layers import Layer, finer, scaled
from harmonia.parts.infwidth.state import KernelState, Spatial


class Activation(Layer):
    """An elementwise function of the features."""

    fresh: ClassVar[bool | None] = False

    @abstractmethod
    def function(self, x: Tensor) -> Tensor:
        """The activation itself, for finite networks."""

    @abstractmethod
    def dual(self, k: Tensor, q1: Tensor, q2: Tensor, derivative: bool = True) -> tuple[Tensor, Tensor | None]:
        """``E[s(u) s(v)]`` and, if wanted, ``E[s'(u) s'(v)]``; variances `q1`, `q2` broadcast to `k`."""

    def dual_of_itself(self, q: Tensor) -> tuple[Tensor, Tensor | None]:
        """``E[s(u)^2]`` and ``E[s'(u)^2]``; override it where `dual` is only approximate for ``u = v``."""
        return self.dual(q, q, q)

    def requires(self, covariance: Spatial, variance: Spatial) -> tuple[Spatial, Spatial]:
        return covariance, finer(variance, "diag")

    def propagate(self, state: KernelState) -> KernelState:
        if not state.is_gaussian:
            raise InputError(
                f"{self!r} acts on features that are not Gaussian",
                "an input, or the output of another activation",
                "Insert an affine layer such as Dense() before it.",
            )
        tangent = state.ntk is not None
        if state.pairing == "itself" and state.spatial != "full":
            nngp, gain = self.dual_of_itself(state.nngp)
        else:
            nngp, gain = self.dual(state.nngp, *state.against_pairs(*state.sides()), derivative=tangent)
        ntk = None if state.ntk is None or gain is None else state.ntk * gain
        return state.with_kernels(nngp, ntk, is_gaussian=False)


class ABReLU(Activation):
    """``a min(x, 0) + b max(x, 0)``: the arc-cosine kernel of degree 1 (Cho & Saul 2009), for two slopes.

    With ``y = sqrt(q1 q2 - k^2)`` and the angle ``th = atan2(y, k)``,

        E[s's'] = ((a^2 + b^2) (pi - th) + 2ab th) / 2pi
        E[s s]  = k E[s's'] + (a - b)^2 y / 2pi

    a form without division, exact where ``k = q1 = q2``.
    """

    homogeneous: ClassVar[bool] = True

    def __init__(self, a: float, b: float) -> None:
        self.a, self.b = a, b

    def function(self, x: Tensor) -> Tensor:
        return self.a * x.clamp(max=0) + self.b * x.clamp(min=0)

    def dual(self, k: Tensor, q1: Tensor, q2: Tensor, derivative: bool = True) -> tuple[Tensor, Tensor | None]:
        bend = (self.a - self.b) ** 2 / (2 * math.pi)
        if not derivative and k.requires_grad and plain_reverse_mode():
            return KinkedDual.apply(k, q1, q2, bend, (self.a**2 + self.b**2) / 2), None
        y = sine(k, q1, q2)
        gain = scaled(safe_atan2(y, k), -bend, (self.a**2 + self.b**2) / 2)
        return (k * gain).add_(y, alpha=bend), gain


class ReLU(ABReLU):
    """``max(x, 0)``.

    Example:
        >>> k, gain = ReLU().dual(torch.tensor(0.0), torch.tensor(1.0), torch.tensor(1.0))
        >>> round(float(k), 4), round(float(gain), 4)
        (0.1592, 0.25)
    """

    def __init__(self) -> None:
        super().__init__(0.0, 1.0)


class LeakyReLU(ABReLU):
    """``max(x, 0) + slope min(x, 0)``."""

    def __init__(self, slope: float = 0.01) -> None:
        super().__init__(slope, 1.0)
        self.slope = slope


class Abs(ABReLU):
    """``|x|``."""

    def __init__(self) -> None:
        super().__init__(-1.0, 1.0)


class Identity(Activation):
    """``x``."""

    homogeneous: ClassVar[bool] = True

    def function(self, x: Tensor) -> Tensor:
        return x

    def dual(self, k: Tensor, q1: Tensor, q2: Tensor, derivative: bool = True) -> tuple[Tensor, Tensor | None]:
        return k, torch.ones_like(k)


class Sign(Activation):
    """``sign(x)``: ``E[ss] = (2/pi) arcsin rho``, ``E[s's'] = 0``: no tangent kernel passes."""

    def function(self, x: Tensor) -> Tensor:
        return x.sign()

    def dual(self, k: Tensor, q1: Tensor, q2: Tensor, derivative: bool = True) -> tuple[Tensor, Tensor | None]:
        y = sine(k, q1, q2)
        nngp = 1 - safe_atan2(y, k) * (2 / math.pi)
        return torch.where((q1 == 0) | (q2 == 0), 0.0, nngp), torch.zeros_like(k)


class Erf(Activation):
    """``erf(x)`` (Williams 1997): ``E[ss] = (2/pi) arcsin(2k / sqrt((1 + 2 q1)(1 + 2 q2)))``."""

    def function(self, x: Tensor) -> Tensor:
        return x.erf()

    def dual(self, k: Tensor, q1: Tensor, q2: Tensor, derivative: bool = True) -> tuple[Tensor, Tensor | None]:
        product = (1 + 2 * q1) * (1 + 2 * q2)
        root = (product - 4 * k * k).sqrt()
        return torch.atan2(2 * k, root) * (2 / math.pi), (4 / math.pi) / root if derivative else None


class Gaussian(Activation):
    """``exp(-x^2)``: ``E[ss] = ((1 + 2 q1)(1 + 2 q2) - 4 k^2)^(-1/2)``."""

    def function(self, x: Tensor) -> Tensor:
        return (-x.square()).exp()

    def dual(self, k: Tensor, q1: Tensor, q2: Tensor, derivative: bool = True) -> tuple[Tensor, Tensor | None]:
        nngp = ((1 + 2 * q1) * (1 + 2 * q2) - 4 * k * k).rsqrt()
        return nngp, 4 * k * nngp**3 if derivative else None


class Sin(Activation):
    """``sin(x)``: ``E[ss] = (e^(k - m) - e^(-k - m)) / 2`` with ``m = (q1 + q2) / 2``; ``E[s's']`` is cos's."""

    def function(self, x: Tensor) -> Tensor:
        return x.sin()

    def dual(self, k: Tensor, q1: Tensor, q2: Tensor, derivative: bool = True) -> tuple[Tensor, Tensor | None]:
        near, far = _waves(k, q1, q2)
        return near - far, near + far


class Cos(Activation):
    """``cos(x)``: ``E[ss] = (e^(k - m) + e^(-k - m)) / 2`` with ``m = (q1 + q2) / 2``; ``E[s's']`` is sin's."""

    def function(self, x: Tensor) -> Tensor:
        return x.cos()

    def dual(self, k: Tensor, q1: Tensor, q2: Tensor, derivative: bool = True) -> tuple[Tensor, Tensor | None]:
        near, far = _waves(k, q1, q2)
        return near + far, near - far


def _waves(k: Tensor, q1: Tensor, q2: Tensor) -> tuple[Tensor, Tensor]:
    mean = (q1 + q2) / 2
    return (k - mean).exp() / 2, (-k - mean).exp() / 2


class Exp(Activation):
    """``exp(x)``: ``E[ss] = E[s's'] = exp((q1 + q2)/2 + k)``."""

    def function(self, x: Tensor) -> Tensor:
        return x.exp()

    def dual(self, k: Tensor, q1: Tensor, q2: Tensor, derivative: bool = True) -> tuple[Tensor, Tensor | None]:
        nngp = ((q1 + q2) / 2 + k).exp()
        return nngp, nngp


class GELU(Activation):
    """``x Phi(x)``, ``Phi`` the normal distribution function.

    By Stein's lemma, with ``A = 1 + q1``, ``B = 1 + q2`` and

        P = 1 / (2 pi sqrt(A B - k^2)),     F = 1/4 + arcsin(k / sqrt(A B)) / 2pi,
        c = 1/A + 1/B - 1,                  M = q1 q2 + c k^2,

    ``E[ss] = k F + P M`` and ``E[s's'] = F + k P (1 + 2c + M / (A B - k^2))``.
    """

    def function(self, x: Tensor) -> Tensor:
        return x * torch.special.ndtr(x)

    def dual(self, k: Tensor, q1: Tensor, q2: Tensor, derivative: bool = True) -> tuple[Tensor, Tensor | None]:
        a, b = 1 + q1, 1 + q2
        square = k * k
        inverse = (a * b - square).reciprocal()
        root = inverse.rsqrt()
        density = 1 / (2 * math.pi * root)
        c = 1 / a + 1 / b - 1
        m = q1 * q2 + c * square
        both = 0.25 + torch.atan2(k, root) / (2 * math.pi)
        nngp = k * both + density * m
        return nngp, both + k * density * (1 + 2 * c + m * inverse) if derivative else None
