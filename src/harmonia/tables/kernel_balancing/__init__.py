"""Debiased collaborative filtering with kernel-based causal balancing (arXiv 2404.19596)."""

from harmonia.tables.kernel_balancing.balancer import BiasBound, KernelBalancer
from harmonia.tables.kernel_balancing.debiased import DebiasedMF
from harmonia.tables.kernel_balancing.dual import Balanced, balance_moments, effective_sample_size
from harmonia.tables.kernel_balancing.factors import Factors
from harmonia.tables.kernel_balancing.functions import balance_functions
from harmonia.tables.kernel_balancing.ideal_loss import estimate_ideal_loss
from harmonia.tables.kernel_balancing.pairs import PairKernel
from harmonia.tables.kernel_balancing.propensity import naive_bayes_weights
from harmonia.tables.kernel_balancing.ranking import auc_all, ndcg_at_k
from harmonia.tables.kernel_balancing.released import read_embedding
from harmonia.tables.kernel_balancing.sampled import SampledKernelBalancing
from harmonia.tables.kernel_balancing.semi_synthetic import SemiSynthetic, semi_synthetic

__all__ = [
    "Balanced",
    "BiasBound",
    "DebiasedMF",
    "Factors",
    "KernelBalancer",
    "PairKernel",
    "SampledKernelBalancing",
    "SemiSynthetic",
    "auc_all",
    "balance_functions",
    "balance_moments",
    "effective_sample_size",
    "estimate_ideal_loss",
    "naive_bayes_weights",
    "ndcg_at_k",
    "read_embedding",
    "semi_synthetic",
]
