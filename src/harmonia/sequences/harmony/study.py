"""A trace taken through everything: fit on a warm-up, forecasts beside the rules, replay under all policies, a plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy import ndarray

from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.media import Series
from harmonia.parts.forecasting import Forecaster, Scores, baselines, evaluate
from harmonia.sequences.harmony.demand import Demand
from harmonia.sequences.harmony.forecaster import HarmonyForecaster
from harmonia.sequences.harmony.foresight import Foresight
from harmonia.sequences.harmony.heads import HeadName
from harmonia.sequences.harmony.levels import levels_of
from harmonia.sequences.harmony.planning import Prices
from harmonia.sequences.harmony.recommendation import Recommendation
from harmonia.sequences.harmony.replay import Harmony, Outcome, Setting, replay
from harmonia.sequences.harmony.rules import HPA, VPA, Oracle, PointMargin, Policy, Static
from harmonia.sequences.harmony.scaler import ResourceScaler, seconds
from harmonia.sequences.harmony.throttling import plateau, throttled

DEMANDS = ("cpu", "demand", "cores", "calls", "memory", "load", "requests")
"""Names that are taken for the demand when none is given, in this order."""

SLAS = (0.003, 0.01, 0.03, 0.1)
"""Which are compared beside the one that is asked for."""

_DAY = 86400.0


def demand_column(trace: Series, column: str) -> int:
    """Place of the demand in a trace.

    Raises:
        InputError: no such variable, or one that is negative somewhere.
    """
    names = [str(name) for name in trace.names]
    lowered = [name.lower() for name in names]
    if column:
        if column not in names:
            raise InputError("the trace has no such variable", f"'{column}'", f"Variables: {', '.join(names)}.")
        place = names.index(column)
    else:
        place = next((lowered.index(name) for name in DEMANDS if name in lowered), len(names) - 1)
        if len(names) > 1:
            say(f"Demand is taken to be '{names[place]}'; name another with --column.")
    if trace.values[:, place].min() < 0:
        raise InputError("demand is not negative", trace.values[:, place].min(), "Choose another variable.")
    return place


def say_levels(names: Sequence[str]) -> None:
    """Tell which variables are taken to stand above which."""
    levels = levels_of(names, None)
    told = (f"{level}: {', '.join(n for n, at in zip(names, levels) if at == level)}" for level in sorted(set(levels)))
    if len(names) > 1:
        say(f"Levels by name, from load to device: {'; '.join(told)}.")


def interval_of(trace: Series, fallback: str) -> float:
    """Seconds between two rows.

    Raises:
        InputError: rows that are not evenly spaced.
    """
    trace.step  # noqa: B018 (raises where the steps differ)
    if trace.times.dtype.kind != "M":
        return seconds(fallback)
    return float((trace.times[1] - trace.times[0]) / np.timedelta64(1, "s"))


def without_limit(trace: Series, limit: str) -> tuple[Series, ndarray | float | None]:
    """The trace without the column of the limit, and the limit: a number, that column, or None where none is named.

    Raises:
        InputError: neither a number nor a variable.
    """
    if not limit:
        return trace, None
    names = [str(name) for name in trace.names]
    if limit in names and len(names) > 1:
        kept = [place for place, name in enumerate(names) if name != limit]
        rest = Series(trace.values[:, kept], [names[place] for place in kept], trace.times)
        return rest, trace.values[:, names.index(limit)]
    try:
        return trace, float(limit)
    except ValueError:
        got = f"'{limit}'"
        raise InputError("a limit is a number or a variable", got, f"Variables: {', '.join(names)}.") from None


def usable(trace: Series) -> Series:
    """The trace without variables that never change; they say nothing and are told."""
    constant = np.ptp(trace.values, axis=0) == 0
    if constant.all():
        raise InputError("every variable of the trace is constant", ", ".join(trace.names), "Pass one that varies.")
    if constant.any():
        left_out = [str(name) for name, same in zip(trace.names, constant) if same]
        say(f"Left out, for they never change: {', '.join(left_out)}.")
    names = [name for name, same in zip(trace.names, constant) if not same]
    return Series(trace.values[:, ~constant], names, trace.times)


@dataclass
class Study:
    """Settings of a study; `warmup` is the share of the trace that is fitted to.

    Attributes:
        trace: The whole trace.
        column: Place of the demand.
        scaler: Makes a decision maker for an SLA.
        interval: Seconds between two rows.
        forecaster: Makes a forecaster; for a refit it is given the last one.
        warmup: Share of the trace that is fitted to before anything is judged.
        refit: Steps after which the forecaster is fitted anew to all that was seen; 0 for never.
        season: Steps of a day.
        limit: What the demand can be at most, if known; otherwise a plateau of the warm-up is taken for it.
    """

    trace: Series
    column: int
    scaler: Callable[[float], ResourceScaler]
    interval: float
    forecaster: Callable[[HarmonyForecaster | None], HarmonyForecaster]
    season: int
    sla: float
    warmup: float = 2 / 3
    refit: int = 0
    limit: ndarray | float | None = None

    def __post_init__(self) -> None:
        self.first = int(self.warmup * len(self.trace))
        self.past = Series(self.trace.values[: self.first], self.trace.names, self.trace.times[: self.first])
        limit = plateau(self.past.values[:, self.column]) if self.limit is None else self.limit
        self.throttled = throttled(self.trace.values[:, self.column], limit)
        if self.throttled.any():
            count = f"{self.throttled.sum()} of {len(self.trace)} steps"
            say(f"{self.name} is at its limit in {count}: lower bounds to forecasts, as measured in the replay.")
        self.fitted = self.forecaster(None).fit([self.past], [self.throttled[: self.first]])
        self.foresight = Foresight(self.fitted, refit=self.refit, make=self._anew)

    def _anew(self, last: Forecaster, seen: Series) -> HarmonyForecaster:
        assert isinstance(last, HarmonyForecaster)
        return self.forecaster(last).fit([seen], [self.throttled[: len(seen)]])

    @property
    def name(self) -> str:
        return str(self.trace.names[self.column])

    def scores(self, *, classical: bool = True, stride: int = 12) -> dict[str, Scores]:
        """Forecasts of the demand after the warm-up beside the simple rules, all from the same origins."""
        alone = Series(self.trace.values[:, [self.column]], [self.name], self.trace.times)
        past = Series(alone.values[: self.first], alone.names, alone.times[: self.first])
        rules = baselines(self.season, self.fitted.horizon, classical=classical)
        needed = {name: rule.lookback + rule.horizon for name, rule in rules.items()}
        fitting = {name: rule.fit([past]) for name, rule in rules.items() if needed[name] <= self.first}
        for name in set(rules) - set(fitting):
            say(f"Left out: {name} needs {needed[name]} steps before the first forecast.")
        found = evaluate(fitting, past, alone, season=min(self.season, self.first - 1), stride=stride)
        options: dict[str, Any] = {"season": min(self.season, self.first - 1), "stride": stride}
        ours = evaluate({"HARMONY": self.fitted}, self.past, self.trace, variables=[self.name], **options)
        return found | ours

    @property
    def setting(self) -> Setting:
        scaler = self.scaler(self.sla)
        prices = Prices(scaler.cost_over, scaler.cost_under, scaler.cost_change, scaler.cost_switch)
        delay = max(1, int(np.ceil(seconds(scaler.startup_delay) / self.interval)))
        return Setting(scaler.unit_capacity, delay, self.interval / 3600, prices, scaler.min_units, scaler.max_units)

    def harmony(self, sla: float, **changes: Any) -> Harmony:
        """The method as a policy at an SLA."""
        scaler = replace(self.scaler(sla), **changes) if changes else self.scaler(sla)
        return Harmony(self.foresight, scaler, name=f"HARMONY at {sla:.1%}", throttled=self.throttled)

    def rivals(self) -> list[Policy]:
        """The rules of today in several settings, a point forecast with margins, a static size, an oracle."""
        delay = self.setting.delay
        day = _DAY / self.interval
        stabilization = max(1, round(300 / self.interval))
        return [
            *(HPA(target, stabilization=stabilization) for target in (0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)),
            *(
                VPA(p, margin, halflife=day)
                for p, margin in ((0.9, 0.15), (0.9, 0.0), (0.95, 0.15), (0.99, 0.15), (1.0, 0.15))
            ),
            *(PointMargin(self.foresight, margin, delay) for margin in (0.1, 0.2, 0.35, 0.5)),
            Static(1.0),
            Static(0.99),
            Oracle(delay),
        ]

    def play(self, policy: Policy) -> Outcome:
        """Replay what follows the warm-up."""
        return replay(self.trace, self.name, policy, self.setting, first=self.first)

    def sweep(self) -> tuple[float, ...]:
        """`SLAS` beside that of the study; those that the forecaster cannot tell are left out, and it is said."""
        finest = self.fitted.predict_distribution(self.past).resolution
        others = [each for each in SLAS if abs(each - self.sla) > 1e-9]
        for each in others:
            if each < finest:
                say(f"Left out: an SLA of {each:.1%}, for '{self.fitted.distribution}' tells {finest:.1%} at best.")
        return tuple(each for each in others if each >= finest)

    def frontier(self, slas: tuple[float, ...]) -> list[Outcome]:
        """All rivals, and the method at several SLAs."""
        return [self.play(policy) for policy in (*(self.harmony(sla) for sla in slas), *self.rivals())]

    def now(self, policy: Harmony, current: int) -> tuple[Demand, Recommendation]:
        """What comes after the end of the trace, and what to do about it, with what the replay has taught."""
        demand = Demand.of(self.fitted.predict_distribution(self.trace))[0]
        policy.scaler.observe(float(self.trace.values[-1, self.column]), bool(self.throttled[-1]))
        return demand, policy.scaler.recommend(demand, current)


def study_of(
    trace: Series, column: str, scaler: ResourceScaler, lookback: int, horizon: int, distribution: HeadName,
    steps: int, interval: str, season: int, seed: int, limit: str = "",
) -> Study:  # fmt: skip
    """A study of a trace from the options of a job; a lookback or season of 0 is found from the trace.

    The scaler says under which costs, limits and SLA is decided; its interval is the trace's.

    Raises:
        InputError: no such variable, negative demand, a trace that is too short.
    """
    trace, most = without_limit(trace, limit)
    trace = usable(trace)
    place = demand_column(trace, column)
    say_levels(trace.names)
    step = interval_of(trace, interval)
    season = season or max(2, round(86400 / step))
    lookback = lookback or max(48, min(season, len(trace) // 6))
    if len(trace) < 3 * (lookback + horizon):
        got = f"{len(trace)} rows"
        raise InputError(f"a plan needs {3 * (lookback + horizon)} rows", got, "Pass a longer trace, or less lookback.")

    def forecaster(last: HarmonyForecaster | None) -> HarmonyForecaster:
        return HarmonyForecaster(
            lookback,
            horizon,
            target=[str(trace.names[place])],
            distribution=distribution,
            steps=steps,
            start=last,
            random_state=seed,
        )

    def deciding(sla: float) -> ResourceScaler:
        return replace(scaler, sla=sla, interval=step)

    return Study(trace, place, deciding, step, forecaster, min(season, len(trace) // 4), scaler.sla, limit=most)
