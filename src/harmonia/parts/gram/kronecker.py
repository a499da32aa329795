"""Kronecker products of small matrices: kernels that are products over the axes of a grid, never formed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import Float, Num
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.gram.cholesky import Cholesky
from harmonia.parts.gram.eigen import EigenCache


def along(tensor: Num[Tensor, "..."], matrix: Num[Tensor, "rows columns"], axis: int) -> Num[Tensor, "..."]:
    """Multiply every line of a tensor along `axis` by a matrix.

    Example:
        >>> along(torch.ones(2, 3), torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 1.0]]), axis=1)
        tensor([[3., 1.],
                [3., 1.]])
    """
    if axis == 0:
        return (matrix @ tensor.reshape(len(tensor), -1)).reshape(len(matrix), *tensor.shape[1:])
    if axis == tensor.ndim - 1:
        return tensor @ matrix.mT
    return torch.movedim(torch.movedim(tensor, axis, -1) @ matrix.mT, -1, axis)


class Kronecker:
    """``K = K_1 (x) K_2 (x) ... (x) K_d``: the Gram matrix of a product kernel on a grid, by its factors.

    With ``k(x, x') = k_1(x_1, x_1') ... k_d(x_d, x_d')`` on the grid ``X_1 x ... x X_d`` every product, solve and
    determinant factors: ``K vec(U) = vec(K_1 U K_2^T)``, ``log |K| = sum_i (n / n_i) log |K_i|``. Rows are in the order
    of ``itertools.product`` (the last axis runs fastest, as in ``tensor.reshape(-1)``). Cost: sums of cubes of the
    n_i, where the matrix itself would need the cube of their product.

    Arguments:
        *factors: One matrix an axis; rectangular ones multiply only.

    Raises:
        InputError: no factors, or vectors that do not fit.

    Example:
        >>> k = Kronecker(torch.tensor([[2.0]]), torch.tensor([[1.0, 0.0], [0.0, 3.0]]))
        >>> k @ torch.tensor([1.0, 1.0])
        tensor([2., 6.])
        >>> round(float(k.logdet().exp()), 9)
        12.0
    """

    def __init__(self, *factors: Num[Tensor, "_ _"]) -> None:
        if not factors:
            raise InputError("a Kronecker product needs a factor", "none", "Pass one matrix for each axis.")
        self.factors = factors

    @property
    def rows(self) -> tuple[int, ...]:
        """Rows of the factors."""
        return tuple(len(factor) for factor in self.factors)

    @property
    def columns(self) -> tuple[int, ...]:
        """Columns of the factors: the grid it acts on."""
        return tuple(factor.shape[1] for factor in self.factors)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the product."""
        return math.prod(self.rows), math.prod(self.columns)

    @property
    def T(self) -> Kronecker:
        """The transposed product."""
        return Kronecker(*(factor.mT for factor in self.factors))

    def on_grid(self, values: Num[Tensor, "..."]) -> Num[Tensor, "..."]:
        """Product with values on the grid, ``(n_1, ..., n_d, *batch)``."""
        if tuple(values.shape[: len(self.factors)]) != self.columns:
            mend = f"Pass values of the shape {self.columns}."
            raise InputError("the values do not fit the grid", tuple(values.shape), mend)
        for axis, factor in enumerate(self.factors):
            values = along(values, factor, axis)
        return values

    def __matmul__(self, vectors: Float[Tensor, "n *k"]) -> Float[Tensor, "m *k"]:
        if len(vectors) != self.shape[1]:
            raise InputError("vectors do not fit the operator", tuple(vectors.shape), f"Pass {self.shape[1]} rows.")
        grid = vectors.reshape(*self.columns, *vectors.shape[1:])
        return self.on_grid(grid).reshape(self.shape[0], *vectors.shape[1:])

    def dense(self) -> Float[Tensor, "m n"]:
        """The matrix itself, for small ones."""
        matrix = self.factors[0]
        for factor in self.factors[1:]:
            matrix = torch.kron(matrix, factor)
        return matrix

    def diagonal(self) -> Float[Tensor, " n"]:
        """Its diagonal."""
        diagonal = self.factors[0].diagonal()
        for factor in self.factors[1:]:
            diagonal = (diagonal[:, None] * factor.diagonal()).reshape(-1)
        return diagonal

    def trace(self) -> Float[Tensor, ""]:
        """Its trace, the product of those of the factors."""
        return torch.stack([factor.trace() for factor in self.factors]).prod()

    @cached_property
    def cholesky(self) -> tuple[Cholesky, ...]:
        """Cholesky factors of symmetric positive definite factors, with the least jitter they need."""
        return tuple(Cholesky(factor) for factor in self.factors)

    @cached_property
    def eigen(self) -> tuple[EigenCache, ...]:
        """Eigendecompositions of symmetric factors; the product's eigenvalues are all products of theirs."""
        return tuple(EigenCache(factor) for factor in self.factors)

    def eigenvalues(self) -> Float[Tensor, "..."]:
        """Eigenvalues of the product, on the grid of those of the factors."""
        values = self.eigen[0].values
        for cache in self.eigen[1:]:
            values = values[..., None] * cache.values
        return values

    def solve(self, b: Float[Tensor, "n *k"], noise: float = 0.0) -> Float[Tensor, "n *k"]:
        """``(K + noise)^{-1} b``: factor by factor, or with noise in the eigenvectors of the factors."""
        grid = b.reshape(*self.columns, -1).to(torch.float64)
        if noise == 0.0:
            for axis, factor in enumerate(self.cholesky):
                lines = torch.movedim(grid, axis, 0)
                grid = torch.movedim(factor.solve(lines.reshape(len(lines), -1)).reshape(lines.shape), 0, axis)
            return grid.reshape(b.shape)
        vectors = Kronecker(*(cache.vectors for cache in self.eigen))
        coordinates = vectors.T.on_grid(grid) / (self.eigenvalues() + noise)[..., None]
        return vectors.on_grid(coordinates).reshape(b.shape)

    def logdet(self, noise: float = 0.0) -> Float[Tensor, ""]:
        """``log |K + noise|``."""
        if noise == 0.0:
            n = self.shape[0]
            return torch.stack([n / size * each.logdet for size, each in zip(self.rows, self.cholesky)]).sum()
        return (self.eigenvalues() + noise).log().sum()


def quadratic_form(
    factors: Sequence[Float[Tensor, "_ _"]], left: Float[Tensor, "..."], right: Float[Tensor, "..."]
) -> Float[Tensor, ""]:
    """``vec(left)^T (K_1 (x) ... (x) K_d) vec(right)`` for values on the grid.

    Example:
        >>> quadratic_form([torch.eye(2), torch.ones(2, 2)], torch.ones(2, 2), torch.ones(2, 2))
        tensor(8.)
    """
    return (left * Kronecker(*factors).on_grid(right)).sum()
