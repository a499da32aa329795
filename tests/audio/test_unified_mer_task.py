"""The jobs: a song's mood, scores on labelled songs, training from tables; what bad input says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harmonia.audio.unified_mer import task
from harmonia.audio.unified_mer.checkpoint import load_network
from harmonia.core.errors import InputError
from harmonia.core.progress import watched
from harmonia.core.task import jobs_in
from harmonia.data import demo_truth
from harmonia.media import Audio

JOBS = {job.name: job for job in jobs_in(task)}
RATE = 22050
OPTIONS: dict[str, Any] = {"chords_by": "templates", "device": "cpu"}


class Listener:
    def __init__(self) -> None:
        self.said: list[str] = []

    def step(self, label: str, done: int, total: int | None) -> None: ...

    def say(self, message: str) -> None:
        self.said.append(message)


def test_tell_is_the_default_and_all_jobs_are_described() -> None:
    assert list(JOBS) == ["tell", "measure", "train"]
    for job in JOBS.values():
        assert all(parameter.field.help for parameter in job.parameters)
        assert all(output.field.help for output in job.outputs)


def test_a_song_is_told_with_tags_curve_chords_and_report(tmp_path: Path) -> None:
    outputs = JOBS["tell"].run({"song": demo_truth().mixture.cut(0.0, 12.0), **OPTIONS})
    assert 1 < outputs["valence"] < 9
    assert 1 < outputs["arousal"] < 9
    assert outputs["chords_by"].startswith("templates")
    assert outputs["tags"].frame["score"].is_sorted(descending=True)
    curve = outputs["curve"].frame
    assert curve["end_s"].max() == pytest.approx(12.0, abs=0.01)
    chords = outputs["chords"].frame
    assert chords["onset_s"][0] == 0.0
    assert chords["onset_s"][1:].to_list() == chords["offset_s"][:-1].to_list()
    files = JOBS["tell"].save(outputs, tmp_path, "song")
    assert [path.name for path in files] == ["song_tags.csv", "song_curve.csv", "song_chords.csv", "song_report.png"]


@pytest.mark.parametrize("seconds", [0.0005, 0.2])
def test_very_short_and_silent_songs_are_told_too(seconds: float) -> None:
    silence = Audio(np.zeros((1, max(1, round(seconds * 8000)))), 8000)
    outputs = JOBS["tell"].run({"song": silence, **OPTIONS})
    assert outputs["key"] == "none"
    assert np.isfinite(outputs["valence"])


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("weights", "nowhere.ckpt"),
        ("chords_by", "btc"),
        ("chord_weights", "nowhere.pt"),
        ("detail", 0),
        ("threshold", 2),
    ],
)
def test_options_that_cannot_be_are_refused(option: str, value: Any) -> None:
    options = OPTIONS | ({"chords_by": "auto"} if option == "chord_weights" else {}) | {option: value}
    with pytest.raises(InputError):
        JOBS["tell"].run({"song": Audio(np.zeros((1, 8000)), 8000), **options})


def songs(folder: Path, count: int = 10) -> list[Path]:
    """Noise whose loudness is its arousal; a table of ratings and one of tags."""
    random = np.random.default_rng(0)
    rows, tags = ["path,valence,arousal,artist"], ["path,tags"]
    for number in range(count):
        sound = Audio((0.02 + 0.09 * number) * random.normal(size=(1, RATE)).clip(-3, 3) / 3, RATE)
        sound.write(folder / f"{number}.wav")
        rows.append(f"{number}.wav,{2 + number % 3},{1 + 0.8 * number},artist {number // 2}")
        tags.append(f"{number}.wav,{'calm' if number % 2 else 'energetic;party'}")
    (folder / "ratings.csv").write_text("\n".join(rows))
    (folder / "moods.csv").write_text("\n".join(tags))
    return [folder / "ratings.csv", folder / "moods.csv"]


def test_training_on_two_tables_and_measuring_with_the_result(tmp_path: Path) -> None:
    tables = songs(tmp_path)
    listener = Listener()
    with watched(listener):
        learnt = JOBS["train"].run(
            {"labels": tables, "kd": "none", "steps": 12, "batch": 4, "held_out": 0.4, **OPTIONS}
        )
    assert any("1 to 9" in line for line in listener.said)
    path = learnt["weights"].write(tmp_path / "own.safetensors")
    network, wants = load_network(path)
    assert wants["features"] == "statistics"
    assert len(network.config.tags) == 56
    assert json.loads(learnt["weights"].metadata["made"])["steps"] == 12
    assert set(learnt["scores"].frame["set"]) == {"ratings", "moods"}
    measured = JOBS["measure"].run({"labels": tables, "weights": str(path), **OPTIONS})
    assert set(measured["scores"].frame["score"]) == {
        "r2_valence",
        "r2_arousal",
        "rmse_valence",
        "rmse_arousal",
        "pr_auc",
        "roc_auc",
    }
    assert len(JOBS["measure"].save(measured, tmp_path, "m")) == 2


def test_weights_of_fewer_tags_are_measured_on_those_they_know(tmp_path: Path) -> None:
    table = songs(tmp_path, 4)[1]
    listener = Listener()
    with watched(listener):
        outputs = JOBS["measure"].run({"labels": [table], **OPTIONS})
    assert any("knows 20" in line for line in listener.said)
    assert set(outputs["scores"].frame["score"]) == {"pr_auc", "roc_auc"}


def test_what_is_no_table_and_no_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no known corpus"):
        JOBS["measure"].run({"labels": [tmp_path], **OPTIONS})
    (tmp_path / "deam").mkdir()
    with pytest.raises(InputError, match="laid out otherwise"):
        JOBS["train"].run({"labels": [tmp_path / "deam"], **OPTIONS})
