"""The jobs, as the command line and the web page call them, on sounds of a user's own."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import polars
import pytest

from harmonia.audio.sonics import LabelledSong, SpecTTTraConfig, report, task
from harmonia.audio.sonics.evaluation import scores
from harmonia.core.errors import InputError
from harmonia.core.task import jobs_in
from harmonia.data import demo_song
from harmonia.media import Audio
from harmonia.media.spectrogram import mel_decibels
from harmonia.parts.sound_stream import SoundSource

JOBS = {job.name: job for job in jobs_in(task)}
RATE = 16000


def write(folder: Path, count: int, seconds: float = 5.5) -> Path:
    """A folder of noises, the fake ones without treble."""
    random = np.random.default_rng(0)
    for number in range(count):
        spectrum = np.fft.rfft(random.standard_normal(round(seconds * RATE)))
        for kind in ("real", "fake"):
            if kind == "fake":
                spectrum[len(spectrum) // 4 :] = 0
            Audio(0.1 * np.fft.irfft(spectrum), RATE).write(folder / kind / f"{number}.wav")
    return folder


def test_detect_is_the_default_and_all_jobs_are_described():
    assert list(JOBS) == ["detect", "train", "evaluate", "calibrate", "resynthesise", "efficiency"]
    for job in JOBS.values():
        assert all(parameter.field.help for parameter in job.parameters)
        assert all(output.field.help for output in job.outputs)


def test_the_embedded_example_is_pointed_at(tmp_path):
    outputs = JOBS["detect"].run({"device": "cpu"})
    [(begin, end)] = outputs["verdict"].flagged
    first, last = task.SPLICE_S
    assert first - 2.5 < begin < first + 2.5  # where a window of 5 s is at least half synthetic
    assert last - 2.5 < end < last + 2.5
    names = [path.name for path in JOBS["detect"].save(outputs, tmp_path, "song")]
    assert names == ["song_verdict.json", "song_windows.csv", "song_report.png"]
    content = json.loads((tmp_path / "song_verdict.json").read_text())
    assert len(content["windows"]) == len(outputs["windows"].frame)
    assert "no recordings" in content["trained_on"]


@pytest.mark.parametrize(
    "song",
    [demo_song().cut(3, 11), demo_song().mono().resampled(8000).cut(0, 7), Audio(np.zeros((2, 96000)), 48000)],
    ids=["stereo", "8 kHz", "silence"],
)
def test_songs_of_any_kind_are_judged(song):
    outputs = task.detect(SoundSource(song), hop=1.0, device="cpu")
    assert outputs["verdict"].seconds == pytest.approx(song.seconds, abs=1e-3)
    assert (outputs["verdict"].synthetic is None) == (song.peak == 0)


def test_detecting_takes_memory_of_a_window_not_of_the_song(tmp_path):
    peaks = []
    for seconds in (100, 600):
        noise = np.random.default_rng(seconds).normal(0, 0.1, seconds * 8000).astype(np.float32)
        path = Audio(noise, 8000).write(tmp_path / "song.flac")
        tracemalloc.start()
        outputs = JOBS["detect"].run({"song": path, "hop": 20.0, "device": "cpu"})
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert outputs["verdict"].seconds == seconds
    assert peaks[1] < 1.1 * peaks[0]


def test_a_long_song_is_drawn_by_its_moments_as_a_whole():
    rate, seconds = 16000, 180
    pitch = np.repeat([300.0, 900.0, 2700.0], seconds * rate // 3)
    song = Audio(0.1 * np.sin(2 * np.pi * np.cumsum(pitch) / rate), rate)
    moments, whole = mel_decibels(report._moments(SoundSource(song)), rate), mel_decibels(song.samples, rate)
    np.testing.assert_allclose(moments, whole, atol=1e-3)


def test_trained_evaluated_and_calibrated(tmp_path, monkeypatch):
    monkeypatch.setattr(task, "SMALL", SpecTTTraConfig.tiny())
    folder = write(tmp_path / "songs", 16, seconds=2.0)
    learnt = task.train(folder, steps=60, batch=8, learning_rate=3e-3, test_share=0.4, device="cpu")
    path = learnt["weights"].write(tmp_path / "mine.safetensors")
    values = dict(learnt["scores"].frame.select("measure", "value").iter_rows())
    assert values["auc"] == 1.0
    found = task.evaluate(folder, weights=str(path), device="cpu")
    assert found["songs"].frame.height == 32
    assert dict(found["scores"].frame.select("measure", "value").iter_rows())["auc"] == 1.0
    mine = task.calibrate(folder / "real", weights=str(path), false_alarms=0.2, device="cpu")
    assert (mine["songs"].frame["target"] == 0).all()
    kept = mine["weights"].write(tmp_path / "calibrated.safetensors")
    verdict = task.detect(SoundSource.read(folder / "fake" / "0.wav"), weights=str(kept), device="cpu")["verdict"]
    assert verdict.synthetic
    assert "16 real songs" in verdict.content()["calibration"]


def test_training_on_what_cannot_be_learnt_is_refused(tmp_path):
    with pytest.raises(InputError, match="5 s"):
        task.train(write(tmp_path, 2, 1.0), seconds=120, device="cpu")
    with pytest.raises(InputError, match="no labelled songs"):
        task.train(tmp_path / "real", device="cpu")
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="no songs"):
        task.calibrate(tmp_path / "none", device="cpu")


def test_a_song_made_again_and_the_costs(tmp_path):
    made = JOBS["resynthesise"].run({"song": demo_song().cut(0, 4), "kind": "codec-60"})
    assert len(JOBS["resynthesise"].save(made, tmp_path, "song")) == 2
    timed = JOBS["efficiency"].run({"longest": 5, "repeats": 1})
    assert timed["costs"].frame["tokens"].to_list() == [170, 67, 43, 64, 0]
    assert len(JOBS["efficiency"].save(timed, tmp_path, "costs")) == 2


def test_scores_follow_the_papers_partitions():
    rows = [
        (1, 0.9, {"algorithm": "a", "fake_type": "full fake", "length": "long"}),
        (1, 0.2, {"algorithm": "b", "fake_type": "full fake", "length": "long"}),
        (0, 0.1, {"singer": "seen", "length": "long"}),
        (0, 0.7, {"singer": "unseen", "length": "short"}),
        (0, np.nan, {"singer": "unseen", "length": "short"}),
    ]
    songs = [LabelledSong(Path("x"), target, "g", "", partition) for target, _, partition in rows]
    frame = scores(songs, np.array([p for _, p, _ in rows])).frame
    found = {(songs, measure): value for songs, measure, value, _ in frame.iter_rows()}
    assert found["all", "f1"] == pytest.approx(0.5)
    assert found["all", "auc"] == pytest.approx(0.75)
    assert found["algorithm: a", "sensitivity"] == 1
    assert found["algorithm: b", "sensitivity"] == 0
    assert found["fake_type: full fake", "sensitivity"] == 0.5
    assert found["singer: unseen", "specificity"] == 0
    assert found["length: long", "macro F1"] == pytest.approx((2 / 3 + 2 / 3) / 2, abs=1e-4)
    assert frame.filter(polars.col("songs") == "all")["count"].unique().to_list() == [4]
    with pytest.raises(InputError, match="silent"):
        scores(songs[-1:], np.array([np.nan]))
