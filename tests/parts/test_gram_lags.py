"""Stationary kernels of one variable: closed-form derivatives against automatic and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.special import gamma, kv
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.gram import lags

LAG = torch.tensor([-2.3, -0.7, -1e-3, 0.4, 1.9], dtype=torch.float64)
RATE = torch.tensor(0.8, dtype=torch.float64)


def differentiated(function, lag: Tensor, order: int) -> Tensor:
    lag = lag.clone().requires_grad_()
    value = function(lag)
    for _ in range(order):
        [value] = torch.autograd.grad(value.sum(), lag, create_graph=True)
    return value.detach()


@pytest.mark.parametrize("order", range(9))
def test_gaussian(order: int) -> None:
    expected = differentiated(lambda d: torch.exp(-RATE * d**2), LAG, order)
    torch.testing.assert_close(lags.gaussian(LAG, RATE, order), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("smoothness", ["1/2", "3/2", "5/2", "7/2"])
def test_matern_is_the_bessel_function(smoothness: str) -> None:
    nu = int(smoothness[0]) / 2
    r = math.sqrt(2 * nu) * float(RATE) * LAG.abs().numpy()
    expected = torch.from_numpy(2 ** (1 - nu) / gamma(nu) * r**nu * kv(nu, r))
    torch.testing.assert_close(lags.matern(LAG, RATE, 0, smoothness), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("smoothness", "order"), [(s, n) for s, p in (("3/2", 1), ("5/2", 2), ("7/2", 3)) for n in range(2 * p + 1)]
)
def test_matern_derivatives(smoothness: str, order: int) -> None:
    expected = differentiated(lambda d: lags.matern(d, RATE, 0, smoothness), LAG, order)
    torch.testing.assert_close(lags.matern(LAG, RATE, order, smoothness), expected, rtol=1e-9, atol=1e-9)
    zero, near = (lags.matern(torch.tensor([d], dtype=torch.float64), RATE, order, smoothness) for d in (0.0, 1e-9))
    torch.testing.assert_close(zero, near, rtol=1e-6, atol=1e-6)


def test_the_fifth_halves_are_those_of_the_paper() -> None:
    big, d = math.sqrt(5) * RATE, LAG
    r = big * d.abs()
    decay = torch.exp(-r)
    closed = [
        (1 + r + r**2 / 3) * decay,
        -(big**2 / 3) * d * (1 + r) * decay,
        -(big**2 / 3) * (1 + r - r**2) * decay,
        (big**4 / 3) * d * (3 - r) * decay,
        (big**4 / 3) * (3 - 5 * r + r**2) * decay,
    ]
    for order, expected in enumerate(closed):
        torch.testing.assert_close(lags.matern(d, RATE, order), expected)


@pytest.mark.parametrize("order", range(5))
def test_modulated(order: int) -> None:
    frequency = torch.tensor(0.6, dtype=torch.float64)
    envelopes = [lags.gaussian(LAG, RATE, n) for n in range(order + 1)]
    expected = differentiated(lambda d: torch.exp(-RATE * d**2) * torch.cos(2 * math.pi * frequency * d), LAG, order)
    torch.testing.assert_close(lags.modulated(envelopes, LAG, frequency), expected, rtol=1e-9, atol=1e-9)


def test_derivatives_that_do_not_exist() -> None:
    with pytest.raises(InputError, match="order 5"):
        lags.matern(LAG, RATE, 5)
    with pytest.raises(InputError, match="order -1"):
        lags.gaussian(LAG, RATE, -1)
