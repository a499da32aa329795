"""Quantum feature spaces (arXiv:1804.11326): quantum kernels and variational classifiers, simulated exactly."""

from harmonia.kernels.quantum_kernels.ad_hoc import AdHocProblem, make_ad_hoc
from harmonia.kernels.quantum_kernels.circuit import VariationalCircuit
from harmonia.kernels.quantum_kernels.device import DeviceNoise, estimate_kernel
from harmonia.kernels.quantum_kernels.diagnostics import (
    Concentration,
    concentration_report,
    effective_rank,
    geometric_difference,
    kernel_target_alignment,
)
from harmonia.kernels.quantum_kernels.entanglement import coupled
from harmonia.kernels.quantum_kernels.feature_maps import PauliFeatureMap, ZFeatureMap, ZZFeatureMap
from harmonia.kernels.quantum_kernels.kernel import QuantumKernel, overlaps
from harmonia.kernels.quantum_kernels.svm import QuantumSVC
from harmonia.kernels.quantum_kernels.training import empirical_risk
from harmonia.kernels.quantum_kernels.variational import VariationalQuantumClassifier

__all__ = [
    "AdHocProblem",
    "Concentration",
    "DeviceNoise",
    "PauliFeatureMap",
    "QuantumKernel",
    "QuantumSVC",
    "VariationalCircuit",
    "VariationalQuantumClassifier",
    "ZFeatureMap",
    "ZZFeatureMap",
    "concentration_report",
    "coupled",
    "effective_rank",
    "empirical_risk",
    "estimate_kernel",
    "geometric_difference",
    "kernel_target_alignment",
    "make_ad_hoc",
    "overlaps",
]
