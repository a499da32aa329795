"""A GPT-2 backbone: causal attention over embeddings, with a cache, and queries that share one context.

Blocks are ``x += attn(ln_1 x)``, ``x += mlp(ln_2 x)`` with tanh-GELU, and a last normalisation ``ln_f`` (Radford et al.
2019). The names of the parameters are those of `transformers.GPT2Model`, whose four matrices a block lie the other way
round (`from_gpt2` turns them). There is no table of words: what comes in are embeddings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.core.errors import InputError, WeightsError
from harmonia.parts.linear import Linear

_TURNED = re.compile(r"h\.\d+\.(attn\.c_attn|attn\.c_proj|mlp\.c_fc|mlp\.c_proj)\.weight$")
# The embedding of words, and the masks that older releases stored.
_IGNORED = re.compile(r"(wte\.weight|h\.\d+\.attn\.(bias|masked_bias))$")


class KeysValues(NamedTuple):
    """What a layer remembers of the positions so far."""

    keys: Float[Tensor, "batch heads length width"]
    values: Float[Tensor, "batch heads length width"]


Cache = tuple[KeysValues, ...]
"""What all layers remember."""


class GPT(nn.Module):
    """A stack of causal blocks.

    Arguments:
        dim: Width of the embeddings.
        layers: Blocks.
        heads: Attention heads; they divide `dim`.
        positions: Size of the table of learned positions; 0 for none, where only the mask tells the order.

    Raises:
        InputError: an impossible shape; in `forward`, more positions than the table has.

    Example:
        >>> gpt = GPT(8, layers=2, heads=2).initialise(torch.Generator().manual_seed(0))
        >>> x = torch.randn(1, 5, 8)
        >>> whole, _ = gpt(x)
        >>> first, cache = gpt(x[:, :3])
        >>> rest, _ = gpt(x[:, 3:], cache)
        >>> bool(torch.allclose(torch.cat([first, rest], 1), whole, atol=1e-6))
        True
    """

    def __init__(self, dim: int, *, layers: int, heads: int, positions: int = 0) -> None:
        super().__init__()
        if min(dim, layers, heads) < 1 or dim % heads or positions < 0:
            got = f"dim={dim}, layers={layers}, heads={heads}, positions={positions}"
            raise InputError(
                "a transformer's width is a multiple of its heads", got, "Pass for instance dim=64, heads=2."
            )
        self.wpe = nn.Embedding(positions, dim) if positions else None
        self.h = nn.ModuleList(_Block(dim, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(dim)

    def initialise(self, generator: torch.Generator) -> GPT:
        """GPT-2's random start: N(0, 0.02^2), projections into the residual stream divided by ``sqrt(2 layers)``."""
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if parameter.ndim == 2:
                    last = name.endswith("c_proj.weight")
                    std = 0.02 / (2 * len(self.h)) ** 0.5 if last else 0.02
                    parameter.normal_(0.0, std, generator=generator)
                else:
                    parameter.fill_(float(name.endswith(".weight")))
        return self

    def forward(
        self,
        x: Float[Tensor, "batch length dim"],
        past: Cache | None = None,
        positions: Int64[Tensor, "#batch length"] | None = None,
    ) -> tuple[Float[Tensor, "batch length dim"], Cache]:
        """Every position sees itself, those before it, and `past`.

        Arguments:
            x: Embeddings.
            past: The cache of earlier positions.
            positions: Rows of the table of positions; counted on from `past` unless given.

        Returns:
            The normalised outputs, and the cache of all positions so far.
        """
        x = self._placed(x, past, positions)
        cache = []
        for i, block in enumerate(self.h):
            x, kept = block(x, None if past is None else past[i])
            cache.append(kept)
        return self.ln_f(x), tuple(cache)

    def ask(
        self,
        x: Float[Tensor, "batch queries dim"],
        past: Cache,
        positions: Int64[Tensor, "#batch queries"] | None = None,
    ) -> Float[Tensor, "batch queries dim"]:
        """Many next positions at once: each sees itself and `past`, and not the others.

        The same as one `forward` a query, at the cost of one.
        """
        if positions is None and self.wpe is not None:
            positions = torch.full((1, x.shape[1]), past[0].keys.shape[2], device=x.device)
        x = self._placed(x, past, positions)
        for block, kept in zip(self.h, past, strict=True):
            x = block.ask(x, kept)  # type: ignore[operator]
        return self.ln_f(x)

    def _placed(self, x: Tensor, past: Cache | None, positions: Tensor | None) -> Tensor:
        if self.wpe is None:
            return x
        if positions is None:
            start = 0 if past is None else past[0].keys.shape[2]
            positions = torch.arange(start, start + x.shape[1], device=x.device)[None]
        size = self.wpe.num_embeddings
        if positions.numel() and int(positions.max()) >= size:
            got = f"position {int(positions.max())} of {size}"
            raise InputError("the sequence is longer than the table of positions", got, "Shorten it.")
        return x + self.wpe(positions)


class _Block(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attn = _Attention(dim, heads)
        self.mlp = _MLP(dim)

    def forward(self, x: Tensor, past: KeysValues | None) -> tuple[Tensor, KeysValues]:
        seen, kept = self.attn(self.ln_1(x), past)
        x = x + seen
        return x + self.mlp(self.ln_2(x)), kept

    def ask(self, x: Tensor, past: KeysValues) -> Tensor:
        x = x + self.attn.ask(self.ln_1(x), past)
        return x + self.mlp(self.ln_2(x))


class _Attention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.c_attn = Linear(dim, 3 * dim)
        self.c_proj = Linear(dim, dim)

    def forward(self, x: Tensor, past: KeysValues | None) -> tuple[Tensor, KeysValues]:
        q, k, v = self._split(x)
        if past is not None:
            k, v = torch.cat([past.keys, k], 2), torch.cat([past.values, v], 2)
        new, old = q.shape[2], k.shape[2] - q.shape[2]
        mask = torch.ones(new, new + old, dtype=torch.bool, device=x.device).tril(old) if old and new > 1 else None
        out = F.scaled_dot_product_attention(q, k, v, mask, is_causal=not old)
        return self.c_proj(out.transpose(1, 2).flatten(2)), KeysValues(k, v)

    def ask(self, x: Tensor, past: KeysValues) -> Tensor:
        q, k, v = self._split(x)
        q = q * q.shape[-1] ** -0.5
        logits = torch.cat([q @ past.keys.mT, (q * k).sum(-1, keepdim=True)], -1)
        weights = logits.softmax(-1)
        out = weights[..., :-1] @ past.values + weights[..., -1:] * v
        return self.c_proj(out.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.c_attn(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)


class _MLP(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.c_fc, self.c_proj = Linear(dim, 4 * dim), Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


def from_gpt2(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a `GPT` from those of `transformers.GPT2Model`, of any release.

    Words' embeddings and stored masks are left out; everything else must fit when it is loaded.

    Raises:
        WeightsError: a matrix with another number of axes.
    """
    kept = {key: value for key, value in state.items() if not _IGNORED.search(key)}
    for key, value in kept.items():
        if _TURNED.search(key):
            if value.ndim != 2:
                raise WeightsError(f"'{key}' is no matrix", tuple(value.shape), "Pass the weights of a GPT2Model.")
            kept[key] = value.T
    return kept
