"""Mel-RoFormer: vocal separation and vocal melody transcription (arXiv 2409.04702)."""

from harmonia.audio.mel_roformer.checkpoint import infer_config, load_checkpoint, read_config
from harmonia.audio.mel_roformer.decoding import Decoding, NoteList
from harmonia.audio.mel_roformer.network import MelBandRoformer, MelBandRoformerConfig
from harmonia.audio.mel_roformer.separator import ChunkedSeparator
from harmonia.audio.mel_roformer.stems import Remix, Stems, read_stems
from harmonia.audio.mel_roformer.training import SeparationLoss, train_separator, train_transcriber
from harmonia.audio.mel_roformer.transcriber import VocalMelodyTranscriber
from harmonia.audio.mel_roformer.transcription import MelodyConfig, MelodyLoss, MelodyNetwork

__all__ = [
    "ChunkedSeparator",
    "Decoding",
    "MelBandRoformer",
    "MelBandRoformerConfig",
    "MelodyConfig",
    "MelodyLoss",
    "MelodyNetwork",
    "NoteList",
    "Remix",
    "SeparationLoss",
    "Stems",
    "VocalMelodyTranscriber",
    "infer_config",
    "load_checkpoint",
    "read_config",
    "read_stems",
    "train_separator",
    "train_transcriber",
]
