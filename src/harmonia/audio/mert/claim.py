"""The headlines of MERT, measured at a scale a laptop affords, and the identities its parts must keep.

All music here is rendered. Numbers on it are not comparable with those of the paper's fourteen tasks; directions are.
"""

from harmonia.audio.mert.claims import features, identities, teachers

__all__ = ["features", "identities", "teachers"]
