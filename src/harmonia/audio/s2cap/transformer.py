"""The transformer that the from-scratch parts are made of: attention whose keys and values can be kept."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.parts.linear import Linear


class Attention(nn.Module):
    """Multi-head attention, ``softmax(q k^T / sqrt(d)) v``, whose keys and values can be kept."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (Linear(dim, dim) for _ in range(4))

    def keys(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of what is attended to, ``[batch, heads, length, dim / heads]``."""
        return self._split(self.key(memory)), self._split(self.value(memory))

    def forward(
        self, x: Tensor, keys: tuple[Tensor, Tensor], *, causal: bool = False, mask: Tensor | None = None
    ) -> Tensor:
        """Attend from `x`; a `mask` is true where there is something to see."""
        heads = F.scaled_dot_product_attention(self._split(self.query(x)), *keys, attn_mask=mask, is_causal=causal)
        return self.out(heads.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class Block(nn.Module):
    """A pre-norm transformer block; with `cross` it attends to a memory between attention and feed-forward."""

    def __init__(self, dim: int, heads: int, dropout: float, cross: bool = False) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads)
        self.cross_norm = nn.LayerNorm(dim) if cross else None
        self.cross = Attention(dim, heads) if cross else None
        self.feed = nn.Sequential(nn.LayerNorm(dim), Linear(dim, 4 * dim, activation="gelu"), Linear(4 * dim, dim))
        self.dropout = nn.Dropout(dropout)

    def memory_keys(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of a memory for the attention to it."""
        assert self.cross is not None
        return self.cross.keys(memory)

    def forward(
        self,
        x: Tensor,
        memory: tuple[Tensor, Tensor] | None = None,
        *,
        causal: bool = False,
        mask: Tensor | None = None,
        past: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The block, and the keys and values of its own attention (after those of the `past`)."""
        normed = self.norm(x)
        keys = self.attention.keys(normed)
        if past is not None:
            keys = (torch.cat([past[0], keys[0]], dim=2), torch.cat([past[1], keys[1]], dim=2))
        x = x + self.dropout(self.attention(normed, keys, causal=causal, mask=mask))
        if self.cross is not None and self.cross_norm is not None:
            assert memory is not None
            x = x + self.dropout(self.cross(self.cross_norm(x), memory))
        return x + self.dropout(self.feed(x)), keys


def positions(length: int, dim: int) -> Float[Tensor, "length dim"]:
    """Sinusoidal positions: ``sin(n 10000^{-2i/d})`` beside ``cos`` of the same."""
    angles = torch.outer(torch.arange(length).float(), torch.exp(torch.arange(0, dim, 2) * (-math.log(1e4) / dim)))
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def masked_mean(x: Float[Tensor, "batch length dim"], kept: Bool[Tensor, "batch length"]) -> Float[Tensor, "batch dim"]:
    """Mean over the kept positions."""
    weights = kept.to(x)[..., None]
    return (x * weights).sum(1) / weights.sum(1).clamp(min=1)
