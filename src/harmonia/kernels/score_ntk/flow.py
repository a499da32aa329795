"""Gradient flow of kernel regression at every time at once, from one eigendecomposition.

With the Gram matrix ``K / N = V diag(l) V^T``, training for the time tau on ``|f - Y|^2 / 2N`` gives

    f_tau(z) = k(z, Z)/N V diag(g(l)) V^T Y,    g(l) = (1 - exp(-l tau)) / l,

and as many steps k of size eta on the sum ``|f - Y|^2 / 2`` give the same with tau = eta k N and
``g(l) = (1 - (1 - eta N l)^k) / l``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from harmonia.parts.gram import EigenCache, Kernel, kernel_matrix, ritz_pairs

_RANK = 1e-13
"""Eigenvalues below this share of the largest are noise of rounding; training to the end leaves them out."""


def flow_gain(values: Float[Tensor, " r"], tau: float) -> Float[Tensor, " r"]:
    """``(1 - exp(-l tau)) / l``: tau for l = 0, the (pseudo-)inverse for tau = infinity.

    Example:
        >>> flow_gain(torch.tensor([2.0, 0.0]), 1.0)
        tensor([0.4323, 1.0000])
    """
    if math.isinf(tau):
        kept = values > _RANK * values.amax()
        return torch.where(kept, 1 / values.where(kept, torch.ones_like(values)), 0.0)
    tiny = torch.finfo(values.dtype).tiny
    return torch.where(values > tiny, -torch.expm1(-values * tau) / values.clamp_min(tiny), tau)


@dataclass(frozen=True)
class KernelFlow:
    """Kernel regression under gradient flow, diagonalised.

    ``f_tau(z) = k(z, anchors) readout diag(g_tau(values)) vectors^T Y``.

    Attributes:
        values: Eigenvalues of K/N, largest first.
        vectors: Their eigenvectors over the N training inputs, one per column.
        readout: From the same components to coefficients at the anchors.
    """

    values: Float[Tensor, " r"]
    vectors: Float[Tensor, "n r"]
    readout: Float[Tensor, "anchors r"]

    def coefficients(self, targets: Float[Tensor, "n d"], taus: Sequence[float]) -> Float[Tensor, "t anchors d"]:
        """Coefficients at the anchors after each of the training times."""
        coordinates = self.vectors.T @ targets
        gains = torch.stack([flow_gain(self.values, tau) for tau in taus])
        return self.readout @ (gains[:, :, None] * coordinates)

    def separate_coefficients(
        self, targets: Float[Tensor, "n d"], taus: Float[Tensor, " d"]
    ) -> Float[Tensor, "anchors d"]:
        """Coefficients at the anchors where every output is trained for a time of its own."""
        gains = torch.stack([flow_gain(self.values, tau) for tau in taus.tolist()], 1)
        return self.readout @ (gains * (self.vectors.T @ targets))

    def fitted(self, targets: Float[Tensor, "n d"], tau: float) -> Float[Tensor, "n d"]:
        """Outputs at the training inputs."""
        return self.vectors @ ((self.values * flow_gain(self.values, tau))[:, None] * (self.vectors.T @ targets))


class Design(ABC):
    """The Gram matrix of all training inputs, exact or approximated, and its parts that folds need.

    Attributes:
        anchors: Inputs at which coefficients sit.
    """

    anchors: Float[Tensor, "anchors features"]

    @abstractmethod
    def __len__(self) -> int:
        """Number of training inputs."""

    @abstractmethod
    def flow(self, rows: Int64[Tensor, " n"] | None = None) -> KernelFlow:
        """Training on those rows; on all unless given."""

    def path(
        self, targets: Float[Tensor, "n d"], taus: Sequence[float], rows: Int64[Tensor, " n"]
    ) -> Float[Tensor, "t anchors d"]:
        """Coefficients at the anchors after training on those rows for each of the times."""
        return self.flow(rows).coefficients(targets, taus)

    @abstractmethod
    def cross(self, rows: Int64[Tensor, " m"], trained: Int64[Tensor, " n"]) -> Float[Tensor, "m anchors"]:
        """Kernel between rows and the anchors of a flow that was trained on other rows."""


class ExactDesign(Design):
    """The whole Gram matrix; every training input is an anchor."""

    def __init__(self, kernel: Kernel, inputs: Float[Tensor, "n features"]) -> None:
        self.anchors = inputs
        self.gram = kernel_matrix(kernel, inputs)

    def __len__(self) -> int:
        return len(self.gram)

    def flow(self, rows: Int64[Tensor, " n"] | None = None) -> KernelFlow:
        gram = self.gram if rows is None else self.gram[rows][:, rows]
        eigen = EigenCache(gram / len(gram))
        return KernelFlow(eigen.values, eigen.vectors, eigen.vectors / len(gram))

    def path(
        self, targets: Float[Tensor, "n d"], taus: Sequence[float], rows: Int64[Tensor, " n"]
    ) -> Float[Tensor, "t anchors d"]:
        gram = self.gram[rows][:, rows] / len(rows)
        ritz = ritz_pairs(gram, targets, lambda values: flow_gain(values, max(taus)))
        return KernelFlow(ritz.values, ritz.vectors, ritz.vectors / len(rows)).coefficients(targets, taus)

    def cross(self, rows: Int64[Tensor, " m"], trained: Int64[Tensor, " n"]) -> Float[Tensor, "m anchors"]:
        return self.gram[rows][:, trained]


class NystromDesign(Design):
    """Features of landmarks, ``K ~ Phi Phi^T`` with ``Phi = k(Z, L) k(L, L)^-1/2``: many inputs, small matrices.

    Landmarks are `count` random inputs.
    """

    def __init__(
        self, kernel: Kernel, inputs: Float[Tensor, "n features"], count: int, generator: torch.Generator
    ) -> None:
        self.anchors = inputs[torch.randperm(len(inputs), generator=generator)[:count]]
        landmarks = EigenCache(kernel_matrix(kernel, self.anchors))
        kept = landmarks.values > 1e-10 * landmarks.values[0]
        self._whitening = landmarks.vectors[:, kept] * landmarks.values[kept].rsqrt()
        self._cross = kernel_matrix(kernel, inputs, self.anchors)
        self._features = self._cross @ self._whitening

    def __len__(self) -> int:
        return len(self._features)

    def flow(self, rows: Int64[Tensor, " n"] | None = None) -> KernelFlow:
        features = self._features if rows is None else self._features[rows]
        n = len(features)
        eigen = EigenCache(features.T @ features / n)
        root = eigen.values.clamp_min(_RANK * float(eigen.values[0])).sqrt()
        vectors = features @ eigen.vectors / (root * math.sqrt(n))
        return KernelFlow(eigen.values, vectors, self._whitening @ eigen.vectors * (root / math.sqrt(n)))

    def cross(self, rows: Int64[Tensor, " m"], trained: Int64[Tensor, " n"]) -> Float[Tensor, "m anchors"]:
        return self._cross[rows]
