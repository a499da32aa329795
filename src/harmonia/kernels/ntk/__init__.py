"""Neural tangent kernel (arXiv:1806.07572): what wide networks do at initialisation and during training."""

from harmonia.kernels.ntk.dynamics import (
    Spectrum,
    StoppingTime,
    function_space_flow,
    kernel_alignment,
    ntk_spectrum,
    stopping_time,
)
from harmonia.kernels.ntk.empirical import empirical_ntk
from harmonia.kernels.ntk.estimators import NTKClassifier, NTKRegressor
from harmonia.kernels.ntk.gp import NTKKernel
from harmonia.kernels.ntk.jacobians import ntk_matvec, sketched_ntk
from harmonia.kernels.ntk.linearize import Linearized, linearize
from harmonia.kernels.ntk.networks import mlp
from harmonia.kernels.ntk.predict import GradientDescent, GradientFlow, InfiniteEnsemble, Prediction

__all__ = [
    "GradientDescent",
    "GradientFlow",
    "InfiniteEnsemble",
    "Linearized",
    "NTKClassifier",
    "NTKKernel",
    "NTKRegressor",
    "Prediction",
    "Spectrum",
    "StoppingTime",
    "empirical_ntk",
    "function_space_flow",
    "kernel_alignment",
    "linearize",
    "mlp",
    "ntk_matvec",
    "ntk_spectrum",
    "sketched_ntk",
    "stopping_time",
]
