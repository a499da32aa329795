"""The closed form of DLinear, and seasons by calendar and by repetition."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from harmonia.core.errors import InputError
from harmonia.media import Series
from harmonia.parts.forecasting import LinearWindow, future_leak, usual_season


def test_it_is_least_squares_over_all_variables():
    values = np.random.default_rng(0).standard_normal((300, 2)).cumsum(0)
    rule = LinearWindow(horizon=3, lookback=8, penalty=0.0).fit([Series(values)])
    scaled = (values - values.mean(0)) / values.std(0)
    windows = np.concatenate([np.lib.stride_tricks.sliding_window_view(scaled[:, v], 11) for v in range(2)])
    expected = LinearRegression().fit(windows[:, :8], windows[:, 8:])
    np.testing.assert_allclose(rule.weight_, expected.coef_, atol=1e-5)
    np.testing.assert_allclose(rule.bias_, expected.intercept_, atol=1e-5)


def test_dlinears_two_maps_are_one():
    """Any pair of maps of the moving average and of the rest is a single map."""
    random = np.random.default_rng(1)
    average = np.stack([np.bincount(np.clip(np.arange(i - 12, i + 13), 0, 29), minlength=30) / 25 for i in range(30)])
    trend, rest = random.standard_normal((2, 5, 30))
    window = random.standard_normal(30)
    both = trend @ (average @ window) + rest @ (window - average @ window)
    np.testing.assert_allclose(both, (trend @ average + rest @ (np.eye(30) - average)) @ window)


@pytest.mark.parametrize("own_scale", [False, True])
def test_it_is_blind_to_units_and_to_the_future(own_scale):
    values = np.random.default_rng(2).standard_normal((120, 2)).cumsum(0)
    rule = LinearWindow(4, 10, own_scale=own_scale)
    first = rule.fit([Series(values)]).point(values[None, -10:])
    second = rule.fit([Series(1e3 * values + 7)]).point(1e3 * values[None, -10:] + 7)
    np.testing.assert_allclose(second, 1e3 * first + 7, rtol=1e-6)
    assert future_leak(lambda v: rule.fit([Series(v[:100])]).point(v[None, 90:100]), values, 100) == 0


def test_impossible_sizes():
    with pytest.raises(InputError, match="horizon and a window"):
        LinearWindow(0, 4)


@pytest.mark.parametrize(
    ("unit", "step", "season"),
    [("m", 10, 144), ("h", 1, 24), ("D", 1, 7), ("D", 7, 52), ("M", 1, 12), ("M", 3, 4), ("Y", 1, 1)],
    ids=str,
)
def test_seasons_of_the_calendar(unit, step, season):
    times = (np.datetime64("2000-01-01", unit) + step * np.arange(1000 if unit == "m" else 300)).astype(
        "datetime64[us]"
    )
    noise = np.random.default_rng(0).standard_normal(len(times))
    assert usual_season(Series(noise, index=times.astype("datetime64[us]"))) == season


def test_seasons_of_plain_numbers():
    t = np.arange(400)
    noise = np.random.default_rng(0).standard_normal((400, 2))
    assert usual_season(Series(noise)) == 1
    assert usual_season(Series(np.sin(2 * np.pi * t / 20)[:, None] + 0.3 * noise + 0.01 * t[:, None])) in (
        20,
        40,
        60,
        80,
    )
    assert usual_season(Series(np.ones(50))) == 1
