"""One eigendecomposition against direct solves."""

from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.gram import EigenCache


def positive(n: int, rank: int, seed: int) -> Tensor:
    factor = torch.randn(n, rank, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return factor @ factor.T


@settings(deadline=None, max_examples=20, derandomize=True)
@given(n=st.integers(1, 12), seed=st.integers(0, 10**6), ridge=st.floats(1e-3, 10.0), time=st.floats(0.0, 5.0))
def test_filters_are_functions_of_the_matrix(n: int, seed: int, ridge: float, time: float) -> None:
    kernel, y = positive(n, n, seed), torch.randn(n, 2, dtype=torch.float64)
    cache = EigenCache(kernel)
    smoother = cache.filter(lambda values: values / (values + ridge))
    direct = torch.linalg.solve(kernel + ridge * torch.eye(n), kernel)
    torch.testing.assert_close(smoother.dense(), direct, atol=1e-8, rtol=1e-6)
    torch.testing.assert_close(smoother @ y, direct @ y, atol=1e-8, rtol=1e-6)
    torch.testing.assert_close(smoother @ y[:, 0], (direct @ y)[:, 0], atol=1e-8, rtol=1e-6)
    torch.testing.assert_close(smoother.diagonal(), direct.diagonal(), atol=1e-8, rtol=1e-6)
    torch.testing.assert_close(smoother.trace(), direct.trace(), atol=1e-8, rtol=1e-6)
    flow = cache.filter(lambda values: torch.exp(-values * time)).dense()
    torch.testing.assert_close(flow, torch.linalg.matrix_exp(-kernel * time), atol=1e-8, rtol=1e-6)
    torch.testing.assert_close(cache.filter(cache.values).dense(), kernel, atol=1e-10, rtol=1e-8)
    torch.testing.assert_close(cache.vectors @ cache.project(y), y)


def test_order_rank_and_constant_gains() -> None:
    cache = EigenCache(positive(6, 2, 0).float())
    assert cache.values.dtype == torch.float64
    assert (cache.values.diff() <= 0).all()
    assert (cache.values >= 0).all()
    assert cache.values[2] < 1e-5
    torch.testing.assert_close(cache.filter(torch.tensor(2.0)).dense(), 2 * torch.eye(6, dtype=torch.float64))
    assert len(EigenCache(torch.zeros(0, 0))) == 0


def test_matrices_that_are_no_kernels() -> None:
    with pytest.raises(InputError, match="symmetric"):
        EigenCache(torch.tensor([[1.0, 2.0], [0.0, 1.0]]))
    with pytest.raises(InputError, match="finite"):
        EigenCache(torch.tensor([[float("nan")]]))
    with pytest.warns(UserWarning, match="negative eigenvalue"):
        cache = EigenCache(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    assert cache.values.tolist() == pytest.approx([1.0, 0.0])


@pytest.mark.parametrize("rank", [3, 20])
def test_features_give_the_filters_of_their_kernel(rank: int) -> None:
    features = torch.randn(12, rank, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    dense, thin = EigenCache(features @ features.T), EigenCache.of_features(features)
    assert len(thin) == min(12, rank)
    ridge = [cache.filter(lambda values: values / (values + 0.5)).dense() for cache in (dense, thin)]
    torch.testing.assert_close(*ridge)
    with pytest.raises(InputError, match="not finite"):
        EigenCache.of_features(features / 0)


def test_many_rows_by_way_of_the_small_matrix():
    features = torch.randn(60, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    features = torch.cat([features, features[:, :2].sum(1, keepdim=True)], 1)  # rank 7 of 8
    slow, fast = EigenCache.of_features(features), EigenCache.of_many_rows(features)
    assert len(fast) == 7
    torch.testing.assert_close(fast.values, slow.values[:7])
    ridge = [cache.filter(lambda value: value / (value + 0.1)).dense() for cache in (slow, fast)]
    torch.testing.assert_close(ridge[1], ridge[0])
    assert len(EigenCache.of_many_rows(torch.zeros(3, 2))) == 0


@pytest.mark.parametrize("value", [0.1, -3.7, 1e5])
def test_a_difference_that_is_rounding_has_no_directions(value):
    """Neither asymmetric, nor negative, nor anything else: it counts as 0."""
    features = value * torch.linspace(0.1, 1.3, 7, dtype=torch.float64).expand(50, 7)
    gram, mean = features.T @ features, features.mean(0)
    noise = 1e-14 * len(gram) * float(gram.max()) / 10 * torch.randn(7, 7, dtype=torch.float64).tanh()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cache = EigenCache(gram - 50 * torch.outer(mean, mean) + noise, scale=float(gram.max()))
    assert not cache.values.any()
    assert len(EigenCache.of_many_rows(features - mean, gram - 50 * mean.outer(mean), scale=float(gram.max()))) == 0
