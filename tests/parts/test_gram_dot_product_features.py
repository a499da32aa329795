"""Features of dot products: means and second moments against closed forms, the best spread against a search."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia.core.errors import InputError
from harmonia.parts.gram import (
    ArcCosine,
    ArcCosineFeatures,
    MaclaurinFeatures,
    best_spread,
    exponential_features,
    log_second_moment,
    scaled_exponential_features,
)


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("angle", [0.0, math.pi / 4, math.pi / 2])
@pytest.mark.parametrize("spread", [0.0, 0.2])
def test_mean_and_second_moment_of_exponential_features(angle, spread):
    x, w = 0.4 * normal(0, 4), 0.4 * normal(1, 4)
    turn = complex(math.cos(angle), math.sin(angle))
    u, v = x * turn, w * turn  # any pair of complex arguments
    g = normal(2, 400_000, 4)
    product = exponential_features(x, g, turn, spread) * exponential_features(w, g, turn, spread)
    second = product.abs().square()
    exact = torch.exp((u * v).sum())
    assert (product.mean() - exact).abs() < 5 * product.std() / len(g) ** 0.5 + 1e-9
    expected = log_second_moment(u, v, spread).exp()
    assert (second.mean() - expected).abs() < 6 * second.std() / len(g) ** 0.5 + 1e-9


@given(squared=st.floats(0.01, 50), inputs=st.integers(1, 64))
@settings(max_examples=50, deadline=None)
def test_best_spread_is_a_minimum(squared, inputs):
    u = torch.zeros(inputs, dtype=torch.float64)
    u[0] = squared**0.5
    best = float(best_spread(torch.tensor(squared, dtype=torch.float64), inputs))
    least = log_second_moment(u, torch.zeros_like(u), best)
    for other in (0.0, 0.9 * best, 1.1 * best, best + 0.01):
        assert least <= log_second_moment(u, torch.zeros_like(u), other) + 1e-12


def test_every_direction_may_have_a_factor_and_a_spread():
    g, x = normal(0, 6, 3), normal(1, 5, 3)
    factors, spreads = (
        torch.randn(6, generator=torch.Generator().manual_seed(0), dtype=torch.complex128),
        normal(2, 6).abs(),
    )
    one_by_one = [exponential_features(x, g[[j]], complex(factors[j]), float(spreads[j]))[:, 0] for j in range(6)]
    torch.testing.assert_close(exponential_features(x, g, factors, spreads), torch.stack(one_by_one, 1))


@pytest.mark.parametrize(
    ("order", "kind"), [(0, "gaussian"), (1, "gaussian"), (2, "gaussian"), (1, "orthogonal"), (1, "sorf")]
)
def test_arc_cosine_kernels(order, kind):
    x = normal(0, 5, 16) / 4
    draws = torch.stack(
        [
            (
                phi := ArcCosineFeatures.draw(
                    16, 512, generator=torch.Generator().manual_seed(seed), directions=kind, order=order
                )(x)
            )
            @ phi.T
            for seed in range(40)
        ]
    )
    error = (draws.mean(0) - ArcCosine(order)(x)).abs()
    # Signs of a structured projection make it Gaussian only for wide inputs.
    slack = 0.03 if kind == "sorf" else 0.0
    assert (error < 5 * draws.std(0) / 40**0.5 + slack + 1e-12).all()


def test_offsets_are_a_constant_input():
    x = normal(0, 4, 6)
    phi = ArcCosineFeatures.draw(6, 200_000, generator=torch.Generator().manual_seed(0), offsets=True)
    exact = ArcCosine(1)(torch.cat([x, torch.ones(4, 1).double()], 1))
    assert ((phi(x) @ phi(x).T - exact).abs() / exact.max() < 0.02).all()


def test_power_series_with_both_signs():
    sine = [0.0, 1.0, 0.0, -1 / 6, 0.0, 1 / 120]
    x, w = normal(0, 3, 4) / 3, normal(1, 2, 4) / 3
    phi = MaclaurinFeatures.draw(sine, 4, 200_000, generator=torch.Generator().manual_seed(0))
    z = x @ w.T
    exact = z - z**3 / 6 + z**5 / 120
    assert (phi(x) @ phi.of_weights(w).T - exact).abs().max() < 0.02


def test_bad_input():
    generator = torch.Generator()
    with pytest.raises(InputError, match="order"):
        ArcCosineFeatures.draw(2, 2, generator=generator, order=3)
    with pytest.raises(InputError, match="inputs and outputs"):
        ArcCosineFeatures.draw(2, 0, generator=generator)
    for wrong in ([0.0, 0.0], [float("nan")]):
        with pytest.raises(InputError, match="power series"):
            MaclaurinFeatures.draw(wrong, 2, 4, generator=generator)


def test_maclaurin_features_have_the_predicted_second_moment():
    """Of single features, each with a degree of its own."""
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(3, 4, generator=generator).double() / 2, torch.randn(2, 4, generator=generator).double() / 2
    phi = MaclaurinFeatures.draw([0.5, -1.0, 0.7, 0.2], 4, 400_000, generator=generator)
    products = (phi(x)[:, None] * phi.of_weights(w)) * 400_000
    squares = products.square()
    error = squares.std(-1) / 400_000**0.5
    assert ((squares.mean(-1) - phi.second_moment(x, w)).abs() < 5 * error).all()


def test_scaled_features_are_the_features_and_do_not_overflow_in_float32():
    g, x = normal(0, 16, 8), normal(1, 5, 8)
    phi, log_scale = scaled_exponential_features(x, g, 0.5, 0.2)
    torch.testing.assert_close(phi * log_scale.exp(), exponential_features(x, g, 0.5, 0.2))
    long = 500 * x[:, :1] * torch.eye(8, dtype=torch.float64)[0]
    phi, log_scale = scaled_exponential_features(long.float(), g.float(), 0.5)
    assert (phi.amax(-1) == 1).all()
    exact, exact_scale = scaled_exponential_features(long, g, 0.5)
    torch.testing.assert_close(phi.double(), exact, rtol=0.05, atol=1e-3)
    torch.testing.assert_close(log_scale.double(), exact_scale, rtol=1e-4, atol=0)
