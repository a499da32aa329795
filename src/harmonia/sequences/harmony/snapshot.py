"""What the service says: recommendations as JSON in the shapes of VPA and HPA, and metrics for Prometheus."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy import ndarray

from harmonia.sequences.harmony.configuration import WorkloadConfig
from harmonia.sequences.harmony.demand import Demand
from harmonia.sequences.harmony.ingest import FileSource, PrometheusSource, exposition, quantity
from harmonia.sequences.harmony.recommendation import Recommendation
from harmonia.sequences.harmony.scaler import ResourceScaler

_RESOURCES = {"cores": "cpu", "millicores": "cpu", "GB": "memory", "bytes": "memory", "gpus": "gpu"}


@dataclass
class Watched:
    """A workload: its configuration, where it is measured, who decides, and what was last known and decided."""

    config: WorkloadConfig
    source: PrometheusSource | FileSource
    scaler: ResourceScaler
    current: int = 0
    last: Recommendation | None = None
    problems: tuple[str, ...] = ()
    seen: float = -math.inf
    """Time of the last demand that was learnt from."""
    age: float = math.nan
    demand: Demand | None = None
    known: float | None = None
    """The last sound demand."""
    throttled: ndarray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    """Which measured demands were at their limit."""


@dataclass(frozen=True)
class Snapshot:
    """What the service answers until the next refresh; never changed, so that it is read without locks."""

    recommendations: dict[str, dict[str, Any]] = field(default_factory=dict)
    metrics: str = ""
    refreshed: float = 0.0

    @classmethod
    def of(cls, workloads: Sequence[Watched], now: float, took: float) -> Snapshot:
        """What is to be said after a refresh that took so many seconds."""
        told = {each.config.name: _as_json(each, now) for each in workloads if each.last}
        return cls(told, _metrics(workloads, took), now)


def _metrics(workloads: Sequence[Watched], took: float) -> str:
    """All recommendations and forecasts in Prometheus' text format."""
    replicas, risk, forecast, fallback, age, limit = (list[tuple[Mapping[str, Any], float]]() for _ in range(6))
    for each in workloads:
        name, last = {"workload": each.config.name}, each.last
        if last is None:
            continue
        for level, units in ((0.5, last.lower), (1 - each.config.sla, last.target), (0.999, last.upper)):
            replicas.append((name | {"quantile": f"{level:g}"}, float(units)))
        risk.append((name, last.p_violation))
        fallback.append((name, float(last.fallback)))
        age.append((name, each.age))
        limit.append((name, float(each.throttled[-1:].any())))
        if each.demand is not None:
            for level in (0.05, 0.5, 0.95, 0.99):
                for step, value in enumerate(each.demand.requirement(1 - level), start=1):
                    forecast.append((name | {"quantile": f"{level:g}", "step": step}, float(value)))
    return exposition(
        {
            "harmony_recommended_replicas": ("Units for a quantile of demand; the SLA's is the target.", replicas),
            "harmony_violation_probability": ("Probability that demand exceeds the target's capacity.", risk),
            "harmony_forecast": ("Quantiles of demand at coming steps.", forecast),
            "harmony_fallback": ("1 while the reactive rule decides.", fallback),
            "harmony_demand_throttled": ("1 while demand is at its limit: it is more than is measured.", limit),
            "harmony_data_age_seconds": ("Age of the last sound measurement.", age),
            "harmony_refresh_seconds": ("What the last refresh took.", [({}, took)]),
        }
    )


def _as_json(workload: Watched, now: float) -> dict[str, Any]:
    """A recommendation in the shape of the VPA, with the HPA's number and the reasons beside it."""
    last, config = workload.last, workload.config
    assert last is not None
    resource = _RESOURCES.get(config.unit, config.unit)

    def amount(units: int) -> dict[str, str]:
        return {resource: quantity(units * config.unit_capacity, resource)}

    return {
        "workload": config.name,
        "dryRun": True,
        "time": now,
        "recommendation": {
            "containerRecommendations": [
                {
                    "containerName": config.name,
                    "target": amount(last.target),
                    "lowerBound": amount(last.lower),
                    "upperBound": amount(last.upper),
                    "uncappedTarget": amount(last.uncapped),
                }
            ]
        },
        "desiredReplicas": last.target,
        "plan": list(last.plan),
        "requirement": list(last.requirement),
        "violationProbability": _plain(last.p_violation),
        "expectedCost": _plain(last.expected_cost),
        "level": _plain(last.level),
        "binding": last.binding,
        "fallback": last.fallback,
        "throttled": bool(workload.throttled[-1:].any()),
        "reason": last.reason,
        "problems": list(workload.problems),
    }


def _plain(value: float) -> float | None:
    """JSON knows no NaN."""
    return value if math.isfinite(value) else None
