"""One eigendecomposition of a kernel matrix that serves every ridge, stopping time, distillation step and score."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from harmonia.core.errors import InputError

Gain = Callable[[Tensor], Tensor] | Tensor


class EigenCache:
    """A symmetric positive semi-definite matrix ``K = V diag(l) V^T``, decomposed once, in float64.

    Functions of the matrix are spectral filters ``g(K) = V diag(g(l)) V^T``: ridge regression ``l / (l + r)``, gradient
    flow ``1 - exp(-l t)``, gradient descent ``1 - (1 - h l)^t``, self-distillation, all from the same eigenvectors.

    Arguments:
        matrix: Symmetric. Eigenvalues that rounding made negative become 0; clearly negative ones too, with a warning.
        scale: Largest entry of the matrices that this one is a difference of, if it is one, as a centred matrix is.
            What is below their rounding counts as 0.

    Attributes:
        values: Eigenvalues, largest first.
        vectors: Their eigenvectors, one per column.

    Raises:
        InputError: a matrix that is not square, not symmetric or not finite.

    Example:
        >>> cache = EigenCache(torch.tensor([[2.0, 1.0], [1.0, 2.0]]))
        >>> cache.values
        tensor([3., 1.], dtype=torch.float64)
        >>> ridge = cache.filter(lambda value: value / (value + 1.0))
        >>> ridge @ torch.ones(2, dtype=torch.float64)
        tensor([0.7500, 0.7500], dtype=torch.float64)
    """

    def __init__(self, matrix: Float[Tensor, "n n"], *, scale: float = 0.0) -> None:
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
            raise InputError("a kernel matrix must be square", tuple(matrix.shape), "Pass k(X, X).")
        matrix = matrix.double()
        if not matrix.isfinite().all():
            raise InputError("the kernel matrix is not finite", "NaN or infinity", "Check the inputs and the kernel.")
        rounding = 1e-14 * len(matrix) * scale
        if len(matrix) and _largest(matrix - matrix.T) > max(1e-4 * _largest(matrix), rounding):
            raise InputError("the kernel matrix is not symmetric", "K differs from K^T", "Pass k(X, X).")
        values, vectors = _eigh((matrix + matrix.T) / 2)
        if len(values) and values[0] < -max(1e-5 * float(values[-1].abs()), rounding):
            warnings.warn(
                f"the kernel matrix has the negative eigenvalue {float(values[0]):.3g}; it is taken as 0", stacklevel=2
            )
        self.values, self.vectors = values.where(values > rounding, 0.0).flip(0), vectors.flip(1)

    @classmethod
    def of_features(cls, features: Float[Tensor, "n rank"]) -> EigenCache:
        """The matrix ``F F^T`` of features, by a thin singular value decomposition.

        Only ``min(n, rank)`` directions are kept; the eigenvalue of all others is 0, and filters give 0 there.

        Raises:
            InputError: features that are not finite.

        Example:
            >>> EigenCache.of_features(torch.tensor([[3.0], [4.0]])).values
            tensor([25.], dtype=torch.float64)
        """
        features = features.double()
        if not features.isfinite().all():
            raise InputError("the features are not finite", "NaN or infinity", "Check the inputs.")
        cache = cls.__new__(cls)
        cache.vectors, roots, _ = torch.linalg.svd(features, full_matrices=False)
        cache.values = roots.square()
        return cache

    @classmethod
    def of_many_rows(
        cls, features: Float[Tensor, "n rank"], gram: Float[Tensor, "rank rank"] | None = None, *, scale: float = 0.0
    ) -> EigenCache:
        """The same as `of_features` by way of ``F^T F``: several times faster where there are many rows.

        Directions whose singular value is below 1e-6 of the largest are lost in rounding, and left out.

        Arguments:
            features: F.
            gram: ``F^T F``, where it is known.
            scale: Of the matrices that `gram` is a difference of, see the class.

        Raises:
            InputError: features that are not finite.

        Example:
            >>> cache = EigenCache.of_many_rows(torch.tensor([[3.0, 3.0], [4.0, 4.0]]))
            >>> cache.values, cache.vectors.shape
            (tensor([50.], dtype=torch.float64), torch.Size([2, 1]))
        """
        features = features.double()
        inner = cls(features.mT @ features if gram is None else gram, scale=scale)
        kept = inner.values > 1e-12 * inner.values.max() if len(inner) else inner.values > 0
        cache = cls.__new__(cls)
        cache.values = inner.values[kept]
        cache.vectors = features @ (inner.vectors[:, kept] / cache.values.sqrt())
        return cache

    def __len__(self) -> int:
        return len(self.values)

    def filter(self, gain: Gain) -> SpectralFilter:
        """The matrix ``V diag(gain(l)) V^T``, not formed.

        Arguments:
            gain: Function of the eigenvalues, or one number per eigenvalue.
        """
        gains = gain if isinstance(gain, Tensor) else gain(self.values)
        return SpectralFilter(self.vectors, gains.to(self.values).expand_as(self.values))

    def project(self, y: Float[Tensor, "n *outputs"]) -> Float[Tensor, "rank *outputs"]:
        """Coordinates of `y` along the eigenvectors: ``V^T y``."""
        return self.vectors.T @ y.to(self.vectors)


def _largest(matrix: Tensor) -> float:
    """The largest absolute entry, without another matrix of them."""
    return max(map(abs, map(float, torch.aminmax(matrix))))


def _eigh(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """By numpy's library where it will do: a fifth faster than torch's on processors that MKL does not favour."""
    if matrix.device.type != "cpu" or matrix.requires_grad:
        values, vectors = torch.linalg.eigh(matrix)
        return values, vectors
    values, vectors = map(torch.from_numpy, np.linalg.eigh(matrix.numpy()))
    return values, vectors


@dataclass(frozen=True)
class SpectralFilter:
    """The symmetric matrix ``V diag(gains) V^T``."""

    vectors: Tensor
    gains: Tensor

    def __matmul__(self, y: Float[Tensor, "n *outputs"]) -> Float[Tensor, "n *outputs"]:
        coordinates = self.vectors.T @ y.to(self.vectors)
        return self.vectors @ (self.gains.reshape(-1, *[1] * (y.ndim - 1)) * coordinates)

    def diagonal(self) -> Float[Tensor, " n"]:
        """Diagonal, e.g. the leverages of a smoother."""
        return self.vectors.square() @ self.gains

    def trace(self) -> Float[Tensor, ""]:
        """Trace, e.g. the effective degrees of freedom of a smoother."""
        return self.gains.sum()

    def dense(self) -> Float[Tensor, "n n"]:
        """The matrix itself."""
        return (self.vectors * self.gains) @ self.vectors.T
