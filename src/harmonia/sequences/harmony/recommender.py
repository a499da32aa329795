"""The service without its network: reads all workloads, keeps their forecasters, recommends, survives restarts."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np

from harmonia.core.errors import HarmoniaError, InputError
from harmonia.core.media import whole_file
from harmonia.core.progress import say
from harmonia.media import Series
from harmonia.sequences.harmony.configuration import ServiceConfig, WorkloadConfig
from harmonia.sequences.harmony.demand import Demand
from harmonia.sequences.harmony.forecaster import HarmonyForecaster
from harmonia.sequences.harmony.ingest import (
    STALE,
    Cleaned,
    FileSource,
    Get,
    PrometheusSource,
    http_get,
)
from harmonia.sequences.harmony.scaler import seconds
from harmonia.sequences.harmony.snapshot import Snapshot, Watched
from harmonia.sequences.harmony.throttling import throttled

READERS = 16
"""Workloads whose measurements are asked for at once."""

PATIENCE = 120.0
"""Seconds after which no further measurements are asked for, so that a server that hangs does not stop decisions."""

_LIMIT = "limit"
"""What the column of a measured limit is called; never an input of the network."""

_FACTORS = {"cores": 1.0, "millicores": 1e-3, "GB": 1.0, "bytes": 1e-9, "gpus": 1.0, "requests": 1.0}


class Recommender:
    """Recommends for many workloads at once.

    Workloads with the same indicators share one network, and their forecasts are one batch.

    Arguments:
        config: What to watch.
        get: HTTP client for Prometheus.
        clock: Time in seconds since 1970.
    """

    def __init__(self, config: ServiceConfig, *, get: Get = http_get, clock: Callable[[], float] = time.time) -> None:
        self.config, self._get, self._clock = config, get, clock
        self.folder = Path(config.state)
        self.snapshot = Snapshot()
        self._workloads = {each.name: self._workload(each) for each in config.workloads}
        self._forecasters: dict[str, tuple[HarmonyForecaster, float]] = {}
        self._restore()

    def _workload(self, config: WorkloadConfig) -> Watched:
        names = {"demand": config.demand, **config.indicators}
        if config.measures_limit:
            names[_LIMIT] = str(config.limit)
        source: PrometheusSource | FileSource
        if config.file:
            source = FileSource(Path(config.file), tuple(names.values()), seconds(config.step), config.live)
        else:
            url = self.config.prometheus
            source = PrometheusSource(url, names, seconds(config.step), seconds(config.history), self._get)
        return Watched(config, source, config.scaler())

    def refresh(self) -> Snapshot:
        """Read, forecast and decide for all workloads; one that fails falls back and harms no other."""
        now = float(self._clock())
        begun = time.perf_counter()
        groups: dict[str, list[tuple[Watched, Series]]] = {}
        with ThreadPoolExecutor(READERS) as pool:
            read = list(pool.map(lambda each: self._read(each, now, begun), self._workloads.values()))
        for workload, cleaned in zip(self._workloads.values(), read):
            workload.demand = None
            if cleaned is None:
                continue
            workload.problems, workload.age = cleaned.problems, now - cleaned.end
            workload.known = float(cleaned.series.values[-1, 0])
            self._learn(workload, cleaned)
            if workload.age > STALE * seconds(workload.config.step):
                workload.problems += (f"data are {workload.age:.0f} s old",)
            elif len(cleaned.series) < self.config.lookback:
                workload.problems += (f"cold start: {len(cleaned.series)} of {self.config.lookback} steps are known",)
            else:
                groups.setdefault(self._group(workload, cleaned.series), []).append((workload, cleaned.series))
        for key, members in groups.items():
            self._forecast(key, members, now)
        for workload in self._workloads.values():
            self._decide(workload, now)
        self._save()
        self.snapshot = Snapshot.of(list(self._workloads.values()), now, time.perf_counter() - begun)
        return self.snapshot

    def _read(self, workload: Watched, now: float, begun: float) -> Cleaned | None:
        """Its measurements, or None and what is wrong with them."""
        try:
            if time.perf_counter() - begun > PATIENCE:
                raise InputError("measurements are slow", f"{PATIENCE:g} s are over", "Check the server's load.")
            return self._measured(workload, now)
        except HarmoniaError as error:
            workload.problems, workload.age = (str(error),), math.nan
            return None

    def _measured(self, workload: Watched, now: float) -> Cleaned:
        cleaned, config = workload.source.read(now), workload.config
        names, series = ("demand", *config.indicators), cleaned.series
        known = float(config.limit) if config.limit and not config.measures_limit else None
        limit = series.values[:, -1] if config.measures_limit else known
        workload.throttled = throttled(series.values[:, 0], limit)
        if workload.throttled.any():
            said = f"demand was at its limit in {workload.throttled.sum()} of {len(series)} steps: lower bounds"
            cleaned = cleaned._replace(problems=(*cleaned.problems, said))
        values = series.values[:, : len(names)] * np.r_[_FACTORS[config.unit], np.ones(len(names) - 1)]
        if config.replicas and not config.file:
            source = PrometheusSource(self.config.prometheus, {"r": config.replicas}, 60.0, 600.0, self._get)
            workload.current = max(1, round(source.read(now).series.values[-1, 0]))
        return cleaned._replace(series=Series(values, names, series.times))

    def _learn(self, workload: Watched, cleaned: Cleaned) -> None:
        """Let the level adapt, once for each new step of the measurements."""
        times = cleaned.series.times.astype("datetime64[us]").astype(np.int64) / 1e6
        if math.isfinite(workload.seen):
            for row in np.flatnonzero(times > workload.seen):
                demand, at_limit = float(cleaned.series.values[row, 0]), bool(workload.throttled[row])
                workload.scaler.observe(demand, at_limit, at=float(times[row]))
        workload.seen = max(workload.seen, float(times[-1]))

    def _group(self, workload: Watched, series: Series) -> str:
        levels = sorted(workload.config.levels.items())
        text = json.dumps([series.names, workload.config.step, levels, self.config.lookback, self.config.horizon])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def _forecast(self, key: str, members: list[tuple[Watched, Series]], now: float) -> None:
        forecaster, fitted = self._forecasters.get(key, (None, -math.inf))
        if forecaster is None or now - fitted > seconds(self.config.refit):
            enough = self.config.lookback + self.config.horizon + 1
            long = [(workload.throttled, series) for workload, series in members if len(series) >= enough]
            if long:
                say(f"Training a forecaster on {len(long)} workloads.")
                levels = {"demand": 2} | dict(members[0][0].config.levels)
                config = self.config
                forecaster = HarmonyForecaster(
                    config.lookback, config.horizon, target=["demand"], levels=levels, steps=config.steps
                ).fit([series for _, series in long], [at_limit for at_limit, _ in long])
                self._forecasters[key] = (forecaster, now)
                forecaster.save(self.folder / f"forecaster-{key}.safetensors")
        if forecaster is None:
            for workload, series in members:
                workload.problems += (f"cold start: {len(series)} steps are too few to train on",)
            return
        values = np.stack([series.values[-forecaster.lookback :] for _, series in members])
        times = np.stack([series.times[-forecaster.lookback :] for _, series in members])
        for (workload, _), demand in zip(members, Demand.of(forecaster.forecast(values, times))):
            workload.demand = demand

    def _decide(self, workload: Watched, now: float) -> None:
        scaler = workload.scaler
        current = workload.current or scaler.units(workload.known or 0.0)
        if workload.demand is None:
            why = workload.problems[-1] if workload.problems else "no forecast"
            workload.last = scaler.react(workload.known, current, now, why)
        else:
            workload.last = scaler.recommend(workload.demand, current, now, measured=workload.seen)
        workload.current = workload.last.target

    def _save(self) -> None:
        state = {
            "workloads": {
                name: {"current": each.current, "seen": each.seen, "known": each.known, "scaler": each.scaler.state()}
                for name, each in self._workloads.items()
                if math.isfinite(each.seen)
            },
            "forecasters": {key: fitted for key, (_, fitted) in self._forecasters.items()},
        }
        with whole_file(self.folder / "state.json") as temporary:
            temporary.write_bytes(msgspec.json.encode(state))

    def _restore(self) -> None:
        path = self.folder / "state.json"
        if not path.is_file():
            return
        try:
            state = msgspec.json.decode(path.read_bytes())
            for name, kept in state["workloads"].items():
                if name in self._workloads:
                    workload = self._workloads[name]
                    workload.current, workload.seen = int(kept["current"]), float(kept["seen"])
                    workload.known = None if kept["known"] is None else float(kept["known"])
                    workload.scaler.restore(kept["scaler"])
            for key, fitted in state["forecasters"].items():
                file = self.folder / f"forecaster-{key}.safetensors"
                if file.is_file():
                    self._forecasters[key] = (HarmonyForecaster.load(file), float(fitted))
        except (KeyError, TypeError, ValueError, OSError, msgspec.MsgspecError) as error:
            raise InputError(f"the state in {path} cannot be read", error, "Delete it to start afresh.") from error
