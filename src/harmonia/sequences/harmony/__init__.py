"""HARMONY (arXiv:2408.01000): forecast the joint distribution of a workload's indicators, then choose what to run."""

from harmonia.data.traces import fisher, rate, resample, synthetic_trace
from harmonia.sequences.harmony.adaptation import AdaptiveLevel
from harmonia.sequences.harmony.checkpoint import load_released
from harmonia.sequences.harmony.configuration import ServiceConfig, WorkloadConfig
from harmonia.sequences.harmony.demand import Demand, WorkloadModel, newsvendor
from harmonia.sequences.harmony.distribution import HarmonyForecast
from harmonia.sequences.harmony.forecaster import HarmonyForecaster
from harmonia.sequences.harmony.foresight import Foresight
from harmonia.sequences.harmony.ingest import read_prometheus
from harmonia.sequences.harmony.levels import found_levels
from harmonia.sequences.harmony.network import CascadingAttention, HarmonyConfig, HarmonyNetwork
from harmonia.sequences.harmony.planning import Limits, Prices, best_plan
from harmonia.sequences.harmony.recommendation import Recommendation
from harmonia.sequences.harmony.recommender import Recommender
from harmonia.sequences.harmony.replay import Harmony, Outcome, Setting, replay
from harmonia.sequences.harmony.rules import HPA, VPA, Oracle, PointMargin, Static
from harmonia.sequences.harmony.scaler import ResourceScaler
from harmonia.sequences.harmony.server import serving
from harmonia.sequences.harmony.throttling import plateau, throttled

__all__ = [
    "HPA",
    "VPA",
    "AdaptiveLevel",
    "CascadingAttention",
    "Demand",
    "Foresight",
    "Harmony",
    "HarmonyConfig",
    "HarmonyForecast",
    "HarmonyForecaster",
    "HarmonyNetwork",
    "Limits",
    "Oracle",
    "Outcome",
    "PointMargin",
    "Prices",
    "Recommendation",
    "Recommender",
    "ResourceScaler",
    "ServiceConfig",
    "Setting",
    "Static",
    "WorkloadConfig",
    "WorkloadModel",
    "best_plan",
    "fisher",
    "found_levels",
    "load_released",
    "newsvendor",
    "plateau",
    "rate",
    "read_prometheus",
    "replay",
    "resample",
    "serving",
    "synthetic_trace",
    "throttled",
]
