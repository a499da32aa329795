"""Conjugate gradients against direct solves: batches, preconditioners, complex systems, reports."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.gram import conjugate_gradients


def positive(n: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    root = torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return root @ root.mH + torch.eye(n, dtype=dtype)


@settings(deadline=None, max_examples=20, derandomize=True)
@given(n=st.integers(1, 12), columns=st.integers(0, 4), seed=st.integers(0, 10**6))
def test_every_column_is_solved(n: int, columns: int, seed: int) -> None:
    matrix = positive(n, seed)
    b = torch.randn(n, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = conjugate_gradients(lambda x: matrix @ x, b, tolerance=1e-12)
    torch.testing.assert_close(found.solution, torch.linalg.solve(matrix, b), rtol=1e-8, atol=1e-9)
    assert found.converged.all()


def test_columns_do_not_disturb_each_other() -> None:
    matrix = positive(8, 0)
    easy = torch.linalg.eigh(matrix)[1][:, 0]
    b = torch.stack([easy, torch.zeros(8, dtype=torch.float64), torch.arange(8.0, dtype=torch.float64)], dim=1)
    found = conjugate_gradients(lambda x: matrix @ x, b)
    for column in range(3):
        alone = conjugate_gradients(lambda x: matrix @ x, b[:, column])
        torch.testing.assert_close(found.solution[:, column], alone.solution)
    assert found.residual[1] == 0


def test_a_perfect_preconditioner_needs_one_step_and_a_perfect_start_none() -> None:
    matrix = positive(20, 1)
    b = torch.ones(20, dtype=torch.float64)
    found = conjugate_gradients(lambda x: matrix @ x, b, preconditioner=lambda r: torch.linalg.solve(matrix, r))
    assert found.iterations == 1
    again = conjugate_gradients(lambda x: matrix @ x, b, start=found.solution, tolerance=1e-9)
    assert again.iterations == 1
    torch.testing.assert_close(again.solution, found.solution)


def test_complex_systems() -> None:
    matrix = positive(6, 2, torch.complex128)
    b = torch.randn(6, 2, generator=torch.Generator().manual_seed(3), dtype=torch.complex128)
    found = conjugate_gradients(lambda x: matrix @ x, b)
    torch.testing.assert_close(found.solution, torch.linalg.solve(matrix, b))


def test_it_says_when_it_has_not_converged() -> None:
    matrix = torch.diag(torch.logspace(0, 8, 40, dtype=torch.float64))
    found = conjugate_gradients(lambda x: matrix @ x, torch.ones(40, dtype=torch.float64), max_iterations=5)
    assert not found.converged
    assert found.iterations == 5
    true = torch.ones(40, dtype=torch.float64) - matrix @ found.solution
    assert float(found.residual) == pytest.approx(float(true.norm()) / 40**0.5)


def test_bad_systems() -> None:
    with pytest.raises(InputError, match="positive definite"):
        conjugate_gradients(lambda x: -x, torch.ones(3))
    with pytest.raises(InputError, match="finite"):
        conjugate_gradients(lambda x: x, torch.tensor([torch.nan]))
