"""How the denoiser is made of the regression's output F: the paper's plain form, and one with unit-order labels.

Both turn the score into a regression with noisy labels: inputs are features of (t, X_t), labels are functions of X_0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.kernels.score_ntk.kernels import KernelName
from harmonia.kernels.score_ntk.process import Process

Spacing = Literal["uniform", "log"]


@runtime_checkable
class Form(Protocol):
    """A parametrisation of the denoiser."""

    clock_range: ClassVar[tuple[float, float]]
    spacing: ClassVar[Spacing]
    kernel: ClassVar[KernelName]

    def features(self, t: Tensor, x: Tensor) -> Tensor:
        """Inputs of the regression."""

    def labels(self, t: Tensor, x: Tensor, x0: Tensor) -> Tensor:
        """Labels of the regression, noisy ones of data points or clean ones of a known denoiser."""

    def denoised(self, t: Tensor, x: Tensor, output: Tensor) -> Tensor:
        """``f(t, x)`` of the regression's output; undoes `labels`."""


def _with_bias(columns: list[Tensor], bias: bool) -> Tensor:
    return torch.cat([*columns, torch.ones_like(columns[0][:, :1])] if bias else columns, 1)


@dataclass(frozen=True)
class PaperForm:
    """``f = F`` of ``z = (x, t - T_0)``, labels X_0.

    Arguments:
        start: T_0.
        bias: Append a constant 1 to z. Without it f vanishes wherever z does.
    """

    clock_range: ClassVar[tuple[float, float]] = (0.05, 3.0)
    spacing: ClassVar[Spacing] = "uniform"
    kernel: ClassVar[KernelName] = "two-layer"

    start: float
    bias: bool

    def features(self, t: Float[Tensor, " n"], x: Float[Tensor, "n d"]) -> Float[Tensor, "n features"]:
        return _with_bias([x, (t - self.start)[:, None]], self.bias)

    def labels(self, t: Float[Tensor, " n"], x: Float[Tensor, "n d"], x0: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return x0

    def denoised(
        self, t: Float[Tensor, " n"], x: Float[Tensor, "n d"], output: Float[Tensor, "n d"]
    ) -> Float[Tensor, "n d"]:
        return output


@dataclass(frozen=True)
class GaussianForm:
    """The exact denoiser of Gaussian data plus a correction that is learnt, ``f = mu + c_skip y + c_out F``.

    In the eigenbasis of the data's covariance, with ``y = x - alpha mu``, eigenvalue s^2 and ``v = alpha^2 s^2 + h``:
    ``c_skip = alpha s^2 / v``, ``c_out = sqrt(s^2 h / v)``. So labels ``(X_0 - mu - c_skip y) / c_out`` have variances
    near 1 at all times, and F = 0 is exact for Gaussian data. Inputs are ``z = (3 u, log(h / alpha^2) / 2, 1)`` with
    ``u = c_skip y``, the part of y that tells of X_0, scaled to ``E|u|^2 = 2`` at all times; of equal variances, u is
    ``sqrt(2/d) y / sqrt(v)``.

    Attributes:
        process: The diffusion.
        mean: Of the data.
        basis: Eigenvectors of its covariance, one per column.
        variances: Eigenvalues of its covariance.
        bias: Append the constant 1 to z.
    """

    clock_range: ClassVar[tuple[float, float]] = (0.02, 4.0)
    spacing: ClassVar[Spacing] = "log"
    kernel: ClassVar[KernelName] = "deep"

    process: Process
    mean: Float[Tensor, " d"]
    basis: Float[Tensor, "d d"]
    variances: Float[Tensor, " d"]
    bias: bool

    @classmethod
    def of(cls, process: Process, data: Float[Tensor, "n d"], bias: bool) -> GaussianForm:
        """Mean and covariance of data."""
        mean = data.mean(0)
        centred = data - mean
        variances, basis = torch.linalg.eigh(centred.T @ centred / len(data))
        floor = 1e-12 * float(variances[-1]) + torch.finfo(torch.float64).tiny
        return cls(process, mean, basis, variances.clamp_min(floor), bias)

    def _parts(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Centred x, c_skip and c_out, in the eigenbasis."""
        alpha, h = self.process.alpha(t)[:, None], self.process.h(t)[:, None]
        v = alpha.square() * self.variances + h
        return (x - alpha * self.mean) @ self.basis, alpha * self.variances / v, (self.variances * h / v).sqrt()

    def distance(self, t: Float[Tensor, " n"], x: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Mahalanobis distance of noisy points from their mean; of chi distribution for Gaussian data."""
        alpha, h = self.process.alpha(t)[:, None], self.process.h(t)[:, None]
        centred = (x - alpha * self.mean) @ self.basis
        return (centred.square() / (alpha.square() * self.variances + h)).sum(1).sqrt()

    def features(self, t: Float[Tensor, " n"], x: Float[Tensor, "n d"]) -> Float[Tensor, "n features"]:
        centred, skip, out = self._parts(t, x)
        # The variance of c_skip y is s^2 - c_out^2.
        scale = 3 * math.sqrt(2 / len(self.mean)) / (self.variances - out.square()).mean(1, keepdim=True).sqrt()
        time = -self.process.snr(t)[:, None].log() / 2
        return _with_bias([scale * skip * centred, time], self.bias)

    def labels(self, t: Float[Tensor, " n"], x: Float[Tensor, "n d"], x0: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        centred, skip, out = self._parts(t, x)
        return ((x0 - self.mean) @ self.basis - skip * centred) / out

    def denoised(
        self, t: Float[Tensor, " n"], x: Float[Tensor, "n d"], output: Float[Tensor, "n d"]
    ) -> Float[Tensor, "n d"]:
        centred, skip, out = self._parts(t, x)
        return self.mean + (skip * centred + out * output) @ self.basis.T
