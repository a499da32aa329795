"""What a kernel matrix says before anything is trained: alignment, concentration, rank, difference from another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.kernels.quantum_kernels.angles import as_angles
from harmonia.kernels.quantum_kernels.kernel import QuantumKernel


def kernel_target_alignment(K: Float64[ndarray, "n n"], y: ndarray) -> float:
    """``<K, T> / (|K| |T|)`` with ``T_ij = 1`` for rows of one class and ``-1 / (classes - 1)`` for others.

    For two classes ``T = y y^T`` (Cristianini et al. 2001); 1 is a kernel that is the labels' own.

    Example:
        >>> kernel_target_alignment(np.eye(2), np.array([0, 1]))
        0.7071067811865475
    """
    K, y = _square(K), np.asarray(y)
    if len(y) != len(K):
        raise InputError("every row of the kernel needs a label", f"{len(y)} labels of {len(K)} rows", "Pass all.")
    classes = len(np.unique(y))
    if classes < 2:
        raise InputError("alignment needs two classes", f"{classes} class", "Add rows of others.")
    target = np.where(y[:, None] == y, 1.0, -1.0 / (classes - 1))
    return float((K * target).sum() / (np.linalg.norm(K) * np.linalg.norm(target)))


def effective_rank(K: Float64[ndarray, "n n"]) -> float:
    """``exp`` of the entropy of the eigenvalues' shares (Roy & Vetterli 2007): from 1 to the number of rows.

    Example:
        >>> round(effective_rank(np.eye(3)), 9), round(effective_rank(np.ones((3, 3))), 9)
        (3.0, 1.0)
    """
    values = np.linalg.eigvalsh(_square(K)).clip(0)
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def geometric_difference(K1: Float64[ndarray, "n n"], K2: Float64[ndarray, "m m"], ridge: float = 1e-9) -> float:
    """``sqrt(|sqrt(K2) K1^-1 sqrt(K2)|)``, in the spectral norm, of kernels scaled to trace n (Huang et al. 2021).

    How much better than K1 a kernel K2 can possibly do on labels made for it: with n rows the two predict alike if it
    is well below ``sqrt(n)``. K1 is the classical kernel there, K2 the quantum one.

    Arguments:
        K1, K2: Kernel matrices of the same rows.
        ridge: Added to the scaled K1, which may be singular.

    Example:
        >>> round(geometric_difference(np.eye(4), np.diag([4.0, 1.0, 1.0, 2.0])), 6)
        1.414214
    """
    K1, K2 = (_square(K) * (len(K) / np.trace(K)) for K in (K1, K2))
    if K1.shape != K2.shape:
        raise InputError("the kernels are of the same rows", f"{K1.shape} and {K2.shape}", "Pass k(X, X) of one X.")
    values, vectors = np.linalg.eigh(K2)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    inner = root @ np.linalg.solve(K1 + ridge * np.eye(len(K1)), root)
    return float(np.sqrt(np.linalg.eigvalsh((inner + inner.T) / 2)[-1]))


_LITTLE = 0.05
"""Larger overlaps are no cause for concern, however few the qubits."""


@dataclass(frozen=True)
class Concentration:
    """How the overlaps of different rows are spread.

    Attributes:
        mean: Of the overlaps.
        std: Of the overlaps.
        random: What random states have on average: 2^-n.
        shots: Runs of each circuit after which the shot noise of a mean overlap, ``sqrt(mean (1 - mean) / shots)``, is
            no larger than the overlaps' own spread.
    """

    mean: float
    std: float
    random: float
    shots: float

    @property
    def concentrated(self) -> bool:
        """Whether rows overlap hardly more than random states, and little: then few rows or shots teach nothing."""
        return self.mean < min(2 * self.random, _LITTLE)

    def __str__(self) -> str:
        verdict = "concentrated" if self.concentrated else "not concentrated"
        return f"overlaps {self.mean:.3g} ± {self.std:.3g}, random states {self.random:.3g}: {verdict}"


def concentration_report(kernel: QuantumKernel, X: Any) -> Concentration:
    """Overlaps of all pairs of rows of angles (n, features), which `as_angles` takes.

    Raises:
        InputError: fewer than two rows, or angles that the feature map does not take.

    Example:
        >>> from harmonia.kernels.quantum_kernels import ZZFeatureMap
        >>> X = np.random.default_rng(0).uniform(0, 2 * np.pi, (50, 8))
        >>> print(concentration_report(QuantumKernel(ZZFeatureMap(8)), X))
        overlaps 0.00481 ± 0.0048, random states 0.00391: concentrated
    """
    x = as_angles(X)
    if len(x) < 2:
        raise InputError("overlaps need two rows", len(x), "Pass more.")
    with torch.no_grad():
        matrix = kernel(x).cpu().numpy()
    return concentration_of(matrix, kernel.feature_map.dimension)


def concentration_of(K: Float64[ndarray, "n n"], dimension: int) -> Concentration:
    """The same of a kernel matrix of states with `dimension` amplitudes."""
    pairs = K[np.triu_indices(len(K), 1)]
    mean, std = float(pairs.mean()), float(pairs.std())
    shots = mean * (1 - mean) / std**2 if std else math.inf
    return Concentration(mean, std, 1 / dimension, shots)


def _square(K: Float64[ndarray, "n n"]) -> Float64[ndarray, "n n"]:
    K = np.asarray(K, dtype=np.float64)
    if K.ndim != 2 or K.shape[0] != K.shape[1] or not K.size:
        raise InputError("a kernel matrix is square", K.shape, "Pass k(X, X).")
    if not np.isfinite(K).all():
        raise InputError("the kernel matrix is not finite", "NaN or infinity", "Check the inputs.")
    if not np.trace(K) > 0:
        raise InputError("a kernel matrix has a positive trace", np.trace(K), "Pass k(X, X).")
    return K
