"""The headlines of MossFormer2, measured at a scale a laptop affords, and the identities its parts must keep.

All voices here are synthetic, or studio prompts (`harmonia.data.render.talk`). Numbers on them are not comparable with
those on WSJ0-2mix or Libri2Mix; directions are.
"""

from __future__ import annotations

from harmonia.audio.mossformer2.claim.embedded import (
    embedded_conversation,
    held_out_voices,
    level_does_not_matter,
    long_conversation,
)
from harmonia.audio.mossformer2.claim.identities import (
    causality,
    homogeneity,
    large_size,
    layouts,
    linear_attention,
    local_attention,
    permutation_invariance,
    permuted_heads,
    three_speakers_size,
)
from harmonia.audio.mossformer2.claim.memory import larger, memory_helps, memory_is_fast, overfit
from harmonia.audio.mossformer2.claim.stitching import no_sample_is_lost, orders_recovered, stitched_exactly

__all__ = [
    "causality",
    "embedded_conversation",
    "held_out_voices",
    "homogeneity",
    "large_size",
    "larger",
    "layouts",
    "level_does_not_matter",
    "linear_attention",
    "local_attention",
    "long_conversation",
    "memory_helps",
    "memory_is_fast",
    "no_sample_is_lost",
    "orders_recovered",
    "overfit",
    "permutation_invariance",
    "permuted_heads",
    "stitched_exactly",
    "three_speakers_size",
]
