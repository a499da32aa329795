"""Cholesky factors against dense linear algebra; jitter only where it is needed."""

from __future__ import annotations

import pytest
import torch

from harmonia.core.errors import InputError
from harmonia.parts.gram import Cholesky


@pytest.fixture
def matrix():
    root = torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return root @ root.T


def test_it_is_dense_linear_algebra(matrix):
    found = Cholesky(matrix, noise=0.3)
    shifted = matrix + 0.3 * torch.eye(6, dtype=torch.float64)
    b = torch.arange(12, dtype=torch.float64).reshape(6, 2)
    inverse = torch.linalg.inv(shifted)
    torch.testing.assert_close(found.solve(b), inverse @ b)
    torch.testing.assert_close(found.solve(b[:, 0]), inverse @ b[:, 0])
    torch.testing.assert_close(found.inverse, inverse)
    torch.testing.assert_close(found.logdet, torch.linalg.slogdet(shifted)[1])
    torch.testing.assert_close(found.whiten(b).square().sum(0), (b * (inverse @ b)).sum(0))
    assert found.jitter == 0


def test_singular_matrices_get_the_least_jitter():
    x = torch.tensor([[1.0], [1.0], [2.0]], dtype=torch.float64)
    found = Cholesky(x @ x.T)
    assert 0 < found.jitter < 1e-9
    torch.testing.assert_close(found.factor @ found.factor.T, x @ x.T, atol=1e-8, rtol=0)


def test_no_rows():
    found = Cholesky(torch.zeros(0, 0))
    assert float(found.logdet) == 0
    assert found.solve(torch.zeros(0, 1)).shape == (0, 1)


@pytest.mark.parametrize(
    ("matrix", "noise", "message"),
    [
        (torch.ones(2, 3), 0.0, "square"),
        (torch.eye(2), -1.0, "negative"),
        (torch.full((2, 2), torch.nan), 0.0, "not finite"),
        (-torch.eye(2), 0.0, "positive definite"),
    ],
)
def test_bad_matrices(matrix, noise, message):
    with pytest.raises(InputError, match=message):
        Cholesky(matrix, noise)
