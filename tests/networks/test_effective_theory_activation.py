"""Activations by name, formula and module; their Gaussian brackets against scipy's adaptive quadrature."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from torch import nn

from harmonia.core.errors import InputError
from harmonia.networks.effective_theory.activation import ACTIVATIONS, as_activation
from harmonia.networks.effective_theory.brackets import brackets, second_moment
from harmonia.networks.effective_theory.formula import FUNCTIONS, formula
from harmonia.parts import infwidth

X = torch.linspace(-3, 3, 41, dtype=torch.float64)


def test_formulas_are_what_they_say():
    expected = X * torch.tanh(torch.log1p(X.exp())) + 0.1 * X**3 - math.pi
    torch.testing.assert_close(formula("x * tanh(log(1 + exp(x))) + 0.1*x^3 - pi")(X), expected)
    torch.testing.assert_close(formula("max(x, 0) + min(0.2*x, 0)")(X), torch.nn.functional.leaky_relu(X, 0.2))
    torch.testing.assert_close(formula("-(x + 1)/2")(X), -(X + 1) / 2)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "x.numpy()",
        "(lambda: x)()",
        "[x for x in (1,)][0]",
        "open('x')",
        "exec(x)",
        "x if x else 1",
        "tanh(x, out=x)",
        "tanh(x, x)",
        "x ** x",
        "2 ** 999999999 * x",
        "x ** 1000",
        "True * x",
        "'a' * x",
        "x @ x",
        "x = 3",
        "((((",
        "3 + 4",
        "y + x",
        "x" + " + x" * 300,
    ],
)
def test_formulas_execute_nothing_else(text):
    with pytest.raises(InputError):
        formula(text)


@given(st.text(alphabet="x+-*/()., 0123456789tanhexp_[]{}:'=", max_size=30))
def test_any_text_is_a_formula_or_an_input_error(text):
    try:
        function = formula(text)
    except InputError:
        return
    assert function(X).shape in (X.shape, ())


def test_every_function_of_formulas_works():
    for name in FUNCTIONS:
        call = f"{name}(x, 0.5)" if name in ("max", "min") else f"{name}(x)"
        assert formula(call)(X).shape == X.shape


def test_activations_come_in_many_forms():
    for form in ("gelu", nn.GELU(), torch.nn.functional.gelu, infwidth.GELU(), "x * ndtr(x)", "GELU"):
        torch.testing.assert_close(as_activation(form).function(X), torch.nn.functional.gelu(X), atol=1e-12, rtol=0)
    assert as_activation(nn.ReLU(inplace=True)).function(X.clone()).min() == 0
    weighted = nn.PReLU(init=0.3)
    assert as_activation(weighted).function(X)[0] == pytest.approx(-0.9, abs=1e-6)
    assert as_activation("relu").kinks == {0.0: 1.0}


@pytest.mark.parametrize(
    ("activation", "message"),
    [
        ("swoosh", "no such activation"),
        (nn.Softmax(dim=-1), "elementwise"),
        (lambda x: x - x.mean(), "elementwise"),
        (lambda x: x[..., :2], "shape"),
        (lambda x: x + torch.rand_like(x), "random"),
        (lambda x: torch.ones_like(x), "constant"),
        (lambda x: x / 0 if x.numel() == 1 else 1 / 0, "cannot be computed"),
        (torch.log, "not finite"),
        (torch.sign, "discontinuous"),
        (lambda x: "no", "cannot be computed"),
    ],
)
def test_what_is_no_activation_is_refused(activation, message):
    with pytest.raises(InputError, match=message):
        as_activation(activation)


def _expectation(function, K, breaks=()):
    """By scipy, piece by piece."""
    root = math.sqrt(K)
    edges = sorted({-12.0, 12.0, 0.0, *(point / root for point in breaks if abs(point / root) < 12)})

    def density(u):
        return function(root * u) * math.exp(-u * u / 2) / math.sqrt(2 * math.pi)

    return sum(quad(density, a, b, epsabs=1e-13, limit=200)[0] for a, b in itertools.pairwise(edges))


CASES = {
    "tanh": (math.tanh, lambda z: 1 / math.cosh(z) ** 2, ()),
    "gelu": (
        lambda z: z * (1 + math.erf(z / math.sqrt(2))) / 2,
        lambda z: (1 + math.erf(z / math.sqrt(2))) / 2 + z * math.exp(-z * z / 2) / math.sqrt(2 * math.pi),
        (),
    ),
    "hardswish": (
        lambda z: z * min(max(z + 3, 0), 6) / 6,
        lambda z: 0.0 if z < -3 else 1.0 if z > 3 else (2 * z + 3) / 6,
        (-3, 3),
    ),
    "elu": (lambda z: z if z > 0 else math.expm1(z), lambda z: 1.0 if z > 0 else math.exp(z), ()),
}


@pytest.mark.parametrize("K", [0.01, 1.0, 6.0])
@pytest.mark.parametrize("name", CASES)
def test_brackets_are_expectations(name, K):
    s, d, breaks = CASES[name]
    b = brackets(as_activation(name), torch.tensor(K, dtype=torch.float64))
    expected = {
        "s": lambda z: s(z),
        "s2": lambda z: s(z) ** 2,
        "s4": lambda z: s(z) ** 4,
        "d2": lambda z: d(z) ** 2,
        "d4": lambda z: d(z) ** 4,
        "s2d2": lambda z: (s(z) * d(z)) ** 2,
        "sd": lambda z: s(z) * d(z),
        "zd": lambda z: z * d(z),
        "zsd": lambda z: z * s(z) * d(z),
        "zs2": lambda z: z * s(z) ** 2,
        "z2s2": lambda z: (z * s(z)) ** 2,
    }
    for field, function in expected.items():
        assert float(getattr(b, field)) == pytest.approx(_expectation(function, K, breaks), rel=1e-9, abs=1e-13), field
    assert second_moment(as_activation(name), K) == pytest.approx(float(b.s2), rel=1e-13)


@pytest.mark.parametrize("name", ["tanh", "gelu", "relu", "hardtanh"])
def test_derivatives_of_brackets_are_differences(name):
    activation, step = as_activation(name), 1e-3
    K = torch.tensor([1.0, 1.0 - step, 1.0 + step], dtype=torch.float64)
    b = brackets(activation, K)
    for value, first, second in (("s2", "s2_1", "s2_2"), ("d2", "d2_1", "d2_2")):
        here, low, high = getattr(b, value).tolist()
        assert float(getattr(b, first)[0]) == pytest.approx((high - low) / (2 * step), abs=1e-5)
        assert float(getattr(b, second)[0]) == pytest.approx((high + low - 2 * here) / step**2, abs=1e-4)


def test_brackets_with_second_derivatives_come_by_parts():
    """``<s s''>`` and ``<s s'' s'^2>`` of tanh, whose second derivative is ``-2 tanh sech^2``."""
    b = brackets(as_activation("tanh"), torch.tensor(0.7, dtype=torch.float64))

    def bend(z):
        return -2 * math.tanh(z) / math.cosh(z) ** 2

    assert float(b.sdd) == pytest.approx(_expectation(lambda z: math.tanh(z) * bend(z), 0.7), abs=1e-12)
    wanted = _expectation(lambda z: math.tanh(z) * bend(z) / math.cosh(z) ** 4, 0.7)
    assert float(b.sddd2) == pytest.approx(wanted, abs=1e-12)


def test_moments_that_overflow_are_told():
    resolved = brackets(as_activation("exp"), torch.tensor([0.5, 30.0, 200.0])).resolved
    assert resolved.tolist() == [True, False, False]


def test_all_names_have_brackets():
    for name in ACTIVATIONS:
        assert np.isfinite(float(brackets(as_activation(name), torch.tensor(1.0)).s4))
