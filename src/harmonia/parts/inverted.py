"""The inverted transformer (arXiv 2310.06625): every variable's whole window is one token, attention mixes variables.

InvertedEmbedding    Linear over time: a window becomes one token a variable
SelfAttention        multi-head attention with its four projections; subclasses change how tokens meet
EncoderLayer         attention and a two-layer network, each with a residual, normalised afterwards
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.core.errors import InputError
from harmonia.parts.linear import Linear


class InvertedEmbedding(nn.Module):
    """One token a variable: the same linear map of every variable's window.

    Arguments:
        lookback: Length of the window.
        width: Of the tokens.
        dropout: Share of numbers that are dropped in training.
    """

    def __init__(self, lookback: int, width: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.projection = Linear(lookback, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, window: Float[Tensor, "batch lookback variables"]) -> Float[Tensor, "batch variables width"]:
        """Windows, and whatever else has one number a step (marks of the calendar), to tokens."""
        tokens: Tensor = self.dropout(self.projection(window.mT))
        return tokens


class SelfAttention(nn.Module):
    """Multi-head attention of all tokens to all.

    Arguments:
        width: Of the tokens.
        heads: Heads; they divide the width.
        dropout: Share of attention weights that are dropped in training.

    Raises:
        InputError: heads that do not divide the width.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.1) -> None:
        super().__init__()
        if width % heads:
            raise InputError("heads divide the width", f"{heads} heads, width {width}", "Pass such numbers.")
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value = (Linear(width, width) for _ in range(3))
        self.output = Linear(width, width)

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """What the tokens take from each other."""
        split = (
            projection(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.query, self.key, self.value)
        )
        met: Tensor = self.output(self.meet(*split).transpose(1, 2).flatten(2))
        return met

    def meet(
        self,
        query: Float[Tensor, "batch heads tokens dim"],
        key: Float[Tensor, "batch heads tokens dim"],
        value: Float[Tensor, "batch heads tokens dim"],
    ) -> Float[Tensor, "batch heads tokens dim"]:
        """``softmax(q k' / sqrt(dim)) v``."""
        return self.attend(query, key, value)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """One attention; `mask` says which tokens may be attended to."""
        dropout = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout)


class EncoderLayer(nn.Module):
    """``x = norm(x + attention(x))``, then ``norm(x + W2 gelu(W1 x))``.

    Arguments:
        attention: Any map of tokens to tokens.
        width: Of the tokens.
        hidden: Units between.
        dropout: Share of numbers that are dropped in training.

    Example:
        >>> import torch
        >>> layer = EncoderLayer(SelfAttention(8, heads=2), width=8, hidden=16).eval()
        >>> layer(torch.randn(2, 5, 8)).shape
        torch.Size([2, 5, 8])
    """

    def __init__(self, attention: nn.Module, width: int, hidden: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.attention = attention
        self.expand, self.contract = Linear(width, hidden, activation="gelu"), Linear(hidden, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """Tokens that have met."""
        tokens = self.norm1(tokens + self.dropout(self.attention(tokens)))
        found: Tensor = self.norm2(tokens + self.dropout(self.contract(self.dropout(self.expand(tokens)))))
        return found
