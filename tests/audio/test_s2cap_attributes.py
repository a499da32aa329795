"""Attributes in words: what captions state, how levels are parted, and sentences that are read back exactly."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia.audio.s2cap.attributes import LEXICON, MANDATORY, Levels, parse_attributes, stated, unsupported, values
from harmonia.audio.s2cap.builder import faults
from harmonia.audio.s2cap.grammar import caption_of, plain_caption, surface_forms
from harmonia.core.errors import InputError

STYLES = st.fixed_dictionaries({name: st.sampled_from(list(choices)) for name, choices in LEXICON.items()})
STYLE = {name: next(iter(choices)) for name, choices in LEXICON.items()}


@settings(max_examples=200, deadline=None)
@given(style=STYLES, seed=st.integers(0, 10_000), phrasing=st.sampled_from(["train", "test"]))
def test_captions_are_one_true_sentence_with_all_that_is_mandatory(style, seed, phrasing) -> None:
    text = caption_of(style, np.random.default_rng(seed), phrasing=phrasing)
    assert all(style[name] == value for name, value in stated(text))
    assert set(MANDATORY) <= set(parse_attributes(text))
    assert faults(text, style) == []
    assert not re.search(r"\ba [aeiou]|[{}\[\]]|  | ,", text)
    assert text[0].isupper()
    assert text.count(".") == 1


@given(style=STYLES, names=st.sets(st.sampled_from(list(LEXICON))))
def test_plain_captions_state_exactly_what_they_are_given(style, names) -> None:
    part = {name: style[name] for name in names}
    assert parse_attributes(plain_caption(part)) == part


def test_there_are_hundreds_of_surface_forms_and_test_phrasing_is_unseen() -> None:
    train, test = surface_forms(STYLE, tries=600), surface_forms(STYLE, "test", tries=600)
    assert len(train) >= 200
    assert len(test) >= 200
    assert not train & test


def test_every_phrase_of_the_lexicon_means_one_thing() -> None:
    phrases = [phrase for choices in LEXICON.values() for said in choices.values() for phrase in said]
    assert len(phrases) == len(set(phrases))
    for name, choices in LEXICON.items():
        for value, said in choices.items():
            for phrase in said:
                assert stated(f"it is {phrase}, so to speak") == [(name, value)], phrase


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A WOMAN'S voice", {"gender": "female"}),
        ("female, not male", {"gender": "female"}),
        ("the mandolin of Roman rockets", {}),
        ("slowly", {}),
        ("a slow-burning song", {}),
        ("high-pitched and low volume", {"pitch": "high", "volume": "low"}),
        ("", {}),
    ],
    ids=["case", "first of two", "inside words", "adverb", "compound", "neighbours", "empty"],
)
def test_phrases_are_whole_words(text: str, expected: dict[str, str]) -> None:
    assert parse_attributes(text) == expected


def test_what_is_not_supported_is_named() -> None:
    assert unsupported("a man sings quietly", {"gender": ["female"]}) == [("gender", "male")]
    assert unsupported("a man sings quietly", {"volume": []}) == [("volume", "low")]


@given(st.lists(st.integers(0, 9), min_size=3, max_size=60))
def test_levels_part_a_population_in_thirds_with_ties_going_down(population: list[int]) -> None:
    array = np.array(population, dtype=float)
    levels = Levels.of(array)
    names = [levels.name(value) for value in array]
    assert (np.array(names) == "low").mean() >= 0.33 - 1 / len(array)
    assert levels.name(levels.low) == "low"
    assert levels.name(levels.high) in ("low", "normal")
    assert levels.name(np.nextafter(levels.high, np.inf)) == "high"


def test_gender_and_age_may_stay_unsaid_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        told = parse_attributes(caption_of(STYLE, rng, without=("gender", "age")))
        assert not {"gender", "age"} & set(told)
    with pytest.raises(InputError, match="left unsaid"):
        caption_of(STYLE, rng, without=("pitch",))


@pytest.mark.parametrize(
    "style",
    [{}, {**STYLE, "tempo": "swift"}, {**STYLE, "shape": "round"}],
    ids=["none", "no such value", "no such attribute"],
)
def test_wrong_attributes_are_refused(style: dict[str, str]) -> None:
    with pytest.raises(InputError):
        caption_of(style, np.random.default_rng(0))


def test_unknown_attributes_and_empty_populations_are_refused() -> None:
    with pytest.raises(InputError, match="attribute"):
        values("colour")
    with pytest.raises(InputError, match="population"):
        Levels.of(np.zeros(0))
    with pytest.raises(InputError, match="population"):
        Levels.of(np.array([1.0, np.nan]))


def test_faults_are_found() -> None:
    rng = np.random.default_rng(0)
    text = caption_of(STYLE, rng)
    assert faults(text, {**STYLE, "gender": "male"}) == ["gender is untrue"]
    assert faults(f"{text} Really.", STYLE) == ["not one sentence"]
    assert faults(text.replace("sings", "sings like IU"), STYLE, ["IU", "", "Nobody"]) in (["names IU"], [])
    assert faults("Like IU, " + text, STYLE, ["iu"]) == ["names iu"]
    assert "not one sentence" in faults("", STYLE)
