"""Sequences: methods that classify, forecast and follow signals over time."""

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "ChimeraAnomalyDetector": "chimera",
        "ChimeraClassifier": "chimera",
        "ChimeraForecaster": "chimera",
        "ChimeraModel": "chimera",
        "SSM2d": "chimera",
        "HarmonyForecaster": "harmony",
        "HarmonyNetwork": "harmony",
        "GraphSoftEvolution": "regenn",
        "ReGENN": "regenn",
        "ReGENNForecaster": "regenn",
        "ResourceScaler": "harmony",
        "S4D": "s4d",
        "S4DClassifier": "s4d",
        "S4DForecaster": "s4d",
        "S4DModel": "s4d",
        "S4DRegressor": "s4d",
    },
)
