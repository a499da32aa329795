"""Jobs: plan resources from a trace, replay it under many policies, fit and recommend, serve recommendations."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import polars

from harmonia.core.errors import InputError
from harmonia.core.progress import say, track
from harmonia.core.task import Field
from harmonia.core.weights import Checkpoint
from harmonia.data.traces import synthetic_trace
from harmonia.media import Figure, Series, Table, Text
from harmonia.sequences.harmony import report
from harmonia.sequences.harmony.configuration import ServiceConfig, WorkloadConfig
from harmonia.sequences.harmony.demand import Demand
from harmonia.sequences.harmony.forecaster import HarmonyForecaster
from harmonia.sequences.harmony.options import (
    Capacity,
    Cooldown,
    CostChange,
    CostOver,
    CostSwitch,
    CostUnder,
    Delay,
    MaxStep,
    MaxUnits,
    MinUnits,
    Sla,
    Utilization,
)
from harmonia.sequences.harmony.recommender import Recommender
from harmonia.sequences.harmony.replay import cheapest
from harmonia.sequences.harmony.scaler import ResourceScaler, seconds
from harmonia.sequences.harmony.server import serving, stop_signal
from harmonia.sequences.harmony.study import (
    demand_column,
    interval_of,
    say_levels,
    study_of,
    usable,
    without_limit,
)
from harmonia.sequences.harmony.throttling import throttled
from harmonia.sequences.harmony.trace import read_trace

Distribution = Literal["spline", "realnvp", "normal", "studentt", "quantile"]

_TRACE = Field(
    "demand and other indicators, one row a step: CSV, Parquet, or a JSON answer of Prometheus; gaps are filled",
    example=synthetic_trace,
    read=read_trace,
)
_COLUMN = Field("variable that is the demand; cpu, demand, calls, ... unless given")
_LIMIT = Field("most that the demand can be, a number or a variable; found from a plateau unless given, inf for none")
_INTERVAL = Field("time between rows, where the trace has no dates")
_SEASON = Field("steps of a day, for the rules that are compared; 0: from the time between rows", ge=0)
_DISTRIBUTION = Field("family of predictive distributions; realnvp is the paper's")
_EPOCHS = Field("passes over the traces", gt=0, le=1000)
_STEPS = Field("steps of training", ge=1, le=1_000_000)


class Planned(TypedDict):
    plan: Annotated[
        Table, Field("coming steps: units, quantiles of demand, probability of demand above usable capacity")
    ]
    policies: Annotated[
        Table, Field("the replay of what follows the warm-up: steps above capacity, waste and cost by policy")
    ]
    forecasts: Annotated[Table, Field("CRPS, MASE and coverage of the forecaster and of the simple rules")]
    ahead: Annotated[Figure, Field("what may come, and what is planned for it")]
    frontier: Annotated[Figure, Field("violations against spare capacity for all policies")]
    skill: Annotated[Figure, Field("the forecaster beside the simple rules")]
    target: Annotated[int, Field("units to order now")]
    reason: Annotated[str, Field("why")]


def plan(
    trace: Annotated[Series, _TRACE],
    *,
    column: Annotated[str, _COLUMN] = "",
    unit_capacity: Capacity = 0.5,
    target_utilization: Utilization = ResourceScaler.target_utilization,
    sla: Sla = 0.01,
    cost_over: CostOver = ResourceScaler.cost_over,
    cost_under: CostUnder = ResourceScaler.cost_under,
    cost_change: CostChange = ResourceScaler.cost_change,
    cost_switch: CostSwitch = ResourceScaler.cost_switch,
    limit: Annotated[str, _LIMIT] = "",
    startup_delay: Delay = "10min",
    cooldown: Cooldown = "0s",
    min_units: MinUnits = 1,
    max_units: MaxUnits = 1000,
    max_step: MaxStep = 0,
    lookback: Annotated[int, Field("steps that a forecast sees; 0: a day, at least 48", ge=0)] = 0,
    horizon: Annotated[int, Field("steps to plan", ge=1, le=288)] = 12,
    distribution: Annotated[Distribution, _DISTRIBUTION] = "spline",
    steps: Annotated[int, _STEPS] = 250,
    classical: Annotated[bool, Field("also compare with ETS and Theta, which take a fit an origin")] = True,
    interval: Annotated[str, _INTERVAL] = "10min",
    season: Annotated[int, _SEASON] = 0,
    seed: Annotated[int, Field("random seed")] = 0,
) -> Planned:
    """Plan how much to run: forecast demand with its uncertainty, and choose units that keep an SLA at least cost.

    Two thirds of the trace are fitted to; the rest is replayed under this method, Kubernetes' HPA and VPA rules, a
    static size and an oracle, and the forecaster is scored beside simple rules. The plan is for what follows the end.
    """
    scaler = ResourceScaler(
        unit_capacity, target_utilization, sla, cost_over, cost_under, cost_change, cost_switch,
        startup_delay=startup_delay, cooldown=cooldown, min_units=min_units, max_units=max_units, max_step=max_step,
    )  # fmt: skip
    study = study_of(trace, column, scaler, lookback, horizon, distribution, steps, interval, season, seed, limit)
    scores = study.scores(classical=classical, stride=max(12, (len(study.trace) - study.first) // 30))
    policy = study.harmony(sla)
    outcomes = [study.play(policy), *(study.play(study.harmony(each)) for each in study.sweep())]
    outcomes += [study.play(each) for each in study.rivals()]
    demand, found = study.now(policy, int(outcomes[0].units[-1]))
    report.judge(outcomes)
    return {
        "plan": Table(report.plan_rows(study.trace, demand, found, study.scaler(sla).serves)),
        "policies": Table(report.policy_rows(outcomes)),
        "forecasts": Table(polars.DataFrame([{"forecaster": k, **v._asdict()} for k, v in scores.items()])),
        "ahead": report.plan_figure(study.trace, study.column, demand, found, study.scaler(sla).serves),
        "frontier": report.frontier_figure(outcomes, sla, study.name),
        "skill": report.scores_figure(scores, study.name),
        "target": found.target,
        "reason": found.reason,
    }


class Replayed(TypedDict):
    policies: Annotated[Table, Field("steps above capacity, shortage, waste, changes and cost by policy")]
    steps: Annotated[Table, Field("demand and the units that served at every step, by policy")]
    picture: Annotated[Figure, Field("what served the demand under this method and its rivals")]
    frontier: Annotated[Figure, Field("violations against spare capacity for all policies")]


def replay(
    trace: Annotated[Series, _TRACE],
    *,
    column: Annotated[str, _COLUMN] = "",
    unit_capacity: Capacity = 0.5,
    target_utilization: Utilization = ResourceScaler.target_utilization,
    sla: Sla = 0.01,
    cost_over: CostOver = ResourceScaler.cost_over,
    cost_under: CostUnder = ResourceScaler.cost_under,
    cost_change: CostChange = ResourceScaler.cost_change,
    cost_switch: CostSwitch = ResourceScaler.cost_switch,
    limit: Annotated[str, _LIMIT] = "",
    startup_delay: Delay = "10min",
    cooldown: Cooldown = "0s",
    min_units: MinUnits = 1,
    max_units: MaxUnits = 1000,
    max_step: MaxStep = 0,
    horizon: Annotated[int, Field("steps to plan", ge=1, le=288)] = 12,
    distribution: Annotated[Distribution, _DISTRIBUTION] = "spline",
    steps: Annotated[int, _STEPS] = 250,
    interval: Annotated[str, _INTERVAL] = "10min",
    season: Annotated[int, _SEASON] = 0,
    seed: Annotated[int, Field("random seed")] = 0,
) -> Replayed:
    """Replay a trace under this method at several SLAs, HPA and VPA rules, point forecasts, static sizes, an oracle."""
    scaler = ResourceScaler(
        unit_capacity, target_utilization, sla, cost_over, cost_under, cost_change, cost_switch,
        startup_delay=startup_delay, cooldown=cooldown, min_units=min_units, max_units=max_units, max_step=max_step,
    )  # fmt: skip
    study = study_of(trace, column, scaler, 0, horizon, distribution, steps, interval, season, seed, limit)
    first = study.play(study.harmony(sla))
    outcomes = [first, *study.frontier(study.sweep())]
    report.judge(outcomes)
    hpa = cheapest([each for each in outcomes if each.name.startswith("HPA")], max(sla, first.violations))
    vpa = cheapest([each for each in outcomes if each.name.startswith("VPA")], max(sla, first.violations))
    shown = [each for each in (first, hpa, vpa) if each is not None]
    times = study.trace.times[study.first + 1 :][: len(first.demand)]
    columns: dict[str, Any] = {"time": times, study.name: first.demand}
    columns |= {each.name: each.units for each in outcomes}
    return {
        "policies": Table(report.policy_rows(outcomes)),
        "steps": Table(polars.DataFrame(columns)),
        "picture": report.replay_figure(times, shown, unit_capacity, study.name),
        "frontier": report.frontier_figure(outcomes, sla, study.name),
    }


class Fitted(TypedDict):
    weights: Annotated[Checkpoint, Field("the forecaster, for `recommend`")]
    loss: Annotated[float, Field("negative log density per number on the traces, in nats")]


def fit(
    traces: Annotated[
        list[Series], Field("traces with the same variables", example=lambda: [synthetic_trace()], read=read_trace)
    ],
    *,
    column: Annotated[str, _COLUMN] = "",
    limit: Annotated[str, _LIMIT] = "",
    lookback: Annotated[int, Field("steps that a forecast sees", ge=2)] = 144,
    horizon: Annotated[int, Field("steps to predict", ge=1, le=288)] = 12,
    distribution: Annotated[Distribution, _DISTRIBUTION] = "spline",
    epochs: Annotated[float, _EPOCHS] = 20.0,
    keep: Annotated[str, Field("folder for checkpoints, so that training resumes")] = "",
    seed: Annotated[int, Field("random seed")] = 0,
) -> Fitted:
    """Train one forecaster on many workloads."""
    pairs = [without_limit(trace, limit) for trace in traces]
    plain = [trace for trace, _ in pairs]
    place = demand_column(plain[0], column)
    for each in plain[1:]:
        demand_column(each, str(plain[0].names[place]))
    say_levels(plain[0].names)
    at_limit = [throttled(trace.values[:, place], most) for trace, most in pairs]
    forecaster = HarmonyForecaster(
        lookback,
        horizon,
        target=[str(plain[0].names[place])],
        distribution=distribution,
        epochs=epochs,
        random_state=seed,
        folder=Path(keep) if keep else None,
    ).fit(plain, at_limit)
    return {"weights": forecaster.checkpoint(), "loss": float(forecaster.trained_.history[-1]["loss"])}


class Recommended(TypedDict):
    recommendation: Annotated[Text, Field("what to run and why, as JSON")]
    ahead: Annotated[Figure, Field("what may come, and what is planned for it")]
    target: Annotated[int, Field("units to order now")]
    reason: Annotated[str, Field("why")]


def recommend(
    trace: Annotated[Series, _TRACE],
    *,
    weights: Annotated[Path | None, Field("what `fit` wrote; trained on the trace unless given")] = None,
    column: Annotated[str, _COLUMN] = "",
    current: Annotated[int, Field("units that run now; 0: as many as the last demand takes", ge=0)] = 0,
    unit_capacity: Capacity = 0.5,
    target_utilization: Utilization = ResourceScaler.target_utilization,
    sla: Sla = 0.01,
    cost_over: CostOver = ResourceScaler.cost_over,
    cost_under: CostUnder = ResourceScaler.cost_under,
    cost_change: CostChange = ResourceScaler.cost_change,
    cost_switch: CostSwitch = ResourceScaler.cost_switch,
    limit: Annotated[str, _LIMIT] = "",
    startup_delay: Delay = "10min",
    min_units: MinUnits = 1,
    max_units: MaxUnits = 1000,
    max_step: MaxStep = 0,
    steps: Annotated[int, _STEPS] = 250,
    interval: Annotated[str, _INTERVAL] = "10min",
    seed: Annotated[int, Field("random seed")] = 0,
) -> Recommended:
    """Say once how many units to run after the end of a trace."""
    trace, most = without_limit(trace, limit)
    if weights is None:
        trace = usable(trace)
        place = demand_column(trace, column)
        target = str(trace.names[place])
        say_levels(trace.names)
        lookback = min(144, len(trace) // 3)
        forecaster = HarmonyForecaster(lookback, 12, target=[target], steps=steps, random_state=seed)
        forecaster.fit([trace], [throttled(trace.values[:, place], most)])
    else:
        forecaster = HarmonyForecaster.load(weights)
        target = column or forecaster.targets_[0]
    place = demand_column(trace, target)
    if target not in forecaster.targets_:
        got = f"'{target}'"
        raise InputError("the forecaster does not predict this", got, f"It predicts {', '.join(forecaster.targets_)}.")
    scaler = ResourceScaler(
        unit_capacity, target_utilization, sla, cost_over, cost_under, cost_change, cost_switch,
        interval=interval_of(trace, interval), startup_delay=startup_delay, min_units=min_units, max_units=max_units,
        max_step=max_step,
    )  # fmt: skip
    demand = Demand.one(forecaster.predict_distribution(trace), target)
    found = scaler.recommend(demand, current or scaler.units(float(trace.values[-1, place])))
    return {
        "recommendation": Text(json.dumps(found.__dict__, indent=1)),
        "ahead": report.plan_figure(trace, place, demand, found, scaler.serves),
        "target": found.target,
        "reason": found.reason,
    }


class Served(TypedDict):
    recommendations: Annotated[Table, Field("the last recommendation of each workload")]


def serve(
    *,
    config: Annotated[Path | None, Field("YAML or TOML that lists workloads; two synthetic ones unless given")] = None,
    port: Annotated[int, Field("port to listen on; 0 for any free one", ge=0, le=65535)] = 8080,
    host: Annotated[str, Field("interface to listen on")] = "127.0.0.1",
    interval: Annotated[str, Field("time between two looks at the measurements")] = "60s",
    rounds: Annotated[int, Field("looks before it stops; 0: never", ge=0)] = 0,
) -> Served:
    """Serve recommendations over HTTP: JSON at /recommendations, metrics for Prometheus at /metrics.

    Nothing is scaled: it only recommends. State survives restarts in the folder that the configuration names. SIGTERM
    ends it after the look at hand.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = ServiceConfig.read(config) if config is not None else _example_service(Path(folder))
        recommender = Recommender(settings)
        with serving(recommender, host, port) as address, stop_signal() as stopped:
            say(f"Serving {len(settings.workloads)} workloads at {address}/recommendations and {address}/metrics.")
            endless = iter(int, 1)
            for done, _ in enumerate(track(range(rounds) if rounds else endless, "Looks"), start=1):
                begun = time.monotonic()
                recommender.refresh()
                if done == rounds or stopped.wait(max(0.0, begun + seconds(interval) - time.monotonic())):
                    break
    return {"recommendations": Table(_served_rows(recommender))}


def _served_rows(recommender: Recommender) -> polars.DataFrame:
    told = recommender.snapshot.recommendations.values()
    keys = ("workload", "desiredReplicas", "violationProbability", "fallback", "reason")
    return polars.DataFrame([{key: each[key] for key in keys} for each in told])


def _example_service(folder: Path) -> ServiceConfig:
    """Two synthetic workloads in files."""
    workloads = []
    for seed, name in enumerate(("checkout", "search")):
        synthetic_trace(seed, days=10).write(folder / f"{name}.csv")
        workloads.append(
            WorkloadConfig(
                name=name,
                unit="cores",
                unit_capacity=0.5,
                demand="cpu",
                indicators={"load": "load", "memory": "memory"},
                file=str(folder / f"{name}.csv"),
            )
        )
    return ServiceConfig(workloads=workloads, state=str(folder / "state"), steps=100)


JOBS = (plan, replay, fit, recommend, serve)
