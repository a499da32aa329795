"""Toeplitz products, solves and determinants against scipy and dense linear algebra."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from harmonia.core.errors import InputError
from harmonia.parts.gram import Toeplitz


@settings(deadline=None, max_examples=25, derandomize=True)
@given(n=st.integers(1, 9), m=st.integers(1, 9), k=st.integers(1, 3), seed=st.integers(0, 10**6))
def test_products_are_those_of_the_matrix(n: int, m: int, k: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    column, row = (torch.randn(size, generator=generator, dtype=torch.float64) for size in (n, m))
    row[0] = column[0]
    t = Toeplitz(column, row)
    dense = torch.from_numpy(linalg.toeplitz(column.numpy(), row.numpy()))
    torch.testing.assert_close(t.dense(), dense)
    x, y = (torch.randn(size, k, generator=generator, dtype=torch.float64) for size in (m, n))
    torch.testing.assert_close(t @ x, dense @ x)
    torch.testing.assert_close(t @ x[:, 0], dense @ x[:, 0])
    torch.testing.assert_close(t.T @ y, dense.T @ y)


@pytest.mark.parametrize("n", [1, 2, 50, 301])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_solve_and_determinant(n: int, noise: float) -> None:
    column = torch.exp(-torch.arange(n, dtype=torch.float64) / 5)
    t = Toeplitz(column)
    shifted = t.dense() + noise * torch.eye(n, dtype=torch.float64)
    b = torch.from_numpy(np.random.default_rng(0).standard_normal((n, 2)))
    solved = t.solve(b, noise, tolerance=1e-13)
    assert solved.converged.all()
    torch.testing.assert_close(solved.solution, torch.linalg.solve(shifted, b), rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(t.logdet(noise), torch.linalg.slogdet(shifted)[1], rtol=1e-10, atol=1e-10)


def test_chans_circulant_makes_the_number_of_steps_independent_of_the_size() -> None:
    steps = []
    for n in (200, 3200):
        t = Toeplitz(1 / (1.0 + torch.arange(n, dtype=torch.float64)) ** 2)
        steps.append(t.solve(torch.ones(n, dtype=torch.float64)).iterations)
    assert max(steps) <= 12


def test_bad_matrices() -> None:
    with pytest.raises(InputError, match="same number"):
        Toeplitz(torch.ones(2), torch.zeros(2))
    with pytest.raises(InputError, match="at least one entry"):
        Toeplitz(torch.ones(0))
    with pytest.raises(InputError, match="finite"):
        Toeplitz(torch.tensor([torch.inf]))
    with pytest.raises(InputError, match="do not fit"):
        Toeplitz(torch.ones(2)) @ torch.ones(3)
    with pytest.raises(InputError, match="symmetric"):
        Toeplitz(torch.ones(2), torch.ones(3)).solve(torch.ones(2))
    with pytest.raises(InputError, match="positive definite"):
        Toeplitz(torch.tensor([1.0, 2.0])).logdet()
