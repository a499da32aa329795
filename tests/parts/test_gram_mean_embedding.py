"""Mean embeddings and MMD against dense matrices, closed forms and their own unbiasedness."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia.core.errors import InputError
from harmonia.parts.gram import Matern, SquaredExponential, mean_embedding, mmd_squared, product_mean_embedding

KERNEL = SquaredExponential()


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_means_are_those_of_the_matrix():
    x, at, weights = normal(0, 3000, 2), normal(1, 5, 2), normal(2, 3000)
    matrix = KERNEL(at, x)
    torch.testing.assert_close(mean_embedding(KERNEL, x, at), matrix.mean(1))
    torch.testing.assert_close(mean_embedding(KERNEL, x, at, weights), matrix @ weights)


def test_mean_of_a_normal_sample_tends_to_the_closed_form():
    """For z ~ N(0, 1) and a unit lengthscale, E k(z, x) = exp(-x^2 / 4) / sqrt(2)."""
    at = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]
    found = mean_embedding(KERNEL, normal(0, 200_000, 1), at)
    torch.testing.assert_close(found, torch.exp(-at[:, 0].square() / 4) / math.sqrt(2), atol=3e-3, rtol=0)


def test_products_are_means_over_all_combinations():
    sets, at = (normal(0, 7, 2), normal(1, 4, 3), normal(2, 3, 1)), (normal(3, 6, 2), normal(4, 6, 3), normal(5, 6, 1))
    kernels = (KERNEL, Matern(nu=1.5), KERNEL)
    brute = torch.zeros(6, dtype=torch.float64)
    for u in sets[0]:
        for v in sets[1]:
            for t in sets[2]:
                parts = [k(a, z[None])[:, 0] for k, a, z in zip(kernels, at, (u, v, t))]
                brute += torch.stack(parts).prod(0) / (7 * 4 * 3)
    torch.testing.assert_close(product_mean_embedding(kernels, sets, at), brute, atol=1e-14, rtol=1e-13)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 8), m=st.integers(2, 8), seed=st.integers(0, 10**6))
def test_mmd_is_the_quadratic_form(n, m, seed):
    x, y, a, b = normal(seed, n, 2), normal(seed + 1, m, 2), normal(seed + 2, n), normal(seed + 3, m)
    both, signed = torch.cat([x, y]), torch.cat([a, -b])
    found = mmd_squared(KERNEL, x, y, x_weights=a, y_weights=b)
    torch.testing.assert_close(found, signed @ KERNEL(both) @ signed, atol=1e-12, rtol=1e-10)
    assert mmd_squared(KERNEL, x, y) > -1e-12
    torch.testing.assert_close(mmd_squared(KERNEL, x, y), mmd_squared(KERNEL, y, x))
    assert float(mmd_squared(KERNEL, x, x).abs()) < 1e-14


def test_unbiased_leaves_own_pairs_out():
    x, y = normal(0, 5, 2), normal(1, 4, 2)
    kx, ky = KERNEL(x), KERNEL(y)
    expected = (kx.sum() - kx.trace()) / 20 + (ky.sum() - ky.trace()) / 12 - 2 * KERNEL(x, y).mean()
    torch.testing.assert_close(mmd_squared(KERNEL, x, y, unbiased=True), expected)


def test_unbiased_has_the_right_mean():
    """N(0, 1) and N(1, 1): MMD^2 = 2 / sqrt(3) (1 - exp(-1/6))."""
    truth = 2 / math.sqrt(3) * (1 - math.exp(-1 / 6))
    draws = torch.stack(
        [mmd_squared(KERNEL, normal(s, 10, 1), normal(s + 5000, 10, 1) + 1, unbiased=True) for s in range(600)]
    )
    error = float(draws.std()) / math.sqrt(len(draws))
    assert abs(float(draws.mean()) - truth) < 4 * error


def test_gradients():
    x, y = normal(0, 4, 2).requires_grad_(), normal(1, 3, 2)
    assert torch.autograd.gradcheck(lambda x: mmd_squared(KERNEL, x, y), x)


@pytest.mark.parametrize("weights", [None, torch.ones(3, dtype=torch.float64)])
def test_refusals(weights):
    x = normal(0, 0 if weights is None else 2, 2)
    with pytest.raises(InputError):
        mean_embedding(KERNEL, x, normal(1, 2, 2), weights)
    with pytest.raises(InputError, match="two points"):
        mmd_squared(KERNEL, normal(0, 1, 2), normal(1, 3, 2), unbiased=True)
    with pytest.raises(InputError, match="each factor"):
        product_mean_embedding([KERNEL], [normal(0, 2, 2)] * 2, [normal(0, 2, 2)])
