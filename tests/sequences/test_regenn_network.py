"""Graphs by hand and by brute force, the network against its parts, and weights in the official layout."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from harmonia.core.errors import InputError, WeightsError
from harmonia.sequences.regenn import GraphSoftEvolution, ReGENN, ReGENNConfig, cooccurrence, load_checkpoint
from harmonia.sequences.regenn.graph import cosine_similarity


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def by_loops(values, present):
    """The definition, one number at a time."""
    variables = values.shape[2]
    graph = np.zeros((variables, variables))
    for sample, time, b, c in np.ndindex(*values.shape, variables):
        if present[sample, time, c] and present[sample, time, b]:
            graph[b, c] += values[sample, time, b]
    alone = np.maximum(2 * np.diag(graph) - graph.sum(1), 0)
    np.fill_diagonal(graph, alone)
    return graph


class TestGraph:
    @given(st.integers(1, 5), st.integers(1, 4), st.integers(2, 4), st.integers(0, 99))
    @settings(max_examples=25, deadline=None)
    def test_cooccurrence_is_its_definition(self, samples, length, variables, seed):
        values = torch.relu(torch.randn(samples, length, variables, generator=generator(seed))).double()
        np.testing.assert_allclose(cooccurrence(values), by_loops(values.numpy(), values.numpy() > 0), atol=1e-12)
        present = torch.rand(values.shape, generator=generator(seed + 1)) < 0.6
        np.testing.assert_allclose(cooccurrence(values, present), by_loops(values.numpy(), present.numpy()), atol=1e-12)

    def test_blocks_are_added(self):
        values = torch.relu(torch.randn(70, 3, 4, generator=generator())).double()
        parts = sum(cooccurrence(part) for part in values.split(32))
        torch.testing.assert_close(cooccurrence(values, block=32), parts)
        off = ~torch.eye(4, dtype=torch.bool)
        torch.testing.assert_close(cooccurrence(values)[off], parts[off])

    def test_absent_values_do_not_count(self):
        values = torch.tensor([[[1.0, torch.nan]]])
        found = cooccurrence(values, torch.tensor([[[True, False]]]))
        torch.testing.assert_close(found, torch.tensor([[1.0, 0.0], [0.0, 0.0]]))

    def test_cosines(self):
        rows = torch.tensor([[3.0, 4.0], [-4.0, 3.0], [6.0, 8.0], [0.0, 0.0]])
        expected = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]])
        torch.testing.assert_close(cosine_similarity(rows), expected)

    def test_layer_sends_values_along_its_graph(self):
        layer = GraphSoftEvolution(3, 5, 2, activation="Tanh").eval()
        nn.init.normal_(layer.time_bias, generator=generator())
        x = torch.randn(4, 5, 3, generator=generator())
        found, hidden = layer(x)
        graph = layer.weights()
        by_hand = torch.stack([torch.tanh(graph @ step) for step in x.reshape(20, 3)]).reshape(4, 5, 3)
        by_hand = torch.stack([(layer.time_weights.T @ each + layer.time_bias) for each in by_hand])
        torch.testing.assert_close(found, by_hand)
        assert not hidden.requires_grad
        torch.testing.assert_close(hidden, layer.adjacency @ layer.adjacency_weights)

    def test_scale_of_the_graph_does_not_matter_without_bias(self):
        layer = GraphSoftEvolution(4, 3)
        graph = torch.rand(4, 4, generator=generator())
        torch.testing.assert_close(layer.weights(graph), layer.weights(1e6 * graph))

    def test_gradients(self):
        layer = GraphSoftEvolution(3, 2, 2).double()
        x = torch.randn(2, 2, 3, generator=generator(), dtype=torch.float64, requires_grad=True)
        parameters = tuple(layer.parameters())

        def run(x, *values):
            return torch.func.functional_call(layer, dict(zip(dict(layer.named_parameters()), values)), (x,))[0]

        assert torch.autograd.gradcheck(run, (x, *parameters))

    @pytest.mark.parametrize(
        ("arguments", "what"),
        [((1, 3), "needs two"), ((3, 3, None, "tanh"), "no such activation")],
        ids=["one variable", "activation"],
    )
    def test_bad_input(self, arguments, what):
        with pytest.raises(InputError, match=what):
            GraphSoftEvolution(*arguments)


def forward_by_hand(network, x):
    """The network from its layers' weights: attention written out, recurrent layers one direction at a time."""
    c = network.config
    values, hidden = network.source(x) if c.graph else (x, None)
    tokens = values.mT
    if c.encoder:
        e = network.encoder
        across = tokens.transpose(0, 1) if c.attend == "samples" else tokens
        q, k, v = (across @ e.self_attn.in_proj_weight.T + e.self_attn.in_proj_bias).chunk(3, -1)
        met = (q @ k.mT / c.window**0.5).softmax(-1) @ v @ e.self_attn.out_proj.weight.T + e.self_attn.out_proj.bias
        met = met.transpose(0, 1) if c.attend == "samples" else met
        tokens = e.norm1(tokens + met)
        tokens = e.norm2(tokens + e.linear2(torch.relu(e.linear1(tokens))))

    def recurrent(layer, inputs):
        found = 0
        for suffix in ("", "_reverse") if layer.bidirectional else ("",):
            state = {
                k.removesuffix("_reverse"): v
                for k, v in layer.state_dict().items()
                if k.endswith("_reverse") == bool(suffix)
            }
            one = type(layer)(layer.input_size, layer.hidden_size, batch_first=True, bias=layer.bias)
            one.load_state_dict(state)
            found = found + (one(inputs.flip(1))[0].flip(1) if suffix else one(inputs)[0])
        return found

    gated = recurrent(network.gate, tokens).mT
    if c.sequencer:
        gated = recurrent(network.sequencer, gated) + gated
    if c.graph:
        gated = gated @ network.target.weights(hidden).T
    if c.autoregression:
        gated = (
            gated + torch.stack([network.autoregression.weights.T @ each for each in x]) + network.autoregression.bias
        )
    return network.output(gated)


OPTIONS = {
    "default": {},
    "gru, one way": {"gate": "gru", "sequencer": "gru", "bidirectional": False},
    "rnn, samples": {"gate": "rnn", "attend": "samples", "output": "relu"},
    "no encoder": {"encoder": False, "bias": False},
    "no sequencer": {"sequencer": None, "output": "softplus"},
    "ablation": {"graph": False, "autoregression": False},
    "ways differ": {"bidirectional": True, "bidirectional_sequencer": False},
}


class TestNetwork:
    @pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
    def test_forward_is_its_parts(self, options):
        torch.manual_seed(0)
        network = ReGENN(window=6, stride=4, n_variables=3, feedforward=16, **options).eval()
        x = torch.randn(5, 6, 3)
        with torch.no_grad():
            torch.testing.assert_close(network(x), forward_by_hand(network, x), atol=1e-5, rtol=1e-5)

    def test_samples_meet_only_where_asked(self):
        x, other = torch.randn(2, 4, 6, 3, generator=generator())
        for attend, changes in (("variables", False), ("samples", True)):
            torch.manual_seed(0)
            network = ReGENN(window=6, stride=4, n_variables=3, feedforward=16, attend=attend).eval()
            with torch.no_grad():
                far = (network(x)[0] - network(torch.cat([x[:1], other]))[0]).abs().max()
            assert (far > 1e-4) == changes

    @pytest.mark.parametrize("gate", ["lstm", "gru", "rnn"])
    @pytest.mark.parametrize("graph", [True, False])
    def test_it_begins_as_a_linear_rule_and_can_leave_it(self, gate, graph):
        torch.manual_seed(0)
        network = ReGENN(
            window=6, stride=4, n_variables=3, gate=gate, sequencer=gate, graph=graph, own_maps=True
        ).eval()
        weights, bias = torch.randn(3, 6, 4), torch.randn(4, 3)
        network.start_linear(weights, bias)
        x = torch.randn(5, 6, 3)
        torch.testing.assert_close(network(x), torch.einsum("vtd,stv->sdv", weights, x) + bias)
        network(x).square().sum().backward()
        assert all(
            float(each.grad.abs().max()) > 0
            for each in network.gate.parameters()
            if each.ndim == 2 and each.shape[1] == 6
        )

    def test_graphs_are_those_that_values_are_sent_along(self):
        network = ReGENN(window=6, stride=4, n_variables=3)
        torch.testing.assert_close(network.graph("source"), network.source.weights())
        torch.testing.assert_close(network.graph("target"), network.target.weights(network.source.evolved()))
        torch.testing.assert_close(network.graph("cooccurrence"), 1 - torch.eye(3))

    def test_stored_target_graph_is_one_update_old(self):
        torch.manual_seed(0)
        network = ReGENN(window=6, stride=4, n_variables=3, target_graph="stored", dropout=0.0)
        x = torch.randn(5, 6, 3)
        seen = network(x)
        torch.testing.assert_close(network.target.adjacency, network.source.evolved())
        torch.testing.assert_close(network.eval()(x), seen)
        with torch.no_grad():
            network.source.adjacency_weights.mul_(torch.rand(3, 3))
        assert not torch.allclose(network.target.adjacency, network.source.evolved())
        torch.testing.assert_close(network.graph("target"), network.target.weights(network.target.adjacency))

    def test_saved_and_read(self, tmp_path):
        network = ReGENN(window=6, stride=4, n_variables=3, gate="gru").eval()
        network.save_pretrained(tmp_path)
        again = ReGENN.from_pretrained(tmp_path).eval()
        x = torch.randn(2, 6, 3)
        torch.testing.assert_close(again(x), network(x))

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            ({"window": 1}, "two steps"),
            ({"n_variables": 1}, "needs two"),
            ({"widow": 3}, "fields this model does not know"),
        ],
        ids=["window", "one variable", "field"],
    )
    def test_bad_configuration(self, change, what):
        with pytest.raises(InputError, match=what):
            ReGENN(**{"window": 6, "stride": 4, "n_variables": 3, **change})

    def test_bad_windows_and_graphs(self):
        network = ReGENN(window=6, stride=4, n_variables=3)
        with pytest.raises(InputError, match=r"\[samples, 6, 3\]"):
            network(torch.zeros(2, 5, 3))
        ablation = ReGENN(window=6, stride=4, n_variables=3, graph=False, autoregression=False)
        with pytest.raises(InputError, match="no graphs"):
            ablation.graph("source")
        with pytest.raises(InputError, match="no linear map"):
            ablation.start_linear(torch.zeros(3, 6, 4), torch.zeros(4, 3))


OFFICIAL = {"source": "SourceEvolution", "encoder": "TimeEncoder", "gate": "TimeGate", "sequencer": "VariableSequencer"}
OFFICIAL |= {"target": "TargetEvolution", "autoregression": "Autoregression"}


def official_state(network):
    """A network's weights as the release stores them, with what it stores and does not use."""
    state = {}
    for key, value in network.state_dict().items():
        module, _, rest = key.partition(".")
        state[f"{OFFICIAL[module]}.{rest}"] = value
    if network.config.graph:
        stride = network.config.stride
        state["SourceEvolution.shared_adjacency"] = torch.zeros(3, 3)
        state["TargetEvolution.shared_adjacency"] = torch.zeros(3, 3)
        state["TargetEvolution.time_weights"], state["TargetEvolution.time_bias"] = (
            torch.zeros(stride, stride),
            torch.zeros(stride, 1),
        )
    return state


class TestCheckpoint:
    """Run beside the official code by hand, 2,880 combinations of its options differ by less than 2e-6."""

    @pytest.mark.parametrize(
        ("gate", "sequencer", "both", "graph"),
        list(itertools.product(["lstm", "gru", "rnn"], ["lstm", None], [True, False], [True, False])),
    )
    def test_shapes_tell_the_configuration(self, gate, sequencer, both, graph):
        config = ReGENNConfig(
            6,
            4,
            3,
            gate,
            sequencer,
            both,
            both and sequencer is not None,
            graph=graph,
            attend="samples",
            feedforward=16,
            output="relu",
            target_graph="stored",
        )
        network = ReGENN(config).eval()
        again = load_checkpoint(official_state(network), n_variables=3)
        assert again.config == config
        x = torch.randn(5, 6, 3, generator=generator())
        torch.testing.assert_close(again(x), network(x))

    def test_a_snapshot_is_found_in_its_file(self, tmp_path):
        network = ReGENN(window=6, stride=4, n_variables=3, attend="samples", target_graph="stored").eval()
        torch.save(
            {"test_loss": 1.0, "args_dict": {"window": 6}, "model_dict": official_state(network)}, tmp_path / "s.pth"
        )
        x = torch.randn(5, 6, 3, generator=generator())
        torch.testing.assert_close(load_checkpoint(tmp_path / "s.pth", output="identity")(x), network(x))

    @pytest.mark.parametrize("change", ["missing", "unknown", "unknown module", "shape", "empty"])
    def test_other_weights_are_refused(self, change):
        state = official_state(ReGENN(window=6, stride=4, n_variables=3))
        match change:
            case "missing":
                del state["TimeEncoder.norm1.weight"]
            case "unknown":
                state["TimeGate.weight_ih_l1"] = torch.zeros(1)
            case "unknown module":
                state["Decoder.weight"] = torch.zeros(1)
            case "shape":
                state["Autoregression.bias"] = torch.zeros(3, 1)
            case "empty":
                state = {}
        with pytest.raises(WeightsError):
            load_checkpoint(state)

    def test_a_corrupt_file_is_refused(self, tmp_path):
        buffer = io.BytesIO()
        torch.save(official_state(ReGENN(window=6, stride=4, n_variables=3)), buffer)
        (tmp_path / "half.pth").write_bytes(buffer.getvalue()[:2000])
        with pytest.raises(WeightsError):
            load_checkpoint(tmp_path / "half.pth")
        with pytest.raises(WeightsError, match="no such file"):
            load_checkpoint(tmp_path / "none.pth")
