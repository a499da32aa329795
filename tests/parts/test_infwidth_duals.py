"""Dual activations against two-dimensional quadrature, by another route than the library's."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import ndtr
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.infwidth import (
    GELU,
    ABReLU,
    Abs,
    Activation,
    Cos,
    Elementwise,
    Erf,
    Exp,
    Gaussian,
    Hermite,
    Identity,
    LeakyReLU,
    Polynomial,
    ReLU,
    Sign,
    SiLU,
    Sin,
    Tanh,
)
from harmonia.parts.infwidth.quadrature import expectation, find_kinks, hermite

Array = np.ndarray
CASES = [(1.0, 1.0, 0.6), (0.3, 2.0, -0.7), (1.5, 0.8, 0.0), (2.5, 2.5, 0.97), (1.0, 0.5, -0.99)]


def number(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


def nodes(breaks: Array) -> tuple[Array, Array]:
    """Gauss-Legendre nodes on unit panels of [-10, 10] cut at `breaks` (last axis), with normal weights."""
    x, w = np.polynomial.legendre.leggauss(16)
    panels = np.broadcast_to(np.linspace(-10, 10, 21), (*breaks.shape[:-1], 21))
    edges = np.sort(np.concatenate([panels, np.clip(breaks, -10, 10)], -1), -1)
    half = np.diff(edges)[..., None] / 2
    z = (edges[..., :-1, None] + half * (1 + x)).reshape(*breaks.shape[:-1], -1)
    return z, (half * w).reshape(z.shape) * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def brute(f: Callable[[Array], Array], q1: float, q2: float, rho: float, breaks: tuple[float, ...] = (0.0,)) -> float:
    """``E[f(u) f(v)]``, the inner integral with its own breaks for every value of the outer variable."""
    a, b, c, at = math.sqrt(q1), math.sqrt(q2), math.sqrt(1 - rho * rho), np.array(breaks)
    z, w = nodes(at / a)
    inner, weights = nodes((at / b - rho * z[:, None]) / c)
    return float(w * f(a * z) @ (weights * f(b * (rho * z[:, None] + c * inner))).sum(-1))


def step(x: Array) -> Array:
    return (x > 0).astype(float)


def density(x: Array) -> Array:
    return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


CLOSED = {
    "identity": (Identity(), lambda x: x, np.ones_like),
    "relu": (ReLU(), lambda x: np.maximum(x, 0), step),
    "leaky": (LeakyReLU(0.2), lambda x: np.where(x > 0, x, 0.2 * x), lambda x: np.where(x > 0, 1.0, 0.2)),
    "abs": (Abs(), np.abs, np.sign),
    "two slopes": (ABReLU(-0.5, 2.0), lambda x: np.where(x > 0, 2 * x, -0.5 * x), lambda x: np.where(x > 0, 2.0, -0.5)),
    "erf": (Erf(), lambda x: 2 * ndtr(math.sqrt(2) * x) - 1, lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x)),
    "gelu": (GELU(), lambda x: x * ndtr(x), lambda x: ndtr(x) + x * density(x)),
    "sin": (Sin(), np.sin, np.cos),
    "cos": (Cos(), np.cos, lambda x: -np.sin(x)),
    "exp": (Exp(), np.exp, np.exp),
    "gaussian": (Gaussian(), lambda x: np.exp(-x * x), lambda x: -2 * x * np.exp(-x * x)),
    "sign": (Sign(), np.sign, np.zeros_like),
    "polynomial": (Polynomial([1.0, -2.0, 0.0, 0.5]), lambda x: 1 - 2 * x + x**3 / 2, lambda x: -2 + 1.5 * x * x),
    "tanh": (Tanh(), np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    "silu": (SiLU(), lambda x: x / (1 + np.exp(-x)), None),
}


@pytest.mark.parametrize("name", CLOSED)
def test_duals_against_quadrature(name: str) -> None:
    activation, function, slope = CLOSED[name]
    for q1, q2, rho in CASES[:4] if name == "exp" else CASES:
        k = number(rho * math.sqrt(q1 * q2))
        nngp, gain = activation.dual(k, number(q1), number(q2))
        assert nngp.item() == pytest.approx(brute(function, q1, q2, rho), abs=1e-10, rel=1e-10)
        if slope is not None:
            assert gain.item() == pytest.approx(brute(slope, q1, q2, rho), abs=1e-10, rel=1e-10)


@pytest.mark.parametrize(
    ("function", "breaks", "tolerance"),
    [
        (torch.relu, (0.0,), (1e-11, 1e-11)),
        (F.hardtanh, (-1.0, 1.0), (1e-10, 1e-10)),
        (lambda x: (x - 0.5).clamp(min=0) + x.abs(), (0.0, 0.5), (1e-10, 1e-10)),
        (F.hardswish, (-3.0, 3.0), (1e-9, 1e-6)),
        (F.elu, (0.0,), (1e-8, 1e-5)),
        (F.selu, (0.0,), (1e-8, 1e-5)),
    ],
)
def test_any_activation_with_kinks(
    function: Callable[[Tensor], Tensor], breaks: tuple[float, ...], tolerance: tuple[float, float]
) -> None:
    activation = Elementwise(function)

    def values(x: Array) -> Array:
        return function(torch.from_numpy(x)).numpy()

    def slopes(x: Array) -> Array:
        at = torch.from_numpy(x).requires_grad_()
        return torch.autograd.grad(function(at).sum(), at)[0].numpy()

    for q1, q2, rho in CASES:
        got = activation.dual(number(rho * math.sqrt(q1 * q2)), number(q1), number(q2))
        for value, reference, allowed in zip(got, (values, slopes), tolerance):
            assert value.item() == pytest.approx(brute(reference, q1, q2, rho, breaks), abs=allowed)


ALL = [
    *(activation for activation, _, _ in CLOSED.values() if not isinstance(activation, Sign)),
    Elementwise(F.hardtanh),
    Elementwise(torch.relu),
    Hermite(3),
]


@pytest.mark.parametrize("activation", ALL, ids=repr)
def test_factor_of_the_tangent_kernel_is_the_derivative_of_the_dual(activation: Activation) -> None:
    """Price's theorem: ``E[s'(u) s'(v)] = d E[s(u) s(v)] / dk``."""
    k = torch.tensor([-0.6, -0.1, 0.0, 0.5, 0.9], dtype=torch.float64, requires_grad=True)
    nngp, gain = activation.dual(k, number(1.1), number(0.9))
    (slope,) = torch.autograd.grad(nngp.sum(), k)
    torch.testing.assert_close(gain.detach(), slope, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("activation", ALL, ids=repr)
def test_gradients(activation: Activation) -> None:
    k = torch.tensor([-0.4, 0.1, 0.7], dtype=torch.float64, requires_grad=True)
    q1 = torch.tensor([0.9, 1.3, 1.1], dtype=torch.float64, requires_grad=True)
    q2 = torch.tensor([0.8, 0.7, 2.1], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(activation.dual, (k, q1, q2), atol=1e-6, fast_mode=True)


@pytest.mark.parametrize("activation", ALL, ids=repr)
def test_equal_parallel_and_zero_inputs(activation: Activation) -> None:
    q = torch.tensor([0.0, 0.5, 1.0, 3.0], dtype=torch.float64)
    nngp, gain = activation.dual(q, q, q)
    exact, exact_gain = activation.dual_of_itself(q)
    for value in (nngp, gain, exact, exact_gain, *activation.dual(-q, q, q), *activation.dual(0 * q, 0 * q, q)):
        assert value.isfinite().all()
    torch.testing.assert_close(nngp, exact, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(gain[1:], exact_gain[1:], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("activation", ALL, ids=repr)
def test_float32(activation: Activation) -> None:
    q1, q2 = torch.rand(50, 1) + 0.5, torch.rand(1, 40) + 0.5
    k = (torch.rand(50, 40) * 1.9 - 0.95) * (q1 * q2).sqrt()
    for single, double in zip(activation.dual(k, q1, q2), activation.dual(k.double(), q1.double(), q2.double())):
        assert single.dtype == torch.float32
        assert ((single - double).abs() <= 3e-6 * (1 + double.abs().amax())).all()


def test_large_variance() -> None:
    """A tanh that saturates is nearly a sign."""
    q = torch.tensor([100.0], dtype=torch.float64)
    tanh, _ = Tanh().dual(0.3 * q, q, q)
    sign, _ = Sign().dual(0.3 * q, q, q)
    assert tanh.item() == pytest.approx(sign.item(), abs=0.02)
    assert tanh.item() == pytest.approx(brute(np.tanh, 100.0, 100.0, 0.3), abs=1e-10)


def test_hermite_polynomials_are_orthonormal() -> None:
    z, w = nodes(np.array([]))
    h = torch.stack(hermite(torch.from_numpy(z), 8)).numpy()
    np.testing.assert_allclose((h * w) @ h.T, np.eye(8), atol=1e-10)
    x = number(0.4)
    for degree in range(5):
        assert Hermite(degree).dual(x, number(1.0), number(1.0))[0].item() == pytest.approx(0.4**degree, abs=1e-12)


def test_find_kinks() -> None:
    assert find_kinks(F.relu6) == {0.0: 1.0, 6.0: -1.0}
    assert find_kinks(torch.tanh) == {}
    assert find_kinks(lambda x: torch.tanh(100 * x)) == {}
    shifted = find_kinks(lambda x: 3 * (x - 1 / 3).abs())
    assert list(shifted) == pytest.approx([1 / 3], abs=1e-9)
    assert list(shifted.values()) == pytest.approx([6.0])


def test_bad_activations() -> None:
    with pytest.raises(InputError, match="discontinuous"):
        Elementwise(lambda x: torch.where(x > 1, x, 0 * x))
    for steps in (torch.sign, torch.floor, lambda x: torch.tanh(x) + (x > 2)):
        with pytest.raises(InputError, match="discontinuous"):
            Elementwise(steps)
    with pytest.raises(InputError, match="not finite"):
        Elementwise(torch.log)


def test_expectation() -> None:
    q = torch.tensor([0.5, 2.0])
    assert expectation(lambda x: (x - 1).clamp(min=0), q, kinks=[1.0])[1].item() == pytest.approx(
        math.sqrt(2) * float(density(np.array(1 / math.sqrt(2)))) - ndtr(-1 / math.sqrt(2)), abs=1e-12
    )
