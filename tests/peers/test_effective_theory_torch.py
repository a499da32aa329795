"""Beside torch.nn.init: where its heuristics are critical, and where they are not."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from harmonia.networks.effective_theory import analyze, critical_init_, phase_of

pytestmark = pytest.mark.peer


@pytest.mark.parametrize(("ours", "theirs"), [("relu", "relu"), ("linear", "linear"), ("leaky_relu", "leaky_relu")])
def test_gains_of_scale_invariant_activations_are_critical(ours, theirs):
    assert nn.init.calculate_gain(theirs) ** 2 == pytest.approx(analyze(ours).C_W)


def test_gain_of_tanh_is_chaotic():
    assert phase_of("tanh", 0.0, nn.init.calculate_gain("tanh") ** 2).verdict == "chaotic"


def test_relu_networks_get_the_variances_of_kaiming():
    critical, kaiming = (nn.Sequential(nn.Linear(300, 300), nn.ReLU(), nn.Linear(300, 300)) for _ in range(2))
    critical_init_(critical)
    nn.init.kaiming_normal_(kaiming[2].weight, nonlinearity="relu", generator=torch.Generator().manual_seed(0))
    ours, theirs = (float(net[2].weight.detach().square().mean()) for net in (critical, kaiming))
    assert ours == pytest.approx(theirs, rel=0.03)
    assert not critical[2].bias.any()
