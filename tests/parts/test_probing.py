"""Probes by independent routes: scikit-learn, refitting by hand, exhaustive permutation, known distributions."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import average_precision_score, r2_score, roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from harmonia.core.errors import InputError
from harmonia.parts.probing import (
    R2,
    AveragePrecision,
    Gain,
    ProbeClassifier,
    ProbeRegressor,
    RocAuc,
    Targets,
    bootstrap_interval,
    fold_numbers,
    group_folds,
    macro,
    paired_permutation,
    probe_layers,
)
from harmonia.parts.probing.logistic import logistic_weights
from harmonia.parts.probing.ridge import FoldMoments


def problem(n: int = 90, d: int = 7, k: int = 3, seed: int = 0):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, d)) * rng.uniform(0.2, 4, d) + rng.normal(size=d) * 3
    return features, features @ rng.normal(size=(d, k)) + rng.normal(size=(n, k))


# ---------------------------------------------------------------------------------------------------------- estimators


@parametrize_with_checks([ProbeClassifier(), ProbeClassifier("logistic", (0.01, 1.0), 3), ProbeRegressor()])
def test_scikit_learn_checks(estimator, check) -> None:
    check(estimator)


def test_multilabel_classifier() -> None:
    features, numbers = problem(200)
    labels = (numbers > numbers.mean(0)).astype(int)
    for probe in ("ridge", "logistic"):
        model = ProbeClassifier(probe=probe).fit(features, labels)
        assert model.predict(features).shape == labels.shape
        assert (model.predict(features) == labels).mean() > 0.9


# --------------------------------------------------------------------------------------------------------------- ridge


@pytest.mark.parametrize("d", [7, 200], ids=["tall", "wide"])
@pytest.mark.parametrize("held_out", [(), (1,), (0, 2)], ids=["none", "one", "two"])
def test_ridge_of_every_fold_equals_refitting(d: int, held_out: tuple[int, ...]) -> None:
    features, coded = problem(d=d)
    fold = np.arange(90) % 4
    alphas = [1e-3, 0.1, 10.0]
    found = FoldMoments(features, coded, fold).without(*held_out).predict(features, alphas)
    kept = ~np.isin(fold, held_out)
    mean, scale = features[kept].mean(0), features[kept].std(0)
    z = (features - mean) / scale
    for alpha, predicted in zip(alphas, found):
        refit = Ridge(alpha=alpha * kept.sum()).fit(z[kept], coded[kept])
        np.testing.assert_allclose(predicted, refit.predict(z), atol=1e-8)


def test_moments_keep_their_digits_far_from_zero() -> None:
    features, coded = problem()
    near = FoldMoments(features, coded, np.arange(90) % 3).without(0).predict(features, [0.1])
    far = FoldMoments(features + 1e6, coded, np.arange(90) % 3).without(0).predict(features + 1e6, [0.1])
    np.testing.assert_allclose(near, far, atol=1e-6)


def test_constant_features_say_nothing() -> None:
    features, coded = problem()
    more = np.concatenate([features, np.full((90, 2), 0.3)], 1)
    one, two = (FoldMoments(x, coded, np.arange(90) % 3).without(1).predict(x, [0.1]) for x in (features, more))
    np.testing.assert_allclose(one, two, atol=1e-9)


# ------------------------------------------------------------------------------------------------------------ logistic


@pytest.mark.parametrize("alpha", [1e-3, 0.1])
@pytest.mark.parametrize("d", [7, 200], ids=["tall", "wide"])
def test_softmax_equals_scikit_learn(alpha: float, d: int) -> None:
    features, numbers = problem(d=d)
    targets = Targets.of((numbers - numbers.mean(0)).argmax(1))
    spectrum = FoldMoments(features, targets.coded, np.zeros(90, dtype=np.int64)).without()
    weights, intercept = logistic_weights(spectrum, features, targets.coded, alpha, exclusive=True)
    z = (features - features.mean(0)) / features.std(0)
    theirs = LogisticRegression(C=1 / (90 * alpha), tol=1e-9, max_iter=5000).fit(z, targets.values)
    ours = z @ weights + intercept
    logits = z @ theirs.coef_.T + theirs.intercept_
    difference = (ours - ours.mean(1, keepdims=True)) - (logits - logits.mean(1, keepdims=True))
    assert np.abs(difference).max() < 0.01 * np.abs(logits).max()


def test_sigmoids_equal_scikit_learn() -> None:
    features, numbers = problem()
    targets = Targets.of((numbers > 1).astype(int), "multilabel")
    spectrum = FoldMoments(features, targets.coded, np.zeros(90, dtype=np.int64)).without()
    weights, intercept = logistic_weights(spectrum, features, targets.coded, 0.01, exclusive=False)
    z = (features - features.mean(0)) / features.std(0)
    for label in range(3):
        theirs = LogisticRegression(C=1 / 0.9, tol=1e-9, max_iter=5000).fit(z, targets.values[:, label])
        ours = z @ weights[:, label] + intercept[label]
        np.testing.assert_allclose(ours, z @ theirs.coef_[0] + theirs.intercept_, atol=1e-2)


# -------------------------------------------------------------------------------------------------------------- scores


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6))
def test_scores_equal_scikit_learn_under_weights(seed: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.random((40, 3)) < 0.4
    truth[0], truth[1] = True, False
    predicted = rng.integers(0, levels, (40, 3)).astype(float) / 2
    weights = np.stack([np.ones(40), rng.integers(1, 4, 40).astype(float)])
    for metric, reference in ((RocAuc(), roc_auc_score), (AveragePrecision(), average_precision_score)):
        expected = [[reference(truth[:, j], predicted[:, j], sample_weight=w) for j in range(3)] for w in weights]
        np.testing.assert_allclose(metric(truth, predicted, weights), expected, atol=1e-12)
    numbers = rng.normal(size=(40, 3)) + 5
    expected = [r2_score(numbers, predicted, sample_weight=w, multioutput="raw_values") for w in weights]
    np.testing.assert_allclose(R2()(numbers, predicted, weights), expected, atol=1e-9)


def test_integer_weights_are_repetition() -> None:
    rng = np.random.default_rng(1)
    truth, predicted, counts = rng.random((30, 2)) < 0.5, rng.normal(size=(30, 2)), rng.integers(0, 3, 30)
    repeated = np.repeat(np.arange(30), counts)
    for metric in (RocAuc(), AveragePrecision()):
        once = metric(truth, predicted, counts[None].astype(float))
        twice = metric(truth[repeated], predicted[repeated], np.ones((1, len(repeated))))
        np.testing.assert_allclose(once, twice, atol=1e-12)


def test_one_class_is_not_a_number_and_warns() -> None:
    truth = np.array([[True, True], [False, True]])
    with pytest.warns(UserWarning, match="1 of 2 labels"):
        scores = RocAuc()(truth, np.array([[1.0, 0.0], [0.0, 1.0]]), np.ones((1, 2)))
    assert scores[0, 0] == 1
    assert np.isnan(scores[0, 1])
    assert macro(scores)[0] == 1
    assert np.isnan(R2()(np.ones((5, 1)), np.zeros((5, 1)), np.ones((1, 5)))).all()


def test_table_of_gains() -> None:
    gains = np.array([[1.0, 0.5], [0.0, 1.0]])
    predicted = np.eye(2)[[1, 1, 0]]
    assert Gain(gains)(np.array([0, 1, 1]), predicted, np.ones((1, 3)))[0, 0] == pytest.approx(0.5)


# ----------------------------------------------------------------------------------------------------------- resampling


def test_interval_of_a_share_is_that_of_the_binomial() -> None:
    truth = np.zeros(400, dtype=np.int64)
    guesses = np.eye(2)[(np.arange(400) % 4 == 0).astype(int)]
    score, low, high = bootstrap_interval(Gain(), truth, guesses, resamples=4000)
    assert score == 0.75
    expected = np.array(binom.interval(0.95, 400, 0.75)) / 400
    np.testing.assert_allclose([low, high], expected, atol=0.006)


def test_interval_of_r2_covers() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(60):
        truth = rng.normal(size=(150, 1))
        found = bootstrap_interval(R2(), truth, truth + rng.normal(size=(150, 1)) * 0.5, resamples=300, seed=seed)
        covered += found.low <= 0.75 <= found.high
    assert covered >= binom.ppf(1e-3, 60, 0.9)


def test_groups_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    hits = np.repeat(rng.random(40) < 0.6, 10)
    guesses = np.eye(2)[1 - hits.astype(int)]
    truth = np.zeros(400, dtype=np.int64)
    _, low, high = bootstrap_interval(Gain(), truth, guesses)
    _, low_g, high_g = bootstrap_interval(Gain(), truth, guesses, groups=np.repeat(np.arange(40), 10))
    assert (high_g - low_g) / (high - low) == pytest.approx(np.sqrt(10), rel=0.2)


def test_permutation_equals_exhaustive_swaps() -> None:
    truth = np.zeros(9, dtype=np.int64)
    first = np.eye(2)[[0, 0, 0, 0, 0, 1, 0, 0, 1]]
    second = np.eye(2)[[1, 1, 0, 1, 0, 0, 1, 0, 1]]
    difference = (first[:, 0] - second[:, 0]) / 9
    signs = np.array(list(product((-1, 1), repeat=9)))
    exact = (np.abs(signs @ difference) >= abs(difference.sum()) - 1e-12).mean()
    found = paired_permutation(Gain(), truth, first, second, resamples=20_000)
    assert found.difference == pytest.approx(difference.sum())
    assert found.p_value == pytest.approx(exact, abs=0.015)


def test_permutation_is_calibrated_where_both_are_alike() -> None:
    rng = np.random.default_rng(0)
    p_values = []
    for seed in range(100):
        truth = rng.random((60, 1)) < 0.5
        noise = rng.normal(size=(2, 60, 1))
        first, second = (truth + 2 * each for each in noise)
        p_values.append(paired_permutation(RocAuc(), truth, first, 100 * second, resamples=200, seed=seed).p_value)
    assert (np.array(p_values) < 0.1).mean() <= binom.ppf(0.999, 100, 0.1) / 100
    assert abs(norm.ppf(np.clip(p_values, 1e-3, 1 - 1e-3)).mean()) < 0.5


def test_swapping_names_changes_only_the_sign() -> None:
    truth, (first, second) = np.arange(30) % 2, np.random.default_rng(0).normal(size=(2, 30, 2))
    one, two = paired_permutation(Gain(), truth, first, second), paired_permutation(Gain(), truth, second, first)
    assert one.difference == -two.difference
    assert one.p_value == two.p_value


# --------------------------------------------------------------------------------------------------------------- layers


def layered(n: int = 160, seed: int = 0):
    """Three layers; the second knows the class."""
    rng = np.random.default_rng(seed)
    classes = np.arange(n) % 4
    features = rng.normal(size=(n, 3, 12))
    features[:, 1, :4] += 2.5 * np.eye(4)[classes]
    return features, classes


@pytest.mark.parametrize("probe", ["ridge", "logistic"])
@pytest.mark.parametrize("held_out", [False, True], ids=["cross-validated", "test set"])
def test_the_layer_that_knows_is_found(probe: str, held_out: bool) -> None:
    features, classes = layered()
    found = probe_layers(
        features, classes, probe=probe, alphas=(1e-2, 1.0), test=np.arange(160) % 5 == 0 if held_out else None
    )
    assert found.layer == 1
    assert found.score.low <= found.score.score <= found.score.high
    assert found.score.score > 0.7
    assert found.curve[0].score < 0.45
    assert len(found.items) == (32 if held_out else 160)
    assert found.predicted.shape == (len(found.items), 4)


def test_nested_scores_equal_refitting_by_hand() -> None:
    features, classes = layered(60)
    alphas = (1e-3, 0.3)
    found = probe_layers(features, classes, alphas=alphas, folds=3, seed=5)
    targets = Targets.of(classes)
    fold = fold_numbers(targets, 3, seed=5)

    def scores(layer: int, alpha: float, train: np.ndarray, where: np.ndarray) -> np.ndarray:
        x = features[:, layer]
        z = (x - x[train].mean(0)) / x[train].std(0)
        return Ridge(alpha=alpha * train.sum()).fit(z[train], targets.coded[train]).predict(z[where])

    expected = np.empty((60, 4))
    for outer in range(3):
        table = {}
        for layer, alpha in product(range(3), alphas):
            hits = []
            for inner in set(range(3)) - {outer}:
                where = fold == inner
                guess = scores(layer, alpha, ~np.isin(fold, (outer, inner)), where).argmax(1)
                hits.append((guess == classes[where]).mean())
            table[layer, alpha] = np.mean(hits)
        layer = max(range(3), key=lambda each: max(table[each, alpha] for alpha in alphas))
        alpha = max(alphas, key=lambda each: table[layer, each])
        expected[fold == outer] = scores(layer, alpha, fold != outer, fold == outer)
    np.testing.assert_allclose(found.predicted, expected, atol=1e-8)


def test_control_task_knows_nothing() -> None:
    features, classes = layered(400)
    order = np.random.default_rng(3).permutation(400)
    control = probe_layers(features, Targets.of(classes).shuffled(order))
    assert control.score.low < 0.25 < control.score.high + 0.02


def test_choosing_layers_on_noise_is_not_rewarded() -> None:
    features = np.random.default_rng(0).normal(size=(200, 12, 20))
    assert probe_layers(features, np.arange(200) % 2).score.low < 0.5


def test_half_precision_and_regression() -> None:
    features, numbers = problem(200)
    found = probe_layers(features.astype(np.float16), numbers, metric=None)
    assert found.targets.goal == "regression"
    assert found.score.score > 0.8


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=12, max_size=60), st.integers(2, 4), st.integers(0, 5))
def test_groups_are_never_split(groups: list[int], folds: int, seed: int) -> None:
    names = np.array(groups)
    if len(set(groups)) < folds:
        with pytest.raises(InputError, match="fewer groups"):
            group_folds(names, folds, seed=seed)
        return
    found = group_folds(names, folds, seed=seed)
    assert all(len(set(found[names == name])) == 1 for name in set(groups))
    assert set(found) == set(range(folds))


# ------------------------------------------------------------------------------------------------------------ bad input


def test_bad_input_is_named() -> None:
    features, classes = layered(40)
    broken = features.copy()
    broken[7, 2, 1] = np.nan
    with pytest.raises(InputError, match="rows 7"):
        probe_layers(broken, classes)
    with pytest.raises(InputError, match="one target for each"):
        probe_layers(features, classes[:-1])
    with pytest.raises(InputError, match="a group is in training and test"):
        probe_layers(features, classes, test=np.arange(40) < 10, groups=np.arange(40) // 4)
    with pytest.raises(InputError, match="one class only"):
        probe_layers(features, np.zeros(40, dtype=int))
    with pytest.raises(InputError, match="one fold only"):
        probe_layers(features, np.arange(40) == 3)
    with pytest.raises(InputError, match="not finite"):
        Targets.of([1.0, np.inf])
    with pytest.raises(InputError, match="leaves items"):
        probe_layers(features, classes, test=np.ones(40, dtype=bool))
    with pytest.raises(InputError, match="logistic probe predicts classes"):
        probe_layers(features, classes.astype(float), probe="logistic")
    with pytest.raises(InputError, match="0 and 1"):
        Targets.of([[1, 2]], "multilabel")
    with pytest.raises(InputError, match="no such probe"):
        ProbeClassifier(probe="forest").fit(features[:, 0], classes)
    with pytest.raises(InputError, match="fewer items"):
        probe_layers(features[:3], [0, 1, 0])
