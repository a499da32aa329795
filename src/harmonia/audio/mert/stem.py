"""The convolutions over the waveform, as matrix products, with the group norm folded into the first of them.

The first convolution is followed by a norm of every channel over the whole clip (`torch.nn.GroupNorm`, one channel a
group). Mean and variance of a channel follow from those of the ten samples under the kernel, ``mu = w . m`` and
``var = w^T C w``, so they are known before the convolution is computed and become part of its weights. Hence long
clips pass through slab by slab, and clips of different lengths share a batch without disturbing each other.
"""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.audio.mert.config import MERTConfig
from harmonia.parts.linear import linear

_SLAB = 96
"""Frames that pass through all convolutions at once when no gradient is wanted: their activations stay in the cache."""


class ConvLayer(nn.Module):
    """One convolution without bias; the first of a stem also has the parameters of its group norm."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, *, norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, kernel, stride, bias=False)
        nn.init.kaiming_normal_(self.conv.weight)
        if norm:
            self.layer_norm = nn.GroupNorm(outputs, outputs)

    def forward(self, x: Float[Tensor, "batch time channels"]) -> Float[Tensor, "batch fewer outputs"]:
        """The convolution and GELU of a sequence of frames."""
        (kernel,), (stride,) = self.conv.kernel_size, self.conv.stride
        # Windows as rows: blocks of `stride` frames, which need no copy, beside the first frames of the next blocks.
        count = (x.shape[1] - kernel) // stride + 1
        windows = x[:, : count * stride].unflatten(1, (count, stride)).flatten(2)
        if kernel > stride:
            beyond = [x[:, place : place + (count - 1) * stride + 1 : stride] for place in range(stride, kernel)]
            windows = torch.cat([windows, *beyond], -1)
        return linear(windows, self.conv.weight.transpose(1, 2).flatten(1), None, "gelu")


class ConvStem(nn.Module):
    """Waveform to frames: seven convolutions with GELU, 320 samples a frame.

    Arguments:
        config: Gives channels, lengths and strides.
    """

    def __init__(self, config: MERTConfig) -> None:
        super().__init__()
        self.config = config
        inputs = (1, *config.conv_dim[:-1])
        shapes = zip(inputs, config.conv_dim, config.conv_kernel, config.conv_stride, strict=True)
        self.conv_layers = nn.ModuleList(ConvLayer(*shape, norm=number == 0) for number, shape in enumerate(shapes))

    def forward(
        self, audio: Float[Tensor, "batch time"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch frames channels"]:
        """Frames of a batch of clips.

        Arguments:
            audio: The clips.
            lengths: How many samples of each count in its group norm; all when None.
        """
        weight, bias = self._normed(audio, lengths)
        audio = audio.to(weight.dtype)
        frames = self.config.frames(audio.shape[1])
        if torch.is_grad_enabled() or audio.device.type != "cpu":
            return self._convolve(audio, weight, bias)
        stride, receptive = self.config.stride, self.config.receptive
        out = audio.new_empty(len(audio), frames, self.config.conv_dim[-1])
        for start in range(0, frames, _SLAB):
            stop = min(start + _SLAB, frames)
            slab = audio[:, start * stride : (stop - 1) * stride + receptive]
            out[:, start:stop] = self._convolve(slab, weight, bias)
        return out

    def _normed(self, audio: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Weights and biases of the first convolution with the group norm of every clip in them."""
        first = cast(ConvLayer, self.conv_layers[0])
        kernel, stride = self.config.conv_kernel[0], self.config.conv_stride[0]
        windows = audio.detach().double().unfold(1, kernel, stride)
        if lengths is None:
            count = torch.full((len(audio), 1), windows.shape[1], device=audio.device, dtype=torch.float64)
        else:
            count = ((lengths - kernel) // stride + 1).double()[:, None]
            windows = windows * (torch.arange(windows.shape[1], device=audio.device) < count)[..., None]
        mean = windows.sum(1) / count
        moments = windows.transpose(1, 2) @ windows / count[..., None]
        covariance = moments - mean[:, :, None] * mean[:, None]
        kernels = first.conv.weight[:, 0].double()
        centre = mean @ kernels.T
        variance = torch.einsum("ci,bij,cj->bc", kernels, covariance, kernels).clamp(min=0)
        norm = first.layer_norm
        scale = norm.weight / torch.sqrt(variance + norm.eps)
        weight, bias = scale[..., None] * kernels, norm.bias - centre * scale
        return weight.to(norm.weight.dtype), bias.to(norm.weight.dtype)

    def _convolve(self, audio: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        windows = audio.unfold(1, self.config.conv_kernel[0], self.config.conv_stride[0])
        x = F.gelu(torch.baddbmm(bias[:, None], windows, weight.transpose(1, 2)))
        for layer in self.conv_layers[1:]:
            x = layer(x)
        return x
