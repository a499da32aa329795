"""The graph between variables: how often they occur together, and the layer that evolves it (arXiv 2008.12833, Sec. 3).

cooccurrence          A: the mass of one variable where another is there; no gradient, computed once
cosine_similarity     S: how alike two rows of the evolved graph are
GraphSoftEvolution    H = A W_A + b_A,  G = S(H) * W_C + b_C,  O = x G'
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from harmonia.core.errors import InputError

ACTIVATIONS = (
    "CELU", "ELU", "GELU", "Hardshrink", "Hardtanh", "Identity", "LeakyReLU", "LogSigmoid", "PReLU", "ReLU", "ReLU6",
    "RReLU", "SELU", "Sigmoid", "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink",
)  # fmt: skip
"""Activations that the layer takes, by their names in ``torch.nn``; the release's own list without one torch lacks."""


def cooccurrence(
    values: Float[Tensor, "samples time variables"],
    present: Bool[Tensor, "samples time variables"] | None = None,
    *,
    block: int | None = None,
) -> Float[Tensor, "variables variables"]:
    """``A[b, c]``: the mass of variable b over all samples and times at which variable c is present.

    A variable's tie to itself is what its own mass has beyond that of its ties to others,
    ``max(2 A[b, b] - sum_c A[b, c], 0)``: zero unless it is often alone.

    Arguments:
        values: The panel; what is absent does not count.
        present: Which values are there; those above zero unless given.
        block: Samples whose graphs are computed by themselves and added, as the release does with 32; all at once
            unless given. It matters for ties to oneself only.

    Example:
        >>> together = torch.tensor([[[1.0, 2.0], [3.0, 0.0]]])
        >>> cooccurrence(together)
        tensor([[3., 1.],
                [2., 0.]])
    """
    there = values > 0 if present is None else present
    total = values.new_zeros(values.shape[-1], values.shape[-1])
    for mass, mask in zip(values.split(block or len(values)), there.split(block or len(values))):
        graph = torch.einsum("ztb,ztc->bc", mass.where(mask, 0), mask.to(mass.dtype))
        alone = (2 * graph.diagonal() - graph.sum(1)).clamp(min=0)
        total += graph - graph.diagonal().diag() + alone.diag()
    return total


def cosine_similarity(rows: Float[Tensor, "variables features"]) -> Float[Tensor, "variables variables"]:
    """``S[a, b]``: the cosine of the angle between rows a and b; 0 for a row of zeros."""
    unit = F.normalize(rows, dim=1, eps=1e-12)
    return unit @ unit.T


class GraphSoftEvolution(nn.Module):
    """Transform a graph between variables, and send values along it.

    ``H = A W_A + b_A``, ``G = cos(H, H) * W_C + b_C`` elementwise, ``O[s, t, a] = sum_b G[a, b] x[s, t, b]``; then
    dropout, an activation and, where there is an `out_time`, ``O'[s, d, a] = sum_t W_T[t, d] O[s, t, a] + b_T[d]``.

    Reference: Spadon et al., Pay Attention to Evolution, 2022, https://arxiv.org/abs/2008.12833, Sec. 3.

    Arguments:
        n_variables: Variables V, at least two.
        in_time: Steps of the input.
        out_time: Steps of the output; the steps are kept as they are unless given.
        activation: Name of an activation of ``torch.nn``, one of `ACTIVATIONS`; with ``SELU`` dropout keeps its mean
            and variance.
        dropout: Probability.
        bias: Whether the three biases are trained; otherwise they stay zero.

    Attributes:
        adjacency: The graph A that the layer begins with, unless another one is passed; until it is set, all
            variables occur together.

    Raises:
        InputError: a single variable, an unknown activation.

    Example:
        >>> layer = GraphSoftEvolution(3, in_time=5, out_time=2)
        >>> values, evolved = layer(torch.randn(4, 5, 3))
        >>> values.shape, evolved.shape
        (torch.Size([4, 2, 3]), torch.Size([3, 3]))
    """

    adjacency: Tensor

    def __init__(
        self,
        n_variables: int,
        in_time: int,
        out_time: int | None = None,
        activation: str | None = None,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if n_variables < 2:
            mend = "Pass more variables, or use an autoregression such as RidgeAR."
            raise InputError("a graph between variables needs two of them", n_variables, mend)
        if activation not in (None, *ACTIVATIONS):
            raise InputError("there is no such activation", f"'{activation}'", f"Use {', '.join(ACTIVATIONS)}.")
        self.adjacency_weights = nn.Parameter(nn.init.xavier_uniform_(torch.empty(n_variables, n_variables)))
        self.adjacency_bias = nn.Parameter(torch.zeros(n_variables, 1), requires_grad=bias)
        self.cosine_weights = nn.Parameter(nn.init.xavier_uniform_(torch.empty(n_variables, n_variables)))
        self.cosine_bias = nn.Parameter(torch.zeros(n_variables, n_variables), requires_grad=bias)
        if out_time is not None:
            self.time_weights = nn.Parameter(nn.init.xavier_uniform_(torch.empty(in_time, out_time)))
            self.time_bias = nn.Parameter(torch.zeros(out_time, 1), requires_grad=bias)
        self.maps_time = out_time is not None
        self.register_buffer("adjacency", 1 - torch.eye(n_variables))
        self.dropout = (nn.AlphaDropout if activation == "SELU" else nn.Dropout)(dropout)
        self.activation: nn.Module = getattr(nn, activation or "Identity")()

    def evolved(self, adjacency: Float[Tensor, "v v"] | None = None) -> Float[Tensor, "v v"]:
        """The hidden graph H."""
        graph = self.adjacency if adjacency is None else adjacency
        return torch.addmm(self.adjacency_bias, graph, self.adjacency_weights)

    def weights(self, adjacency: Float[Tensor, "v v"] | None = None) -> Float[Tensor, "v v"]:
        """The graph G along which values are sent: row a holds what a takes from each variable."""
        return cosine_similarity(self.evolved(adjacency)) * self.cosine_weights + self.cosine_bias

    def forward(
        self, x: Float[Tensor, "samples time v"], adjacency: Float[Tensor, "v v"] | None = None
    ) -> tuple[Float[Tensor, "samples out v"], Float[Tensor, "v v"]]:
        """Values sent along the graph, and the hidden graph H without gradient, for a later layer to begin with."""
        hidden = self.evolved(adjacency)
        graph = cosine_similarity(hidden) * self.cosine_weights + self.cosine_bias
        sent: Tensor = self.activation(self.dropout(x @ graph.T))
        if self.maps_time:
            sent = torch.einsum("td,sta->sda", self.time_weights, sent) + self.time_bias
        return sent, hidden.detach()
