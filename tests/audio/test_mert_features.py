"""Features of songs: chunks, pooling, rates, channels, and what cannot be used."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import soundfile
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from harmonia.audio.mert import MERTConfig, MERTFeatures, MERTModel
from harmonia.core.errors import InputError
from harmonia.media import Audio

SMALL = dataclasses.replace(
    MERTConfig.tiny(),
    cqt_bins=0,
    dim=16,
    layers=2,
    heads=2,
    feed_forward=24,
    conv_dim=(8,) * 7,
    pos_kernel=10,
    pos_groups=4,
)


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MERTModel(SMALL).eval()


def noise(seconds, rate=24000, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate)).astype(np.float32)


def normalized(x):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-7)


def plain(model, x):
    with torch.no_grad():
        return torch.stack(model(torch.from_numpy(x)[None])["hidden"])[:, 0].numpy()


def test_a_short_clip_is_one_chunk(model):
    clip = noise(2.345)
    expected = plain(model, normalized(clip))
    frames = MERTFeatures(model, pool="frames").fit_transform([clip])[0]
    assert np.abs(frames - expected).max() < 1e-5
    assert np.abs(MERTFeatures(model).fit_transform([clip])[0] - expected.mean(1)).max() < 1e-5
    stats = MERTFeatures(model, pool="stats").fit_transform([clip])[0]
    assert np.abs(stats - np.concatenate([expected.mean(1), expected.std(1)], 1)).max() < 1e-5


def test_a_long_clip_is_cut_into_equal_chunks_of_frames(model):
    clip = normalized(noise(5.0))
    features = MERTFeatures(model, chunk_seconds=1.0, normalize="off")
    total, size = SMALL.frames(len(clip)), 75
    starts = np.round(np.linspace(0, total - size, 5)).astype(int)
    chunks = [
        plain(model, clip[320 * s : len(clip) if s + size == total else 320 * (s + size - 1) + 400]) for s in starts
    ]
    assert {chunk.shape[1] for chunk in chunks} == {size}
    expected = np.mean([chunk.mean(1) for chunk in chunks], 0)
    assert np.abs(features.fit_transform([clip])[0] - expected).max() < 1e-5
    assert [start for start, _ in features.chunks(clip)] == starts.tolist()


@pytest.mark.parametrize("seconds", [0.5, 3.3, 7.01])
@pytest.mark.parametrize("hop", [None, 0.5])
def test_every_frame_is_there_once(model, seconds, hop):
    clip = noise(seconds)
    (frames,) = MERTFeatures(model, chunk_seconds=1.0, hop_seconds=hop, pool="frames").fit_transform([clip])
    assert frames.shape == (3, SMALL.frames(len(clip)), 16)
    assert np.isfinite(frames).all()


@pytest.mark.parametrize("seconds", [0.1, 0.9, 7.01, 40.0])
def test_a_summary_is_that_of_every_frame_once(model, seconds):
    clip = noise(seconds)
    features = MERTFeatures(model, layers=[0, 2], chunk_seconds=1.0)
    summary, sound = features.summary(Audio(clip, 24000)), Audio(clip, 24000)
    pieces, settled = [], 0
    for start, states in features.chunks(sound):
        pieces.append(states[:, settled - start :].numpy())
        settled += pieces[-1].shape[1]
    frames = np.concatenate(pieces, 1)
    assert frames.shape[1] == SMALL.frames(len(clip))
    assert np.abs(summary.mean - frames.mean(1)).max() < 1e-5
    assert np.abs(summary.deviation - frames.std(1)).max() < 1e-5
    assert np.abs(summary.lengths - np.linalg.norm(frames, axis=-1)).max() < 1e-4
    count = summary.windows.shape[1]
    size = round(summary.step * frames.shape[1] / seconds)
    assert count == frames.shape[1] // size <= 2 * 240
    for window in (0, count // 2, count - 1):
        expected = frames[:, window * size : (window + 1) * size].mean(1)
        assert np.abs(summary.windows[:, window] - expected).max() < 1e-5


def test_files_streams_and_arrays_agree(model, tmp_path):
    stereo = np.stack([noise(4.0, seed=1), noise(4.0, seed=2)])
    soundfile.write(tmp_path / "song.wav", stereo.T, 24000, subtype="FLOAT")
    features = MERTFeatures(model, chunk_seconds=1.5)
    from_file = features.fit_transform([tmp_path / "song.wav", str(tmp_path / "song.wav")])
    from_audio = features.transform([Audio(stereo, 24000), stereo, stereo.mean(0)])
    assert np.abs(from_file - from_file[0]).max() == 0
    assert np.abs(from_audio - from_file[0]).max() < 1e-5


def test_other_rates_are_resampled(model, tmp_path):
    low = Audio(noise(3.0), 24000)
    high = low.resampled(48000)
    soundfile.write(tmp_path / "high.flac", high.samples.T, 48000)
    one, other, third = (
        MERTFeatures(model, sample_rate=rate).fit_transform([clip])[0]
        for clip, rate in ((low, None), (high.samples, 48000), (tmp_path / "high.flac", None))
    )
    assert np.abs(one - other).max() < 0.05 * np.abs(one).max()
    assert np.abs(third - other).max() < 0.01 * np.abs(one).max()


def test_clips_or_chunks_are_normalised(model):
    clip = noise(2.0) * np.linspace(0.1, 1, 48000, dtype=np.float32) + 0.05
    states = {}
    for how in ("clip", "chunk", "off"):
        states[how] = list(MERTFeatures(model, chunk_seconds=1.0, normalize=how).chunks(clip))
    first = clip[: 320 * 74 + 400]
    whole = (clip - clip.mean()) / np.sqrt(clip.var() + 1e-7)
    for how, expected in (("clip", whole[: len(first)]), ("chunk", normalized(first)), ("off", first)):
        assert np.abs(states[how][0][1].numpy() - plain(model, expected.astype(np.float32))).max() < 2e-5
    default = list(MERTFeatures(model, chunk_seconds=1.0).chunks(clip))
    assert torch.equal(default[0][1], states["clip"][0][1])


def test_silence_is_finite(model):
    assert np.isfinite(MERTFeatures(model).fit_transform([np.zeros(24000, dtype=np.float32)])).all()


def test_layers_and_names(model):
    features = MERTFeatures(model, layers=[2, 0], pool="stats")
    found = features.fit_transform([noise(1.0)])
    assert found.shape == (1, 2, 32)
    names = features.get_feature_names_out()
    assert len(names) == 64
    assert (names[0], names[16], names[32]) == ("layer2_mean0", "layer2_std0", "layer0_mean0")
    assert MERTFeatures(model).get_feature_names_out()[17] == "layer1_1"


def test_it_stands_in_front_of_a_classifier(model):
    clips = [noise(0.5, seed=i) + 2 * (i % 2) * np.sin(0.1 * np.arange(12000)) for i in range(12)]
    labels = [i % 2 for i in range(12)]
    pipeline = make_pipeline(
        MERTFeatures(model, layers=[1]), FunctionTransformer(lambda x: x[:, 0]), LogisticRegression(max_iter=500)
    )
    assert pipeline.fit(clips, labels).score(clips, labels) == 1.0
    again = clone(pipeline)
    assert again[0].get_params()["layers"] == [1]


def test_half_precision_is_near(model):
    clip = noise(2.0)
    exact, rough = (MERTFeatures(model, dtype=d).fit_transform([clip]) for d in ("float32", "bfloat16"))
    assert np.abs(exact - rough).mean() < 0.05 * np.abs(exact).mean()


@pytest.mark.parametrize(
    ("clips", "words"),
    [
        ([np.zeros(399, dtype=np.float32)], "at least 400"),
        ([np.full(4000, np.nan, dtype=np.float32)], "finite"),
        ([], "list of clips"),
        ("song.wav", "list of clips"),
        (["missing.wav"], "no such sound"),
    ],
    ids=["short", "nan", "empty", "a path", "missing"],
)
def test_clips_that_cannot_be_used(model, clips, words):
    with pytest.raises(InputError, match=words):
        MERTFeatures(model).fit_transform(clips)


def test_corrupt_files_are_refused(model, tmp_path):
    (tmp_path / "song.wav").write_bytes(b"RIFF....WAVE nothing")
    with pytest.raises(InputError):
        MERTFeatures(model).fit_transform([tmp_path / "song.wav"])


@pytest.mark.parametrize(
    "settings",
    [{"chunk_seconds": 0.0}, {"hop_seconds": -1.0}, {"hop_seconds": 40.0}, {"pool": "max"}, {"layers": [7]}],
    ids=["chunk", "hop", "gaps", "pool", "layers"],
)
def test_settings_that_make_no_sense(model, settings):
    with pytest.raises(InputError):
        MERTFeatures(model).set_params(**settings).fit_transform([noise(1.0)])
