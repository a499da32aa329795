"""The demo song is small, whole, and sings what its notes say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import harmonia.data
from harmonia.core.errors import InputError
from harmonia.data import Song, demo_song, demo_truth

FOLDER = Path(harmonia.data.__file__).parent / "embedded" / "demo_song"


def test_stems_add_up_and_everything_is_inside() -> None:
    song = demo_truth()
    assert np.array_equal(song.mixture.samples, song.stems["vocals"].samples + song.instrumental.samples)
    assert np.array_equal(demo_song().samples, song.mixture.samples)
    assert song.mixture.samples.shape == (2, 20 * 44100)
    assert song.mixture.peak < 1
    assert 30 < len(song.notes) < 40
    assert all(0 <= on < off <= 20 for on, off, _ in song.notes)
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 600_000


def test_the_truth_is_true_of_the_sound() -> None:
    """Spectral energy of the vocals at each note's first harmonics is far above that a quarter tone beside them."""
    song = demo_truth()
    vocals, rate = song.stems["vocals"].samples.mean(axis=0).astype(float), song.mixture.rate
    right = []
    for onset, offset, pitch in song.notes:
        clip = vocals[int((onset + 0.06) * rate) : int((offset - 0.03) * rate)]
        spectrum = np.abs(np.fft.rfft(clip * np.hanning(len(clip)), 1 << 17))
        shifts = np.arange(-150, 151, 25)
        scores = []
        for shift in shifts:
            f0 = 440 * 2 ** ((pitch + shift / 100 - 69) / 12)
            scores.append(np.log(spectrum[np.round(f0 * np.arange(1, 9) * (1 << 17) / rate).astype(int)] + 1e-9).sum())
        right.append(abs(shifts[int(np.argmax(scores))]) <= 50)
    assert np.mean(right) > 0.9


def test_a_folder_that_holds_no_song_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no song \(got nothing"):
        Song.read(tmp_path)
