"""Audio: methods that take sound apart, clean it, or read it."""

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "ChunkedSeparator": "mel_roformer",
        "MERTConfig": "mert",
        "MERTFeatures": "mert",
        "MERTModel": "mert",
        "MelBandRoformer": "mel_roformer",
        "MelBandRoformerConfig": "mel_roformer",
        "MossFormer2": "mossformer2",
        "MossFormer2Config": "mossformer2",
        "SingingStyleCaptioner": "s2cap",
        "SpecTTTra": "sonics",
        "SpeechSeparator": "mossformer2",
        "StyleDatasetBuilder": "s2cap",
        "VocalMelodyTranscriber": "mel_roformer",
    },
)
