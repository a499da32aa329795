"""The jobs: what a user's songs become, and what bad input says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from harmonia.audio.mert import MERTConfig, MERTFeatures, MERTModel, report, task
from harmonia.core.errors import InputError, WeightsError
from harmonia.core.task import jobs_in
from harmonia.core.weights import Checkpoint
from harmonia.data import demo_song
from harmonia.media import Audio
from harmonia.media.figure import new_figure
from harmonia.parts.sound_stream import SoundSource

JOBS = {job.name: job for job in jobs_in(task)}


def piece(seconds: float = 3.0) -> Audio:
    return demo_song().cut(2.0, 2.0 + seconds)


def test_listening_is_the_default_and_all_jobs_are_described() -> None:
    assert list(JOBS) == ["listen", "frames", "pretrain"]
    for job in JOBS.values():
        assert all(parameter.field.help for parameter in job.parameters)
        assert all(output.field.help for output in job.outputs)


def test_the_embedded_weights_are_there_and_small() -> None:
    model = MERTModel.from_pretrained()
    assert model.config == MERTConfig.tiny()
    path = Path(task.__file__).parent / "weights" / "tiny.safetensors"
    assert path.stat().st_size < 3_000_000


def test_a_song_becomes_features(tmp_path: Path) -> None:
    outputs = JOBS["listen"].run({"songs": [piece()], "device": "cpu"})
    frame = outputs["features"].frame
    assert frame["layer"].to_list() == [0, 1, 2, 3, 4]
    assert frame.width == 2 + 128
    expected = MERTFeatures(device="cpu").fit_transform([piece()])[0]
    np.testing.assert_allclose(frame.drop("song", "layer").to_numpy(), expected, rtol=1e-6, atol=1e-5)
    files = JOBS["listen"].save(outputs, tmp_path, "song")
    assert [path.name for path in files] == ["song_features.csv", "song_report.png"]
    assert all(path.stat().st_size > 0 for path in files)


def test_several_songs_are_compared(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "low.ogg", piece(1.5).mono().resampled(16000).samples.T, 16000)
    given = {"songs": [str(tmp_path / "low.ogg"), piece(1.0), piece(2.0)], "layers": "1,4", "pool": "stats"}
    outputs = JOBS["listen"].run({**given, "device": "cpu"})
    frame = outputs["features"].frame
    assert frame["song"].to_list() == [1, 1, 2, 2, 3, 3]
    assert frame["layer"].to_list() == [1, 4] * 3
    assert {"mean0", "std127"} <= set(frame.columns)
    alone = JOBS["listen"].run({"songs": [piece(2.0)], "layers": "1,4", "pool": "stats", "device": "cpu"})
    difference = alone["features"].frame.drop("song").to_numpy() - frame.filter(song=3).drop("song").to_numpy()
    assert np.abs(difference).max() < 1e-4


def test_every_frame_is_given(tmp_path: Path) -> None:
    outputs = JOBS["frames"].run({"song": piece(5.0), "chunk": "2", "layers": "3", "device": "cpu"})
    tensors = outputs["frames"].tensors
    assert tensors["frames"].shape == (1, 374, 128)
    assert torch.allclose(tensors["times"].diff(), torch.full((373,), 1 / 75, dtype=torch.float64))
    path = outputs["frames"].write(tmp_path / "frames.safetensors")
    assert torch.equal(Checkpoint.read(path).tensors["frames"], tensors["frames"])


@pytest.mark.parametrize("seconds", [0.02, 0.3, 1.0])
def test_very_short_songs_have_a_report(seconds: float) -> None:
    outputs = task.listen([SoundSource(piece(seconds))], device="cpu")
    assert np.isfinite(outputs["features"].frame.to_numpy()).all()


def test_the_spectrum_of_a_long_song_has_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = []
    for frames in (100_000, 300):
        monkeypatch.setattr(report, "_PIECE", frames)
        _, (axes,) = new_figure(width=10, height=3)
        report._notes(axes, piece(12.0))
        pictures.append(np.asarray(axes.images[0].get_array()))
    assert np.abs(pictures[0] - pictures[1]).max() < 0.1  # decibels


def test_silence_has_a_report() -> None:
    outputs = task.listen([SoundSource(Audio(np.zeros(48000, dtype=np.float32), 24000))], device="cpu")
    assert np.isfinite(outputs["features"].frame.to_numpy()).all()


def test_what_cannot_be_used() -> None:
    with pytest.raises(InputError, match="at least 400"):
        task.listen([SoundSource(Audio(np.zeros(100, dtype=np.float32), 24000))], device="cpu")
    with pytest.raises(InputError, match="no layers"):
        task.listen([SoundSource(piece(1.0))], layers="top", device="cpu")
    with pytest.raises(InputError, match="no such layers"):
        task.listen([SoundSource(piece(1.0))], layers="9", device="cpu")
    with pytest.raises(WeightsError):
        task.listen([SoundSource(piece(1.0))], weights="nowhere.bin", device="cpu")


def test_pretraining_leaves_weights_for_listening(tmp_path: Path) -> None:
    (tmp_path / "music").mkdir()
    for number in range(3):
        soundfile.write(tmp_path / "music" / f"{number}.wav", demo_song().cut(number, number + 6).samples.T, 44100)
    given = {"music": tmp_path / "music", "steps": "2", "batch": "1", "seconds": "1", "held_out": "1"}
    outputs = JOBS["pretrain"].run({**given, "teachers": "rvq+cqt", "device": "cpu", "evaluate_every": "1"})
    path = outputs["weights"].write(tmp_path / "mine.safetensors")
    heard = task.listen([SoundSource(piece(1.0))], weights=str(path), device="cpu")
    assert heard["features"].frame.height == 5
    assert outputs["report"].write(tmp_path / "run.png").stat().st_size > 0
