"""The jobs, the loaders behind them, and what bad input says, in Python and on the command line."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import polars
import pytest

from harmonia.core.errors import InputError, WeightsError
from harmonia.core.task import jobs_in
from harmonia.data import demo_digits
from harmonia.data.spoken import DIGITS
from harmonia.media import Audio, Series
from harmonia.sequences.s4d import S4DClassifier, S4DForecaster, S4DRegressor, task

JOBS = {job.name: job for job in jobs_in(task)}
TINY = {"width": 8, "layers": 1, "state": 8, "epochs": 50, "batch": 8, "learning_rate": 0.03, "device": "cpu"}
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def tone(pitch, seconds=0.1, rate=1000):
    return Audio(0.5 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate), rate)


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """High and low tones as a folder of sounds, and a model of them."""
    folder, random = tmp_path_factory.mktemp("tones"), np.random.default_rng(0)
    for word, pitch in (("high", 150), ("low", 50)):
        (folder / word).mkdir()
        for i in range(16):
            tone(pitch * random.uniform(0.9, 1.1)).write(folder / word / f"{i}.wav")
    outputs = JOBS["train"].run({"examples": folder, **TINY})
    model = folder.parent / "tones.safetensors"
    outputs["model"].write(model)
    return folder, model, outputs


def test_listen_is_the_default_and_all_jobs_are_described():
    assert list(JOBS) == ["listen", "train", "predict", "forecast", "stream", "kernels"]
    for job in JOBS.values():
        assert all(parameter.field.help for parameter in job.parameters)
        assert all(output.field.help for output in job.outputs)


def test_listen_hears_digits_in_the_demo(tmp_path):
    outputs = JOBS["listen"].run({})
    words = outputs["words"].frame
    assert words["start (s)"].to_list() == list(range(8))
    heard = words["class"].to_list()
    assert set(heard) <= set(WORDS)
    # Far above the one in ten of chance; the embedded network is small.
    assert sum(word == WORDS[digit] for word, digit in zip(heard, DIGITS)) >= 6
    assert {path.suffix for path in JOBS["listen"].save(outputs, tmp_path, "pi")} == {".csv", ".png"}


def test_listen_at_half_the_rate_still_hears(tones):
    _, model, _ = tones
    sound = Audio(np.concatenate([tone(150).samples, tone(50).samples, tone(50, 0.04).samples], 1), 1000)
    for rate in (0, 500 * 2, 2000):
        outputs = JOBS["listen"].run({"sound": sound, "weights": str(model), "rate": rate})
        assert outputs["words"].frame["class"].to_list() == ["high", "low"]
        assert outputs["words"].frame["end (s)"].to_list()[-1] == pytest.approx(0.24, abs=0.01)


def test_train_on_sounds_holds_some_out_and_predict_reads_them(tones):
    folder, model, outputs = tones
    assert outputs["score"] == 1.0
    table = JOBS["predict"].run({"examples": folder, "model": model})["predictions"].frame
    assert table["class"].to_list() == ["high"] * 16 + ["low"] * 16
    np.testing.assert_allclose(table["P(high)"] + table["P(low)"], 1)


def test_train_and_predict_on_tables_of_numbers(tmp_path):
    random = np.random.default_rng(0)
    rows = random.standard_normal((40, 12))
    frame = polars.DataFrame({f"x{i}": rows[:, i] for i in range(12)}).with_columns(level=rows.mean(1))
    frame.write_csv(tmp_path / "rows.csv")
    outputs = JOBS["train"].run({"examples": tmp_path / "rows.csv", **TINY, "dropout": 0.0})
    outputs["model"].write(tmp_path / "model.safetensors")
    given = {"examples": tmp_path / "rows.csv", "model": tmp_path / "model.safetensors", "target": "level"}
    found = JOBS["predict"].run(given)["predictions"].frame["value"].to_numpy()
    assert np.corrcoef(found, rows.mean(1))[0, 1] > 0.8


@pytest.fixture(scope="module")
def levels(tmp_path_factory):
    """Rows whose mean is their level, a model of them, and the table."""
    folder, random = tmp_path_factory.mktemp("levels"), np.random.default_rng(0)
    rows = random.standard_normal((24, 6))
    frame = polars.DataFrame({f"x{i}": rows[:, i] for i in range(6)}).with_columns(level=1000 * rows.mean(1))
    frame.write_csv(folder / "rows.csv")
    JOBS["train"].run({"examples": folder / "rows.csv", **TINY, "epochs": 2})["model"].write(folder / "m.safetensors")
    return folder, frame


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame,
        lambda frame: frame.drop("level"),
        lambda frame: frame.select(frame.columns[::-1]),
        lambda frame: frame.with_columns(serial=polars.Series(range(24))),
        lambda frame: frame.drop("level").rename({f"x{i}": f"y{i}" for i in range(6)}),
    ],
    ids=["labels", "no labels", "other order", "more columns", "other names"],
)
def test_predict_takes_the_columns_of_training(change, levels, tmp_path):
    folder, frame = levels
    change(frame).write_csv(tmp_path / "new.csv")
    expected = S4DRegressor.load(folder / "m.safetensors").predict(frame.drop("level").to_numpy()[:, :, None])
    found = JOBS["predict"].run({"examples": tmp_path / "new.csv", "model": folder / "m.safetensors"})["predictions"]
    np.testing.assert_allclose(found.frame["value"], expected, rtol=1e-4)


def test_predict_refuses_columns_it_does_not_know(levels, tmp_path):
    folder, frame = levels
    given = {"examples": folder / "rows.csv", "model": folder / "m.safetensors"}
    with pytest.raises(InputError, match=r"no column 'levle'.*Did you mean 'level'"):
        JOBS["predict"].run({**given, "target": "levle"})
    frame.drop("x3").write_csv(tmp_path / "fewer.csv")
    with pytest.raises(InputError, match=r"6 columns of samples \(got 5"):
        JOBS["predict"].run({**given, "examples": tmp_path / "fewer.csv"})


def test_train_judges_every_class_or_says_why_not(tmp_path):
    random = np.random.default_rng(0)
    frame = polars.DataFrame({f"x{i}": random.standard_normal(40) for i in range(6)})
    frame.with_columns(id=polars.Series([f"w{i}" for i in range(40)])).write_csv(tmp_path / "id.csv")
    with pytest.raises(InputError, match=r"a class needs two examples.*40 of 40 classes"):
        JOBS["train"].run({"examples": tmp_path / "id.csv", **TINY})
    frame.with_columns(pair=polars.Series([f"w{i % 20}" for i in range(40)])).write_csv(tmp_path / "pairs.csv")
    outputs = JOBS["train"].run({"examples": tmp_path / "pairs.csv", **TINY, "epochs": 1})
    assert 0 <= outputs["score"] <= 1


def test_train_on_an_archive_file(tmp_path):
    lines = [
        f"{','.join(str(v) for v in (np.arange(10) * sign).tolist())}:{'up' if sign > 0 else 'down'}"
        for sign in (1, -1) * 10
    ]
    (tmp_path / "ramps.ts").write_text("@classLabel true up down\n@data\n" + "\n".join(lines))
    assert JOBS["train"].run({"examples": tmp_path / "ramps.ts", **TINY})["score"] == 1.0


def test_forecast_gives_quantiles_scores_and_a_picture(tmp_path):
    wave = Series(np.sin(np.arange(300) / 4), names=("wave",))
    outputs = JOBS["forecast"].run({"series": wave, "horizon": 4, "season": 25, "steps": 20, "device": "cpu"})
    frame = outputs["forecast"].frame
    assert frame.columns == ["time", "wave 5%", "wave 50%", "wave 95%"]
    assert frame["time"].to_list() == [300, 301, 302, 303]
    assert (frame["wave 5%"] <= frame["wave 95%"]).all()
    assert "S4D" in outputs["scores"].frame["forecaster"].to_list()
    assert len(JOBS["forecast"].save(outputs, tmp_path, "wave")) == 4
    outputs["model"].write(tmp_path / "model.safetensors")
    again = S4DForecaster.load(tmp_path / "model.safetensors").forecast(wave.values[None, -64:])
    np.testing.assert_allclose(again.quantile(np.array([0.5]))[0, 0, :, 0], frame["wave 50%"])


@pytest.mark.parametrize(
    ("rows", "options", "lookback"),
    [(400, {"horizon": 96, "lookback": 100}, 100), (250, {}, 42), (60, {"horizon": 4}, 9)],
    ids=["long horizon", "usual window too long", "short"],
)
def test_forecasts_fit_into_short_series(rows, options, lookback, tmp_path):
    series = Series(np.sin(np.arange(rows) / 4))
    outputs = JOBS["forecast"].run({"series": series, "steps": 2, "width": 4, "device": "cpu", **options})
    assert np.isfinite(outputs["scores"].frame["crps"].to_numpy()).all()
    outputs["model"].write(tmp_path / "model.safetensors")
    assert S4DForecaster.load(tmp_path / "model.safetensors").lookback == lookback


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (3, {}, "got 0 rows to learn from, for the last fifth"),
        (250, {"lookback": 192}, "got 200 rows to learn from.*a lookback of at most 169"),
        (30, {}, "Give a shorter horizon"),
    ],
)
def test_series_that_are_too_short_are_refused_before_training(rows, options, message):
    with pytest.raises(InputError, match=message):
        JOBS["forecast"].run({"series": Series(np.sin(np.arange(rows))), "steps": 1, "device": "cpu", **options})


def test_a_constant_variable_hides_no_score():
    wave, flat = np.sin(np.arange(200) / 4), np.ones(200)
    given = {"horizon": 4, "season": 7, "steps": 2, "width": 4, "device": "cpu"}
    scores = JOBS["forecast"].run({"series": Series(np.stack([flat, wave], 1)), **given})["scores"].frame["mase"]
    assert scores.null_count() == 0
    assert np.isfinite(scores.to_numpy()).all()
    assert JOBS["forecast"].run({"series": Series(flat), **given})["scores"].frame["mase"].null_count() == 4


@pytest.mark.parametrize("way", ["file", "standard input"])
def test_stream_follows_raw_samples(way, tones, tmp_path, monkeypatch):
    _, model, _ = tones
    sound = np.concatenate([tone(50).samples[0], tone(150).samples[0], tone(50, 0.02).samples[0]])
    raw = (sound * 32767).astype("<i2").tobytes()
    source = "-"
    if way == "file":
        (tmp_path / "sound.raw").write_bytes(raw)
        source = str(tmp_path / "sound.raw")
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": io.BytesIO(raw)}))
    frame = JOBS["stream"].run({"source": source, "weights": str(model)})["words"].frame
    assert frame["class"].to_list() == ["low", "high"]
    listened = JOBS["listen"].run({"sound": Audio(sound[:200], 1000), "weights": str(model)})["words"].frame
    np.testing.assert_allclose(frame["probability"], listened["probability"], atol=1e-3)


def test_stream_says_what_it_lacks(tones, tmp_path):
    _, model, _ = tones
    (tmp_path / "empty.raw").write_bytes(b"")
    with pytest.raises(InputError, match="stream was empty"):
        JOBS["stream"].run({"source": str(tmp_path / "empty.raw"), "weights": str(model)})
    with pytest.raises(InputError, match="no such file"):
        JOBS["stream"].run({"source": str(tmp_path / "nowhere.raw"), "weights": str(model)})


@pytest.mark.parametrize("way", ["file", "standard input"])
@pytest.mark.parametrize("kind", ["wav", "csv", "umlauts"])
def test_stream_refuses_what_is_not_raw(kind, way, tones, tmp_path, monkeypatch):
    _, model, _ = tones
    path = tmp_path / f"sound.{kind}"
    if kind == "wav":
        tone(50, 0.3).write(path)
    else:
        path.write_text(("x,y\n1,2\n" if kind == "csv" else "größer\n") * 100, encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": io.BytesIO(path.read_bytes())}))
    with pytest.raises(InputError, match="not raw samples"):
        JOBS["stream"].run({"source": str(path) if way == "file" else "-", "weights": str(model)})


def test_kernels_lists_every_mode(tmp_path):
    outputs = JOBS["kernels"].run({})
    network = S4DClassifier.load(task.EMBEDDED).model_.config
    assert len(outputs["eigenvalues"].frame) == network.n_layers * network.d_model * network.kernel.d_state // 2
    assert outputs["eigenvalues"].frame["memory (s)"].min() > 0
    JOBS["kernels"].save(outputs, tmp_path, "kernels")


def test_embedded_weights_are_small_and_say_what_they_are():
    model = S4DClassifier.load(task.EMBEDDED)
    assert sorted(model.classes_) == sorted(WORDS)
    assert model.description_["rate"] == 2000
    assert task.EMBEDDED.stat().st_size < 3_000_000
    assert demo_digits().seconds == 8


def test_bad_input_is_refused(tones, tmp_path):
    folder, model, _ = tones
    (tmp_path / "one" / "word").mkdir(parents=True)
    tone(50).write(tmp_path / "one" / "word" / "a.wav")
    with pytest.raises(InputError, match="too few"):
        JOBS["train"].run({"examples": tmp_path / "one", **TINY})
    (tmp_path / "words.csv").write_text("label\na\nb\n")
    with pytest.raises(InputError, match="no samples"):
        JOBS["train"].run({"examples": tmp_path / "words.csv", **TINY})
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError):
        JOBS["predict"].run({"examples": folder, "model": tmp_path / "bad.safetensors"})
    with pytest.raises(WeightsError):
        JOBS["listen"].run({"weights": str(tmp_path / "missing.safetensors")})
    with pytest.raises(InputError, match="rate"):
        JOBS["listen"].run({"sound": tone(50), "weights": str(model), "rate": 10})


def test_the_command_line_shows_errors_without_a_traceback(tmp_path):
    (tmp_path / "noise.wav").write_bytes(b"RIFF nonsense")
    start = "from harmonia.app.cli import main; main()"
    command = [sys.executable, "-c", start, "run", "s4d", str(tmp_path / "noise.wav"), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr + done.stdout
    assert not list(tmp_path.glob("*.csv"))
