"""The jobs: private rows and public queries in, scores that may be shared out; quick claims; bad input is refused."""

from __future__ import annotations

import numpy as np
import polars
import pytest
from matplotlib.text import Text

from harmonia.core.claim import HOLDS, claims_in
from harmonia.core.errors import InputError
from harmonia.core.registry import find
from harmonia.core.task import find_job, jobs_in
from harmonia.kernels.private_kde import PrivateDistanceSum, PrivateKDE, claim, task
from harmonia.kernels.private_kde.claims import classes, distances, similarities
from harmonia.media import Figure, Table

JOBS = jobs_in(task)
NOT_HELD = [similarities.projection_error, similarities.projection_time]
"""Not reproduced, for the reasons in their docstrings."""
TIMES = [classes.classification_time, distances.l1_query_time]
"""Which a busy machine may miss."""


@pytest.fixture(scope="module")
def people():
    generator = np.random.default_rng(0)
    return Table(polars.DataFrame({"age": generator.uniform(20, 60, 500), "height": generator.normal(1.7, 0.1, 500)}))


@pytest.mark.parametrize("kernel", ["gaussian", "inverse", "l1", "sqeuclidean"])
def test_similarities(people, kernel, tmp_path):
    queries = Table(people.frame.head(20))
    path = tmp_path / "sketch.npz"
    bandwidth = "0.3"
    given = {"private": people, "queries": queries, "kernel": kernel, "bounds": "age=0:100,height=1:2.5", "eps": "20"}
    found = find_job(JOBS, None).run(given | {"bandwidth": bandwidth, "sketch": str(path), "features": "400"})
    frame = found["scores"].frame
    assert frame.columns == ["age", "height", "value", "std"]
    scale = lambda table: (table.numeric() - [0, 1]) / [100, 1.5]  # noqa: E731
    exact = task._exact(kernel, 0.3, scale(people), scale(queries))
    assert (np.abs(frame["value"].to_numpy() - exact) < 6 * frame["std"].to_numpy() + 2e-3).all()
    assert path.is_file()
    if kernel == "inverse":
        written = find_job(JOBS, None).save(found, tmp_path, "t")
        assert sorted(each.suffix for each in written) == [".csv", ".png", ".png"]
    assert "epsilon 20" in found["spent"]


@pytest.mark.parametrize("kernel", ["gaussian", "cauchy", "l1", "l2", "sqeuclidean"])
def test_a_written_sketch_answers_in_the_units_of_the_table(people, kernel, tmp_path):
    """With its columns' names: the job's own numbers for the same rows."""
    path = tmp_path / "sketch.npz"
    options = {"bounds": "age=0:100,height=1:2.5", "bandwidth": 0.3, "eps": 20.0, "features": 400}
    frame = task.similarity(people, people, kernel=kernel, sketch=str(path), **options)["scores"].frame
    is_distance = kernel in task.DISTANCES
    again = (PrivateDistanceSum if is_distance else PrivateKDE).load(path)
    assert list(again.feature_names_in_) == ["age", "height"]
    scores = again.score_samples(people.frame)
    np.testing.assert_allclose(-scores if is_distance else scores, frame["value"].to_numpy(), rtol=1e-12)
    _, std = again.query(people.frame, return_std=True)
    np.testing.assert_allclose(std / again.n_rows_, frame["std"].to_numpy(), rtol=1e-12)
    with pytest.raises(ValueError, match="feature names"):
        again.query(people.frame.select("height", "age"))


@pytest.mark.parametrize("columns", [["age", "height"], ["age"]])
@pytest.mark.parametrize("with_queries", [True, False])
def test_exact_answers_are_in_the_picture(people, columns, with_queries):
    private = Table(people.frame.select(columns))
    queries = Table(private.frame.head(20)) if with_queries else None
    options = {"bounds": "0:100", "bandwidth": 0.3, "eps": 20.0}
    found = [task.similarity(private, queries, exact=exact, **options)["answers"].figure for exact in (True, False)]
    words = [{text.get_text() for text in figure.findobj(Text)} for figure in found]
    assert any("exact: not private" in each for each in words[0])
    assert not any("exact" in each for each in words[1])


def test_ranges_of_public_queries(people):
    found = task.similarity(people, Table(people.frame.head(5)), eps=50.0, bandwidth=0.5)
    assert found["scores"].frame.height == 5


def test_ranges_of_the_example_are_no_users(people):
    """A table whose columns have the example's names needs ranges of its own."""
    renamed = Table(people.frame.rename({"age": "east", "height": "north"}))
    with pytest.raises(InputError, match="public ranges of the columns are missing"):
        task.similarity(renamed)
    found = task.similarity(task.visits(), bandwidth=0.1)
    assert found["scores"].frame.height == task.SIDE**2


def test_classes(people):
    labels = ["tall" if h > 1.7 else "short" for h in people.frame["height"]]
    frame = people.frame.with_columns(polars.Series("size", [*labels[:450], *[None] * 50]))
    found = task.classify(Table(frame), bounds="age=0:100,height=1:2.5", bandwidth=0.2, eps=20.0, features=200)
    assert found["accuracy"] > 0.8
    assert found["predictions"].frame.height == 50
    assert isinstance(found["curve"], Figure)


def test_a_comparison_needs_ranges(people):
    """Values outside are moved in, so ranges are not guessed for a table of one's own."""
    with pytest.raises(InputError, match="public ranges of the columns are missing"):
        task.compare(people, features=100, largest=1000)


def test_comparison(people):
    found = task.compare(people, bounds="age=0:100,height=1:2.5", features=100, largest=2000)
    assert found["errors"].frame.height == 5 * len(task.SWEEP)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "public ranges of the columns are missing"),
        ({"bounds": "age=0:100"}, "do not fit"),
        ({"bounds": "weight=0:1,0:2"}, "do not fit"),
        ({"bounds": "0-1"}, "two numbers with a colon"),
        ({"bounds": "1:0"}, "go upward"),
        ({"bounds": "0:1", "features": 11, "kernel": "cauchy"}, "even"),
    ],
)
def test_bad_input(people, options, message):
    with pytest.raises(InputError, match=message):
        task.similarity(people, **options)


def test_a_column_with_the_name_of_an_answer(people):
    with pytest.raises(InputError, match="name of an answer"):
        task.similarity(Table(people.frame.rename({"age": "std"})), bounds="0:1")


def test_classes_need_rows(people):
    frame = people.frame.with_columns(polars.Series("size", ["a"] * 498 + ["b"] * 2))
    with pytest.raises(InputError, match="at least 5 rows"):
        task.classify(Table(frame))


QUICK = [each for each in claims_in(claim) if each.tier == "quick"]


@pytest.mark.parametrize("each", [c for c in QUICK if c not in NOT_HELD + TIMES], ids=lambda c: c.name)
def test_quick_claims_hold(each):
    assert each.check().verdict in HOLDS


def test_claims_are_gathered():
    assert len(QUICK) == 14
    assert len(claims_in(claim)) == 17


def test_card_is_complete():
    method = find("private-kde")
    assert method.built
    assert {peer.name for peer in method.card.peers} >= {"opacus", "talwagner/lsq"}
