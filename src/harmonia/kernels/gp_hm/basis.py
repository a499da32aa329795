"""The Gaussian process of one axis on its grid, as a basis: exact derivatives, exact boundary conditions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.gp_hm.boundary import Row
from harmonia.kernels.gp_hm.kernel import SpectralMixtureKernel1D
from harmonia.parts.gram import EigenCache, along

UNIFORM = 1e-9
"""Grids whose steps differ by less than this, relative, are uniform: the kernel is then evaluated once a lag."""


class Lags:
    """The signed lags of a grid, each once where the grid is uniform; scatters values and gathers gradients."""

    def __init__(self, x: Float[Tensor, " n"]) -> None:
        self.x = x
        steps = x.diff()
        self.uniform = bool((steps - steps.mean()).abs().max() <= UNIFORM * steps.mean())
        n = len(x)
        if self.uniform:
            self.values = torch.arange(n, dtype=x.dtype) * (x[-1] - x[0]) / (n - 1)
            self._offset = torch.arange(n)[:, None] - torch.arange(n)
        else:
            self.values = (x[:, None] - x).reshape(-1)

    def matrix(self, kernel: SpectralMixtureKernel1D, order: int) -> Float[Tensor, "n n"]:
        """``d^m/dx^m k(x_i - x_j)``, m = `order`."""
        values = kernel.k(self.values, order)
        n = len(self.x)
        if not self.uniform:
            return values.reshape(n, n)
        mirrored = -values[1:].flip(0) if order % 2 else values[1:].flip(0)
        return torch.cat([mirrored, values])[self._offset + n - 1]

    def gradient(self, kernel: SpectralMixtureKernel1D, adjoint: Float[Tensor, "n n"]) -> Float[Tensor, ""]:
        """``sum_ij adjoint_ij k(x_i - x_j)``, to be differentiated by the parameters at the cost of the lags alone."""
        values = kernel.k(self.values)
        if not self.uniform:
            return (values * adjoint.reshape(-1)).sum()
        collected = torch.zeros_like(self.values).index_add(0, self._offset.abs().reshape(-1), adjoint.reshape(-1))
        return (values * collected).sum()


class AxisBasis:
    """``u(x) = k(x, X) S z`` with ``z ~ N(0, 1)``: the process on a grid X in whitened coordinates.

    ``K = k(X, X) = W diag(omega) W^T`` and ``S = W omega^{-1/2}`` over the eigenvalues that exceed `jitter` times the
    largest: what the grid can tell apart. A kernel that fills a narrow band has few of them, however fine the grid.

    Arguments:
        lags: Of the grid X.
        kernel: With parameters.
        rows: Boundary conditions along this axis.
        jitter: Relative size of the eigenvalues that are dropped.
    """

    def __init__(self, lags: Lags, kernel: SpectralMixtureKernel1D, rows: Sequence[Row], jitter: float = 1e-10) -> None:
        self.lags, self.kernel, self.rows, self.jitter = lags, kernel, rows, jitter
        self.cache = EigenCache(lags.matrix(kernel, 0))
        kept = int((self.cache.values > jitter * self.cache.values[0]).sum())
        self.omega, self.vectors = self.cache.values[:kept], self.cache.vectors[:, :kept]
        self.scale = self.vectors / self.omega.sqrt()
        self._matrices: dict[int, Tensor] = {}

    @property
    def rank(self) -> int:
        """Number of coordinates z."""
        return len(self.omega)

    def at(self, points: Float[Tensor, " m"], order: int = 0) -> Float[Tensor, "m rank"]:
        """Basis functions, or their derivatives, at any points: ``k^(order)(points, X) S``."""
        return self.kernel.k(points[:, None] - self.lags.x, order) @ self.scale

    def on_grid(self, order: int = 0) -> Float[Tensor, "n rank"]:
        """The same at the points of the grid."""
        if order not in self._matrices:
            self._matrices[order] = self.lags.matrix(self.kernel, order) @ self.scale
        return self._matrices[order]

    def coordinates(self, values: Float[Tensor, "n *k"]) -> Float[Tensor, "rank *k"]:
        """The z of values on the grid."""
        return along(values, self.scale.T, 0)

    @cached_property
    def conditions(self) -> Float[Tensor, "rows rank"]:
        """The boundary conditions as functionals of z."""
        found = [
            torch.stack([sign * self.on_grid(order)[end] for end, order, sign in row.terms]).sum(0) for row in self.rows
        ]
        return torch.stack(found) if found else self.omega.new_zeros(0, self.rank)

    @cached_property
    def lift(self) -> Float[Tensor, "rank rows"]:
        """The least z that meets the conditions: the right inverse of `conditions`."""
        return torch.linalg.pinv(self.conditions, rtol=1e-12)

    @cached_property
    def free(self) -> Float[Tensor, "rank free"]:
        """Orthonormal z that leave the conditions alone: the process conditioned on zero boundary values.

        Raises:
            InputError: more conditions than coordinates, or contradicting ones.
        """
        count = len(self.rows)
        if count >= self.rank:
            got = f"{count} conditions, {self.rank} coordinates"
            raise InputError("nothing is left for the equation to decide", got, "Give more points or fewer conditions.")
        if not count:
            return torch.eye(self.rank, dtype=self.omega.dtype)
        _, sizes, right = torch.linalg.svd(self.conditions)
        if sizes[-1] <= 1e-12 * sizes[0]:
            raise InputError("two conditions along one axis say the same", f"{count} conditions", "Leave one out.")
        return right[count:].T

    @cached_property
    def orthonormal(self) -> tuple[Float[Tensor, "n free"], Float[Tensor, "free free"]]:
        """``Q, R``: the functions of `free` on the grid, orthonormalised: ``on_grid() @ free = Q R``."""
        q, r = torch.linalg.qr(self.on_grid() @ self.free)
        return q, r

    def derivative(self, order: int) -> Float[Tensor, "n free"]:
        """The exact derivatives of the orthonormal functions Q, on the grid."""
        if order == 0:
            return self.orthonormal[0]
        found = self.on_grid(order) @ self.free
        return torch.linalg.solve_triangular(self.orthonormal[1].T, found.T, upper=False).T

    def to_z(self, values: Float[Tensor, "free *k"]) -> Float[Tensor, "rank *k"]:
        """From coordinates along Q to z."""
        columns = values.reshape(len(values), -1)
        found = self.free @ torch.linalg.solve_triangular(self.orthonormal[1], columns, upper=True)
        return found.reshape(self.rank, *values.shape[1:])
