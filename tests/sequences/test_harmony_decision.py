"""Decisions: demand tables against scipy, plans against brute force, adaptation in the long run, reasons, bad input."""

from __future__ import annotations

import json
import math

import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from harmonia.core.errors import InputError
from harmonia.media import Series
from harmonia.parts.forecasting import SampleForecast
from harmonia.sequences.harmony.adaptation import AdaptiveLevel
from harmonia.sequences.harmony.claims.exact import _brute_force
from harmonia.sequences.harmony.demand import LEVELS, Demand, WorkloadModel, newsvendor
from harmonia.sequences.harmony.forecaster import HarmonyForecaster
from harmonia.sequences.harmony.levels import found_levels, levels_of
from harmonia.sequences.harmony.planning import Limits, Prices, best_plan, budget_plan
from harmonia.sequences.harmony.scaler import ResourceScaler, seconds

NORMAL = stats.norm(10, 2)


def steady(horizon=6, family=NORMAL):
    return Demand(np.repeat(family.ppf(LEVELS)[:, None], horizon, 1))


@pytest.fixture
def as_users_run_it(monkeypatch):
    """Without the types that are checked in tests, so that what is wrong reaches the library's own checks."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="module")
def trained():
    """A forecast of two variables."""
    series = Series(np.random.default_rng(0).uniform(1, 2, (60, 2)), ("load", "cpu"))
    options = {"steps": 1, "width": 8, "layers": 1, "hidden": 8}
    return HarmonyForecaster(12, 3, **options).fit([series]).predict_distribution(series)


class TestDemand:
    @pytest.mark.parametrize("family", [NORMAL, stats.gamma(3, scale=2)], ids=["normal", "gamma"])
    def test_costs_are_integrals(self, family):
        grid = np.array([2.0, 5.0, 9.0, 14.0, 30.0])
        found = steady(2, family).expected_costs(grid, 1.0, 7.0)
        x = np.linspace(-5, 60, 200_001)
        exact = [np.trapezoid((np.maximum(a - x, 0) + 7 * np.maximum(x - a, 0)) * family.pdf(x), x) for a in grid]
        np.testing.assert_allclose(found[1], exact, rtol=5e-3, atol=0.02)

    @given(st.floats(-0.5, 0.49))
    @settings(max_examples=30, deadline=None)
    def test_levels_and_requirements_are_inverse(self, level):
        demand = steady(1)
        assert demand.level_of(demand.requirement(level)[0]) == pytest.approx(level, abs=1e-9)

    def test_exceedance(self):
        np.testing.assert_allclose(steady(3).exceedance(13.0), NORMAL.sf(13.0), atol=2e-3)
        assert steady(3).exceedance(100.0).tolist() == [0, 0, 0]

    def test_constant_demand(self):
        demand = Demand(np.full((len(LEVELS), 2), 4.0))
        np.testing.assert_allclose(demand.expected_costs(np.array([3.0, 4.0, 6.0]), 1.0, 10.0)[0], [10, 0, 2])
        assert demand.level_of(4.5) < 0 <= demand.level_of(4.0)

    def test_of_forecasts(self):
        draws = NORMAL.rvs((5000, 3, 4, 1), random_state=0)
        found = Demand.of(SampleForecast(draws))
        assert len(found) == 3
        assert found[0].resolution == 1 / 5000
        np.testing.assert_allclose(found[1].requirement(0.1), NORMAL.isf(0.1), atol=0.2)

    def test_prices(self):
        with pytest.raises(InputError, match="cost something"):
            newsvendor(0.0, 1.0)
        with pytest.raises(InputError, match="prices"):
            Prices(over=-1.0)
        with pytest.raises(InputError, match="delays"):
            Limits(delay=0)


class TestPlan:
    @pytest.mark.parametrize("seed", range(6))
    def test_it_is_the_best_of_all(self, seed):
        generator = np.random.default_rng(seed)
        stage, usable = generator.gamma(1, 3, (4, 4)), np.cumsum(generator.uniform(0.5, 2, 4))
        prices = Prices(change=generator.uniform(0, 2), switch=generator.uniform(0, 2))
        limits = Limits(1 + seed % 3, seed % 4, seed % 2)
        path, cost = best_plan(stage, usable, seed % 4, prices, limits, waiting=seed % 3)
        assert cost == pytest.approx(_brute_force(stage, usable, seed % 4, prices, limits, seed % 3))
        assert len(path) == 4

    def test_nothing_is_added_before_it_can_start(self):
        stage = np.array([[9.0, 0.0], [9.0, 0.0], [9.0, 0.0]])
        assert best_plan(stage, np.array([1.0, 2.0]), 0, Prices(), Limits(delay=3))[0] == [0, 0, 1]

    def test_a_budget_is_kept_on_average_and_cheaper(self):
        wide = Demand(np.stack([stats.norm(10, s).ppf(LEVELS) for s in (0.2, 4.0, 0.2, 4.0)], axis=1))
        usable = np.arange(8.0, 40.0, 0.5)
        path, _ = budget_plan(wide, usable, 0, 0.05, Prices(under=1.5), Limits())
        rates = [wide.exceedance(usable[place])[step] for step, place in enumerate(path)]
        assert 0.01 < np.mean(rates) <= 0.05

    def test_a_start_outside_of_the_grid(self):
        with pytest.raises(InputError, match="not in the grid"):
            best_plan(np.zeros((2, 3)), np.arange(3.0), 5, Prices(), Limits())


class TestAdaptation:
    def run(self, method, scale, steps=2500, sla=0.05):
        """Violations when the truth is `scale` times as wide as the forecast says."""
        level, demand = AdaptiveLevel(sla, method), steady(1)
        truth = 10 + scale * 2 * np.random.default_rng(0).standard_normal(steps)
        violated = []
        for value in truth:
            violated.append(value > demand.requirement(level.value)[0] + 1e-9)
            level.observe(demand.level_of(value))
        return np.mean(violated[steps // 4 :])

    @pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 4.0])
    @pytest.mark.parametrize("method", ["bayes", "conformal"])
    def test_the_rate_is_kept_when_the_forecast_is_wrong(self, method, scale):
        assert self.run(method, scale) == pytest.approx(0.05, abs=0.015)

    def test_without_it_the_rate_is_lost(self):
        assert self.run("none", 2.0) > 0.15

    def test_a_sudden_change_is_noticed(self):
        level, demand = AdaptiveLevel(0.01), steady(1)
        for _ in range(500):
            level.observe(0.5)
        violated = 0
        for _ in range(40):
            violated += demand.level_of(25.0) < level.value
            level.observe(demand.level_of(25.0))
        assert 1 <= violated <= 6
        assert level.value < 0

    def test_state_survives(self):
        level = AdaptiveLevel(0.05)
        for value in np.random.default_rng(0).uniform(size=50):
            level.observe(float(value))
        other = AdaptiveLevel(0.05)
        other.restore(json.loads(json.dumps(level.state())))
        level.observe(0.01)
        other.observe(0.01)
        assert level.value == other.value != 0.05

    def test_bad_sla(self):
        with pytest.raises(InputError, match="SLA"):
            AdaptiveLevel(0.7)

    def test_unknown_methods_are_refused(self, as_users_run_it):
        with pytest.raises(InputError, match="no such adaptation"):
            AdaptiveLevel(0.1, "bayess")
        with pytest.raises(InputError, match="no such adaptation"):
            ResourceScaler(1.0, adaptation="bayess")


class TestWorkloadModel:
    def test_it_learns_follows_and_is_uncertain(self):
        generator = np.random.default_rng(0)
        model = WorkloadModel()
        for step in range(1500):
            load = generator.uniform(10, 100)
            slope = 0.05 if step < 700 else 0.08
            model.observe(np.array([load]), 1 + slope * load + 0.1 * generator.standard_normal())
        assert model.expect(np.array([50.0])) == pytest.approx(5.0, abs=0.1)
        demand = model.demand(np.full((4000, 2, 1), 50.0))
        assert demand.requirement(0.5)[0] == pytest.approx(5.0, abs=0.1)
        assert demand.requirement(0.01)[0] > 5.15

    def test_a_resource_at_its_limit_hides_demand(self):
        generator = np.random.default_rng(0)
        naive, censored = WorkloadModel(), WorkloadModel()
        for _ in range(800):
            load = generator.uniform(10, 100)
            used = min(4.0, 0.08 * load + 0.1 * generator.standard_normal())
            naive.observe(np.array([load]), used)
            censored.observe(np.array([load]), used, limit=4.0)
        assert naive.expect(np.array([90.0])) < 4.6
        assert censored.expect(np.array([90.0])) == pytest.approx(7.2, abs=0.1)

    @pytest.mark.parametrize(("traffic", "demand"), [([1.0], 1.0), ([1.0, np.nan], 1.0), ([1.0, 2.0], np.nan)])
    def test_bad_observations(self, traffic, demand):
        model = WorkloadModel(2)
        before = model.posterior
        with pytest.raises(InputError):
            model.observe(np.array(traffic), demand)
        assert model.posterior is before


class TestLevels:
    def test_by_name_and_given(self):
        assert levels_of(["http_requests", "cpu", "net_in", "x"], None) == [1, 2, 3, 2]
        with pytest.raises(InputError, match="no variable"):
            levels_of(["cpu"], {"gpu": 1})

    @pytest.mark.parametrize(
        ("name", "level"),
        [
            ("utilization", 2),
            ("requested_memory", 2),
            ("connections", 2),
            ("duration", 2),
            ("RequestCount", 1),
            ("node_disk_io_time_seconds_total", 3),
            ("NetworkIn", 3),
            ("calls", 1),
        ],
    )
    def test_only_whole_words_count(self, name, level):
        assert levels_of([name], None) == [level]

    def test_found_from_leads(self):
        noise = np.random.default_rng(0).standard_normal(800)
        values = np.stack([np.roll(noise, 4), noise, np.roll(noise, 2)], 1).cumsum(0)
        assert found_levels(values, ["last", "first", "middle"]) == {"last": 3, "first": 1, "middle": 2}


class TestScaler:
    def test_units_cover_the_quantile(self):
        scaler = ResourceScaler(1.0, 1.0, 0.01, cost_under=2.0)
        found = scaler.recommend(steady(), current=10)
        assert found.target == math.ceil(NORMAL.isf(0.01))
        assert found.binding == "sla"
        assert found.lower <= found.target <= found.upper
        assert found.p_violation <= 0.0101
        assert len(found.plan) == 6

    def test_dear_shortage_asks_for_more(self):
        found = ResourceScaler(1.0, 1.0, 0.1, cost_under=500.0).recommend(steady(), current=10)
        assert found.binding == "cost"
        assert found.target == pytest.approx(NORMAL.ppf(newsvendor(1.0, 500.0)), abs=1)

    def test_utilisation_is_kept(self):
        found = ResourceScaler(1.0, 0.5, 0.01, cost_under=2.0).recommend(steady(), current=10)
        assert found.target == math.ceil(2 * NORMAL.isf(0.01))

    @pytest.mark.parametrize(
        ("options", "current", "target", "binding"),
        [
            ({"max_units": 12}, 10, 12, "max_units"),
            ({"min_units": 30, "max_units": 90}, 40, 30, "min_units"),
            ({"max_step": 2}, 10, 12, "max_step"),
        ],
        ids=["most", "least", "step"],
    )
    def test_bounds_are_said(self, options, current, target, binding):
        found = ResourceScaler(1.0, 1.0, 0.01, cost_under=2.0, **options).recommend(steady(), current)
        assert (found.target, found.binding) == (target, binding)
        assert found.uncapped == 15

    def test_nothing_is_taken_away_within_the_cooldown(self):
        scaler = ResourceScaler(1.0, 1.0, 0.01, cooldown="1h", cost_under=2.0)
        assert scaler.recommend(steady(), 5, now=0.0).target == 15
        low = steady(family=stats.norm(4, 0.5))
        held = scaler.recommend(low, 15, now=600.0)
        assert (held.target, held.binding) == (15, "cooldown")
        assert scaler.recommend(low, 15, now=3600.0).target == 6

    def test_the_start_up_delay_looks_ahead(self):
        rise = Demand(np.stack([stats.norm(m, 0.1).ppf(LEVELS) for m in (5, 5, 20, 20)], axis=1))
        assert ResourceScaler(1.0, 1.0, 0.01, startup_delay="30min").recommend(rise, 6).target == 21
        assert ResourceScaler(1.0, 1.0, 0.01, startup_delay="10min").recommend(rise, 6).target == 6

    def test_without_forecasts_nothing_is_taken_away(self):
        scaler = ResourceScaler(1.0, 1.0, 0.01)
        found = scaler.react(3.0, current=9)
        assert (found.target, found.fallback) == (9, True)
        assert scaler.react(20.0, current=9).target == 25
        assert scaler.react(None, current=9).target == 9

    def test_never_nan_negative_or_zero(self):
        nothing = Demand(np.zeros((len(LEVELS), 4)))
        assert ResourceScaler(1.0).recommend(nothing, 3).target == 1

    def test_huge_demand_is_capped_and_said(self):
        found = ResourceScaler(1.0, max_units=50).recommend(steady(family=stats.norm(1e6, 10)), 3)
        assert (found.target, found.binding) == (50, "max_units")
        assert found.uncapped > 1e6

    def test_state_survives(self):
        scaler = ResourceScaler(1.0, 1.0, 0.01, cooldown="1h")
        scaler.recommend(steady(), 5, now=100.0)
        scaler.observe(25.0)
        other = ResourceScaler(1.0, 1.0, 0.01, cooldown="1h")
        other.restore(json.loads(json.dumps(scaler.state())))
        low = steady(family=stats.norm(4, 0.5))
        assert other.recommend(low, 15, now=700.0) == scaler.recommend(low, 15, now=700.0)
        with pytest.raises(InputError, match="saved state"):
            other.restore({"level": {}})

    def test_a_step_is_learnt_once_from_the_forecast_of_its_own(self):
        """Looks every minute at data of every ten: the forecasts differ, and so do the levels they give one demand."""
        scaler, learnt = ResourceScaler(1.0, 1.0, 0.05, startup_delay="30min"), []
        scaler.level.observe = lambda level, throttled=False: learnt.append(level)
        steps = [steady(4, stats.norm(10 + step, 1)) for step in range(4)]
        for minute in range(40):
            scaler.recommend(steps[minute // 10], 20, now=60.0 * minute, measured=600.0 * (minute // 10))
        assert not scaler.observe(12.0, at=1200.0)
        for _ in range(2):
            scaler.observe(12.0, at=3600.0)
        assert learnt == [steps[3].level_of(12.0)]

    def test_several_windows_or_variables_are_refused(self, trained):
        scaler, futures = ResourceScaler(1.0), np.random.default_rng(0).normal(10, 1, (2000, 1, 6, 2))
        with pytest.raises(InputError, match="one window"):
            scaler.recommend(SampleForecast(futures.transpose(0, 3, 2, 1)), 5)
        with pytest.raises(InputError, match="got 0, 1"):
            scaler.recommend(SampleForecast(futures), 5)
        with pytest.raises(InputError, match="got load, cpu"):
            scaler.recommend(trained, 5)
        with pytest.raises(InputError, match="no variable 'gpu'"):
            scaler.recommend(trained, 5, target="gpu")
        assert scaler.recommend(trained, 5, target="cpu") == ResourceScaler(1.0).recommend(trained, 5, target=1)

    @pytest.mark.parametrize(("head", "finest"), [("quantile", 0.005), ("realnvp", 1 / 2048), ("spline", 0.0)])
    def test_a_head_tells_no_more_than_it_can(self, head, finest):
        series = Series(np.random.default_rng(0).uniform(1, 2, (60, 1)))
        options = {"distribution": head, "steps": 1, "width": 8, "layers": 1, "hidden": 8}
        forecast = HarmonyForecaster(12, 3, **options).fit([series]).predict_distribution(series)
        assert forecast.resolution == pytest.approx(finest)
        assert ResourceScaler(0.1, sla=0.01).recommend(forecast, 5).p_violation > 0
        if finest:
            with pytest.raises(InputError, match="finer"):
                ResourceScaler(0.1, sla=0.9 * finest).recommend(forecast, 5)

    @given(st.integers(0, 2**32 - 1))
    @settings(max_examples=60, deadline=None)
    def test_targets_lie_within_their_bounds(self, seed):
        generator = np.random.default_rng(seed)
        most = int(generator.integers(3, 60))
        free = {
            "sla": float(generator.uniform(0.01, 0.4)),
            "cost_under": float(generator.uniform(1.01, 80)),
            "startup_delay": 600.0 * int(generator.integers(1, 4)),
            "cooldown": 600.0 * int(generator.integers(0, 3)),
            "budget": bool(generator.integers(2)),
        }
        bounds = {"min_units": int(generator.integers(1, most)), "max_units": most, "max_step": seed % 4}
        bounded, unbounded = ResourceScaler(1.0, **free, **bounds), ResourceScaler(1.0, **free, max_units=10**6)
        bounded.level.value = unbounded.level.value = float(generator.uniform(-0.2, 0.3))
        mean = generator.uniform(1, 30, 6)
        demand = Demand(stats.norm(mean, generator.uniform(0.1, 6)).ppf(LEVELS[:, None]).clip(0))
        current = int(generator.integers(1, 50))
        found = bounded.recommend(demand, current)
        assert found.lower <= found.target <= found.upper
        assert found.uncapped == unbounded.recommend(demand, current).target
        assert (found.target == found.uncapped) or found.binding in ("max_units", "min_units", "max_step")

    def test_what_adaptation_asks_for_is_within_the_bounds(self):
        scaler = ResourceScaler(1.0, 1.0, 0.01)
        for step in range(40):
            scaler.recommend(steady(), 24)
            scaler.observe(30.0 if step % 4 == 0 else 10.0)
        found = scaler.recommend(steady(), 24)
        assert found.level < 0
        assert found.lower <= found.target <= found.upper

    def test_a_fallback_says_what_it_would_take_without_bounds(self):
        found = ResourceScaler(1.0, 1.0, max_units=20).react(4.0, current=30)
        assert (found.target, found.uncapped) == (20, 30)

    def test_a_budget_gives_its_own_reason(self):
        means = np.repeat([20.0, 5.0], [4, 8])
        demand = Demand(stats.norm(means, 2.0).ppf(LEVELS[:, None]))
        found = ResourceScaler(1.0, 1.0, 0.05, cost_under=1.01, budget=True).recommend(demand, 25)
        assert found.binding == "budget"
        assert found.p_violation > 0.05
        assert "on average" in found.reason

    def test_a_broken_state_changes_nothing(self):
        scaler = ResourceScaler(1.0, cooldown="1h")
        scaler.recommend(steady(), 5, now=100.0)
        before = scaler.state()
        for broken in ({"told": [[1.0, 2.0]]}, {"level": before["level"] | {"violated": ["x"]}}):
            with pytest.raises(InputError, match="saved state"):
                scaler.restore(before | {"now": 5.0} | broken)
        assert scaler.state() == before

    @pytest.mark.parametrize("unsound", [np.nan, np.inf], ids=["nan", "inf"])
    def test_demand_that_is_not_finite(self, unsound):
        with np.errstate(invalid="ignore"), pytest.raises(InputError, match="finite"):
            ResourceScaler(1.0).recommend(Demand.of_samples(np.full((2000, 3), unsound)), 5)
        with pytest.raises(InputError, match="finite"):
            ResourceScaler(1.0).react(unsound, 5)

    @pytest.mark.parametrize(
        ("make", "what"),
        [
            (lambda: ResourceScaler(0.0), "capacity"),
            (lambda: ResourceScaler(1.0, cost_under=np.nan), "prices"),
            (lambda: ResourceScaler(1.0, startup_delay=-600.0), "duration"),
            (lambda: ResourceScaler(1.0, cooldown=np.nan), "duration"),
            (lambda: ResourceScaler(1.0, min_units=5, max_units=2), "bounds"),
            (lambda: ResourceScaler(1.0, sla=0.0), "SLA"),
            (lambda: ResourceScaler(1.0, startup_delay="soon"), "duration"),
            (lambda: ResourceScaler(1.0, interval=0.0), "interval"),
            (lambda: ResourceScaler(1.0, startup_delay="2h").recommend(steady(3), 1), "delay covers"),
            (lambda: ResourceScaler(1.0, sla=0.001).recommend(SampleForecast(np.ones((100, 1, 3, 1))), 1), "finer"),
        ],
        ids=["capacity", "price", "early", "never", "bounds", "sla", "duration", "interval", "short", "resolution"],
    )
    def test_bad_input(self, make, what):
        with pytest.raises(InputError, match=what):
            make()

    def test_durations(self):
        assert [seconds(each) for each in ("30s", "10min", "1h", "2d", 5)] == [30, 600, 3600, 172800, 5]
