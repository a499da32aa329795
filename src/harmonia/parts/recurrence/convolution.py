"""Long convolutions by the fast Fourier transform; short ones by one matrix product."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn import functional as F

SHORT = 16
"""Up to this length a Toeplitz matrix is faster than three transforms."""

TILE = 1 << 20
"""Bytes of one real tile of a transform."""


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
    """Circular convolution, cut to the length of the input; real transforms only, in both directions.

    Worked on in tiles of batch and heads that stay in the processor's cache. Only the input and the kernel are kept for
    the gradient; transforming the input once more is cheaper than keeping its spectrum.
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor, circle: Tensor) -> Tensor:
        ctx.save_for_backward(u, circle)
        size, length = circle.shape[-1], u.shape[-1]
        spectrum = torch.fft.rfft(circle)
        y = u.new_empty(u.shape[0], *circle.shape[:2], length)
        for rows, heads in _tiles(u, size):
            product = torch.fft.rfft(u[rows, heads], size)[:, None] * spectrum[:, heads]
            y[rows, :, heads] = torch.fft.irfft(product, size)[..., :length]
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        u, circle = ctx.saved_tensors
        size, length = circle.shape[-1], u.shape[-1]
        spectrum = torch.fft.rfft(circle).conj()
        to_u = torch.empty_like(u) if ctx.needs_input_grad[0] else None
        to_spectrum = torch.zeros_like(spectrum) if ctx.needs_input_grad[1] else None
        for rows, heads in _tiles(u, size):
            grads = torch.fft.rfft(grad[rows, :, heads], size)
            if to_u is not None:
                to_u[rows, heads] = torch.fft.irfft((grads * spectrum[:, heads]).sum(1), size)[..., :length]
            if to_spectrum is not None:
                inputs = torch.fft.rfft(u[rows, heads], size).conj()
                to_spectrum[:, heads] += (grads * inputs.unsqueeze(1)).sum(0)
        return to_u, None if to_spectrum is None else torch.fft.irfft(to_spectrum, size)


def _tiles(u: Tensor, size: int) -> Iterator[tuple[slice, slice]]:
    """Rows and heads that are transformed together: everything at once where there is no such cache."""
    batch, heads, _ = u.shape
    many = batch * heads if u.device.type != "cpu" else max(1, TILE // (size * u.element_size()))
    rows = min(batch, many)
    columns = min(heads, max(1, many // rows))
    for i in range(0, batch, rows):
        for j in range(0, heads, columns):
            yield slice(i, i + rows), slice(j, j + columns)


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
