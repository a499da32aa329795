"""Sampled ensembles: exact laws, error bars, and the same tensors by the derivatives of real torch networks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from harmonia.core.errors import InputError
from harmonia.networks.effective_theory import measure_ensemble, quadratic_model, recursion, sample_ensemble
from harmonia.networks.effective_theory.ensemble import jackknife


def test_linear_ensembles_have_their_exact_variance():
    """``V / (n K^2) = (1 + 2/n)^(L-1) - 1`` at any width."""
    found = sample_ensemble("linear", 4, 10, 40_000, observables=("K", "V"))
    for layer in range(4):
        exact = 10 * ((1 + 2 / 10) ** layer - 1)
        assert abs(found.mean["V"][layer] - exact) <= 4 * found.error["V"][layer] + 1e-9
        assert abs(found.mean["K"][layer] - 1) <= 4 * found.error["K"][layer] + 1e-9


def test_both_ways_through_the_layers_agree():
    kernels = sample_ensemble("gelu", 4, 32, 3000, observables=("V",), seed=1)
    matrices = sample_ensemble("gelu", 4, 32, 3000, observables=("V", "A"), seed=2)
    for name in ("K", "V"):
        error = np.hypot(kernels.error[name], matrices.error[name])
        assert (np.abs(kernels.mean[name] - matrices.mean[name]) <= 4 * error + 1e-9).all()


def test_errors_are_those_of_repeats():
    runs = [sample_ensemble("tanh", 3, 20, 400, observables=("V",), seed=seed) for seed in range(30)]
    spread = np.std([run.mean["V"][-1] for run in runs])
    told = np.mean([run.error["V"][-1] for run in runs])
    assert told == pytest.approx(spread, rel=0.4)


def test_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).standard_normal(5000)
    mean, error = jackknife({"x": values}, lambda means, width: means["x"], 1)
    assert mean == pytest.approx(values.mean())
    assert error == pytest.approx(values.std() / math.sqrt(5000), rel=0.5)


def test_same_seed_same_ensemble():
    first, second = (sample_ensemble("relu", 3, 16, 60, seed=5).frame for _ in range(2))
    assert first.equals(second)


def test_skips_sample_the_law_of_skips():
    """A linear network with skips is linear: ``K' = (C_W + gamma^2) K`` exactly."""
    found = sample_ensemble("linear", 5, 30, 20_000, C_b=0.0, C_W=0.5, K1=1.0, gamma=0.6, observables=("K", "V", "T"))
    assert abs(found.mean["K"][-1] - 0.86**4) <= 4 * found.error["K"][-1]
    assert abs(found.mean["T"][-1]) <= 4 * found.error["T"][-1]
    predicted = recursion("linear", 5, 30, 0.0, 0.5, K1=1.0, gamma=0.6)
    assert found.mean["V"][-1] == pytest.approx(predicted["V"][-1], rel=0.25)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"observables": ("Z",)}, "unknown"),
        ({"nets": 3}, "50 networks"),
        ({"width": 1}, "50 networks"),
        ({"width": 100, "observables": ("P",)}, "width 64"),
        ({"gamma": 0.5, "observables": ("A",)}, "skips"),
    ],
)
def test_bad_ensembles(options, message):
    with pytest.raises(InputError, match=message):
        sample_ensemble(**{"activation": "tanh", "depth": 3, "width": 10, "nets": 60} | options)


WIDTH = 12


def _build(seed):
    """Three layers of tanh, critical."""
    generator = torch.Generator().manual_seed(seed)
    layers = [nn.Linear(4, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH)]
    net = nn.Sequential(*layers).double()
    for layer in layers[::2]:
        nn.init.normal_(layer.weight, std=layer.in_features**-0.5, generator=generator)
        nn.init.zeros_(layer.bias)
    return net


def test_real_networks_have_the_sampled_tensors():
    """By their definition and automatic differentiation, beside the layer map's conditional means, at equal width."""
    observables = ("K", "Theta", "V", "A", "B", "D", "F", "P", "Q")
    x = torch.ones(4, dtype=torch.float64)
    real = measure_ensemble(_build, x, 400, observables, lambda_b=0.5)
    map_ = sample_ensemble("tanh", 3, WIDTH, 4000, lambda_b=0.5, observables=observables)
    for name in observables:
        error = math.hypot(real[name][1], map_.error[name][-1])
        assert abs(real[name][0] - map_.mean[name][-1]) <= 4 * error, name
    assert real["Theta"][0] == pytest.approx(map_.mean["Theta"][-1], rel=0.05)
    assert real["P"][1] < 0.2 * abs(real["P"][0])


def test_bad_real_ensembles():
    x = torch.ones(4, dtype=torch.float64)
    with pytest.raises(InputError, match="50"):
        measure_ensemble(_build, x, 3)
    with pytest.raises(InputError, match="unknown"):
        measure_ensemble(_build, x, 60, ("X",))
    with pytest.raises(InputError, match="pairs of outputs"):
        measure_ensemble(lambda seed: nn.Linear(4, 1).double(), x, 60, ("K",))
    with pytest.raises(InputError, match="finite"):
        measure_ensemble(_build, x / 0, 60, ("K",))


def test_quadratic_model_is_the_second_order_expansion():
    net = _build(0)
    x = torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4)
    quadratic, generator = quadratic_model(net), torch.Generator().manual_seed(0)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in net.parameters()]
    errors = []
    for step in (0.02, 0.01):
        moved, approximate = _build(0), quadratic_model(net)
        with torch.no_grad():
            for model in (moved, approximate):
                for p, d in zip(model.parameters(), direction):
                    p.add_(step * d)
            errors.append(float((moved(x) - approximate(x)).abs().max()))
    assert errors[0] / errors[1] == pytest.approx(8, rel=0.2)  # the third order is left
    quadratic(x).sum().backward()
    assert all(p.grad is not None for p in quadratic.parameters())
    with pytest.raises(InputError, match="no trained"):
        quadratic_model(nn.Linear(2, 2).requires_grad_(False))
