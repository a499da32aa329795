"""Kronecker identities against the dense product."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.gram import Kronecker, along, quadratic_form


def factors(sizes: list[int], seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    roots = [torch.randn(n, n, generator=generator, dtype=torch.float64) for n in sizes]
    return [root @ root.T + torch.eye(len(root), dtype=torch.float64) for root in roots]


@settings(deadline=None, max_examples=20, derandomize=True)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    columns=st.integers(1, 2),
    noise=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 10**6),
)
def test_it_is_the_dense_product(sizes: list[int], columns: int, noise: float, seed: int) -> None:
    product = Kronecker(*factors(sizes, seed))
    dense = product.dense()
    n = len(dense)
    assert product.shape == (n, n)
    b = torch.randn(n, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    shifted = dense + noise * torch.eye(n, dtype=torch.float64)
    torch.testing.assert_close(product @ b, dense @ b)
    torch.testing.assert_close(product @ b[:, 0], dense @ b[:, 0])
    torch.testing.assert_close(product.T @ b, dense.T @ b)
    torch.testing.assert_close(product.solve(b, noise), torch.linalg.solve(shifted, b), rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(
        product.solve(b[:, 0], noise), torch.linalg.solve(shifted, b[:, 0]), rtol=1e-8, atol=1e-9
    )
    torch.testing.assert_close(product.logdet(noise), torch.linalg.slogdet(shifted)[1], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(product.diagonal(), dense.diagonal())
    torch.testing.assert_close(product.trace(), dense.trace())
    grid = b[:, 0].reshape(sizes)
    torch.testing.assert_close(quadratic_form(product.factors, grid, grid), b[:, 0] @ dense @ b[:, 0])


def test_the_dense_product_is_the_product_kernel_on_a_grid() -> None:
    x, y = torch.rand(3, dtype=torch.float64), torch.rand(4, dtype=torch.float64)
    grid = torch.cartesian_prod(x, y)
    dense = torch.exp(-torch.cdist(grid, grid).square())
    product = Kronecker(torch.exp(-((x[:, None] - x) ** 2)), torch.exp(-((y[:, None] - y) ** 2)))
    torch.testing.assert_close(product.dense(), dense)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_along_is_einsum(axis: int) -> None:
    generator = torch.Generator().manual_seed(0)
    tensor = torch.randn(2, 3, 4, generator=generator)
    matrix = torch.randn(5, tensor.shape[axis], generator=generator)
    letters = "ijk"
    expression = f"ijk,z{letters[axis]}->{letters.replace(letters[axis], 'z')}"
    torch.testing.assert_close(along(tensor, matrix, axis), torch.einsum(expression, tensor, matrix))


def test_rectangular_factors_multiply() -> None:
    product = Kronecker(torch.ones(2, 3), torch.ones(4, 1))
    assert product.shape == (8, 3)
    torch.testing.assert_close(product @ torch.ones(3), torch.full((8,), 3.0))


def test_what_does_not_fit() -> None:
    with pytest.raises(InputError, match="needs a factor"):
        Kronecker()
    with pytest.raises(InputError, match="do not fit the operator"):
        Kronecker(torch.eye(2), torch.eye(3)) @ torch.ones(5)
    with pytest.raises(InputError, match="do not fit the grid"):
        Kronecker(torch.eye(2), torch.eye(3)).on_grid(torch.ones(3, 2))
