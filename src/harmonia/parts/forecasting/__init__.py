"""Forecasting: predictive distributions, their scores, rolling evaluation without leaks, and baselines to beat.

forecast      Forecast, SampleForecast: what is predicted, as a distribution
forecaster    Forecaster, PointForecaster: what predicts; NotFitted, series_of
windows       Windows for training, chronological splits, calendar marks
scores        CRPS, energy score, pinball loss, MASE, coverage
evaluation    rolling origins, score tables, and the checker that perturbs the future
baselines     persistence, drift, seasonal naive, AR ridge
linear_window DLinear in closed form
classical     ETS and Theta by statsmodels
seasons       how many steps a season has
"""

from harmonia.parts.forecasting.baselines import Drift, Persistence, RidgeAR, SeasonalNaive
from harmonia.parts.forecasting.classical import ETS, Theta
from harmonia.parts.forecasting.evaluation import Scores, baselines, evaluate, future_leak, origins, rolling, targets
from harmonia.parts.forecasting.forecast import Forecast, SampleForecast
from harmonia.parts.forecasting.forecaster import Forecaster, NotFitted, PointForecaster, series_of
from harmonia.parts.forecasting.linear_window import LinearWindow
from harmonia.parts.forecasting.scores import (
    crps_normal,
    crps_samples,
    energy_score,
    interval_coverage,
    mase_scale,
    pinball,
)
from harmonia.parts.forecasting.seasons import usual_season
from harmonia.parts.forecasting.windows import MARKS, Windows, calendar_marks, chronological

__all__ = [
    "ETS",
    "MARKS",
    "Drift",
    "Forecast",
    "Forecaster",
    "LinearWindow",
    "NotFitted",
    "Persistence",
    "PointForecaster",
    "RidgeAR",
    "SampleForecast",
    "Scores",
    "SeasonalNaive",
    "Theta",
    "Windows",
    "baselines",
    "calendar_marks",
    "chronological",
    "crps_normal",
    "crps_samples",
    "energy_score",
    "evaluate",
    "future_leak",
    "interval_coverage",
    "mase_scale",
    "origins",
    "pinball",
    "rolling",
    "series_of",
    "targets",
    "usual_season",
]
