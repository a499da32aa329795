"""Excerpts with labels: what the labels say is what sounds, and the same arguments give the same bits."""

from __future__ import annotations

import numpy as np
import pytest

from harmonia.core.errors import InputError
from harmonia.data.render.labelled import FAMILIES, RATE, TEMPI, excerpts


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setenv("HARMONIA_CACHE", str(tmp_path_factory.getbasetemp() / "labelled"))


@pytest.mark.debian
def test_notes_sound_at_their_pitch() -> None:
    notes = excerpts("notes", 60)
    assert set(notes.labels["family"]) == set(FAMILIES)
    right = 0
    for sound, pitch in zip(notes.samples, notes.labels["pitch"]):
        power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
        hz = np.fft.rfftfreq(len(sound), 1 / RATE)
        sums = [
            sum(power[np.abs(hz - k * 440 * 2 ** ((p - 69) / 12)) < 3].sum() / k for k in (1, 2, 3))
            for p in range(48, 72)
        ]
        right += (int(np.argmax(sums)) + 48 - pitch) % 12 == 0
    assert right >= 54


@pytest.mark.debian
def test_labels_of_pieces_are_spread_and_kept() -> None:
    pieces = excerpts("pieces", 48)
    assert pieces.samples.shape == (48, 4 * RATE)
    assert len(set(pieces.labels["key"])) == 24
    for pace, bpm in zip(pieces.labels["tempo"], pieces.labels["bpm"]):
        assert TEMPI[pace][0] <= bpm <= TEMPI[pace][1]
    assert np.abs(pieces.samples).max(1).min() > 0.01
    again = excerpts("pieces", 48)
    assert np.array_equal(pieces.samples, again.samples)
    assert again.provenance == pieces.provenance


@pytest.mark.debian
def test_moods_carry_numbers() -> None:
    moods = excerpts("moods", 2)
    assert set(moods.labels) == {"valence", "arousal"}
    assert len(moods) == 2


def test_unknown_kinds_are_refused() -> None:
    with pytest.raises(InputError, match="no such excerpts"):
        excerpts("songs", 3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no such excerpts"):
        excerpts("notes", 0)
