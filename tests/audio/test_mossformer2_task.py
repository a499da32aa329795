"""The jobs: what a user's recording becomes, what bad input says, and training from a folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from harmonia.audio.mossformer2 import MossFormer2Config, SpeechSeparator, load_checkpoint, task
from harmonia.audio.mossformer2.claims.released import released_state
from harmonia.core.errors import InputError
from harmonia.core.progress import watched
from harmonia.core.task import jobs_in
from harmonia.core.weights import read_metadata
from harmonia.data import demo_talk
from harmonia.media import Audio
from harmonia.parts.sound_stream import SoundSource

JOBS = {job.name: job for job in jobs_in(task)}


class Listener:
    def __init__(self) -> None:
        self.said: list[str] = []

    def step(self, label: str, done: int, total: int | None) -> None: ...

    def say(self, message: str) -> None:
        self.said.append(message)


def piece(seconds: float = 3.0) -> Audio:
    return demo_talk().mixture.cut(5.0, 5.0 + seconds)


def recording(*seconds: float) -> SoundSource:
    return SoundSource(piece(*seconds))


def test_separate_is_the_default_and_all_jobs_are_described():
    assert list(JOBS) == ["separate", "train"]
    for job in JOBS.values():
        assert all(parameter.field.help for parameter in job.parameters)
        assert all(output.field.help for output in job.outputs)


def test_a_recording_becomes_a_file_a_speaker_and_a_report(tmp_path):
    outputs = JOBS["separate"].run({"recording": piece(), "device": "cpu"})
    assert outputs["speaker1"].rate == 8000
    assert outputs["speaker1"].seconds == outputs["speaker2"].seconds == pytest.approx(3.0)
    assert outputs["speaker3"] is None
    files = JOBS["separate"].save(outputs, tmp_path, "talk")
    assert [path.name for path in files] == [
        "talk_speaker1.wav",
        "talk_speaker2.wav",
        "talk_turns.csv",
        "talk_report.png",
    ]
    assert all(path.stat().st_size > 0 for path in files)


def test_the_job_does_what_the_estimator_does():
    outputs = task.separate(recording(), gate=25.0, device="cpu")
    found = SpeechSeparator(gate_db=25.0, device="cpu").predict(piece().samples, piece().rate)
    np.testing.assert_array_equal(np.concatenate([outputs[f"speaker{n}"].samples for n in (1, 2)]), found)


@pytest.mark.parametrize("samples", [1, 15, 700])
def test_very_short_and_silent_recordings_give_finite_silence(samples):
    listener = Listener()
    with watched(listener):
        outputs = task.separate(SoundSource(Audio(np.zeros((2, samples), dtype=np.float32), 8000)), device="cpu")
    assert outputs["speaker1"].samples.shape == (1, samples)
    assert not outputs["speaker1"].samples.any()
    assert outputs["turns"] is None
    assert any("nobody talks" in line for line in listener.said)


@pytest.mark.parametrize("layout", ["standalone", "clearvoice"])
def test_released_weights_are_used_at_their_rate(layout, tmp_path):
    config = MossFormer2Config(n_speakers=3, n_filters=16, depth=1, qk_dim=8, fsmn_dim=8, order=3)
    path = tmp_path / "release.pt"
    torch.save({"model": released_state(layout, config, 0)}, path)
    listener = Listener()
    with watched(listener):
        outputs = task.separate(recording(), weights=str(path), chunk=1.0, device="cpu")
    rate = {"standalone": 8000, "clearvoice": 16000}[layout]
    assert [outputs[f"speaker{n}"].rate for n in (1, 2, 3)] == [rate] * 3
    assert any("assuming" in line for line in listener.said)
    assert task.separate(recording(), weights=str(path), sample_rate=4000, device="cpu")["speaker1"].rate == 4000


def test_weights_that_are_none_are_refused(tmp_path):
    for weights in ("nowhere.ckpt", "hub:", str(tmp_path)):
        with pytest.raises(InputError):
            task.separate(recording(0.5), weights=weights, device="cpu")
    with pytest.raises(InputError, match="the file says"):
        task.separate(recording(0.5), sample_rate=16000, device="cpu")


def people(place: Path, count: int = 3) -> Path:
    random = np.random.default_rng(0)
    for number in range(count):
        path = place / f"speaker{number}" / "1.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, 0.1 * random.normal(size=8000), 8000)
    return place


def test_training_gives_weights_that_separate(tmp_path, monkeypatch):
    shape = {"n_filters": 16, "kernel": 32, "depth": 1, "group": 32, "qk_dim": 8, "fsmn_dim": 8, "order": 3}
    monkeypatch.setitem(task.SIZES, "small", shape)
    options = {"steps": 2, "batch": 1, "seconds": 0.5, "evaluate_every": 1, "device": "cpu"}
    options["held_out"] = str(people(tmp_path / "more", 2))
    outputs = JOBS["train"].run({"folder": people(tmp_path / "people"), **options})
    path = outputs["weights"].write(tmp_path / "own.safetensors")
    made = json.loads(read_metadata(path)["made"])
    assert made["speakers"] == ["speaker0", "speaker1", "speaker2"]
    assert {"step", "loss", "si_sdr", "gain"} <= set(made["scores"])
    assert load_checkpoint(path).config.n_filters == 16
    assert task.separate(recording(0.5), weights=str(path), device="cpu")["speaker1"].seconds == pytest.approx(0.5)
    further = JOBS["train"].run({"folder": tmp_path / "people", **options, "start": str(path)})
    assert further["weights"].tensors.keys() == outputs["weights"].tensors.keys()


def test_mixtures_of_another_number_of_speakers_are_refused(tmp_path):
    for name in ("mix", "s1", "s2", "s3"):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "x.wav", np.zeros(800), 8000)
    with pytest.raises(InputError, match="separates 2 speakers"):
        task.train(tmp_path, steps=1, device="cpu")
