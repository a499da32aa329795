"""SONICS: synthetic or not, identifying counterfeit songs with SpecTTTra (arXiv 2408.14080)."""

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Augmentation": "training",
        "Calibration": "calibration",
        "LabelledSong": "collection",
        "SonicsFrontEnd": "front_end",
        "SpecTTTra": "network",
        "SpecTTTraConfig": "network",
        "SyntheticSongDetector": "detector",
        "Verdict": "verdict",
        "WindowLevels": "windows",
        "integrated_gradients": "attribution",
        "load_checkpoint": "checkpoint",
        "read_collection": "collection",
        "resynthesise": "resynthesis",
        "token_evidence": "attribution",
        "train_detector": "training",
    },
)
