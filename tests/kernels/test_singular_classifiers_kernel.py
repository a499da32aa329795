"""The kernel of infinite depth against high precision, its functional equation, deep networks and quadrature."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia.core.errors import InputError
from harmonia.kernels.singular_classifiers import (
    HermiteActivation,
    Koenigs,
    activation_taxonomy,
    dual_of,
    optimal_activation,
)
from harmonia.kernels.singular_classifiers.deep import log_deep_ntk
from harmonia.kernels.singular_classifiers.duals import SeriesDual
from harmonia.kernels.singular_classifiers.gallery import Centred, named_activation, taxonomies
from harmonia.parts import infwidth
from harmonia.parts.infwidth.quadrature import gaussian_nodes

XI = {0.5: 0.5, 0.1: 0.9, 0.01: 0.99, 0.0001: 0.9999}


@pytest.mark.parametrize(
    ("d", "values"),
    [
        (2, ["0.713599128", "5.59116373", "60.0622281", "6051.22003"]),
        (3, ["1.35236785", "27.2056189", "947.478898", "957095.743"]),
        (5, ["4.86378963", "619.88573", "225310.769"]),
    ],
)
def test_values_to_all_printed_digits(d, values):
    found = np.exp(Koenigs(dual_of(optimal_activation(d))).log(np.array(list(XI)[: len(values)])))
    assert [f"{value:.9g}" for value in found] == values


@settings(max_examples=40, deadline=None)
@given(
    st.floats(0.6, 40.0),
    st.lists(st.floats(-60.0, -0.01), min_size=1, max_size=8).map(lambda logs: np.exp(np.array(logs))),
)
def test_functional_equation(d, eps):
    """``g(phi^(xi)) = a g(xi)``, with the dual by the sum of its definition."""
    dual = dual_of(optimal_activation(d))
    g = Koenigs(dual)
    degrees = np.arange(len(dual.coefficients))[:, None]
    after = (dual.coefficients[:, None] * -np.expm1(degrees * np.log1p(-eps))).sum(0)
    near = eps <= 0.5
    np.testing.assert_allclose(dual.rest(eps[near]), after[near], rtol=1e-12)
    np.testing.assert_allclose(
        g.log(after) - g.log(eps), math.log(dual.coefficients[1]), rtol=1e-9, atol=1e-11 * (1 + g.alpha)
    )


@pytest.mark.parametrize("d", [1, 1.4, 2, 3.7, 6, 12, 80, 700])
def test_singularity_has_the_exponent(d):
    """``log g`` falls by exactly ``alpha / 2 log b`` where ``eps`` grows by ``b``, once eps is small."""
    g = Koenigs(dual_of(optimal_activation(d)))
    assert g.alpha == pytest.approx(d, rel=1e-12)
    eps = np.geomspace(1e-14, 1e-12, 7)
    np.testing.assert_allclose(g.log(eps) - g.log(2 * eps), d / 2 * math.log(2), rtol=1e-9)


@pytest.mark.parametrize("d", [1, 2, 3, 5, 30])
def test_table_is_the_function(d):
    g = Koenigs(dual_of(optimal_activation(d)))
    eps = np.exp(np.random.default_rng(0).uniform(math.log(1e-30), math.log(0.9999), 4000))
    found = g.table(torch.from_numpy(eps)).numpy()
    np.testing.assert_allclose(found, g.log(eps), atol=1e-9 if d < 10 else 1e-8)


def test_table_at_its_ends():
    table = Koenigs(dual_of(optimal_activation(2))).table
    ends = table(torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert ends.isfinite().all()
    assert ends[0] > 60
    assert ends[1] < -20


@pytest.mark.parametrize(
    "phi",
    [torch.tanh, torch.erf, torch.sin, Centred.of(F.relu), Centred.of(F.gelu), F.hardtanh],
    ids=["tanh", "erf", "sin", "relu", "gelu", "hardtanh"],
)
def test_any_activation_of_the_class(phi):
    """Smooth and kinked activations: functional equation, exponent, table."""
    dual = dual_of(phi)
    g = Koenigs(dual)
    eps = np.geomspace(1e-12, 0.49, 60)
    np.testing.assert_allclose(g.log(dual.rest(eps)) - g.log(eps), math.log(dual.coefficients[1]), rtol=1e-7, atol=1e-9)
    steepness = dual.slope_at_one
    small = np.array([1e-13])
    assert (g.log(small) - g.log(steepness * small))[0] == pytest.approx(g.alpha / 2 * math.log(steepness), abs=1e-5)
    np.testing.assert_allclose(g.table(torch.from_numpy(eps)).numpy(), g.log(eps), atol=2e-8)


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu", "elu", "hardtanh", "cos", "softplus"])
def test_duals_against_two_dimensional_quadrature(name):
    phi = named_activation(name)
    dual = dual_of(phi)
    z, w = gaussian_nodes(torch.tensor([0.0, 1.0, -1.0]))
    scale = float((w * phi(z) ** 2).sum())
    for xi in (0.1, 0.4, 0.5, 0.7):
        v = xi * z[:, None] + math.sqrt(1 - xi * xi) * z
        expected = float(w @ (phi(z)[:, None] * phi(v)) @ w) / scale
        found = float(dual.value(np.array([xi]))[0]) if xi <= 0.5 else 1 - float(dual.rest(np.array([1 - xi]))[0])
        assert found == pytest.approx(expected, abs=1e-5)
    assert dual.rest(np.array([1e-9]))[0] == pytest.approx(1e-9 * dual.slope_at_one, rel=1e-3)


def test_exact_duals():
    xi = np.array([0.2, 0.5])
    np.testing.assert_allclose(dual_of(torch.sin).value(xi), np.sinh(xi) / math.sinh(1), rtol=1e-12)
    np.testing.assert_allclose(dual_of(infwidth.Erf()).value(xi), np.arcsin(2 * xi / 3) / math.asin(2 / 3), rtol=1e-12)
    relu = dual_of(torch.relu)
    eps = np.geomspace(1e-20, 0.5, 30)
    angle = 2 * np.arcsin(np.sqrt(eps / 2))
    # 1 - arc-cosine kernel, with the cancellation taken out by sin x - x = -x^3/6 + ...
    with_cancellation = 1 - (np.sin(angle) + (math.pi - angle) * np.cos(angle)) / math.pi
    far = eps > 1e-4
    np.testing.assert_allclose(relu.rest(eps)[far], with_cancellation[far], rtol=1e-9)
    np.testing.assert_allclose(relu.rest(eps)[~far] / eps[~far], 1 - 2 * angle[~far] / (3 * math.pi), rtol=1e-5)


def test_log_forms_of_the_dual():
    dual = dual_of(optimal_activation(3))
    xi = np.array([0.3, 1e-8])
    np.testing.assert_allclose(dual.log_value(np.log(xi)), np.log(dual.value(xi)), rtol=1e-12)
    slope = np.polynomial.polynomial.polyval(xi, np.polynomial.polynomial.polyder(dual.coefficients))
    np.testing.assert_allclose(dual.log_slope(np.log(xi)), np.log(slope), rtol=1e-12)
    assert dual.log_value(np.array([-1e6]))[0] == pytest.approx(-1e6 + math.log(dual.coefficients[1]))


@pytest.mark.parametrize("phi", [optimal_activation(2), HermiteActivation([0.3, 0.5, 0.2]), torch.tanh, torch.relu])
@pytest.mark.parametrize("depth", [1, 3, 12])
def test_recursion_is_the_engine(phi, depth):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(12, 4, generator=generator, dtype=torch.float64).abs()
    x = x / x.norm(dim=1, keepdim=True)
    dual = dual_of(phi)
    second_moment = float(infwidth.Elementwise(phi).dual_of_itself(torch.ones(1, dtype=torch.float64))[0])
    layers = [layer for _ in range(depth) for layer in (infwidth.Elementwise(phi), infwidth.Dense(second_moment**-0.5))]
    engine = infwidth.Sequential(infwidth.Dense(2.0), *layers).kernel(x, get="ntk").numpy()
    off = ~np.eye(12, dtype=bool)
    xi = (x @ x.T).numpy()[off]
    rtol = 1e-7 if phi is torch.relu else 1e-11 * 2**depth  # the engine's errors grow like tangent kernels do
    np.testing.assert_allclose(np.exp(log_deep_ntk(dual, 1 - xi, xi, depth)), engine[off], rtol=rtol)
    on = np.exp(log_deep_ntk(dual, np.zeros(1), np.ones(1), depth))
    np.testing.assert_allclose(engine.diagonal(), on[0], rtol=1e-9)


def test_diagonal_is_the_geometric_series():
    dual = dual_of(optimal_activation(4))
    for depth in (1, 10, 500):
        expected = (depth + 1) * math.log(2) + math.log1p(-(2.0 ** -(depth + 1)))
        assert log_deep_ntk(dual, np.zeros(1), np.ones(1), depth)[0] == pytest.approx(expected, rel=1e-12)


def test_finite_networks_keep_their_variance():
    """Monte Carlo: a wide random network of the optimal activation has the covariance that the dual says."""
    phi = optimal_activation(3)
    generator = torch.Generator().manual_seed(0)
    x = torch.tensor([[1.0, 0.0], [0.6, 0.8]], dtype=torch.float64)
    z = phi(torch.randn(400_000, 2, generator=generator, dtype=torch.float64) @ x.T)
    covariance = (z.T @ z) / len(z)
    error = 5 * (z[:, 0] * z[:, 1]).std() / len(z) ** 0.5
    assert covariance[0, 0] == pytest.approx(1.0, abs=float(5 * z[:, 0].square().std() / len(z) ** 0.5))
    xi = 0.6
    dual = dual_of(phi).coefficients
    assert covariance[0, 1] == pytest.approx(np.polynomial.polynomial.polyval(xi, dual), abs=float(error))


@pytest.mark.parametrize("d", [0.6, 1, 1.5, 2, 2.5, 7, 40])
def test_explicit_activations(d):
    """By quadrature over the function itself."""
    phi = optimal_activation(d)
    z, w = gaussian_nodes(torch.zeros(1))
    z = z.requires_grad_()
    [slope] = torch.autograd.grad(phi(z).sum(), z)
    value = phi(z).detach()
    assert float((w * value).sum()) == pytest.approx(0.0, abs=1e-12)
    assert float((w * value**2).sum()) == pytest.approx(1.0)
    assert float((w * slope).sum()) == pytest.approx(2.0 ** (-d / 4))
    assert float((w * slope**2).sum()) == pytest.approx(2.0)


def test_the_paper_s_two_forms():
    two = optimal_activation(2).coefficients
    np.testing.assert_allclose(two, [0, 2**-0.5, 0, 2**-0.5], atol=1e-15)
    one = optimal_activation(1).coefficients.square()
    assert one[7] == pytest.approx(1 / (5 * math.sqrt(2)))
    assert one[2] == pytest.approx(1 - 1 / math.sqrt(2) - one[7])
    other = dual_of(optimal_activation(3, degrees=(1, 2, 5), growth=2.5))
    assert -2 * math.log(other.coefficients[1]) / math.log(other.slope_at_one) == pytest.approx(3)


@pytest.mark.parametrize(
    ("phi", "kind", "alpha"),
    [
        (torch.relu, "majority vote", 0.0),
        (F.gelu, "majority vote", 0.0),
        (torch.cos, "flat", math.nan),
        (lambda x: x.cos() - math.exp(-0.5), "nearest neighbour", math.inf),
        (HermiteActivation([0.0, 0.0, 2.0]), "nearest neighbour", math.inf),
        (infwidth.Erf(), "singular kernel", -4 * math.log(0.9558152765199202) / math.log(1.2257000037856904)),
        (torch.nn.Tanh(), "singular kernel", 0.8807036308),
        (lambda x: 3 * x, "linear", math.nan),
        (lambda x: torch.relu(x) - 0.3989423, "singular kernel", 1.6178662472),
    ],
)
def test_taxonomy(phi, kind, alpha):
    found = activation_taxonomy(phi)
    assert found.kind == kind
    assert found.alpha == pytest.approx(alpha, nan_ok=True, abs=1e-6)
    assert kind in str(found)


def test_moments_of_relu():
    found = activation_taxonomy(torch.relu)
    assert pytest.approx(math.pi**-0.5) == found.A
    assert found.A_prime == pytest.approx(0.5**0.5)
    assert found.B_prime == pytest.approx(1.0)


def test_taking_the_mean_away_ends_majority_votes():
    for name, (_, centred) in taxonomies().items():
        assert centred.kind in ("singular kernel", "nearest neighbour"), name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optimal_activation(0), "dimension"),
        (lambda: optimal_activation(-2.0), "dimension"),
        (lambda: optimal_activation(math.nan), "dimension"),
        (lambda: optimal_activation(5000), "dim='mle'"),
        (lambda: optimal_activation(1, degrees=(1, 2, 3)), "no solution"),
        (lambda: optimal_activation(2, degrees=(1, 3, 2)), "degrees"),
        (lambda: optimal_activation(2, growth=1.0), "growth"),
        (lambda: HermiteActivation([]), "coefficients"),
        (lambda: HermiteActivation([0.0, math.nan]), "coefficients"),
        (lambda: activation_taxonomy(torch.sign), "discontinuous"),
        (lambda: activation_taxonomy(lambda x: 0 * x), "second moment"),
        (lambda: activation_taxonomy(lambda x: 0 * x + 3), "constant"),
        (lambda: activation_taxonomy(torch.nn.Tanh), "no activation"),
        (lambda: activation_taxonomy(torch.log), "not finite"),
        (lambda: Koenigs(dual_of(torch.relu)), "singular class"),
        (lambda: Koenigs(dual_of(lambda x: x + 1e-3 * x**3)), "almost linear"),
        (lambda: SeriesDual(np.array([0.5, -0.5])), "not negative"),
        (lambda: named_activation("swash"), "unknown activation"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(InputError, match=message):
        make()
