"""Sound files read and written in pieces equal those read and written whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from harmonia.core.errors import InputError
from harmonia.media import Audio
from harmonia.media.sound_headers import promised
from harmonia.parts.sound_stream import SampleTape, SoundSource, new_sound, open_sound


@pytest.fixture
def sound(tmp_path: Path) -> tuple[Path, np.ndarray]:
    samples = np.random.default_rng(0).normal(size=(200_000, 2)).astype(np.float32) / 10
    soundfile.write(tmp_path / "sound.wav", samples, 44100, subtype="FLOAT")
    return tmp_path / "sound.wav", samples


def test_overlapping_pieces_are_the_file(sound):
    path, samples = sound
    with open_sound(path, 44100) as reader:
        assert (reader.channels, reader.total) == (2, 200_000)
        for start, stop in [(0, 70_000), (50_000, 150_000), (50_000, 60_000), (60_000, 160_000), (199_990, 200_000)]:
            np.testing.assert_array_equal(reader.read(start, stop), samples[start:stop].T)


@pytest.mark.parametrize("rate", [16000, 48000])
def test_resampling_on_the_way_equals_resampling_at_once(sound, rate):
    path, samples = sound
    whole = soxr.resample(samples, 44100, rate, quality="VHQ").T
    with open_sound(path, rate) as reader:
        assert abs(reader.total - whole.shape[1]) <= 1
        pieces = [reader.read(a, min(a + 30_000, reader.total)) for a in range(0, reader.total, 30_000)]
    streamed = np.concatenate(pieces, axis=1)
    n = min(streamed.shape[1], whole.shape[1])
    np.testing.assert_allclose(streamed[:, :n], whole[:, :n], atol=1e-5)


def test_only_the_current_piece_is_kept(sound):
    path, _ = sound
    with open_sound(path, 44100) as reader:
        for start in range(0, 190_000, 1000):
            reader.read(start, start + 2000)
            assert len(reader._kept) <= 2000 + (1 << 16)


@pytest.mark.parametrize(("suffix", "tolerance"), [(".wav", 0.0), (".flac", 1e-6)])
def test_a_written_file_reads_back(tmp_path, suffix, tolerance):
    samples = np.random.default_rng(0).uniform(-1, 1, size=(2, 5000)).astype(np.float32)
    path = tmp_path / f"new{suffix}"
    with new_sound(path, 22050, 2, 5000) as writer:
        for start in range(0, 5000, 999):
            writer.write(samples[:, start : start + 999])
    back, rate = soundfile.read(path, dtype="float32")
    assert rate == 22050
    np.testing.assert_allclose(back.T, samples, rtol=0, atol=tolerance)


def test_nothing_is_left_of_a_file_that_failed(tmp_path):
    with pytest.raises(TypeError), new_sound(tmp_path / "new.wav", 22050, 1, 10) as writer:
        writer.write(np.zeros((1, 4), np.complex64))
    assert list(tmp_path.iterdir()) == []


def test_long_files_are_rf64(tmp_path):
    with new_sound(tmp_path / "long.wav", 44100, 2, 600_000_000) as writer:
        writer.write(np.zeros((2, 10), np.float32))
    assert (tmp_path / "long.wav").read_bytes()[:4] == b"RF64"


def test_bad_files_are_told(tmp_path):
    (tmp_path / "text.wav").write_text("no sound")
    soundfile.write(tmp_path / "empty.wav", np.zeros((0, 2)), 44100)
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 44100, subtype="FLOAT")
    with pytest.raises(InputError, match="no such sound file"), open_sound(tmp_path / "none.wav", 44100):
        pass
    with pytest.raises(InputError, match="no sound that can be streamed"), open_sound(tmp_path / "text.wav", 44100):
        pass
    with pytest.raises(InputError, match="holds no sound"), open_sound(tmp_path / "empty.wav", 44100):
        pass
    with open_sound(tmp_path / "nan.wav", 44100) as reader, pytest.raises(InputError, match="not finite"):
        reader.read(0, 2)
    with pytest.raises(InputError, match="kind of file"), new_sound(tmp_path / "new.xyz", 44100, 1, 1):
        pass


def test_a_flac_that_ends_early_is_told(tmp_path):
    samples = np.random.default_rng(0).normal(size=200_000) / 10
    soundfile.write(tmp_path / "cut.flac", samples, 44100)
    content = (tmp_path / "cut.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(content[: len(content) // 2])
    with open_sound(tmp_path / "cut.flac", 44100) as reader, pytest.raises(InputError):
        reader.read(0, 200_000)


@pytest.mark.parametrize("rate", [None, 16000], ids=["own", "16000"])
def test_a_source_in_memory_reads_as_its_file(sound, rate):
    path, samples = sound
    sources = SoundSource.read(path), SoundSource.read(Audio(samples.T, 44100))
    assert {(s.rate, s.channels, s.seconds) for s in sources} == {(44100, 2, 200_000 / 44100)}
    read = []
    for source in sources:
        for _ in range(2):  # as often as needed
            with source.opened(rate) as reader:
                read.append(np.concatenate([reader.read(0, 30_000), reader.read(30_000, reader.total)], axis=1))
    assert all(np.array_equal(read[0], other) for other in read[1:])
    np.testing.assert_array_equal(sources[0].audio().samples, sources[1].audio().samples)


def test_a_source_is_checked_when_it_is_named_and_while_it_is_read(sound, tmp_path):
    path, samples = sound
    (tmp_path / "text.wav").write_text("no sound at all")
    for wrong in ("nowhere.wav", "text.wav"):
        with pytest.raises(InputError):
            SoundSource.read(tmp_path / wrong)
    samples[-1] = np.nan
    soundfile.write(path, samples, 44100, subtype="FLOAT")
    with SoundSource.read(path).opened() as reader, pytest.raises(InputError, match="not finite"):
        reader.read(0, reader.total)


def test_a_tape_is_read_like_an_array():
    samples = np.random.default_rng(1).normal(size=1000).astype(np.float32)
    tape = SampleTape()
    for begin, end in [(0, 300), (300, 300), (300, 1000)]:
        tape.append(samples[begin:end])
        np.testing.assert_array_equal(tape[begin:end], samples[begin:end])
    assert len(tape) == 1000
    for part in (slice(None), slice(10, 20), slice(990, 2000), slice(20, 10), slice(-5, None), slice(0, 50, 7)):
        np.testing.assert_array_equal(tape[part], samples[part])


CUT = {
    "wav": ("WAV", "PCM_16"),
    "float.wav": ("WAV", "FLOAT"),
    "ex.wav": ("WAVEX", "PCM_24"),
    "adpcm.wav": ("WAV", "IMA_ADPCM"),
    "rf64.wav": ("RF64", "FLOAT"),
    "w64": ("W64", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
    "au": ("AU", "PCM_16"),
    "caf": ("CAF", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


@pytest.mark.parametrize("kind", CUT)
def test_a_file_that_was_cut_off_is_told_by_name(tmp_path, kind):
    path, (form, subtype) = tmp_path / f"cut.{kind}", CUT[kind]
    samples = np.random.default_rng(0).normal(size=(100_000, 2)) / 10
    soundfile.write(path, samples, 44100, format=form, subtype=subtype)

    def read():
        with open_sound(path, 22050) as reader:
            for start in range(0, reader.total, 20_000):
                reader.read(start, min(start + 20_000, reader.total))

    read()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=path.name):
        read()


def test_an_ogg_file_without_its_end_is_told(tmp_path, monkeypatch):
    path, said = tmp_path / "cut.ogg", []
    soundfile.write(path, np.random.default_rng(0).normal(size=100_000) / 10, 44100, format="OGG", subtype="VORBIS")
    monkeypatch.setattr("harmonia.parts.sound_stream.say", said.append)
    with open_sound(path, 44100):
        assert said == []
    path.write_bytes(path.read_bytes()[:-5000])
    with open_sound(path, 44100):
        assert said == ["cut.ogg has no end mark; its end may be missing."]


def test_a_streamed_wav_promises_nothing(tmp_path):
    path = tmp_path / "streamed.wav"
    soundfile.write(path, np.zeros(44100), 44100, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    assert promised(path) == (88200, 88200)
    for size in (0, 0xFFFFFFFF, 0x7FFFFFFF):
        content[40:44] = size.to_bytes(4, "little")
        path.write_bytes(content)
        assert promised(path) is None
