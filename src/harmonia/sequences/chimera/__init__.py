"""Chimera: two-dimensional selective state spaces for series of many variables (arXiv 2406.04320)."""

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "ChimeraAnomalyDetector": "detector",
        "ChimeraBlock": "network",
        "ChimeraClassifier": "classifier",
        "ChimeraConfig": "network",
        "ChimeraForecaster": "forecaster",
        "ChimeraModel": "network",
        "SSM2d": "ssm",
        "anomaly_scores": "detection_scores",
        "selective_scan_2d": "selective_scan",
    },
)
