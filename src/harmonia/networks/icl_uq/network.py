"""The transformer that learns in context: prompts in, mean and standard deviation of every target out.

Token 2t is x_t and token 2t + 1 is (y_t, 0, ..., 0), both in R^d (Garg et al. 2022); a linear layer reads them in, a
GPT-2 backbone mixes them causally, and a linear layer reads the outputs at the x tokens: ``mu = o_0``,
``sigma = softplus(o_1)``. The prediction of y_t has seen (x_1, y_1), ..., (x_(t-1), y_(t-1)) and x_t.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import torch
from huggingface_hub import PyTorchModelHubMixin
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.core.configuration import config_of
from harmonia.core.errors import InputError
from harmonia.networks.icl_uq.prior import checked_pairs
from harmonia.parts.gpt import GPT, Cache

Tokens = Literal["split", "joint"]
Positions = Literal["none", "learned", "floating"]


@dataclass(frozen=True)
class InContextConfig:
    """Shape of an `InContextTransformer`; the defaults are the paper's network (9.5 million parameters).

    Attributes:
        dim: Inputs d of a task.
        context: Pairs of a prompt in training.
        d_model: Width E.
        n_layers: Blocks.
        n_heads: Attention heads.
        positions: ``none``: only the causal mask tells the order; ``learned``: a table; ``floating``: a table four
            times as long, entered at a random row in every batch of training.
        tokens: ``split``: the paper's; ``joint``: every token is (x, 0, 0) or (x, y, 1). A target's token then carries
            its inputs, attention need not find out which belong together, and small networks learn much sooner.
        n_out: 2 for mean and standard deviation, 1 for means only (the parent project's networks).
        sigma_floor: Added to the softplus, which underflows; the official code adds nothing.
    """

    dim: int = 8
    context: int = 101
    d_model: int = 256
    n_layers: int = 12
    n_heads: int = 8
    positions: Positions = "none"
    tokens: Tokens = "split"
    n_out: int = 2
    sigma_floor: float = 1e-4

    @classmethod
    def of(cls, config: InContextConfig | Mapping[str, Any]) -> InContextConfig:
        """A config from itself or from its fields; see `config_of`."""
        return config_of(cls, config)

    def __post_init__(self) -> None:
        if min(self.dim, self.context, self.d_model, self.n_layers, self.n_heads) < 1 or self.n_out not in (1, 2):
            raise InputError("widths, lengths and layers are counted from 1", self, "Change the configuration.")
        if self.positions not in get_args(Positions):
            raise InputError("there are no such positions", self.positions, "Use none, learned or floating.")
        if self.tokens not in get_args(Tokens):
            raise InputError("there are no such tokens", self.tokens, "Use split or joint.")

    def departures(self, asked: InContextConfig) -> str:
        """Choices of `asked` that are neither this network's nor, being those of `SMALL`, what nobody asked for."""
        names = ("context", "d_model", "n_layers", "n_heads", "positions", "tokens")
        each = ((name, getattr(asked, name), (getattr(self, name), getattr(SMALL, name))) for name in names)
        return ", ".join(f"{name}={value}" for name, value, known in each if value not in known)

    @property
    def width(self) -> int:
        """Numbers a token."""
        return self.dim if self.tokens == "split" else self.dim + 2

    @property
    def rows(self) -> int:
        """Rows of the table of positions."""
        return {"none": 0, "learned": 2 * self.context, "floating": 8 * self.context}[self.positions]


SMALL = InContextConfig(dim=4, context=48, d_model=64, n_layers=3, n_heads=2, tokens="joint")
"""The shape of the embedded network for tables, and of those that are pretrained here unless another is asked for."""


class Predicted(NamedTuple):
    """What the network says of every target; `std` is None where it gives means only."""

    mean: Float[Tensor, "batch length"]
    std: Float[Tensor, "batch length"] | None


class InContextTransformer(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="harmonia",
    tags=["in-context-learning", "tabular-regression"],
    paper_url="https://arxiv.org/abs/2405.15115",
):
    """Mean and standard deviation of every target of a prompt, from the pairs before it (arXiv 2405.15115).

    Prompts are read in the precision of the weights.

    Arguments:
        config: An `InContextConfig`, or a mapping of its fields.

    Raises:
        InputError: prompts of another number of inputs, with values that are not finite, or longer than the table of
            positions.

    Example:
        >>> model = InContextTransformer(InContextConfig(dim=2, context=16, d_model=16, n_layers=2, n_heads=2))
        >>> xs, ys = torch.randn(3, 16, 2), torch.randn(3, 16)
        >>> predicted = model(xs, ys)
        >>> predicted.mean.shape, bool((predicted.std > 0).all())
        (torch.Size([3, 16]), True)
        >>> asked = model.ask(xs[:, :5], ys[:, :5], xs[:, 5:6])     # the sixth target from five pairs
        >>> bool(torch.allclose(asked.mean[:, 0], predicted.mean[:, 5], atol=1e-5))
        True
    """

    def __init__(self, config: InContextConfig | Mapping[str, Any], seed: int = 0) -> None:
        super().__init__()
        self.config = config = InContextConfig.of(config)
        generator = torch.Generator().manual_seed(seed)
        self.read_in = nn.Linear(config.width, config.d_model)
        self.backbone = GPT(config.d_model, layers=config.n_layers, heads=config.n_heads, positions=config.rows)
        self.read_out = nn.Linear(config.d_model, config.n_out)
        if not self.read_in.weight.is_meta:
            self.backbone.initialise(generator)
            for layer in (self.read_in, self.read_out):
                bound = layer.in_features**-0.5  # as nn.Linear starts, but from a generator of its own
                for parameter in layer.parameters():
                    nn.init.uniform_(parameter, -bound, bound, generator=generator)

    def forward(self, xs: Float[Tensor, "batch length dim"], ys: Float[Tensor, "batch length"]) -> Predicted:
        """Every target from the pairs before it."""
        tokens = self._tokens(xs, ys)
        positions = None
        if self.config.positions == "floating":
            start = int(torch.randint(self.config.rows - tokens.shape[1] + 1, ())) if self.training else 0
            positions = start + torch.arange(tokens.shape[1], device=xs.device)[None]
        out, _ = self.backbone(tokens, positions=positions)
        return self._predicted(out[:, ::2])

    def read(
        self, xs: Float[Tensor, "batch length dim"], ys: Float[Tensor, "batch length"], past: Cache | None = None
    ) -> Cache:
        """What the network remembers of pairs; adding pairs to `past` costs their own number only."""
        return self.backbone(self._tokens(xs, ys), past)[1]

    def answer(self, queries: Float[Tensor, "batch queries dim"], past: Cache) -> Predicted:
        """Targets of many queries, each from what was read and not from each other, in one pass."""
        checked_pairs("the queries", queries, queries[..., 0], self.config.dim)
        return self._predicted(self.backbone.ask(self._embedded(self._query(queries)), past))

    def ask(
        self,
        xs: Float[Tensor, "batch length dim"],
        ys: Float[Tensor, "batch length"],
        queries: Float[Tensor, "batch queries dim"],
    ) -> Predicted:
        """Targets of queries from one context: `read`, then `answer`."""
        return self.answer(queries, self.read(xs, ys))

    def _tokens(self, xs: Tensor, ys: Tensor) -> Tensor:
        checked_pairs("the pairs", xs, ys, self.config.dim)
        if self.config.tokens == "joint":
            pairs = torch.cat([xs, ys[..., None], torch.ones_like(ys)[..., None]], -1)
        else:
            pairs = F.pad(ys[..., None], (0, self.config.dim - 1))
        return self._embedded(torch.stack([self._query(xs), pairs], 2).flatten(1, 2))

    def _embedded(self, tokens: Tensor) -> Tensor:
        return self.read_in(tokens.to(self.read_in.weight.dtype))

    def _query(self, xs: Tensor) -> Tensor:
        return F.pad(xs, (0, self.config.width - self.config.dim))

    def _predicted(self, outputs: Tensor) -> Predicted:
        out = self.read_out(outputs)
        std = F.softplus(out[..., 1]) + self.config.sigma_floor if self.config.n_out == 2 else None
        return Predicted(out[..., 0], std)
