"""How near a sentence comes to reference sentences: BLEU, ROUGE-L and CIDEr-D, as captions are scored.

Definitions follow the COCO caption evaluation, whose constants and averages the literature's numbers rest on. Words
are split at white space after lower-casing and taking punctuation off; the Java tokeniser of the original differs in
rare cases only.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harmonia.core.errors import InputError

Words = tuple[str, ...]
_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
_ORDER = 4


class CaptionScores(NamedTuple):
    """Scores of a set of captions; all are better when higher.

    Attributes:
        bleu: BLEU-1 to BLEU-4 over the whole set.
        rouge_l: Mean ROUGE-L.
        cider_d: Mean CIDEr-D, from 0 to 10.
    """

    bleu: tuple[float, float, float, float]
    rouge_l: float
    cider_d: float


def caption_scores(captions: Sequence[str], references: Sequence[Sequence[str]]) -> CaptionScores:
    """All scores of a set of captions.

    Arguments:
        captions: One for each item.
        references: One or more for each item.

    Raises:
        InputError: no captions, another number of references, or an item without one.

    Example:
        >>> said = ["a man sings low", "a woman sings high and fast"]
        >>> scores = caption_scores(said, [[text] for text in said])
        >>> round(scores.bleu[3], 6), round(scores.rouge_l, 6), round(scores.cider_d, 6)
        (1.0, 1.0, 10.0)
    """
    return CaptionScores(bleu(captions, references), rouge_l(captions, references), cider_d(captions, references))


def words_of(text: str) -> Words:
    """The words of a sentence in lower case, without punctuation.

    Example:
        >>> words_of("A bright, high-pitched voice.")
        ('a', 'bright', 'high-pitched', 'voice')
    """
    return tuple(_WORD.findall(text.lower()))


def bleu(captions: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, float, float, float]:
    r"""BLEU-1 to BLEU-4 of a whole set (Papineni et al. 2002), with the closest reference length.

    ``BLEU_n = min(1, e^{1 - r/c}) (prod_{k <= n} p_k)^{1/n}`` with the clipped n-gram precisions p_k of the set, the
    captions' words c and those r of the references nearest in length (of two equally near the shorter). An n-gram count
    of zero enters as 1e-15, as in the COCO evaluation, so that a set of one short caption has a score.

    Example:
        >>> round(bleu(["a b c d"], [["a b c e", "a b"]])[1], 4)
        0.7071
    """
    pairs = _pairs(captions, references)
    right, said = np.zeros(_ORDER), np.zeros(_ORDER)
    length, wanted = 0, 0
    for caption, texts in pairs:
        length += len(caption)
        wanted += min((abs(len(text) - len(caption)), len(text)) for text in texts)[1]
        for order in range(1, _ORDER + 1):
            counts = _ngrams(caption, order)
            most: Counter[Words] = Counter()
            for text in texts:
                most |= _ngrams(text, order)
            right[order - 1] += (counts & most).total()
            said[order - 1] += counts.total()
    precisions = (right + 1e-15) / (said + 1e-9)
    scores = np.exp(np.cumsum(np.log(precisions)) / np.arange(1, _ORDER + 1))
    ratio = (length + 1e-15) / (wanted + 1e-9)
    one, two, three, four = (scores * (math.exp(1 - 1 / ratio) if ratio < 1 else 1.0)).tolist()
    return one, two, three, four


def rouge_l(captions: Sequence[str], references: Sequence[Sequence[str]], beta: float = 1.2) -> float:
    """Mean ROUGE-L (Lin 2004): ``(1 + b^2) P R / (R + b^2 P)`` with the longest common subsequence over either length.

    Of several references precision and recall are each the best, as in the COCO evaluation.

    Example:
        >>> round(rouge_l(["a man sings"], [["a man softly sings"]]), 4)
        0.8356
    """
    scores = []
    for caption, texts in _pairs(captions, references):
        common = [_longest_common_subsequence(caption, text) for text in texts]
        precision = max(common) / max(1, len(caption))
        recall = max(shared / max(1, len(text)) for shared, text in zip(common, texts))
        below = recall + beta**2 * precision
        scores.append((1 + beta**2) * precision * recall / below if below else 0.0)
    return float(np.mean(scores))


def cider_d(captions: Sequence[str], references: Sequence[Sequence[str]], sigma: float = 6.0) -> float:
    r"""Mean CIDEr-D (Vedantam et al. 2015), from 0 to 10.

    Per order n = 1..4 the cosine of tf-idf vectors, the caption's clipped to the reference's, times
    ``exp(-(l_c - l_r)^2 / (2 sigma^2))`` for the difference of lengths (counted in pairs of words); the mean over
    orders and references, times 10. Document frequencies are those of the references of this set, so a set of one item
    scores 0.

    Example:
        >>> cider_d(["a b c d e", "f g h i j"], [["a b c d e"], ["f g h i j"]])
        10.0
    """
    pairs = _pairs(captions, references)
    documents = [[_all_ngrams(text) for text in texts] for _, texts in pairs]
    frequency: Counter[Words] = Counter()
    for document in documents:
        frequency.update(set().union(*document))
    total = math.log(len(pairs))

    def vectors(counts: Counter[Words]) -> list[dict[Words, float]]:
        weighted: list[dict[Words, float]] = [{} for _ in range(_ORDER)]
        for gram, count in counts.items():
            weighted[len(gram) - 1][gram] = count * (total - math.log(max(1, frequency[gram])))
        return weighted

    scores = []
    for (caption, texts), counted in zip(pairs, documents):
        mine = vectors(_all_ngrams(caption))
        near = 0.0
        for text, counts in zip(texts, counted):
            apart = max(0, len(caption) - 1) - max(0, len(text) - 1)
            penalty = math.exp(-(apart**2) / (2 * sigma**2))
            near += penalty * sum(_clipped_cosine(a, b) for a, b in zip(mine, vectors(counts))) / _ORDER
        scores.append(10 * near / len(texts))
    return float(np.mean(scores))


def _pairs(captions: Sequence[str], references: Sequence[Sequence[str]]) -> list[tuple[Words, list[Words]]]:
    if isinstance(captions, str) or not captions or len(captions) != len(references):
        got = f"{len(captions)} captions and references of {len(references)}"
        raise InputError("each caption needs its references", got, "Pass one list of references for each caption.")
    for number, texts in enumerate(references):
        if isinstance(texts, str) or not texts:
            raise InputError("a caption needs a list of references", f"{texts!r} for {number}", "Pass a list of texts.")
    return [(words_of(caption), [words_of(text) for text in texts]) for caption, texts in zip(captions, references)]


def _ngrams(words: Words, order: int) -> Counter[Words]:
    return Counter(words[i : i + order] for i in range(len(words) - order + 1))


def _all_ngrams(words: Words) -> Counter[Words]:
    counts: Counter[Words] = Counter()
    for order in range(1, _ORDER + 1):
        counts.update(_ngrams(words, order))
    return counts


def _clipped_cosine(caption: dict[Words, float], reference: dict[Words, float]) -> float:
    shared = sum(
        min(weight, reference[gram]) * reference[gram] for gram, weight in caption.items() if gram in reference
    )
    norms = math.sqrt(sum(w * w for w in caption.values()) * sum(w * w for w in reference.values()))
    return shared / norms if norms else 0.0


def _longest_common_subsequence(a: Words, b: Words) -> int:
    row = [0] * (len(b) + 1)
    for word in a:
        before = 0
        for j, other in enumerate(b, 1):
            before, row[j] = row[j], before + 1 if word == other else max(row[j], row[j - 1])
    return row[-1]
