"""Long convolutions by the fast Fourier transform; short ones by one matrix product."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn import functional as F

SHORT = 16
"""Up to this length a Toeplitz matrix is faster than three transforms."""


def fft_convolve(
    u: Float[Tensor, "batch heads time"],
    kernel: Float[Tensor, "channels heads lags"],
    future: Float[Tensor, "channels heads ahead"] | None = None,
) -> Float[Tensor, "batch channels heads time"]:
    """``y_t = sum_{l >= 0} kernel_l u_{t-l} + sum_{l >= 0} future_l u_{t+1+l}``, zeros beyond the ends.

    Arguments:
        u: Inputs.
        kernel: What past and present inputs are weighted with, lag 0 first.
        future: What coming inputs are weighted with, the next one first; None for a causal result.

    Example:
        >>> fft_convolve(torch.tensor([[[1.0, 2.0, 0.0]]]), torch.tensor([[[1.0, 0.5]]]))
        tensor([[[[1.0000, 2.5000, 1.0000]]]])
    """
    length = u.shape[-1]
    kernel = kernel[..., :length]
    future = None if future is None else future[..., : length - 1]
    if length <= SHORT:
        return _by_matrix(u, kernel, future)
    lags, ahead = kernel.shape[-1], 0 if future is None else future.shape[-1]
    # Long enough that what wraps around falls on what is cut.
    size = _good_size(length + max(lags + ahead, 2) - 1)
    circle = F.pad(kernel, (0, size - lags))
    if future is not None:
        # Negative lags stand at the end of the circle.
        circle = circle + F.pad(future.flip(-1), (size - ahead, 0))
    y: Tensor = _Circular.apply(u, circle)
    return y


class _Circular(torch.autograd.Function):
    """Circular convolution, cut to the length of the input; real transforms only, in both directions."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, circle: Tensor) -> Tensor:
        size = circle.shape[-1]
        inputs, spectrum = torch.fft.rfft(u, size), torch.fft.rfft(circle)
        ctx.save_for_backward(inputs, spectrum)
        ctx.shape = (u.shape[-1], size)
        return torch.fft.irfft(inputs[:, None] * spectrum, size)[..., : u.shape[-1]]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        inputs, spectrum = ctx.saved_tensors
        length, size = ctx.shape
        grads = torch.fft.rfft(grad, size)
        to_u = to_circle = None
        if ctx.needs_input_grad[0]:
            product = grads[:, 0] * spectrum[0].conj() if len(spectrum) == 1 else (grads * spectrum.conj()).sum(1)
            to_u = torch.fft.irfft(product, size)[..., :length]
        if ctx.needs_input_grad[1]:
            to_circle = torch.fft.irfft((grads * inputs[:, None].conj()).sum(0), size)
        return to_u, to_circle


@cache
def _good_size(least: int) -> int:
    return int(next_fast_len(least, real=True))


def _by_matrix(u: Tensor, kernel: Tensor, future: Tensor | None) -> Tensor:
    length = u.shape[-1]
    line = F.pad(kernel, (0, length - kernel.shape[-1]))
    ahead = kernel[..., :0] if future is None else future
    line = torch.cat([F.pad(ahead, (0, length - 1 - ahead.shape[-1])).flip(-1), line], -1)
    # Entry (s, t) of the matrix weighs u_s in y_t: lag t - s, which stands at t - s + L - 1 on the line.
    time = torch.arange(length, device=u.device)
    toeplitz = line[..., time[None, :] - time[:, None] + length - 1]
    return torch.einsum("bhs,chst->bcht", u, toeplitz)
