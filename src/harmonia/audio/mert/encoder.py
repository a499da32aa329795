"""The transformer over frames: a convolution that tells positions, then layers with the norm after or before."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.audio.mert.config import MERTConfig
from harmonia.parts.attention import attend
from harmonia.parts.linear import Linear


class WeightNormConv(nn.Module):
    """A grouped convolution with weight ``g v / |v|``, the norm taken over all but the last axis (arXiv 1602.07868)."""

    def __init__(self, dim: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight_v = nn.Parameter(torch.empty(dim, dim // groups, kernel))
        nn.init.normal_(self.weight_v, std=math.sqrt(4 / (kernel * dim)))
        self.weight_g = nn.Parameter(self._norm().detach().clone())
        self.bias = nn.Parameter(torch.zeros(dim))

    def _norm(self) -> Tensor:
        return self.weight_v.square().sum((0, 1), keepdim=True).sqrt()

    def forward(self, x: Float[Tensor, "batch dim frames"]) -> Float[Tensor, "batch dim frames"]:
        """As many frames as went in: an even kernel gives one more, which is dropped."""
        weight = self.weight_v * (self.weight_g / self._norm())
        out = F.conv1d(x, weight, self.bias, padding=weight.shape[-1] // 2, groups=self.groups)
        return out[..., : x.shape[-1]]


class PositionalConv(nn.Module):
    """``GELU(conv(x))``, what is added to frames so that they know their neighbourhood."""

    def __init__(self, config: MERTConfig) -> None:
        super().__init__()
        self.conv = WeightNormConv(config.dim, config.pos_kernel, config.pos_groups)

    def forward(self, x: Float[Tensor, "batch frames dim"]) -> Float[Tensor, "batch frames dim"]:
        return F.gelu(self.conv(x.transpose(1, 2))).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention."""

    def __init__(self, config: MERTConfig) -> None:
        super().__init__()
        self.heads, self.dropout, self.relax = config.heads, config.dropout, config.attention_relax
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (Linear(config.dim, config.dim) for _ in range(4))

    def forward(
        self, x: Float[Tensor, "batch frames dim"], keys: Bool[Tensor, "batch frames"] | None = None
    ) -> Float[Tensor, "batch frames dim"]:
        """Every frame as a mean of the values of all `keys`."""
        q, k, v = (
            projection(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        mask = None if keys is None else keys[:, None, None]
        dropout = self.dropout if self.training else 0.0
        if self.relax and self.training and q.dtype == torch.float16:
            mixed = relaxed_attention(q, k, v, self.relax, mask=mask, dropout=dropout)
        elif self.training and q.device.type == "cpu" and q.dtype == torch.bfloat16:
            mixed = plain_attention(q, k, v, mask, dropout)
        else:
            mixed = attend(q, k, v, mask, dropout)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


def plain_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    """``softmax(q k^T / sqrt(width)) v`` as two products, whose gradients cost a processor half of the fused ones."""
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    return F.dropout(torch.softmax(logits, -1), dropout) @ v


def relaxed_attention(
    q: Float[Tensor, "*batch queries width"],
    k: Float[Tensor, "*batch keys width"],
    v: Float[Tensor, "*batch keys values"],
    relax: float,
    *,
    mask: Bool[Tensor, "*#batch #queries keys"] | None = None,
    dropout: float = 0.0,
    compat: bool = False,
) -> Float[Tensor, "*batch queries values"]:
    """Attention whose logits stay within half precision: ``softmax(c (A / c - max A / c))``, equal to ``softmax(A)``.

    Queries are divided by c before the product with the keys, so that c times larger logits fit.

    Arguments:
        q, k, v: Queries, keys and values.
        relax: The number c, 32 in the 330M model.
        mask: Keys that count.
        dropout: Of the weights.
        compat: Divide after the product, as the official training code does: by then the logits have overflown.

    Example:
        >>> q = k = torch.full((1, 2, 4), 300.0, dtype=torch.float16)
        >>> v = torch.ones(1, 2, 4, dtype=torch.float16)
        >>> relaxed_attention(q, k, v, 32.0)[0, 0], relaxed_attention(q, k, v, 32.0, compat=True)[0, 0, 0]
        (tensor([1., 1., 1., 1.], dtype=torch.float16), tensor(nan, dtype=torch.float16))
    """
    scale = 1.0 if compat else 1.0 / relax
    logits = (q * (q.shape[-1] ** -0.5 * scale)) @ k.transpose(-1, -2)
    if compat:
        logits = logits / relax
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    logits = (logits - logits.detach().amax(-1, keepdim=True)) * relax
    weights = F.dropout(torch.softmax(logits.float(), -1).to(v.dtype), dropout)
    return weights @ v


class FeedForward(nn.Module):
    """``W_2 GELU(W_1 x)``."""

    def __init__(self, config: MERTConfig) -> None:
        super().__init__()
        self.intermediate_dense = Linear(config.dim, config.feed_forward, activation="gelu")
        self.output_dense = Linear(config.feed_forward, config.dim)
        self.dropout = config.dropout

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return self.output_dense(F.dropout(self.intermediate_dense(x), self.dropout, self.training))


class Layer(nn.Module):
    """Attention and feed-forward part with residual sums: ``LN(a x + f(x))`` (post) or ``x + f(LN x)`` (pre)."""

    def __init__(self, config: MERTConfig) -> None:
        super().__init__()
        self.pre = config.norm == "pre"
        self.residual = (2.0 * config.layers) ** 0.25 if config.deepnorm else 1.0
        self.attention = Attention(config)
        self.layer_norm = nn.LayerNorm(config.dim)
        self.feed_forward = FeedForward(config)
        self.final_layer_norm = nn.LayerNorm(config.dim)
        self.dropout = config.dropout

    def forward(
        self, x: Float[Tensor, "batch frames dim"], keys: Bool[Tensor, "batch frames"] | None = None
    ) -> Float[Tensor, "batch frames dim"]:
        if self.pre:
            x = x + self._drop(self.attention(self.layer_norm(x), keys))
            return x + self._drop(self.feed_forward(self.final_layer_norm(x)))
        x = self.layer_norm(self.residual * x + self._drop(self.attention(x, keys)))
        return self.final_layer_norm(self.residual * x + self._drop(self.feed_forward(x)))

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


class Encoder(nn.Module):
    """Positions, then the layers."""

    def __init__(self, config: MERTConfig) -> None:
        super().__init__()
        self.config = config
        self.pos_conv_embed = PositionalConv(config)
        self.layer_norm = nn.LayerNorm(config.dim)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        for linear in (module for module in self.modules() if isinstance(module, nn.Linear)):
            nn.init.normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
        if config.deepnorm:
            for name, parameter in self.named_parameters():
                if any(part in name for part in ("_dense", "out_proj", "v_proj")):
                    parameter.data /= (8.0 * config.layers) ** 0.25

    def forward(
        self, x: Float[Tensor, "batch frames dim"], keys: Bool[Tensor, "batch frames"] | None, last: int, normed: bool
    ) -> Iterator[Tensor]:
        """The hidden states from 0 (what the first layer gets) to `last`, one after another.

        With ``norm="pre"`` the very last has passed the final norm if `normed`.
        """
        if keys is not None:
            x = x * keys[..., None]
        x = x + self.pos_conv_embed(x)
        if self.config.norm == "post":
            x = self.layer_norm(x)
        x = F.dropout(x, self.config.dropout, self.training)
        yield x
        for number, layer in enumerate(self.layers[:last], start=1):
            if not (self.training and float(torch.rand(())) < self.config.layer_drop):
                x = layer(x, keys)
            final = normed and self.config.norm == "pre" and number == self.config.layers
            yield self.layer_norm(x) if final else x
