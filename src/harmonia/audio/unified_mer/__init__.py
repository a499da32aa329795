"""Music2Emo: mood tags, valence and arousal of music by one network (arXiv 2502.03979)."""

from harmonia.core.lazy import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "BTC": "btc",
        "ChordRecognizer": "chords",
        "EmotionConfig": "network",
        "EmotionDataset": "datasets",
        "EmotionNetwork": "network",
        "EmotionResult": "result",
        "FeatureTable": "features",
        "MOOD_TAGS": "tags",
        "MusicEmotionModel": "model",
        "TAG_EMOTIONS": "tags",
        "TeacherNetwork": "network",
        "distillation_loss": "losses",
        "encode_harmony": "encoding",
        "hear": "features",
        "key_from_chords": "chords",
        "load_network": "checkpoint",
        "load_teacher": "checkpoint",
        "read_corpus": "corpora",
        "tag_weights": "losses",
        "train_student": "training",
        "train_teacher": "training",
    },
)
