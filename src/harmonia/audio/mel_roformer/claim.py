"""The headlines of Mel-RoFormer, measured at a scale a laptop affords, and the identities its parts must keep."""

from harmonia.audio.mel_roformer.claims import comparisons, embedded, identities

__all__ = ["comparisons", "embedded", "identities"]
