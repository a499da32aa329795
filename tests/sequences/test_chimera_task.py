"""The jobs on tables of a user's kind, what bad input says in Python and on the command line, and the claims."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars
import pytest

from harmonia.core.claim import HOLDS, claims_in
from harmonia.core.errors import InputError
from harmonia.core.task import jobs_in
from harmonia.data import ptb_xl
from harmonia.media import Series
from harmonia.parts.forecasting import Persistence
from harmonia.sequences.chimera import ChimeraClassifier, ChimeraForecaster, claim, task
from harmonia.sequences.chimera.claims import cost, forecasts, tasks

JOBS = {job.name: job for job in jobs_in(task)}
TINY = {"width": 6, "state": 2, "layers": 1, "device": "cpu"}
CLAIMS = claims_in(claim)


def table(path, rows=140):
    """What a user has: dates, names, words in between."""
    t = np.arange(rows)
    noise = np.random.default_rng(0).standard_normal((2, rows))
    frame = polars.DataFrame(
        {
            "date": (np.datetime64("2024-01-01", "D") + t).astype("datetime64[us]"),
            "shop": ["north"] * rows,
            "visitors": 100 + 20 * np.sin(2 * np.pi * t / 7) + noise[0],
            "sales": 10 + 2 * np.sin(2 * np.pi * (t - 1) / 7) + 0.1 * noise[1],
        }
    )
    frame.write_csv(path)
    return path


def test_forecast_is_the_default_and_all_jobs_are_described():
    assert list(JOBS) == ["forecast", "extend", "classify", "predict", "diagnose", "detect"]
    for job in JOBS.values():
        assert all(parameter.field.help for parameter in job.parameters)
        assert all(output.field.help for output in job.outputs)
    assert JOBS["forecast"].inputs[0].field.example is not None


def test_forecast_of_a_table(tmp_path, monkeypatch):
    monkeypatch.setattr(task, "find_spec", lambda name: None)  # ETS and Theta take a minute
    series = Series.read(table(tmp_path / "shop.csv"))
    outputs = JOBS["forecast"].run({"series": series, "horizon": 4, "steps": 3, **TINY})
    frame = outputs["forecast"].frame
    assert frame.columns[:4] == ["time", "visitors 5%", "visitors 50%", "visitors 95%"]
    assert str(frame["time"][0])[:10] == "2024-05-20"
    assert (frame["sales 5%"] <= frame["sales 95%"]).all()
    rules = set(outputs["scores"].frame["forecaster"])
    assert {"Chimera", "DLinear (closed form)", "seasonal naive", "AR(12) ridge"} <= rules
    parts = outputs["parts"].frame
    total = sum(parts[f"sales {part}"] for part in ("linear", "trend", "season"))
    outputs["model"].write(tmp_path / "model.safetensors")
    np.testing.assert_allclose(
        ChimeraForecaster.load(tmp_path / "model.safetensors").predict(series)[:, 1], total, rtol=1e-4
    )
    assert len(JOBS["forecast"].save(outputs, tmp_path, "shop")) == 7
    given = {"series": tmp_path / "shop.csv", "model": tmp_path / "model.safetensors"}
    again = JOBS["extend"].run(given)["forecast"].frame
    assert again.columns == frame.columns
    np.testing.assert_allclose(again["sales 50%"], frame["sales 50%"], rtol=1e-4)
    with pytest.raises(InputError, match="no ChimeraClassifier"):
        JOBS["predict"].run({"examples": tmp_path / "shop.csv", "model": tmp_path / "model.safetensors"})


@pytest.mark.parametrize(("rows", "horizon"), [(120, 24), (97, 24), (20, 1), (60, 12)])
def test_short_series_are_forecast(rows, horizon, monkeypatch):
    """Ten years of months among them, with the horizon and the window of the defaults."""
    monkeypatch.setattr(task, "find_spec", lambda name: None)
    months = (np.datetime64("2010-01", "M") + np.arange(rows)).astype("datetime64[D]")
    series = Series(100 + np.arange(rows) + 10 * np.sin(np.pi * np.arange(rows) / 6), ("sales",), months)
    frame = JOBS["forecast"].run({"series": series, "horizon": horizon, "steps": 2, **TINY})["forecast"].frame
    assert len(frame) == horizon
    assert np.isfinite(frame["sales 50%"].to_numpy()).all()


def test_a_window_that_was_asked_for_is_kept_or_refused(monkeypatch):
    monkeypatch.setattr(task, "find_spec", lambda name: None)
    series = Series(np.sin(np.arange(400.0)))
    given = {"series": series, "horizon": 2, "steps": 2, **TINY}
    config = JOBS["forecast"].run({**given, "lookback": 31})["model"].metadata["chimera"]
    assert '"lookback": 31,' in config
    with pytest.raises(InputError, match="lookback=75 or 78"):
        JOBS["forecast"].run({**given, "lookback": 77})


def test_detect_finds_a_spike(tmp_path):
    series = Series.read(table(tmp_path / "shop.csv"))
    values = series.values.copy()
    values[120, 1] += 4
    spiked = Series(values, series.names, series.times)
    outputs = JOBS["detect"].run({"series": spiked, "lookback": 16, "steps": 20, **TINY})
    frame = outputs["anomalies"].frame
    assert bool(frame["unusual"][120])
    assert frame["variable"][120] == "sales"
    assert frame["learnt from"].sum() == 84


def test_detect_is_judged_by_labels(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(task, "say", said.append)
    series = Series.read(table(tmp_path / "shop.csv"))
    values = np.c_[series.values, np.zeros(len(series))]
    values[120, 1:] += (4, 1)
    labelled = Series(values, (*series.names, "known"), series.times)
    options = {"lookback": 16, "steps": 20, **TINY}
    frame = JOBS["detect"].run({"series": labelled, "labels": "known", **options})["anomalies"].frame
    assert "average precision" in said[-1]
    assert frame.filter(polars.col("labelled"))["unusual"].to_list() == [True]
    assert set(frame["variable"]) <= {"visitors", "sales"}
    for name, told in (("nothing", "no column"), ("sales", "0 and 1")):
        with pytest.raises(InputError, match=told):
            JOBS["detect"].run({"series": labelled, "labels": name, **options})


def test_classify_tables_and_archive_files(tmp_path):
    rows = np.arange(12)
    lines = [f"{','.join(map(str, (rows * sign).tolist()))}:{'up' if sign > 0 else 'down'}" for sign in (1, -1) * 8]
    (tmp_path / "ramps.ts").write_text("@classLabel true up down\n@data\n" + "\n".join(lines))
    options = {"epochs": 20, "learning_rate": 0.03, **TINY}
    outputs = JOBS["classify"].run({"examples": tmp_path / "ramps.ts", **options})
    assert outputs["accuracy"] == 1.0
    assert outputs["predictions"].frame.columns == ["sequence", "class", "truth", "P(down)", "P(up)"]
    frame = polars.DataFrame({f"x{i}": [i * (1.0 if k % 2 else -1.0) for k in range(16)] for i in range(12)})
    frame = frame.with_columns(label=polars.Series(["up" if k % 2 else "down" for k in range(16)]))
    frame.write_csv(tmp_path / "rows.csv")
    # Another order of columns, and one more.
    moved = frame.select("label", *[f"x{i}" for i in range(11, -1, -1)]).with_row_index("id")
    moved.write_csv(tmp_path / "moved.csv")
    given = {"examples": tmp_path / "rows.csv", "test": str(tmp_path / "moved.csv"), **options}
    outputs = JOBS["classify"].run(given)
    assert outputs["accuracy"] == 1.0
    path = outputs["model"].write(tmp_path / "model.safetensors")
    expected = outputs["predictions"].frame.drop("truth")
    moved.drop("label").write_csv(tmp_path / "unlabelled.csv")
    for examples in ("moved.csv", "unlabelled.csv"):
        found = JOBS["predict"].run({"examples": tmp_path / examples, "model": path})["predictions"].frame
        assert found["class"].to_list() == expected["class"].to_list()
        np.testing.assert_allclose(found["P(up)"], expected["P(up)"], atol=1e-6)
    moved.filter(polars.col("label") == "up").write_csv(tmp_path / "one.csv")
    assert JOBS["classify"].run({**given, "test": str(tmp_path / "one.csv")})["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("labels", "columns", "told"),
    [
        (["Up", "Down"], 4, "not learnt"),
        ([0, 1], 4, "not learnt"),
        (["up", "side"], 4, "'side'"),
        (["up", "down"], 3, "no column 'x3'"),
        ([None, None], 4, "no labels"),
    ],
    ids=["case", "numbers", "new", "columns", "empty"],
)
def test_what_cannot_be_judged_is_refused_before_training(labels, columns, told, tmp_path, monkeypatch):
    monkeypatch.setattr(ChimeraClassifier, "fit", lambda *given: pytest.fail("trained"))

    def write(name, labels, columns):
        frame = polars.DataFrame({f"x{i}": np.arange(len(labels)) % 3 + 0.5 for i in range(columns)})
        frame.with_columns(label=polars.Series(labels)).write_csv(tmp_path / name)
        return tmp_path / name

    learn, test = write("learn.csv", ["up", "down"] * 8, 4), write("test.csv", labels * 4, columns)
    with pytest.raises(InputError, match=told):
        JOBS["classify"].run({"examples": learn, "test": str(test), **TINY})
    with pytest.raises(InputError, match="both learnt and judged"):
        JOBS["classify"].run({"examples": write("words.csv", [f"word {i}" for i in range(16)], 4), **TINY})


def test_classify_refuses_other_channels(tmp_path):
    for channels in (1, 2):
        line = ":".join(["1,2,3,4"] * channels)
        lines = [f"{line}:{'up' if i % 2 else 'down'}" for i in range(8)]
        (tmp_path / f"{channels}.ts").write_text("@classLabel true up down\n@data\n" + "\n".join(lines))
    with pytest.raises(InputError, match="1 channels"):
        JOBS["classify"].run({"examples": tmp_path / "1.ts", "test": str(tmp_path / "2.ts"), **TINY})


def electrocardiograms(root, count=40, length=64):
    """A folder like PTB-XL's: a wave for each statement, two leads, folds 1 to 10 in turn."""
    random, time = np.random.default_rng(0), np.arange(length)
    rows = ["ecg_id,scp_codes,strat_fold,filename_lr"]
    for i in range(count):
        stated = [name for name, bit in (("AFIB", 1), ("SR", 2)) if (i // 10 + i) & bit] or ["PACE"]
        wave = 0.0 * time + sum(np.sin((0.2 if name == "SR" else 1.5) * time + i) for name in stated if name != "PACE")
        samples = (500 * wave[:, None] + 20 * random.standard_normal((length, 2))).astype("<i2")
        signals = [f"{i}.dat 16 1000/mV 16 0 {samples[0, k]} {samples[:, k].sum(dtype='<i2')} 0 {k}" for k in (0, 1)]
        (root / f"{i}.hea").write_text("\n".join([f"{i} 2 100 {length}", *signals]))
        samples.tofile(root / f"{i}.dat")
        rows.append(f'{i},"{dict.fromkeys(stated, 0.0)}",{i % 10 + 1},{i}')
    (root / "ptbxl_database.csv").write_text("\n".join(rows))
    codes = "\n".join(f"{name},,,1.0,," for name in ("AFIB", "PACE", "SR"))
    (root / "scp_statements.csv").write_text(f",diagnostic,form,rhythm,diagnostic_class,diagnostic_subclass\n{codes}")
    return root


def test_diagnose_electrocardiograms(tmp_path):
    options = {"statements": "rhythm", "epochs": 80, "learning_rate": 0.03, **TINY}  # a step an epoch
    outputs = JOBS["diagnose"].run({"records": electrocardiograms(tmp_path), **options})
    scores = outputs["scores"].frame
    assert scores["statement"].to_list() == ["AFIB", "PACE", "SR"]
    areas = [each for each in scores["AUROC (test)"] if each is not None]
    assert outputs["auroc"] == pytest.approx(np.mean(areas))
    assert outputs["auroc"] > 0.9
    frame = outputs["predictions"].frame
    assert frame["record"].to_list() == ["9", "19", "29", "39"]
    outputs["model"].write(tmp_path / "model.safetensors")
    model = ChimeraClassifier.load(tmp_path / "model.safetensors")
    values = ptb_xl(tmp_path, "rhythm", "test").values
    np.testing.assert_allclose(model.predict_proba(values)[:, 2], frame["P(SR)"], rtol=1e-6)
    assert (model.predict(values)[:, 0] == (frame["P(AFIB)"].to_numpy() > 0.5)).all()
    with pytest.raises(InputError, match="no record"):
        JOBS["diagnose"].run({"records": tmp_path, **options, "statements": "diag"})
    with pytest.raises(InputError, match="not the folder of PTB-XL"):
        JOBS["diagnose"].run({"records": tmp_path.parent, **options})


@pytest.mark.parametrize(
    ("job", "given", "told"),
    [
        ("forecast", {"series": Series(np.arange(30.0)), "horizon": 24}, "too few"),
        ("forecast", {"series": Series(np.arange(9.0), index=np.arange(9.0) ** 2)}, "evenly spaced"),
        ("detect", {"series": Series(np.arange(30.0))}, "do not fit"),
        ("classify", {"examples": "nowhere.ts"}, "does not exist"),
        ("classify", {"examples": ".", "epochs": 1}, "folder"),
    ],
    ids=["short", "uneven", "window", "missing", "folder"],
)
def test_bad_input(job, given, told):
    with pytest.raises(InputError, match=told):
        JOBS[job].run(given)


def test_bad_input_on_the_command_line(tmp_path):
    (tmp_path / "gap.csv").write_text("date,a\n2024-01-01,1\n2024-01-02,\n2024-01-03,3\n")
    ran = subprocess.run(
        [Path(sys.executable).with_name("harmonia"), "run", "chimera", "forecast", str(tmp_path / "gap.csv")],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 2, ran.stderr
    assert "Traceback" not in ran.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["gap.csv"]


# --------------------------------------------------------------------------------------------------------- claims


@pytest.mark.parametrize("each", [c for c in CLAIMS if c.tier == "quick"], ids=lambda c: c.measure.__name__)
def test_quick_claims_hold(each):
    assert each.check().verdict in HOLDS


def test_names_differ_and_claims_of_graphics_processors_wait(monkeypatch):
    assert len({each.name for each in CLAIMS}) == len(CLAIMS)
    monkeypatch.delenv(forecasts.ETT, raising=False)
    assert all(each.check().verdict == "beyond this machine" for each in CLAIMS if each.tier == "gpu")


def test_the_oracle_knows_the_simulation():
    """Without noise, its error is nothing; persistence's is not."""
    series, gain = forecasts.coupled_series(0, 400)
    at, spread = np.array([300, 350]), series.values.std(0)
    oracle = forecasts.oracle_error(series, gain, at, 6, spread)
    rule = Persistence(6).point(series.values[at - 1][:, None])
    plain = np.square((rule - series.values[at[:, None] + np.arange(6)]) / spread).mean()
    assert 0 < oracle < plain
    quiet = series.values.copy()
    season = 0.3 * np.sin(2 * np.pi * np.arange(400)[:, None] / 24 + np.arange(forecasts.VARIABLES))
    for now in range(300, 400):
        quiet[now] = forecasts._step(quiet, now, gain[now]) + season[now]
    assert forecasts.oracle_error(Series(quiet, series.names), gain, at, 6, spread) < 1e-20


def test_comparisons_run_small(monkeypatch):
    monkeypatch.setattr(forecasts, "VARIABLES", 3)
    found = forecasts.coupling.__wrapped__(0, 400, 2, 6, classical=False)
    assert {"Chimera", "channel-independent", "DLinear", "oracle", "seasonal naive"} <= set(found)
    assert all(np.isfinite(each) for each in forecasts._heads.__wrapped__(300, 2, 1))
    assert cost.slope([1, 2, 4], [3.0, 6.0, 12.0]) == pytest.approx(1)


def test_events_are_put_where_the_labels_say():
    clean = Series(np.random.default_rng(0).standard_normal((900, 2)))
    series, labels = tasks.disturbed(clean, 400, 0)
    assert not labels[:400].any()
    assert (series.values == clean.values)[~labels].all()
    assert 0.05 < labels[400:].mean() < 0.6
