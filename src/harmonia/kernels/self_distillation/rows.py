"""From inputs to rows of a kernel matrix, or to features whose inner products are the kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.metrics.pairwise import PAIRWISE_KERNEL_FUNCTIONS, pairwise_kernels
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.self_distillation.basis import Basis
from harmonia.parts.gram import EigenCache, free_memory, kernel_matrix
from harmonia.parts.infwidth import NetworkKernel, Sequential

KernelLike = str | Sequential | NetworkKernel | Callable[[np.ndarray, np.ndarray], Any]


@dataclass(frozen=True)
class KernelFunction:
    """A kernel as a user names it, on numpy arrays.

    Arguments:
        kernel: A name that ``sklearn.metrics.pairwise`` knows, ``"precomputed"``, an infinitely wide network (its
            tangent kernel, or any `infwidth.NetworkKernel`), or a function ``k(X, Z)`` that gives the matrix.
        options: ``gamma``, ``degree``, ``coef0``, for kernels by name that have them.
    """

    kernel: Any  # a `KernelLike`, checked below
    options: dict[str, Any]

    def __post_init__(self) -> None:
        named = isinstance(self.kernel, str) and self.kernel in (*PAIRWISE_KERNEL_FUNCTIONS, "precomputed")
        if not named and (isinstance(self.kernel, str) or not callable(self.kernel)) and not self.is_network:
            names = ", ".join(sorted({*PAIRWISE_KERNEL_FUNCTIONS, "precomputed"}))
            raise InputError("no such kernel", repr(self.kernel), f"Use a function k(X, Z), a network, or: {names}.")

    @property
    def is_network(self) -> bool:
        return isinstance(self.kernel, (Sequential, NetworkKernel))

    def __call__(self, x: np.ndarray, z: np.ndarray) -> Tensor:
        """The matrix ``k(x, z)``; of precomputed kernels `x` itself."""
        kernel = self.kernel
        if kernel == "precomputed":
            return torch.tensor(x, dtype=torch.float64)
        if isinstance(kernel, (Sequential, NetworkKernel)):
            network = NetworkKernel(kernel) if isinstance(kernel, Sequential) else kernel
            left, right = (torch.tensor(a, dtype=torch.float64) for a in (x, z))
            return kernel_matrix(network, left, None if z is x else right)
        if isinstance(kernel, str):
            found = pairwise_kernels(x, z, metric=kernel, filter_params=True, **self.options)
        else:
            found = kernel(x, z)
        matrix = torch.as_tensor(np.array(found, dtype=np.float64))
        if matrix.shape != (len(x), len(z)):
            got = f"{tuple(matrix.shape)} for {len(x)} and {len(z)} rows"
            raise InputError("the kernel function gives a matrix of the wrong shape", got, "Return k(X, Z).")
        return matrix


@dataclass(frozen=True)
class Rows:
    """How rows of inputs enter the fit, decided once on the training inputs.

    Attributes:
        kernel: The kernel.
        anchors: Inputs that rows are compared with: all training inputs, or landmarks; None if inputs are features.
        whitening: Takes ``k(x, landmarks)`` to features (Nystrom); None for full kernel rows.
    """

    kernel: KernelFunction
    anchors: np.ndarray | None
    whitening: Tensor | None = None

    @classmethod
    def exact(cls, kernel: KernelFunction, x: np.ndarray, dense: bool = False) -> Rows:
        """All of the kernel; a linear one of more rows than columns by its features, unless `dense`.

        Raises:
            InputError: matrices that do not fit into memory.
        """
        if kernel.kernel == "linear" and x.shape[1] < len(x) and not dense:
            return cls(kernel, None)
        mend = "Give landmarks=1000 for an approximation from that many rows."
        refuse_too_large(6 * len(x) ** 2, f"the kernel matrix of {len(x)} rows", mend)
        return cls(kernel, x)

    @classmethod
    def nystrom(cls, kernel: KernelFunction, x: np.ndarray, landmarks: np.ndarray) -> Rows:
        """The kernel approximated from some rows: ``k(x, L) k(L, L)^{-1} k(L, z)``."""
        anchors = x[landmarks]
        core = EigenCache(kernel(anchors, anchors))
        kept = core.values > 1e-12 * core.values[0]
        return cls(kernel, anchors, core.vectors[:, kept] / core.values[kept].sqrt())

    @property
    def are_features(self) -> bool:
        return self.anchors is None or self.whitening is not None

    def __call__(self, x: np.ndarray) -> Tensor:
        """Rows ``k(x, X)``, or features of x."""
        if self.anchors is None:
            return torch.tensor(x, dtype=torch.float64)
        matrix = self.kernel(x, self.anchors)
        return matrix if self.whitening is None else matrix @ self.whitening

    def basis(self, data: Tensor, intercept: bool) -> Basis:
        """Eigenvectors of the kernel, from the training rows."""
        return Basis.of_features(data, intercept) if self.are_features else Basis.of_kernel(data, intercept)


def refuse_too_large(numbers: int, what: str, mend: str) -> None:
    """Refuse matrices of that many numbers in all if they do not fit into memory, before they are made.

    Raises:
        InputError: with the memory they need.
    """
    needed, free = 8 * numbers, free_memory()
    if needed > free:
        got = f"{needed / 2**30:.1f} GiB needed, {free / 2**30:.1f} GiB free"
        raise InputError(f"{what} does not fit into memory", got, mend)
