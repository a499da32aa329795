"""Recursions against the infinite-width engine, closed forms, the map of kernels, and several inputs against one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia.core.errors import InputError
from harmonia.networks.effective_theory import analyze, learning_rates, multi_input_recursion, recursion
from harmonia.parts import infwidth


@pytest.mark.parametrize(
    ("name", "layer"),
    [("relu", infwidth.ReLU()), ("gelu", infwidth.GELU()), ("tanh", infwidth.Tanh()), ("sin", infwidth.Sin())],
)
@pytest.mark.parametrize(("C_b", "C_W"), [(0.3, 1.2), (0.0, 1.9)])
def test_kernels_are_those_of_infinite_networks(name, layer, C_b, C_W):
    """NTK parameterisation: ``lambda_b = C_b``, ``lambda_W = C_W``."""
    x = torch.tensor([[0.7, -1.1, 0.4]], dtype=torch.float64)
    dense = infwidth.Dense(math.sqrt(C_W), math.sqrt(C_b))
    network = infwidth.Sequential(dense, layer, dense, layer, dense, layer, dense)
    nngp, ntk = network.kernel(x)
    K1 = C_b + C_W * float(x.square().mean())
    table = recursion(name, 4, 10, C_b, C_W, lambda_b=C_b, lambda_W=C_W, K1=K1)
    assert table["K"][-1] == pytest.approx(float(nngp), rel=1e-9)
    assert table["Theta"][-1] == pytest.approx(float(ntk), rel=1e-9)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(2, 300), min_size=1, max_size=6), st.floats(0.5, 2))
def test_linear_networks_have_the_exact_first_correction(widths, C_W):
    """``Cov(z_i^2, z_k^2) / K^2 = prod_l (1 + 2/n_l) - 1 = 2 sum 1/n_l + ...`` for unequal widths."""
    table = recursion("linear", len(widths) + 1, widths, 0.0, C_W, K1=1.0)
    assert table["V"][-1] / (widths[-1] * table["K"][-1] ** 2) == pytest.approx(
        2 * sum(1 / n for n in widths), rel=1e-9
    )


def test_relu_rescales():
    """Tensors are homogeneous in the input: ``V ~ K^2, F ~ K Theta`` with ``Theta ~ K`` without biases' rates."""
    small, large = (recursion("relu", 5, 50, lambda_b=0.0, K1=K1) for K1 in (1.0, 3.0))
    for name, power in (("K", 1), ("Theta", 1), ("V", 2), ("A", 2), ("B", 2), ("D", 2), ("F", 2), ("Q", 2)):
        np.testing.assert_allclose(large[name], 3.0**power * small[name], rtol=1e-9)


def test_learning_rates_scale_tangent_tensors():
    one, two = (recursion("gelu", 5, 50, lambda_b=rate, lambda_W=rate) for rate in (1.0, 2.0))
    for name, power in (("Theta", 1), ("D", 1), ("F", 1), ("H1", 1), ("A", 2), ("B", 2), ("P", 2), ("Q", 2), ("V", 0)):
        np.testing.assert_allclose(two[name], 2.0**power * one[name], rtol=1e-9)


def test_ratios_grow_like_depth_over_width():
    """At criticality all dimensionless ratios grow linearly in l/n once the depth is large."""
    first, second = (recursion("relu", depth, 100, lambda_b=0.5).ratios for depth in (200, 400))
    for name in ("V", "A", "B", "D", "F", "Q"):
        growth = second[name][-1] / first[name][-1]
        assert growth == pytest.approx(2, rel=0.03), name
    assert recursion("relu", 3, 100).ratios["V"].to_list() == pytest.approx([0, 0.05, 0.1])


def test_equal_and_listed_widths_agree():
    one, many = recursion("gelu", 4, 64), recursion("gelu", 4, [64, 64, 64])
    for name in one.columns:
        np.testing.assert_array_equal(one[name], many[name])


def test_books_residual_rule_misses_only_what_is_not_odd():
    for name, same in (("tanh", True), ("relu", False), ("gelu", False), ("linear", True)):
        exact, book = (recursion(name, 6, 100, gamma=0.5, residual=rule)["V"][-1] for rule in ("exact", "book"))
        assert (abs(exact / book - 1) < 1e-9) == same
    np.testing.assert_allclose(recursion("gelu", 6, 100)["V"], recursion("gelu", 6, 100, gamma=1e-9)["V"], rtol=1e-6)


def test_equivalence_principle():
    """With the rates of `learning_rates` the tangent kernel of deep networks no longer grows with depth."""
    for name in ("relu", "gelu", "tanh"):
        found = []
        for depth in (200, 400):
            biases, weights = learning_rates(analyze(name), depth)
            found.append(recursion(name, depth, 10, lambda_b=biases.tolist(), lambda_W=weights.tolist())["Theta"][-1])
        assert found[1] == pytest.approx(found[0], rel=0.03)
    biases, weights = learning_rates(analyze("relu"), 50, 0.3, 0.7)
    table = recursion("relu", 50, 10, lambda_b=biases.tolist(), lambda_W=weights.tolist())
    assert table["Theta"][-1] == pytest.approx(0.3 + 0.7 * 0.5)  # lambda_b + lambda_W A_2 K


def test_table_is_a_frame():
    table = recursion("gelu", 5, 32)
    assert table.frame.columns[:4] == ["layer", "width", "K", "Theta"]
    assert table.frame.height == table.depth == 5
    assert table.kernel[-1] == pytest.approx(table["K"][-1] + table["G1"][-1] / 32)
    assert "A" not in recursion("gelu", 5, 32, gamma=0.5).columns


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("relu", 0, 10), {}, "depth"),
        (("relu", 3, 0), {}, "widths"),
        (("relu", 3, [10]), {}, "hidden layers"),
        (("relu", 3, 10), {"gamma": 1.0}, "skips"),
        (("relu", 3, [10, 20]), {"gamma": 0.5}, "equal width"),
        (("relu", 3, 10), {"lambda_W": -1.0}, "lambda_W"),
        (("relu", 3, 10), {"lambda_b": [1.0]}, "lambda_b"),
        (("relu", 3, 10), {"C_b": 0.1}, "C_W"),
        (("relu", 3, 10), {"C_b": 0.0, "C_W": 0.0, "K1": 1.0}, "C_W > 0"),
        (("relu", 3, 10), {"C_b": 0.5, "C_W": 1.0, "K1": 0.1}, "first variance"),
        (("relu", 1000, 10), {"C_b": 0.0, "C_W": 8.0}, "explodes"),
        (("relu", 1000, 10), {"C_b": 0.0, "C_W": 0.2}, "vanishes"),
        (("exp", 3, 10), {"C_b": 0.0, "C_W": 3.0, "K1": 2.0}, "overflow"),
        (("sigmoid", 3, 10), {}, "shift|which has one"),
    ],
)
def test_bad_settings(arguments, options, message):
    with pytest.raises(InputError, match=message):
        recursion(*arguments, **options)


def test_one_input_of_several_is_alone():
    """The diagonal of several inputs is the recursion of one; duplicates of a name do not matter."""
    found = multi_input_recursion("tanh", [[1.0, 0.3], [0.3, 0.7]], 4, 0.1, 1.3, widths=[30, 60, 20])
    for i, K1 in enumerate((1.0, 0.7)):
        table = recursion("tanh", 4, [30, 60, 20], 0.1, 1.3, K1=K1)
        np.testing.assert_allclose(found.K[:, i, i], table["K"], rtol=1e-9)
        np.testing.assert_allclose(found.V[:, i, i, i, i], table["V"], rtol=1e-7, atol=1e-12)


def test_vertices_of_two_inputs_are_covariances_of_sampled_kernels():
    """``V_(ab)(cd) = n Cov(G_ab, G_cd)`` with G the kernel of the next layer given this one, sampled at width 200."""
    K = torch.tensor([[1.0, 0.4], [0.4, 0.8]], dtype=torch.float64)
    n, nets, generator = 200, 6000, torch.Generator().manual_seed(0)
    predicted = multi_input_recursion("tanh", K, 3, 0.0, 1.2)
    gram = K.expand(nets, 2, 2)
    for _ in range(2):
        z = torch.linalg.cholesky(gram) @ torch.randn(nets, 2, n, generator=generator, dtype=torch.float64)
        s = z.tanh()
        gram = 1.2 * s @ s.mT / n
    flat = gram.flatten(1)
    measured = n * torch.cov(flat.T)
    spread = n * ((flat - flat.mean(0))[:, :, None] * (flat - flat.mean(0))[:, None, :]).std(0) / nets**0.5
    gap = (measured - predicted.V[-1].reshape(4, 4)).abs()
    assert bool((gap <= 4 * spread + 0.03 * measured.abs()).all())
    torch.testing.assert_close(gram.mean(0), predicted.K[-1], atol=5e-3, rtol=0)


def test_bad_kernels():
    for kernel, message in (
        ([[1.0, 1.0], [1.0, 1.0]], "positive definite"),
        ([[1.0, 0.5]], "square"),
        ([[1.0, 0.2], [0.3, 1.0]], "symmetric"),
        (torch.eye(5).tolist(), "four"),
    ):
        with pytest.raises(InputError, match=message):
            multi_input_recursion("tanh", kernel, 2, 0.0, 1.0)
    with pytest.raises(InputError, match="hidden"):
        multi_input_recursion("tanh", [[1.0]], 3, 0.0, 1.0, widths=[3])
