"""ReGENN: graph evolution around a recurrent core (arXiv 2008.12833, Sec. 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from huggingface_hub import PyTorchModelHubMixin
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.core.configuration import config_of
from harmonia.core.errors import InputError
from harmonia.sequences.regenn.graph import GraphSoftEvolution

Recurrence = Literal["lstm", "gru", "rnn"]
Attend = Literal["variables", "samples"]
Output = Literal["identity", "relu", "softplus"]
WhichGraph = Literal["cooccurrence", "source", "target"]

_RECURRENT: dict[str, type[nn.LSTM | nn.GRU | nn.RNN]] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
_OUTPUTS = {"identity": nn.Identity, "relu": nn.ReLU, "softplus": nn.Softplus}


@dataclass(frozen=True)
class ReGENNConfig:
    """Shape of a `ReGENN`.

    Attributes:
        window: Steps of the past, w; at least 2.
        stride: Steps to predict, s.
        n_variables: Variables V; at least 2.
        gate: Recurrent layer that turns window into stride: ``lstm``, ``gru`` or ``rnn``.
        sequencer: Recurrent layer along the predicted steps; None for none.
        bidirectional: Both run both ways, and the two outputs are added.
        bidirectional_sequencer: For the sequencer, where it differs from the gate.
        encoder: Whether there is attention.
        autoregression: Whether a linear map of the window is added.
        own_maps: Every variable has a linear map of its own; the paper's is one for all.
        graph: Whether there are graphs; without them it is the paper's ablation.
        bias: Whether biases of the graphs, the recurrent layers and the linear map are trained.
        attend: ``variables``: attention among the variables of a sample. ``samples``, as the release computes it:
            among the samples of a batch for each variable, so that predictions depend on which share a batch.
        feedforward: Units of the encoder's network.
        dropout: Probability.
        activation: After the first graph, see `GraphSoftEvolution`.
        output: Last activation; the release's is ``relu``, which suits no scaled data.
        target_graph: What the second graph evolves from outside of training: ``current``, the first one's hidden
            graph, or, as the release does, the ``stored`` one, which the last step of training left one update old.
    """

    window: int
    stride: int
    n_variables: int
    gate: Recurrence = "lstm"
    sequencer: Recurrence | None = "lstm"
    bidirectional: bool = True
    bidirectional_sequencer: bool | None = None
    encoder: bool = True
    autoregression: bool = True
    own_maps: bool = False
    graph: bool = True
    bias: bool = True
    attend: Attend = "variables"
    feedforward: int = 2048
    dropout: float = 0.1
    activation: str | None = None
    output: Output = "identity"
    target_graph: Literal["current", "stored"] = "current"

    @classmethod
    def of(cls, config: ReGENNConfig | Mapping[str, Any]) -> ReGENNConfig:
        """A config from itself or from its fields; see `config_of`."""
        return config_of(cls, config)

    def __post_init__(self) -> None:
        if self.window < 2 or self.stride < 1:
            got = f"window={self.window}, stride={self.stride}"
            raise InputError("a window has two steps at least, a forecast one", got, "Pass such lengths.")
        if self.graph and self.n_variables < 2:
            mend = "Pass more variables, or use an autoregression such as RidgeAR."
            raise InputError("a graph between variables needs two of them", self.n_variables, mend)
        choices = (
            (self.gate, Recurrence),
            (self.sequencer or "lstm", Recurrence),
            (self.attend, Attend),
            (self.output, Output),
            (self.target_graph, Literal["current", "stored"]),
        )
        for value, allowed in choices:
            if value not in get_args(allowed):
                raise InputError("the network has no such choice", f"'{value}'", f"Use {', '.join(get_args(allowed))}.")


class Autoregression(nn.Module):
    """A linear map from window to stride: ``y[s, d, v] = sum_t W[t, d] x[s, t, v] + b[d]``.

    Arguments:
        window: Steps of the input.
        stride: Steps of the output.
        bias: Whether b is trained.
        n_variables: With it every variable has a map of its own, ``W[v, t, d]`` and ``b[d, v]``.
    """

    def __init__(self, window: int, stride: int, bias: bool = True, n_variables: int | None = None) -> None:
        super().__init__()
        weights = nn.init.xavier_uniform_(torch.empty(window, stride))
        self.weights = nn.Parameter(weights if n_variables is None else weights.repeat(n_variables, 1, 1))
        self.bias = nn.Parameter(torch.zeros(stride, n_variables or 1), requires_grad=bias)
        self._map = "td,sta->sda" if n_variables is None else "atd,sta->sda"

    def forward(self, x: Float[Tensor, "samples window v"]) -> Float[Tensor, "samples stride v"]:
        """The prediction."""
        return torch.einsum(self._map, self.weights, x) + self.bias


class ReGENN(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="harmonia",
    tags=["time-series-forecasting", "graph-neural-network"],
    paper_url="https://arxiv.org/abs/2008.12833",
):
    """Forecast all variables of a sample from their window, along graphs that are learned.

    1. a graph between variables, evolved, through which the window is sent;
    2. a Transformer layer over ``[samples, variables]``, every variable's window one token;
    3. the time gate: a recurrent layer along the variables that turns window into stride;
    4. the variable sequencer: a recurrent layer along the predicted steps, with a residual;
    5. a second graph, evolved from the first one's hidden graph;
    6. a linear map of the window, added.

    Reference: Spadon et al., Pay Attention to Evolution, 2022, https://arxiv.org/abs/2008.12833, Sec. 4.

    Arguments:
        config: A `ReGENNConfig`, or a mapping of its fields.
        fields: Its fields by name, where there is no `config`.

    Example:
        >>> network = ReGENN(window=7, stride=14, n_variables=3).eval()
        >>> network(torch.randn(188, 7, 3)).shape
        torch.Size([188, 14, 3])
        >>> network.graph("source").shape
        torch.Size([3, 3])
    """

    def __init__(self, config: ReGENNConfig | Mapping[str, Any] | None = None, **fields: Any) -> None:
        super().__init__()
        c = self.config = ReGENNConfig.of(fields if config is None else config)
        ways = c.bidirectional if c.bidirectional_sequencer is None else c.bidirectional_sequencer
        recurrent = {"batch_first": True, "bias": c.bias}
        self.source = (
            GraphSoftEvolution(c.n_variables, c.window, c.window, c.activation, c.dropout, c.bias) if c.graph else None
        )
        self.encoder = (
            nn.TransformerEncoderLayer(c.window, 1, c.feedforward, c.dropout, batch_first=c.attend == "variables")
            if c.encoder
            else None
        )
        self.gate = _RECURRENT[c.gate](c.window, c.stride, bidirectional=c.bidirectional, **recurrent)
        self.sequencer = (
            _RECURRENT[c.sequencer](c.n_variables, c.n_variables, bidirectional=ways, **recurrent)
            if c.sequencer
            else None
        )
        self.target = GraphSoftEvolution(c.n_variables, c.stride, bias=c.bias) if c.graph else None
        own = c.n_variables if c.own_maps else None
        self.autoregression = Autoregression(c.window, c.stride, c.bias, own) if c.autoregression else None
        self.dropout = nn.Dropout(c.dropout)
        self.output = _OUTPUTS[c.output]()

    def forward(self, x: Float[Tensor, "samples window v"]) -> Float[Tensor, "samples stride v"]:
        """Predict from windows; with ``attend="samples"`` the samples are one batch that meets.

        Raises:
            InputError: windows of another shape.
        """
        if x.shape[1:] != (self.config.window, self.config.n_variables):
            wanted = f"[samples, {self.config.window}, {self.config.n_variables}]"
            raise InputError(f"windows have the shape {wanted}", tuple(x.shape), "Pass such windows.")
        values = x
        if self.source is not None:
            values, hidden = self.source(x)
        tokens = values.mT if self.encoder is None else self.encoder(values.mT)
        gated = self.dropout(_added(self.gate, tokens).mT)
        if self.sequencer is not None:
            gated = self.dropout(_added(self.sequencer, gated)) + gated
        if self.target is not None:
            gated, _ = self.target(gated, self._target_start(hidden))
        if self.autoregression is not None:
            gated = gated + self.autoregression(x)
        predicted: Tensor = self.output(gated)
        return predicted

    def _target_start(self, hidden: Tensor) -> Tensor:
        """The graph that the second layer evolves."""
        assert self.target is not None
        if self.config.target_graph == "current":
            return hidden
        if self.training:
            self.target.adjacency.copy_(hidden)
        return self.target.adjacency

    @torch.no_grad()
    def graph(self, which: WhichGraph) -> Float[Tensor, "v v"]:
        """A graph between variables: row a holds what a takes from each variable.

        Arguments:
            which: ``cooccurrence``: the graph that all begins with. ``source``: what it was evolved to, along which
                windows are sent. ``target``: the same for predictions.

        Raises:
            InputError: a network without graphs, another name.
        """
        if self.source is None or self.target is None:
            raise InputError("this network has no graphs", "graph=False", "Make one with graph=True.")
        match which:
            case "cooccurrence":
                return self.source.adjacency.clone()
            case "source":
                return self.source.weights()
            case "target":
                stored = self.config.target_graph == "stored"
                return self.target.weights(self.target.adjacency if stored else self.source.evolved())
        raise InputError("there is no such graph", f"'{which}'", f"Use {', '.join(get_args(WhichGraph))}.")

    @torch.no_grad()
    def start_linear(self, weights: Float[Tensor, "v window stride"], bias: Float[Tensor, "stride v"]) -> None:
        """Begin as a linear rule: it becomes the autoregression, and the recurrent layers begin silent.

        A recurrent layer whose candidate state is zero gives zeros, and still has a gradient. Where one map serves
        all variables it is that of the first.

        Raises:
            InputError: a network without autoregression.
        """
        if self.autoregression is None:
            raise InputError("this network has no linear map", "autoregression=False", "Make one with it.")
        own = self.config.own_maps
        self.autoregression.weights.copy_(weights if own else weights[0])
        self.autoregression.bias.copy_(bias if own else bias[:, :1])
        for layer in (self.gate, self.sequencer):
            if layer is not None:
                _silence(layer)


def _silence(layer: nn.LSTM | nn.GRU | nn.RNN) -> None:
    """Zero the candidate state: the third of an LSTM's four blocks, the last of a GRU's three, all of a plain one's."""
    blocks, candidate = {"LSTM": (4, 2), "GRU": (3, 2)}.get(layer.mode, (1, 0))
    for parameter in layer.parameters():
        parameter.chunk(blocks)[candidate].zero_()


def _added(layer: nn.LSTM | nn.GRU | nn.RNN, x: Tensor) -> Tensor:
    """Outputs of a recurrent layer, both ways added."""
    found: Tensor = layer(x)[0]
    return found.unflatten(-1, (2, -1)).sum(-2) if layer.bidirectional else found
