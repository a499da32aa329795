"""Long convolutions by the fast Fourier transform; short ones by one matrix product."""

from __future__ import annotations

from functools import cache

import torch
from jaxtyping import Float
from scipy.fft import next_fast_len
from torch import Tensor

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
    # The part of the result that is kept is free of wrap-around; what wraps falls on what is cut.
    size = _good_size(length + max(lags + ahead, 2) - 1)
    spectrum = torch.fft.rfft(kernel, size)
    if future is not None:
        # At negative lags, which stand at the end of a circle.
        spectrum = spectrum + torch.fft.rfft(torch.nn.functional.pad(future.flip(-1), (size - ahead, 0)), size)
    return torch.fft.irfft(torch.fft.rfft(u, size)[:, None] * spectrum, size)[..., :length]


@cache
def _good_size(least: int) -> int:
    return int(next_fast_len(least, real=True))


def _by_matrix(u: Tensor, kernel: Tensor, future: Tensor | None) -> Tensor:
    length = u.shape[-1]
    line = torch.nn.functional.pad(kernel, (0, length - kernel.shape[-1]))
    ahead = kernel[..., :0] if future is None else future
    line = torch.cat([torch.nn.functional.pad(ahead, (0, length - 1 - ahead.shape[-1])).flip(-1), line], -1)
    # Entry (s, t) of the matrix weighs u_s in y_t: lag t - s, which stands at t - s + L - 1 on the line.
    time = torch.arange(length, device=u.device)
    toeplitz = line[..., time[None, :] - time[:, None] + length - 1]
    return torch.einsum("bhs,chst->bcht", u, toeplitz)
