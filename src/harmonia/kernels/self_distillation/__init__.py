"""Self-distillation (arXiv:2102.13088): models refitted on mixtures of their own predictions and the truth."""

from harmonia.kernels.self_distillation.estimators import (
    DistilledSpectrum,
    SelfDistilledKernelClassifier,
    SelfDistilledKernelRidge,
)
from harmonia.kernels.self_distillation.weight import OptimalWeight, optimal_alpha, optimal_weight

__all__ = [
    "DistilledSpectrum",
    "OptimalWeight",
    "SelfDistilledKernelClassifier",
    "SelfDistilledKernelRidge",
    "optimal_alpha",
    "optimal_weight",
]
