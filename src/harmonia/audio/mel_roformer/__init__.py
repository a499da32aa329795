"""Mel-RoFormer: vocal separation and vocal melody transcription (arXiv 2409.04702)."""

from harmonia.core.lazy import lazy

# By name, so that who separates need not load what transcribes and trains: scikit-learn, SciPy's signals, 120 MB.
__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "ChunkedSeparator": "separator",
        "Decoding": "decoding",
        "MelBandRoformer": "network",
        "MelBandRoformerConfig": "network",
        "MelodyConfig": "transcription",
        "MelodyLoss": "transcription",
        "MelodyNetwork": "transcription",
        "NoteList": "decoding",
        "Remix": "stems",
        "SeparationLoss": "training",
        "Stems": "stems",
        "VocalMelodyTranscriber": "transcriber",
        "infer_config": "checkpoint",
        "load_checkpoint": "checkpoint",
        "read_config": "checkpoint",
        "read_stems": "stems",
        "train_separator": "training",
        "train_transcriber": "training",
    },
)
