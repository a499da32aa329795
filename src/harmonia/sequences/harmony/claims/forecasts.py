"""Forecasts of real demand beside the simple rules, each on the same split and origins.

The Fisher containers are read from the folder that the environment variable HARMONIA_FISHER names; they carry no
licence and are not part of this library.
"""

from __future__ import annotations

import os
from functools import lru_cache

import numpy as np

from harmonia.core.claim import Measured, claim
from harmonia.data.traces import bank_calls, electricity, fisher
from harmonia.media import Series
from harmonia.parts.forecasting import Scores, baselines, chronological, evaluate
from harmonia.sequences.harmony.forecaster import HarmonyForecaster

FISHER = "HARMONIA_FISHER"
_HORIZON = 6
_SEASONAL = ("container2", "container6", "container7")


def _beside(scores: dict[str, Scores]) -> str:
    """All CRPS, best first; whoever wins is said by its place."""
    return ", ".join(f"{name} {each.crps:.4g}" for name, each in sorted(scores.items(), key=lambda kv: kv[1].crps))


@lru_cache(maxsize=4)
def _public(name: str, seed: int) -> dict[str, Scores]:
    """CRPS on a public series: the last fifth, predicted an hour or more ahead."""
    whole, season, target = {
        "calls": (bank_calls(40), 169, "calls"),
        "electricity": (electricity(90), 48, "demand"),
    }[name]
    past = chronological(whole, (0.8, 0.2))[0]
    column = list(whole.names).index(target)
    alone = Series(whole.values[:, [column]], [target], whole.times)
    rules = {key: rule.fit([chronological(alone, (0.8, 0.2))[0]]) for key, rule in baselines(season, 12).items()}
    found = evaluate(rules, chronological(alone, (0.8, 0.2))[0], alone, season=season, stride=24)
    ours = HarmonyForecaster(season, 12, target=[target], epochs=12.0, random_state=seed).fit([past])
    return found | evaluate({"HARMONY": ours}, past, whole, season=season, stride=24, variables=[target])


@claim(
    "Calls to a bank, an hour ahead in five-minute steps: CRPS over that of the best simple rule",
    place="ours: a real public demand; abstract: forecasts beat all baselines",
    unit="ratio",
    better="lower",
    tier="full",
    gate=1.0,
)
def bank(seed: int) -> Measured:
    return _ratio(_public("calls", seed))


@claim(
    "Electricity of Victoria, six hours ahead: CRPS over that of the best simple rule",
    place="ours: a real public demand; abstract: forecasts beat all baselines",
    unit="ratio",
    better="lower",
    tier="full",
    gate=1.0,
)
def victoria(seed: int) -> Measured:
    return _ratio(_public("electricity", seed))


def _ratio(scores: dict[str, Scores]) -> Measured:
    best = min(each.crps for name, each in scores.items() if name != "HARMONY")
    return Measured(scores["HARMONY"].crps / best, baseline=1.0, note=f"CRPS: {_beside(scores)}")


@lru_cache(maxsize=2)
def _containers(seed: int) -> dict[str, dict[str, Scores]] | None:
    """CRPS of processor demand of each container, one network for all of them."""
    folder = os.environ.get(FISHER)
    if not folder:
        return None
    traces = fisher(folder)
    pasts = {name: chronological(trace, (0.8, 0.2))[0] for name, trace in traces.items()}
    model = HarmonyForecaster(144, _HORIZON, target=["cpu"], epochs=4.0, random_state=seed).fit(list(pasts.values()))
    found = {}
    for name, trace in traces.items():
        column = list(trace.names).index("cpu")
        alone = Series(trace.values[:, [column]], ["cpu"], trace.times)
        past = Series(alone.values[: len(pasts[name])], ["cpu"], trace.times[: len(pasts[name])])
        rules = {key: rule.fit([past]) for key, rule in baselines(144, _HORIZON, classical=False).items()}
        scores = evaluate(rules, past, alone, season=144, stride=3)
        found[name] = scores | evaluate({"HARMONY": model}, pasts[name], trace, season=144, stride=3, variables=["cpu"])
    return found


@claim(
    "Fisher containers with a daily course: CRPS over the better of seasonal naive and AR(12), the worst of three",
    place="Fisher trace; abstract: forecasts beat all baselines",
    unit="ratio",
    better="lower",
    tier="full",
    gate=1.0,
)
def seasonal_containers(seed: int) -> Measured | None:
    found = _containers(seed)
    if found is None:
        return None
    ratios = {
        name: found[name]["HARMONY"].crps / min(found[name][rule].crps for rule in ("seasonal naive", "AR(12) ridge"))
        for name in _SEASONAL
    }
    note = "; ".join(f"{name}: {_beside(found[name])}" for name in _SEASONAL)
    return Measured(max(ratios.values()), baseline=1.0, note=f"cores, {_HORIZON} steps, last fifth; {note}")


@claim(
    "Fisher containers: mean over all ten of CRPS over that of AR(12)",
    place="Fisher trace; abstract: forecasts beat all baselines",
    unit="ratio",
    better="lower",
    tier="full",
    gate=1.02,
)
def all_containers(seed: int) -> Measured | None:
    found = _containers(seed)
    if found is None:
        return None
    ratios = {name: scores["HARMONY"].crps / scores["AR(12) ridge"].crps for name, scores in found.items()}
    note = ", ".join(f"{name.removeprefix('container')}: {ratio:.3f}" for name, ratio in ratios.items())
    return Measured(float(np.mean(list(ratios.values()))), baseline=1.0, note=f"by container: {note}")
