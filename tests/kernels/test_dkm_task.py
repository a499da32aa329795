"""The jobs on tables of a user, the learning path, and the quick claims."""

from __future__ import annotations

import math

import numpy as np
import polars
import pytest
from sklearn.datasets import load_diabetes

from harmonia.core.claim import claims_in
from harmonia.core.errors import InputError
from harmonia.kernels.dkm import DeepKernelMachineClassifier, DeepKernelMachineRegressor, claim
from harmonia.kernels.dkm.path import held_out_loss, learning_path
from harmonia.kernels.dkm.task import _trivial, fit, path
from harmonia.media import Figure, Table


@pytest.fixture(scope="module")
def table():
    """Two inputs, words among them, a number and a class to predict; the last rows without either."""
    generator = np.random.default_rng(0)
    a, word = generator.standard_normal(70), generator.choice(["red", "blue"], 70)
    number = 3 * np.sin(2 * a) + (word == "red") + 0.1 * generator.standard_normal(70)
    kind = np.where(number > 0.5, "high", "low")
    frame = polars.DataFrame({"a": a, "colour": word, "number": number, "kind": kind})
    known = polars.Series(np.arange(70) < 64)
    return frame.with_columns(
        polars.when(known).then(polars.col(name)).otherwise(None).alias(name) for name in ("number", "kind")
    )


def test_numbers_are_predicted(table):
    found = fit(Table(table.drop("kind")), target="number", inducing=20, steps=20)
    frame = found["predictions"].frame
    assert frame["role"].to_list() == ["left out"] * 64 + ["new"] * 6
    known = frame.filter(polars.col("role") == "left out")
    error = (known["number"] - known["prediction"]).to_numpy()
    assert np.square(error).mean() < 0.5 * known["number"].var()
    log_density = -0.5 * np.square(error / known["standard_deviation"]) - np.log(known["standard_deviation"])
    assert found["score"] == pytest.approx(float(log_density.mean()) - 0.5 * math.log(2 * math.pi), rel=1e-6)
    assert frame["prediction"].is_finite().all()
    assert found["layers"].frame["layer"].to_list() == ["1", "2", "output"]
    assert (found["layers"].frame["kl_nats"] > 0).all()
    assert all(isinstance(found[name], Figure) for name in ("grams", "quality"))


def test_classes_are_predicted(table):
    found = fit(Table(table.drop("number")), inducing=15, steps=15, layers=1, dof=math.inf)
    frame = found["predictions"].frame
    assert set(frame["prediction"]) == {"high", "low"}
    shares = frame.select("probability of high", "probability of low").to_numpy()
    np.testing.assert_allclose(shares.sum(1), 1)
    assert found["layers"].frame["layer"].to_list() == ["output"]
    assert isinstance(found["grams"], Figure)


def test_the_path_of_learning(table):
    found = path(Table(table.drop("kind")), target="number", inducing=12, steps=6)
    frame = found["path"].frame
    assert frame["dof"].to_list() == [math.inf, 1e3, 100.0, 10.0, 1.0, 0.1, 0.01]
    assert frame["bound"][-1] > frame["bound"][0]
    assert frame["kl_layer_1"][-1] > frame["kl_layer_1"][1]
    assert isinstance(found["picture"], Figure)


def test_held_out_losses():
    X, y = load_diabetes(return_X_y=True)
    model = DeepKernelMachineRegressor(n_inducing=8, max_iter=5, random_state=0).fit(X[:60], y[:60])
    mean, std = model.predict(X[60:], return_std=True)
    expected = (np.square((y[60:] - mean) / std) / 2 + np.log(std)).mean() + 0.5 * math.log(2 * math.pi)
    assert held_out_loss(model, X[60:], y[60:]) == pytest.approx(expected)
    labels = y > 140
    classes = DeepKernelMachineClassifier(n_inducing=8, max_iter=5, random_state=0).fit(X[:60], labels[:60])
    shares = classes.predict_proba(X[60:])[:, 1]
    expected = -np.log(np.where(labels[60:], shares, 1 - shares)).mean()
    assert held_out_loss(classes, X[60:], labels[60:]) == pytest.approx(expected)
    assert held_out_loss(classes, X[60:], labels[60:, None]) == pytest.approx(expected)
    with pytest.raises(InputError, match="fall"):
        learning_path(model, (X, y), (X, y), dofs=(1.0, 10.0))
    for targets in (y[60:, None], np.full(len(y) - 60, np.nan)):
        with pytest.raises(InputError, match="held-out targets"):
            held_out_loss(model, X[60:], targets)


@pytest.mark.parametrize("unseen", [1, 3])
def test_held_out_labels_that_were_not_trained_on(unseen):
    X, y = load_diabetes(return_X_y=True)
    labels = 2 * (y > 140)
    model = DeepKernelMachineClassifier(n_inducing=8, max_iter=3, random_state=0)
    test = X[:4], np.array([0, unseen, 2, 0])
    with pytest.raises(InputError, match=f"not in the training data .got .*{unseen}"):
        held_out_loss(model.fit(X[:60], labels[:60]), *test)
    with pytest.raises(InputError, match="not in the training data"):
        learning_path(model, (X[:60], labels[:60]), test)


def test_the_path_begins_each_fit_where_the_last_one_ended():
    X, y = load_diabetes(return_X_y=True)
    model = DeepKernelMachineRegressor(n_inducing=10, max_iter=8, random_state=0)
    found = learning_path(model, (X[:80], y[:80]), (X[80:], y[80:]), dofs=(math.inf, 1e6))
    assert found[1].elbo >= found[0].elbo - 1e-6


@pytest.mark.parametrize("job", [fit, path])
def test_many_small_classes(job):
    rows = np.random.default_rng(0).standard_normal(27)
    table = Table(polars.DataFrame({"a": rows, "kind": list("abcdefghi") * 3}))
    found = job(table, inducing=40, steps=2, layers=1)
    numbers = [found["score"]] if job is fit else found["path"].frame["held_out_loss"].to_list()
    assert np.isfinite(numbers).all()


def test_what_is_known_without_inputs():
    y = np.array([1.0, 2.0, 4.0])
    assert _trivial(y, False) == pytest.approx(-0.5 * math.log(2 * math.pi * y.var()) - 0.5)
    assert _trivial(np.array(["a", "a", "b"]), True) == pytest.approx((2 * math.log(2 / 3) + math.log(1 / 3)) / 3)


def test_bad_tables(table):
    with pytest.raises(InputError, match="too few"):
        fit(Table(table.head(5)), target="number")
    rare = table.head(30).with_columns(polars.Series("kind", ["odd"] + ["low"] * 29))
    with pytest.raises(InputError, match="two classes"):
        fit(Table(rare), target="kind")
    with pytest.raises(InputError):
        fit(Table(table), target="nothing")


@pytest.mark.parametrize("claimed", [c for c in claims_in(claim) if c.tier == "quick"], ids=lambda c: c.name[:40])
def test_quick_claims_hold(claimed):
    assert claimed.check(0).verdict in ("exact", "direction holds")


def test_claims_that_need_data_or_a_device_say_so(monkeypatch):
    for name in ("HARMONIA_UCI", "HARMONIA_CIFAR10"):
        monkeypatch.delenv(name, raising=False)
    asking = [c for c in claims_in(claim) if any(word in c.name for word in ("yacht", "UCI", "CIFAR"))]
    assert len(asking) == 5
    assert all(c.check(0).verdict == "beyond this machine" for c in asking)
