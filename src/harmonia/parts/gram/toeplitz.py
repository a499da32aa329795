"""Toeplitz matrices: stationary kernels on uniform grids, by one number a lag."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.gram.conjugate_gradients import Solved, conjugate_gradients


class Toeplitz:
    """``T[i, j] = c[i - j]``, constant along diagonals: the Gram matrix of a stationary kernel on a uniform grid.

    Products cost ``O(n log n)`` by the fast Fourier transform of a circulant that contains T; solves are conjugate
    gradients preconditioned by T. Chan's circulant; the determinant is Durbin's recursion, exact in ``O(n^2)``.

    Arguments:
        column: First column, lags 0, 1, ..., n - 1.
        row: First row, lags 0, -1, ..., 1 - m; by default the column's (a symmetric matrix).

    Raises:
        InputError: an empty column, values that are not finite, or a row whose first number is another.

    Example:
        >>> t = Toeplitz(torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64))
        >>> [round(value, 9) for value in (t @ torch.ones(3, dtype=torch.float64)).tolist()]
        [3.0, 4.0, 3.0]
        >>> round(float(t.logdet().exp()), 9)
        4.0
    """

    def __init__(self, column: Float[Tensor, " n"], row: Float[Tensor, " m"] | None = None) -> None:
        self.symmetric = row is None
        self.column, self.row = column, column if row is None else row
        if not len(self.column) or not len(self.row):
            raise InputError("a Toeplitz matrix has at least one entry", "none", "Pass its first column.")
        if not (self.column.isfinite().all() and self.row.isfinite().all()):
            raise InputError("a Toeplitz matrix is finite", "NaN or infinity", "Check the kernel.")
        if self.column[0] != self.row[0]:
            got = f"{float(self.column[0]):g} and {float(self.row[0]):g}"
            raise InputError("first row and column begin with the same number", got, "Pass T[0, :] and T[:, 0].")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.column), len(self.row)

    @property
    def T(self) -> Toeplitz:
        """The transposed matrix."""
        return self if self.symmetric else Toeplitz(self.row, self.column)

    def __matmul__(self, vectors: Float[Tensor, "m *k"]) -> Float[Tensor, "n *k"]:
        n, m = self.shape
        if len(vectors) != m:
            raise InputError("vectors do not fit the operator", tuple(vectors.shape), f"Pass {m} rows.")
        size = n + m - 1
        circulant = torch.fft.rfft(torch.cat([self.column, self.row[1:].flip(0)]))
        waves = torch.fft.rfft(vectors, n=size, dim=0)
        circulant = circulant.reshape(-1, *[1] * (vectors.ndim - 1))
        return torch.fft.irfft(circulant * waves, n=size, dim=0)[:n]

    def dense(self) -> Float[Tensor, "n m"]:
        """The matrix itself."""
        n, m = self.shape
        lags = torch.arange(n)[:, None] - torch.arange(m)
        return torch.cat([self.row[1:].flip(0), self.column])[lags + m - 1]

    def solve(
        self, b: Float[Tensor, "n *k"], noise: float = 0.0, tolerance: float = 1e-10, max_iterations: int = 1000
    ) -> Solved:
        """``(T + noise)^{-1} b`` of a symmetric positive definite T, with a report; see `conjugate_gradients`.

        Raises:
            InputError: a matrix that is not symmetric, or not positive definite.
        """
        self._needs_symmetry()
        circulant = self._chan() + noise
        # Chan's circulant of a positive definite matrix is positive definite, up to rounding.
        circulant = circulant.clamp(min=1e-14 * float(circulant.max()))

        def precondition(residual: Tensor) -> Tensor:
            waves = torch.fft.rfft(residual, dim=0) / circulant.reshape(-1, *[1] * (residual.ndim - 1))
            return torch.fft.irfft(waves, n=len(residual), dim=0)

        return conjugate_gradients(
            lambda x: self @ x + noise * x,
            b,
            preconditioner=precondition,
            tolerance=tolerance,
            max_iterations=max_iterations,
        )

    def _chan(self) -> Float[Tensor, " half"]:
        """Eigenvalues of the circulant nearest to T (T. Chan 1988)."""
        n = len(self.column)
        lag = torch.arange(n, dtype=self.column.dtype)
        wrapped = torch.cat([self.column[:1], self.column[1:].flip(0)])
        return torch.fft.rfft(((n - lag) * self.column + lag * wrapped) / n).real

    def logdet(self, noise: float = 0.0) -> Float[Tensor, ""]:
        """``log |T + noise|`` of a symmetric positive definite T, from the prediction errors of Durbin's recursion.

        Raises:
            InputError: a matrix that is not symmetric, or not positive definite.
        """
        self._needs_symmetry()
        column = self.column.double().clone()
        column[0] += noise
        error, total = column[0], torch.zeros((), dtype=torch.float64)
        coefficients = column.new_zeros(0)
        for order in range(1, len(column) + 1):
            if not error > 0:
                raise InputError(
                    "the matrix is not positive definite", f"{float(error):.3g} at row {order}", "Give more noise."
                )
            total = total + error.log()
            if order == len(column):
                break
            reflection = (column[order] - coefficients @ column[1:order].flip(0)) / error
            coefficients = torch.cat([coefficients - reflection * coefficients.flip(0), reflection[None]])
            error = error * (1 - reflection.square())
        return total

    def _needs_symmetry(self) -> None:
        if not self.symmetric:
            raise InputError("only a symmetric Toeplitz matrix can be solved", self.shape, "Leave the row out.")
