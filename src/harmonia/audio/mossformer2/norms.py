"""Normalisations of sequences ``[batch, time, channels]``, over all frames or, causally, over those so far.

The causal forms use cumulative means: frame t is normalised by the mean and variance of frames 0 to t (the cumulative
layer normalisation of Conv-TasNet, arXiv 1809.07454, and its counterpart by channel).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

Carried: TypeAlias = dict[nn.Module, Any]
"""What each layer of a causal network keeps of the frames it has had, when a recording comes piece by piece."""


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

    def _so_far(self, x: Tensor, value: Tensor, square: Tensor, carried: Carried | None) -> Tensor:
        """Normalise by the mean and variance of the frames so far, from values and squares in float64."""
        count, total, squares = (0, 0.0, 0.0) if carried is None else carried.get(self, (0, 0.0, 0.0))
        frames = count + torch.arange(1, x.shape[1] + 1, dtype=torch.float64, device=x.device)[:, None]
        total, squares = total + value.cumsum(1), squares + square.cumsum(1)
        if carried is not None and x.shape[1]:
            carried[self] = (count + x.shape[1], total[:, -1:], squares[:, -1:])
        mean = total / frames
        variance = (squares / frames - mean.square()).clamp(min=0)
        return self._scaled(x, mean.to(x.dtype), variance.to(x.dtype))


class GlobalNorm(_SequenceNorm):
    """Mean and variance over frames and channels: group normalisation with one group.

    Arguments:
        dim: Number of channels.
        eps: Added to the variance.
        causal: Over the frames so far.
    """

    def __init__(self, dim: int, *, eps: float = 1e-8, causal: bool = False) -> None:
        super().__init__(dim, eps, causal)

    def forward(
        self, x: Float[Tensor, "batch time dim"], carried: Carried | None = None
    ) -> Float[Tensor, "batch time dim"]:
        """Normalise each sequence."""
        if not self.causal:
            return self._scaled(x, *_mean_and_variance(x, (1, 2)))
        wide = x.double()
        return self._so_far(x, wide.mean(-1, keepdim=True), wide.square().mean(-1, keepdim=True), carried)


class TimeNorm(_SequenceNorm):
    """Mean and variance over frames, by channel: instance normalisation, with the statistics of the input always.

    Arguments:
        dim: Number of channels.
        eps: Added to the variance.
        causal: Over the frames so far.
    """

    def __init__(self, dim: int, *, eps: float = 1e-5, causal: bool = False) -> None:
        super().__init__(dim, eps, causal)

    def forward(
        self, x: Float[Tensor, "batch time dim"], carried: Carried | None = None
    ) -> Float[Tensor, "batch time dim"]:
        """Normalise each channel of each sequence."""
        if not self.causal:
            return self._scaled(x, *_mean_and_variance(x, (1,)))
        wide = x.double()
        return self._so_far(x, wide, wide.square(), carried)


def _mean_and_variance(x: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """As two sums: torch's own var_mean takes five times as long over these axes."""
    mean = x.mean(axes, keepdim=True)
    return mean, (x - mean).square().mean(axes, keepdim=True)
