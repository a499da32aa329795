"""Self-distillation (arXiv:2102.13088): models refitted on mixtures of their own predictions and the truth."""

from harmonia.kernels.self_distillation.any_estimator import SelfDistilledEstimator
from harmonia.kernels.self_distillation.base import DistilledSpectrum
from harmonia.kernels.self_distillation.estimators import SelfDistilledKernelClassifier, SelfDistilledKernelRidge
from harmonia.kernels.self_distillation.networks import SelfDistiller, distillation_loss
from harmonia.kernels.self_distillation.weight import OptimalWeight, optimal_alpha, optimal_weight

__all__ = [
    "DistilledSpectrum",
    "OptimalWeight",
    "SelfDistilledEstimator",
    "SelfDistilledKernelClassifier",
    "SelfDistilledKernelRidge",
    "SelfDistiller",
    "distillation_loss",
    "optimal_alpha",
    "optimal_weight",
]
