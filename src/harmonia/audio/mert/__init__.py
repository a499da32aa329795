"""MERT: features of music from a network that taught itself (arXiv 2306.00107)."""

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Catalogue": "catalogue",
        "ConstantQTeacher": "teachers",
        "EncodecTeacher": "teachers",
        "Hidden": "network",
        "KMeansTeacher": "teachers",
        "MERTConfig": "config",
        "MERTFeatures": "features",
        "MERTModel": "network",
        "MERTPretrainer": "pretrainer",
        "RVQTeacher": "teachers",
        "load_checkpoint": "checkpoint",
    },
)
