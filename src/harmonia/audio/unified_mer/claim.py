"""What Music2Emo claims, measured; and the identities that its parts must keep.

The data sets' audio is not free, so the comparisons are made in a world of rendered music whose emotions are known
(`harmonia.audio.unified_mer.world`): numbers there are not comparable with the paper's, directions are.
"""

from harmonia.audio.unified_mer.claims import comparisons, identities

__all__ = ["comparisons", "identities"]
