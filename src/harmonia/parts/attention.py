"""Pieces of transformers: RMS normalisation and rotary position embedding with its pairing convention named.

A rotary embedding turns pairs of channels by an angle that grows with the position, so that the product of a query
and a key depends on the distance between them only (arXiv 2104.09864). Releases differ in which channels form a pair:
``adjacent`` pairs (2i, 2i + 1), ``halves`` pairs (i, i + d/2).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

Pairing = Literal["adjacent", "halves"]


class RMSNorm(nn.Module):
    """Root-mean-square normalisation, ``gamma sqrt(dim) x / |x|`` (arXiv 1910.07467); a zero vector stays zero.

    Example:
        >>> RMSNorm(4)(torch.tensor([[2.0, 0.0, 0.0, 0.0]]))
        tensor([[2., 0., 0., 0.]], grad_fn=...)
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Normalise the last axis."""
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=1e-12)
        return x * (x.shape[-1] ** 0.5 / length) * self.gamma


def rotary_frequencies(dim: int, theta: float = 10000.0) -> Float[Tensor, " pairs"]:
    """Radians per position of each pair of channels, ``theta^(-2i/dim)``.

    Example:
        >>> rotary_frequencies(4)
        tensor([1.0000, 0.0100])
    """
    return torch.tensor([theta ** (-2 * i / dim) for i in range(dim // 2)])


@lru_cache(maxsize=64)
def _rotations(length: int, dim: int, theta: float, device: torch.device) -> Complex[Tensor, "length pairs"]:
    # Made outside inference mode, so that a table first used there can serve training later.
    with torch.inference_mode(False), torch.no_grad():
        angles = torch.outer(torch.arange(length).float(), rotary_frequencies(dim, theta))
        return torch.polar(torch.ones_like(angles), angles).to(device)


def rotate(
    x: Float[Tensor, "*batch length heads dim"], *, pairing: Pairing, theta: float = 10000.0
) -> Float[Tensor, "*batch length heads dim"]:
    """Turn each pair of channels of the vector at position n by ``n theta^(-2i/dim)``, positions counted from 0.

    The rotation is computed in float32 whatever the dtype of `x`.

    Arguments:
        x: Queries or keys, with the position on the third axis from the end.
        pairing: ``adjacent`` or ``halves``.
        theta: Base of the geometric series of wavelengths.

    Example:
        >>> q = torch.ones(2, 1, 2)
        >>> rotate(q, pairing="adjacent")[1, 0]    # (cos 1 - sin 1, cos 1 + sin 1)
        tensor([-0.3012,  1.3818])
    """
    table = _rotations(x.shape[-3], x.shape[-1], theta, x.device).unsqueeze(-2)
    pairs = x.float()
    if pairing == "adjacent":
        pairs = pairs.unflatten(-1, (-1, 2))
    else:
        pairs = pairs.unflatten(-1, (2, -1)).transpose(-1, -2).contiguous()
    turned = torch.view_as_real(torch.view_as_complex(pairs) * table)
    return (turned if pairing == "adjacent" else turned.transpose(-1, -2)).flatten(-2).to(x.dtype)
