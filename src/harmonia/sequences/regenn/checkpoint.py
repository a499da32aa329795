"""Weights of the official code, loaded strictly: snapshots that its training writes. There are no released weights.

A snapshot is a pickle with the weights under ``model_dict``, beside arguments and optimizer. What shapes tell is read
from them; the activations, which none tells, are given by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from harmonia.core.errors import WeightsError
from harmonia.core.weights import load_strictly, read_state_dict
from harmonia.sequences.regenn.network import ReGENN, ReGENNConfig

_MODULES = {
    "SourceEvolution": "source",
    "TimeEncoder": "encoder",
    "TimeGate": "gate",
    "VariableSequencer": "sequencer",
    "TargetEvolution": "target",
    "Autoregression": "autoregression",
}
_UNUSED = (
    "SourceEvolution.shared_adjacency",
    "TargetEvolution.shared_adjacency",
    "TargetEvolution.time_weights",
    "TargetEvolution.time_bias",
)
"""What the release stores and does not use in predictions."""


def load_checkpoint(
    source: str | Path | Mapping[str, Tensor],
    *,
    n_variables: int | None = None,
    activation: str | None = None,
    output: Any = "relu",
    trust_pickle: bool = False,
) -> ReGENN:
    """A `ReGENN` from weights of the official code; every key must be known and every shape fit.

    It computes what the release computes: attention over the samples of a batch, and a second graph that evolves from
    the stored one.

    Arguments:
        source: A file, or a state dict.
        n_variables: Needed only where no shape tells: without graphs and sequencer.
        activation: Name of the activation after the first graph, the release's ``evolution-function``.
        output: Last activation: the release's default is ``relu``.
        trust_pickle: Read a snapshot that holds more than tensors; such a file can run any program.

    Raises:
        WeightsError: weights of another network, missing or unknown keys.
    """
    state = dict(source) if isinstance(source, Mapping) else read_state_dict(source, trust_pickle=trust_pickle)
    config = _config(state, n_variables, activation, output)
    ours = {}
    for key, value in state.items():
        module, _, rest = key.partition(".")
        if module not in _MODULES:
            raise WeightsError(f"the official network has no '{key}'", f"{len(state)} keys", "Pass a snapshot of it.")
        if key not in _UNUSED:
            ours[f"{_MODULES[module]}.{rest}"] = value
    network = ReGENN(config)
    load_strictly(network, ours)
    return network.eval()


def _config(state: Mapping[str, Tensor], n_variables: int | None, activation: str | None, output: Any) -> ReGENNConfig:
    """What the shapes tell."""

    def rows(key: str) -> int | None:
        return state[key].shape[0] if key in state else None

    gate = state.get("TimeGate.weight_hh_l0")
    variables = rows("SourceEvolution.cosine_weights") or n_variables
    sequencer = state.get("VariableSequencer.weight_hh_l0")
    if sequencer is not None:
        variables = sequencer.shape[1]
    if gate is None or variables is None:
        got = "no TimeGate" if gate is None else "neither graphs nor sequencer, whose shapes would tell the variables"
        raise WeightsError("these are no weights of ReGENN", got, "Pass a snapshot, and n_variables where it is asked.")
    return ReGENNConfig(
        window=state["TimeGate.weight_ih_l0"].shape[1],
        stride=gate.shape[1],
        n_variables=variables,
        gate=_kind(gate),
        sequencer=None if sequencer is None else _kind(sequencer),
        bidirectional="TimeGate.weight_hh_l0_reverse" in state,
        bidirectional_sequencer="VariableSequencer.weight_hh_l0_reverse" in state,
        encoder="TimeEncoder.linear1.weight" in state,
        autoregression="Autoregression.weights" in state,
        graph="SourceEvolution.cosine_weights" in state,
        bias="TimeGate.bias_ih_l0" in state,
        attend="samples",
        feedforward=rows("TimeEncoder.linear1.weight") or 2048,
        activation=activation,
        output=output,
        target_graph="stored",
    )


def _kind(hidden: Tensor) -> Any:
    """Which recurrent layer has such weights: four, three or one matrix stacked."""
    return {4: "lstm", 3: "gru", 1: "rnn"}.get(hidden.shape[0] // hidden.shape[1], "rnn")
