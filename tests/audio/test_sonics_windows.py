"""Sliding windows: every frame as if the window were alone, every sample covered, files never held as a whole."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harmonia.audio.sonics.windows import Source, WindowLevels, listening, silent_share, window_starts
from harmonia.core.errors import InputError
from harmonia.media import Audio
from harmonia.parts.log_mel import LogMel

LOG_MEL = LogMel("sonics")


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def source(sound: np.ndarray) -> Source:
    return Source(len(sound), lambda start, stop: sound[start:stop])


@pytest.mark.parametrize("samples", [16000, 16384, 20001, 80000])
@pytest.mark.parametrize("step", [512, 7000, 100_000])
def test_levels_are_those_of_every_window_alone(samples, step):
    sound = noise(100_000)
    starts = window_starts(len(sound), samples, 512, step)[-40:]
    for start, level in zip(starts, WindowLevels(LOG_MEL, samples)(source(sound), starts), strict=True):
        alone = LOG_MEL.level(LOG_MEL.power(torch.from_numpy(sound[start : start + samples])))
        torch.testing.assert_close(level, alone, rtol=0, atol=1e-4)


@given(st.integers(1, 10_000), st.integers(512, 3000), st.integers(1, 4000))
def test_windows_cover_the_song_up_to_less_than_a_frame(total, samples, step):
    starts = window_starts(total, samples, 512, step)
    assert starts[0] == 0
    assert all(start % 512 == 0 for start in starts)
    assert all(0 < b - a <= max(512, step) for a, b in pairwise(starts))
    assert starts[-1] + samples > total - 512
    assert starts[-1] == 0 or starts[-1] + samples <= total


def test_a_short_song_goes_on_in_silence():
    sound = noise(10_000)
    [level] = WindowLevels(LOG_MEL, 16000)(source(sound), [0])
    alone = LOG_MEL.level(LOG_MEL.power(torch.from_numpy(np.pad(sound, (0, 6000)))))
    torch.testing.assert_close(level, alone, rtol=0, atol=1e-4)
    assert silent_share(level) == pytest.approx(10 / 32, abs=0.05)


def test_windows_read_from_left_to_right_and_no_more_than_they_need():
    sound, reads = noise(200_000), []

    def read(start: int, stop: int) -> np.ndarray:
        reads.append((start, stop))
        return sound[start:stop]

    starts = window_starts(len(sound), 16000, 512, 4000)
    list(WindowLevels(LOG_MEL, 16000)(Source(len(sound), read), starts))
    assert [start for start, _ in reads] == starts
    assert max(stop - start for start, stop in reads) <= 16000


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_files_of_any_rate_are_listened_to_as_their_sound(tmp_path, suffix, rate):
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path / f"song{suffix}"
    soundfile.write(path, np.stack([noise(rate), noise(rate, 1)], 1), rate)
    held = Audio.read(path)
    with listening(path) as one, listening(held) as other:
        assert abs(one.total - other.total) <= 1
        np.testing.assert_allclose(one.read(0, 15000), other.read(0, 15000), atol=1e-5)


def test_samples_need_their_rate():
    with pytest.raises(InputError, match="rate"), listening(noise(16000)):
        pass
    with listening(np.stack([noise(44100)] * 2), 44100) as heard:
        assert heard.total == 16000


def test_files_that_are_no_sound_are_refused(tmp_path):
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "empty.mp3").write_bytes(b"")
    for name in ("text.wav", "empty.mp3", "missing.wav"):
        with pytest.raises(InputError), listening(tmp_path / name):
            pass


def test_windows_too_short_to_share_frames_are_refused():
    with pytest.raises(InputError, match="share frames"):
        WindowLevels(LOG_MEL, 4000)
