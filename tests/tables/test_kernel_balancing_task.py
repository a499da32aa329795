"""The jobs: a user's table in, recommendations and pictures out; quick claims hold; bad tables are refused."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import polars
import pytest
import torch

from harmonia.core.claim import HOLDS, claims_in
from harmonia.core.errors import InputError
from harmonia.core.registry import find
from harmonia.core.task import find_job, jobs_in
from harmonia.media import Table
from harmonia.parts.gram import SquaredExponential
from harmonia.tables.kernel_balancing import KernelBalancer, claim, figures, semi_synthetic, task
from harmonia.tables.kernel_balancing.figures import principal_imbalance
from harmonia.tables.kernel_balancing.rating_table import RatingTable, described
from harmonia.tables.kernel_balancing.semi_synthetic import demo_ratings

JOBS = jobs_in(task)


@pytest.fixture(scope="module")
def some():
    """Ratings of sixty users."""
    return Table(demo_ratings().frame.filter(polars.col("user") <= 60, polars.col("item") <= 50))


@pytest.fixture(scope="module")
def outputs(some):
    return find_job(JOBS, "recommend").run({"ratings": some, "n_anchors": "40", "top": "3"})


def test_recommendations_are_of_unrated_items_in_order(outputs, some):
    found = outputs["recommendations"].frame
    assert found.group_by("user").len()["len"].max() == 3
    chosen = some.frame.filter(polars.col("exposure") == "chosen").select(
        polars.col("user", "item").cast(polars.String)
    )
    assert found.join(chosen, on=["user", "item"]).height == 0
    by_rank = found.sort("user", "rank").group_by("user", maintain_order=True).agg("expected_rating")
    assert all(list(values) == sorted(values, reverse=True) for values in by_rank["expected_rating"])


def test_weights_correct_the_mean(outputs, some):
    frame = outputs["weights"].frame
    assert frame["weight"].mean() == pytest.approx(1)
    at_random = some.frame.filter(polars.col("exposure") == "random")["rating"].mean()
    assert abs(outputs["mean_of_all"] - at_random) < abs(outputs["mean_as_rated"] - at_random)
    assert outputs["mean_of_all"] == pytest.approx((frame["weight"] * frame["rating"]).mean())
    assert outputs["mmd_after"] < outputs["mmd_before"]
    assert outputs["effective_ratings"] < frame.height


def test_the_bias_bound_of_the_model_is_shown(outputs):
    assert outputs["error_bias_after"] < 0.5 * outputs["error_bias_before"]
    assert 0 <= outputs["error_explained"] <= 1


def ratings(seen=lambda u, i: (u + i) % 2 or not u):
    """Twelve users rate half of six items; the first rates all."""
    rows = [(f"u{u}", f"i{i}", float(1 + u * i % 5)) for u in range(12) for i in range(6) if seen(u, i)]
    return polars.DataFrame(rows, schema=["user", "item", "rating"], orient="row")


@pytest.mark.parametrize("full", ["u0", "u11"])
def test_who_has_rated_everything_gets_no_recommendation(full):
    frame = ratings(lambda u, i: (u + i) % 2 or f"u{u}" == full)
    found = task.recommend(Table(frame), n_anchors=10)["recommendations"].frame
    assert full not in found["user"]
    assert found["user"].n_unique() == 11


def test_everything_rated_is_told_before_the_work(monkeypatch):
    monkeypatch.setattr(task, "DebiasedMF", None)
    with pytest.raises(InputError, match="nothing left to recommend"):
        task.recommend(Table(ratings(lambda u, i: True)))


def test_a_pair_rated_twice_and_a_random_sample():
    shown = ratings(lambda u, i: True)
    twice = ratings()
    twice = polars.concat([twice, twice.head(1).with_columns(rating=polars.lit(4.0))])
    outputs = task.recommend(Table(twice), random_sample=Table(shown), n_anchors=10)
    assert outputs["weights"].frame.height == twice.height - 1


@pytest.mark.parametrize("word", ["random", "Random", " RANDOM "])
@pytest.mark.parametrize("column", ["exposure", "Exposure "])
def test_exposure_is_read_in_any_case(word, column):
    frame = ratings().with_columns(polars.Series(column, [word, "chosen", None] * 13))
    assert RatingTable.of(Table(frame)).at_random.sum() == 13


def test_an_exposure_without_random_rows_is_told(monkeypatch):
    said: list[str] = []
    monkeypatch.setattr("harmonia.tables.kernel_balancing.rating_table.say", said.append)
    frame = ratings().with_columns(exposure=polars.Series([True, False, True] * 13))
    assert not RatingTable.of(Table(frame)).at_random.any()
    assert "random in no row" in said[0]


def test_names_of_the_metrics():
    from harmonia.tables import auc_all, ndcg_at_k

    users, relevance, scores = np.array([0, 0, 1]), np.array([0.0, 1.0, 0.0]), np.array([3.0, 2.0, 1.0])
    assert auc_all(relevance, scores) == 0.5
    assert ndcg_at_k(users, relevance, scores) == pytest.approx((1 + 1 / np.log2(3)) / 2)


def test_everything_is_written(outputs, tmp_path):
    written = find_job(JOBS, "recommend").save(outputs, tmp_path, "t")
    assert sorted(path.suffix for path in written) == [".csv", ".csv", ".png", ".png", ".png"]


def test_three_columns_are_enough(some):
    frame = some.frame.filter(polars.col("exposure") == "chosen").select("user", "item", "rating")
    outputs = task.recommend(Table(frame), n_anchors=20, loss="dr", anchors="all", ridge=1e-2)
    assert outputs["quality"] is None
    assert outputs["recommendations"].frame["user"].n_unique() == frame["user"].n_unique()


def test_a_random_sample_and_features_may_be_tables_of_their_own(some):
    plain = some.frame.select("user", "item", "rating", "exposure")
    chosen, shown = (plain.filter(polars.col("exposure") == kind).drop("exposure") for kind in ("chosen", "random"))
    features = [Table(some.frame.unique(of).select(of, polars.col(f"^{of}_trait.*$"))) for of in ("user", "item")]
    outputs = task.recommend(
        Table(chosen.rename({"user": "who", "item": "what", "rating": "how"})),
        random_sample=Table(shown.rename({"user": "who", "item": "what", "rating": "how"})),
        user_features=features[0],
        item_features=features[1],
        user="who",
        item="what",
        rating="how",
        n_anchors=40,
    )
    assert outputs["quality"] is not None


def test_simulate_and_scale(some):
    simulated = find_job(JOBS, "simulate").run({"draws": "1", "users": "60", "items": "60"})
    assert simulated["balanced"] < simulated["naive"]
    assert simulated["errors"].frame.width == 9
    scaled = task.scale(some, factor=10.0)
    scores = scaled["scores"].frame
    for name in ("uniform weights", "balanced weights"):
        # Ten times the weights at ten times the decay: two points to the right in this grid.
        np.testing.assert_allclose(scores[f"{name} times 10"][2:], scores[name][:-2], atol=0.02)


def test_love_plot_shows_eigenfunctions_of_all_pairs():
    truth = semi_synthetic(0, 70, 12)
    model = KernelBalancer(n_anchors=20).fit(truth.users, truth.items, truth.user_features, truth.item_features)
    every = np.indices((70, 12)).reshape(2, -1)
    values, functions = np.linalg.eigh(model.pairs_.features(every[0], every[1], every.T))
    functions = functions[:, ::-1][:, :4] * np.sqrt(840)
    assert (np.diff(values[::-1][:5]) < 0).all()
    rows = truth.users * 12 + truth.items
    for weights, found in zip((model.base_weights_, model.weights_), principal_imbalance(model, 4)):
        expected = weights @ functions[rows] / len(rows) - functions.mean(0)
        np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-8)


def test_columns_are_found():
    frame = polars.DataFrame({"movieId": [1, 2], "userId": ["a", "b"], "stars": [1.0, 2.0], "year": [1990, 2000]})
    found = RatingTable.of(Table(frame))
    np.testing.assert_array_equal(found.pairs, [["a", "1"], ["b", "2"]])
    assert list(found.item_features) == ["1", "2"]
    plain = RatingTable.of(Table(polars.DataFrame({"x": ["a", "b"], "y": [3, 4], "z": [0.5, 0.6]})))
    np.testing.assert_array_equal(plain.values, [0.5, 0.6])
    assert not plain.at_random.any()


def test_items_are_named_by_a_column_of_titles():
    rows = {"user": ["a", "b", "a"], "item": [7, 7, 8], "rating": [1.0, 2.0, 3.0], "genre": ["x", "x", "x"]}
    frame = polars.DataFrame({**rows, "title": ["Seven", "Seven", None]})
    assert RatingTable.of(Table(frame)).titles == {"7": "Seven", "8": ""}
    changed = frame.with_columns(title=polars.Series(["Seven", "Sieben", "Eight"]))
    assert RatingTable.of(Table(changed)).titles is None  # one item, two titles
    assert RatingTable.of(Table(frame.drop("title"))).titles is None  # a genre is no name


def test_eigenfunctions_of_drawn_rows_are_continued_to_all(monkeypatch):
    """Most rows are drawn, so that eigenvalues, by rows, and eigenfunctions hardly change."""
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((150, 1)))
    values, functions = figures._smoothest(SquaredExponential(), x, 3)
    monkeypatch.setattr(figures, "_DRAWN", 140)
    drawn, continued = figures._smoothest(SquaredExponential(), x, 3)
    np.testing.assert_allclose(drawn / 140, values / 150, rtol=0.1)
    assert np.abs((functions * continued).mean(0)).min() > 0.99


def test_maps_show_the_first_pattern_in_order(monkeypatch):
    random = np.random.default_rng(0)
    rows, columns = random.standard_normal(40), random.standard_normal(30)
    for many, expected in ((800, (40, 30)), (10, (10, 10))):
        monkeypatch.setattr(figures, "_SEEN", many)
        order = figures._order(np.outer(rows, columns))
        assert (len(order[0]), len(order[1])) == expected
        for values, chosen in zip((rows, columns), order):
            steps = np.diff(values[chosen])
            assert (steps > 0).all() or (steps < 0).all()


def bad(**columns):
    base = {"user": ["a", "b", "c"] * 10, "item": [f"i{j}" for j in range(30)], "rating": [1.0, 2.0, 3.0] * 10}
    return Table(polars.DataFrame(base | columns))


@pytest.mark.parametrize(
    ("table", "match"),
    [
        (Table(polars.DataFrame({"user": ["a"], "item": ["b"]})), "columns user, item and rating"),
        (bad(rating=["good"] * 30), "no numbers"),
        (bad(rating=[None] + [1.0, 2.0] * 14 + [3.0]), "no number"),
        (bad(rating=[3.0] * 30), "equal"),
        (bad(user=["a", None, "c"] * 10), "empty cell"),
        (Table(bad().frame.head(5)), "too few"),
    ],
    ids=["columns", "words", "missing", "constant", "nameless", "few"],
)
def test_bad_tables_are_refused(table, match):
    with pytest.raises(InputError, match=match):
        task.recommend(table)


def test_features_without_names_are_refused():
    with pytest.raises(InputError, match="once for each"):
        described(Table(polars.DataFrame({"user": ["a", "a"], "age": [1, 2]})), "user")
    with pytest.raises(InputError, match="no features"):
        task.recommend(bad(), user_features=Table(polars.DataFrame({"user": ["a", "b"], "age": [1, 2]})))
    with pytest.raises(InputError, match="both kinds"):
        task.scale(bad())


def test_the_command_line_tells_what_is_wrong(tmp_path):
    (tmp_path / "r.csv").write_text("user,item,rating\na,b,good\n")
    command = [sys.executable, "-m", "harmonia.app.cli", "run", "kernel-balancing", str(tmp_path / "r.csv")]
    run = subprocess.run([*command, "--out", str(tmp_path / "out")], capture_output=True, text=True, check=False)
    if run.returncode == 0 and not run.stderr:
        pytest.skip("the command line is no module")
    assert run.returncode == 2
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("each", [c for c in claims_in(claim) if c.tier == "quick"], ids=lambda c: c.measure.__name__)
def test_quick_claims_hold(each):
    assert each.check(seed=1).verdict in HOLDS


def test_coat_is_skipped_where_it_is_not(monkeypatch):
    from harmonia.tables.kernel_balancing.claims import coat

    monkeypatch.delenv(coat.COAT, raising=False)
    coat._study.cache_clear()
    coat._released.cache_clear()
    said: list[str] = []
    monkeypatch.setattr(coat, "say", said.append)
    assert coat.tuned_gain.check().verdict == "beyond this machine"
    assert coat.COAT in said[0]
    coat._study.cache_clear()


def test_the_card():
    card = find("kernel-balancing").card
    assert card.field == "tables"
    assert any("sums" in erratum.defect for erratum in card.errata)
