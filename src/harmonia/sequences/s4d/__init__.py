"""S4D: diagonal state space models for long sequences (arXiv 2206.11893)."""

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "KernelConfig": "kernel",
        "OnlinePredictor": "stream",
        "S4D": "layer",
        "S4DClassifier": "estimator",
        "S4DConfig": "network",
        "S4DForecaster": "forecaster",
        "S4DKernel": "kernel",
        "S4DModel": "network",
        "S4DRegressor": "estimator",
        "StreamState": "network",
        "hippo_legs": "initialization",
        "load_checkpoint": "checkpoint",
        "ssm_param_groups": "network",
    },
)
