"""The headlines of SONICS, measured at a scale a laptop affords, and the identities its parts must keep."""

from harmonia.audio.sonics.claims import costs, hearing, identities

__all__ = ["costs", "hearing", "identities"]
