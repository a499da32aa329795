"""Kernel matrices: by blocks, on disk, never stored, and their eigendecomposition."""

from harmonia.parts.gram.cholesky import Cholesky
from harmonia.parts.gram.eigen import EigenCache, SpectralFilter
from harmonia.parts.gram.kernels import (
    ArcCosine,
    Constant,
    DotProduct,
    KernelFunction,
    Laplace,
    Linear,
    Matern,
    Polynomial,
    Product,
    RationalQuadratic,
    SquaredExponential,
    Stationary,
    Sum,
    as_kernel,
    squared_distances,
)
from harmonia.parts.gram.krylov import Ritz, ritz_pairs
from harmonia.parts.gram.matrix import Kernel, KernelOperator, Tile, free_memory, kernel_matrix, over_tiles, tiles
from harmonia.parts.gram.walsh_hadamard import walsh_hadamard

__all__ = [
    "ArcCosine",
    "Cholesky",
    "Constant",
    "DotProduct",
    "EigenCache",
    "Kernel",
    "KernelFunction",
    "KernelOperator",
    "Laplace",
    "Linear",
    "Matern",
    "Polynomial",
    "Product",
    "RationalQuadratic",
    "Ritz",
    "SpectralFilter",
    "SquaredExponential",
    "Stationary",
    "Sum",
    "Tile",
    "as_kernel",
    "free_memory",
    "kernel_matrix",
    "over_tiles",
    "ritz_pairs",
    "squared_distances",
    "tiles",
    "walsh_hadamard",
]
