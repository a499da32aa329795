"""Quantum feature spaces (arXiv:1804.11326): quantum kernels and variational classifiers, simulated exactly."""

from harmonia.kernels.quantum_kernels.device import DeviceNoise, estimate_kernel
from harmonia.kernels.quantum_kernels.entanglement import coupled
from harmonia.kernels.quantum_kernels.feature_maps import PauliFeatureMap, ZFeatureMap, ZZFeatureMap
from harmonia.kernels.quantum_kernels.kernel import QuantumKernel, overlaps

__all__ = [
    "DeviceNoise",
    "PauliFeatureMap",
    "QuantumKernel",
    "ZFeatureMap",
    "ZZFeatureMap",
    "coupled",
    "estimate_kernel",
    "overlaps",
]
