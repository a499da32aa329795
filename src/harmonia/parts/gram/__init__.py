"""Kernel matrices: by blocks, on disk, never stored, and their eigendecomposition."""

from harmonia.parts.gram.cholesky import Cholesky
from harmonia.parts.gram.eigen import EigenCache, SpectralFilter
from harmonia.parts.gram.krylov import Ritz, ritz_pairs
from harmonia.parts.gram.matrix import Kernel, KernelOperator, Tile, free_memory, kernel_matrix, over_tiles, tiles
from harmonia.parts.gram.walsh_hadamard import walsh_hadamard

__all__ = [
    "Cholesky",
    "EigenCache",
    "Kernel",
    "KernelOperator",
    "Ritz",
    "SpectralFilter",
    "Tile",
    "free_memory",
    "kernel_matrix",
    "over_tiles",
    "ritz_pairs",
    "tiles",
    "walsh_hadamard",
]
