"""Forecasters side by side on one split: ours, DLinear, and the simple rules that stand in every table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars

from harmonia.core.progress import track
from harmonia.media import Series
from harmonia.parts.forecasting import Forecaster, Scores, baselines, mase_scale, origins, rolling, targets
from harmonia.parts.spread import spread_of


def compare(
    fitted: Mapping[str, Forecaster],
    past: Series,
    whole: Series,
    season: int,
    count: int = 40,
    *,
    classical: bool = True,
) -> polars.DataFrame:
    """Errors of forecasters on what follows `past` in `whole`, from the same origins for all.

    Arguments:
        fitted: Forecasters that were fitted to `past`, with one horizon.
        past: What may be learnt from.
        whole: The whole series.
        season: Steps of a season, for the rules.
        count: Origins, evenly spread.
        classical: Whether ETS and Theta are among the rules.

    Returns:
        One row a forecaster, the best first: MSE and MAE in units of the fitted series' spread, MASE, CRPS, coverage.
    """
    horizon = next(iter(fitted.values())).horizon
    rules = dict(fitted)
    for name, rule in baselines(season, horizon, classical=classical).items():
        if rule.lookback + horizon <= len(past):
            rules[name] = rule.fit([past])
    every = origins(len(whole), len(past), horizon)
    at = every[np.unique(np.linspace(0, len(every) - 1, min(count, len(every))).astype(np.int64))]
    observed = targets(whole, at, horizon)
    spread = spread_of(past.values)
    scale = mase_scale(past.values, min(season, len(past) - 1))
    varied = np.isfinite(scale)
    rows = []
    for name, rule in track(list(rules.items()), "Forecasts"):
        forecast = rolling(rule, whole, at)
        error = (forecast.mean - observed) / spread
        scores = Scores.of(forecast, observed, scale)
        mase = np.abs(forecast.mean - observed)[:, :, varied] / scale[varied]
        rows.append(
            {
                "forecaster": name,
                "MSE": float(np.square(error).mean()),
                "MAE": float(np.abs(error).mean()),
                "MASE": float(mase.mean()) if varied.any() else None,
                "CRPS": scores.crps,
                "coverage of 90%": scores.coverage,
            }
        )
    return polars.DataFrame(rows).sort("MSE")
