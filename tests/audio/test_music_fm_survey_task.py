"""The jobs as the command line runs them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars
import pytest
import soundfile

from harmonia.audio.music_fm_survey import task
from harmonia.audio.music_fm_survey.scaling import ScalingLaw
from harmonia.core.claim import claims_in
from harmonia.core.errors import InputError
from harmonia.core.task import Job, jobs_in
from harmonia.media import Score, Table

JOBS = {job.name: job for job in jobs_in(task)}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setenv("HARMONIA_CACHE", str(tmp_path_factory.getbasetemp() / "survey-jobs"))


def run(name: str, tmp_path: Path, **given: object) -> dict[str, object]:
    job: Job = JOBS[name]
    outputs = job.run(given)
    assert all(path.stat().st_size for path in job.save(outputs, tmp_path / "out", name))
    return outputs


def test_probe_own_features(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    genre = np.arange(80) % 4
    good = rng.normal(size=(80, 2, 8))
    good[:, 1, :4] += 3 * np.eye(4)[genre]
    np.savez(tmp_path / "features.npz", good=good, noise=rng.normal(size=(80, 8)))
    labels = Table(polars.DataFrame({"song": [f"s{i // 2 // 4 * 4 + i % 4}" for i in range(80)], "genre": genre}))
    labels = Table(labels.frame.with_columns(polars.col("genre").cast(polars.String)))
    out = run("probe", tmp_path, features=str(tmp_path / "features.npz"), labels=labels)
    frame = out["scores"].frame  # type: ignore[attr-defined]
    assert frame["encoder"].to_list() == ["good", "noise"]
    assert frame["layer"][0] == 1
    assert out["significance"].frame["p"][0] < 0.05  # type: ignore[attr-defined]
    short = Table(labels.frame.head(70))
    with pytest.raises(InputError, match="a row for each label"):
        run("probe", tmp_path, features=str(tmp_path / "features.npz"), labels=short)


def test_features_that_are_none(tmp_path: Path) -> None:
    labels = Table(polars.DataFrame({"genre": ["a", "b"] * 10}))
    (tmp_path / "bad.npy").write_bytes(b"nonsense")
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    broken = np.random.default_rng(0).normal(size=(20, 3))
    broken[4, 1] = np.nan
    np.save(tmp_path / "nan.npy", broken)
    for name, message in (
        ("bad.npy", "cannot be read"),
        ("words.npy", "features are floats"),
        ("nan.npy", "row 5"),
        ("none.npy", "does not exist"),
    ):
        with pytest.raises(InputError, match=message):
            run("probe", tmp_path, features=str(tmp_path / name), labels=labels)


def test_own_clips_of_any_rate(tmp_path: Path) -> None:
    rows = []
    for i in range(18):
        rate = (16000, 22050, 44100)[i % 3]
        pitch = 220 if i % 2 else 660
        sound = 0.2 * np.sin(2 * np.pi * pitch * (1 + 0.01 * i) * np.arange(rate // 2) / rate)
        soundfile.write(tmp_path / f"{i}.wav", np.stack([sound, sound], 1), rate)
        rows.append({"path": f"{i}.wav", "register": "low" if i % 2 else "high"})
    labels = Table(polars.DataFrame(rows))
    out = run("clips", tmp_path, labels=labels, folder=str(tmp_path), encoders=["log-mel"], folds="3")
    assert out["scores"].frame["score"][0] > 0.9  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="a clip is missing"):
        run("clips", tmp_path, labels=labels, encoders=["log-mel"])


def test_catalogue_and_tools(tmp_path: Path) -> None:
    out = run("catalogue", tmp_path, where=["modality=symbolic", "min_year=2023"])
    assert (out["records"].frame["year"] >= 2023).all()  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="a condition is"):
        run("catalogue", tmp_path, where=["symbolic"])


def test_scaling_on_its_example_and_on_bad_tables(tmp_path: Path) -> None:
    out = run("scaling", tmp_path, resamples="20")
    law = dict(out["law"].frame.select("parameter", "value").iter_rows())  # type: ignore[attr-defined]
    assert 0.3 < law["a"] < 1.2
    runs = task._melody_runs().frame.to_numpy()
    fitted = ScalingLaw(resamples=0).fit(*runs.T)
    assert law["a"] == pytest.approx(fitted.a_, rel=1e-6)
    assert np.abs(fitted.predict(runs[:, 0], runs[:, 1]) / runs[:, 2] - 1).max() < 0.05
    with pytest.raises(InputError, match="columns of parameters"):
        run("scaling", tmp_path, runs=Table(polars.DataFrame({"a": [1, 2]})))


def test_card_finds_a_planted_piece(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def piece(pitches: np.ndarray, tempo: float = 1.0) -> Score:
        return Score.from_notes([(i * tempo, (i + 0.9) * tempo, int(p)) for i, p in enumerate(pitches)])

    for name in ("model", "training", "test"):
        (tmp_path / name).mkdir()
    (tmp_path / "model" / "model.bin").write_bytes(b"weights")
    source = {"name": "tunes", "licence": "CC-BY-NC-4.0", "hours": 2.0}
    (tmp_path / "model" / "card.json").write_text(json.dumps({"name": "Hum", "sources": [source]}))
    for i in range(6):
        piece(rng.integers(50, 80, 30)).write(tmp_path / "training" / f"{i}.mid")
    stolen = rng.integers(50, 70, 30)
    piece(stolen).write(tmp_path / "test" / "a.mid")
    piece(stolen + 5, 0.5).write(tmp_path / "training" / "stolen.mid")
    out = run(
        "card",
        tmp_path,
        folder=str(tmp_path / "model"),
        training=str(tmp_path / "training"),
        test=str(tmp_path / "test"),
        commercial="true",
    )
    text = out["findings"].text  # type: ignore[attr-defined]
    assert "stolen.mid, a.mid" in text
    assert text.count("overlap") == 1
    assert "not for commercial use: tunes" in text
    with pytest.raises(InputError, match="holds no pieces"):
        run("card", tmp_path, folder=str(tmp_path / "model"), training=str(tmp_path / "model"))


@pytest.mark.debian
def test_compare_and_listen(tmp_path: Path, monkeypatch) -> None:
    from harmonia.audio.music_fm_survey import tasks

    monkeypatch.setitem(tasks.COUNTS, "small", {"notes": 120, "pieces": 96, "moods": 12})
    out = run("compare", tmp_path, encoders=["mfcc", "chroma"], folds="3")
    assert out["scores"].frame.height == 14  # type: ignore[attr-defined]
    heard = out["heard"].frame  # type: ignore[attr-defined]
    assert heard["task"].to_list() == ["key", "tempo", "style", "arousal", "valence"]
    assert heard["share"][:3].is_between(0, 1).all()


def test_quick_claims_that_need_no_rendering() -> None:
    from harmonia.audio.music_fm_survey import claim

    quick = {each.name: each for each in claims_in(claim) if each.tier == "quick"}
    for name, each in quick.items():
        if "wins everywhere" not in name and "planted" not in name:
            assert each.check(0).verdict in ("exact", "direction holds"), name
