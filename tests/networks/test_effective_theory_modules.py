"""Torch modules: read, initialised, diagnosed, given learning rates; networks written as text."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from harmonia.core.errors import InputError
from harmonia.networks.effective_theory import (
    Residual,
    analyze,
    as_activation,
    critical_init_,
    diagnose,
    equivalence_param_groups,
    network_of,
    recursion,
)
from harmonia.networks.effective_theory.architecture import load_weights
from harmonia.networks.effective_theory.brackets import brackets
from harmonia.networks.effective_theory.graph import fan_in, read


class Block(nn.Module):
    """A block of a residual network, with a shortcut where shapes change, and functional activations."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 else None

    def forward(self, x):
        skip = x if self.shortcut is None else self.shortcut(x)
        y = F.relu(self.norm1(self.first(x)))
        y = self.norm2(self.second(y))
        y += skip
        return F.relu(y, inplace=True)


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.blocks = nn.Sequential(Block(8, 8), Block(8, 16, 2), Block(16, 16))
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = self.pool(torch.relu(self.stem(x)))
        return self.head(self.blocks(x).mean((2, 3)))


def _images(n=8):
    return torch.randn(n, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def _vectors(n, d):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0))


def test_residual_networks_are_read():
    reading = read(ResNet())
    assert reading.traced
    assert [step.name for step in reading.steps if step.feed == "input"] == ["stem"]
    assert reading.depth == 1 + 2 * 3 + 1
    assert reading.activation.name == "relu"
    assert [len(skip.shortcuts) for skip in reading.skips] == [0, 1, 0]
    assert [type(end).__name__ for skip in reading.skips for end in skip.ends] == ["BatchNorm2d"] * 3


def test_residual_networks_are_initialised_and_diagnosed():
    net = ResNet()
    given = {each.name: each for each in critical_init_(net, input_scale=_images())}
    assert given["blocks.0.second"].C_W == 2
    assert given["blocks.1.shortcut"].share == pytest.approx(3 / 4)
    assert net.blocks[0].norm2.weight[0].item() == pytest.approx(0.5)  # a share of 1 / (3 skips + 1)
    assert net.blocks[0].norm1.weight[0].item() == 1
    found = diagnose(net, _images(), probes=2)
    assert found.verdict == "steady"
    assert found.skips == 3
    names = found.modules["name"].to_list()
    assert {"stem", "blocks.0", "blocks.1.shortcut", "head"} <= set(names)
    assert found.modules.filter(found.modules["name"] == "blocks.0.norm1")["chi_par"].item() == pytest.approx(
        0, abs=1e-3
    )


def test_diagnosis_leaves_the_network_alone():
    net = ResNet().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    diagnose(net, _images(), probes=1)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("name", ["tanh", "gelu", "relu"])
def test_measured_susceptibilities_are_those_of_the_theory(name):
    """``chi_perp`` of activation and layer together, and K, to 3% at width 1024."""
    report = analyze(name)
    layer = {"tanh": nn.Tanh, "gelu": nn.GELU, "relu": nn.ReLU}[name]
    net = nn.Sequential(nn.Linear(64, 1024), *(nn.Sequential(layer(), nn.Linear(1024, 1024)) for _ in range(2)))
    critical_init_(net, generator=torch.Generator().manual_seed(1))
    blocks = nn.Sequential(net[0], *(Wrapped(part) for part in net[1:]))
    found = diagnose(blocks, _vectors(16, 64), probes=4)
    rows = found.modules.filter(found.modules["kind"] == "Wrapped")
    table = recursion(name, 3, 1024)
    for position, row in enumerate(rows.iter_rows(named=True)):
        at = brackets(as_activation(name), torch.tensor(table["K"][position], dtype=torch.float64))
        assert row["chi_perp"] == pytest.approx(report.C_W * float(at.d2), rel=0.03)
        # K varies with the inputs' own sizes by 4% over 16 of them
        assert row["K"] == pytest.approx(table["K"][position + 1], rel=0.15)
        slope = report.C_W * float(at.s2_1) * table["K"][position] / table["K"][position + 1]
        assert row["chi_par"] == pytest.approx(slope, rel=0.05)


class Wrapped(nn.Module):
    """A container that is seen as one module."""

    def __init__(self, part):
        super().__init__()
        self.part = part

    def forward(self, x):
        return self.part(x)


def test_variances_of_critical_layers():
    net = nn.Sequential(
        nn.Conv2d(3, 64, 5), nn.GELU(), nn.Conv2d(64, 128, 3, groups=4), nn.GELU(), nn.ConvTranspose2d(128, 64, 4, 2)
    )
    given = critical_init_(net)
    report = analyze("gelu")
    assert [fan_in(layer) for layer in (net[0], net[2], net[4])] == [75, 16 * 9, 128 * 16 / 4]
    for layer, each in zip((net[0], net[2], net[4]), given):
        assert float(layer.weight.detach().square().mean()) == pytest.approx(each.C_W / each.fan_in, rel=0.1)
    assert pytest.approx(report.K_star - report.C_b) == given[0].C_W
    assert (given[1].C_W, given[1].C_b) == (report.C_W, report.C_b)
    assert float(net[4].bias.detach().square().mean()) == pytest.approx(report.C_b, rel=0.6)


def test_skips_of_known_weight_give_the_rest_to_the_branch():
    net = nn.Sequential(
        nn.Linear(8, 64), Residual(nn.ReLU(), nn.Linear(64, 64), gamma=0.6), nn.ReLU(), nn.Linear(64, 2)
    )
    given = critical_init_(net)
    assert [each.share for each in given] == pytest.approx([1, 1 - 0.36, 1])
    assert [each.share for each in critical_init_(net, gamma=0.8)] == pytest.approx([1, 1 - 0.64, 1])
    deep = network_of("Linear(16, 256), 30 * Residual(ReLU(), Linear(256, 256)), ReLU(), Linear(256, 4)")
    critical_init_(deep)
    assert 0.3 < diagnose(deep, _vectors(32, 16), probes=1).modules["K"][-3] < 10


def test_two_layers_without_activation_between_are_linear():
    given = critical_init_(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 2)), "gelu")
    assert [each.feed for each in given] == ["input", "linear", "norm"]
    assert given[1].C_W == 1


def test_inputs_of_any_size_are_brought_to_the_critical_variance():
    x = 30 * _vectors(256, 50)
    net = nn.Sequential(nn.Linear(50, 2000), nn.GELU(), nn.Linear(2000, 1))
    critical_init_(net, input_scale=x)
    assert float(net[0](x).detach().square().mean()) == pytest.approx(analyze("gelu").K_star, rel=0.1)


class Branching(nn.Module):
    """Control flow on data: no graph."""

    def __init__(self):
        super().__init__()
        self.a, self.act, self.b = nn.Linear(6, 32), nn.Tanh(), nn.Linear(32, 32)

    def forward(self, x):
        y = self.act(self.a(x))
        return self.b(y) if x.sum() > 0 else -self.b(y)


def test_networks_without_a_graph_are_chains():
    assert [each.feed for each in critical_init_(Branching())] == ["input", "Tanh"]
    assert critical_init_(Branching(), gamma=0.5)[1].share == 0.75
    assert diagnose(Branching(), _vectors(16, 6)).depth == 2


def test_attention_is_diagnosed():
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True, norm_first=True, activation="gelu")
    critical_init_(layer)
    x = torch.randn(4, 6, 16, generator=torch.Generator().manual_seed(0))
    found = diagnose(layer, x, probes=2)
    row = found.modules.filter(found.modules["kind"] == "MultiheadAttention")
    assert row["chi_perp"].is_finite().all()
    assert layer.training


def test_default_initialisation_vanishes_and_advice_says_so():
    net = network_of("Linear(20, 64), 28 * (Tanh(), Linear(64, 64)), Tanh(), Linear(64, 3)")
    found = diagnose(net, _vectors(32, 20), probes=2)
    assert found.verdict.endswith("vanishes")
    assert any("critical_init_" in line for line in found.advice)
    assert found.r_eff == pytest.approx(2 / 3 * 29 / 64)
    critical_init_(net)
    assert diagnose(net, _vectors(32, 20), probes=2).verdict == "steady"
    with torch.no_grad():
        for layer in net[::2]:
            layer.weight.mul_(1e30)
    loud = diagnose(nn.Sequential(*(part for part in net if isinstance(part, nn.Linear))), _vectors(8, 20), probes=1)
    assert loud.verdict == "the signal explodes"


def test_no_criticality_is_advised():
    net = nn.Sequential(nn.Linear(4, 16), nn.Sigmoid(), nn.Linear(16, 2))
    found = diagnose(net, _vectors(8, 4))
    assert found.advised_depth is None
    assert "s(x) - (0.5) has one" in found.advice[-1]
    with pytest.raises(InputError, match=r"s\(x\) - \(0.5\)"):
        critical_init_(net)


@pytest.mark.parametrize(
    ("module", "x", "message"),
    [
        (nn.Linear(4, 2), torch.zeros(0, 4), "batch"),
        (nn.Linear(4, 2), torch.full((2, 4), math.nan), "finite"),
        (nn.Linear(4, 2), torch.zeros(3, 5), "does not take"),
        (nn.ReLU(), torch.zeros(3, 5), "no layer with weights"),
        (nn.LazyLinear(3), torch.zeros(3, 5), "lazy"),
    ],
)
def test_bad_diagnoses(module, x, message):
    with pytest.raises(InputError, match=message):
        diagnose(module, x)


def test_bad_initialisations():
    tied = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    tied[2].weight = tied[0].weight
    for module, options, message in (
        (tied, {}, "share"),
        (nn.Linear(2, 2), {"gamma": 2.0}, "skips"),
        (nn.Linear(2, 2), {"input_scale": torch.zeros(3, 2)}, "mean square"),
        (nn.Linear(2, 2), {"activation": "exp"}, "no initialisation"),
    ):
        with pytest.raises(InputError, match=message):
            critical_init_(module, **options)


def test_parameter_groups_train():
    net = ResNet()
    groups = equivalence_param_groups(net, 0.1)
    assert sum(len(group["params"]) for group in groups) == len(list(net.parameters()))
    assert groups[-1]["name"] == "other"
    by_name = {group["name"]: group["lr"] for group in groups}
    assert by_name["head.weight"] == pytest.approx(0.1 / 9 / 16)  # nine layers, fan-in 16
    torch.optim.SGD(groups, lr=0.1)
    tanh = equivalence_param_groups(network_of("Linear(4, 8), Tanh(), Linear(8, 8), Tanh(), Linear(8, 2)"), 0.6)
    assert [group["lr"] for group in tanh[1::2]] == pytest.approx([0.6, 0.3, 0.2])
    with pytest.raises(InputError, match="positive"):
        equivalence_param_groups(net, 0.0)


def test_descriptions():
    text = """
    # images
    Conv2d(3, 8, (3, 3), padding=1), nn.BatchNorm2d(8)
    2 * Residual(Conv2d(8, 8, 3, padding='same'), ReLU(), gamma=0.5)
    Residual(Conv2d(8, 16, 3, 2, 1), shortcut=Conv2d(8, 16, 1, 2))
    AdaptiveAvgPool2d(1), Flatten(), Linear(16, 4, bias=False)
    """
    net = network_of(text)
    assert len(net) == 8
    assert net(_images(2)).shape == (2, 4)
    assert torch.equal(network_of(text, 3)[0].weight, network_of(text, 3)[0].weight)
    state = torch.get_rng_state()
    network_of(text)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no layers"),
        ("# nothing", "no layers"),
        ("Linear(4", "not understood"),
        ("import os", "line 1"),
        ("Linear(4, 8)\n__import__('os')", "line 2"),
        ("Linear(open('x'), 3)", "not understood"),
        ("x = Linear(3, 3)", "line 1"),
        ("Quadratic(3, 4)", "not understood"),
        ("Linear(3)", "cannot be made"),
        ("Linear(3, -4)", "cannot be made"),
        ("Conv2d(3, 4, 3, groups=2)", "cannot be made"),
        ("Linear(3, 4, device='cuda')", "not understood"),
        ("Linear(3, **{})", "not understood"),
        ("nn.modules.Linear(3, 4)", "not understood"),
        ("-3 * Linear(3, 4)", "not understood"),
        ("100000 * Linear(3, 4)", "not understood"),
        ("5000 * (ReLU(), Tanh())", "too many"),
        ("Linear(100000, 100000)", "too large"),
        ("Residual(3)", "not understood"),
    ],
)
def test_bad_descriptions(text, message):
    with pytest.raises(InputError, match=message):
        network_of(text)


def test_weights_load_by_name_or_by_order():
    source, target = (network_of("Linear(3, 4), Tanh(), Linear(4, 2)", seed) for seed in (1, 2))
    load_weights(target, dict(source.state_dict()))
    assert torch.equal(source[0].weight, target[0].weight)
    renamed = {f"layer{i + 9}.{name[2:]}": value for i, (name, value) in enumerate(source.state_dict().items())}
    with pytest.raises(InputError, match="not of this network"):
        load_weights(target, dict(list(renamed.items())[:3]))
    named = {
        "fc2.bias": source[0].bias,
        "fc2.weight": source[0].weight,
        "fc10.weight": source[2].weight,
        "fc10.bias": source[2].bias,
    }
    with pytest.raises(InputError, match=r"\(4,\) for \(4, 3\)"):
        load_weights(target, named)
    fresh = network_of("Linear(3, 4, bias=False), Tanh(), Linear(4, 2, bias=False)")
    load_weights(fresh, {"fc10.weight": source[2].weight, "fc2.weight": source[0].weight})
    assert torch.equal(fresh[0].weight, source[0].weight)
    with pytest.raises(InputError, match="finite"):
        load_weights(target, {name: value / 0 for name, value in source.state_dict().items()})
