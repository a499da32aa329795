"""ReGENN: forecasts of a panel of many short coupled series along graphs that are learned (arXiv 2008.12833)."""

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "GraphSoftEvolution": "graph",
        "ReGENN": "network",
        "ReGENNConfig": "network",
        "ReGENNForecaster": "forecaster",
        "Scaler": "scaling",
        "compare": "evaluation",
        "cooccurrence": "graph",
        "load_checkpoint": "checkpoint",
        "published_protocol": "published",
        "simple_rules": "evaluation",
    },
)
