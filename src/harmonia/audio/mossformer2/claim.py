"""The headlines of MossFormer2, measured at a scale a laptop affords, and the identities its parts must keep.

All voices here are synthetic, or studio prompts (`harmonia.data.render.talk`). Numbers on them are not comparable with
those on WSJ0-2mix or Libri2Mix; directions are.
"""

from harmonia.audio.mossformer2.claims import embedded, identities, memory, stitching

__all__ = ["embedded", "identities", "memory", "stitching"]
