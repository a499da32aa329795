"""S4D's estimators and forecaster: scikit-learn's checks, lengths, rates, streams, files, resumed runs, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.estimator_checks import parametrize_with_checks

from harmonia.core.errors import InputError, WeightsError
from harmonia.core.progress import watched
from harmonia.media import Series
from harmonia.parts.forecasting import SeasonalNaive, future_leak
from harmonia.sequences.s4d import S4DClassifier, S4DForecaster, S4DRegressor

TINY = {"d_model": 8, "n_layers": 1, "d_state": 8, "dropout": 0.0, "device": "cpu"}


@parametrize_with_checks(
    [
        S4DClassifier(**TINY, epochs=6, batch_size=16, learning_rate=0.05),
        S4DRegressor(**TINY, pooling="last", dt_min=0.05, dt_max=1.0, epochs=30, batch_size=40, learning_rate=0.05),
    ]
)
def test_scikit_learn(estimator, check):
    check(estimator)


def waves(count=48, lengths=(40, 60), seed=0):
    """Slow and fast waves of different lengths in one of two channels, noise in the other."""
    random = np.random.default_rng(seed)
    values, labels = [], []
    for i in range(count):
        t = np.arange(random.integers(*lengths))
        wave = np.sin((0.2 + 0.3 * (i % 2)) * t + random.uniform(0, 6))
        values.append(np.stack([wave, 0.1 * random.standard_normal(len(t))], 1))
        labels.append("fast" if i % 2 else "slow")
    return values, np.array(labels)


@pytest.fixture(scope="module")
def fitted():
    values, labels = waves()
    return S4DClassifier(**TINY, epochs=25, batch_size=12, learning_rate=0.03).fit(values, labels)


def test_lengths_may_differ(fitted):
    values, labels = waves(seed=1)
    assert fitted.score(values, labels) >= 0.9
    # Each alone gives what all together gave.
    alone = np.concatenate([fitted.predict_proba([value]) for value in values[:5]])
    np.testing.assert_allclose(alone, fitted.predict_proba(values)[:5], atol=1e-5)


def test_twice_as_dense_signals_are_known_by_their_rate(fitted):
    random = np.random.default_rng(3)
    dense, labels = [], []
    for i in range(30):
        t = np.arange(100) / 2
        wave = np.sin((0.2 + 0.3 * (i % 2)) * t + random.uniform(0, 6))
        dense.append(np.stack([wave, 0.1 * random.standard_normal(len(t))], 1))
        labels.append("fast" if i % 2 else "slow")
    plain = fitted.score(dense, labels)
    assert fitted.set_sampling_rate(0.5).score(dense, labels) > max(0.9, plain)
    fitted.set_sampling_rate(1.0)
    with pytest.raises(InputError, match="positive"):
        fitted.set_sampling_rate(0.0)


def test_streams_end_where_predictions_are(fitted):
    values, _ = waves(4)
    for value in values:
        stream = fitted.stream()
        found = np.concatenate([stream.push(piece) for piece in np.array_split(value, 3)])
        assert found.shape == (len(value), 2)
        assert stream.samples == len(value)
        np.testing.assert_allclose(found[-1], fitted.predict_proba([value])[0], atol=1e-5)
        np.testing.assert_allclose(found.sum(1), 1)
        stream.reset()
        np.testing.assert_allclose(stream.push(value[:5]), found[:5], atol=1e-5)
    with pytest.raises(InputError, match="2 channels"):
        fitted.stream().push(np.zeros((3, 1)))
    with pytest.raises(InputError, match="NaN"):
        fitted.stream().push([[np.nan, 0.0]])


def test_files_hold_everything(fitted, tmp_path):
    values, _ = waves(6)
    path = fitted.save(tmp_path / "model.safetensors")
    again = S4DClassifier.load(path)
    np.testing.assert_array_equal(again.predict(values), fitted.predict(values))
    np.testing.assert_allclose(again.predict_proba(values), fitted.predict_proba(values), atol=1e-7)
    with pytest.raises(WeightsError, match="no S4DRegressor"):
        S4DRegressor.load(path)
    (tmp_path / "other.safetensors").write_bytes(b"not a file of weights")
    with pytest.raises(WeightsError):
        S4DClassifier.load(tmp_path / "other.safetensors")


def test_regression_of_several_targets_and_its_file(tmp_path):
    random = np.random.default_rng(0)
    X = random.standard_normal((80, 30, 1))
    y = np.stack([X[:, :, 0].mean(1), 5 + 3 * X[:, -5:, 0].mean(1)], 1)
    model = S4DRegressor(**TINY, epochs=60, learning_rate=0.03, bidirectional=True).fit(X, y)
    assert model.score(X, y) > 0.7
    again = S4DRegressor.load(model.save(tmp_path / "two.safetensors"))
    np.testing.assert_allclose(again.predict(X), model.predict(X), atol=1e-6)
    with pytest.raises(InputError, match="looks ahead"):
        model.stream()


def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path):
    values, labels = waves(24)
    options = {**TINY, "epochs": 10, "batch_size": 6, "dropout": 0.2}

    class Stop(BaseException):
        pass

    class Impatient:
        def step(self, label, done, total):
            if done == 25:
                raise KeyboardInterrupt

        def say(self, message):
            pass

    with pytest.raises(KeyboardInterrupt), watched(Impatient()):
        S4DClassifier(**options, checkpoints=str(tmp_path)).fit(values, labels)
    resumed = S4DClassifier(**options, checkpoints=str(tmp_path)).fit(values, labels)
    straight = S4DClassifier(**options).fit(values, labels)
    np.testing.assert_allclose(resumed.predict_proba(values), straight.predict_proba(values), atol=1e-6)


def test_fits_are_reproducible_and_leave_the_generator_alone():
    values, labels = waves(12)
    before = torch.random.get_rng_state()
    first, second = (S4DClassifier(**TINY, epochs=2).fit(values, labels).predict_proba(values) for _ in range(2))
    other = S4DClassifier(**TINY, epochs=2, random_state=1).fit(values, labels).predict_proba(values)
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 2.5}, "batch_size"),
        ({"learning_rate": -1}, "learning_rate"),
        ({"pooling": "none"}, "one output a sequence"),
        ({"d_state": 5}, "conjugate pairs"),
        ({"n_ssm": 3}, "divides the width"),
        ({"weight_decay": -1}, "weight_decay"),
        ({"weight_decay": None}, "weight_decay"),
    ],
    ids=str,
)
def test_impossible_options_are_refused(options, message):
    values, labels = waves(8)
    with pytest.raises(InputError, match=message):
        S4DClassifier(**{**TINY, **options}).fit(values, labels)


def test_sequences_that_do_not_fit_are_refused(fitted):
    values, labels = waves(8)
    spoilt = [value.copy() for value in values]
    spoilt[3][7, 1] = np.inf
    for bad, message in (
        (spoilt, "sequence 3, sample 7, channel 1"),
        ([*values[:7], values[7][:, :1]], "as many channels"),
        ([*values[:7], values[7][:0]], "have samples"),
        (np.zeros((8, 3, 2, 2)), "no sequences"),
        (np.zeros((8, 0, 2)), "no sequences"),
    ):
        with pytest.raises(InputError, match=message):
            S4DClassifier(**TINY, epochs=1).fit(bad, labels)
    with pytest.raises(InputError, match="7 for 8"):
        S4DClassifier(**TINY, epochs=1).fit(values, labels[:7])
    with pytest.raises(InputError, match="two classes"):
        S4DClassifier(**TINY, epochs=1).fit(values, ["same"] * 8)
    with pytest.raises(InputError, match="1 channels"):
        fitted.predict([np.zeros((5, 1))])
    with pytest.raises(InputError, match="targets contain"):
        S4DRegressor(**TINY, epochs=1).fit(values, [1.0] * 7 + [np.nan])


def test_more_channels_than_samples_are_told():
    class Listener:
        said: tuple[str, ...] = ()

        def step(self, label, done, total):
            pass

        def say(self, message):
            self.said += (message,)

    listener = Listener()
    with watched(listener):
        S4DClassifier(**TINY, epochs=1).fit(np.random.default_rng(0).standard_normal((4, 3, 9)), [0, 1, 0, 1])
    assert any("more channels than samples" in said for said in listener.said)


def test_checkpoints_are_not_taken_for_those_of_other_data_or_options(tmp_path):
    values, labels = waves(12)
    options = {**TINY, "epochs": 3, "batch_size": 6, "checkpoints": str(tmp_path)}
    found = S4DClassifier(**options).fit(values, labels).predict_proba(values)
    swapped = np.where(labels == "slow", "fast", "slow")
    for X, y, other, message in (
        (values, swapped, {}, "other data"),
        ([*values[:11], values[11] + 1], labels, {}, "other data"),
        (values, labels, {"init": "rand"}, "another network"),
        (values, labels, {"dropout": 0.4}, "another network"),
        (values, labels, {"learning_rate": 1e-2}, "another plan"),
        (values, labels, {"ssm_learning_rate": 1e-4}, "other optimizers"),
    ):
        with pytest.raises(InputError, match=message):
            S4DClassifier(**{**options, **other}).fit(X, y)
    np.testing.assert_array_equal(S4DClassifier(**options).fit(values, labels).predict_proba(values), found)


@pytest.mark.parametrize(("offset", "scale"), [(1e9, 1.0), (-1e12, 1.0), (0.0, 1e39), (0.0, 1e-42)])
def test_levels_and_units_do_not_matter(offset, scale):
    X = np.stack([np.sin(0.3 * (1 + i % 2) * np.arange(64) + i) for i in range(24)])
    y = np.arange(24) % 2
    options = {**TINY, "epochs": 20, "batch_size": 8, "learning_rate": 0.03}
    plain, moved = S4DClassifier(**options).fit(X, y), S4DClassifier(**options).fit(scale * X + offset, y)
    found = moved.predict_proba(scale * X + offset)
    np.testing.assert_allclose(found, plain.predict_proba(X), atol=1e-2)
    np.testing.assert_allclose(moved.stream().push(scale * X[0] + offset)[-1], found[0], atol=1e-4)


def test_values_that_no_unit_can_hold_are_refused():
    X, y = np.random.default_rng(0).standard_normal((8, 10)), np.arange(8) % 2
    for scale in (1e300, 1e-200):
        with pytest.raises(InputError, match="nearer to their size"):
            S4DClassifier(**TINY, epochs=1).fit(scale * X, y)
    model = S4DClassifier(**TINY, epochs=1).fit(X, y)
    for predict in (model.predict, lambda far: model.stream().push(far[0])):
        with pytest.raises(InputError, match="units of training"):
            predict(1e60 * X)


def test_files_hold_the_rate_and_all_options(tmp_path):
    values, labels = waves(12)
    options = {"epochs": 2, "batch_size": np.int64(5), "weight_decay": 0.1, "ssm_learning_rate": 2e-4, "n_ssm": 2}
    model = S4DClassifier(**TINY, **options, random_state=3).fit(values, labels)
    model.set_sampling_rate(2.0)
    again = S4DClassifier.load(model.save(tmp_path / "model.safetensors"))
    assert again.get_params() == model.get_params()
    np.testing.assert_allclose(again.predict_proba(values), model.predict_proba(values), atol=1e-7)


def test_what_is_no_number_and_what_is_no_stream_is_refused(fitted):
    X = np.random.default_rng(0).standard_normal((8, 10))
    with pytest.raises(InputError, match="samples are numbers"):
        fitted.stream().push(["a"])
    with pytest.raises(InputError, match="samples are numbers"):
        S4DClassifier(**TINY, epochs=1).fit([np.array(["a", "b"]), np.array(["c"])], [0, 1])
    with pytest.raises(InputError, match="targets are numbers"):
        S4DRegressor(**TINY, epochs=1).fit(X, ["a"] * 8)
    normalised = S4DClassifier(**TINY, epochs=1, discretization="dss").fit(X, np.arange(8) % 2)
    with pytest.raises(InputError, match="no recurrence"):
        normalised.stream()


# ----------------------------------------------------------------------------------------------------------- forecast


def test_forecasts_beat_the_seasonal_rule_on_a_chirp_and_see_no_future():
    t = np.arange(600)
    wave = Series(np.sin(2 * np.pi * t * (1 + t / 4000) / 25) + 3)
    past = Series(wave.values[:500])
    model = S4DForecaster(6, lookback=50, d_model=12, n_layers=1, d_state=16, steps=250).fit([past])
    rule = SeasonalNaive(25, 6).fit([past])
    windows = np.stack([wave.values[at - 50 : at] for at in range(500, 590, 6)])
    truth = np.stack([wave.values[at : at + 6] for at in range(500, 590, 6)])
    ours = np.abs(model.forecast(windows).mean - truth).mean()
    theirs = np.abs(rule.forecast(windows[:, -rule.lookback :]).mean - truth).mean()
    assert ours < theirs
    leak = future_leak(lambda values: model.point(values[None, 450:500]), wave.values, origin=500)
    assert leak == 0
    # In other units and at another level the forecast is the same.
    np.testing.assert_allclose(model.point(100 * windows - 7), 100 * model.point(windows) - 7, rtol=1e-3, atol=0.05)


def test_forecasters_say_what_they_lack():
    with pytest.raises(InputError, match="horizon"):
        S4DForecaster(0)
    with pytest.raises(InputError, match="knows nothing"):
        S4DForecaster(2, lookback=8).point(np.zeros((1, 8, 1)))
    with pytest.raises(InputError, match="needs 10 values"):
        S4DForecaster(2, lookback=8).fit([Series(np.zeros(9))])


def test_forecasts_do_not_depend_on_the_level():
    wave = np.sin(np.arange(300) / 5)
    options = {"lookback": 32, "d_model": 8, "n_layers": 1, "d_state": 8, "steps": 60, "device": "cpu"}
    plain, far = (S4DForecaster(4, **options).fit([Series(wave + level)]) for level in (0, 1e9))
    np.testing.assert_allclose(far.predict(wave + 1e9) - 1e9, plain.predict(wave), atol=1e-3)


def test_forecasters_are_kept_in_files(tmp_path):
    t = np.arange(200)
    series = Series(np.stack([np.sin(t / 5), np.cos(t / 5)], 1), ("sine", "cosine"))
    options = {"lookback": 20, "d_model": 4, "n_layers": 1, "d_state": 4, "init": "inv", "steps": 5, "batch_size": 7}
    model = S4DForecaster(3, **options, weight_decay=0.0, random_state=4, device="cpu").fit([series])
    again = S4DForecaster.load(model.save(tmp_path / "model.safetensors"))
    assert model.predict(series).shape == (3, 2)
    np.testing.assert_array_equal(again.predict(series), model.predict(series))
    np.testing.assert_array_equal(again.predict(series.values[-20:]), model.point(series.values[None, -20:])[0])
    windows, levels = series.values[None, -20:], np.array([0.1, 0.9])
    np.testing.assert_array_equal(again.forecast(windows).quantile(levels), model.forecast(windows).quantile(levels))
    learnt = {"model_", "history_", "errors_"}
    assert {k: v for k, v in vars(again).items() if k not in learnt} == {
        k: v for k, v in vars(model).items() if k not in learnt
    }
    with pytest.raises(WeightsError, match="no S4DClassifier"):
        S4DClassifier.load(tmp_path / "model.safetensors")
    for window, message in (
        (Series(series.values, ("cosine", "sine")), "not those of the fit"),
        (series.values[:19], "20 rows"),
        (series.values[:, :1], "2 variables"),
    ):
        with pytest.raises(InputError, match=message):
            model.predict(window)
    for lost in (lambda model: model.predict(series), lambda model: model.save(tmp_path / "none.safetensors")):
        with pytest.raises(InputError, match="knows nothing"):
            lost(S4DForecaster(3, **options))
