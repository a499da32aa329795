"""Replays: rules by hand, when orders serve, no decision sees the future, the oracle is best."""

from __future__ import annotations

import numpy as np
import pytest

from harmonia.core.errors import InputError
from harmonia.media import Series
from harmonia.parts.forecasting import RidgeAR, future_leak
from harmonia.sequences.harmony.foresight import Foresight
from harmonia.sequences.harmony.replay import Harmony, Setting, cheapest, outcome, replay
from harmonia.sequences.harmony.rules import HPA, VPA, Oracle, PointMargin, Policy, Static
from harmonia.sequences.harmony.scaler import ResourceScaler


def course(length=400, seed=0):
    generator = np.random.default_rng(seed)
    base = 6 + 3 * np.sin(2 * np.pi * np.arange(length) / 48)
    return Series(np.maximum(base + 0.3 * generator.standard_normal(length), 0.1), ("cpu",))


class Script(Policy):
    """Orders what it is told."""

    name = "script"

    def __init__(self, orders):
        self.orders = list(orders)

    def decide(self, step, seen, current):
        assert len(seen) == step + 1
        return self.orders.pop(0)


def served(orders, delay, demand=None):
    trace = Series(np.array(demand or [3.0] * (len(orders) + 2)), ("cpu",))
    return replay(trace, "cpu", Script(orders), Setting(1.0, delay), first=1).units.tolist()


class TestWhenOrdersServe:
    def test_less_at_once_more_after_the_delay(self):
        assert served([5, 5, 5, 2, 2], delay=1) == [5, 5, 5, 2, 2]
        assert served([5, 5, 5, 5, 2], delay=3) == [3, 3, 5, 5, 2]

    def test_an_order_that_was_taken_back_does_not_come(self):
        assert served([6, 3, 3, 3, 3], delay=2) == [3, 3, 3, 3, 3]

    def test_a_second_order_waits_for_itself(self):
        assert served([5, 8, 8, 8, 8], delay=2) == [3, 5, 8, 8, 8]


def test_outcome_by_hand():
    found = outcome("x", np.array([2, 3, 3]), np.array([2.5, 2.0, 3.0]), Setting(1.0, hours=0.5))
    assert (found.violations, found.shortage, found.waste) == (1 / 3, 0.25, 0.5)
    assert found.cost == pytest.approx(1.0 + 20 * 0.5 + 0.1)


class TestRules:
    def test_hpa(self):
        rule = HPA(0.5, stabilization=2)
        rule.begin(course(), 0, 10, 1.0)
        assert rule.decide(0, np.array([4.0]), 4) == 8
        assert rule.decide(1, np.array([2.0]), 8) == 8  # the last recommendation still counts
        assert rule.decide(2, np.array([2.0]), 8) == 4
        assert rule.decide(3, np.array([2.1]), 4) == 4  # within the tolerance

    def test_vpa_is_a_percentile(self):
        trace = Series(np.random.default_rng(0).uniform(0, 10, 3000), ("cpu",))
        rule = VPA(0.9, 0.0, halflife=1e9)
        rule.begin(trace, 0, 3000, 1.0)
        assert rule.recommendation() == pytest.approx(9.0, rel=0.07)
        fast = VPA(0.9, 0.15, halflife=20.0)
        fast.begin(Series(np.r_[np.full(500, 9.0), np.full(300, 1.0)], ("cpu",)), 0, 800, 1.0)
        assert fast.recommendation() == pytest.approx(1.15, rel=0.07)

    @pytest.mark.parametrize("unit", [1e-3, 1.0, 1e9, 1e15])
    def test_vpa_knows_every_unit(self, unit):
        """Millicores, cores, bytes, or finer: the units it asks for are those of a quarter core."""
        demand = np.random.default_rng(0).uniform(1, 10, 500)

        def asked(scale):
            rule = VPA()
            rule.begin(Series(scale * demand, ("x",)), 0, 400, 0.25 * scale)
            return [rule.decide(step, scale * demand[: step + 1], 1) for step in range(400, 500)]

        assert asked(unit) == asked(1.0)
        assert 40 <= min(asked(unit)) <= max(asked(unit)) <= 48

    def test_vpa_has_the_buckets_of_kubernetes(self):
        """Its first bucket and least recommendation: 10 and 25 millicores at a quarter core, 10 MB at 250 MB."""
        for capacity, first, least in ((0.25, 0.01, 0.025), (2.5e8, 1e7, 2.5e7)):
            rule = VPA(1.0, 0.0)
            rule.begin(Series(np.full(10, 1e-9), ("x",)), 0, 10, capacity)
            assert rule._ends[:2].tolist() == pytest.approx([first, 2.05 * first])
            assert rule.recommendation() == pytest.approx(least)

    def test_bad_settings(self):
        with pytest.raises(InputError, match="utilisation"):
            HPA(0.0)
        with pytest.raises(InputError, match="percentile"):
            VPA(2.0)


def harmony(trace, first, **changes):
    rule = RidgeAR(6, order=6, season=48).fit([Series(trace.values[:first], trace.names)])
    return Harmony(Foresight(rule), ResourceScaler(0.5, 1.0, 0.02, **changes))


class TestPolicies:
    trace = course(600)
    setting = Setting(0.5)

    def test_the_oracle_is_best_and_everyone_is_comparable(self):
        policies = [
            harmony(self.trace, 200),
            HPA(0.8),
            VPA(),
            Static(),
            PointMargin(harmony(self.trace, 200)._foresight),
            Oracle(),
        ]
        found = {each.name: replay(self.trace, "cpu", each, self.setting, first=200) for each in policies}
        assert found["oracle"].violations == 0
        assert found["oracle"].waste == min(each.waste for each in found.values())
        assert found["HARMONY"].violations < 0.05
        assert found["HARMONY"].waste < found["static peak"].waste
        assert cheapest(list(found.values()), 0.0) is found["oracle"]
        assert cheapest([], 0.0) is None

    @pytest.mark.parametrize("policy", ["harmony", "hpa", "vpa"])
    def test_no_decision_sees_the_future(self, policy):
        make = {"harmony": lambda: harmony(self.trace, 200), "hpa": HPA, "vpa": VPA}[policy]

        def decided(values):
            trace = Series(np.abs(values), self.trace.names)
            return replay(trace, "cpu", make(), self.setting, first=200, last=260).units[:40]

        assert future_leak(decided, self.trace.values, 240) == 0
        assert future_leak(decided, self.trace.values, 225) > 0

    def test_refits_learn_only_from_what_was_seen(self):
        def decided(values):
            trace = Series(np.abs(values), self.trace.names)
            policy = harmony(trace, 200)
            policy._foresight._refit = 20
            policy._foresight._make = lambda last, seen: RidgeAR(6, order=6, season=48).fit([seen])
            return replay(trace, "cpu", policy, self.setting, first=200, last=260).units[:40]

        assert future_leak(decided, self.trace.values, 240) == 0

    def test_adaptation_survives_a_jump(self):
        values = self.trace.values.copy()
        values[300:] *= 1.5
        trace = Series(values, self.trace.names)
        found, fixed = (
            replay(trace, "cpu", harmony(trace, 200, adaptation=method), self.setting, first=200)
            for method in ("bayes", "none")
        )
        assert found.violations <= fixed.violations
        assert found.violations < 0.04

    def test_bad_replays(self):
        with pytest.raises(InputError, match="no such variable"):
            replay(self.trace, "gpu", HPA(), self.setting, first=10)
        with pytest.raises(InputError, match="after its warm-up"):
            replay(self.trace, "cpu", HPA(), self.setting, first=599)
        with pytest.raises(InputError, match="Start later"):
            replay(self.trace, "cpu", harmony(self.trace, 200), self.setting, first=20)
