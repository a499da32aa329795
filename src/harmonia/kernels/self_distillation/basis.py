"""The eigenvectors of a kernel on training rows, and everything that follows from the first fit along them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.kernels.self_distillation.spectral import Smoother
from harmonia.parts.gram import EigenCache


@dataclass(frozen=True)
class Basis:
    """Eigenvectors of a kernel matrix, and how other rows are projected on them.

    With `offset` the kernel is centred, which is the same as an intercept without penalty: ``K -> H K H`` with
    ``H = I - 1 1^T / n``, and targets lose their mean.

    Attributes:
        eigen: Of the kernel on the training rows.
        loading: Takes rows of ``k(x, X)``, or of features, to coordinates along the eigenvectors.
        offset: Mean training row, subtracted first; zero without an intercept.
        intercept: Whether there is one.
    """

    eigen: EigenCache
    loading: Float[Tensor, "columns rank"]
    offset: Float[Tensor, " columns"]
    intercept: bool

    @classmethod
    def of_kernel(cls, matrix: Float[Tensor, "n n"], intercept: bool) -> Basis:
        """From the kernel matrix of the training rows."""
        matrix = matrix.double()
        offset = matrix.mean(0) if intercept else torch.zeros_like(matrix[0])
        centred = matrix - offset - offset[:, None] + offset.mean() if intercept else matrix
        eigen = EigenCache(centred)
        return cls(eigen, eigen.vectors, offset, intercept)

    @classmethod
    def of_features(cls, features: Float[Tensor, "n rank"], intercept: bool) -> Basis:
        """From features whose inner products are the kernel: cheap for many rows and few features."""
        features = features.double()
        offset = features.mean(0) if intercept else torch.zeros_like(features[0])
        eigen = EigenCache.of_features(features - offset)
        return cls(eigen, (features - offset).T @ eigen.vectors, offset, intercept)

    def project(self, rows: Float[Tensor, "m columns"]) -> Float[Tensor, "m rank"]:
        """Rows of ``k(x, X)``, or features of x, along the eigenvectors: ``k(x, X) V``."""
        return (rows.double() - self.offset) @ self.loading


@dataclass(frozen=True)
class InitialFit:
    """The ordinary fit; every step of self-distillation is a function of it.

    Attributes:
        basis: Eigenvectors of the kernel.
        coordinates: Of the targets along them, without their mean if there is an intercept, (rank, k).
        mean: That mean, or zeros, (k,).
        rest: Length per output of the part of the targets that no eigenvector reaches, (k,).
        smoother: Ridge or early stopping.
    """

    basis: Basis
    coordinates: Float[Tensor, "rank k"]
    mean: Float[Tensor, " k"]
    rest: Float[Tensor, " k"]
    smoother: Smoother

    @classmethod
    def of(cls, basis: Basis, targets: Float[Tensor, "n k"], smoother: Smoother) -> InitialFit:
        """Project targets once."""
        targets = targets.double()
        mean = targets.mean(0) if basis.intercept else torch.zeros_like(targets[0])
        coordinates = basis.eigen.project(targets - mean)
        rest = (targets - mean).square().sum(0) - coordinates.square().sum(0)
        return cls(basis, coordinates, mean, rest.clamp_min(0).sqrt(), smoother)

    @property
    def gain(self) -> Float[Tensor, " rank"]:
        """``a``: the share of its target that one fit reaches along each eigenvector."""
        return self.smoother.gain(self.basis.eigen.values)

    def predict(
        self, projected: Float[Tensor, "m rank"], shares: Float[Tensor, "*steps rank"]
    ) -> Float[Tensor, "*steps m k"]:
        """Predictions of steps whose targets hold the given shares of the true targets.

        Arguments:
            projected: Of `Basis.project`.
            shares: ``m`` of `spectral.target_shares`; several steps at once.
        """
        return _times(projected, self._weights(shares)) + self.mean

    def predict_rows(
        self, rows: Float[Tensor, "m columns"], shares: Float[Tensor, "*steps rank"]
    ) -> Float[Tensor, "*steps m k"]:
        """The same for rows of ``k(x, X)`` or features, in the order of products that costs less.

        Arguments:
            rows: As of `Basis.project`.
            shares: ``m`` of `spectral.target_shares`; several steps at once.
        """
        if shares[..., 0].numel() * self.coordinates.shape[1] > len(rows):
            return self.predict(self.basis.project(rows), shares)
        weights = _times(self.basis.loading, self._weights(shares))
        return _times(rows.double() - self.basis.offset, weights) + self.mean

    def _weights(self, shares: Tensor) -> Tensor:
        return (self.smoother.solve(self.basis.eigen.values) * shares)[..., None] * self.coordinates


def _times(matrix: Tensor, weights: Tensor) -> Tensor:
    """``matrix @ weights`` for weights (..., rank, k), as one product: torch would repeat the matrix."""
    columns = weights.movedim(-2, 0)
    product = matrix @ columns.reshape(len(columns), -1)
    return product.reshape(-1, *columns.shape[1:]).movedim(0, -2)
