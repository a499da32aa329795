"""Audio: methods that take sound apart, clean it, or read it."""

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "ChordRecognizer": "unified_mer",
        "ChunkedSeparator": "mel_roformer",
        "EmotionDataset": "unified_mer",
        "MERTConfig": "mert",
        "MERTFeatures": "mert",
        "MERTModel": "mert",
        "MERTPretrainer": "mert",
        "MelBandRoformer": "mel_roformer",
        "MelBandRoformerConfig": "mel_roformer",
        "MossFormer2": "mossformer2",
        "MossFormer2Config": "mossformer2",
        "MusicEmotionModel": "unified_mer",
        "ProbingBenchmark": "music_fm_survey",
        "ScalingLaw": "music_fm_survey",
        "SingingStyleCaptioner": "s2cap",
        "SpecTTTra": "sonics",
        "SyntheticSongDetector": "sonics",
        "SpeechSeparator": "mossformer2",
        "StyleDatasetBuilder": "s2cap",
        "TransparencyCard": "music_fm_survey",
        "VocalMelodyTranscriber": "mel_roformer",
    },
)
