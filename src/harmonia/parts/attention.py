"""Pieces of transformers: RMS normalisation, attention, rotary position embedding with its pairing convention named.

A rotary embedding turns pairs of channels by an angle that grows with the position, so that the product of a query
and a key depends on the distance between them only (arXiv 2104.09864). Releases differ in which channels form a pair:
``adjacent`` pairs (2i, 2i + 1), ``halves`` pairs (i, i + d/2).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Literal

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.parts.linear import linear

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

    Rounded as in the code that released networks were trained with: a last digit more or less turns the ten-thousandth
    position by a thousandth of a radian.

    Example:
        >>> rotary_frequencies(4)
        tensor([1.0000, 0.0100])
    """
    return 1.0 / theta ** (torch.arange(0, dim, 2)[: dim // 2].float() / dim)


@lru_cache(maxsize=64)
def _rotations(
    first: int, length: int, dim: int, theta: float, device: torch.device
) -> Complex[Tensor, "length pairs"]:
    # Made outside inference mode, so that a table first used there can serve training later.
    with torch.inference_mode(False), torch.no_grad():
        angles = torch.outer(torch.arange(first, first + length).float(), rotary_frequencies(dim, theta))
        return torch.polar(torch.ones_like(angles), angles).to(device)


def rotate(
    x: Float[Tensor, "*batch length heads dim"], *, pairing: Pairing, theta: float = 10000.0, first: int = 0
) -> Float[Tensor, "*batch length heads dim"]:
    """Turn each pair of channels of the vector at position n by ``n theta^(-2i/dim)``, positions counted from `first`.

    The rotation is computed in float32 whatever the dtype of `x`.

    Arguments:
        x: Queries or keys, with the position on the third axis from the end.
        pairing: ``adjacent`` or ``halves``.
        theta: Base of the geometric series of wavelengths.
        first: Position of the first vector.

    Example:
        >>> q = torch.ones(2, 1, 2)
        >>> rotate(q, pairing="adjacent")[1, 0]    # (cos 1 - sin 1, cos 1 + sin 1)
        tensor([-0.3012,  1.3818])
    """
    table = _rotations(first, x.shape[-3], x.shape[-1], theta, x.device).unsqueeze(-2)
    pairs = x.float()
    if pairing == "adjacent":
        pairs = pairs.unflatten(-1, (-1, 2))
    else:
        pairs = pairs.unflatten(-1, (2, -1)).transpose(-1, -2).contiguous()
    turned = torch.view_as_real(torch.view_as_complex(pairs) * table)
    return (turned if pairing == "adjacent" else turned.transpose(-1, -2)).flatten(-2).to(x.dtype)


_ROWS = 256
"""Queries whose logits are computed at once: the logits of a block stay in the cache."""


def attend(
    q: Float[Tensor, "*batch queries width"],
    k: Float[Tensor, "*batch keys width"],
    v: Float[Tensor, "*batch keys values"],
    mask: Bool[Tensor, "*#batch #queries keys"] | None = None,
    dropout: float = 0.0,
) -> Float[Tensor, "*batch queries values"]:
    """``softmax(q k^T / sqrt(width)) v``, with the fastest matrix products of the processor where nothing is learnt.

    Sequences from 2,048 in float32 on a processor go block by block through `harmonia.parts.linear`, up to 1.6 times
    as fast as `torch.nn.functional.scaled_dot_product_attention`, which does everything else.

    Arguments:
        q, k, v: Queries, keys and values.
        mask: Keys that count.
        dropout: Of the weights.

    Example:
        >>> q = torch.eye(2)[None] * 100.0
        >>> attend(q, q, torch.tensor([[[1.0], [2.0]]]))[0, :, 0]
        tensor([1., 2.])
    """
    learning = torch.is_grad_enabled() and any(t.requires_grad for t in (q, k, v))
    long = q.device.type == "cpu" and q.dtype == torch.float32 and q.shape[-2] >= 8 * _ROWS
    if mask is not None or dropout or learning or not long:
        return F.scaled_dot_product_attention(q, k, v, mask, dropout)
    out = q.new_empty(*q.shape[:-1], v.shape[-1])
    # Rows that do not lie one behind the other, as those of a head, send oneDNN to loops a hundred times slower.
    q, keys, values = q.contiguous(), (k * q.shape[-1] ** -0.5).contiguous(), v.transpose(-1, -2).contiguous()
    for index in product(*map(range, q.shape[:-2])):
        for start in range(0, q.shape[-2], _ROWS):
            rows = slice(start, start + _ROWS)
            weights = torch.softmax(linear(q[index][rows], keys[index]), -1)
            out[index][rows] = linear(weights, values[index])
    return out
