"""The headlines of S2Cap, measured on rendered singing whose attributes are exact, and the identities its parts keep.

The paper's captioner was never released and its tables were not read, so no number of the paper stands here; bounds are
ours and were set before anything was measured.
"""

from harmonia.audio.s2cap.claim.arms import (
    additions_help,
    additions_keep_cider,
    demix_helps_in_noise,
    gap_closed,
)
from harmonia.audio.s2cap.claim.data_set import builder_captions, builder_gender, builder_levels
from harmonia.audio.s2cap.claim.embedded import demo_models, demo_singer, grounding_helps
from harmonia.audio.s2cap.claim.identities import (
    cached_decoding,
    cider_of_itself,
    collapse,
    cosine_ends,
    nothing_to_demix,
    round_trip,
    tertiles,
)

__all__ = [
    "additions_help",
    "additions_keep_cider",
    "builder_captions",
    "builder_gender",
    "builder_levels",
    "cached_decoding",
    "cider_of_itself",
    "collapse",
    "cosine_ends",
    "demix_helps_in_noise",
    "demo_models",
    "demo_singer",
    "gap_closed",
    "grounding_helps",
    "nothing_to_demix",
    "round_trip",
    "tertiles",
]
