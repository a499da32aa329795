"""Real panels that a package carries, the past only, beside the simple rules on the same windows."""

from __future__ import annotations

from functools import lru_cache

from harmonia.core.claim import Measured, claim
from harmonia.core.errors import MissingDependency
from harmonia.data import accommodation, airport_weather, gapminder
from harmonia.sequences.regenn.evaluation import PanelScores, compare, simple_rules
from harmonia.sequences.regenn.forecaster import ReGENNForecaster
from harmonia.sequences.regenn.published import Published, published_protocol

_PANELS = {
    "countries": (gapminder, 10, 5, 1),
    "accommodation": (accommodation, 12, 4, 4),
    "weather": (airport_weather, 36, 6, 24),
}
"""Loader, window, horizon, season."""


@lru_cache(maxsize=4)
def beside_rules(name: str, seed: int, steps: int = 400) -> dict[str, PanelScores] | None:
    """Errors on the last fifth."""
    load, window, horizon, season = _PANELS[name]
    try:
        panel = load()
    except MissingDependency:
        return None
    cut = round(0.8 * panel.length)
    past = panel.until(cut)
    networks = {
        label: ReGENNForecaster(window, horizon, steps=steps, random_state=seed, graph=label == "ReGENN").fit(past)
        for label in ("ReGENN", "without graphs")
    }
    rules = simple_rules(past, horizon, season=season, window=window)
    return compare({**networks, **rules}, panel, cut, season=season, stride=max(1, (panel.length - cut) // 20))


def _ratio(name: str, seed: int) -> Measured | None:
    scores = beside_rules(name, seed)
    if scores is None:
        return None
    best = min(each.mase for rule, each in scores.items() if rule not in ("ReGENN", "without graphs"))
    told = ", ".join(f"{rule} {each.mase:.3f}" for rule, each in sorted(scores.items(), key=lambda kv: kv[1].mase))
    return Measured(scores["ReGENN"].mase / best, baseline=1.0, note=f"scaled errors: {told}")


@claim(
    "120 countries, five years ahead: error over that of the best simple rule",
    place="ours: a real public panel; abstract: better than competing algorithms",
    unit="ratio of mean absolute scaled errors",
    better="lower",
    tier="full",
    gate=1.0,
)
def countries(seed: int) -> Measured | None:
    return _ratio("countries", seed)


@claim(
    "Accommodation in eight states, a year ahead: error over that of the best simple rule",
    place="ours: a real public panel; abstract: better than competing algorithms",
    unit="ratio of mean absolute scaled errors",
    better="lower",
    tier="full",
    gate=1.0,
)
def states(seed: int) -> Measured | None:
    return _ratio("accommodation", seed)


@claim(
    "Weather at three airports, six hours ahead: error over that of the best simple rule",
    place="ours: a real public panel in the place of Brazilian stations",
    unit="ratio of mean absolute scaled errors",
    better="lower",
    tier="full",
    gate=1.0,
)
def weather(seed: int) -> Measured | None:
    return _ratio("weather", seed)


def _protocol(seed: int) -> Published | None:
    try:
        return published_protocol(accommodation(), 12, 4, steps=1, feedforward=8, seed=seed)
    except MissingDependency:
        return None


@claim(
    "Accommodation, the published protocol: a rule that learns nothing, given the future's scale, over the last value",
    place="ours: what the published normalisation gives away",
    unit="ratio of mean absolute errors",
    better="lower",
    tier="quick",
    gate=1.0,
)
def scale_of_the_future(seed: int) -> Measured | None:
    found = _protocol(seed)
    if found is None:
        return None
    told = {name: each.mae for name, each in found._asdict().items() if name != "network"}  # which is not trained here
    note = ", ".join(f"{name.replace('_', ' ')} {mae:.3g}" for name, mae in told.items())
    return Measured(found.nothing_learned.mae / found.last.mae, baseline=1.0, note=f"mean absolute errors: {note}")
