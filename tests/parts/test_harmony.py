"""Chords and keys: names, the key's invariances, the path against brute force, chords of tones."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia.core.errors import InputError
from harmonia.parts import harmony
from harmonia.parts.harmony import QUALITIES, SHARPS, Chord, find_chords, find_key, fold_octaves, parse_chord

MAJOR_SCALE = np.array([1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1], dtype=np.float64)


@pytest.mark.parametrize("quality", list(QUALITIES))
def test_every_label_of_the_vocabulary_is_read_back(quality: str) -> None:
    for root in range(12):
        chord = Chord(0.0, 1.0, root, quality)
        assert parse_chord(chord.label, 0.0, 1.0) == chord


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("Db", "C#:maj"),
        ("Cb:7/3", "B:7"),
        ("F#:maj(9)", "F#:maj"),
        ("E##:min13", "F#:min7"),
        ("X", "N"),
        ("A:9", "A:7"),
    ],
)
def test_other_spellings(label: str, expected: str) -> None:
    assert parse_chord(label).label == expected


@pytest.mark.parametrize("label", ["", "H:maj", "C:foo", "c", "C:maj:7", "N:maj"])
def test_what_is_no_label_is_refused(label: str) -> None:
    with pytest.raises(InputError, match="no chord label"):
        parse_chord(label)


def test_chord_tones_agree_with_music21() -> None:
    harmony21 = pytest.importorskip("music21.harmony")
    figures = {"maj": "", "min": "m", "dim": "dim", "aug": "+", "min6": "m6", "maj6": "6", "min7": "m7", "7": "7"}
    figures |= {"minmaj7": "mM7", "maj7": "maj7", "dim7": "dim7", "hdim7": "m7b5", "sus2": "sus2", "sus4": "sus4"}
    for quality, figure in figures.items():
        tones = {pitch.pitchClass for pitch in harmony21.ChordSymbol(f"C{figure}").pitches}
        assert tones == set(QUALITIES[quality]), quality


@given(st.lists(st.floats(0.1, 10), min_size=12, max_size=12), st.integers(0, 11))
@settings(max_examples=50, deadline=None)
def test_the_key_turns_with_the_piece(durations: list[float], shift: int) -> None:
    histogram = np.array(durations)
    key, turned = find_key(histogram), find_key(np.roll(histogram, shift))
    if key is None or turned is None:
        assert np.ptp(histogram) < 1e-6
        return
    assert turned.correlation == pytest.approx(key.correlation, abs=1e-9)
    scores = np.sort([row @ (histogram - histogram.mean()) for row in harmony._rotated("aarden-essen")])
    if scores[-1] - scores[-2] > 1e-9:
        assert (turned.tonic, turned.mode) == ((key.tonic + shift) % 12, key.mode)


def test_the_correlation_is_pearsons() -> None:
    histogram = np.random.default_rng(0).random(12)
    key = find_key(histogram, "krumhansl-kessler")
    assert key is not None
    weights = harmony._PROFILES["krumhansl-kessler"][key.mode == "minor"]
    assert key.correlation == pytest.approx(np.corrcoef(np.roll(weights, key.tonic), histogram)[0, 1], abs=1e-12)


def test_scales_have_their_keys() -> None:
    for tonic in range(12):
        key = find_key(np.roll(MAJOR_SCALE + 0.5 * (np.arange(12) % 7 == 0), tonic))
        assert key is not None
        assert key.name == f"{SHARPS[tonic]} major"


def test_no_notes_have_a_histogram_of_zeros() -> None:
    assert harmony.histogram_of_notes([]).tolist() == harmony.histogram_of_chords([]).tolist() == [0.0] * 12


@pytest.mark.parametrize("histogram", [np.zeros(12), np.ones(12)], ids=["silence", "all alike"])
def test_without_a_difference_there_is_no_key(histogram: np.ndarray) -> None:
    assert find_key(histogram) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_durations_that_are_none_are_refused(value: float) -> None:
    with pytest.raises(InputError, match="histogram"):
        find_key(np.array([value] + [1.0] * 11))


def test_the_path_is_the_best_of_all() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        score = random.normal(size=(5, 3))
        found = harmony.best_path(score, 0.7)

        def worth(path: tuple[int, ...], score: np.ndarray = score) -> float:
            return sum(score[t, s] for t, s in enumerate(path)) - 0.7 * sum(a != b for a, b in itertools.pairwise(path))

        best = max(itertools.product(range(3), repeat=5), key=worth)
        assert tuple(found) == best


def chroma_of(chords: list[Chord], rate: float = 10.0) -> np.ndarray:
    rows = np.full((round(chords[-1].offset * rate), 12), 0.02)
    for chord in chords:
        rows[round(chord.onset * rate) : round(chord.offset * rate), list(chord.pitch_classes)] = 1.0
    return rows


def test_chords_of_a_clean_chromagram_are_found() -> None:
    labels = ["C:maj", "A:min", "F:maj7", "G:7", "B:dim", "D:sus4", "E:aug", "D:minmaj7"]
    truth = [parse_chord(label, 2.0 * i, 2.0 * i + 2.0) for i, label in enumerate(labels)]
    bass = np.zeros((160, 12))
    for chord in truth:
        bass[round(chord.onset * 10) : round(chord.offset * 10), chord.root] = 1.0
    found = find_chords(chroma_of(truth), 10.0, bass=bass)
    assert [(c.label, c.onset) for c in found] == [(c.label, c.onset) for c in truth]


def test_the_bass_tells_chords_of_the_same_notes_apart() -> None:
    chroma = chroma_of([parse_chord("A:min7", 0.0, 4.0)])
    for root, label in ((9, "A:min7"), (0, "C:maj6")):
        bass = np.zeros((40, 12))
        bass[:, root] = 1.0
        assert [c.label for c in find_chords(chroma, 10.0, bass=bass)] == [label]


def test_silence_and_noise_have_no_chord() -> None:
    assert find_chords(np.zeros((0, 12)), 10.0) == []
    assert [c.label for c in find_chords(np.zeros((20, 12)), 10.0)] == ["N"]
    chord = chroma_of([parse_chord("C:maj", 0.0, 4.0)])
    found = find_chords(np.concatenate([np.zeros((40, 12)), chord]), 10.0)
    assert [c.label for c in found] == ["N", "C:maj"]
    assert [c.label for c in find_chords(np.ones((40, 12)), 10.0)] == ["N"]


def test_transposing_the_chromagram_transposes_the_chords() -> None:
    """With a bass, since some chords are others turned round: C6 is Am7, and C+ is E+."""
    chroma, bass = np.random.default_rng(0).random((2, 60, 12)).repeat(3, axis=1)
    found = find_chords(chroma, 10.0, bass=bass)
    for shift in (1, 5):
        moved = find_chords(np.roll(chroma, shift, axis=1), 10.0, bass=np.roll(bass, shift, axis=1))
        assert [c.transposed(shift).label for c in found] == [c.label for c in moved]


def test_octaves_fold_onto_the_nearest_pitch_class() -> None:
    magnitudes = np.zeros((72, 1))
    magnitudes[[0, 1, 36, 71]] = 1.0  # C, a third of a semitone above, C, a third below C
    assert fold_octaves(magnitudes, 36, 24.0)[0].tolist() == [4.0] + [0.0] * 11
    with pytest.raises(InputError, match="semitones"):
        fold_octaves(magnitudes, 10, 24.0)
