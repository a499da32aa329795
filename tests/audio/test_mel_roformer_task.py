"""The jobs: what a user's song becomes, what bad input says, and training from a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harmonia.audio.mel_roformer import MelBandRoformer, MelBandRoformerConfig, VocalMelodyTranscriber, task
from harmonia.audio.mel_roformer.stems import read_stems
from harmonia.core.errors import InputError, WeightsError
from harmonia.core.progress import watched
from harmonia.core.task import jobs_in
from harmonia.core.weights import read_metadata, write_safetensors
from harmonia.data import demo_truth
from harmonia.media import Audio

JOBS = {job.name: job for job in jobs_in(task)}


class Listener:
    def __init__(self) -> None:
        self.said: list[str] = []

    def step(self, label: str, done: int, total: int | None) -> None: ...

    def say(self, message: str) -> None:
        self.said.append(message)


def piece(seconds: float = 3.0) -> Audio:
    return demo_truth().mixture.cut(2.0, 2.0 + seconds)


def test_separate_is_the_default_and_all_jobs_are_described() -> None:
    assert list(JOBS) == ["separate", "transcribe", "train"]
    for job in JOBS.values():
        assert all(parameter.field.help for parameter in job.parameters)
        assert all(output.field.help for output in job.outputs)


def test_a_song_comes_apart_and_adds_up(tmp_path: Path) -> None:
    song = piece()
    outputs = JOBS["separate"].run({"song": song, "device": "cpu"})
    assert np.abs(outputs["vocals"].samples + outputs["instrumental"].samples - song.samples).max() < 1e-6
    files = JOBS["separate"].save(outputs, tmp_path, "song")
    assert [path.name for path in files] == [
        "song_vocals.wav",
        "song_instrumental.wav",
        "song_melody.mid",
        "song_report.png",
    ]
    assert all(path.stat().st_size > 0 for path in files)


def test_mono_of_another_rate_is_taken_with_a_notice() -> None:
    listener = Listener()
    with watched(listener):
        outputs = task.separate(piece(1.0).mono().resampled(22050), device="cpu")
    assert outputs["vocals"].rate == 44100
    assert outputs["vocals"].channels == 2
    assert any("mono" in line for line in listener.said)
    assert any("22050" in line for line in listener.said)


def test_the_level_of_the_song_does_not_matter() -> None:
    """Exactly so for powers of two; others move the rounding noise that fills bands without sound."""
    song = piece(1.0)
    loud = task.separate(song, device="cpu")["vocals"].samples
    quiet = task.separate(Audio(song.samples / 128, song.rate), device="cpu")["vocals"].samples
    assert np.abs(128 * quiet - loud).max() < 1e-5 * np.abs(loud).max()


@pytest.mark.parametrize("samples", [1, 700, 2000])
def test_very_short_and_silent_songs_give_finite_silence(samples: int) -> None:
    outputs = task.separate(Audio(np.zeros((2, samples), dtype=np.float32), 44100), device="cpu")
    assert outputs["vocals"].samples.shape == (2, samples)
    assert not outputs["vocals"].samples.any()
    assert outputs["melody"].notes() == []


def test_transcribe_gives_score_table_and_report(tmp_path: Path) -> None:
    outputs = JOBS["transcribe"].run({"song": piece(6.0), "device": "cpu"})
    table = outputs["notes"].frame
    assert len(table) == len(outputs["melody"].notes()) > 0
    assert (table["offset_s"] > table["onset_s"]).all()
    assert len(JOBS["transcribe"].save(outputs, tmp_path, "song")) == 3


def test_a_song_without_a_voice_has_no_melody_to_write() -> None:
    with pytest.raises(InputError, match="no notes"):
        task.transcribe(Audio(np.zeros((2, 44100), dtype=np.float32), 44100), device="cpu")


def test_a_checkpoint_of_ones_own_is_used_and_others_are_refused(tmp_path: Path) -> None:
    config = {"dim": 8, "depth": 1, "heads": 1, "head_dim": 8, "mask_depth": 1, "mask_expansion": 1}
    model = MelBandRoformer(MelBandRoformerConfig(**config))
    path = tmp_path / "MyVocals.ckpt"
    torch.save({"state_dict": {f"module.{key}": value for key, value in model.state_dict().items()}}, path)
    outputs = task.separate(piece(0.5), weights=str(path), device="cpu")
    assert outputs["vocals"].seconds == pytest.approx(0.5)
    for weights in ("nowhere.ckpt", "hub:"):
        with pytest.raises(InputError):
            task.separate(piece(0.5), weights=weights, device="cpu")
    with pytest.raises(WeightsError):
        task.transcribe(piece(0.5), weights=str(task.SEPARATION), device="cpu")
    drums = MelBandRoformer(MelBandRoformerConfig(**config, stems=("drums", "bass")))
    other = write_safetensors(
        tmp_path / "d.safetensors", drums.state_dict(), {"config": json.dumps(vars(drums.config))}
    )
    with pytest.raises(InputError, match="vocals"):
        task.separate(piece(0.5), weights=str(other), device="cpu")


def songs(folder: Path, count: int = 3) -> Path:
    """A folder of short songs cut from the embedded one."""
    truth = demo_truth()
    for number in range(count):
        place, start = folder / f"{number}", 4.0 * number
        for stem in ("vocals", "instrumental"):
            truth.stems[stem].cut(start, start + 3.0).write(place / f"{stem}.flac")
        notes = [[a - start, b - start, p] for a, b, p in truth.notes if a >= start and b <= start + 3.0]
        (place / "notes.json").write_text(json.dumps(notes))
    return folder


def test_training_in_two_stages_from_a_folder(tmp_path: Path) -> None:
    folder = songs(tmp_path / "songs")
    assert len(read_stems(folder, 44100, 2)) == 3
    options: dict[str, Any] = {
        "folder": folder,
        "batch": 1,
        "seconds": 0.5,
        "steps": 2,
        "held_out": 1,
        "device": "cpu",
        "loss": "fast",
        "keep": str(tmp_path / "run"),
    }
    first = JOBS["train"].run(options)
    path = first["weights"].write(tmp_path / "separator.safetensors")
    assert json.loads(read_metadata(path)["made"])["scores"]["step"] == 2
    again = JOBS["train"].run(options)["weights"]
    assert all(torch.equal(again.tensors[key], tensor) for key, tensor in first["weights"].tensors.items())
    assert task.separate(piece(0.5), weights=str(path), device="cpu")["vocals"].seconds == pytest.approx(0.5)
    second = JOBS["train"].run(options | {"goal": "transcription", "start": str(path), "keep": ""})
    melody = second["weights"].write(tmp_path / "melody.safetensors")
    assert VocalMelodyTranscriber.from_pretrained(str(melody)).predict(np.zeros(100), 44100).to_score().notes() == []
    further = JOBS["train"].run(options | {"goal": "transcription", "start": str(melody), "keep": ""})
    assert set(further["weights"].tensors) == set(second["weights"].tensors)


def test_training_says_what_is_wrong_with_the_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no songs"):
        JOBS["train"].run({"folder": tmp_path / "empty"})
    with pytest.raises(InputError, match="too few"):
        JOBS["train"].run({"folder": songs(tmp_path / "songs", 1), "held_out": 4})
    with pytest.raises(InputError, match="does not exist"):
        JOBS["train"].run({"folder": tmp_path / "nowhere"})
