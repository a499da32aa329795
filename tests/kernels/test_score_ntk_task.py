"""Tables in, tables out: encoding and back, the jobs, their pictures, bad input; and the quick claims."""

from __future__ import annotations

import datetime

import numpy as np
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from harmonia.core.claim import HOLDS, claims_in
from harmonia.core.errors import InputError
from harmonia.core.progress import Silent, watched
from harmonia.core.registry import find
from harmonia.core.task import find_job, jobs_in
from harmonia.data.tables import iris
from harmonia.kernels.score_ntk import NTKScoreEstimator, TableCodec, TabularSynthesizer, claim, memorisation, task
from harmonia.kernels.score_ntk.codec import Numbers
from harmonia.kernels.score_ntk.quality import correlation_difference, marginal_distances, usefulness
from harmonia.media import Figure, Table

pytestmark = pytest.mark.filterwarnings("ignore:.*are few for")
JOBS = jobs_in(task)
SMALL = NTKScoreEstimator(draws_per_point=3, landmarks=60, separate=True)


@pytest.fixture
def mixed():
    """Numbers of every kind, words, truth values, dates, gaps, a constant and names."""
    generator = np.random.default_rng(0)
    n = 80
    number = generator.standard_normal(n)
    return polars.DataFrame(
        {
            "number": number,
            "count": generator.poisson(4, n),
            "income": np.where(generator.random(n) < 0.3, 0.0, np.exp(3 * generator.standard_normal(n)).round(2)),
            "gaps": [None if i % 5 == 0 else float(v) for i, v in enumerate(number)],
            "word": generator.choice(["red", "green", "blue"], n),
            "maybe": [None if i % 7 == 0 else "yes" for i in range(n)],
            "flag": number > 0,
            "day": [datetime.date(2024, 1, 1) + datetime.timedelta(days=int(i)) for i in generator.integers(0, 99, n)],
            "same": ["x"] * n,
            "name": [f"row {i}" for i in range(n)],
        }
    )


class Heard(Silent):
    def __init__(self) -> None:
        self.words: list[str] = []

    def say(self, message: str) -> None:
        self.words.append(message)


def test_encoding_and_back_is_the_table(mixed):
    heard = Heard()
    with watched(heard):
        codec = TableCodec.of(mixed)
    assert any("name" in words for words in heard.words)
    points = codec.encode(mixed, np.random.default_rng(0))
    assert points.shape == (80, codec.width)
    assert np.abs(points).max() < 5
    back = codec.decode(points)
    expected = mixed.drop("name")
    assert back.schema == expected.schema
    for name in expected.columns:
        if expected[name].dtype.is_float():
            np.testing.assert_allclose(back[name].to_numpy(), expected[name].to_numpy(), rtol=1e-9, atol=1e-9)
        else:
            assert back[name].to_list() == expected[name].to_list()


def test_heavy_tails_become_normal():
    values = np.exp(3 * np.random.default_rng(0).standard_normal(500))
    frame = polars.DataFrame({"income": values, "light": np.random.default_rng(1).random(500)})
    heavy, light = TableCodec.of(frame).columns
    assert isinstance(heavy, Numbers)
    assert heavy.by_quantiles
    assert not light.by_quantiles
    points = heavy.encode(frame["income"], np.random.default_rng(0))[:, 0]
    assert points.mean() == pytest.approx(0, abs=1e-9)
    assert points.std() == pytest.approx(1, abs=0.02)
    assert (np.argsort(points) == np.argsort(values)).all()


@given(st.lists(st.integers(-50, 50), min_size=12, max_size=40).filter(lambda values: len(set(values)) > 2))
@settings(max_examples=30, deadline=None)
def test_whole_numbers_stay_whole(values):
    frame = polars.DataFrame({"a": values})
    codec = TableCodec.of(frame)
    assert codec.decode(codec.encode(frame, np.random.default_rng(0)))["a"].to_list() == values
    wild = codec.decode(np.random.default_rng(1).standard_normal((50, 1)) * 3)["a"]
    assert wild.min() >= min(values)
    assert wild.max() <= max(values)


def test_rare_words_are_learnt():
    """They are far from the mean, where Gaussian data would never be."""
    generator = np.random.default_rng(0)
    number = generator.standard_normal(400)
    rare = number > np.quantile(number, 0.95)
    frame = polars.DataFrame({"number": number, "rare": rare})
    rows = TabularSynthesizer(SMALL, random_state=0).fit(frame).sample(2000, random_state=0)
    assert rows["rare"].mean() == pytest.approx(0.05, abs=0.03)
    assert rows.filter("rare")["number"].mean() > 1.4
    assert rows.filter(~polars.col("rare"))["number"].mean() < 0.1


def test_synthetic_rows_look_like_real_ones(mixed):
    model = TabularSynthesizer(SMALL, random_state=0).fit(mixed)
    rows = model.sample(300, random_state=1)
    assert rows.schema == mixed.drop("name").schema
    assert rows["day"].min() >= mixed["day"].min()
    assert set(rows["word"]) == {"red", "green", "blue"}
    assert rows["gaps"].null_count() == pytest.approx(60, abs=40)
    assert ((rows["number"] > 0) == rows["flag"]).mean() > 0.75
    assert max(marginal_distances(mixed, rows, model.codec_).values()) < 0.3
    assert rows.equals(model.sample(300, random_state=1))
    assert clone(model).estimator.landmarks == 60


def test_pandas_in_pandas_out(mixed):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": mixed["number"].to_list(), "b": mixed["word"].to_list()})
    rows = TabularSynthesizer(SMALL, random_state=0).fit(frame).sample(5, random_state=0)
    assert isinstance(rows, pandas.DataFrame)
    assert list(rows.columns) == ["a", "b"]


def test_measures_know_the_truth_from_noise():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((400, 3))
    x[:, 1] += 2 * x[:, 0]
    shuffled = np.stack([generator.permutation(column) for column in x.T], 1)
    assert correlation_difference(x, x[::-1]) == pytest.approx(0, abs=1e-12)
    assert correlation_difference(x, shuffled) > 0.25
    frame, noise = (polars.DataFrame(one, schema=["a", "b", "c"], orient="row") for one in (x, shuffled))
    codec = TableCodec.of(frame)
    assert usefulness(frame[:200], frame[200:], "b", codec) > 0.7
    assert usefulness(noise[:200], frame[200:], "b", codec) < 0.2
    words = frame.with_columns(word=polars.when(polars.col("a") > 0).then(polars.lit("u")).otherwise(polars.lit("v")))
    assert usefulness(words[:200], words[200:], "word", TableCodec.of(words)) > 0.95
    assert memorisation(x, x, shuffled).copies == 1
    with pytest.raises(InputError, match="cannot be predicted"):
        usefulness(frame, frame, "z", codec)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"a": [1.0, 2.0, 3.0]}, "too few rows"),
        ({"a": [1.0] * 20, "b": [f"name {i}" for i in range(20)]}, "no column to learn from"),
        ({"a": [*range(19), float("inf")]}, "infinite"),
    ],
)
def test_bad_tables(frame, message):
    with pytest.raises(InputError, match=message):
        TabularSynthesizer().fit(polars.DataFrame(frame, strict=False))


def test_what_is_no_table_is_refused(mixed):
    with pytest.raises(InputError, match="no table"):
        TabularSynthesizer().fit([1, 2, 3])
    codec = TableCodec.of(mixed)
    with pytest.raises(InputError, match="no column 'count'"):
        codec.encode(mixed.drop("count"), np.random.default_rng(0))
    with pytest.raises(InputError, match="new value"):
        codec.encode(mixed.with_columns(word=polars.lit("pink")), np.random.default_rng(0))


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(task, "default_estimator", lambda: clone(SMALL))


def test_default_job(quick, tmp_path):
    job = find_job(JOBS, "synthesise")
    outputs = job.run({"rows": "60", "steps": "20"})
    assert outputs["table"].frame.shape == (60, 5)
    assert outputs["useful"] > 0.8
    assert outputs["copies"] < 0.1
    written = job.save(outputs, tmp_path, "iris")
    assert {path.suffix for path in written} == {".csv", ".png"}
    assert len(written) == 5
    assert Table.read(tmp_path / "iris_table.csv").frame.shape == (60, 5)


def test_tables_of_every_kind(quick, mixed):
    outputs = task.synthesise(Table(mixed), rows=30, steps=10, target="flag", stop="loo")
    assert outputs["table"].frame.columns == mixed.drop("name").columns
    words = Table(mixed.select("word", "maybe", "flag"))
    assert isinstance(task.synthesise(words, rows=30, steps=10)["pairs"], Figure)
    numbers = Table(mixed.select("number", "income"))
    assert task.synthesise(numbers, rows=30, steps=10)["table"].frame.columns == numbers.names
    with pytest.raises(InputError, match="cannot be predicted"):
        task.synthesise(Table(mixed), rows=5, steps=2, target="same")
    with pytest.raises(InputError, match="Did you mean 'number'"):
        task.synthesise(Table(mixed), target="numbr")


def test_field_and_dissection():
    small = Table(iris().frame[:60])
    looked = find_job(JOBS, "score-field").run({"table": small, "rows": "20"})
    assert looked["samples"].frame.shape == (20, 5)
    assert np.isfinite(looked["samples"].frame.to_numpy()).all()
    with pytest.raises(InputError, match="two columns"):
        task.score_field(Table(small.frame.select("species")))
    with pytest.raises(InputError, match="two columns"):
        task.score_field(small, x="petal width (cm)", y="petal width (cm)")
    found = find_job(JOBS, "dissect").run({"n": "40", "width": "64", "last": "50"})
    assert found["errors"].frame.height == 13
    assert isinstance(found["picture"], Figure)


QUICK = [one for one in claims_in(claim) if one.tier == "quick"]


@pytest.mark.parametrize("measured", QUICK, ids=lambda one: one.name[:50])
def test_quick_claims_hold(measured):
    assert measured.check().verdict in HOLDS


def test_card_is_complete():
    method = find("score-ntk")
    assert method.built
    assert {"ctgan", "scikit-learn"} <= {peer.name for peer in method.card.peers}
