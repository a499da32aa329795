"""The tokenizer: round trips, what merging does, and files of merges that are wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmonia.audio.s2cap.tokens import Tokenizer
from harmonia.core.errors import InputError

CAPTIONS = ["A low voice sings a low song.", "A high voice sings a slow song, softly.", "Low, lower, lowest."]
TOKENIZER = Tokenizer.train(CAPTIONS, 300)


@given(st.text())
def test_any_text_comes_back_in_lower_case(text: str) -> None:
    text = text.encode(errors="ignore").decode()
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text.lower()


def test_frequent_words_with_their_space_are_one_token() -> None:
    assert len(TOKENIZER.encode(" voice")) == 1
    assert len(TOKENIZER.encode(" low song")) == 2
    assert len(TOKENIZER.encode("zyx")) == 3


def test_the_first_merge_is_the_most_frequent_pair() -> None:
    tokenizer = Tokenizer.train(["aab aab ab"], 260)
    assert tokenizer.decode([259]) == "ab"


def test_learning_stops_where_nothing_repeats() -> None:
    assert len(Tokenizer.train(["abc"], 1000)) == 259


def test_merges_are_all_that_there_is_to_keep() -> None:
    again = Tokenizer([list(pair) for pair in TOKENIZER.merges])
    assert again.encode(CAPTIONS[1]) == TOKENIZER.encode(CAPTIONS[1])
    assert len(again) == len(TOKENIZER)


def test_special_tokens_and_broken_bytes_are_no_error() -> None:
    assert TOKENIZER.decode([1, *TOKENIZER.encode("low"), 2, 0]) == "low"
    assert TOKENIZER.decode([3 + 0xC3]) == "�"


@pytest.mark.parametrize("merges", [[(0, 5)], [(259, 5)], [(5, 10_000)]], ids=["special", "itself", "unknown"])
def test_impossible_merges_are_refused(merges: list[tuple[int, int]]) -> None:
    with pytest.raises(InputError, match="earlier"):
        Tokenizer(merges)


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(InputError, match="text"):
        Tokenizer.train([], 300)
    with pytest.raises(InputError, match="vocabulary"):
        Tokenizer.train(CAPTIONS, 100)
