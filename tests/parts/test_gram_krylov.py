"""Krylov subspaces against the eigendecomposition."""

from __future__ import annotations

import pytest
import torch

from harmonia.core.errors import InputError
from harmonia.parts.gram import EigenCache, ritz_pairs


def _matrix(n: int = 300) -> torch.Tensor:
    x = torch.randn(n, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.exp(-torch.cdist(x, x)) / n


@pytest.mark.parametrize("columns", [1, 4])
@pytest.mark.parametrize("ridge", [1e-1, 1e-3])
def test_filters_agree_with_eigenvectors(columns, ridge):
    matrix = _matrix()
    y = torch.randn(300, columns, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ritz = ritz_pairs(matrix, y, lambda values: 1 / (values + ridge))
    for one in (ridge, 10 * ridge):  # the sharpest filter, and a smoother one
        cache = EigenCache(matrix)
        exact = cache.filter(1 / (cache.values + one)) @ y
        ours = ritz.vectors @ ((1 / (ritz.values + one))[:, None] * (ritz.vectors.T @ y))
        assert (ours - exact).norm() < 1e-7 * exact.norm()
    eye = ritz.vectors.T @ ritz.vectors
    torch.testing.assert_close(eye, torch.eye(len(eye), dtype=torch.float64), atol=1e-12, rtol=0)
    assert (ritz.values.diff() <= 0).all()


def test_subspace_that_ends_is_exact():
    vectors = torch.linalg.qr(torch.randn(50, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64))[0]
    matrix = (vectors * torch.tensor([3.0, 2.0, 1.0])) @ vectors.T
    y = vectors @ torch.ones(3, 1, dtype=torch.float64)
    ritz = ritz_pairs(matrix, y, lambda values: 1 / (values + 1e-6))
    torch.testing.assert_close(ritz.values, torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64))


def test_hard_problems_fall_back_to_all_eigenvectors():
    matrix = torch.diag(torch.logspace(0, -8, 60, dtype=torch.float64))
    y = torch.ones(60, 1, dtype=torch.float64)
    ritz = ritz_pairs(matrix, y, lambda values: 1 / (values + 1e-12))
    assert len(ritz.values) == 60


def test_zero_vectors_stay_zero():
    ritz = ritz_pairs(_matrix(20), torch.zeros(20, 2), lambda values: 1 / (values + 1))
    assert (ritz.vectors == 0).all()


def test_dependent_columns_are_harmless():
    matrix, y = _matrix(100), torch.ones(100, 3, dtype=torch.float64)
    ritz = ritz_pairs(matrix, y, lambda values: 1 / (values + 1e-2))
    exact = torch.linalg.solve(matrix + 1e-2 * torch.eye(100), y)
    ours = ritz.vectors @ ((1 / (ritz.values + 1e-2))[:, None] * (ritz.vectors.T @ y))
    assert (ours - exact).norm() < 1e-6 * exact.norm()


def test_shapes_must_fit():
    with pytest.raises(InputError, match="do not fit"):
        ritz_pairs(torch.eye(3), torch.ones(4, 1), lambda values: values)
