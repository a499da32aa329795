from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia.core.errors import InputError
from harmonia.core.progress import watched
from harmonia.media import Audio, audio

soundfile = pytest.importorskip("soundfile")

RATE = 22_050


class Heard:
    def __init__(self) -> None:
        self.messages: list[str] = []

    def step(self, label: str, done: int, total: int | None) -> None: ...

    def say(self, message: str) -> None:
        self.messages.append(message)


def noise(seconds: float = 1.0, channels: int = 2, level: float = 0.2) -> Audio:
    samples = np.random.default_rng(0).normal(scale=level, size=(channels, int(seconds * RATE)))
    return Audio(samples.clip(-0.99, 0.99), RATE)


def tone(hertz: float, rate: int, seconds: float = 1.0, level: float = 0.5) -> Audio:
    return Audio(level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate), rate)


def test_wav_gives_back_exactly_what_was_written(tmp_path: Path) -> None:
    loud = Audio(noise().samples * 20, RATE)
    again = Audio.read(loud.write(tmp_path / "a.wav"))
    assert again.rate == RATE
    assert again.samples.dtype == np.float32
    assert again.samples.flags.c_contiguous
    np.testing.assert_array_equal(again.samples, loud.samples)


def test_flac_keeps_24_bits_and_says_when_it_lowers_the_level(tmp_path: Path) -> None:
    quiet, heard = noise(), Heard()
    with watched(heard):
        again = Audio.read(quiet.write(tmp_path / "a.flac"))
        assert heard.messages == []
        loud = Audio(quiet.samples * 4, RATE)
        lowered = Audio.read(loud.write(tmp_path / "b.flac"))
    np.testing.assert_allclose(again.samples, quiet.samples, atol=2**-23)
    assert len(heard.messages) == 1
    np.testing.assert_allclose(lowered.samples * loud.peak, loud.samples, atol=1e-5)


@pytest.mark.parametrize("form", ["FLAC", "OGG", "MP3", "AIFF", "AU", "W64", "CAF"])
def test_format_is_known_by_content_under_any_suffix(tmp_path: Path, form: str) -> None:
    sound = tone(440, 44_100)
    path = tmp_path / "sound.txt"
    soundfile.write(path, sound.samples.T, 44_100, format=form)
    again = Audio.read(path)
    assert again.rate == 44_100
    assert again.seconds == pytest.approx(1.0, abs=0.06)
    spectrum = np.abs(np.fft.rfft(again.samples[0]))
    assert spectrum.argmax() * 44_100 / again.samples.shape[1] == pytest.approx(440, abs=2)


@pytest.mark.parametrize(("subtype", "step"), [("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23)])
def test_integer_wav_is_scaled_to_one(tmp_path: Path, subtype: str, step: float) -> None:
    sound = noise()
    soundfile.write(tmp_path / "a.wav", sound.samples.T, RATE, subtype=subtype)
    np.testing.assert_allclose(Audio.read(tmp_path / "a.wav").samples, sound.samples, atol=step)


@pytest.mark.parametrize(("dtype", "full"), [(np.int16, 2**15), (np.int32, 2**31)])
def test_integer_arrays_are_scaled_to_one(dtype: type, full: int) -> None:
    samples = Audio(np.array([0, full // 2, -full], dtype=dtype), RATE).samples
    np.testing.assert_array_equal(samples, [[0, 0.5, -1]])
    np.testing.assert_array_equal(Audio(np.array([128, 192, 0], dtype=np.uint8), RATE).samples, [[0, 0.5, -1]])


@pytest.mark.parametrize(
    ("form", "share"), [*((f, 0.5) for f in ("WAV", "RF64", "W64", "AIFF", "AU", "FLAC", "MP3")), ("WAV", 0.01)]
)
def test_a_file_that_ends_early_is_an_error_unless_a_part_is_asked_for(tmp_path: Path, form: str, share: float) -> None:
    path = tmp_path / "a.bin"
    soundfile.write(path, noise(4).samples.T, RATE, format=form)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=r"ends early|cannot be decoded"):
        Audio.read(path)
    if share == 0.5 and form != "FLAC":
        heard = Heard()
        with watched(heard):
            part = Audio.read(path, partial=True)
        assert 1.5 < part.seconds < 2.5
        assert "ends early" in heard.messages[0]


def test_streamed_wav_without_a_length_is_read(tmp_path: Path) -> None:
    path = noise().write(tmp_path / "a.wav")
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert Audio.read(path).seconds == pytest.approx(1.0, abs=1e-3)


def test_ogg_without_its_end_is_read_and_told(tmp_path: Path) -> None:
    path, heard = tmp_path / "a.ogg", Heard()
    soundfile.write(path, noise(4).samples.T, RATE)
    data = path.read_bytes()
    with watched(heard):
        assert Audio.read(path).seconds == pytest.approx(4)
        assert heard.messages == []
        path.write_bytes(data[: len(data) // 2])
        assert 1 < Audio.read(path).seconds < 3
    assert "end" in heard.messages[0]


def test_sound_longer_than_the_limit_is_refused_before_it_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros((RATE * 60, 2)), RATE)
    monkeypatch.setattr(audio, "DECODED_LIMIT", 1_000_000)
    with pytest.raises(InputError, match="too large"):
        Audio.read(path)


def test_sound_of_containers(tmp_path: Path) -> None:
    pytest.importorskip("av")
    from harmonia.media import Video

    sound = tone(440, 44_100, seconds=2)
    film = Video(np.zeros((20, 16, 16, 3), np.uint8), 10, sound).write(tmp_path / "film.mp4")
    again = Audio.read(film)
    assert again.samples.shape == sound.samples.shape
    middle = slice(10_000, 70_000)
    assert np.abs(again.samples[0, middle] - sound.samples[0, middle]).max() < 0.02
    silent = Video(np.zeros((20, 16, 16, 3), np.uint8), 10).write(tmp_path / "silent.mp4")
    with pytest.raises(InputError, match="no audio"):
        Audio.read(silent)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"MThd\0\0\0\6\0\1\0\1\1\xe0", "midi data"),
        (b"just words", "text data"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "cannot be decoded"),
        (b"fLaC" + bytes(100), "cannot be decoded"),
    ],
)
def test_other_files_are_refused_with_their_name_and_nature(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "song.wav"
    path.write_bytes(data)
    with pytest.raises(InputError, match=said) as caught:
        Audio.read(path)
    assert "song.wav" in str(caught.value)


def test_places_that_are_no_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not there"):
        Audio.read(tmp_path / "nothing.wav")
    with pytest.raises(InputError, match="a folder"):
        Audio.read(tmp_path)
    with pytest.raises(InputError, match="not a plain file"):
        Audio.read("/dev/null")


@pytest.mark.parametrize(
    ("samples", "rate", "said"),
    [
        (np.zeros((2, 0)), RATE, "empty"),
        (np.zeros(()), RATE, "shape"),
        (np.zeros((1, 2, 3)), RATE, "shape"),
        (np.zeros((1000, 2)), RATE, "transpose"),
        (np.array([0, np.nan, 0]), RATE, "nan at sample 1 of channel 0"),
        (np.array([[0, 0], [0, -np.inf]]), RATE, "-inf at sample 1 of channel 1"),
        (np.array([[np.inf, -np.inf]]), RATE, "inf at sample 0"),
        (np.zeros(10, dtype=np.int64), RATE, "int64"),
        (np.zeros(10), 0, "sampling rate"),
        (np.zeros(10), 44_100.5, "sampling rate"),
        (np.zeros(10), float("nan"), "sampling rate"),
        (np.zeros(10), 10**6, "sampling rate"),
        (np.zeros(10), None, "sampling rate"),
        (np.array([0, 1e300]), RATE, "inf at sample 1"),
    ],
)
def test_unusable_samples_and_rates_are_named(samples: np.ndarray, rate: float, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Audio(samples, rate)  # type: ignore[arg-type]


def test_resampling_keeps_a_tone_and_drops_what_the_new_rate_cannot_hold() -> None:
    pytest.importorskip("soxr")
    again = tone(1000, 44_100).resampled(16_000)
    expected = tone(1000, 16_000)
    assert again.rate == 16_000
    middle = slice(2000, -2000)
    np.testing.assert_allclose(again.samples[0, middle], expected.samples[0, middle], atol=1e-3)
    assert np.abs(tone(12_000, 44_100).resampled(16_000).samples[0, middle]).max() < 1e-4
    with pytest.raises(InputError, match="too short"):
        Audio(np.zeros(1), 48_000).resampled(1000)


def test_mono_is_the_mean_and_stereo_its_double() -> None:
    left, right = np.ones(100, np.float32), np.zeros(100, np.float32)
    both = Audio(np.stack([left, right]), RATE)
    np.testing.assert_array_equal(both.mono().samples, np.full((1, 100), 0.5))
    assert both.stereo() is both
    np.testing.assert_array_equal(both.mono().stereo().samples, np.full((2, 100), 0.5))
    assert Audio(np.ones((5, 10)), RATE).stereo().samples.shape == (2, 10)


@settings(max_examples=30, deadline=None)
@given(start=st.floats(-1, 3), length=st.floats(0.01, 3))
def test_cut_holds_what_lies_between(start: float, length: float) -> None:
    ramp = Audio(np.arange(RATE * 2) / (RATE * 2), RATE)
    first, last = max(start, 0), min(start + length, 2)
    if round(first * RATE) >= round(last * RATE):
        with pytest.raises(InputError, match="holds no sound"):
            ramp.cut(start, start + length)
    else:
        part = ramp.cut(start, start + length)
        assert part.samples[0, 0] == pytest.approx(first / 2, abs=1 / RATE)
        assert part.seconds == pytest.approx(last - first, abs=1.5 / RATE)


def test_loudness_of_a_full_scale_tone_and_its_normalisation() -> None:
    pytest.importorskip("pyloudnorm")
    # ITU-R BS.1770: a 997 Hz full-scale sine in one channel measures -3.01 LUFS.
    loud = tone(997, 48_000, seconds=3, level=1.0)
    assert loud.loudness == pytest.approx(-3.01, abs=0.05)
    assert loud.normalised(-20).loudness == pytest.approx(-20, abs=0.01)
    silence = Audio(np.zeros(48_000), 48_000)
    assert silence.loudness == -np.inf
    with pytest.raises(InputError, match="silence"):
        silence.normalised()
    with pytest.raises(InputError, match=r"0\.4 s"):
        _ = loud.cut(0, 0.2).loudness


@pytest.mark.parametrize("samples", [1, 500, 100_000])
def test_show_draws_short_and_long_sounds(tmp_path: Path, samples: int) -> None:
    figure = Audio(np.random.default_rng(0).normal(size=(2, samples)), RATE).show()
    wave, picture, *_ = figure.axes
    assert wave.get_xlim()[1] == pytest.approx(samples / RATE, rel=1e-3, abs=1e-3)
    assert np.isfinite(picture.images[0].get_array()).all()


def test_the_spectrogram_puts_a_tone_at_its_frequency() -> None:
    from harmonia.media.spectrogram import BANDS, mel, mel_decibels

    decibels = mel_decibels(tone(2000, RATE).samples, RATE)
    band = decibels[:, decibels.shape[1] // 2].argmax()
    assert (band + 1) / (BANDS + 1) * mel(RATE / 2) == pytest.approx(mel(2000), abs=mel(RATE / 2) / BANDS)
    assert mel_decibels(np.zeros((1, 1000), np.float32), RATE).max() == 0


def test_a_written_file_is_whole_or_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Use one of \.wav, \.flac"):
        noise().write(tmp_path / "a.mp3")
    with pytest.raises(InputError, match="8 channels"):
        noise(channels=9).write(tmp_path / "a.flac")
    with pytest.raises(InputError, match="cannot be written"):
        noise().write("/proc/nowhere/a.wav")
    assert list(tmp_path.iterdir()) == []
