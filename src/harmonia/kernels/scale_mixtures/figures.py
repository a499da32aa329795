"""The pictures of the report: predictions with intervals, their calibration, the scale, what another scale does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FuncFormatter, LogLocator

from harmonia.kernels.scale_mixtures.predictive import Predictive
from harmonia.kernels.scale_mixtures.scales import InverseGamma, PointMass, ScaleDistribution
from harmonia.media import Figure
from harmonia.media.figure import INK, MUTED, PALETTE, legend, new_figure
from harmonia.parts.calibration import Reliability, central_coverage


def prediction_figure(
    observed: Float64[np.ndarray, " n"], dist: Predictive, rival: Predictive, name: str, rival_name: str
) -> Figure:
    """Left-out predictions with 90% intervals in the order of their means, beside those of another process."""
    order = np.argsort(dist.mean)
    low, high = dist.interval(0.9)
    inside = (low <= observed) & (observed <= high)
    title = f"The 90% interval holds {100 * inside.mean():.0f}% of the left-out rows"
    figure, [axes] = new_figure(title=title, width=9.0, height=4.4)
    rank = np.arange(1, len(order) + 1)
    axes.fill_between(rank, low[order], high[order], color=PALETTE[0], alpha=0.16, lw=0, label="90% interval")
    for end, label in zip(rival.interval(0.9), (f"90% interval, {rival_name}", None)):
        axes.plot(rank, end[order], color=PALETTE[1], lw=0.9, label=label)
    axes.plot(rank, dist.mean[order], color=PALETTE[0], lw=1.8, label="mean")
    for where, colour, label in ((inside, INK, "observed"), (~inside, PALETTE[3], "observed, outside")):
        shown = where[order]
        axes.scatter(rank[shown], observed[order][shown], s=9, color=colour, alpha=0.75, lw=0, label=label)
    axes.set(xlabel="rows, in the order of their prediction", ylabel=name, xlim=(0, len(order) + 1))
    legend(axes, loc="upper left", ncols=2, bbox_to_anchor=(0.0, 1.0))
    low_end, high_end = axes.get_ylim()
    axes.set_ylim(low_end, high_end + 0.22 * (high_end - low_end))
    return Figure(figure)


def calibration_figure(transforms: Mapping[str, Float64[np.ndarray, " n"]]) -> Figure:
    """Histogram of the probability integral transforms, and the coverage of central intervals."""
    first = next(iter(transforms.values()))
    levels = np.linspace(0.02, 0.98, 49)
    worst = float(np.abs(central_coverage(first, levels) - levels).max())
    title = f"Stated and true coverage differ by at most {100 * worst:.0f} points"
    figure, (left, right) = new_figure(1, 2, title=title, height=3.8)
    bins = 10 if len(first) < 1000 else 20
    for rank, (colour, (name, values)) in enumerate(zip(PALETTE, transforms.items())):
        look: dict[str, Any] = {
            "color": colour,
            "lw": 1.8,
            "label": name,
            "ls": (0, (3, 2)) if rank else "-",
            "zorder": 3 + rank,
        }
        heights, edges = np.histogram(values, bins, (0.0, 1.0))
        left.stairs(heights * bins / len(values), edges, **look)
        right.plot(100 * levels, 100 * central_coverage(values, levels), **look)
    spread = 1.96 * np.sqrt((bins - 1) / len(first))
    left.axhspan(max(0.0, 1 - spread), 1 + spread, color=MUTED, alpha=0.18, lw=0, label="95% of calibrated models")
    left.set(xlabel="probability given to smaller values (PIT)", ylabel="density", xlim=(0, 1), ylim=(0, None))
    left.set_ylim(0, 1.45 * left.get_ylim()[1])
    right.plot([0, 100], [0, 100], color=MUTED, lw=1, label="calibrated")
    right.set(xlabel="stated coverage (%)", ylabel="left-out targets inside (%)", xlim=(0, 100), ylim=(0, 100))
    legend(left, loc="upper center", ncols=2, fontsize=8.5)
    legend(right, loc="upper left")
    return Figure(figure)


def scale_figure(
    prior: ScaleDistribution,
    posterior: ScaleDistribution,
    factors: Sequence[float] = (),
    losses: Mapping[str, Sequence[float]] | None = None,
) -> Figure:
    """Prior and posterior of the output scale s; beside it what it costs when targets come in other units.

    Arguments:
        prior: Before the data.
        posterior: After them.
        factors: What all targets are multiplied by, under the same hyperparameters.
        losses: Loss of left-out rows by process, one number per factor.
    """
    title = f"The data say that the scale of the outputs is {float(np.sqrt(posterior.mean())):.3g}"
    if losses:
        title += "; in other units a mixture learns it anew"
    figure, [axes, *others] = new_figure(1, 2 if losses else 1, title=title, height=3.8)
    (u, before), (v, after) = _curve(prior), _curve(posterior)
    if not isinstance(prior, PointMass):
        axes.fill_between(np.exp(u / 2), before / before.max(), color=MUTED, alpha=0.3, lw=0, label="prior")
    axes.plot(np.exp(v / 2), after / after.max(), color=PALETTE[0], lw=2, label="posterior")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.minorticks_off()
    axes.set(xlabel="scale s of the outputs, in units of the kernel's", ylabel="density of log s, over its maximum")
    axes.set_ylim(0, 1.3)
    legend(axes, loc="upper left", ncols=2)
    if losses:
        [right] = others
        for colour, (name, values) in zip(PALETTE, losses.items()):
            right.plot(factors, values, color=colour, marker="o", ms=4, lw=1.8, label=name)
        right.set_xscale("log")
        right.set_xticks(list(factors), [f"{f:.2g}" for f in factors])
        right.xaxis.minorticks_off()
        right.set(xlabel="all targets times (hyperparameters unchanged)", ylabel="loss of left-out rows (nats)")
        legend(right, loc="upper center")
    return Figure(figure)


def _curve(distribution: ScaleDistribution) -> tuple[np.ndarray, np.ndarray]:
    """Density of u = log s2, where it matters."""
    if isinstance(distribution, InverseGamma):
        u = np.log(distribution.frozen.ppf(np.linspace(0.001, 0.999, 400)))
        return u, np.exp(distribution.log_density(np.exp(u)) + u)
    nodes = distribution.update(0, 0.0)
    if isinstance(nodes, PointMass):
        u = np.log(nodes.s2) + np.linspace(-1e-3, 1e-3, 3)
        return u, np.array([0.0, 1.0, 0.0])
    values, weights = nodes.values, nodes.weights  # type: ignore[attr-defined]
    kept = weights > 1e-3 * weights.max()
    return np.log(values)[kept], weights[kept] / np.gradient(np.log(values))[kept]


def comparison_figure(nll: Mapping[str, Mapping[str, Float64[np.ndarray, " seeds"]]]) -> Figure:
    """Loss by condition and prior, with the spread over splits."""
    first = next(iter(nll.values()))
    added = {name: (nll["scale"][name] - nll["clean"][name]).mean() for name in first}
    told = ", ".join(f"{name} {round(value, 1) + 0.0:.1f}" for name, value in added.items())
    title = f"Nats a row that targets times three cost: {told}"
    figure, [axes] = new_figure(title=title, width=8.6, height=4.0)
    for shift, (colour, name) in enumerate(zip(PALETTE, first)):
        values = np.stack([by[name] for by in nll.values()])
        error = 2 * values.std(1) / np.sqrt(values.shape[1])
        at = np.arange(len(nll)) + 0.22 * (shift - (len(first) - 1) / 2)
        axes.errorbar(values.mean(1), at, xerr=error, fmt="o", ms=5, color=colour, capsize=3, lw=1.6, label=name)
    axes.set_yticks(range(len(nll)), [_CONDITIONS.get(name, name) for name in nll])
    axes.set_ylim(len(nll) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.set_xlabel("loss of held-out rows (nats a row), mean and two standard errors over splits")
    legend(axes, loc="upper right")
    return Figure(figure)


_CONDITIONS = {"outliers": "outliers in training", "scale": "all targets times three"}


def confusion_figure(counts: Int64[np.ndarray, "classes classes"], classes: np.ndarray, name: str) -> Figure:
    """Which class held-out rows have and which they are given."""
    accuracy = np.trace(counts) / counts.sum()
    size = min(9.0, 3.4 + 0.3 * len(classes))
    title = f"{100 * accuracy:.1f}% of held-out rows get their {name}"
    figure, [axes] = new_figure(title=title, width=size + 0.8, height=size, grid=False)
    shares = counts / counts.sum(1, keepdims=True).clip(1)
    axes.imshow(shares, cmap=LinearSegmentedColormap.from_list("share", ["white", PALETTE[0]]), vmin=0, vmax=1)
    labels = [str(value)[:14] for value in classes]
    axes.set_xticks(range(len(classes)), labels, rotation=90 if max(map(len, labels)) > 8 else 0)
    axes.set_yticks(range(len(classes)), labels)
    axes.set(xlabel="predicted", ylabel="observed")
    if len(classes) <= 12:
        for i, j in np.argwhere(counts):
            colour = "white" if shares[i, j] > 0.5 else INK
            axes.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=9, color=colour)
    return Figure(figure)


def reliability_figure(found: Reliability) -> Figure:
    """How often the predicted class is right, by the probability it was given."""
    title = f"Probabilities are off by {100 * found.error:.1f} points on average"
    figure, [axes] = new_figure(title=title, width=6.0, height=4.6)
    axes.plot([0, 100], [0, 100], color=MUTED, lw=1, ls="--", label="calibrated")
    sizes = 25 + 250 * found.size / found.size.max()
    axes.plot(100 * found.confidence, 100 * found.accuracy, color=PALETTE[0], lw=1.2)
    axes.scatter(
        100 * found.confidence, 100 * found.accuracy, s=sizes, color=PALETTE[0], lw=0, label="held-out rows, by area"
    )
    axes.set(xlabel="probability of the predicted class (%)", ylabel="share that is right (%)")
    axes.set(xlim=(0, 104), ylim=(0, 104))
    legend(axes, loc="upper left", markerscale=0.5)
    return Figure(figure)
