"""The separator: exact with an oracle, whatever comes in, from arrays and from file to files."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from sklearn.base import clone
from torch import Tensor

from harmonia.audio.mossformer2 import MossFormer2, MossFormer2Config, SpeechSeparator
from harmonia.audio.mossformer2.activity import Activity, residual_db, speakers_heard
from harmonia.audio.mossformer2.claims.stitching import Oracle, Truth, conversation
from harmonia.audio.mossformer2.separator import gated
from harmonia.core.errors import InputError, WeightsError
from harmonia.core.progress import watched

RATE = 8000
CONFIG = MossFormer2Config(n_filters=4, depth=1, qk_dim=4, fsmn_dim=4, order=2, sample_rate=RATE)


class Split(MossFormer2):
    """Gives what is below and above a level of its input, in an order that changes from call to call."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__(CONFIG)
        self.gain, self.calls = gain, 0

    def forward(self, mixture: Tensor) -> Tensor:
        self.calls += 1
        high = torch.where(mixture > 0, mixture, 0)
        speakers = self.gain * torch.stack([high, mixture - high], dim=1)
        return speakers if self.calls % 2 else speakers.flip(1)


class Listener:
    def __init__(self) -> None:
        self.said: list[str] = []

    def step(self, label: str, done: int, total: int | None) -> None: ...

    def say(self, message: str) -> None:
        self.said.append(message)


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).normal(size=round(seconds * RATE))).astype(np.float32)


def separator(model: MossFormer2 | None = None, **options) -> SpeechSeparator:
    return SpeechSeparator(model or Split(), device="cpu", **options)


@pytest.mark.parametrize("seconds", [0.001, 0.5, 1.0, 3.37, 9.0])
@pytest.mark.parametrize("overlap", [0.25, 0.5, 0.9])
def test_chunks_of_a_perfect_network_are_joined_exactly(seconds, overlap):
    mixture = sound(seconds)
    found = separator(chunk_seconds=1.0, overlap=overlap).predict(mixture, RATE)
    np.testing.assert_allclose(found, [np.maximum(mixture, 0), np.minimum(mixture, 0)], atol=1e-6)


def test_joints_tell_what_was_reordered():
    result = separator(chunk_seconds=1.0).separate(sound(3.0), RATE)
    assert [joint.seconds for joint in result.joints] == [0.5, 1.0, 1.5, 2.0]
    assert [joint.swapped for joint in result.joints] == [True, False, True, False]
    assert all(joint.confidence > 0.9 for joint in result.joints)
    assert separator().separate(sound(3.0), RATE).joints == ()
    assert separator(chunk_seconds=None).separate(sound(20.0), RATE).joints == ()
    untouched = separator(chunk_seconds=1.0, stitch="none").separate(sound(3.0), RATE)
    assert untouched.joints == ()
    assert np.abs(untouched.speakers - result.speakers).max() > 0.05


@pytest.mark.parametrize("sources", [2, 3])
def test_an_oracle_in_random_order_is_stitched_exactly(sources):
    random = np.random.default_rng(0)
    truth = Truth(random.normal(size=(sources, 20 * RATE)).astype(np.float32), random)
    found = separator(Oracle(truth), chunk_seconds=2.0, level_normalise=False, match="none").predict(
        truth.mixture, RATE
    )
    np.testing.assert_allclose(found, truth.speakers[truth.given[0]], atol=1e-6)


@pytest.mark.parametrize("gain", [0.001, -3.0, 100.0])
def test_the_scale_of_the_network_does_not_matter(gain):
    mixture = sound(2.0)
    expected = separator().predict(mixture, RATE)
    np.testing.assert_allclose(separator(Split(gain)).predict(mixture, RATE), expected, atol=1e-6)
    raw = separator(Split(gain), match="none").predict(mixture, RATE)
    np.testing.assert_allclose(raw, gain * expected, rtol=1e-4, atol=1e-6)


def test_quiet_recordings_are_separated_like_loud_ones():
    torch.manual_seed(0)
    model, mixture = MossFormer2(CONFIG), sound(1.0)
    loud, quiet = (separator(model).predict(np.float32(g) * mixture, RATE) for g in (1.0, 1e-3))
    np.testing.assert_allclose(1e3 * quiet, loud, atol=1e-5)
    raw, quiet = (separator(model, level_normalise=False).predict(np.float32(g) * mixture, RATE) for g in (1.0, 1e-3))
    assert np.abs(1e3 * quiet - raw).max() > 1e-3


def test_silence_gives_silence():
    found = separator(MossFormer2(CONFIG), chunk_seconds=1.0).predict(np.zeros(3 * RATE, dtype=np.float32), RATE)
    assert found.shape == (2, 3 * RATE)
    assert not found.any()


def test_other_rates_channels_and_integers_are_taken_with_a_notice():
    listener = Listener()
    stereo = np.stack([sound(1.0), sound(1.0, seed=1)])
    with watched(listener):
        found = separator().predict(stereo, RATE)
        other = separator().predict(sound(1.0), 4000)
        whole = separator().predict((32767 * stereo).astype(np.int16), RATE)
    np.testing.assert_allclose(found.sum(0), stereo.mean(0), atol=1e-6)
    np.testing.assert_allclose(whole, found, atol=1e-3)
    assert other.shape == (2, 2 * RATE)
    assert any("2 channels" in line for line in listener.said)
    assert any("4000" in line for line in listener.said)


def test_a_gate_mutes_who_is_far_below():
    loud, leak = sound(2.0), 0.01 * sound(2.0, seed=1)
    speakers = np.stack([loud, leak])
    assert not gated(speakers, RATE, gate_db=20.0)[1].any()
    np.testing.assert_array_equal(gated(speakers, RATE, gate_db=60.0), speakers)
    np.testing.assert_array_equal(gated(speakers, RATE, gate_db=20.0)[0], loud)


def write(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    soundfile.write(path, samples.T, rate, subtype="FLOAT")
    return path


def test_a_file_becomes_files_with_the_same_samples(tmp_path):
    mixture = sound(30.0)
    source = write(tmp_path / "talk.wav", mixture)
    joints = separator().stream(source, [tmp_path / "1.wav", tmp_path / "2.wav"])
    result = separator().separate(mixture, RATE)
    assert joints == result.joints
    assert len(joints) > 3
    for path, speaker in zip((tmp_path / "1.wav", tmp_path / "2.wav"), result.speakers, strict=True):
        np.testing.assert_array_equal(soundfile.read(path, dtype="float32")[0], speaker)


def test_memory_does_not_grow_with_the_recording(tmp_path):
    """Ten minutes take no more than one, beyond a megabyte: the samples alone would be 19 MB a speaker."""
    peaks = []
    for minutes in (1, 10):
        source = write(tmp_path / f"{minutes}.wav", np.tile(sound(10.0), 6 * minutes))
        tracemalloc.start()
        separator(Split(), overlap=0.25).stream(source, [tmp_path / "1.flac", tmp_path / "2.flac"])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2**20


def test_files_appear_whole_or_not_at_all(tmp_path):
    source = write(tmp_path / "talk.wav", sound(20.0))
    (tmp_path / "text.wav").write_text("no sound")
    targets = [tmp_path / "1.wav", tmp_path / "2.wav"]
    for bad in (tmp_path / "text.wav", tmp_path / "nowhere.wav"):
        with pytest.raises(InputError):
            separator().stream(bad, targets)
    with pytest.raises(InputError, match="speakers"):
        separator().stream(source, targets[:1])
    with pytest.raises(InputError, match="kind of file"):
        separator().stream(source, [tmp_path / "1.mp3", tmp_path / "2.wav"])

    class Failing(Split):
        def forward(self, mixture: Tensor) -> Tensor:
            return torch.full((len(mixture), 2, mixture.shape[1]), float("nan"))

    with pytest.raises(WeightsError, match="finite"):
        separator(Failing()).stream(source, targets)
    assert not any(path.exists() for path in targets)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["talk.wav", "text.wav"]


@pytest.mark.parametrize(
    ("samples", "rate"),
    [
        (np.zeros(0, dtype=np.float32), RATE),
        (np.full(100, np.nan, dtype=np.float32), RATE),
        (np.zeros((2, 3, 4), dtype=np.float32), RATE),
        (np.zeros(100, dtype=np.complex64), RATE),
        (np.zeros(100, dtype=np.float32), 0),
    ],
    ids=["empty", "nan", "three axes", "complex", "no rate"],
)
def test_unusable_sound_is_refused(samples, rate):
    with pytest.raises(InputError):
        separator().predict(samples, rate)


@pytest.mark.parametrize(
    "change",
    [
        {"stitch": "x"},
        {"match": "x"},
        {"compat": "x"},
        {"dtype": "x"},
        {"chunk_seconds": 0.1},
        {"overlap": 1.0},
        {"gate_db": -1.0},
    ],
    ids=str,
)
def test_unusable_options_are_refused(change):
    with pytest.raises(InputError):
        separator().set_params(**change).predict(sound(1.0), RATE)


def test_it_is_an_estimator():
    made = separator(chunk_seconds=2.0, gate_db=20.0)
    again = clone(made, safe=False)
    assert again.get_params()["gate_db"] == 20.0
    assert again.sample_rate == RATE
    other = MossFormer2(MossFormer2Config(**{**vars(CONFIG), "sample_rate": 16000}))
    assert again.set_params(weights=other).sample_rate == 16000


def test_the_official_decoder_swaps_and_drops():
    truth = conversation(0, seconds=20.0)
    options = {"level_normalise": False, "match": "none", "device": "cpu"}
    model = Oracle(truth)
    swapped = SpeechSeparator(model, compat="clearvoice", **options).predict(truth.mixture, RATE)
    assert swapped.shape == truth.speakers.shape
    assert np.abs(swapped - truth.speakers).max() > 0.05
    assert np.abs(swapped - truth.speakers[::-1]).max() > 0.05
    cut = Truth(truth.speakers[:, : round(3.5 * RATE)], truth.random)
    lost = SpeechSeparator(Oracle(cut), compat="clearvoice", **options).predict(cut.mixture, RATE)
    assert not lost[:, -RATE // 4 :].any()
    with pytest.raises(InputError, match="own chunks"):
        SpeechSeparator(model, compat="clearvoice", **options).stream("a.wav", ["b.wav", "c.wav"])


def test_who_talks_when_is_found():
    speakers = np.stack([sound(4.0), sound(4.0, seed=1)])
    speakers[0, 2 * RATE :] *= 0.01
    speakers[1, : 1 * RATE] *= 0.01
    activity = Activity.of(speakers, RATE)
    assert activity.turns == [(pytest.approx(0.0), pytest.approx(2.0), 1), (pytest.approx(1.0), pytest.approx(4.0), 2)]
    assert activity.to_table().frame.columns == ["start_s", "end_s", "speaker"]
    assert Activity.of(np.zeros((2, 100), dtype=np.float32), RATE).to_table() is None


def test_how_many_people_there_are():
    a, b = sound(2.0), sound(2.0, seed=1)
    assert speakers_heard(np.stack([a, b]), RATE) == 2
    assert speakers_heard(np.stack([a, 0.05 * b]), RATE) == 1
    assert speakers_heard(np.stack([a, 0.5 * a]), RATE) == 1
    assert speakers_heard(np.stack([a, b, a]), RATE) == 2
    assert speakers_heard(np.zeros((2, 100), dtype=np.float32), RATE) == 0
    assert residual_db(a + b, np.stack([a, 0 * b])) == pytest.approx(-3.0, abs=0.2)
