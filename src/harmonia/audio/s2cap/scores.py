"""How good captions are: n-gram scores, and whether what they state is true.

N-gram scores reward the usual words; a caption that swaps *man* for *woman* loses little. The attribute scores read
each caption back and count: F1 of the stated values, the share of stated values that are wrong (hallucination), and
the share of mandatory attributes that go unsaid (omission).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from harmonia.audio.s2cap.attributes import LEXICON, MANDATORY, parse_attributes, stated
from harmonia.core.errors import InputError
from harmonia.parts.text_metrics import caption_scores

VOCAL = ("gender", "pitch", "timbre")
"""Attributes of the voice itself."""


class AttributeScores(NamedTuple):
    """What captions state beside what is true.

    Attributes:
        micro_f1: F1 over all stated values.
        macro_f1: Mean over the attributes of their F1.
        hallucination: Share of stated values that are wrong.
        omission: Share of the mandatory attributes that go unsaid.
        f1: By attribute.
    """

    micro_f1: float
    macro_f1: float
    hallucination: float
    omission: float
    f1: dict[str, float]


def attribute_scores(
    captions: Sequence[str], truths: Sequence[Mapping[str, str]], attributes: Sequence[str] = tuple(LEXICON)
) -> AttributeScores:
    """Read captions back and compare them with the truth.

    ``F1 = 2 right / (stated + true)``; attributes that a truth does not know count neither way. A caption that states
    two values of an attribute states one that is wrong.

    Raises:
        InputError: no captions, or another number of truths.

    Example:
        >>> truth = {"gender": "male", "tempo": "slow"}
        >>> scores = attribute_scores(["a woman sings at a slow tempo"], [truth], ("gender", "tempo"))
        >>> scores.micro_f1, scores.hallucination
        (0.5, 0.5)
    """
    if not captions or len(captions) != len(truths):
        got = f"{len(captions)} captions, {len(truths)} truths"
        raise InputError("each caption needs its attributes", got, "Pass as many.")
    right, said, true = (dict.fromkeys(attributes, 0) for _ in range(3))
    unsaid = asked = 0
    for caption, truth in zip(captions, truths, strict=True):
        for name, value in set(stated(caption)):
            if name in right and name in truth:
                said[name] += 1
                right[name] += value == truth[name]
        found = parse_attributes(caption)
        for name in truth:
            if name in true:
                true[name] += 1
            if name in MANDATORY and name in attributes:
                asked += 1
                unsaid += name not in found
    f1 = {name: 2 * right[name] / max(1, said[name] + true[name]) for name in attributes if true[name]}
    total_right, total_said, total_true = sum(right.values()), sum(said.values()), sum(true.values())
    return AttributeScores(
        micro_f1=2 * total_right / max(1, total_said + total_true),
        macro_f1=float(np.mean(list(f1.values()))) if f1 else 0.0,
        hallucination=1 - total_right / total_said if total_said else 0.0,
        omission=unsaid / asked if asked else 0.0,
        f1=f1,
    )


def caption_metrics(
    captions: Sequence[str], references: Sequence[Sequence[str]], truths: Sequence[Mapping[str, str]] | None = None
) -> dict[str, float]:
    """All scores in one dictionary: BLEU-1 to 4, ROUGE-L, CIDEr-D, and with `truths` those of the attributes.

    Example:
        >>> said = ["A man sings quietly.", "A woman sings loudly."]
        >>> round(caption_metrics(said, [[text] for text in said])["bleu_4"], 3)
        1.0
    """
    scores = caption_scores(captions, references)
    measured = {f"bleu_{order}": value for order, value in enumerate(scores.bleu, 1)}
    measured |= {"rouge_l": scores.rouge_l, "cider_d": scores.cider_d}
    if truths is not None:
        attributes = attribute_scores(captions, truths)
        measured |= {
            "attribute_f1": attributes.micro_f1,
            "attribute_macro_f1": attributes.macro_f1,
            "hallucination": attributes.hallucination,
            "omission": attributes.omission,
        }
    return measured
