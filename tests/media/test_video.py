from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harmonia.core.errors import InputError
from harmonia.media import Audio, Video

pytest.importorskip("av")


def film(count: int = 60, height: int = 48, width: int = 64, audio: Audio | None = None) -> Video:
    """Frame n is grey of level 4 n."""
    return Video(np.stack([np.full((height, width, 3), 4 * n, np.uint8) for n in range(count)]), 20, audio)


def test_pictures_rate_and_sound_come_back(tmp_path: Path) -> None:
    rate = 48_000
    sound = Audio(0.3 * np.sin(np.arange(3 * rate) * 2 * np.pi * 440 / rate), rate)
    again = Video.read(film(audio=sound).write(tmp_path / "a.mp4"))
    assert (len(again), again.fps, again.seconds, again.height, again.width) == (60, 20, 3, 48, 64)
    levels = [float(frame.mean()) for frame in again]
    np.testing.assert_allclose(levels, 4 * np.arange(60), atol=3)
    assert levels == [float(frame.mean()) for frame in again], "a second pass gives the same pictures"
    assert again.audio is not None
    assert again.audio.seconds == pytest.approx(3, abs=0.01)


def test_sampled_pictures_are_those_at_their_times(tmp_path: Path) -> None:
    again = Video.read(film().write(tmp_path / "a.mp4"))
    for time, picture in again.sampled(7):
        assert picture.pixels.mean() == pytest.approx(4 * time * 20, abs=3)
    assert [time for time, _ in film().sampled(3)] == [0, 29 / 20, 59 / 20]


def test_sound_of_odd_rates_and_many_channels_is_fitted(tmp_path: Path) -> None:
    pytest.importorskip("soxr")
    sound = Audio(np.random.default_rng(0).normal(scale=0.1, size=(3, 30_000)), 10_000)
    again = Video.read(film(audio=sound).write(tmp_path / "a.mp4")).audio
    assert again is not None
    assert (again.rate, again.channels) == (48_000, 2)
    assert again.seconds == pytest.approx(3, abs=0.01)


def test_sides_of_odd_length_lose_a_pixel(tmp_path: Path) -> None:
    again = Video.read(film(height=33, width=31).write(tmp_path / "a.mp4"))
    assert (again.height, again.width) == (32, 30)
    with pytest.raises(InputError, match="2 x 2"):
        film(height=1).write(tmp_path / "b.mp4")
    assert not (tmp_path / "b.mp4").exists()


def test_a_silent_film_has_no_audio(tmp_path: Path) -> None:
    assert Video.read(film().write(tmp_path / "a.mp4")).audio is None


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"words", "text data"),
        (b"#EXTM3U\n#EXTINF:1,\nhttp://localhost/secret.ts\n", "text data"),
        (b"\0\0\0\x18ftypisom" + bytes(50), "cannot be decoded"),
        (b"\x1a\x45\xdf\xa3" + bytes(50), "cannot be decoded"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(InputError, match=said):
        Video.read(tmp_path / "a.mp4")


def test_a_truncated_film_is_refused(tmp_path: Path) -> None:
    path = film().write(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(InputError, match="cannot be decoded"):
        Video.read(path)


def test_a_sound_file_holds_no_video(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "a.m4a"), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(InputError, match="no video"):
        Video.read(tmp_path / "a.m4a")
    assert Audio.read(tmp_path / "a.m4a").rate == 16_000


def test_unusable_pictures_and_rates_are_named() -> None:
    with pytest.raises(InputError, match="no pictures"):
        Video([], 25)
    with pytest.raises(InputError, match="4 x 4 and 5 x 5"):
        Video([np.zeros((4, 4, 3)), np.zeros((5, 5, 3))], 25)
    with pytest.raises(InputError, match="pictures a second"):
        film().__class__([np.zeros((4, 4, 3))], 0)


def test_show_is_a_contact_sheet(tmp_path: Path) -> None:
    figure = Video.read(film().write(tmp_path / "a.mp4")).show()
    shown = [axes.images[0].get_array().mean() for axes in figure.axes]
    assert len(shown) == 12
    assert shown == sorted(shown)
    assert film(count=1).show().axes
