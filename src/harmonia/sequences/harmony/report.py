"""The report: tables and pictures of the plan ahead, the replay, violations against waste, forecasts beside rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars
from matplotlib.ticker import PercentFormatter
from numpy import ndarray

from harmonia.core.progress import say
from harmonia.media import Figure, Series
from harmonia.media.figure import INK, MUTED, PALETTE, concise_dates, legend, new_figure
from harmonia.parts.forecasting import Scores
from harmonia.sequences.harmony.demand import Demand
from harmonia.sequences.harmony.recommendation import Recommendation
from harmonia.sequences.harmony.replay import Outcome, cheapest

_BANDS = ((0.01, 0.99, 0.14), (0.05, 0.95, 0.22), (0.25, 0.75, 0.34))
_FAMILIES = {"HARMONY": 0, "HPA": 1, "VPA": 2, "static": 3, "point": 4, "oracle": 7}


def plan_rows(trace: Series, demand: Demand, found: Recommendation, serves: float) -> polars.DataFrame:
    """Coming steps: units, quantiles of demand, probability of more than the usable share of their capacity."""
    ahead = trace.ahead(len(found.plan))
    times = ahead.astype("datetime64[us]") if ahead.dtype.kind == "M" else ahead
    beyond = [demand.exceedance(units * serves)[step] for step, units in enumerate(found.plan)]
    quantiles = {f"{level:.0%}": demand.requirement(1 - level) for level in (0.05, 0.5, 0.95, 0.99)}
    columns: dict[str, Any] = {"time": times, "units": np.array(found.plan), "required": np.array(found.requirement)}
    return polars.DataFrame({**columns, **quantiles, "p_above_usable_capacity": np.array(beyond)})


def policy_rows(outcomes: Sequence[Outcome]) -> polars.DataFrame:
    """What each policy did in the replay, where a step is violated when demand is above all of the capacity."""
    return polars.DataFrame(
        [
            {
                "policy": each.name,
                "violations_above_capacity": each.violations,
                "shortage_hours": each.shortage,
                "unused_hours": each.waste,
                "changes_a_day": each.changes,
                "cost": each.cost,
                "mean_units": float(each.units.mean()),
            }
            for each in outcomes
        ]
    )


def judge(outcomes: Sequence[Outcome]) -> None:
    """Say how the method compares with the cheapest rule that keeps as few violations."""
    ours = outcomes[0]
    rules = [each for each in outcomes if each.name.startswith(("HPA", "VPA"))]
    best = cheapest(rules, ours.violations)
    said = f"{ours.name}: {ours.violations:.2%} of steps violated, {ours.waste:,.1f} unused"
    if best is None:
        say(f"{said}; no HPA or VPA setting has as few violations.")
    else:
        more = best.waste / max(ours.waste, 1e-9) - 1
        way = f"{more:.0%} more" if more >= 0 else f"{-more:.0%} less"
        say(f"{said}; the cheapest HPA or VPA setting with as few violations, {best.name}, leaves {way} unused.")


def plan_figure(trace: Series, column: int, demand: Demand, found: Recommendation, serves: float) -> Figure:
    """What was, what may come, and how many units are planned for it."""
    shown = min(len(trace), 6 * demand.values.shape[1])
    past, ahead = trace.times[-shown:], trace.ahead(demand.values.shape[1])
    name = str(trace.names[column])
    move = f"{found.target} units now; P(demand above their capacity) {found.p_violation:.1%}"
    figure, [axes] = new_figure(title=move, width=9.0, height=4.4)
    axes.plot(past, trace.values[-shown:, column], color=INK, lw=1.4, label="observed")
    levels = {level: demand.requirement(1 - level) for low, high, _ in _BANDS for level in (low, high)}
    for low, high, alpha in _BANDS:
        label = f"{high - low:.0%} interval"
        axes.fill_between(ahead, levels[low], levels[high], color=PALETTE[0], alpha=alpha, lw=0, label=label)
    axes.plot(ahead, demand.requirement(0.5), color=PALETTE[0], lw=1.8, label="median")
    capacity = serves * np.array(found.plan)
    axes.step(ahead, capacity, where="mid", color=PALETTE[1], lw=1.8, label="usable capacity planned")
    highest = max(capacity.max(), trace.values[-shown:, column].max(), levels[0.99].max())
    axes.set(ylabel=name, ylim=(0, 1.32 * highest))
    legend(axes, loc="upper left", ncols=3)
    right = axes.secondary_yaxis("right", functions=(_times_by(1 / serves), _times_by(serves)))
    right.set_ylabel("units", color=INK, fontsize=9.5)
    right.tick_params(colors=MUTED, labelcolor=INK, labelsize=9, length=3)
    right.spines[:].set_color(MUTED)
    _times(axes, trace)
    return Figure(figure)


def replay_figure(times: ndarray, outcomes: Sequence[Outcome], capacity: float, name: str) -> Figure:
    """Demand and what served it under some policies, one above the other; violated steps are marked."""
    title = "What each policy would have served"
    figure, axes = new_figure(
        len(outcomes), 1, title=title, width=9.5, height=0.6 + 2.15 * len(outcomes), sharex=True, sharey=True
    )
    for each, found in zip(axes, outcomes):
        colour = PALETTE[_family(found.name)]
        served = found.units * capacity
        each.fill_between(times, served, step="pre", color=colour, alpha=0.16, lw=0)
        each.step(times, served, where="pre", color=colour, lw=1.0, label=f"capacity under {found.name}")
        each.plot(times, found.demand, color=INK, lw=0.8, label=name)
        wrong = found.violated(capacity)
        each.scatter(times[wrong], found.demand[wrong], s=14, color=PALETTE[1], zorder=4, label="above capacity")
        said = f"{found.violations:.2%} of steps violated, {found.waste:,.0f} {name} hours unused"
        each.set_title(said, loc="left", fontsize=10, color=INK)
        each.set_ylabel(name)
        each.margins(x=0.01)
        legend(each, loc="upper right", ncols=3, fontsize=8.5)
    top = max(float(max((each.units * capacity).max(), each.demand.max())) for each in outcomes)
    axes[0].set_ylim(0, 1.3 * top)
    if times.dtype.kind == "M":
        concise_dates(axes[-1])
    else:
        axes[-1].set_xlabel("step")
    return Figure(figure)


def frontier_figure(outcomes: Sequence[Outcome], sla: float, resource: str) -> Figure:
    """Violations against waste: each policy is a point, a swept policy a line; the lower left is best."""
    title = "Fewer violations cost more spare capacity; lower and further left is better"
    figure, [axes] = new_figure(title=title, width=8.6, height=4.8)
    families: dict[str, list[Outcome]] = {}
    for each in outcomes:
        families.setdefault(next((key for key in _FAMILIES if each.name.startswith(key)), each.name), []).append(each)
    for family, members in families.items():
        members = sorted(members, key=lambda each: each.violations)
        x, y = [each.violations for each in members], [each.waste for each in members]
        colour = PALETTE[_FAMILIES.get(family, 5)]
        label = {"point": "median forecast + margin", "static": "static size"}.get(family, family)
        look: dict[str, Any] = {"marker": "o", "ms": 6 if family == "HARMONY" else 4.5, "lw": 1.8, "zorder": 3}
        axes.plot(x, y, color=colour, label=label, **look)
    axes.axvline(sla, color=MUTED, lw=1.2, ls=(0, (4, 3)))
    axes.set_xscale("symlog", linthresh=1e-3)
    axes.set_xlim(-2e-4, max(0.3, 1.2 * max(each.violations for each in outcomes)))
    axes.set_ylim(0, None)
    axes.text(sla, axes.get_ylim()[1], f" SLA {sla:.1%}", color=MUTED, fontsize=9, va="top")
    axes.set_xticks([0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3])
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axes.xaxis.minorticks_off()
    axes.set(xlabel="steps with demand above capacity", ylabel=f"unused capacity ({resource} x hours)")
    legend(axes, loc="upper right")
    return Figure(figure)


def scores_figure(scores: Mapping[str, Scores], name: str) -> Figure:
    """CRPS of forecasts beside the simple rules, with the coverage of their 90% intervals."""
    order = sorted(scores, key=lambda key: -scores[key].crps)
    best = order[-1]
    said = "HARMONY forecasts best here" if best.startswith("HARMONY") else f"{best} forecasts best here, not HARMONY"
    figure, (left, right) = new_figure(1, 2, title=said, height=0.9 + 0.42 * len(order), width=9.4, sharey=True)
    colours = [PALETTE[0] if key.startswith("HARMONY") else MUTED for key in order]
    left.barh(order, [scores[key].crps for key in order], color=colours, height=0.62)
    for row, key in enumerate(order):
        left.text(scores[key].crps, row, f" {scores[key].crps:.3g}", va="center", fontsize=8.5, color=INK)
    left.set_xlim(0, 1.16 * max(each.crps for each in scores.values()))
    left.set_xlabel(f"CRPS ({name}); smaller is better")
    left.grid(False, axis="y")
    right.axvline(0.9, color=MUTED, lw=1.2, ls=(0, (4, 3)))
    right.scatter([scores[key].coverage for key in order], order, color=colours, s=40, zorder=3)
    right.set_xlim(min(0.6, *(each.coverage - 0.03 for each in scores.values())), 1.0)
    right.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    right.set_xlabel("coverage of 90% intervals")
    return Figure(figure)


def _times_by(factor: float) -> Callable[[Any], Any]:
    """Multiplication, as matplotlib wants it for a second axis."""
    return lambda values: np.asarray(values) * factor


def _family(name: str) -> int:
    return next((colour for key, colour in _FAMILIES.items() if name.startswith(key)), 5)


def _times(axes: Any, trace: Series) -> None:
    if trace.times.dtype.kind == "M":
        concise_dates(axes)
    else:
        axes.set_xlabel("step")
