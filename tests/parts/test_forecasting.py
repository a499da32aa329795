"""Scores against integrals and brute force; rules against their definitions; no forecast sees the future."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_pinball_loss

from harmonia.core.errors import InputError
from harmonia.media import Series
from harmonia.parts import forecasting as fc


def waves(length=400, season=24, seed=0):
    generator = np.random.default_rng(seed)
    base = 5 + 2 * np.sin(2 * np.pi * np.arange(length) / season)
    return Series(np.stack([base, 3 * base], 1) + 0.3 * generator.standard_normal((length, 2)), ("a", "b"))


class TestScores:
    def test_crps_is_its_integral(self):
        found = fc.crps_normal(np.array(1.0), np.array(2.0), np.array(2.5))

        def square(x):
            return (stats.norm.cdf(x, 1, 2) - (x >= 2.5)) ** 2

        exact = integrate.quad(square, -30, 2.5)[0] + integrate.quad(square, 2.5, 30)[0]
        assert found == pytest.approx(exact, abs=1e-7)

    @given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30), st.floats(-1e3, 1e3))
    @settings(max_examples=40, deadline=None)
    def test_crps_of_samples_is_its_double_sum(self, values, observed):
        x = np.array(values)
        pairs = np.abs(x[:, None] - x)
        near = np.abs(x - observed).mean()
        count = len(x)
        assert fc.crps_samples(x, np.array(observed)) == pytest.approx(near - pairs.mean() / 2, abs=1e-9)
        fair = near - pairs.sum() / (2 * count * (count - 1))
        assert fc.crps_samples(x, np.array(observed), fair=True) == pytest.approx(fair, abs=1e-9)

    def test_crps_of_a_normal_without_spread_is_its_absolute_error(self):
        found = fc.crps_normal(np.zeros(3), np.array([0.0, 1e-12, np.nan]), np.ones(3))
        np.testing.assert_allclose(found, [1, 1, np.nan])

    def test_crps_of_many_normal_draws_nears_the_closed_form(self):
        draws = np.random.default_rng(0).normal(1, 2, 200_000)
        exact = fc.crps_normal(np.array(1.0), np.array(2.0), np.array(0.3))
        assert fc.crps_samples(draws, np.array(0.3), fair=True) == pytest.approx(exact, abs=5e-3)

    def test_crps_of_a_point_is_its_absolute_error(self):
        assert fc.crps_samples(np.array([3.0]), np.array(5.0)) == 2.0
        with pytest.raises(InputError, match="two draws"):
            fc.crps_samples(np.array([3.0]), np.array(5.0), fair=True)

    def test_pinball_is_scikit_learns_and_integrates_to_half_the_crps(self):
        levels = (np.arange(2000) + 0.5) / 2000
        quantiles = stats.norm.ppf(levels, 1, 2)
        losses = fc.pinball(quantiles, levels, np.array(2.5))
        assert losses[300] == pytest.approx(mean_pinball_loss([2.5], quantiles[300:301], alpha=levels[300]))
        exact = fc.crps_normal(np.array(1.0), np.array(2.0), np.array(2.5))
        assert 2 * losses.mean() == pytest.approx(exact, abs=1e-4)

    def test_energy_score_in_one_dimension_is_crps(self):
        samples = np.random.default_rng(1).normal(size=(50, 7, 1))
        observed = np.linspace(-2, 2, 7)[:, None]
        np.testing.assert_allclose(
            fc.energy_score(samples, observed), fc.crps_samples(samples[..., 0], observed[:, 0]), atol=1e-12
        )

    def test_energy_score_prefers_the_truth(self):
        generator = np.random.default_rng(2)
        truth = generator.multivariate_normal([0, 0], [[1, 0.9], [0.9, 1]], 150)
        right = generator.multivariate_normal([0, 0], [[1, 0.9], [0.9, 1]], 150)
        wrong = generator.multivariate_normal([0, 0], [[1, -0.9], [-0.9, 1]], 150)
        scores = [fc.energy_score(np.repeat(x[:, None], 150, 1), truth).mean() for x in (right, wrong)]
        assert scores[0] < scores[1]

    def test_mase_scale(self):
        values = np.array([[1.0, 7.0], [2.0, 7.0], [4.0, 7.0]])
        scale = fc.mase_scale(values)
        assert scale[0] == 1.5
        assert np.isnan(scale[1])
        with pytest.raises(InputError, match="more than 3"):
            fc.mase_scale(values, 3)


class TestForecast:
    def test_samples(self):
        values = np.random.default_rng(0).normal(size=(500, 2, 3, 1))
        forecast = fc.SampleForecast(values)
        assert forecast.shape == (2, 3, 1)
        assert forecast.sample(500) is forecast.values
        assert forecast.sample(7, seed=3).shape == (7, 2, 3, 1)
        np.testing.assert_array_equal(forecast.sample(7, seed=3), forecast.sample(7, seed=3))
        middle = forecast.quantile(np.array([0.5]))[0]
        np.testing.assert_allclose(forecast.cdf(middle), 0.5, atol=0.01)
        assert forecast.resolution == 1 / 500

    @pytest.mark.parametrize(
        ("values", "what"),
        [(np.zeros((3, 1, 1)), "shape"), (np.zeros((0, 1, 1, 1)), "shape"), (np.full((1, 1, 1, 1), np.nan), "finite")],
    )
    def test_bad_futures(self, values, what):
        with pytest.raises(InputError, match=what):
            fc.SampleForecast(values)

    def test_bad_level(self):
        with pytest.raises(InputError, match="level"):
            fc.SampleForecast(np.zeros((2, 1, 1, 1))).quantile(np.array([1.2]))


class TestWindows:
    def test_windows_are_slices_and_do_not_cross_series(self):
        one, two = waves(50), waves(30, seed=1)
        windows = fc.Windows([one, two], lookback=10, horizon=4)
        assert len(windows) == (50 - 13) + (30 - 13)
        past, future, marks = windows.at([0, 37])
        np.testing.assert_array_equal(past[0], one.values[:10])
        np.testing.assert_array_equal(future[0], one.values[10:14])
        np.testing.assert_array_equal(past[1], two.values[:10])
        assert marks.shape == (2, 10, 4)

    def test_marks(self):
        times = np.array(["2024-02-29T23:50", "2024-12-31T00:00"], "datetime64[m]")
        np.testing.assert_array_equal(fc.calendar_marks(times, scaled=False), [[2, 29, 3, 23], [12, 31, 1, 0]])
        scaled = fc.calendar_marks(times)
        assert (np.abs(scaled) <= 0.5).all()
        assert scaled[0, 3] == scaled[1, 0] == 0.5
        assert not fc.calendar_marks(np.arange(3.0)).any()

    def test_bad_series(self):
        with pytest.raises(InputError, match="same variables"):
            fc.Windows([waves(50), Series(np.zeros(50))], 10, 4)
        with pytest.raises(InputError, match="successive"):
            fc.Windows([waves(12)], 10, 4)
        with pytest.raises(InputError, match="sum to 1"):
            fc.chronological(waves(50), (0.5, 0.6))
        with pytest.raises(InputError, match="too short"):
            fc.chronological(waves(2))


class TestRules:
    def test_persistence_and_seasonal_naive_by_hand(self):
        series = waves()
        window = series.values[None, :24]
        np.testing.assert_array_equal(fc.Persistence(5).point(window[:, -1:])[0], np.repeat(window[0, -1:], 5, 0))
        np.testing.assert_array_equal(fc.SeasonalNaive(24, 30).point(window)[0, 24:], window[0, :6])

    def test_drift_goes_on(self):
        lines = np.array([1.0, -2.0]) + np.arange(6.0)[:, None] * np.array([0.5, 3.0])
        found = fc.Drift(horizon=2, lookback=4).fit([Series(lines)]).forecast(lines[None, :4])
        np.testing.assert_allclose(found.mean[0], lines[4:])
        with pytest.raises(InputError, match="two values"):
            fc.Drift(horizon=2, lookback=1)

    @pytest.mark.parametrize("season", [0, 24])
    def test_ridge_is_scikit_learns(self, season):
        series = waves()
        rule = fc.RidgeAR(horizon=3, order=6, season=season, penalty=0.01)
        rule.fit([series])
        scaled = (series.values - series.values.mean(0)) / series.values.std(0)
        rows = np.arange(rule.lookback, len(series) - 2)
        lags = [scaled[rows - lag, 1] for lag in rule._lags(2)]
        reference = Ridge(alpha=0.01 * len(rows)).fit(np.stack(lags, 1), scaled[rows + 2, 1])
        window = series.values[None, : rule.lookback]
        inputs = np.array([[scaled[rule.lookback - lag, 1] for lag in rule._lags(2)]])
        expected = reference.predict(inputs) * series.values.std(0)[1] + series.values.mean(0)[1]
        assert rule.point(window)[0, 2, 1] == pytest.approx(expected[0], rel=1e-9)

    def test_errors_are_those_of_the_fitted_series(self):
        series = waves()
        rule = fc.SeasonalNaive(24, 6, draws=50).fit([series])
        assert rule.errors_.shape == (50, 6, 2)
        np.testing.assert_allclose(rule.errors_[0], series.values[24:30] - series.values[:6])
        forecast = rule.forecast(series.values[None, :24])
        assert fc.interval_coverage(*forecast.quantile(np.array([0.05, 0.95])), series.values[None, 24:30]) > 0.6

    def test_seasonal_rules_beat_persistence_on_a_season(self):
        whole = waves(600)
        past = fc.chronological(whole, (0.7, 0.3))[0]
        rules = {name: rule.fit([past]) for name, rule in fc.baselines(24, 6, classical=False).items()}
        scores = fc.evaluate(rules, past, whole, season=24, stride=5)
        assert max(scores["seasonal naive"].crps, scores["seasonal AR ridge"].crps) < scores["persistence"].crps
        assert 0.8 < scores["seasonal AR ridge"].coverage <= 1
        one = fc.evaluate(rules, past, whole, season=24, stride=5, variables=["b"])
        assert one["persistence"].crps > scores["persistence"].crps

    @pytest.mark.parametrize("season", [1, 4, 9, 10, 12])
    def test_a_rule_stands_in_a_table_once(self, season):
        series = waves()
        plain, seasonal = (fc.RidgeAR(3, season=each).fit([series]) for each in (0, season))
        same = all(np.array_equal(plain._lags(step), seasonal._lags(step)) for step in range(3))
        assert same == (season < 10)
        assert ("seasonal AR ridge" in fc.baselines(season, 3)) != same
        if same:
            window = series.values[None, -plain.lookback :]
            np.testing.assert_array_equal(plain.point(window), seasonal.point(window))

    def test_bad_input(self):
        with pytest.raises(InputError, match="values to fit to"):
            fc.SeasonalNaive(24, 6).fit([waves(20)])
        with pytest.raises(InputError, match="season"):
            fc.SeasonalNaive(0, 6)
        with pytest.raises(InputError, match="lags"):
            fc.RidgeAR(3, order=0)
        rule = fc.SeasonalNaive(24, 6).fit([waves()])
        with pytest.raises(InputError, match="window has 24"):
            rule.forecast(np.zeros((1, 20, 2)))
        with pytest.raises(InputError, match="beginning"):
            fc.evaluate({"n": rule}, waves(100), waves(400, seed=1), season=24)
        with pytest.raises(InputError, match="before its origin"):
            fc.rolling(rule, waves(), np.array([3]))

    def test_one_series_is_enough(self):
        one, listed = (fc.Persistence(2).fit(each) for each in (waves(), [waves()]))
        np.testing.assert_array_equal(one.errors_, listed.errors_)

    @pytest.mark.parametrize(
        ("rule", "series", "what"),
        [
            (fc.Persistence(2), [], "fitted to series"),
            (fc.RidgeAR(2), [Series(np.zeros((40, 1))), Series(np.zeros((40, 2)))], "same variables"),
            (fc.Persistence(2, draws=0), waves(), "one draw"),
            (fc.Persistence(0), waves(), "one step"),
        ],
        ids=["none", "other variables", "no draws", "no horizon"],
    )
    def test_what_cannot_be_fitted(self, rule, series, what):
        with pytest.raises(InputError, match=what):
            rule.fit(series)
        assert not hasattr(rule, "errors_")

    def test_only_series_are_fitted_to(self):
        with pytest.raises(InputError, match="fitted to series"):
            fc.series_of([np.arange(40.0)])

    @pytest.mark.parametrize(
        "rule", [fc.Persistence(3), fc.RidgeAR(3, order=4), fc.LinearWindow(3, 4)], ids=["last", "ridge", "linear"]
    )
    def test_nothing_is_known_before_fit(self, rule):
        window = np.zeros((1, rule.lookback, 1))
        with pytest.raises(NotFittedError, match="knows nothing"):
            rule.forecast(window)
        if not isinstance(rule, fc.Persistence):  # which has nothing to learn
            with pytest.raises(NotFittedError, match="knows nothing"):
                rule.point(window)

    @pytest.mark.parametrize("rule", [fc.SeasonalNaive(4, 2), fc.RidgeAR(2, order=4)], ids=["naive", "ridge"])
    def test_windows_have_the_variables_of_the_fit(self, rule):
        with pytest.raises(InputError, match="of 2 variables"):
            rule.fit(waves()).forecast(np.zeros((1, 4, 1)))

    def test_ridge_without_a_penalty(self):
        constant = fc.RidgeAR(2, order=2, penalty=0.0).fit(Series(np.ones(40)))
        assert constant.forecast(np.ones((1, 2, 1))).mean.tolist() == [[[1], [1]]]
        exact, near = (fc.RidgeAR(2, order=3, penalty=each).fit(waves()) for each in (0.0, 1e-12))
        np.testing.assert_allclose(exact.point(waves().values[None, :3]), near.point(waves().values[None, :3]))
        with pytest.raises(InputError, match="not negative"):
            fc.RidgeAR(2, penalty=-1.0)


class TestClassical:
    statsmodels = pytest.importorskip("statsmodels", reason="needs statsmodels")

    @pytest.mark.parametrize("rule", [fc.ETS, fc.Theta], ids=["ets", "theta"])
    def test_season_is_found(self, rule):
        series = Series(waves(300).values[:, :1])
        model = rule(season=24, horizon=6, draws=5).fit([series])
        truth = 5 + 2 * np.sin(2 * np.pi * np.arange(300, 306) / 24)
        predicted = model.point(series.values[None, -model.lookback :])[0, :, 0]
        assert np.abs(predicted - truth).max() < 0.6

    @pytest.mark.parametrize("rule", [fc.ETS, fc.Theta], ids=["ets", "theta"])
    def test_constant_windows_stay_constant(self, rule):
        assert (rule(season=4, horizon=3).point(np.full((1, 24, 1), 7.0)) == 7).all()

    def test_windows_hold_two_seasons(self):
        with pytest.raises(InputError, match="two seasons"):
            fc.ETS(season=4, horizon=3, seasons=1)


@pytest.mark.parametrize("name", ["persistence", "seasonal naive", "AR(12) ridge", "seasonal AR ridge"])
def test_no_rule_sees_the_future(name):
    series = waves(200)

    def pipeline(values):
        whole = Series(values, series.names)
        past = Series(values[:150], series.names)
        rule = fc.baselines(24, 4, classical=False)[name].fit([past])
        return fc.rolling(rule, whole, np.array([150])).quantile(np.array([0.1, 0.9]))

    assert fc.future_leak(pipeline, series.values, 150) == 0


def test_the_checker_finds_a_leak():
    series = waves(200)
    assert fc.future_leak(lambda v: (v - v.mean(0))[:150], series.values, 150) > 0.01
    assert fc.future_leak(lambda v: v[:151], series.values, 150) > 0.01
    with pytest.raises(InputError, match="inside"):
        fc.future_leak(lambda v: v, series.values, 200)
