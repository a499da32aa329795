"""The estimator: scikit-learn's checks, exactness of what is kept, errors."""

from __future__ import annotations

import sys
import warnings

import numpy as np
import pandas
import pytest
import torch
from sklearn.datasets import load_digits, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from harmonia.core.errors import InputError, MissingDependency
from harmonia.networks.gkcl import (
    GaussiansConfig,
    KernelContinualClassifier,
    RandomBackbone,
    ReplayClassifier,
    VAEConfig,
    avalanche_strategy,
    learn_stream,
    permuted_tasks,
    split_classes,
)
from harmonia.networks.gkcl.learner import Learner
from harmonia.networks.gkcl.memory import Coreset
from harmonia.networks.gkcl.rivals import RidgePerTask
from harmonia.parts.gram import Matern, feature_ridge

SMALL = VAEConfig(latent=8, hidden=48, embedding=4, steps=350)


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return x[:600] / 16, y[:600]


@parametrize_with_checks(
    [
        KernelContinualClassifier(epochs=5, n_per_class=5, random_state=0),
        KernelContinualClassifier(memory="statistics", n_bases=64, random_state=0),
    ]
)
def test_scikit_learn(estimator, check):
    check(estimator)


def test_in_a_pipeline_with_a_grid():
    x, y = load_iris(return_X_y=True)
    search = GridSearchCV(
        make_pipeline(MinMaxScaler(), KernelContinualClassifier(memory="statistics", random_state=0)),
        {"kernelcontinualclassifier__n_bases": [16, 64]},
        cv=3,
    ).fit(x, y)
    assert search.best_score_ > 0.9


def test_what_is_frozen_is_never_forgotten(digits):
    stream = permuted_tasks(*digits, tasks=3)
    model = KernelContinualClassifier(memory="statistics", random_state=0)
    kept = []
    for task in stream:
        model.partial_fit(task.x, task.y, task_id=task.name)
        kept.append(model.decision_function(stream[0].x_test, stream[0].name))
    for later in kept[1:]:
        np.testing.assert_array_equal(kept[0], later)
    assert model.score(stream[2].x_test, stream[2].y_test, task_id=stream[2].name) > 0.9


def test_sums_are_the_regression_on_all_rows(digits):
    """Against a direct solve, in pieces, without some rows, and without a whole task."""
    x, y = digits
    model = KernelContinualClassifier(memory="statistics", n_bases=64, device="cpu", random_state=0)
    model.partial_fit(x[:300], y[:300], "a").partial_fit(x[300:], y[300:], "a")
    task = model.tasks_["a"]
    features = model.learner_.backbone(torch.from_numpy(x).float()).double()
    weights = feature_ridge(
        features, torch.nn.functional.one_hot(torch.from_numpy(y)).double(), float(task.head.penalty)
    )
    expected = float(task.head.scale) * features @ weights
    np.testing.assert_allclose(model.decision_function(x, "a"), expected.detach().numpy(), atol=1e-4)
    fresh = KernelContinualClassifier(memory="statistics", n_bases=64, random_state=0)
    fresh.partial_fit(x[:300], y[:300], "a")
    model.forget("a", x[300:], y[300:])
    np.testing.assert_allclose(model.decision_function(x, "a"), fresh.decision_function(x, "a"), atol=1e-4)
    model.partial_fit(x, y, "b").forget("b")
    assert list(model.tasks_) == ["a"]
    assert model.memory_bytes_ == fresh.memory_bytes_


def test_sums_of_a_coreset_give_the_coresets_classifier(digits):
    x, y = digits
    backbone = KernelContinualClassifier(memory="statistics", n_bases=64, random_state=0).fit(x, y).learner_.backbone
    rows = KernelContinualClassifier(backbone, memory="coreset", n_per_class=5, adapt="never", random_state=1)
    rows.partial_fit(x, y, "a")
    support, labels = rows.generate("a")
    sums = KernelContinualClassifier(backbone, memory="statistics", random_state=1).partial_fit(support, labels, "a")
    with torch.no_grad():
        sums.tasks_["a"].head.raw_penalty.copy_(rows.tasks_["a"].head.raw_penalty)
    np.testing.assert_allclose(sums.predict_proba(x, "a"), rows.predict_proba(x, "a"), atol=1e-4)


def test_one_classifier_for_all_tasks(digits):
    """Sums over tasks are sums over all rows: learning classes in parts costs nothing."""
    x, y = digits
    apart = KernelContinualClassifier(memory="statistics", task_aware=False, random_state=0)
    for task in split_classes(x, y, 2):
        apart.partial_fit(task.x, task.y, task.name)
    assert list(apart.classes_) == list(range(10))
    x_test = np.concatenate([task.x_test for task in split_classes(x, y, 2)])
    y_test = np.concatenate([task.y_test for task in split_classes(x, y, 2)])
    assert apart.score(x_test, y_test) > 0.9
    rows = KernelContinualClassifier(task_aware=False, n_per_class=10, epochs=3, random_state=0)
    for task in split_classes(x, y, 5):
        rows.partial_fit(task.x, task.y)
    assert rows.predict_proba(x_test).shape == (len(x_test), 10)
    assert rows.score(x_test, y_test) > 0.5


@pytest.mark.parametrize("kernel", ["laplace", "poly", "gaussian", "rff", "vrf", Matern(nu=0.5)], ids=str)
def test_kernels(digits, kernel):
    task = permuted_tasks(*digits, tasks=1)[0]
    model = KernelContinualClassifier(kernel=kernel, n_per_class=5, epochs=3, n_bases=128, random_state=0)
    model.partial_fit(task.x, task.y)
    assert model.score(task.x_test, task.y_test) > 0.7
    np.testing.assert_array_equal(model.predict(task.x_test), model.predict(task.x_test))


@pytest.mark.parametrize("memory", ["coreset", "generator", "gaussians"])
def test_memories(digits, memory):
    stream = permuted_tasks(*digits, tasks=2)
    config = {"generator": SMALL, "gaussians": GaussiansConfig(2)}.get(memory)
    model = KernelContinualClassifier(memory=memory, generator=config, n_per_class=5, epochs=3, random_state=0)
    result = learn_stream(model, stream)
    assert np.isnan(result.accuracies[0, 1])
    assert result.metrics.learning > 0.6
    x, y = model.generate("permutation 0", 4)
    assert x.shape[1:] == (64,)
    assert set(y) == set(range(10))
    assert result.memory_bytes == model.memory_bytes_ > 0
    again = KernelContinualClassifier(memory=memory, generator=config, n_per_class=5, epochs=3, random_state=0)
    np.testing.assert_array_equal(learn_stream(again, stream).accuracies, result.accuracies)


def test_an_encoder_gives_the_features(digits):
    task = permuted_tasks(*digits, tasks=1)[0]
    options = {"memory": "generator", "generator": SMALL, "epochs": 2, "device": "cpu", "random_state": 0}
    model = KernelContinualClassifier("encoder", **options)
    model.partial_fit(task.x, task.y, "a")
    assert model.score(task.x_test, task.y_test) > 0.7
    support, labels = (torch.from_numpy(part) for part in model.generate("a", 5))
    vae, (head, precise) = model.learner_.memory, (model.tasks_["a"].head, model.learner_.precise("a"))
    features = vae.encode(support, torch.zeros_like(labels))[0]
    torch.testing.assert_close(precise.backbone(support.double()).norm(dim=1), torch.ones(len(labels)).double())
    torch.testing.assert_close(
        precise.backbone(support.double()).float(), (features / features.norm(dim=1, keepdim=True)).detach()
    )
    assert float(head.scale) != 8


def test_a_release_is_private_and_still_of_use(digits):
    x, y = digits
    features = RandomBackbone(64, 64, 2.0, torch.Generator().manual_seed(0))
    model = KernelContinualClassifier(features, memory="statistics").partial_fit(x, y, "a").partial_fit(x, 9 - y, "b")
    before = model.decision_function(x, "a")
    loose, tight = (model.release(eps, seed=0) for eps in (10.0, 0.1))
    np.testing.assert_array_equal(model.decision_function(x, "a"), before)
    assert loose.score(x, y, task_id="a") > 0.6
    assert tight.score(x, y, task_id="a") < loose.score(x, y, task_id="a")
    again = model.release(10.0, seed=0)
    np.testing.assert_array_equal(again.predict(x, "b"), loose.predict(x, "b"))
    assert not np.allclose(model.release(10.0).decision_function(x, "a"), loose.decision_function(x, "a"))
    for other in (
        KernelContinualClassifier(memory="statistics", random_state=0),  # its lengthscale is read from rows
        KernelContinualClassifier(features, memory="statistics", kernel="rff"),
        KernelContinualClassifier(features, memory="gaussians", adapt="never"),
    ):
        with pytest.raises(InputError, match="no row has shaped"):
            other.fit(x, y).release(1.0)


def test_images_have_a_network_of_their_own():
    x, y = np.random.default_rng(0).random((24, 1, 8, 8)), np.arange(24) % 2
    x[y == 1, :, :4] *= 0.2
    model = KernelContinualClassifier(epochs=1, n_per_class=3, batch_size=8, random_state=0).partial_fit(x, y, "t")
    assert model.predict(x, "t").shape == (24,)
    sums = KernelContinualClassifier(memory="statistics", random_state=0).partial_fit(x, y, "t")
    assert sums.score(x, y, task_id="t") > 0.9
    first = KernelContinualClassifier(memory="statistics", adapt="first", epochs=1, batch_size=8, random_state=0)
    assert first.partial_fit(x, y, "t").score(x, y) > 0.5


def test_random_seeds_decide(digits):
    x, y = digits[0][:100], digits[1][:100]
    one, two, other = (
        KernelContinualClassifier(epochs=1, n_per_class=2, random_state=seed).fit(x, y).decision_function(x)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, two)
    assert not np.allclose(one, other)
    state = torch.get_rng_state()
    KernelContinualClassifier(epochs=1, n_per_class=2, random_state=0).fit(x, y)
    torch.testing.assert_close(torch.get_rng_state(), state)


def test_rivals(digits):
    stream = permuted_tasks(*digits, tasks=2)
    tuned = learn_stream(ReplayClassifier(range(10), epochs=5), stream)
    replayed = learn_stream(ReplayClassifier(range(10), Coreset(10), epochs=5), stream)
    ridge = learn_stream(RidgePerTask(), stream)
    assert tuned.metrics.forgetting > replayed.metrics.forgetting
    assert (tuned.memory_bytes, replayed.memory_bytes) == (0, 2 * 10 * 10 * 64)
    assert ridge.metrics.forgetting == 0
    assert ridge.memory_bytes == 2 * 4 * (64 * 10 + 10)


def test_bad_input(digits):
    x, y = digits[0][:80], digits[1][:80]

    def fitted(**options):
        return KernelContinualClassifier(epochs=1, n_per_class=2, random_state=0, **options).partial_fit(x, y, "a")

    model = fitted().partial_fit(x, y, "b")
    for call, words in (
        (lambda: model.predict(x), "'a', 'b'"),
        (lambda: model.predict(x, "c"), "not known"),
        (lambda: model.partial_fit(x, y, "a"), "learnt already"),
        (lambda: model.partial_fit(x, y, "c", classes=range(12)), "no rows"),
        (lambda: model.partial_fit(x, y, "c", classes=[0, 1]), "not named"),
        (lambda: model.forget("a", x, y), "sums only"),
        (lambda: fitted(memory="statistics").generate("a"), "no rows"),
        (lambda: fitted(memory="statistics", adapt="always"), "stay as they are"),
        (lambda: fitted(memory="statistics", kernel="laplace"), "linear kernels only"),
        (lambda: fitted(memory="pictures"), "no such 'memory'"),
        (lambda: fitted(kernel="rbf"), "no such kernel"),
        (lambda: fitted(penalty=-1.0), "not negative"),
        (lambda: fitted(backbone="decoder"), "no such backbone"),
        (lambda: fitted(backbone="encoder"), "need the generator"),
        (lambda: fitted(decay=0.0), "positive"),
        (lambda: fitted(batch_size=1), "batch_size"),
        (lambda: fitted(device="tpu"), "an unknown device"),
        (lambda: model.generate("a", 0), "counts rows"),
        (lambda: model.partial_fit(x * 1e40, y, "c"), "Scale the columns"),
        (lambda: model.predict(x * 1e30, "a"), "Scale the columns"),
        (lambda: KernelContinualClassifier().fit(np.ones((1, 1, 8, 8)), [0]), "two rows at least"),
        (lambda: KernelContinualClassifier(n_per_class=1).fit(np.ones((9, 1, 8, 8)), [0] * 9), "two rows at least"),
        (lambda: ReplayClassifier([0, 2]).partial_fit(x, y, "a"), "not named"),
        (lambda: ReplayClassifier(range(10)).partial_fit(x * np.nan, y, "a"), "finite"),
        (lambda: ReplayClassifier(range(10), epochs=1).partial_fit(x, y, "a").predict(x, "b"), "not known"),
        (lambda: RidgePerTask().partial_fit(x, y, "a").predict(x, "b"), "not known"),
        (lambda: fitted(memory="generator", generator=SMALL).partial_fit(3 * x, y, "b"), "0 to 3"),
        (lambda: model.forget("a").forget("b").predict(x), "forgotten"),
    ):
        with pytest.raises(InputError, match=words):
            call()
    images = np.random.default_rng(0).random((80, 1, 8, 8))
    with pytest.raises(ValueError, match=r"features|shape"):
        fitted().predict(images)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: KernelContinualClassifier().predict(x),
        lambda x: KernelContinualClassifier().generate("a"),
        lambda x: KernelContinualClassifier().forget("a"),
        lambda x: ReplayClassifier([0, 1]).predict(x, "a"),
        lambda x: RidgePerTask().predict(x, "a"),
    ],
)
def test_nothing_is_asked_of_what_has_learnt_nothing(call):
    with pytest.raises(NotFittedError):
        call(np.ones((2, 3)))


@pytest.mark.parametrize("memory", ["coreset", "generator", "gaussians", "statistics"])
def test_a_task_is_learnt_wholly_or_not_at_all(digits, memory, monkeypatch):
    x, y = digits[0][:200], digits[1][:200]
    options = {"memory": memory, "adapt": "first" if memory == "statistics" else "always", "epochs": 1}
    options |= {"n_per_class": 3, "generator": SMALL if memory == "generator" else None, "random_state": 0}

    def interrupt(*_):
        raise KeyboardInterrupt

    def interrupted(model, name):
        with monkeypatch.context() as patch:
            patch.setattr(Learner, "_check_batches", interrupt)
            if memory == "statistics" and name == "b":
                patch.setattr(Learner, "choose_penalty", interrupt)
            with pytest.raises(KeyboardInterrupt):
                model.partial_fit(x, y, name)

    model, whole = KernelContinualClassifier(**options), KernelContinualClassifier(**options)
    interrupted(model, "a")
    with pytest.raises(NotFittedError):
        model.predict(x)
    model.partial_fit(x, y, "a")
    before = model.decision_function(x, "a")
    interrupted(model, "b")
    assert list(model.tasks_) == ["a"]
    np.testing.assert_array_equal(model.decision_function(x, "a"), before)
    model.partial_fit(x, y, "b")
    whole.partial_fit(x, y, "a").partial_fit(x, y, "b")
    np.testing.assert_array_equal(model.decision_function(x, "a"), whole.decision_function(x, "a"))


@pytest.mark.parametrize("classes", [[0, 1], range(12)], ids=["not named", "no rows"])
def test_a_refused_first_task_leaves_nothing(digits, classes):
    x, y = digits[0][:80], digits[1][:80]
    model = KernelContinualClassifier(epochs=1, n_per_class=2, random_state=0)
    with pytest.raises(InputError):
        model.partial_fit(x, y, "a", classes=classes)
    assert not hasattr(model, "n_features_in_")
    with pytest.raises(NotFittedError):
        model.predict(x)
    model.fit(x[:, :9], y)
    with pytest.raises(InputError):
        model.fit(1e40 * x, y)
    assert model.predict(x[:, :9]).shape == (80,)


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_small_values_are_told_apart(scale):
    """Bytes between 0 and 1 would make one row of them all."""
    y = np.arange(200) % 2
    x = np.random.default_rng(0).random((200, 4)) * scale
    x[:, 0] = scale * 0.5 * y + 0.3 * x[:, 0]
    model = KernelContinualClassifier(adapt="never", random_state=0).partial_fit(x, y, "a")
    assert model.score(x, y) > 0.95


def test_as_many_rows_are_drawn_as_are_asked_for(digits):
    model = KernelContinualClassifier(epochs=1, n_per_class=8, random_state=0).fit(*digits)
    x, y = model.generate(0, 5)
    np.testing.assert_array_equal(np.bincount(y), np.full(10, 5))
    kept, labels = model.generate(0, 99)
    assert len(kept) == 80
    assert all((kept[labels == label] == row).all(1).any() for row, label in zip(x, y))
    few = KernelContinualClassifier(epochs=1, n_per_class=8, n_test_per_class=1, random_state=0).fit(*digits)
    np.testing.assert_array_equal(few.predict(digits[0]), model.predict(digits[0]))  # stored rows all count


def test_what_is_forgotten_leaves_no_trace_where_features_are_given(digits):
    x, y = digits
    for features, exact in ((RandomBackbone(64, 64, 2.0, torch.Generator().manual_seed(0)), True), (None, False)):
        model = KernelContinualClassifier(features, memory="statistics", n_bases=64, random_state=0)
        fresh = KernelContinualClassifier(features, memory="statistics", n_bases=64, random_state=0)
        model.partial_fit(3 * x[:300], y[:300], "a").partial_fit(x[300:], y[300:], "b").forget("a")
        scores = fresh.partial_fit(x[300:], y[300:], "b").decision_function(x, "b")
        assert np.array_equal(model.decision_function(x, "b"), scores) == exact
        assert not len(model.forget("b").classes_)


def test_a_class_may_come_in_two_tasks(digits):
    x, y = digits
    for aware in (True, False):
        model = KernelContinualClassifier(memory="statistics", task_aware=aware, random_state=0)
        model.partial_fit(x[:300], y[:300], "a")
        alone = model.decision_function(x[:5], "a")
        model.partial_fit(x[300:], y[300:], "b")
        together = model.decision_function(x[:5], "a")
        assert np.array_equal(alone, together) == aware
        assert list(model.classes_) == list(range(10))


def test_frames_pass_without_a_warning(digits):
    frame = pandas.DataFrame(digits[0], columns=[f"pixel {i}" for i in range(64)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KernelContinualClassifier(memory="statistics", random_state=0).fit(frame, digits[1]).predict(frame)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("memory", ["coreset", "generator", "gaussians", "statistics"])
def test_a_gpu_learns_too(digits, memory):
    stream = permuted_tasks(*digits, tasks=2)
    config = SMALL if memory == "generator" else None
    model = KernelContinualClassifier(memory=memory, generator=config, kernel="rff", device="cuda", random_state=0)
    assert learn_stream(model, stream).metrics.learning > 0.6
    if memory != "statistics":
        assert model.generate(stream[0].name, 4)[0].shape == (40, 64)


def test_a_poor_generator_is_told_of(digits):
    x, y = digits
    poor = VAEConfig(latent=1, hidden=2, embedding=1, steps=1, learning_rate=1e-6)
    with pytest.warns(UserWarning, match="nearest class of latents .*train the generator longer"):
        KernelContinualClassifier(memory="generator", generator=poor, epochs=2, random_state=0).partial_fit(x, y)


def test_a_missing_avalanche_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "avalanche", None)
    with pytest.raises(MissingDependency, match=r"harmonia\[avalanche\]"):
        avalanche_strategy(KernelContinualClassifier(), 10)
