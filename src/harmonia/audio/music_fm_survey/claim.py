"""The survey's statements as computed exhibits, and the identities that its tools must keep.

The survey reports no numbers of its own. Bounds are ours and were set before measuring.
"""

from harmonia.audio.music_fm_survey.claims import cards, probes, scaling, versatility

__all__ = ["cards", "probes", "scaling", "versatility"]
