"""Pictures: what comes next, who forecast best, the graphs between variables, and how they change over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from harmonia.data.panel import Panel
from harmonia.media import Figure
from harmonia.media.figure import (
    DIVERGING,
    INK,
    MUTED,
    PALETTE,
    SEQUENTIAL,
    colour_bar,
    concise_dates,
    legend,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN_SAMPLES, SHOWN_VARIABLES = 4, 4
LABELLED = 12
"""Variables that are named in a heat map, at most, with numbers in its cells."""


def forecasts(
    panel: Panel,
    samples: Sequence[str],
    quantiles: Float[ndarray, "3 samples horizon v"],
    ahead: ndarray,
    horizons: int = 6,
) -> Figure:
    """The end of some samples and what comes next, with 90% intervals: a row a variable, a column a sample.

    Arguments:
        panel: The past.
        samples: Which samples to draw, at most `SHOWN_SAMPLES`.
        quantiles: 5%, 50% and 95% of what comes next, for all samples.
        ahead: Its times.
        horizons: How much of the past to draw, in horizons.
    """
    samples, names = samples[:SHOWN_SAMPLES], panel.names[:SHOWN_VARIABLES]
    figure, axes = new_figure(
        len(names),
        len(samples),
        title="What comes next",
        width=max(6.0, 3.1 * len(samples)),
        height=0.8 + 1.9 * len(names),
        sharex=True,
    )
    tail = slice(max(0, panel.length - horizons * len(ahead)), None)
    for column, sample in enumerate(samples):
        i = list(panel.samples).index(sample)
        for row, name in enumerate(names):
            axis = axes[row * len(samples) + column]
            axis.plot(panel.times[tail], panel.values[i, tail, row], color=INK, linewidth=1.2, label="past")
            low, middle, high = quantiles[:, i, :, row]
            axis.fill_between(ahead, low, high, color=PALETTE[0], alpha=0.2, linewidth=0, label="90% interval")
            axis.plot(ahead, middle, color=PALETTE[0], linewidth=1.6, label="forecast")
            if not row:
                _titled(axis, str(sample)[:28])
            if not column:
                axis.set_ylabel(str(name)[:26])
            if panel.times.dtype.kind == "M":
                concise_dates(axis)
            elif row == len(names) - 1:
                axis.set_xlabel("time")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="upper right", ncols=3, frameon=False, fontsize=9, labelcolor=INK, borderaxespad=0.2
    )
    return Figure(figure)


def ranking(scores: Mapping[str, float | int], ours: Sequence[str], label: str, title: str) -> Figure:
    """Errors of all forecasters, the best on top; ours coloured."""
    names = sorted(scores, key=lambda name: -scores[name])
    figure, [axes] = new_figure(title=title, width=8, height=1.1 + 0.34 * len(names))
    bars = axes.barh(names, [scores[name] for name in names], color=[PALETTE[0] if n in ours else MUTED for n in names])
    axes.bar_label(bars, [f" {scores[name]:.3g}" for name in names], fontsize=8.5, color=INK)
    axes.grid(False, axis="y")
    axes.margins(x=0.12)
    axes.set_xlim(left=0)
    axes.set_xlabel(label)
    return Figure(figure)


def graphs(names: Sequence[str], found: Mapping[str, Float[ndarray, "v v"]], title: str) -> Figure:
    """The graphs as heat maps, and the first evolved one as arrows.

    Arguments:
        names: Of the variables.
        found: ``cooccurrence`` and, where they were learnt, ``source`` and ``target``.
        title: What is to be seen.
    """
    side, rows = 4 + 0.12 * max(0, len(names) - 6), 2 if "source" in found else 1
    figure, axes = new_figure(rows, rows, title=title, width=1.45 * rows * side, height=1.1 * rows * side, grid=False)
    _heat(
        axes[0], names, found["cooccurrence"], "Co-occurrence: mass of the row's\nvariable where the column's is there"
    )
    if rows == 1:
        return Figure(figure)
    _arrows(axes[1], names, found["source"])
    _heat(axes[2], names, found["source"], "Source graph: what the row's variable\ntakes of each in the window")
    _heat(axes[3], names, found["target"], "Target graph: what the row's variable\ntakes of each in the prediction")
    return Figure(figure)


def _heat(axes: Axes, names: Sequence[str], graph: Float[ndarray, "v v"], title: str, reach: float = 0.0) -> None:
    axes.grid(False)
    signed = graph.min() < 0
    reach = reach or float(np.abs(graph).max()) or 1.0
    picture = axes.imshow(graph, cmap=DIVERGING if signed else SEQUENTIAL, vmin=-reach if signed else 0, vmax=reach)
    _titled(axes, title)
    if len(names) <= LABELLED:
        short = [_short(name) for name in names]
        axes.set_xticks(range(len(names)), short, rotation=35, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), short)
        for (row, column), value in np.ndenumerate(graph):
            dark = value < 0.5 * reach if not signed else abs(value) > 0.6 * reach
            colour = "white" if dark else INK
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)
    else:
        axes.set_xlabel("variable")
        axes.set_ylabel("variable")
    colour_bar(axes, picture)


def _arrows(axes: Axes, names: Sequence[str], graph: Float[ndarray, "v v"]) -> None:
    """Variables on a circle; an arrow from what is taken to who takes it, the strongest three a variable at most."""
    count = len(names)
    angle = np.pi / 2 - 2 * np.pi * np.arange(count) / count
    place = np.stack([np.cos(angle), np.sin(angle)], 1)
    strength = np.abs(graph) * ~np.eye(count, dtype=bool)
    strongest = float(strength.max()) or 1.0
    for row in range(count):
        for column in np.argsort(-strength[row])[:3]:
            share = strength[row, column] / strongest
            if share < 0.15:
                continue
            axes.annotate(
                "",
                place[row],
                place[column],
                arrowprops={
                    "arrowstyle": "-|>",
                    "color": PALETTE[1] if graph[row, column] > 0 else PALETTE[0],
                    "linewidth": 0.6 + 2.6 * share,
                    "alpha": 0.35 + 0.6 * share,
                    "shrinkA": 13,
                    "shrinkB": 13,
                    "connectionstyle": "arc3,rad=0.14",
                },
            )
    axes.scatter(place[:, 0], place[:, 1], s=190, color="white", edgecolors=INK, linewidths=1.1, zorder=3)
    for name, (x, y) in zip(names, place):
        side = "center" if abs(x) < 0.3 else "left" if x > 0 else "right"
        axes.text(1.17 * x, 1.17 * y, _short(name), ha=side, va="center", fontsize=9, color=INK)
    axes.set_xlim(-2.1, 2.1)
    axes.set_ylim(-1.45, 1.45)
    axes.set_aspect("equal")
    axes.set_axis_off()
    _titled(axes, "Source graph: arrows lead to who takes\n(orange adds, blue subtracts)")


def training(history: Sequence[Mapping[str, float | int]], start: str | None, kept: int) -> Figure:
    """Errors on the times held back over the run, which began as a linear rule or, without one, untrained."""
    began = f"linear rule: {start}" if start else "untrained network"
    title = f"No step of training beat the {began}" if not kept else f"Trained for {kept} steps"
    figure, [axes] = new_figure(title=title, width=8, height=3)
    axes.plot([each["step"] for each in history], [each["error"] for each in history], marker="o", markersize=3)
    axes.axhline(history[0]["error"], color=MUTED, linestyle="--", linewidth=1, label=began)
    axes.axvline(kept, color=PALETTE[1], linewidth=1, label="kept")
    axes.set_xlabel("step")
    axes.set_ylabel("error on times held back")
    legend(axes)
    return Figure(figure)


def evolution(names: Sequence[str], times: ndarray, graphs: Float[ndarray, "moments v v"]) -> Figure:
    """How the ties between variables change: the graph at first, in the middle and at last, and its largest changes.

    Arguments:
        names: Of the variables.
        times: Last times of the spans.
        graphs: Ties, the strongest of all 1.
    """
    title = "How the graph of co-occurrence evolves (ties, the strongest of all is 1)"
    figure, axes = new_figure(1, 4, title=title, width=15, height=4.2, width_ratios=(1, 1, 1, 1.6))
    for axis, moment in zip(axes[:3], (0, len(graphs) // 2, -1)):
        _heat(axis, names, graphs[moment], f"until {_date(times[moment])}", reach=1.0)
    change = np.ptp(graphs, axis=0) * ~np.eye(len(names), dtype=bool)
    style = axes[3]
    for number, place in enumerate(np.argsort(-change.ravel())[: min(6, change.size - len(names))]):
        row, column = divmod(int(place), len(names))
        label = f"{_short(names[row])} where {_short(names[column])}"
        style.plot(times, graphs[:, row, column], linewidth=1.6, linestyle=("-", "--", ":")[number % 3], label=label)
    _titled(style, "The ties that change most")
    if times.dtype.kind == "M":
        concise_dates(style)
    else:
        style.set_xlabel("time")
    legend(style, fontsize=8.5, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=1)
    return Figure(figure)


def _short(name: str) -> str:
    """Without its unit."""
    return str(name).split(" (")[0].split(" /")[0][:18]


def _titled(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=INK)


def _date(time: object) -> str:
    return str(time).split("T")[0] if "T" in str(time) else f"{time:g}"
