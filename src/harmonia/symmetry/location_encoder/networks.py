r"""Small networks on top of an encoding: SIREN, the residual network of GeoPrior, or one linear layer.

Each splits into its first linear layer and the rest, so that a wide encoding need not be held in memory
(`SphericalHarmonics.project`). Parameters are named as in the official code, whose weights load unchanged.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from harmonia.core.errors import InputError


class Siren(nn.Module):
    r"""Sinusoidal representation network (Sitzmann et al. 2020).

    h_1 = sin(w_0 (W_1 x + b_1)), h_{i+1} = sin(W_{i+1} h_i + b_{i+1}), output W h + b; W_1 starts uniform in
    +-1/inputs, the others in +-sqrt(6 / units), biases in the same bounds.

    Arguments:
        inputs: Number of features of the encoding.
        outputs: Number of outputs.
        hidden: Units of each hidden layer.
        layers: Number of hidden layers.
        w0: Frequency w_0 of the first layer.
        dropout: Share of pre-activations dropped in training.

    Example:
        >>> Siren(100, 1, hidden=64, layers=2)(torch.zeros(3, 100)).shape
        torch.Size([3, 1])
    """

    def __init__(
        self, inputs: int, outputs: int, hidden: int = 64, layers: int = 2, *, w0: float = 30.0, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.w0 = w0
        self.layers = nn.ModuleList(nn.Linear(inputs if i == 0 else hidden, hidden) for i in range(layers))
        self.last_layer = nn.Linear(hidden, outputs)
        self.dropout = nn.Dropout(dropout)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights."""
        for i, layer in enumerate([*self.layers, self.last_layer]):
            inputs = layer.weight.shape[1]
            bound = 1 / inputs if i == 0 else math.sqrt(6 / inputs)
            for parameter in (layer.weight, layer.bias):
                nn.init.uniform_(parameter, -bound, bound, generator=generator)

    @property
    def first(self) -> nn.Linear:
        return self.layers[0]  # type: ignore[return-value]

    def hidden(self, first: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch hidden"]:
        """The last hidden layer, from the output of `first`."""
        h = torch.sin(self.w0 * self.dropout(first))
        for layer in self.layers[1:]:
            h = torch.sin(self.dropout(layer(h)))
        return h

    def head(self, hidden: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch outputs"]:
        """The outputs, from the last hidden layer."""
        return self.last_layer(hidden)

    def forward(self, features: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch outputs"]:
        return self.head(self.hidden(self.first(features)))


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.w1, self.w2 = nn.Linear(width, width), nn.Linear(width, width)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.relu(self.w2(self.dropout(torch.relu(self.w1(x)))))


class FCNet(nn.Module):
    """The network of GeoPrior (Mac Aodha et al. 2019): a layer, four residual blocks, a linear map without bias."""

    def __init__(self, inputs: int, outputs: int, hidden: int = 64) -> None:
        super().__init__()
        self.feats = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), *(_Residual(hidden) for _ in range(4)))
        self.class_emb = nn.Linear(hidden, outputs, bias=False)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                _reset_linear(module, generator)

    @property
    def first(self) -> nn.Linear:
        return self.feats[0]  # type: ignore[return-value]

    def hidden(self, first: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch hidden"]:
        """The last hidden layer, from the output of `first`."""
        return self.feats[1:](first)

    def head(self, hidden: Float[Tensor, "*batch hidden"]) -> Float[Tensor, "*batch outputs"]:
        """The outputs, from the last hidden layer."""
        return self.class_emb(hidden)

    def forward(self, features: Float[Tensor, "*batch features"]) -> Float[Tensor, "*batch outputs"]:
        return self.head(self.hidden(self.first(features)))


class Linear(nn.Linear):
    """One linear layer; with spherical harmonics, a band-limited function on the sphere."""

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw new weights."""
        _reset_linear(self, generator)

    @property
    def first(self) -> nn.Linear:
        return self

    def hidden(self, first: Float[Tensor, "*batch outputs"]) -> Float[Tensor, "*batch outputs"]:
        """The output of `first`: there is no hidden layer."""
        return first

    def head(self, hidden: Float[Tensor, "*batch outputs"]) -> Float[Tensor, "*batch outputs"]:
        """The same again."""
        return hidden


def _reset_linear(layer: nn.Linear, generator: torch.Generator | None) -> None:
    bound = 1 / math.sqrt(layer.in_features)
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    if layer.bias is not None:
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)


Network = Siren | FCNet | Linear
NETWORKS: tuple[str, ...] = ("siren", "fcnet", "linear")


def make_network(
    name: str, inputs: int, outputs: int, *, hidden: int = 64, layers: int = 2, w0: float = 30.0, dropout: float = 0.0
) -> Network:
    """A network by its name.

    Raises:
        InputError: an unknown name, or sizes below one.
    """
    if min(inputs, outputs, hidden, layers) < 1:
        raise InputError(
            "sizes of a network are at least 1", f"outputs={outputs}, hidden={hidden}, layers={layers}", "Enlarge them."
        )
    if name == "siren":
        return Siren(inputs, outputs, hidden, layers, w0=w0, dropout=dropout)
    if name == "fcnet":
        return FCNet(inputs, outputs, hidden)
    if name == "linear":
        return Linear(inputs, outputs)
    raise InputError("there is no such network", f"'{name}'", f"Use one of: {', '.join(NETWORKS)}.")
