"""Kernel matrices: by blocks, on disk, never stored, and their eigendecomposition."""

from harmonia.parts.gram import lags
from harmonia.parts.gram.cholesky import Cholesky, jittered_cholesky
from harmonia.parts.gram.conjugate_gradients import Solved, conjugate_gradients
from harmonia.parts.gram.dot_product_features import (
    ArcCosineFeatures,
    MaclaurinFeatures,
    best_spread,
    exponential_features,
    log_second_moment,
    scaled_exponential_features,
)
from harmonia.parts.gram.eigen import EigenCache, SpectralFilter
from harmonia.parts.gram.gpytorch import as_gpytorch
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
from harmonia.parts.gram.kronecker import Kronecker, along, quadratic_form
from harmonia.parts.gram.krylov import Ritz, ritz_pairs
from harmonia.parts.gram.matrix import (
    Kernel,
    KernelOperator,
    Tile,
    free_memory,
    kernel_matrix,
    over_tiles,
    refuse_too_large,
    tiles,
)
from harmonia.parts.gram.mean_embedding import mean_embedding, mmd_squared, product_mean_embedding
from harmonia.parts.gram.nystrom import Marginals, Nystrom, Pivoted, choose_landmarks, pivoted_cholesky
from harmonia.parts.gram.psd import (
    gaussian_kl,
    gaussian_kl_of_factors,
    gaussian_kl_of_relative_factor,
    geodesic,
    nearest_psd,
)
from harmonia.parts.gram.random_features import (
    DenseProjection,
    Directions,
    FourierFeatures,
    Projection,
    StructuredProjection,
    draw_directions,
    johnson_lindenstrauss,
    radius_quantile,
)
from harmonia.parts.gram.ridge import NormalEquations, RidgePath, feature_ridge, kernel_ridge
from harmonia.parts.gram.scikit_learn import SklearnKernel
from harmonia.parts.gram.toeplitz import Toeplitz
from harmonia.parts.gram.walsh_hadamard import is_watched, walsh_hadamard

__all__ = [
    "ArcCosine",
    "ArcCosineFeatures",
    "Cholesky",
    "Constant",
    "DenseProjection",
    "Directions",
    "DotProduct",
    "EigenCache",
    "FourierFeatures",
    "Kernel",
    "KernelFunction",
    "KernelOperator",
    "Kronecker",
    "Laplace",
    "Linear",
    "MaclaurinFeatures",
    "Marginals",
    "Matern",
    "NormalEquations",
    "Nystrom",
    "Pivoted",
    "Polynomial",
    "Product",
    "Projection",
    "RationalQuadratic",
    "RidgePath",
    "Ritz",
    "SklearnKernel",
    "Solved",
    "SpectralFilter",
    "SquaredExponential",
    "Stationary",
    "StructuredProjection",
    "Sum",
    "Tile",
    "Toeplitz",
    "along",
    "as_gpytorch",
    "as_kernel",
    "best_spread",
    "choose_landmarks",
    "conjugate_gradients",
    "draw_directions",
    "exponential_features",
    "feature_ridge",
    "free_memory",
    "gaussian_kl",
    "gaussian_kl_of_factors",
    "gaussian_kl_of_relative_factor",
    "geodesic",
    "is_watched",
    "jittered_cholesky",
    "johnson_lindenstrauss",
    "kernel_matrix",
    "kernel_ridge",
    "lags",
    "log_second_moment",
    "mean_embedding",
    "mmd_squared",
    "nearest_psd",
    "over_tiles",
    "pivoted_cholesky",
    "product_mean_embedding",
    "quadratic_form",
    "radius_quantile",
    "refuse_too_large",
    "ritz_pairs",
    "scaled_exponential_features",
    "squared_distances",
    "tiles",
    "walsh_hadamard",
]
