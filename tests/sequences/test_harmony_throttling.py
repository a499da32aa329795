"""Demand at its limit: censored likelihoods against scipy, plateaus, what is recovered, adaptation, jobs."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from harmonia.core.errors import InputError
from harmonia.core.progress import watched
from harmonia.data.traces import synthetic_trace
from harmonia.media import Series
from harmonia.parts.forecasting import rolling
from harmonia.parts.instance_norm import InstanceNorm
from harmonia.sequences.harmony import HarmonyForecaster, task
from harmonia.sequences.harmony.adaptation import AdaptiveLevel
from harmonia.sequences.harmony.demand import LEVELS, Demand
from harmonia.sequences.harmony.heads import HEADS
from harmonia.sequences.harmony.scaler import ResourceScaler
from harmonia.sequences.harmony.student_t import log_survival
from harmonia.sequences.harmony.study import study_of
from harmonia.sequences.harmony.throttling import plateau, throttled


def made(head, seed=0, batch=4, horizon=5, targets=2):
    """A head's distribution in float64, demands, and which of them are lower bounds."""
    generator = torch.Generator().manual_seed(seed)
    part = HEADS[head](horizon, targets, 8, False)
    numbers = torch.randn(part.numbers, batch, horizon, targets, generator=generator).double()
    norm = InstanceNorm.of(5 + 2 * torch.randn(batch, 30, targets, generator=generator).double())
    y = 5 + 3 * torch.randn(batch, horizon, targets, generator=generator).double()
    return part(numbers, norm), y, torch.rand(y.shape, generator=generator) < 0.4


class TestLikelihood:
    @pytest.mark.parametrize("head", ["normal", "studentt"])
    def test_it_is_scipys(self, head):
        dist, y, censored = made(head)
        mean, std = dist.norm.undo(dist.mean).numpy(), (dist.std * dist.norm.spread).numpy()
        law = stats.norm(mean, std) if head == "normal" else stats.t(dist.df.numpy(), mean, std)
        exact = -np.where(censored, law.logsf(y), law.logpdf(y)).sum((1, 2))
        np.testing.assert_allclose(dist.loss(y, censored), exact, rtol=1e-10)

    @pytest.mark.parametrize("head", ["normal", "studentt", "spline"])
    def test_a_lower_bound_costs_the_probability_of_more(self, head):
        dist, y, _ = made(head, horizon=1, targets=1)
        everywhere = torch.ones_like(y, dtype=torch.bool)
        for level in (0.05, 0.7, 0.999):
            cost = dist.loss(dist.icdf(torch.tensor([level], dtype=torch.float64))[0], everywhere)
            torch.testing.assert_close(cost, torch.full_like(cost, -np.log(1 - level)), rtol=1e-6, atol=1e-6)
        nothing = dist.loss(y - 1e4, everywhere)
        assert nothing.abs().max() < (1e-6 if head == "studentt" else 1e-12)
        torch.testing.assert_close(dist.loss(y, ~everywhere), dist.loss(y))

    @pytest.mark.parametrize("head", ["realnvp", "quantile"])
    def test_where_it_is_not_defined_it_is_refused(self, head):
        dist, y, censored = made(head)
        with pytest.raises(InputError, match="no likelihood"):
            dist.loss(y, censored)
        fitting = HarmonyForecaster(12, 3, distribution=head, steps=1, width=8, hidden=8)
        series = Series(np.random.default_rng(0).uniform(1, 2, (60, 2)))
        with pytest.raises(InputError, match="no likelihood"):
            fitting.fit([series], [np.ones((60, 2), dtype=bool)])
        fitting.fit([series], [np.zeros((60, 2), dtype=bool)])

    @pytest.mark.parametrize("z", [-30.0, -1.0, 0.0, 2.0, 40.0])
    def test_student_t_and_its_slopes(self, z):
        pairs = torch.tensor([z]).double().requires_grad_(), torch.tensor([4.5]).double().requires_grad_()
        assert log_survival(*pairs).item() == pytest.approx(stats.t.logsf(z, 4.5), rel=1e-10)
        assert torch.autograd.gradcheck(log_survival, pairs, eps=1e-5, atol=1e-6)

    def test_student_t_beyond_all_floats(self):
        z = torch.tensor([100.0, 150.0], dtype=torch.float64, requires_grad=True)
        found = log_survival(z, torch.full((2,), 1e3, dtype=torch.float64))
        a, x = 500.0, 1e3 / (1e3 + z.detach().numpy() ** 2)  # P(T >= z) = I_x(a, 1/2) / 2, by its power series
        series = np.log(special.hyp2f1(a + 0.5, 1, a + 1, x) / (2 * a)) - special.betaln(a, 0.5)
        np.testing.assert_allclose(found.detach(), series + a * np.log(x) + 0.5 * np.log1p(-x), rtol=1e-6)
        found.sum().backward()
        assert torch.isfinite(z.grad).all()
        assert (z.grad < 0).all()

    def test_slopes_are_finite_far_away(self):
        for head in ("normal", "studentt", "spline"):
            part = HEADS[head](2, 1, 8, False)
            numbers = torch.zeros(part.numbers, 3, 2, 1, requires_grad=True)
            norm = InstanceNorm(torch.zeros(3, 1, 1), torch.ones(3, 1, 1))
            y = torch.tensor([-50.0, 0.0, 50.0])[:, None, None].expand(3, 2, 1)
            part(numbers, norm).loss(y, torch.ones_like(y, dtype=torch.bool)).sum().backward()
            assert torch.isfinite(numbers.grad).all()


class TestPlateau:
    noisy = 5 + np.sin(np.arange(600) / 12) + 0.2 * np.random.default_rng(0).standard_normal(600)

    def test_it_is_found(self):
        assert plateau(self.noisy.clip(max=5.6)) == 5.6
        assert throttled(self.noisy.clip(max=5.6)).sum() == (self.noisy >= 5.6 * 0.995).sum()
        jittered = self.noisy.clip(max=5.6) * np.random.default_rng(1).uniform(0.998, 1, 600)
        assert plateau(jittered) == pytest.approx(5.6, rel=2e-3)

    @pytest.mark.parametrize(
        "values",
        [
            noisy,
            np.sin(np.arange(600) / 12) + 2,
            np.random.default_rng(0).poisson(1.0, 600).astype(float),
            np.full(600, 3.0),
            np.zeros(600),
            np.arange(600.0),
            np.array([1.0, 2.0, 2.0]),
        ],
        ids=["noise", "waves", "counts", "constant", "idle", "rising", "short"],
    )
    def test_what_only_looks_like_one(self, values):
        assert plateau(values) == np.inf
        assert not throttled(values).any()

    @given(st.floats(1e-6, 1e9), st.floats(5.2, 6.0))
    @settings(max_examples=25, deadline=None)
    def test_units_do_not_matter(self, unit, limit):
        assert plateau(unit * self.noisy.clip(max=limit)) == pytest.approx(unit * limit)

    def test_known_limits(self):
        values = np.array([1.0, 1.97, 2.0, 3.9])
        assert throttled(values, np.array([1.0, 2.0, 3.0, 4.0])).tolist() == [True, True, False, False]
        assert not throttled(values, np.inf).any()
        with pytest.raises(InputError, match="positive"):
            throttled(values, 0.0)


def test_quantiles_of_the_demand_are_recovered():
    """A third of all demand is above the limit; its quantiles at the daily peaks, where nothing is ever measured."""
    generator = np.random.default_rng(0)
    course = np.sin(2 * np.pi * np.arange(1400) / 24)
    mean = 4 + 1.5 * course
    load = 60 + 30 * course + 4 * generator.standard_normal(1400)
    used = np.minimum(mean + 0.25 * generator.standard_normal(1400), 4.8)
    series, at = Series(np.c_[load, used], ("load", "cpu")), np.arange(1200, 1390)
    levels = np.array([0.5, 0.9, 0.99])
    truth = mean[at[:, None] + np.arange(1, 4)] + 0.25 * stats.norm.ppf(levels)[:, None, None]
    peaks = truth[0] > 4.9

    def error(mask):
        forecaster = HarmonyForecaster(
            24, 3, target=["cpu"], steps=250, width=16, hidden=32, batch=64, dropout=0.0, distribution="normal"
        ).fit([series], mask)
        return np.sqrt(np.mean((rolling(forecaster, series, at).quantile(levels)[..., 0] - truth)[:, peaks] ** 2, 1))

    ours, naive = error([throttled(used)]), error(None)
    assert (ours < 0.75 * naive).all()


def test_marks_of_another_length_are_refused():
    series = Series(np.random.default_rng(0).uniform(1, 2, (60, 2)), ("load", "cpu"))
    with pytest.raises(InputError, match="shape"):
        HarmonyForecaster(12, 3, target=["cpu"], steps=1).fit([series], [np.ones(59, dtype=bool)])


class TestAdaptation:
    def rate(self, told):
        """How often true demand exceeds what is asked for, when its upper 15% are throttled."""
        law = stats.norm(10, 2)
        demand, limit = Demand(law.ppf(LEVELS)[:, None]), law.isf(0.15)
        level, violated = AdaptiveLevel(0.05), []
        for value in law.rvs(1200, random_state=0):
            violated.append(value > demand.requirement(level.value)[0])
            level.observe(demand.level_of(min(value, limit)), throttled=told and bool(value >= limit))
        return np.mean(violated[300:])

    def test_lower_bounds_keep_the_rate(self):
        assert self.rate(told=True) == pytest.approx(0.05, abs=0.015)
        assert self.rate(told=False) > 0.09

    def test_state_survives(self):
        level, other = AdaptiveLevel(0.05), AdaptiveLevel(0.05)
        for place, value in enumerate(np.random.default_rng(0).uniform(size=60)):
            level.observe(float(value), throttled=place % 3 == 0)
        other.restore(json.loads(json.dumps(level.state())))
        level.observe(0.02, throttled=True)
        other.observe(0.02, throttled=True)
        assert level.value == other.value


class TestJobs:
    def trace(self):
        whole = synthetic_trace(0, days=4)
        return Series(
            np.c_[whole.values[:, :2].clip(max=[np.inf, 4.0]), np.full(len(whole), 4.0)],
            ("load", "cpu", "most"),
            whole.times,
        )

    def test_fit_and_recommend(self):
        fitted = task.fit([self.trace()], limit="most", lookback=24, horizon=3, epochs=0.5)
        assert np.isfinite(fitted["loss"])
        found = task.recommend(self.trace(), limit="4", steps=4)
        assert found["target"] >= 1

    def test_studies_say_what_was_censored(self):
        heard = []
        watcher = SimpleNamespace(say=heard.append, step=lambda *_: None)
        with watched(watcher):
            scaler = ResourceScaler(0.5, 1.0, 0.05, max_units=99)
            study = study_of(self.trace(), "", scaler, 24, 3, "normal", 4, "10min", 0, 0, "most")
        assert study.throttled.sum() == (self.trace().values[:, 1] >= 3.92).sum()
        assert any("cpu is at its limit in" in each for each in heard)
        assert list(study.trace.names) == ["load", "cpu"]

    def test_a_limit_that_is_none(self):
        with pytest.raises(InputError, match="number or a variable"):
            task.plan(self.trace(), limit="gpu")
