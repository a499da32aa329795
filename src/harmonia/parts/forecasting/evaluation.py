"""Rolling-origin evaluation: predict from one origin after another, and prove that no forecast saw the future."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.media import Series
from harmonia.parts.forecasting.baselines import Persistence, RidgeAR, SeasonalNaive
from harmonia.parts.forecasting.classical import ETS, Theta
from harmonia.parts.forecasting.forecast import Forecast
from harmonia.parts.forecasting.forecaster import Forecaster
from harmonia.parts.forecasting.scores import crps_samples, interval_coverage, mase_scale

SCORED_DRAWS = 256
"""Draws by which a forecast's CRPS is estimated."""


def origins(length: int, start: int, horizon: int, stride: int = 1) -> Int64[ndarray, " origins"]:
    """Rows from which to predict: from `start` on, every `stride`, while the horizon fits.

    Example:
        >>> origins(length=20, start=10, horizon=4, stride=3).tolist()
        [10, 13, 16]
    """
    return np.arange(start, length - horizon + 1, stride, dtype=np.int64)


def rolling(forecaster: Forecaster, series: Series, at: Int64[ndarray, " origins"]) -> Forecast:
    """Predict from each origin; the value in the origin's row is the first to be predicted.

    Raises:
        InputError: an origin without a whole window before it.
    """
    if not len(at) or at.min() < forecaster.lookback:
        got = f"{at.min()} rows" if len(at) else "no origin"
        raise InputError(f"a forecast needs {forecaster.lookback} rows before its origin", got, "Start later.")
    rows = at[:, None] + np.arange(-forecaster.lookback, 0)
    return forecaster.forecast(series.values[rows], series.times[rows])


def targets(
    series: Series, at: Int64[ndarray, " origins"], horizon: int
) -> Float64[ndarray, "origins horizon variables"]:
    """What happened after each origin."""
    return series.values[at[:, None] + np.arange(horizon)]


class Scores(NamedTuple):
    """How good forecasts were, over all origins, steps and variables.

    Attributes:
        crps: Continuous ranked probability score, in the units of the data.
        mase: Mean absolute error of the median over that of the seasonal naive rule in the fitted series, over the
            variables that change there; NaN where none does.
        coverage: Share of central 90% intervals that hold what happened.
        width: Mean width of those intervals.
    """

    crps: float
    mase: float
    coverage: float
    width: float

    @classmethod
    def of(
        cls,
        forecast: Forecast,
        observed: Float64[ndarray, "origins horizon variables"],
        scale: Float64[ndarray, " variables"],
        seed: int = 0,
    ) -> Scores:
        """Score a forecast; `scale` is that of `mase_scale` on the fitted series."""
        low, middle, high = forecast.quantile(np.array([0.05, 0.5, 0.95]))
        changing = np.isfinite(scale)
        crps = crps_samples(forecast.sample(SCORED_DRAWS, seed), observed)
        return cls(
            crps=float(crps.mean()),
            mase=float(np.nanmean(np.abs(middle - observed) / scale)) if changing.any() else np.nan,
            coverage=interval_coverage(low, high, observed),
            width=float((high - low).mean()),
        )


def baselines(season: int, horizon: int, *, classical: bool = True) -> dict[str, Forecaster]:
    """The rules that stand in every forecasting table, not yet fitted.

    Where the last values hold the season already (below ten steps), seasonal autoregression is the plain one, and
    stands there once.

    Arguments:
        season: Steps of a season.
        horizon: Steps to predict.
        classical: With ETS and Theta, which need statsmodels and a fit a window.
    """
    plain, seasonal = RidgeAR(horizon, order=12), RidgeAR(horizon, order=12, season=season)
    rules: dict[str, Forecaster] = {
        "persistence": Persistence(horizon),
        "seasonal naive": SeasonalNaive(season, horizon),
        "AR(12) ridge": plain,
    }
    if seasonal.lookback > plain.lookback:
        rules["seasonal AR ridge"] = seasonal
    return rules | ({"ETS": ETS(season, horizon), "Theta": Theta(season, horizon)} if classical else {})


def evaluate(
    forecasters: Mapping[str, Forecaster],
    past: Series,
    whole: Series,
    *,
    season: int,
    stride: int = 1,
    variables: Sequence[str] = (),
) -> dict[str, Scores]:
    """Score fitted forecasters on what follows `past` in `whole`: the same origins for all.

    Arguments:
        forecasters: Fitted to `past`, or to nothing later.
        past: What may be learnt from; the beginning of `whole`.
        whole: The whole series.
        season: Of the scale of MASE.
        stride: Steps from one origin to the next.
        variables: Those that are scored; all unless given.

    Raises:
        InputError: `past` is not the beginning of `whole`.
    """
    if len(past) >= len(whole) or not np.array_equal(past.values, whole.values[: len(past)]):
        raise InputError("the fitted part is not the beginning of the series", f"{len(past)} rows", "Pass both.")
    chosen = [list(whole.names).index(name) for name in (variables or whole.names)]
    scale = mase_scale(past.values[:, chosen], season)
    horizon = min(each.horizon for each in forecasters.values())
    at = origins(len(whole), len(past), horizon, stride)
    observed = targets(whole, at, horizon)[:, :, chosen]
    found = {}
    for name, each in track(list(forecasters.items()), "Forecasts"):
        forecast = rolling(each, whole, at)
        columns = list(range(forecast.shape[2])) if forecast.shape[2] == len(chosen) else chosen
        found[name] = Scores.of(_Part(forecast, columns, horizon), observed, scale)
    return found


class _Part(Forecast):
    """Some variables and the first steps of a forecast."""

    def __init__(self, whole: Forecast, columns: Sequence[int], horizon: int) -> None:
        self._whole, self._columns, self._horizon = whole, list(columns), horizon

    @property
    def shape(self) -> tuple[int, int, int]:
        return self._whole.shape[0], self._horizon, len(self._columns)

    def _cut(self, values: ndarray) -> ndarray:
        return values[..., : self._horizon, :][..., self._columns]

    @property
    def mean(self) -> Float64[ndarray, "batch horizon variables"]:
        return self._cut(self._whole.mean)

    def sample(self, count: int, seed: int = 0) -> Float64[ndarray, "count batch horizon variables"]:
        return self._cut(self._whole.sample(count, seed))

    def quantile(self, levels: ndarray) -> Float64[ndarray, "levels batch horizon variables"]:
        return self._cut(self._whole.quantile(levels))

    def cdf(self, values: ndarray) -> Float64[ndarray, "batch horizon variables"]:
        padded = np.zeros(self._whole.shape)
        padded[:, : self._horizon, self._columns] = values
        return self._cut(self._whole.cdf(padded))


def future_leak(
    run: Callable[[Float64[ndarray, "time variables"]], ndarray],
    values: Float64[ndarray, "time variables"],
    origin: int,
    seed: int = 0,
) -> float:
    """The largest change of what `run` gives when everything from `origin` on is replaced by noise; 0 if none leaks.

    Arguments:
        run: From a whole series to whatever is said to rest on the rows before `origin` only: a forecast, scaled
            inputs, a decision.
        values: The series.
        origin: First row of the future.
        seed: Of the noise, which is ten times as large as the data.

    Raises:
        InputError: nothing after `origin`.

    Example:
        >>> values = np.arange(10.0)[:, None]
        >>> future_leak(lambda v: v[:5].mean(0), values, origin=5)
        0.0
        >>> future_leak(lambda v: v[:5] - v.mean(0), values, origin=5) > 1
        True
    """
    if not 0 < origin < len(values):
        raise InputError("the future begins inside of the series", origin, f"Pass 1 to {len(values) - 1}.")
    other = values.copy()
    noise = np.random.default_rng(seed).standard_normal(values[origin:].shape)
    other[origin:] = values[:origin].mean(0) + 10 * (values.std(0) + 1e-9) * noise
    return float(np.abs(np.asarray(run(values)) - np.asarray(run(other))).max())
