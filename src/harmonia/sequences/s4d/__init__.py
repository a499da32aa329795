"""S4D: diagonal state space models for long sequences (arXiv 2206.11893)."""

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "KernelConfig": "kernel",
        "S4D": "layer",
        "S4DConfig": "network",
        "S4DKernel": "kernel",
        "S4DModel": "network",
        "ssm_param_groups": "network",
    },
)
