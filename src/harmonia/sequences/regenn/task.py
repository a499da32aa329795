"""Jobs of ReGENN: forecast a panel and see its graphs, watch them change, measure what the published protocol leaks."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import polars

from harmonia.core.errors import InputError
from harmonia.core.progress import say
from harmonia.core.task import Field
from harmonia.data.panel import Panel, drop_blank_end, drop_copies
from harmonia.data.panels import coupled_panel, gapminder
from harmonia.media import Figure, Table
from harmonia.sequences.regenn import figures
from harmonia.sequences.regenn.evaluation import PanelScores, compare, measure, simple_rules
from harmonia.sequences.regenn.forecaster import ReGENNForecaster, least_times, panel_cooccurrence
from harmonia.sequences.regenn.published import Axis, published_protocol
from harmonia.sequences.regenn.windows import held_back, shortest

HELD_OUT = 0.2
"""Share of the times, at the end, that forecasts are judged on."""


def _example() -> Table:
    return gapminder().table()


_PANEL = Field("one row a sample and time: a column of names, one of times, one a variable", example=_example)
_ID = Field("column of the samples, such as country; the first of words unless given")
_TIME = Field("column of times; the first of dates, or one called time, year or so, unless given")
_WINDOW = Field("steps of the past that a forecast sees; 0: two horizons, at least 8", ge=0)
_HORIZON = Field("steps to predict", ge=1, le=1000)
_STEPS = Field("optimizer steps", ge=1, le=1_000_000)


class Forecasted(TypedDict):
    forecast: Annotated[Table, Field("5%, 50% and 95% of every variable of every sample at each coming time")]
    scores: Annotated[Table, Field("errors on the held-out end, beside simple rules")]
    graph: Annotated[
        Figure, Field("which variables occur together, and, where it was learnt, what each takes from each")
    ]
    ahead: Annotated[Figure, Field("the past and what comes next")]
    skill: Annotated[Figure, Field("errors beside simple rules")]
    training: Annotated[Figure, Field("errors on the times held back over the run")]
    source: Annotated[
        Table | None,
        Field("the source graph, where one was learnt: a row a variable, what it takes from each in columns"),
    ]
    best: Annotated[str, Field("who forecast the held-out end best")]


def forecast(
    panel: Annotated[Table, _PANEL],
    *,
    id: Annotated[str, _ID] = "",
    time: Annotated[str, _TIME] = "",
    horizon: Annotated[int, _HORIZON] = 5,
    window: Annotated[int, _WINDOW] = 0,
    season: Annotated[int, Field("steps of a season, for the simple rules and the score; 1 for none", ge=1)] = 1,
    log: Annotated[bool, Field("take logarithms first, for values that grow by factors")] = False,
    loss: Annotated[
        Literal["scaled", "data"], Field("whether all samples count alike, or large ones more, as in units of the data")
    ] = "scaled",
    steps: Annotated[int, _STEPS] = 200,
    device: Annotated[Literal["auto", "cpu", "cuda"], Field("where to compute")] = "auto",
    seed: Annotated[int, Field("random seed")] = 0,
) -> Forecasted:
    """Forecast all samples of a panel with one model, and see the graph between its variables.

    The last fifth of the times is first held out: the model and its ablation without graphs are judged there beside
    simple rules, ETS and Theta, each seeing the past only. Then the model is fitted to everything. Read the graphs as
    weights of the network, not as causes: in our measurements the learnt ones did not rank true parents above other
    variables (area under the ROC curve about 0.5, results/regenn.json).
    """
    given = drop_copies(drop_blank_end(Panel.from_table(panel, id, time)))
    _advise(given)
    ahead = given.ahead(horizon)
    window = window or max(8, 2 * horizon)
    needed = shortest(least_times(window, horizon), horizon, HELD_OUT)
    if given.length < needed:
        mend = "Pass a longer panel, or lower window or horizon."
        raise InputError(f"to forecast and judge needs {needed} times", given.length, mend)
    cut = given.length - held_back(given.length, horizon, HELD_OUT)
    rules = simple_rules(given.until(cut), horizon, season=season, window=window)
    options: dict[str, Any] = {"log": log, "loss": loss, "steps": steps, "device": device, "random_state": seed}
    ours = {
        "ReGENN": ReGENNForecaster(window, horizon, **options),
        "ReGENN without graphs": ReGENNForecaster(window, horizon, graph=False, **options),
    }
    for each in ours.values():
        each.fit(given.until(cut))
    scores = compare({**ours, **rules}, given, cut, season=season, stride=max(1, (given.length - cut) // 20))
    by = measure(scores)
    errors = {name: getattr(each, by) for name, each in scores.items()}
    best = min(errors, key=lambda name: errors[name])
    say(f"Best on the held-out end: {best}, {by.upper()} {errors[best]:.3g}; ReGENN {errors['ReGENN']:.3g}.")
    final = ReGENNForecaster(window, horizon, **options).fit(given)
    if not final.steps_:
        say("No step of training was better than the linear rule: no source or target graph was learnt, none is shown.")
    quantiles = final.predict([0.05, 0.5, 0.95])
    return {
        "forecast": Table(_forecast_rows(given, quantiles, ahead)),
        "scores": Table(_score_rows(scores, by)),
        "graph": final.plot_graph(),
        "ahead": figures.forecasts(given, _spread_out(given), quantiles, ahead),
        "skill": figures.ranking(
            errors,
            list(ours),
            f"mean absolute {'scaled ' if by == 'mase' else ''}error on the held-out end (lower is better)",
            f"{best} forecasts the held-out end best" + ("" if best in ours else ", not ReGENN"),
        ),
        "training": figures.training(final.history_, final.start_, final.steps_),
        "source": Table(final.graph_("source")) if final.steps_ else None,
        "best": best,
    }


class Evolved(TypedDict):
    graphs: Annotated[Table, Field("one row a moment and pair of variables: the tie between them")]
    picture: Annotated[Figure, Field("the graph at three moments, and the ties that change most")]


def evolution(
    panel: Annotated[Table, _PANEL],
    *,
    id: Annotated[str, _ID] = "",
    time: Annotated[str, _TIME] = "",
    span: Annotated[int, Field("times that a graph is computed from; 0: a fifth of all", ge=0)] = 0,
) -> Evolved:
    """See how the graph of co-occurrence changes over time: computed anew from a moving span of times."""
    given = Panel.from_table(panel, id, time)
    span = span or max(2, given.length // 5)
    if span >= given.length:
        raise InputError("the span is as long as the panel", f"{span} of {given.length}", "Pass a shorter one.")
    ends = np.unique(np.linspace(span, given.length, min(60, given.length - span + 1)).round().astype(int))
    found = []
    for end in ends:
        part = given.values[:, end - span : end]
        found.append(panel_cooccurrence(part, given.values, relative=False).numpy())
    graphs, times = np.stack(found) / max(float(np.max(found)), 1e-12), given.times[ends - 1]
    rows = [
        {"time": moment, "variable": a, "where": b, "tie": float(graph[i, j])}
        for moment, graph in zip(times.tolist(), graphs)
        for i, a in enumerate(given.names)
        for j, b in enumerate(given.names)
    ]
    return {"graphs": Table(polars.DataFrame(rows)), "picture": figures.evolution(given.names, times, graphs)}


class Leaked(TypedDict):
    scores: Annotated[Table, Field("errors on the last steps, and who knew the scale of the future")]
    picture: Annotated[Figure, Field("the same")]


def leak(
    panel: Annotated[Table, _PANEL],
    *,
    id: Annotated[str, _ID] = "",
    time: Annotated[str, _TIME] = "",
    horizon: Annotated[int, _HORIZON] = 5,
    window: Annotated[int, _WINDOW] = 0,
    axis: Annotated[
        Literal["variables", "times", "samples"], Field("over which the published scale is a maximum")
    ] = "variables",
    steps: Annotated[int, _STEPS] = 600,
    feedforward: Annotated[int, Field("units of the encoder's network; the release has 2048", ge=1)] = 256,
    seed: Annotated[int, Field("random seed")] = 0,
) -> Leaked:
    """Measure what the published evaluation leaks: predictions are multiplied by the scale of the future.

    Beside the released network stand a rule that has learnt nothing but is given the same scale, and rules that are
    given nothing. The last steps of the panel are predicted.
    """
    given = Panel.from_table(panel, id, time).filled()
    window = window or max(8, 2 * horizon)
    chosen: Axis = axis
    found = published_protocol(given, window, horizon, axis=chosen, steps=steps, feedforward=feedforward, seed=seed)
    names = {
        "network": (f"ReGENN as published, {steps:,} steps", True),
        "nothing_learned": ("nothing learnt, future's scale", True),
        "line": ("straight line", False),
        "last": ("last value", False),
    }
    rows = [
        {"forecaster": name, "knows the future's scale": knows, **getattr(found, key)._asdict()}
        for key, (name, knows) in names.items()
    ]
    errors = {name: getattr(found, key).mae for key, (name, _) in names.items()}
    leaking = [name for name, knows in names.values() if knows]
    return {
        "scores": Table(polars.DataFrame(rows)),
        "picture": figures.ranking(
            errors,
            leaking,
            "mean absolute error (blue: was given the scale of the future)",
            "What the future's scale is worth",
        ),
    }


class Simulated(TypedDict):
    panel: Annotated[Table, Field("one row a sample and time")]
    parents: Annotated[Table, Field("which variables each follows: 1 for a parent")]


def simulate(
    *,
    samples: Annotated[int, Field("samples", ge=1, le=10_000)] = 64,
    length: Annotated[int, Field("times", ge=10, le=100_000)] = 200,
    variables: Annotated[int, Field("variables", ge=3, le=50)] = 6,
    seed: Annotated[int, Field("random seed")] = 0,
) -> Simulated:
    """Make a synthetic panel in which every variable follows two others, to try the method where the graph is known."""
    panel, parents = coupled_panel(seed, samples, length, variables)
    columns = {name: parents[:, i].astype(int) for i, name in enumerate(panel.names)}
    return {"panel": panel.table(), "parents": Table(polars.DataFrame({"variable": list(panel.names), **columns}))}


def _advise(panel: Panel) -> None:
    """Say what may be better done before."""
    values = panel.values
    if np.nanmin(values) >= 0 and panel.length > 2:
        steps = np.diff(values, axis=1)
        known = ~np.isnan(steps)
        for i, name in enumerate(panel.names):
            falls = int((steps[..., i][known[..., i]] < 0).sum())
            rises = int((steps[..., i][known[..., i]] > 0).sum())
            if rises and falls <= 0.01 * known[..., i].sum():
                told = f"rises in {rises} steps and falls in {falls}"
                say(f"'{name}' {told}: if it is a cumulative count, differences may suit it better.")
    missing = 1 - panel.present.mean()
    if missing:
        say(f"{missing:.1%} of the values are missing: filled by the last one before, and not scored.")


def _spread_out(panel: Panel) -> list[str]:
    """Samples to draw: small, middling and large ones."""
    size = np.nanmean(np.abs(panel.values) / np.nanmean(np.abs(panel.values), axis=(0, 1)), axis=(1, 2))
    order = np.argsort(size)
    chosen = np.unique(np.linspace(0, len(order) - 1, min(len(order), figures.SHOWN_SAMPLES)).round().astype(int))
    return [panel.samples[order[i]] for i in chosen]


def _forecast_rows(panel: Panel, quantiles: np.ndarray, ahead: np.ndarray) -> polars.DataFrame:
    """One row a sample and coming time."""
    count, horizon = quantiles.shape[1:3]
    times = ahead.astype("datetime64[us]") if ahead.dtype.kind == "M" else ahead
    columns: dict[str, Any] = {
        panel.names_of: np.repeat(panel.samples, horizon).tolist(),
        "time": np.tile(times, count),
    }
    for i, name in enumerate(panel.names):
        for level, values in zip(("5%", "50%", "95%"), quantiles[..., i]):
            columns[f"{name} {level}"] = values.ravel()
    return polars.DataFrame(columns)


def _score_rows(scores: dict[str, PanelScores], by: str) -> polars.DataFrame:
    ordered = sorted(scores.items(), key=lambda item: getattr(item[1], by))
    return polars.DataFrame([{"forecaster": name, **each._asdict()} for name, each in ordered])


JOBS = (forecast, evolution, leak, simulate)
