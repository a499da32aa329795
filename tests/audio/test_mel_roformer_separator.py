"""The chunked separator: exact with an identity model, whatever comes in, from arrays and from file to file."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from harmonia.audio.mel_roformer import ChunkedSeparator, MelBandRoformer, MelBandRoformerConfig
from harmonia.audio.mel_roformer.separator import msst_chunks
from harmonia.core.errors import InputError, WeightsError
from harmonia.core.progress import watched

RATE = 16000
C = RATE  # a chunk of one second
CONFIG = MelBandRoformerConfig(
    sample_rate=RATE, channels=2, n_fft=512, hop_length=160, num_bands=12, dim=8, depth=1, heads=2, head_dim=4
)


class Gain(MelBandRoformer):
    """A model whose output is its input times `gain`, with how often it ran and with how much."""

    def __init__(self, channels: int = 2, gain: float = 1.0, stems: tuple[str, ...] = ("vocals",)) -> None:
        super().__init__(
            MelBandRoformerConfig(
                sample_rate=RATE,
                channels=channels,
                n_fft=512,
                hop_length=160,
                num_bands=12,
                dim=4,
                depth=0,
                stems=stems,
            )
        )
        self.gain = gain
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, mixture: Tensor) -> Tensor:
        self.shapes.append(tuple(mixture.shape))
        return (self.gain * mixture).unsqueeze(1).repeat(1, len(self.config.stems), 1, 1)


class Listener:
    def __init__(self) -> None:
        self.said: list[str] = []
        self.steps = 0

    def step(self, label: str, done: int, total: int | None) -> None:
        self.steps += 1

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture
def heard() -> Iterator[Listener]:
    listener = Listener()
    with watched(listener):
        yield listener


def song(total: int, channels: int = 2) -> np.ndarray:
    return (np.random.default_rng(total).normal(size=(channels, total)) / 10).astype(np.float32)


@pytest.mark.parametrize("total", [1, C - 1, C, C + 1, 2 * C + 17, 60 * RATE])
@pytest.mark.parametrize("num_overlap", range(1, 9))
def test_an_identity_model_returns_the_song_exactly(total, num_overlap):
    separator = ChunkedSeparator(Gain(), chunk_seconds=1.0, overlap=1 - 1 / num_overlap, batch_size=3)
    stems = separator.separate(song(total), RATE)
    np.testing.assert_array_equal(stems["vocals"], song(total))
    assert (stems["instrumental"] == 0).all()


@pytest.mark.parametrize("total", [1, C - 1, C, C + 1, 2 * C + 17, 9 * C + 300])
@pytest.mark.parametrize("num_overlap", range(2, 9))
@pytest.mark.parametrize("batch_size", [1, 4])
def test_the_compatible_chunks_return_the_song_too(total, num_overlap, batch_size):
    separator = ChunkedSeparator(
        Gain(), chunk_seconds=1.0, overlap=1 - 1 / num_overlap, batch_size=batch_size, compat="msst"
    )
    vocals = separator.separate(song(total), RATE)["vocals"]
    # Where their margins are missing and the first window keeps its fade-in, their first sample has no weight.
    short = total <= 2 * (C - C // num_overlap)
    first = 1 if short and batch_size > 1 else 0
    np.testing.assert_allclose(vocals[:, first:], song(total)[:, first:], rtol=0, atol=1e-6)


def reference_demix(mixture: np.ndarray, outputs: dict[int, np.ndarray], size: int, num_overlap: int, batch: int):
    """Their algorithm as their documentation and code describe it, written as plainly as possible."""
    total = mixture.shape[1]
    step, fade = size // num_overlap, size // 10
    border = size - step
    padded = np.pad(mixture, ((0, 0), (border, border)), mode="reflect") if total > 2 * border > 0 else mixture
    length = padded.shape[1]
    numerator, denominator = np.zeros((2, length)), np.zeros(length)
    starts = list(range(0, length, step))
    groups = [starts[i : i + batch] for i in range(0, len(starts), batch)]
    for group in groups:
        window = np.ones(size)
        window[:fade] *= np.linspace(0, 1, fade)
        window[-fade:] *= np.linspace(1, 0, fade)
        if group == [0]:
            window[:fade] = 1
        elif group is groups[-1]:
            window[-fade:] = 1
        for start in group:
            n = min(size, length - start)
            numerator[:, start : start + n] += outputs[start][:, :n] * window[:n]
            denominator[start : start + n] += window[:n]
    with np.errstate(invalid="ignore"):
        result = np.nan_to_num(numerator / denominator)
    return result[:, border:-border] if padded is not mixture else result


@pytest.mark.parametrize("total", [700, 2 * C + 17, 5 * C])
@pytest.mark.parametrize("num_overlap", [1, 2, 4])
@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_compatible_joints_are_theirs_with_all_their_quirks(total, num_overlap, batch_size):
    outputs: dict[int, np.ndarray] = {}
    step = C // num_overlap

    class Noise(Gain):
        def forward(self, mixture: Tensor) -> Tensor:
            for _ in mixture:
                start = len(outputs) * step
                outputs[start] = np.random.default_rng(start).normal(size=(2, C)).astype(np.float32)
            latest = list(outputs.values())[-len(mixture) :]
            return torch.from_numpy(np.stack(latest)).unsqueeze(1)

    separator = ChunkedSeparator(
        Noise(), chunk_seconds=1.0, overlap=1 - 1 / num_overlap, batch_size=batch_size, compat="msst"
    )
    vocals = separator.separate(song(total), RATE)["vocals"]
    np.testing.assert_allclose(
        vocals, reference_demix(song(total), outputs, C, num_overlap, batch_size), rtol=0, atol=2e-5
    )


def test_their_clicks_come_with_their_chunks_and_not_with_ours():
    ones = np.ones((2, 5 * C), dtype=np.float32)
    theirs = ChunkedSeparator(Gain(), chunk_seconds=1.0, overlap=0.0, compat="msst").separate(ones, RATE)["vocals"]
    assert (theirs[:, C - 1 : C + 1] == 0).all()
    assert (theirs == 0).sum() == 2 * 2 * 4
    assert (ChunkedSeparator(Gain(), chunk_seconds=1.0, overlap=0.0).separate(ones, RATE)["vocals"] == 1).all()


@pytest.mark.parametrize(("total", "mode"), [(C + C // 2 + 1, "reflect"), (C + C // 2, "constant")])
def test_a_short_last_chunk_is_reflected_or_filled_with_silence(total, mode):
    seen: list[Tensor] = []

    class Watch(Gain):
        def forward(self, mixture: Tensor) -> Tensor:
            seen.append(mixture)
            return super().forward(mixture)

    ChunkedSeparator(Watch(), chunk_seconds=1.0, overlap=0.0, compat="msst").separate(song(total), RATE)
    rest = song(total)[:, C:]
    np.testing.assert_array_equal(seen[-1][0].numpy(), np.pad(rest, ((0, 0), (0, C - rest.shape[1])), mode=mode))


def test_chunks_go_through_the_model_in_batches(heard):
    model = Gain()
    ChunkedSeparator(model, chunk_seconds=1.0, overlap=0.5, batch_size=4).separate(song(4 * C), RATE)
    assert model.shapes == [(4, 2, C), (3, 2, C)]
    assert heard.steps == 3


def test_what_is_left_is_the_mixture_minus_the_vocals():
    stems = ChunkedSeparator(MelBandRoformer(CONFIG), chunk_seconds=1.0).separate(song(20000), RATE)
    assert set(stems) == {"vocals", "instrumental"}
    np.testing.assert_array_equal(stems["instrumental"], song(20000) - stems["vocals"])
    assert stems["vocals"].dtype == np.float32


@pytest.mark.parametrize(
    ("stems", "names"),
    [
        (("vocals", "drums"), ("vocals", "drums", "instrumental")),
        (("dry",), ("dry", "rest")),
        (("bass", "drums"), ("bass", "drums")),
    ],
)
def test_stems_keep_their_names(stems, names):
    separator = ChunkedSeparator(Gain(stems=stems))
    assert separator.names == names
    assert tuple(separator.separate(song(3000), RATE)) == names


@pytest.mark.parametrize("gain", [1e-4, 30.0])
def test_the_level_does_not_matter(gain):
    separator = ChunkedSeparator(MelBandRoformer(CONFIG), chunk_seconds=1.0)
    quiet, loud = (separator.separate(g * song(20000), RATE)["vocals"] / g for g in (np.float32(1), np.float32(gain)))
    np.testing.assert_allclose(loud, quiet, rtol=0, atol=1e-5 * np.abs(quiet).max())


def test_mono_is_doubled_and_said(heard):
    stems = ChunkedSeparator(Gain(), chunk_seconds=1.0).separate(song(3000, 1)[0], RATE)
    np.testing.assert_array_equal(stems["vocals"], np.repeat(song(3000, 1), 2, axis=0))
    assert any("mono" in message for message in heard.said)


def test_a_mono_model_takes_each_channel_by_itself(heard):
    model = Gain(channels=1)
    stems = ChunkedSeparator(model, chunk_seconds=1.0).separate(song(C), RATE)
    np.testing.assert_array_equal(stems["vocals"], song(C))
    assert model.shapes == [(2, 1, C)]
    assert any("each channel" in message for message in heard.said)


def test_integers_are_scaled_and_said(heard):
    pcm = (song(3000) * 32768).astype(np.int16)
    stems = ChunkedSeparator(Gain()).separate(pcm, RATE)
    np.testing.assert_array_equal(stems["vocals"], pcm.astype(np.float32) / 32768)
    assert any("integers" in message for message in heard.said)


def test_other_rates_are_resampled_and_said(heard):
    stems = ChunkedSeparator(Gain()).separate(song(8000), 8000)
    assert stems["vocals"].shape == (2, 16000)
    assert any("8000" in message and "16000" in message for message in heard.said)


def test_a_loud_result_is_said(heard):
    ChunkedSeparator(Gain(gain=100.0)).separate(song(3000), RATE)
    assert any("full scale" in message for message in heard.said)


@pytest.mark.parametrize("total", [1, 100, 256, 257, 511, 513])
def test_sounds_shorter_than_a_frame_are_separated(total, heard):
    stems = ChunkedSeparator(MelBandRoformer(CONFIG)).separate(song(total), RATE)
    assert stems["vocals"].shape == (2, total)
    assert any("shorter than a frame" in message for message in heard.said) == (total < 512)


def test_silence_stays_silent():
    stems = ChunkedSeparator(MelBandRoformer(CONFIG)).separate(np.zeros((2, 3 * C), np.float32), RATE)
    assert all((stem == 0).all() for stem in stems.values())


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros((2, 0)),
        np.full((2, 1000), np.nan),
        np.full((2, 1000), np.inf),
        np.zeros((3, 1000)),
        np.zeros((1000, 2)),
        np.zeros((1, 2, 1000)),
        np.zeros((2, 1000), dtype=complex),
    ],
)
def test_sounds_that_cannot_be_separated_are_refused(samples):
    with pytest.raises(InputError):
        ChunkedSeparator(Gain()).separate(samples, RATE)


@pytest.mark.parametrize(
    "options",
    [
        {"overlap": 1.0},
        {"overlap": -0.5},
        {"chunk_seconds": 0.0},
        {"chunk_seconds": 0.001, "compat": "msst", "overlap": 0.5},
        {"batch_size": 0},
        {"overlap": 0.3, "compat": "msst"},
        {"window": lambda n: np.zeros(n)},
    ],
)
def test_separators_that_cannot_be_are_refused(options):
    with pytest.raises(InputError):
        ChunkedSeparator(Gain(), **options)


def test_broken_weights_are_told():
    with pytest.raises(WeightsError, match="finite"):
        ChunkedSeparator(Gain(gain=float("nan"))).separate(song(3000), RATE)


def test_half_precision_leaves_the_callers_model_alone():
    model = MelBandRoformer(CONFIG)
    exact = ChunkedSeparator(model).separate(song(8000), RATE)["vocals"]
    half = ChunkedSeparator(model, dtype=torch.bfloat16).separate(song(8000), RATE)["vocals"]
    assert next(model.parameters()).dtype == torch.float32
    assert 0 < np.linalg.norm(half - exact) < 0.05 * np.linalg.norm(exact)


@pytest.mark.parametrize("total", [1, 300, C, 3 * C + 11])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_streams_equal_arrays(tmp_path, total, batch_size):
    separator = ChunkedSeparator(MelBandRoformer(CONFIG), chunk_seconds=1.0, overlap=0.6, batch_size=batch_size)
    soundfile.write(tmp_path / "song.wav", song(total).T, RATE, subtype="FLOAT")
    whole = separator.separate(song(total), RATE)
    files = separator.stream(tmp_path / "song.wav", {name: tmp_path / f"{name}.wav" for name in separator.names})
    for name, path in files.items():
        np.testing.assert_array_equal(soundfile.read(path, dtype="float32", always_2d=True)[0].T, whole[name])


def test_one_target_is_the_first_stem(tmp_path, heard):
    soundfile.write(tmp_path / "song.flac", song(5000, 1).T, 8000)
    files = ChunkedSeparator(Gain(), chunk_seconds=1.0).stream(tmp_path / "song.flac", tmp_path / "out.flac")
    assert files == {"vocals": tmp_path / "out.flac"}
    samples, rate = soundfile.read(tmp_path / "out.flac")
    assert samples.shape == (10000, 2)
    assert rate == RATE
    assert any("mono" in message for message in heard.said)
    assert any("8000" in message for message in heard.said)


def test_streams_take_memory_of_a_chunk_not_of_the_song(tmp_path):
    peaks = []
    for seconds in (20, 200):
        path = tmp_path / f"{seconds}.wav"
        soundfile.write(path, song(seconds * RATE).T, RATE)
        separator = ChunkedSeparator(Gain(), chunk_seconds=1.0)
        tracemalloc.start()
        separator.stream(path, tmp_path / "out.wav")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_a_stream_that_fails_leaves_nothing(tmp_path):
    samples = song(5 * C)
    samples[0, -1] = np.nan
    soundfile.write(tmp_path / "song.wav", samples.T, RATE, subtype="FLOAT")
    out = tmp_path / "out"
    with pytest.raises(InputError, match="not finite"):
        ChunkedSeparator(Gain(), chunk_seconds=1.0).stream(
            tmp_path / "song.wav", {"vocals": out / "v.wav", "instrumental": out / "i.wav"}
        )
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    ("targets", "compat"), [({"drums": Path("d.wav")}, None), ({}, None), ({"vocals": Path("v.wav")}, "msst")]
)
def test_streams_that_cannot_be_are_refused(tmp_path, targets, compat):
    soundfile.write(tmp_path / "song.wav", song(C).T, RATE)
    with pytest.raises(InputError):
        ChunkedSeparator(Gain(), overlap=0.5, compat=compat).stream(tmp_path / "song.wav", targets)


def test_a_file_with_three_channels_is_refused(tmp_path):
    soundfile.write(tmp_path / "song.wav", song(C, 3).T, RATE)
    with pytest.raises(InputError, match="one or two channels"):
        ChunkedSeparator(Gain()).stream(tmp_path / "song.wav", tmp_path / "out.wav")
    assert not (tmp_path / "out.wav").exists()


def test_compatible_windows_share_a_batch():
    alone, paired = (msst_chunks(4 * C, C, 2, batch_size) for batch_size in (1, 2))
    assert alone[0].weights[0] == 1
    assert paired[0].weights[0] == 0
    assert alone[-2].weights[-1] == 0
    assert paired[-2].weights[-1] == 1
