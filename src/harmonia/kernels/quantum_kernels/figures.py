"""The pictures of the report: kernel matrices, decisions in the plane, concentration, training, shots."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator
from numpy import ndarray
from sklearn.pipeline import Pipeline

from harmonia.kernels.quantum_kernels.diagnostics import Concentration
from harmonia.kernels.quantum_kernels.shots import ShotsCurve
from harmonia.media import Figure
from harmonia.media.figure import DIVERGING, INK, MUTED, PALETTE, SEQUENTIAL, colour_bar, legend, new_figure

_GRID = 160
"""Points a side of a landscape."""


def kernel_figure(quantum: Float64[ndarray, "n n"], gaussian: Float64[ndarray, "n n"], y: ndarray) -> Figure:
    """Both matrices with rows ordered by class, lines between classes."""
    order = np.argsort(y, kind="stable")
    classes, counts = np.unique(y, return_counts=True)
    ends = np.cumsum(counts)
    same = y[:, None] == y
    within, between = quantum[same & ~np.eye(len(y), dtype=bool)].mean(), quantum[~same].mean()
    title = f"In the quantum kernel rows of one class overlap by {within:.2g}, of different ones by {between:.2g}"
    figure, axes = new_figure(1, 2, title=title, width=10.5, height=5.0, grid=False)
    for each, matrix, name in zip(axes, (quantum, gaussian), ("quantum kernel", "Gaussian kernel")):
        image = each.imshow(matrix[np.ix_(order, order)], cmap=SEQUENTIAL, vmin=0, vmax=1, interpolation="nearest")
        for end in ends[:-1] - 0.5:
            each.axhline(end, color="white", lw=1)
            each.axvline(end, color="white", lw=1)
        names = [str(name) if len(str(name)) < 14 else f"{str(name)[:12]}…" for name in classes]
        each.set_xticks(ends - counts / 2 - 0.5, names)
        each.set_yticks(ends - counts / 2 - 0.5, names, rotation=90, va="center")
        each.tick_params(length=0)
        each.set_title(f"{name}, as chosen for this table", fontsize=10.5, color=INK)
    colour_bar(axes[1], image, "k(x, x′)")
    return Figure(figure)


def decision_figure(
    models: Mapping[str, Pipeline], x: Float64[ndarray, "n d"], y: ndarray, names: Sequence[str]
) -> Figure:
    """Decisions in the plane of the two inputs whose class means differ most, all others at their median.

    Arguments:
        models: By name; fitted on `x`.
        x: Rows.
        y: Their classes, of which the rows are drawn in colours.
        names: Of the inputs.
    """
    classes = np.unique(y)
    first, second = _axes(x, y)
    title = "Decisions of the final models" if x.shape[1] <= 2 else "Decisions, all other inputs at their median"
    figure, axes = new_figure(1, len(models), title=title, width=5.6 * len(models), height=5.2, grid=False)
    limits = [_limits(x[:, column]) for column in (first, second)]
    sides = [np.linspace(*limit, _GRID) for limit in limits]
    plane = np.tile(np.median(x, 0), (_GRID * _GRID, 1))
    for column, values in zip((first, second), np.meshgrid(*sides)):
        plane[:, column] = values.ravel()
    for each, (name, model) in zip(axes, models.items()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the plane reaches a little beyond the rows, which the fit has judged
            _landscape(each, model, plane, limits, classes)
        for k, label in enumerate(classes):
            rows = y == label
            each.scatter(
                x[rows, first],
                x[rows, second],
                s=22,
                color=PALETTE[k % len(PALETTE)],
                edgecolor="white",
                lw=0.6,
                label=str(label),
            )
        each.set(xlim=limits[0], ylim=limits[1], xlabel=names[first], ylabel=names[second])
        each.set_title(name, fontsize=10.5, color=INK)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6, len(classes)), frameon=False, fontsize=9)
    return Figure(figure)


def _landscape(
    axes: Axes, model: Pipeline, plane: ndarray, limits: list[tuple[float, float]], classes: ndarray
) -> None:
    extent = (*limits[0], *limits[1])
    decisions = model.decision_function(plane)
    if len(classes) == 2:
        values = decisions.reshape(_GRID, _GRID)
        most = max(float(np.quantile(np.abs(values), 0.98)), 1e-9)
        image = axes.imshow(
            values, extent=extent, origin="lower", aspect="auto", cmap=f"{DIVERGING}", vmin=-most, vmax=most, alpha=0.75
        )
        axes.contour(values, levels=[0], extent=extent, colors=INK, linewidths=1.2)
        colour_bar(axes, image, f"decision: {classes[1]} above 0")
        return
    from matplotlib.colors import to_rgb

    shades = np.array([to_rgb(PALETTE[k % len(PALETTE)]) for k in range(len(classes))])
    found = np.searchsorted(classes, model.predict(plane)).reshape(_GRID, _GRID)
    axes.imshow(1 - 0.3 * (1 - shades[found]), extent=extent, origin="lower", aspect="auto", interpolation="nearest")


def _axes(x: Float64[ndarray, "n d"], y: ndarray) -> tuple[int, int]:
    """The two inputs whose means differ most between classes, in units of their spread; the only one twice."""
    if x.shape[1] <= 2:
        return 0, x.shape[1] - 1
    classes = np.unique(y)
    means = np.stack([x[y == label].mean(0) for label in classes])
    score = means.std(0) / np.maximum(x.std(0), 1e-12)
    first, second = sorted(np.argsort(-score, kind="stable")[:2].tolist())
    return first, second


def _limits(values: Float64[ndarray, " n"]) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    margin = 0.03 * (high - low) or 1.0
    return low - margin, high + margin


def concentration_figure(
    bandwidths: Sequence[float],
    accuracy: Float64[ndarray, " b"],
    spread: Float64[ndarray, " b"],
    reports: Sequence[Concentration],
    chosen: float,
) -> Figure:
    """Accuracy in cross-validation, and overlaps of rows beside those of random states."""
    figure, (left, right) = new_figure(
        1, 2, title="The bandwidth decides between a flat kernel and one that sees only equal rows", width=10.5
    )
    left.errorbar(bandwidths, accuracy, yerr=spread, marker="o", capsize=3, color=PALETTE[0])
    left.set(xlabel="bandwidth (factor of all angles)", ylabel="accuracy in cross-validation", xscale="log")
    mean, std = np.array([one.mean for one in reports]), np.array([one.std for one in reports])
    right.plot(bandwidths, mean, marker="o", color=PALETTE[0], label="overlap of different rows, mean")
    right.plot(bandwidths, std, marker="s", ls="--", color=PALETTE[1], label="its standard deviation")
    right.axhline(reports[0].random, color=MUTED, ls=":", label="random states: 2⁻ⁿ")
    right.set(xlabel="bandwidth (factor of all angles)", ylabel="overlap", xscale="log", yscale="log")
    right.set_ylim(0.2 * min(reports[0].random, std.min(), mean.min()), 1.3)
    right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    right.yaxis.set_minor_formatter(NullFormatter())
    legend(right, loc="lower left")
    for axes in (left, right):
        axes.axvline(chosen, color=MUTED, lw=6, alpha=0.25)
        axes.xaxis.set_major_locator(FixedLocator(list(bandwidths)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    left.annotate(
        "chosen",
        (chosen, 0),
        xycoords=("data", "axes fraction"),
        xytext=(0, 5),
        textcoords="offset points",
        fontsize=8.5,
        color=MUTED,
        ha="center",
    )
    return Figure(figure)


def training_figure(curves: Mapping[int, Sequence[float]], scores: Sequence[float]) -> Figure:
    """Risk by step of each depth, and accuracy of rows left out by depth."""
    figure, (left, right) = new_figure(
        1, 2, title="Risk in training, and accuracy by depth", width=10.5, width_ratios=[1.6, 1]
    )
    for k, (depth, losses) in enumerate(curves.items()):
        left.plot(np.arange(1, len(losses) + 1), losses, color=PALETTE[k % len(PALETTE)], label=f"depth {depth}")
    left.set(xlabel="step", ylabel="risk: probability of a wrong label", ylim=(0, None))
    legend(left, loc="upper right")
    depths = list(curves)
    right.plot(depths, scores, marker="o", color=INK)
    right.set(xlabel="entangling layers", ylabel="accuracy on rows left out", ylim=(min(0.5, *scores) - 0.02, 1.02))
    right.set_xticks(depths)
    return Figure(figure)


def shots_figure(curve: ShotsCurve) -> Figure:
    """Accuracy by shots beside the exact kernel, and how indefinite the measured kernels are."""
    figure, (left, right) = new_figure(1, 2, title="What a device needs to measure the kernel", width=10.5)
    mean, std = curve.accuracy.mean(1), curve.accuracy.std(1)
    left.axhline(curve.exact, color=MUTED, ls="--", label="exact kernel, ideal device")
    left.errorbar(curve.shots, mean, yerr=std, marker="o", capsize=3, color=PALETTE[0], label="measured kernel")
    left.set(xlabel="runs of each circuit", ylabel="accuracy on rows left out", xscale="log")
    legend(left, loc="lower right")
    right.plot(curve.shots, curve.negative, marker="o", color=PALETTE[1])
    right.set(xlabel="runs of each circuit", ylabel="share of negative eigenvalues", xscale="log", ylim=(0, None))
    return Figure(figure)
