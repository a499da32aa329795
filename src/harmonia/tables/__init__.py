"""Methods for rows and columns. Public names import their method when first used."""

from __future__ import annotations

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "DebiasedMF": "kernel_balancing",
        "KernelBalancer": "kernel_balancing",
        "SampledKernelBalancing": "kernel_balancing",
        "auc_all": "kernel_balancing",
        "balance_moments": "kernel_balancing",
        "estimate_ideal_loss": "kernel_balancing",
        "ndcg_at_k": "kernel_balancing",
    },
)
