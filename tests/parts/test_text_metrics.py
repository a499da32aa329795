"""Caption metrics: closed forms by hand, invariances, bad input. Parity with the COCO code is in tests/peers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia.core.errors import InputError
from harmonia.parts.text_metrics import bleu, caption_scores, cider_d, rouge_l, words_of

VOCABULARY = ("a", "man", "woman", "sings", "low", "high", "fast", "soft")
WORDS = st.lists(st.sampled_from(VOCABULARY), min_size=4, max_size=9).map(" ".join)


@given(WORDS, st.lists(WORDS, min_size=1, max_size=3))
def test_scores_lie_in_their_range_and_case_and_stops_do_not_count(caption: str, references: list[str]) -> None:
    captions, texts = [caption, "x y z w"], [references, ["x y z w"]]
    scores = caption_scores(captions, texts)
    assert all(0 <= value <= 1 + 1e-9 for value in scores.bleu)
    assert 0 <= scores.rouge_l <= 1 + 1e-9
    assert 0 <= scores.cider_d <= 10 + 1e-9
    assert caption_scores([f"{caption.upper()}!", "X, y z w."], texts) == scores


def test_bleu_clips_repeats_and_punishes_short_captions() -> None:
    """The classical example: seven times 'the' against a reference with two."""
    assert bleu(["the the the the the the the"], [["the cat is on the mat"]])[0] == pytest.approx(2 / 7, abs=1e-6)
    assert bleu(["a b c"], [["a b c d e f"]])[0] == pytest.approx(math.exp(1 - 2), abs=1e-6)
    assert bleu(["a b c d"], [["a b c d e f", "a b c d x"]])[0] == pytest.approx(math.exp(1 - 5 / 4), abs=1e-6)


def test_rouge_is_the_f_score_of_the_longest_common_subsequence() -> None:
    p, r, b2 = 3 / 4, 3 / 5, 1.44
    assert rouge_l(["a b c d"], [["a x b y c"]]) == pytest.approx((1 + b2) * p * r / (r + b2 * p))
    assert rouge_l(["a b"], [["c d"]]) == 0
    assert rouge_l(["d c b a"], [["a b c d"]]) == pytest.approx(0.25)


def test_cider_of_single_words_is_the_cosine_of_idf_weights() -> None:
    """One shared word of two, distinct documents: cosine 1/2 in unigrams only, so 10 * (1/2) / 4."""
    score = cider_d(["a b", "q r"], [["a c"], ["q r"]])
    assert score == pytest.approx((10 * 0.5 / 4 + 10 * 2 / 4) / 2)


def test_cider_halves_by_the_gaussian_length_penalty() -> None:
    long = "a b c d e f g h i j"
    near = cider_d([long, "q r s t"], [[long], ["q r s t"]])
    assert near == pytest.approx(10)
    apart = cider_d([f"{long} {' '.join('x' * 1 for _ in range(6))}", "q r s t"], [[long], ["q r s t"]])
    assert apart < 10 * (1 + math.exp(-0.5)) / 2


def test_a_set_of_one_has_no_rare_words() -> None:
    assert cider_d(["a b c d"], [["a b c d"]]) == 0


def test_empty_captions_score_nothing() -> None:
    scores = caption_scores(["", "..."], [["a b c d"], ["e f g h"]])
    assert scores.bleu[0] == pytest.approx(0, abs=1e-6)
    assert scores.rouge_l == 0
    assert scores.cider_d == 0
    assert words_of("...") == ()


@pytest.mark.parametrize(
    ("captions", "references"),
    [([], []), (["a"], []), (["a"], [[]]), (["a"], ["a"])],
    ids=["none", "missing", "empty", "plain text"],
)
def test_captions_without_references_are_refused(captions: list[str], references: list[list[str]]) -> None:
    with pytest.raises(InputError):
        bleu(captions, references)
