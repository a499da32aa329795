"""Depthwise convolution over time of sequences with the channels last, ``y[t, c] = sum_j w[c, j] x[t + d j - p, c]``.

torch's own `conv1d` wants the channels first, and on a processor takes a slow route for one filter per channel: 30
times slower than oneDNN's kernel for images with the channels last, which is what a sequence ``[time, channels]`` is
when it is taken as an image of one row. That kernel is slow for dilated filters, so these are filled with zeros; and
its gradient with respect to the weights is slow, so that is a sum over shifted products here.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from harmonia.core.errors import InputError


def depthwise_conv(
    x: Float[Tensor, "batch time channels"],
    weight: Float[Tensor, "channels taps"],
    *,
    dilation: int = 1,
    causal: bool = False,
) -> Float[Tensor, "batch time channels"]:
    """Filter each channel by its own taps (a correlation, as in `torch.nn.Conv1d`), zeros beyond the ends.

    Arguments:
        x: Sequences.
        weight: Taps of each channel, the earliest first.
        dilation: Distance of neighbouring taps in frames.
        causal: The last tap lies on the present frame; otherwise the middle one.

    Raises:
        InputError: an even number of taps that are to be centred.

    Example:
        >>> x = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1)
        >>> depthwise_conv(x, torch.tensor([[1.0, 0.0, 10.0]])).flatten()
        tensor([20., 31.,  2.])
        >>> depthwise_conv(x, torch.tensor([[1.0, 0.0, 10.0]]), causal=True).flatten()
        tensor([10., 20., 31.])
    """
    taps = weight.shape[1]
    if not causal and taps % 2 == 0:
        raise InputError("taps are centred on a frame", f"{taps} taps", "Use an odd number.")
    reach = (taps - 1) * dilation
    left = reach if causal else reach // 2
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad) and _plain(x, weight):
        return _Depthwise.apply(x, weight, dilation, left)
    return _filtered(x, weight, dilation, left)


def _plain(x: Tensor, weight: Tensor) -> bool:
    """Whether our own gradient serves: not where something looks into functions or derives twice."""
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
    )


def _filtered(x: Tensor, weight: Tensor, dilation: int, left: int) -> Tensor:
    channels, taps = weight.shape
    right = (taps - 1) * dilation - left
    if x.device.type != "cpu":
        padded = F.pad(x.transpose(1, 2), (left, right))
        return F.conv1d(padded, weight.unsqueeze(1), dilation=dilation, groups=channels).transpose(1, 2)
    if x.dtype.itemsize == 2 and (channels < 32 or channels % 16):
        # oneDNN's kernel for half precision needs whole vectors of channels, and does not end on 16 of them.
        return _filtered(x.float(), weight.float(), dilation, left).to(x.dtype)
    if dilation > 1:
        stuffed = weight.new_zeros(channels, (taps - 1) * dilation + 1)
        stuffed[:, ::dilation] = weight
        weight = stuffed
    if left != right:
        x, left = F.pad(x, (0, 0, left, right)), 0
    image = x.contiguous().transpose(1, 2).unsqueeze(2)
    filtered = F.conv2d(image, weight[:, None, None, :], padding=(0, left), groups=channels)
    return filtered.squeeze(2).transpose(1, 2)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, dilation: int, left: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.dilation, ctx.left = dilation, left
        return _filtered(x, weight, dilation, left)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        dilation, left, taps = ctx.dilation, ctx.left, weight.shape[1]
        right = (taps - 1) * dilation - left
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x = _filtered(grad, weight.flip(1), dilation, right)
        if ctx.needs_input_grad[1]:
            padded, time = F.pad(x, (0, 0, left, right)), x.shape[1]
            sums = [(padded[:, j * dilation : j * dilation + time] * grad).sum((0, 1)) for j in range(taps)]
            grad_weight = torch.stack(sums, dim=1)
        return grad_x, grad_weight, None, None
