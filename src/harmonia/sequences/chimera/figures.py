"""Pictures: a forecast and what it is made of, who drives whom, classes, and anomalies over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from numpy import ndarray

from harmonia.media import Figure, Series
from harmonia.media.figure import INK, MUTED, PALETTE, colour_bar, concise_dates, legend, new_figure
from harmonia.sequences.chimera.forecaster import Parts

SHOWN = 4
"""Variables that are drawn."""

OURS = "Chimera"


def forecasts(
    past: Series,
    quantiles: Float[ndarray, "3 horizon variables"],
    ahead: ndarray,
    parts: Parts | None,
    errors: Mapping[str, float],
) -> Figure:
    """What comes next, what the forecast is made of, and how all forecasters did on the held-out end.

    Arguments:
        past: The series.
        quantiles: 5 %, 50 % and 95 % of what comes next.
        ahead: Its times.
        parts: The forecast as a sum; None for a closed loop.
        errors: Error of each forecaster on the held-out end.
    """
    from matplotlib.ticker import MaxNLocator

    shown = min(past.values.shape[1], SHOWN)
    best = min(errors, key=lambda name: errors[name])
    title = f"What comes next; on the held-out end {best} was best" if errors else "What comes next"
    figure, axes = new_figure(
        shown, 3, title=title, width=13.5, height=max(3.4, 2.25 * shown + 0.6), width_ratios=(2.1, 1.25, 1)
    )
    tail = slice(max(0, len(past) - 5 * len(ahead)), None)
    for i in range(shown):
        left, middle, right = axes[3 * i : 3 * i + 3]
        left.plot(past.times[tail], past.values[tail, i], color=INK, linewidth=1.1, label="past")
        left.fill_between(ahead, quantiles[0, :, i], quantiles[2, :, i], color=PALETTE[0], alpha=0.2, linewidth=0)
        left.plot(ahead, quantiles[1, :, i], color=PALETTE[0], linewidth=1.6, label="forecast, 90 % interval")
        left.set_ylabel(str(past.names[i])[:20])
        steps = np.arange(1, len(ahead) + 1)
        if parts is None:
            middle.set_visible(False)
        else:
            middle.axhline(0, color=MUTED, linewidth=0.8)
            for part, name, colour in ((parts.trend, "trend heads", 1), (parts.season, "seasonal heads", 2)):
                middle.plot(steps, part[:, i], color=PALETTE[colour], linewidth=1.5, label=name)
            # Heads that were found to add nothing shall look like nothing.
            reach = 0.02 * float(past.values[:, i].std())
            middle.update_datalim([(1.0, -reach), (1.0, reach)])
            middle.autoscale_view()
            middle.xaxis.set_major_locator(MaxNLocator(integer=True))
            if len(ahead) == 1:
                middle.margins(x=0.5)
        right.set_visible(i == 0)
        if past.times.dtype.kind == "M":
            concise_dates(left)
    legend(axes[0], loc="upper left")
    axes[0].margins(y=0.35)
    axes[0].set_title("Past and forecast", loc="left")
    axes[3 * (shown - 1)].set_xlabel("time")
    if parts is not None:
        axes[1].set_title("What the heads add to the linear part", loc="left")
        axes[1].margins(y=0.3)
        legend(axes[1], loc="upper left", ncols=2)
        axes[3 * (shown - 1) + 1].set_xlabel("steps ahead")
    names = sorted(errors, key=lambda name: -errors[name])
    colours = [PALETTE[0] if name.startswith(OURS) else MUTED for name in names]
    axes[2].barh(names, [errors[name] for name in names], color=colours)
    axes[2].set_title("Error on the held-out end", loc="left")
    axes[2].set_xlabel("mean squared error, standardised")
    axes[2].grid(False, axis="y")
    return Figure(figure)


def influence(names: Sequence[str], matrix: Float[ndarray, "variables variables"]) -> Figure:
    """Whose past moves whose forecast: shares of each row, its own past left white."""
    count = len(names)
    share = 100 * matrix / np.maximum(matrix.sum(1, keepdims=True), 1e-12)
    others = np.where(np.eye(count, dtype=bool), np.nan, share)
    largest = float(np.nanmax(others)) if count > 1 else 1.0
    size = min(11.0, 3.2 + 0.5 * count)
    title = "Whose past moves whose forecast"
    if count > 1:
        i, j = divmod(int(np.nanargmax(others)), count)
        title = f"Whose past moves whose forecast: most of all, {names[j]} that of {names[i]}"
        if largest < 1:
            title = "Forecasts move almost only with their own past"
    figure, [axes] = new_figure(title=title, width=size + 1.8, height=size, grid=False)
    picture = axes.imshow(others, cmap="Blues", vmin=0, vmax=max(largest, 1e-9))
    digits = 0 if largest >= 10 else 1 if largest >= 1 else 2
    shown = range(count) if count <= 24 else range(0, count, -(-count // 20))
    axes.set_xticks(list(shown), [str(names[i])[:18] for i in shown], rotation=45, ha="right")
    axes.set_yticks(list(shown), [str(names[i])[:18] for i in shown])
    if count <= 10:
        for i, j in np.ndindex(count, count):
            dark = i != j and share[i, j] > 0.55 * largest
            colour = MUTED if i == j else "white" if dark else INK
            axes.text(j, i, f"{share[i, j]:.{digits}f} %", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xlabel("the past of ...")
    axes.set_ylabel("... moves the forecast of")
    colour_bar(axes, picture, "share of all slopes (%), the own past left out")
    return Figure(figure)


def classes(history: Sequence[Mapping[str, Any]], confusion: Float[ndarray, "k k"], names: Sequence[str]) -> Figure:
    """Loss over the run, and which classes were taken for which in the held-out part."""
    title = f"{np.trace(confusion) / max(confusion.sum(), 1):.1%} of held-out sequences are right"
    figure, (left, right) = new_figure(1, 2, title=title, width=11, height=4.6)
    _losses(left, history)
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    picture = right.imshow(share, cmap="Blues", vmin=0, vmax=1)
    right.grid(False)
    shown = range(len(names)) if len(names) <= 20 else range(0, len(names), len(names) // 10)
    right.set_xticks(list(shown), [names[i] for i in shown], rotation=60, ha="right")
    right.set_yticks(list(shown), [names[i] for i in shown])
    right.set_xlabel("predicted")
    right.set_ylabel("true")
    colour_bar(right, picture, "share of the true class")
    return Figure(figure)


def statements(
    history: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    areas: Float[ndarray, " statements"],
    share: Float[ndarray, " statements"],
) -> Figure:
    """Loss over the run, and the area under the ROC curve of every statement that has one, the best on top.

    Arguments:
        history: Of the training.
        names: Of the statements.
        areas: Area of each; NaN for none.
        share: Of the records learnt from that have it.
    """
    order = [int(i) for i in np.argsort(areas, kind="stable") if np.isfinite(areas[i])]
    title = f"Mean area under the ROC curve {np.nanmean(areas):.3f}, {len(order)} statements, test fold"
    figure, (left, right) = new_figure(1, 2, title=title, width=11, height=max(4.6, 0.2 * len(order) + 1.6))
    _losses(left, history)
    right.barh(range(len(order)), areas[order] - 0.5, left=0.5, color=PALETTE[0])
    right.set_yticks(range(len(order)), [f"{names[i]} ({100 * share[i]:.2g} %)" for i in order])
    right.axvline(0.5, color=MUTED, linewidth=1)
    right.set_xlim(min(0.48, float(np.nanmin(areas)) - 0.02), 1)
    right.set_ylim(-0.7, len(order) - 0.3)
    right.grid(axis="y", visible=False)
    right.set_xlabel("area under the ROC curve (0.5: chance)")
    right.set_ylabel("statement (share of the records learnt from)")
    return Figure(figure)


def _losses(axes: Axes, history: Sequence[Mapping[str, Any]]) -> None:
    axes.plot([each["step"] for each in history], [each["loss"] for each in history], marker="o", markersize=3)
    axes.set_xlabel("step")
    axes.set_ylabel("training loss (nats)")
    axes.set_ylim(bottom=0)


def anomalies(
    series: Series,
    scores: Float[ndarray, " time"],
    threshold: float,
    by_variable: Float[ndarray, "time variables"],
    flags: Bool[ndarray, " time"],
    learnt: int,
) -> Figure:
    """The series with its anomalies, the score over time, and whose doing it was.

    Arguments:
        series: The series.
        scores: Score of each moment.
        threshold: Above it is an anomaly.
        by_variable: Scores of the variables.
        flags: Anomalies.
        learnt: Rows from the first that were learnt from.
    """
    chosen = np.argsort(-by_variable[flags].sum(0) if flags.any() else -by_variable.max(0), kind="stable")
    chosen = np.sort(chosen[: min(series.values.shape[1], SHOWN)])
    count = int(flags[learnt:].sum())
    title = f"{count:,} of {len(series) - learnt:,} new moments are unusual" if count else "Nothing new is unusual"
    rows = len(chosen) + 1
    figure, axes = new_figure(
        rows, 1, title=title, width=11, height=1.5 * rows + 1.6, sharex=True, height_ratios=[1] * len(chosen) + [1.5]
    )
    times = series.times
    for axis, variable in zip(axes, chosen):
        axis.plot(times, series.values[:, variable], color=INK, linewidth=0.8)
        axis.scatter(times[flags], series.values[flags, variable], s=14, color=PALETTE[1], zorder=3, linewidth=0)
        axis.set_ylabel(str(series.names[variable])[:18])
        axis.margins(x=0.01)
    axes[0].set_title("Orange: unusual moments. Grey: what was learnt from.", loc="left")
    bottom = axes[-1]
    bottom.plot(times, scores, color=PALETTE[0], linewidth=0.8)
    bottom.axhline(threshold, color=PALETTE[1], linewidth=1, linestyle="--")
    bottom.set_yscale("log")
    bottom.set_ylim(bottom=max(1e-3, float(np.quantile(scores, 0.02))))
    bottom.set_ylabel("score (1 is usual)")
    bottom.annotate(
        "threshold", (1, threshold), xycoords=("axes fraction", "data"), xytext=(-4, 3), textcoords="offset points",
        ha="right", fontsize=8.5, color=PALETTE[1],
    )  # fmt: skip
    for axis in axes:
        axis.axvspan(times[0], times[learnt - 1], color=MUTED, alpha=0.13, linewidth=0)
    if times.dtype.kind == "M":
        concise_dates(bottom)
    bottom.set_xlabel("time")
    return Figure(figure)
