"""The pictures of the report: learned Gram matrices beside fixed ones, predictions, and the path of learning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64
from matplotlib.colors import LinearSegmentedColormap

from harmonia.kernels.dkm.path import PathPoint
from harmonia.media import Figure
from harmonia.media.figure import DIVERGING, INK, MUTED, PALETTE, colour_bar, legend, new_figure
from harmonia.parts.calibration import Reliability, central_coverage


def gram_figure(
    fixed: Sequence[Float64[np.ndarray, "p p"]],
    learned: Sequence[Float64[np.ndarray, "p p"]],
    prices: Sequence[float],
    order: Int64[np.ndarray, " p"],
    sorted_by: str,
) -> Figure:
    """Correlations of inducing points in every layer: of an infinitely wide network, and learned.

    Arguments:
        fixed: Gram matrices of the fixed kernels.
        learned: Those that were learned.
        prices: KL of each learned matrix from the kernel it replaced, in nats.
        order: In which inducing points are shown.
        sorted_by: By what they were ordered, for the labels.
    """
    told = ", ".join(f"layer {i} by {price:.3g} nats" for i, price in enumerate(prices, 1))
    title = f"Learning moved {told}" if len(prices) else "Fixed kernels: nothing was learned"
    columns = max(1, len(learned))
    figure, axes = new_figure(2, columns, title=title, width=3.9 * max(2, columns), height=7.2, grid=False)
    for row, (matrices, name) in enumerate(((fixed, "infinitely wide network"), (learned, "learned"))):
        for column, matrix in enumerate(matrices):
            panel = axes[row * len(matrices) + column]
            size = np.sqrt(np.diag(matrix))
            shown = (matrix / np.outer(size, size))[np.ix_(order, order)]
            image = panel.imshow(shown, cmap=DIVERGING, vmin=-1, vmax=1, interpolation="nearest")
            panel.set_title(f"layer {column + 1}, {name}")
            panel.set_xlabel(f"inducing points, by {sorted_by}" if row else "")
            panel.set_ylabel("" if column else "inducing points")
            panel.set_xticks([])
            panel.set_yticks([])
    for last in axes[columns - 1 :: columns]:
        if learned:
            colour_bar(last, image, "correlation")
        else:
            last.set_axis_off()
    return Figure(figure)


def prediction_figure(
    observed: Float64[np.ndarray, " n"],
    mean: Float64[np.ndarray, " n"],
    std: Float64[np.ndarray, " n"],
    cdf: Float64[np.ndarray, " n"],
    name: str,
) -> Figure:
    """Left-out rows: prediction against observation with 90% intervals, and whether intervals hold what they state."""
    low, high = mean - 1.645 * std, mean + 1.645 * std
    inside: Bool[np.ndarray, " n"] = (low <= observed) & (observed <= high)
    explained = 1 - np.square(observed - mean).mean() / observed.var()
    title = f"Left-out rows: {100 * explained:.0f}% of the variance explained"
    if explained < 0:
        title = "Left-out rows are predicted worse than by their mean: raise dof, the price of learning"
    figure, (left, right) = new_figure(1, 2, title=title, height=4.2)
    for where, colour, label in ((inside, PALETTE[0], "inside"), (~inside, PALETTE[1], "outside")):
        look: dict[str, Any] = {"fmt": "o", "ms": 3, "lw": 0.6, "alpha": 0.6}
        left.errorbar(mean[where], observed[where], xerr=1.645 * std[where], color=colour, **look, label=label)
    ends = [min(mean.min(), observed.min()), max(mean.max(), observed.max())]
    left.plot(ends, ends, color=INK, lw=1)
    left.set(xlabel=f"predicted {name}, with 90% interval", ylabel=f"observed {name}")
    left.set_ylim(ends[0] - 0.05 * (ends[1] - ends[0]), ends[1] + 0.18 * (ends[1] - ends[0]))
    legend(left, loc="upper left", ncols=2, title="observed value and interval", title_fontsize=9)
    levels = np.linspace(0.02, 0.98, 49)
    right.plot([0, 100], [0, 100], color=MUTED, lw=1, label="calibrated")
    right.plot(100 * levels, 100 * central_coverage(cdf, levels), color=PALETTE[0], lw=2, label="left-out rows")
    right.set(xlabel="stated coverage (%)", ylabel="observed inside (%)", xlim=(0, 100), ylim=(0, 100))
    legend(right, loc="upper left")
    return Figure(figure)


def class_figure(
    confusion: Int64[np.ndarray, "c c"], found: Reliability, classes: Float64[np.ndarray, " c"] | np.ndarray, name: str
) -> Figure:
    """Left-out rows: which class they have and are given, and whether probabilities hold what they state."""
    accuracy = np.trace(confusion) / confusion.sum()
    right_share, off = 100 * accuracy, 100 * found.error
    title = f"{right_share:.1f}% of left-out rows get their {name}; probabilities are off by {off:.1f} points"
    figure, (left, right) = new_figure(1, 2, title=title, width=9.6, height=4.6)
    left.grid(False)
    shares = confusion / confusion.sum(1, keepdims=True).clip(1)
    left.imshow(shares, cmap=LinearSegmentedColormap.from_list("share", ["white", PALETTE[0]]), vmin=0, vmax=1)
    labels = [str(value)[:14] for value in classes]
    left.set_xticks(range(len(classes)), labels, rotation=90 if sum(map(len, labels)) > 40 else 0)
    left.set_yticks(range(len(classes)), labels)
    left.set(xlabel="predicted", ylabel="observed")
    if len(classes) <= 12:
        for i, j in np.argwhere(confusion):
            colour = "white" if shares[i, j] > 0.5 else INK
            left.text(j, i, str(confusion[i, j]), ha="center", va="center", fontsize=9, color=colour)
    right.plot([0, 100], [0, 100], color=MUTED, lw=1, ls="--", label="calibrated")
    right.plot(100 * found.confidence, 100 * found.accuracy, color=PALETTE[0], lw=1.2)
    sizes = 20 + 200 * found.size / found.size.max()
    right.scatter(100 * found.confidence, 100 * found.accuracy, s=sizes, color=PALETTE[0], lw=0, label="rows, by area")
    right.set(xlabel="probability of the predicted class (%)", ylabel="share that is right (%)")
    right.set(xlim=(0, 104), ylim=(0, 104))
    legend(right, loc="upper left", markerscale=0.5)
    return Figure(figure)


def path_figure(path: Sequence[PathPoint]) -> Figure:
    """Bound, held-out loss and what the layers moved, by the price of learning, from fixed kernels to free ones."""
    best = min(path, key=lambda point: point.loss)
    words = "fixed kernels do best" if math.isinf(best.dof) else f"dof = {best.dof:g} does best"
    gain = path[0].loss - best.loss
    title = f"On held-out rows {words}: {gain:.2f} nats a row better than dof = {_name(path[0].dof)}"
    figure, (left, right) = new_figure(1, 2, title=title, height=3.9)
    at = np.arange(len(path))
    left.plot(
        at, [-point.elbo for point in path], color=PALETTE[0], marker="o", ms=4, label="training: minus the bound"
    )
    left.plot(at, [point.loss for point in path], color=PALETTE[1], marker="o", ms=4, label="held out: loss")
    left.plot(path.index(best), best.loss, "o", ms=10, mfc="none", color=PALETTE[1])
    left.set_ylabel("nats a row")
    low, high = left.get_ylim()
    left.set_ylim(low, high + 0.2 * (high - low))
    legend(left, loc="upper right")
    layers = max(len(point.divergences) for point in path)
    for layer in range(layers):
        moved = [point.divergences[layer] if len(point.divergences) else 0.0 for point in path]
        right.plot(at, moved, color=PALETTE[2 + layer % 6], marker="o", ms=4, label=f"layer {layer + 1}")
    right.set_yscale("symlog", linthresh=0.1)
    right.set_ylim(bottom=0)
    right.set_ylabel("KL from the kernel replaced (nats)")
    legend(right, loc="upper left")
    for panel in (left, right):
        panel.set_xticks(at, [_name(point.dof) for point in path])
        panel.set_xlabel("dof, the price of learning: from fixed kernels to free ones")
    return Figure(figure)


def _name(dof: float) -> str:
    return "∞" if math.isinf(dof) else f"{dof:g}"
