"""Chords and key as numbers: tables, transposition, truncation, silence, and what the release does otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia.audio.unified_mer.encoding import MOST_CHORDS, QUALITY_NUMBERS, encode_harmony
from harmonia.audio.unified_mer.tags import MOOD_TAGS, TAG_EMOTIONS, known_tags
from harmonia.core.errors import InputError
from harmonia.parts.harmony import QUALITIES, Chord, Key, parse_chord

CHORDS = st.lists(st.tuples(st.integers(0, 11), st.sampled_from(list(QUALITIES))), min_size=1, max_size=12)


def piece(labels: list[str]) -> list[Chord]:
    return [parse_chord(label, float(t), t + 1.0) for t, label in enumerate(labels)]


def test_a_minor_piece_is_brought_to_a() -> None:
    found = encode_harmony(piece(["C:min", "F:min", "G:7", "C:min"]))
    assert found.minor == 1
    assert found.roots[:4].tolist() == [10, 3, 5, 10]  # A D E A
    assert found.qualities[:4].tolist() == [5, 5, 11, 5]


@given(CHORDS, st.integers(0, 11), st.sampled_from(["major", "minor"]), st.integers(0, 11))
@settings(max_examples=60, deadline=None)
def test_chords_and_key_transposed_together_are_the_same(rows, tonic, mode, shift) -> None:
    chords = [Chord(float(t), t + 1.0, root, quality) for t, (root, quality) in enumerate(rows)]
    one = encode_harmony(chords, Key(tonic, mode, 1.0))
    other = encode_harmony([chord.transposed(shift) for chord in chords], Key((tonic + shift) % 12, mode, 1.0))
    assert np.array_equal(one.roots, other.roots)
    assert np.array_equal(one.qualities, other.qualities)
    assert one.minor == other.minor == int(mode == "minor")


def test_long_pieces_are_cut_and_short_ones_filled() -> None:
    many = encode_harmony(piece(["C:maj", "G:maj"] * 70))
    assert many.roots.shape == (MOST_CHORDS,)
    assert (many.roots > 0).all()
    none = encode_harmony([])
    assert not none.roots.any()
    assert none.minor == 0


def test_silence_is_none_and_major() -> None:
    found = encode_harmony(piece(["N", "X"]))
    assert not found.roots.any()
    assert found.minor == 0


def test_a_minor_major_seventh_is_minor_and_stops_the_release() -> None:
    chords = piece(["A:minmaj7", "A:min"])
    assert encode_harmony(chords).qualities[:2].tolist() == [5, 5]
    with pytest.raises(InputError, match="no number"):
        encode_harmony(chords, compat=True)


def test_the_release_hears_every_mode_as_major() -> None:
    chords = piece(["A:min", "E:7", "A:min"])
    ours, theirs = encode_harmony(chords), encode_harmony(chords, compat=True)
    assert (ours.minor, theirs.minor) == (1, 0)
    assert np.array_equal(ours.roots, theirs.roots)


def test_all_qualities_but_one_have_numbers_of_their_own() -> None:
    assert sorted(QUALITY_NUMBERS.values()) == list(range(14))
    assert set(QUALITIES) - set(QUALITY_NUMBERS) == {"minmaj7"}


def test_tags_are_the_releases_in_its_order() -> None:
    assert len(MOOD_TAGS) == 56
    assert list(MOOD_TAGS) == sorted(MOOD_TAGS)
    assert TAG_EMOTIONS["happy"] == (8.47, 6.05)
    assert TAG_EMOTIONS["sad"] == (2.1, 3.49)
    assert all(1 <= number <= 9 for pair in TAG_EMOTIONS.values() for number in pair)


def test_words_stand_for_tags() -> None:
    assert known_tags(["Happiness", "mood/theme---dark", " SAD ", "happy"]) == ("happy", "dark", "sad")
    with pytest.raises(InputError, match="no such tag"):
        known_tags(["crunchy"])
    assert known_tags(["crunchy"], ("crunchy",)) == ("crunchy",)
