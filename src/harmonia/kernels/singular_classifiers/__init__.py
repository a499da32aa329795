"""Infinitely wide and deep networks as classifiers (arXiv:2204.14126): which there are, and which are consistent."""

from harmonia.kernels.singular_classifiers.activations import HermiteActivation, optimal_activation
from harmonia.kernels.singular_classifiers.deep import DeepKernel, DeepNTKClassifier
from harmonia.kernels.singular_classifiers.duals import dual_of
from harmonia.kernels.singular_classifiers.estimators import SingularKernelClassifier, SingularKernelRegressor
from harmonia.kernels.singular_classifiers.koenigs import Koenigs
from harmonia.kernels.singular_classifiers.sphere import SphereMap, intrinsic_dimension
from harmonia.kernels.singular_classifiers.taxonomy import Taxonomy, activation_taxonomy

__all__ = [
    "DeepKernel",
    "DeepNTKClassifier",
    "HermiteActivation",
    "Koenigs",
    "SingularKernelClassifier",
    "SingularKernelRegressor",
    "SphereMap",
    "Taxonomy",
    "activation_taxonomy",
    "dual_of",
    "intrinsic_dimension",
    "optimal_activation",
]
