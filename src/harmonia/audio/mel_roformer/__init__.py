"""Mel-RoFormer: vocal separation and vocal melody transcription (arXiv 2409.04702)."""

from harmonia.audio.mel_roformer.network import MelBandRoformer, MelBandRoformerConfig

__all__ = ["MelBandRoformer", "MelBandRoformerConfig"]
