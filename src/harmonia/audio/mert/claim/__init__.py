"""The headlines of MERT, measured at a scale a laptop affords, and the identities its parts must keep.

All music here is rendered. Numbers on it are not comparable with those of the paper's fourteen tasks; directions are.
"""

from __future__ import annotations

from harmonia.audio.mert.claim.features import (
    embedded_against_constant_q,
    embedded_against_log_mel,
    embedded_against_random,
    embedded_chords,
    embedded_families,
    embedded_notes,
)
from harmonia.audio.mert.claim.identities import (
    constant_q_of_a_tone,
    convolution_penalty,
    cross_entropy,
    first_loss,
    frame_counts,
    half_precision,
    masked_share,
    padding,
    relaxed,
    sizes,
    targets_stay_clean,
)
from harmonia.audio.mert.claim.teachers import (
    cqt_keeps_instruments,
    cqt_over_kmeans,
    cqt_over_rvq,
    larger,
    mixture_helps,
)

__all__ = [
    "constant_q_of_a_tone",
    "convolution_penalty",
    "cqt_keeps_instruments",
    "cqt_over_kmeans",
    "cqt_over_rvq",
    "cross_entropy",
    "embedded_against_constant_q",
    "embedded_against_log_mel",
    "embedded_against_random",
    "embedded_chords",
    "embedded_families",
    "embedded_notes",
    "first_loss",
    "frame_counts",
    "half_precision",
    "larger",
    "masked_share",
    "mixture_helps",
    "padding",
    "relaxed",
    "sizes",
    "targets_stay_clean",
]
