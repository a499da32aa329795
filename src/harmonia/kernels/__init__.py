"""Kernels of networks and kernels for learning. Public names import their method when first used."""

from __future__ import annotations

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "NTKClassifier": "ntk",
        "NTKKernel": "ntk",
        "NTKRegressor": "ntk",
        "empirical_ntk": "ntk",
        "infwidth": "infwidth",
        "kernel_alignment": "ntk",
        "linearize": "ntk",
        "ntk_spectrum": "ntk",
    },
)
