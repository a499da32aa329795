"""The headlines of SONICS, measured at a scale a laptop affords, and the identities its parts must keep."""

from harmonia.audio.sonics.claim import costs, hearing, identities

__all__ = ["costs", "hearing", "identities"]
