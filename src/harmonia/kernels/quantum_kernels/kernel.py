"""The quantum kernel: squared overlaps of states, exact and differentiable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Complex, Float, Real
from numpy import ndarray
from scipy.linalg import get_blas_funcs
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.quantum_kernels.angles import as_angles
from harmonia.kernels.quantum_kernels.feature_maps import PauliFeatureMap
from harmonia.parts.gram import KernelFunction, is_watched, refuse_too_large
from harmonia.parts.gram.kernels import Number


@dataclass(frozen=True)
class QuantumKernel(KernelFunction):
    """``k(x, z) = |<Phi(bandwidth x)|Phi(bandwidth z)>|^2``: the fidelity of two states.

    A kernel function like any other of `harmonia.parts.gram`: it can be added, multiplied, made by blocks, given to
    Nystrom approximations, and differentiated by the inputs and the bandwidth. `SklearnKernel` makes it one for
    scikit-learn.

    Arguments:
        feature_map: How rows become states.
        bandwidth: Factor of all angles, or one for each feature; smaller ones make the kernel smoother, against
            its concentration at many qubits (Shaydulin & Wild 2022). Lists and arrays become tensors.

    Raises:
        InputError: a bandwidth that is not positive and finite, or not one for each feature.

    Example:
        >>> from harmonia.kernels.quantum_kernels import ZZFeatureMap
        >>> kernel = QuantumKernel(ZZFeatureMap(2), bandwidth=0.5)
        >>> x = torch.tensor([[0.5, 1.0], [2.0, 3.0]], dtype=torch.float64)
        >>> kernel(x).shape, kernel.diagonal(x)
        (torch.Size([2, 2]), tensor([1., 1.], dtype=torch.float64))
    """

    feature_map: PauliFeatureMap
    bandwidth: Number | ndarray | Sequence[int | float] = 1.0

    fixed: ClassVar[frozenset[str]] = frozenset({"feature_map"})

    def __post_init__(self) -> None:
        if not isinstance(self.bandwidth, int | float | Tensor):
            object.__setattr__(self, "bandwidth", as_angles(self.bandwidth))
        values = torch.as_tensor(self.bandwidth, dtype=torch.float64).detach()
        if values.ndim > 1 or values.numel() not in (1, self.feature_map.n_features):
            got = f"shape {tuple(values.shape)} for {self.feature_map.n_features} features"
            raise InputError("a bandwidth is one number, or one for each feature", got, "Pass as many.")
        if not ((values > 0) & values.isfinite()).all():
            raise InputError("the bandwidth of a quantum kernel is positive", self.bandwidth, "Use e.g. 0.5.")

    def angles(self, x: Real[Tensor, "*batch n d"]) -> Float[Tensor, "*batch n d"]:
        """Rows times the bandwidth, in the precision of the rows: what the feature map takes."""
        x = as_angles(x)
        return x * torch.as_tensor(self.bandwidth, dtype=x.dtype, device=x.device)

    def states(self, x: Real[Tensor, "*batch n d"]) -> Complex[Tensor, "*batch n amplitudes"]:
        """The states whose overlaps the kernel measures."""
        return self.feature_map.state(self.angles(x))

    def matrix(self, x1: Tensor, x2: Tensor | None) -> Tensor:
        psi1 = self.states(x1)
        return overlaps(psi1, None if x2 is None else self.states(x2))

    def diagonal(self, x: Real[Tensor, "*batch n d"]) -> Float[Tensor, "*batch n"]:
        return as_angles(x).new_ones(x.shape[:-1])


def overlaps(
    psi1: Complex[Tensor, "*batch n amplitudes"], psi2: Complex[Tensor, "*batch m amplitudes"] | None = None
) -> Float[Tensor, "*batch n m"]:
    """``|<psi1_i|psi2_j>|^2``; of `psi1` with itself exactly symmetric.

    Raises:
        InputError: a matrix that does not fit into memory.

    Example:
        >>> overlaps(torch.eye(2, dtype=torch.complex128))
        tensor([[1., 0.],
                [0., 1.]], dtype=torch.float64)
    """
    if psi1.device.type == "cpu":
        refuse_large_matrix(psi1.shape[:-1].numel(), (psi1 if psi2 is None else psi2).shape[-2], psi1.real.itemsize)
    if psi2 is None and psi1.ndim == 2 and psi1.device.type == "cpu" and not is_watched(psi1):
        return _own_overlaps(psi1)
    product = torch.view_as_real(psi1.conj() @ (psi1 if psi2 is None else psi2).mT)
    values = product.square().sum(-1)
    return (values + values.mT) / 2 if psi2 is None else values


def refuse_large_matrix(rows: int, columns: int, itemsize: int = 8) -> None:
    """Refuse a kernel matrix that does not fit into memory beside the products and squares it is made of.

    Raises:
        InputError: with the memory that is needed.
    """
    mend = "Pass fewer rows at once, or compute it by blocks: harmonia.parts.gram.kernel_matrix."
    refuse_too_large(f"a kernel matrix of {rows} x {columns}", 5 * itemsize * rows * columns, mend)


def _own_overlaps(psi: Tensor) -> Tensor:
    """Of states with themselves: BLAS computes only half of the products."""
    array = psi.resolve_conj().numpy()
    [herk] = get_blas_funcs(["herk"], (array,))
    half = herk(1.0, array.T, trans=2)
    values = np.triu(half.real**2 + half.imag**2)
    return torch.from_numpy(values + np.triu(values, 1).T)
