"""Debiased collaborative filtering with kernel-based causal balancing (arXiv 2404.19596)."""

from harmonia.tables.kernel_balancing.balancer import BiasBound, KernelBalancer
from harmonia.tables.kernel_balancing.dual import Balanced, balance_moments, effective_sample_size
from harmonia.tables.kernel_balancing.ideal_loss import estimate_ideal_loss
from harmonia.tables.kernel_balancing.pairs import PairKernel
from harmonia.tables.kernel_balancing.semi_synthetic import SemiSynthetic, semi_synthetic

__all__ = [
    "Balanced",
    "BiasBound",
    "KernelBalancer",
    "PairKernel",
    "SemiSynthetic",
    "balance_moments",
    "effective_sample_size",
    "estimate_ideal_loss",
    "semi_synthetic",
]
