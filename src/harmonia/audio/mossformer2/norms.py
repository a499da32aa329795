"""Normalisations of sequences ``[batch, time, channels]``, over all frames or, causally, over those so far.

The causal forms use cumulative means: frame t is normalised by the mean and variance of frames 0 to t (the cumulative
layer normalisation of Conv-TasNet, arXiv 1809.07454, and its counterpart by channel).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ScaleNorm(nn.Module):
    """``g x / max(|x| / sqrt(dim), 1e-5)`` (arXiv 1910.05895, with the root mean square as the length)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1))
        self.scale = dim**-0.5

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Normalise the last axis."""
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True) * self.scale
        return x * (self.g / length.clamp(min=1e-5))


class _SequenceNorm(nn.Module):
    """Subtract a mean, divide by a standard deviation, scale and shift each channel."""

    def __init__(self, dim: int, eps: float, causal: bool) -> None:
        super().__init__()
        self.eps, self.causal = eps, causal
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def _scaled(self, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return torch.addcmul(self.bias - mean * scale, x, scale)


class GlobalNorm(_SequenceNorm):
    """Mean and variance over frames and channels: group normalisation with one group.

    Arguments:
        dim: Number of channels.
        eps: Added to the variance.
        causal: Over the frames so far.
    """

    def __init__(self, dim: int, *, eps: float = 1e-8, causal: bool = False) -> None:
        super().__init__(dim, eps, causal)

    def forward(self, x: Float[Tensor, "batch time dim"]) -> Float[Tensor, "batch time dim"]:
        """Normalise each sequence."""
        if not self.causal:
            return self._scaled(x, *_mean_and_variance(x, (1, 2)))
        wide = x.double()
        mean, variance = _running(wide.mean(-1, keepdim=True), wide.square().mean(-1, keepdim=True))
        return self._scaled(x, mean.to(x.dtype), variance.to(x.dtype))


class TimeNorm(_SequenceNorm):
    """Mean and variance over frames, by channel: instance normalisation, with the statistics of the input always.

    Arguments:
        dim: Number of channels.
        eps: Added to the variance.
        causal: Over the frames so far.
    """

    def __init__(self, dim: int, *, eps: float = 1e-5, causal: bool = False) -> None:
        super().__init__(dim, eps, causal)

    def forward(self, x: Float[Tensor, "batch time dim"]) -> Float[Tensor, "batch time dim"]:
        """Normalise each channel of each sequence."""
        if not self.causal:
            return self._scaled(x, *_mean_and_variance(x, (1,)))
        wide = x.double()
        mean, variance = _running(wide, wide.square())
        return self._scaled(x, mean.to(x.dtype), variance.to(x.dtype))


def _mean_and_variance(x: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """As two sums: torch's own var_mean takes five times as long over these axes."""
    mean = x.mean(axes, keepdim=True)
    return mean, (x - mean).square().mean(axes, keepdim=True)


def _running(x: Tensor, square: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of the frames so far, from values and squares in float64."""
    count = torch.arange(1, x.shape[1] + 1, dtype=x.dtype, device=x.device)[:, None]
    mean = x.cumsum(1) / count
    return mean, (square.cumsum(1) / count - mean.square()).clamp(min=0)
