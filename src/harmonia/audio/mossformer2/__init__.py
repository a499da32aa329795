"""MossFormer2: one waveform per speaker from a single-channel recording (arXiv 2312.11825)."""

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "DynamicMix": "mixing",
        "Joint": "separator",
        "LiveSeparation": "live",
        "MossFormer2": "network",
        "MossFormer2Config": "network",
        "Separation": "separator",
        "Speaker": "mixing",
        "SpeechSeparator": "separator",
        "infer_config": "checkpoint",
        "load_checkpoint": "checkpoint",
        "read_mixtures": "mixing",
        "read_speakers": "mixing",
        "train_separator": "training",
    },
)
