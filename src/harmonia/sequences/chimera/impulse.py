"""State spaces that do not depend on their input: one impulse response for the whole batch, then one convolution.

A companion matrix along time makes the state a shift register, so that the layer holds autoregressions: with ones below
the diagonal and a last column of zeros, ``h1[t] = (x[t], x[t-1], ...)`` and C1 are the coefficients.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.parts.recurrence import linear_scan


def convolve_2d(
    x: Float[Tensor, "batch variables time channels"], kernel: Float[Tensor, "variables time channels"]
) -> Float[Tensor, "batch variables time channels"]:
    """``y[v, t] = sum kernel[i, j] x[v - i, t - j]`` by Fourier transforms of twice the size; zeros outside.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [0.0, 2.0]])[None, :, :, None]
        >>> convolve_2d(x, torch.tensor([[1.0, 0.5], [0.1, 0.0]])[..., None])[0, :, :, 0]
        tensor([[1.0000, 0.5000],
                [0.1000, 2.0000]])
    """
    variables, time = x.shape[1:3]
    size = (2 * variables, 2 * time)
    product = torch.fft.rfft2(x, size, dim=(1, 2)) * torch.fft.rfft2(kernel, size, dim=(0, 1))
    return torch.fft.irfft2(product, size, dim=(1, 2))[:, :variables, :time]


def companion(column: Float[Tensor, "channels state"]) -> Float[Tensor, "channels state state"]:
    """Ones below the diagonal and a last column, divided by the sum of its absolute values where that exceeds 1.

    Example:
        >>> companion(torch.tensor([[0.0, 0.5]]))
        tensor([[[0.0000, 0.0000],
                 [1.0000, 0.5000]]])
    """
    column = column / column.abs().sum(-1, keepdim=True).clamp(min=1)
    state = column.shape[-1]
    shift = (
        torch.eye(state, dtype=column.dtype, device=column.device)
        .roll(1, 0)
        .index_fill(1, torch.tensor([state - 1], device=column.device), 0.0)
    )
    return torch.cat([shift[:, :-1].expand(len(column), -1, -1), column.unsqueeze(-1)], -1)


def companion_scan(
    x: Float[Tensor, "batch variables time channels"],
    matrix: Float[Tensor, "channels state state"],
    into: Float[Tensor, "channels state"],
    down: Float[Tensor, "channels state"],
    across: Float[Tensor, "channels state"],
    drive: tuple[Float[Tensor, "channels state"], Float[Tensor, "channels state"]],
    read: tuple[Float[Tensor, " state"], Float[Tensor, " state"]],
    above: tuple[Tensor, Tensor] | None = None,
) -> tuple[Float[Tensor, "batch variables time channels"], tuple[Tensor, Tensor]]:
    """The grid's recurrence with a matrix along time: one time after another, variables by a scan.

    Returns:
        Outputs, and both states ``[batch, variables, channels, state]`` after the last time.
    """
    shape = (*x.shape[:2], *into.shape)
    h1, h2 = above or (x.new_zeros(shape), x.new_zeros(shape))
    found = []
    for now in x.unbind(2):
        u = now.unsqueeze(-1)
        h1 = torch.einsum("eij,bvej->bvei", matrix, h1) + into * h2 + drive[0] * u
        higher = torch.cat([torch.zeros_like(h1[:, :1]), h1[:, :-1]], 1)
        h2 = linear_scan(across[None, None], down * higher + drive[1] * u)
        found.append(h1 @ read[0] + h2 @ read[1])
    return torch.stack(found, 2), (h1, h2)
