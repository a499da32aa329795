"""The pictures of the report: what is forgotten, by whom, and what the generator makes up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy import ndarray

from harmonia.media import Figure
from harmonia.media.figure import INK, MUTED, PALETTE, colour_bar, legend, new_figure
from harmonia.networks.gkcl.study import StreamResult

_STYLES = (("o", "-"), ("s", "--"), ("^", "-."), ("D", ":"), ("v", "-"), ("P", "--"))


def forgetting_figure(results: Mapping[str, StreamResult], names: Sequence[str]) -> Figure:
    """The first learner's accuracy on every task after every task, and the average so far of all learners."""
    count = len(names)
    width = 5.0 + max(5.0, 0.55 * count)
    figure, (left, right) = new_figure(
        1, 2, title="What is still known of each task", width=width, height=4.2, width_ratios=[1, 1.05]
    )
    ours = next(iter(results))
    accuracies = results[ours].accuracies
    _heat_map(left, accuracies, names)
    left.set_title(ours, fontsize=10.5, color=INK, loc="left")
    for k, (name, result) in enumerate(results.items()):
        marker, line = _STYLES[k % len(_STYLES)]
        averages = [np.mean(result.accuracies[j, : j + 1]) for j in range(count)]
        right.plot(
            np.arange(1, count + 1),
            averages,
            marker=marker,
            ls=line,
            ms=5,
            lw=2.2 if k == 0 else 1.4,
            color=PALETTE[k % len(PALETTE)],
            label=f"{name} ({_bytes(result.memory_bytes)})",
        )
    right.set(xlabel="tasks learnt", ylabel="mean accuracy on the tasks so far", ylim=(None, 1.01))
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
    handles, labels = right.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9, labelcolor=INK)
    return Figure(figure)


def _heat_map(axes: Axes, accuracies: Float64[ndarray, "tasks tasks"], names: Sequence[str]) -> None:
    count = len(names)
    percent = 100 * accuracies
    lowest = min(float(np.nanmin(percent)), 90.0)
    image = axes.imshow(percent, cmap="viridis", vmin=lowest, vmax=100, aspect="auto")
    axes.grid(False)
    for j in range(count if count <= 10 else 0):
        for i in range(j + 1):
            colour = "white" if percent[j, i] < (lowest + 100) / 2 else INK
            axes.text(i, j, f"{percent[j, i]:.0f}", ha="center", va="center", fontsize=8.5, color=colour)
    short = [name if len(name) <= 14 else f"{name[:13]}…" for name in names]
    step = max(1, count // 10)
    axes.set_xticks(range(0, count, step), short[::step], rotation=35, ha="right")
    axes.set_yticks(range(0, count, step), short[::step])
    axes.set(xlabel="accuracy on task", ylabel="after learning task")
    colour_bar(axes, image, "accuracy (%)")


def pictures_figure(
    real: Sequence[ndarray], made: Sequence[ndarray], names: Sequence[str], classes: Sequence[Sequence[str]]
) -> Figure:
    """One real and one made-up picture of every class of every task.

    Arguments:
        real, made: One array (classes, side, side) a task, values from 0 to 1.
        names: Of the tasks.
        classes: Of each task.
    """
    tasks = min(len(names), 8)
    most = min(10, max(len(each) for each in classes[:tasks]))
    title = "Left of each pair a row of the data, right of it one that the memory made up"
    figure, axes = new_figure(
        tasks, most, title=title, width=max(6.5, 1.15 * most + 1.2), height=0.5 + 0.78 * tasks, grid=False
    )
    for t in range(tasks):
        for k in range(most):
            each = axes[t * most + k]
            each.set(xticks=[], yticks=[])
            each.spines[:].set_visible(False)
            if k >= len(classes[t]):
                continue
            gap = np.full((real[t].shape[1], 1), np.nan)
            pair = np.concatenate([real[t][k], gap, made[t][k]], 1)
            each.imshow(pair, cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
            if t == 0 or classes[t] != classes[0]:
                each.set_title(classes[t][k], fontsize=9, color=INK, pad=2)
            if k == 0:
                each.set_ylabel(names[t], rotation=0, ha="right", va="center", fontsize=9, labelpad=8)
    return Figure(figure)


def rows_figure(
    real: Sequence[ndarray],
    made: Sequence[tuple[ndarray, ndarray]],
    labels: Sequence[ndarray],
    names: Sequence[str],
) -> Figure:
    """Real and made-up rows of up to four tasks in the plane of the real rows' first two principal components."""
    count = min(4, len(names))
    figure, axes = new_figure(
        1,
        count,
        title="Rows of the data (dots) and rows that the memory made up (crosses)",
        width=max(6.0, 3.4 * count),
    )
    for t, each in enumerate(axes):
        centre = real[t].mean(0)
        _, _, directions = np.linalg.svd(real[t] - centre, full_matrices=False)
        plane = np.concatenate([directions, np.zeros((2, real[t].shape[1]))])[:2]
        rows, (made_x, made_y) = (real[t] - centre) @ plane.T, made[t]
        invented = (made_x - centre) @ plane.T
        for k, label in enumerate(np.unique(labels[t])):
            colour = PALETTE[k % len(PALETTE)]
            own, new = labels[t] == label, made_y == label
            each.scatter(rows[own, 0], rows[own, 1], s=14, color=colour, alpha=0.35, lw=0)
            each.scatter(invented[new, 0], invented[new, 1], s=30, color=colour, marker="x", lw=1.4, label=str(label))
        each.set(xlabel="first principal component", ylabel="second" if t == 0 else "")
        each.set_title(f"task {names[t]}", fontsize=10, color=INK)
        each.tick_params(labelcolor=MUTED)
        legend(each, loc="best", fontsize=8)
    return Figure(figure)


def _bytes(count: int) -> str:
    """For people.

    Example:
        >>> _bytes(0), _bytes(336), _bytes(20_480), _bytes(3_000_000)
        ('nothing kept', '336 bytes', '20 kB', '3.0 MB')
    """
    if count < 1000:
        return f"{count} bytes" if count else "nothing kept"
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{round(count / 1000)} kB"
