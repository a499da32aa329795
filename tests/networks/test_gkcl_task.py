"""The jobs, on tables of both kinds; bad input on the command line; the claims; the card."""

from __future__ import annotations

import numpy as np
import polars
import pytest
from sklearn.datasets import load_wine
from typer.testing import CliRunner

from harmonia.app.cli import app
from harmonia.core.claim import HOLDS, claims_in
from harmonia.core.errors import InputError
from harmonia.core.registry import find, search
from harmonia.core.task import find_job, jobs_in
from harmonia.media import Figure, Table
from harmonia.networks.gkcl import claim, task
from harmonia.networks.gkcl.arrays import read_stream
from harmonia.networks.gkcl.claims import identities
from harmonia.networks.gkcl.tables import TableStream, turned_digits

JOBS = jobs_in(task)


def two_cellars() -> Table:
    """Wines measured twice: in the second cellar by instruments with other units."""
    loaded = load_wine()
    frames = []
    for cellar, factor in (("old", 1.0), ("new", -2.0)):
        columns = {name: factor * loaded.data[:, i] for i, name in enumerate(loaded.feature_names)}
        label: list[str | None] = [f"grower {k}" for k in loaded.target]
        if cellar == "new":
            label[:3] = [None] * 3
        frames.append(polars.DataFrame(columns | {"task": [cellar] * len(label), "grower": label}))
    return Table(polars.concat(frames))


def test_a_table_is_learnt_task_after_task(tmp_path):
    job = find_job(JOBS, "learn")
    found = job.run({"table": two_cellars(), "epochs": 10, "memory": "gaussians", "n_per_class": 5})
    frame = found["comparison"].frame
    assert frame["method"][0] == "kernel, gaussians"
    assert frame.height == 5
    assert frame["average accuracy"][0] > 0.8
    predictions = found["predictions"].frame
    assert predictions.filter(role="new")["row"].to_list() == [179, 180, 181]
    assert predictions["prediction"].null_count() == 0
    samples = found["samples"].frame
    assert samples.columns == [*two_cellars().names[:-2], "task", "grower"]
    real = two_cellars().frame.filter(task="old", grower="grower 0")["alcohol"]
    made = samples.filter(task="old", grower="grower 0")["alcohol"]
    assert abs(made.mean() - real.mean()) < 3 * real.std()
    assert isinstance(found["remembered"], Figure)
    assert len(job.save(found, tmp_path, "x")) == 6


def test_pictures_are_learnt_without_rows():
    frame = turned_digits().frame.gather_every(15)
    found = task.learn(Table(frame), epochs=1, generator_steps=1, n_per_class=2, rivals=False)
    assert found["accuracies"].frame.shape == (5, 6)
    assert found["accuracies"].frame.null_count().sum_horizontal().item() == 10
    assert found["samples"].frame.height == 5 * 10 * 2


def test_sums_forget_only_when_told():
    found = task.sums(two_cellars(), forget="old")
    assert found["comparison"].frame["forgetting"][0] == 0
    assert set(found["predictions"].frame["task"]) == {"new"}


def test_tables_become_streams():
    table = two_cellars()
    stream = TableStream.of(table)
    assert [one.name for one in stream.tasks] == ["old", "new"]
    assert stream.side == 0
    np.testing.assert_allclose(stream.restored(stream.inputs), table.numeric(table.names[:-2]), atol=1e-9)
    known = Table(table.frame.drop_nulls().drop("task"))
    assert [one.name for one in TableStream.of(known, tasks="split:2").tasks] == ["grower 0, grower 1, grower 2"]
    for arguments, words in (
        ({"tasks": "split:x"}, "cannot be read"),
        ({"tasks": "column:size"}, "no column"),
        ({"tasks": "column:grower"}, "same column"),
        ({"tasks": "split:2"}, "without a class"),
    ):
        with pytest.raises(InputError, match=words):
            TableStream.of(table, **arguments)
    with pytest.raises(InputError, match="cannot be learnt"):
        TableStream.of(Table(table.frame.head(6).with_columns(grower=polars.Series(list("ababab")))))


def test_pictures_are_columns_of_one_scale():
    """Sixteen columns of numbers are not yet a picture: one of large numbers would squeeze all others."""
    draw, y = np.random.default_rng(0), np.arange(240) % 2
    x = draw.normal(size=(240, 16))
    x[:, 0] += 3 * y
    x[:, 5] *= 1e5
    grey = draw.integers(0, 17, size=(240, 16))

    def stream(values, **options):
        columns = {f"c{i}": values[:, i] for i in range(values.shape[1])}
        return TableStream.of(Table(polars.DataFrame(columns | {"class": y.astype(str)})), **options)

    assert stream(x).side == 0
    assert stream(x).inputs.min(0).max() == 0
    assert stream(x).inputs.max(0).min() == 1
    assert (stream(x, pictures="yes").side, stream(grey).side, stream(grey, pictures="no").side) == (4, 4, 0)
    assert TableStream.of(Table(turned_digits().frame.gather_every(15))).side == 8
    with pytest.raises(InputError, match="squares"):
        stream(x[:, :15], pictures="yes")


@pytest.mark.parametrize("name", ["row", "task", "role", "prediction", "share"])
def test_a_target_of_our_names_is_kept(name):
    frame = two_cellars().frame.drop_nulls().rename({"task": "cellar", "grower": name})
    found = task.learn(
        Table(frame), target=name, tasks="column:cellar", memory="gaussians", epochs=1, n_per_class=2, rivals=False
    )
    predictions = found["predictions"].frame
    assert predictions.width == 6
    assert set(predictions[f"{name} (in the table)"]) == {"grower 0", "grower 1", "grower 2"}
    assert set(predictions["task"]) == {"old", "new"}
    assert set(found["samples"].frame["task"]) == {"old", "new"}


def _pictures(count: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Bytes, channels last, darker in one half where the class is odd."""
    y = np.arange(count) % 4
    x = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    x[y % 2 == 1, :4] //= 4
    return x, y


def test_arrays_of_pictures_are_learnt_by_convolutions(tmp_path):
    x, y = _pictures()
    np.savez(tmp_path / "data.npz", X=x, y=y)
    arguments = ["arrays", str(tmp_path / "data.npz"), "--epochs", "1", "--generator-steps", "3", "--no-rivals"]
    result = CliRunner().invoke(app, ["run", "gkcl", *arguments, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert {path.suffix for path in (tmp_path / "out").iterdir()} >= {".csv", ".png"}
    found = task.arrays(tmp_path / "data.npz", memory="gaussians", epochs=1, n_per_class=2)
    assert found["comparison"].frame.height == 5
    predictions = found["predictions"].frame
    assert set(predictions["task"]) == {"0, 1", "2, 3"}
    assert set(predictions["class"]) == set("0123")


@pytest.mark.parametrize(
    ("shape", "seen"),
    [((6,), (6,)), ((8, 8), (1, 8, 8)), ((8, 8, 3), (3, 8, 8)), ((3, 8, 8), (3, 8, 8)), ((1, 8, 8), (1, 8, 8))],
)
def test_arrays_become_streams(shape, seen, tmp_path):
    x, y = 10 * np.random.default_rng(0).normal(size=(60, *shape)), np.array(list("abcde"))[np.arange(60) % 5]
    np.savez(tmp_path / "a.npz", X=x, y=y, X_test=x[:10], y_test=y[:10])
    stream = read_stream(tmp_path / "a.npz", "split:2")
    assert [one.name for one in stream] == ["a, b", "c, d, e"]
    assert stream[0].x.shape == (24, *seen)
    assert stream[0].x_test.shape == (4, *seen)
    assert min(one.x.min() for one in stream) == 0
    assert max(one.x.max() for one in stream) == 1
    np.savez(tmp_path / "bytes.npz", X=(x > 0).astype(np.uint8), y=y)
    assert max(float(one.x.max()) for one in read_stream(tmp_path / "bytes.npz")) == np.float32(1) / np.float32(255)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": None}, "needs 'X' and 'y'"),
        ({"X_test": np.ones((4, 8, 8, 3))}, "needs 'X_test' and 'y_test'"),
        ({"X": np.ones(48)}, r"'X' is numbers"),
        ({"X": np.full((48, 3), np.nan)}, "'X' is finite"),
        ({"y": np.zeros(3)}, "one class for each"),
        ({"y": np.zeros(48)}, "two classes at least"),
        ({"X_test": np.zeros((4, 8, 8, 3), np.uint8), "y_test": np.zeros(4, int)}, "all of them judged"),
        ({"y": np.array([{}] * 48, dtype=object)}, "no file of arrays"),
        ({"X": np.ones((6, 2)), "y": np.arange(6) // 2}, "left out of every class"),
    ],
)
def test_arrays_that_are_no_stream_are_refused(change, message, tmp_path):
    x, y = _pictures()
    arrays = {name: part for name, part in ({"X": x, "y": y} | change).items() if part is not None}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=message):
        read_stream(tmp_path / "a.npz")


def test_other_files_are_no_arrays(tmp_path):
    for name, content in (("text.npz", b"X,y"), ("empty.npz", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="no file of arrays"):
            read_stream(tmp_path / name)
    np.save(tmp_path / "one.npy", np.ones(3))
    with pytest.raises(InputError, match="no file of arrays"):
        read_stream(tmp_path / "one.npy")
    np.savez(tmp_path / "a.npz", X=np.ones((8, 2)), y=np.arange(8) % 2)
    with pytest.raises(InputError, match="Use split:<classes>"):
        read_stream(tmp_path / "a.npz", "auto")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["learn", "--memory", "pictures"], "no such choice"),
        (["learn", "--tasks", "split:0"], "cannot be read"),
        (["learn", "--n-per-class", "0"], "out of range"),
        (["sums", "--forget", "nobody"], "no such task"),
    ],
)
def test_the_command_line_explains(arguments, message, tmp_path):
    path, out = tmp_path / "t.csv", tmp_path / "out"
    two_cellars().write(path)
    job, *rest = arguments
    result = CliRunner().invoke(app, ["run", "gkcl", job, str(path), *rest, "--out", str(out)])
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
    assert not out.exists() or not list(out.iterdir())


@pytest.mark.parametrize("one", claims_in(identities), ids=lambda one: one.measure.__name__)
def test_quick_claims_hold(one):
    assert one.check(0).verdict in HOLDS


def test_claims_and_card():
    claims = claims_in(claim)
    assert len({one.name for one in claims}) == len(claims)
    assert {"quick", "full"} <= {one.tier for one in claims}
    method = find("gkcl")
    assert method.built
    assert method in search("catastrophic forgetting")
