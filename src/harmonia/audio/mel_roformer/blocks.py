"""The layers of the Mel-band RoFormer, each with the parameter names of the public checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.parts.attention import RMSNorm, rotary_frequencies, rotate
from harmonia.parts.linear import Linear

# Without gradients, the sequences of a batch go through a transformer a few at a time, so that the wide activations
# of that many tokens stay in the processor's cache.
_TOKENS_AT_ONCE = {"cpu": 1024}


class BandSplit(nn.Module):
    """One vector per band: ``x_k = W_k RMSNorm(X_k) + b_k`` of the band's real numbers X_k.

    Arguments:
        slices: Start and stop of each band in the last axis of the flattened spectrum.
        dim: Width of the vectors.
    """

    def __init__(self, slices: Sequence[tuple[int, int]], dim: int) -> None:
        super().__init__()
        self.slices = slices
        self.dim = dim
        # torch's own layer where every band has another width: oneDNN would keep compiled code for each, 70 MB in all.
        self.to_features = nn.ModuleList(nn.Sequential(RMSNorm(b - a), nn.Linear(b - a, dim)) for a, b in slices)

    def forward(self, spectrum: Float[Tensor, "batch frames numbers"]) -> Float[Tensor, "batch frames bands dim"]:
        """Embed each band of a spectrum laid out as (bin, channel, real and imaginary)."""
        spectrum = spectrum.to(next(self.parameters()).dtype)
        vectors = (embed(spectrum[..., a:b]) for (a, b), embed in zip(self.slices, self.to_features, strict=True))
        if torch.is_grad_enabled():
            return torch.stack(list(vectors), dim=-2)
        x = spectrum.new_empty(*spectrum.shape[:-1], len(self.slices), self.dim)
        for k, vector in enumerate(vectors):
            x[..., k, :] = vector
        return x


class MaskEstimator(nn.Module):
    """A complex mask from the bands' vectors: per band an MLP with a gated end, averaged where bands overlap.

    Arguments:
        slices: Start and stop of each band in the last axis of the flattened spectrum.
        dim: Width of the bands' vectors.
        hidden: Width of the hidden layers.
        depth: Number of hidden layers.
    """

    owners: Tensor

    def __init__(self, slices: Sequence[tuple[int, int]], dim: int, hidden: int, depth: int) -> None:
        super().__init__()
        self.slices = slices
        self.to_freqs = nn.ModuleList(nn.Sequential(_mlp(dim, hidden, depth, 2 * (b - a)), nn.GLU()) for a, b in slices)
        # On the processor even where the parameters are on the meta device: it is in no checkpoint.
        owners = torch.zeros(slices[-1][1], device="cpu")
        for a, b in slices:
            owners[a:b] += 1
        self.register_buffer("owners", owners, persistent=False)

    def forward(self, x: Float[Tensor, "batch frames bands dim"]) -> Float[Tensor, "batch frames numbers"]:
        """The mask, laid out as the spectrum of `BandSplit`."""
        vectors = x.unbind(-2)
        if torch.is_grad_enabled():
            # Neighbouring bands overlap, every other band does not: two layers of bands side by side, then their sum.
            return (self._layer(vectors, 0) + self._layer(vectors, 1)) / self.owners
        mask = x.new_zeros(*x.shape[:-2], len(self.owners))
        for (a, b), vector, estimate in zip(self.slices, vectors, self.to_freqs, strict=True):
            mask[..., a:b] += estimate(vector)
        return mask.div_(self.owners)

    def _layer(self, vectors: Sequence[Tensor], first: int) -> Tensor:
        parts, end = [], 0
        for k in range(first, len(self.slices), 2):
            start, stop = self.slices[k]
            parts += [vectors[0].new_zeros(*vectors[0].shape[:-1], start - end), self.to_freqs[k](vectors[k])]
            end = stop
        return torch.cat([*parts, vectors[0].new_zeros(*vectors[0].shape[:-1], self.slices[-1][1] - end)], dim=-1)


def _mlp(dim: int, hidden: int, depth: int, out: int) -> nn.Sequential:
    widths = [dim] + [hidden] * depth
    inner = [layer for a, b in pairwise(widths) for layer in (Linear(a, b, activation="tanh"), nn.Identity())]
    return nn.Sequential(*inner, nn.Linear(widths[-1], out))  # of another width in every band, as in BandSplit


class RotaryEmbedding(nn.Module):
    """Rotary positions of adjacent channel pairs. Checkpoints carry its constant frequencies once per layer."""

    freqs: Tensor

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.register_buffer("freqs", rotary_frequencies(head_dim))

    def forward(
        self, x: Float[Tensor, "*batch length heads head_dim"]
    ) -> Float[Tensor, "*batch length heads head_dim"]:
        """Turn queries or keys by their position."""
        return rotate(x, pairing="adjacent")


class Attention(nn.Module):
    """Softmax attention with rotary positions and a sigmoid gate per head, taken from the normalised input."""

    def __init__(self, dim: int, heads: int, head_dim: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.rotary_embed = RotaryEmbedding(head_dim)
        self.norm = RMSNorm(dim)
        self.to_qkv = Linear(dim, 3 * heads * head_dim, bias=False)
        self.to_gates = Linear(dim, heads)
        self.to_out = nn.Sequential(Linear(heads * head_dim, dim, bias=False), nn.Dropout(dropout))

    def forward(self, x: Float[Tensor, "batch length dim"]) -> Float[Tensor, "batch length dim"]:
        """Attend along the second axis."""
        x = self.norm(x)
        qk, v = self.to_qkv(x).unflatten(-1, (3 * self.heads, -1)).split((2 * self.heads, self.heads), dim=-2)
        q, k = self.rotary_embed(qk).chunk(2, dim=-2)
        q, k, v = (part.transpose(-2, -3) for part in (q, k, v))
        out = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)
        out = out.transpose(-2, -3) * self.to_gates(x).sigmoid().unsqueeze(-1)
        return self.to_out(out.flatten(-2))


class FeatureAttention(nn.Module):
    """Attention between the channels of a head, linear in the length (arXiv 2106.09681).

    ``softmax(8 exp(tau) q k^T) v`` over a ``head_dim x head_dim`` matrix, q and k normalised along the length.
    """

    def __init__(self, dim: int, heads: int, head_dim: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.norm = RMSNorm(dim)
        self.to_qkv = nn.Sequential(Linear(dim, 3 * heads * head_dim, bias=False))
        self.temperature = nn.Parameter(torch.zeros(heads, 1, 1))
        self.to_out = nn.Sequential(nn.Identity(), Linear(heads * head_dim, dim, bias=False))

    def forward(self, x: Float[Tensor, "batch length dim"]) -> Float[Tensor, "batch length dim"]:
        """Mix the channels of the whole sequence."""
        qkv = self.to_qkv(self.norm(x)).transpose(-1, -2)
        q, k, v = qkv.unflatten(-2, (3 * self.heads, -1)).chunk(3, dim=-3)
        q = F.normalize(q, dim=-1) * self.temperature.exp()
        out = F.scaled_dot_product_attention(
            q, F.normalize(k, dim=-1), v, scale=8.0, dropout_p=self.dropout if self.training else 0.0
        )
        return self.to_out(out.flatten(-3, -2).transpose(-1, -2))


class FeedForward(nn.Module):
    """``W_2 gelu(W_1 RMSNorm(x) + b_1) + b_2``, four times as wide inside."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.net = nn.Sequential(
            RMSNorm(dim),
            Linear(dim, 4 * dim, activation="gelu"),
            nn.Identity(),
            nn.Dropout(dropout),
            Linear(4 * dim, dim),
            nn.Dropout(dropout),
        )

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Apply to each vector."""
        return self.net(x)


class Transformer(nn.Module):
    """Layers of ``x += Attention(x); x += FeedForward(x)``, ending in a normalisation.

    Arguments:
        depth: Number of layers.
        dim: Width of the vectors.
        heads: Attention heads.
        head_dim: Width of a head.
        dropout: While training.
        attention: The kind of attention.
    """

    def __init__(
        self, depth: int, dim: int, heads: int, head_dim: int, dropout: float, attention: type[nn.Module] = Attention
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList([attention(dim, heads, head_dim, dropout), FeedForward(dim, dropout)]) for _ in range(depth)
        )
        self.norm = RMSNorm(dim)

    def forward(self, x: Float[Tensor, "batch sequences length dim"]) -> Float[Tensor, "batch sequences length dim"]:
        """Attend within each sequence. Without gradients the result is written over `x`."""
        if torch.is_grad_enabled():
            return self._forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        tokens = _TOKENS_AT_ONCE.get(x.device.type, x.numel())
        for part in x.split(max(1, tokens // (x.shape[0] * x.shape[2])), dim=1):
            part.copy_(self._forward(part.flatten(0, 1)).unflatten(0, part.shape[:2]))
        return x

    def _forward(self, x: Tensor) -> Tensor:
        for attend, feed_forward in cast("Iterable[tuple[nn.Module, nn.Module]]", self.layers):
            x = x + attend(x)
            x = x + feed_forward(x)
        return self.norm(x)
