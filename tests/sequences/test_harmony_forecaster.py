"""The forecaster: learns, repeats itself, survives files, sees no future, refuses what does not fit."""

from __future__ import annotations

import jaxtyping
import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError

from harmonia.core.errors import InputError
from harmonia.data.traces import synthetic_trace
from harmonia.media import Series
from harmonia.parts.forecasting import Persistence, chronological, evaluate, future_leak, rolling
from harmonia.sequences.harmony import HarmonyForecaster

LEVELS = np.array([0.05, 0.5, 0.95])


def waves(length=500, seed=0):
    generator = np.random.default_rng(seed)
    base = 5 + 2 * np.sin(2 * np.pi * np.arange(length) / 24)
    return Series(np.stack([10 * base, base], 1) + 0.2 * generator.standard_normal((length, 2)), ("load", "cpu"))


def small(**changes):
    settings = {"lookback": 24, "horizon": 4, "target": ["cpu"], "epochs": 6.0, "width": 16, "hidden": 32, "batch": 32}
    return HarmonyForecaster(**settings | changes)


@pytest.fixture
def as_users_run_it(monkeypatch):
    """Without the types that are checked in tests, so that what is wrong reaches the library's own checks."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="module")
def fitted():
    return small().fit([chronological(waves(), (0.8, 0.2))[0]])


def test_it_learns_and_is_calibrated(fitted):
    whole = waves()
    past = chronological(whole, (0.8, 0.2))[0]
    scores = evaluate({"ours": fitted}, past, whole, season=24, stride=3, variables=["cpu"])["ours"]
    alone = Series(whole.values[:, 1:], ["cpu"])
    rule = Persistence(4).fit([Series(past.values[:, 1:], ["cpu"])])
    persistence = evaluate({"rule": rule}, Series(past.values[:, 1:], ["cpu"]), alone, season=24, stride=3)["rule"]
    assert scores.crps < 0.6 * persistence.crps
    assert 0.7 < scores.coverage <= 1


def test_batches_change_nothing_and_draws_repeat(fitted):
    series = waves()
    at = np.array([100, 200, 300])
    together = rolling(fitted, series, at)
    alone = rolling(fitted, series, at[1:2])
    np.testing.assert_allclose(together.quantile(LEVELS)[:, 1], alone.quantile(LEVELS)[:, 0], rtol=1e-5)
    np.testing.assert_allclose(together.sample(5, seed=1)[:, 1], alone.sample(5, seed=1)[:, 0], rtol=1e-5)
    np.testing.assert_allclose(together.cdf(together.quantile(np.array([0.3]))[0]), 0.3, atol=1e-3)


def test_the_mean_is_that_of_draws(fitted):
    forecast = rolling(fitted, waves(), np.array([100]))
    np.testing.assert_allclose(forecast.mean, forecast.sample(4000).mean(0), rtol=0.02)


def test_a_seed_is_a_result():
    series = [waves(200)]
    one, two, other = (small(epochs=1.0, random_state=seed).fit(series) for seed in (0, 0, 1))
    found = [each.predict_distribution(series[0]).quantile(LEVELS) for each in (one, two, other)]
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.allclose(found[0], found[2])


def test_nothing_of_the_future_is_seen(fitted):
    series = waves(200)

    def forecast(values):
        return rolling(fitted, Series(values, series.names), np.array([120])).quantile(LEVELS)

    assert future_leak(forecast, series.values, 120) == 0
    assert future_leak(forecast, series.values, 119) > 0


def test_files_survive(fitted, tmp_path):
    again = HarmonyForecaster.load(fitted.save(tmp_path / "weights.safetensors"))
    first, second = (each.predict_distribution(waves()).quantile(LEVELS) for each in (fitted, again))
    np.testing.assert_array_equal(first, second)
    assert again.targets_ == ("cpu",)
    settings = set(vars(fitted)) - {"network_", "trained_", "names_", "lower_"}
    assert {name: getattr(again, name) for name in settings} == {name: getattr(fitted, name) for name in settings}
    (tmp_path / "other.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError):
        HarmonyForecaster.load(tmp_path / "other.safetensors")


@pytest.mark.parametrize("levels", [None, "auto", {"cpu": 3}])
def test_what_was_loaded_is_fitted_alike(levels, tmp_path):
    settings = {"layers": 1, "hidden": 8, "dropout": 0.0, "steps": 2, "levels": levels, "calendar": False}
    first = small(**settings).fit([waves(100)])
    again = HarmonyForecaster.load(first.save(tmp_path / "weights.safetensors"))
    assert again.network_.config == first.network_.config
    assert again.levels == levels
    again.fit([waves(100)])
    assert again.network_.config == first.network_.config
    for one, two in zip(first.network_.parameters(), again.network_.parameters(), strict=True):
        np.testing.assert_array_equal(one.detach(), two.detach())


def test_one_target_may_be_a_word():
    assert small(target="cpu", steps=1).fit([waves(100)]).targets_ == ("cpu",)


@pytest.mark.parametrize("distribution", ["normal", "realnvp", "studentt", "quantile"])
def test_every_family(distribution):
    forecaster = small(distribution=distribution, epochs=2.0).fit([waves(200)])
    low, middle, high = forecaster.predict_distribution(waves(200)).quantile(LEVELS)
    assert (low < middle).all()
    assert (middle < high).all()
    assert (low >= 0).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("distribution", ["normal", "realnvp", "spline", "studentt", "quantile"])
def test_training_on_a_gpu(distribution):
    forecaster = small(distribution=distribution, steps=4, device="cuda").fit([waves(200)])
    assert np.isfinite(forecaster.predict_distribution(waves(200)).quantile(LEVELS)).all()


def test_many_workloads_and_the_calendar():
    traces = [Series(t.values[:, :2], t.names[:2], t.times) for t in (synthetic_trace(s, days=3) for s in range(2))]
    forecaster = small(levels="auto", epochs=1.0).fit(traces)
    assert forecaster.network_.config.marks == 4
    assert forecaster.predict_distribution(traces[1]).shape == (1, 4, 1)
    with pytest.raises(InputError, match="calendar"):
        forecaster.forecast(traces[0].values[None, :24])


def test_training_goes_on_from_a_network(fitted):
    further = small(steps=1, start=fitted, learning_rate=1e-9).fit([waves()])
    first, second = (each.predict_distribution(waves()).quantile(LEVELS) for each in (fitted, further))
    np.testing.assert_allclose(first, second, rtol=1e-4)


class TestBadInput:
    def test_windows(self, fitted):
        with pytest.raises(InputError, match="shape"):
            fitted.forecast(np.zeros((1, 20, 2)))
        with pytest.raises(InputError, match="not finite"):
            fitted.forecast(np.full((1, 24, 2), np.nan))
        with pytest.raises(InputError, match="other variables"):
            fitted.predict_distribution(Series(np.zeros((30, 2))))
        with pytest.raises(InputError, match="24 steps"):
            fitted.predict_distribution(waves(10))

    @pytest.mark.parametrize("values", [[[1.0, 2.0]], [[1.0], [1.0, 2.0]], np.zeros((24, 2))])
    def test_what_is_no_window(self, fitted, values, as_users_run_it):
        with pytest.raises(InputError, match="array of the shape"):
            fitted.forecast(values)

    def test_before_it_is_fitted(self, tmp_path):
        for use in (
            lambda: small().predict_distribution(waves()),
            lambda: small().forecast(np.zeros((1, 24, 2))),
            lambda: small().save(tmp_path / "weights.safetensors"),
            lambda: small().checkpoint(),
        ):
            with pytest.raises(NotFittedError):
                use()
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("series", [waves(), waves().table().frame, [], [waves().values]])
    def test_what_is_no_list_of_series(self, series, as_users_run_it):
        with pytest.raises(InputError, match="list of Series"):
            small().fit(series)

    @pytest.mark.parametrize(
        ("change", "what"),
        [
            ({"distribution": "flow"}, "'spline'"),
            ({"batch": 0}, "batch 0"),
            ({"steps": -1}, "steps -1"),
            ({"epochs": np.nan}, "epochs nan"),
            ({"dropout": 1.0}, "dropout"),
            ({"levels": "foo"}, "'foo'"),
        ],
    )
    def test_settings(self, change, what, as_users_run_it):
        with pytest.raises(InputError, match=what):
            small(**change).fit([waves(100)])

    def test_fitting(self):
        with pytest.raises(InputError, match="successive"):
            small().fit([waves(20)])
        with pytest.raises(InputError, match="no such variable"):
            small(target=["gpu"]).fit([waves()])
        with pytest.raises(InputError, match="same variables"):
            small().fit([waves(), Series(np.ones((100, 3)))])
