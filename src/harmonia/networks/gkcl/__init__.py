"""Kernel continual learning and its generative form (arXiv 2107.05757, 2112.13410): one task after another."""

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "ClassGaussians": "class_gaussians",
        "ConditionalPriorVAE": "vae",
        "ContinualMetrics": "metrics",
        "Coreset": "memory",
        "GaussiansConfig": "class_gaussians",
        "KernelContinualClassifier": "classifier",
        "MLP": "backbones",
        "RandomBackbone": "backbones",
        "ReplayClassifier": "rivals",
        "SlimResNet": "backbones",
        "Task": "streams",
        "VAEConfig": "vae",
        "VariationalBases": "variational",
        "avalanche_strategy": "avalanche",
        "continual_metrics": "metrics",
        "learn_stream": "study",
        "load_official": "checkpoint",
        "permuted_tasks": "streams",
        "rotated_tasks": "streams",
        "split_classes": "streams",
        "supervised_contrastive": "contrastive",
    },
)
