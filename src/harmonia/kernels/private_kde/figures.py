"""The pictures: answers where they are, what error to expect by epsilon, classes, and what came before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64
from matplotlib.ticker import FuncFormatter, NullFormatter

from harmonia.kernels.private_kde.prior import Compared
from harmonia.media import Figure
from harmonia.media.figure import INK, MUTED, PALETTE, SEQUENTIAL, colour_bar, legend, new_figure


def map_figure(
    private: Float64[np.ndarray, "side side"],
    exact: Float64[np.ndarray, "side side"] | None,
    extent: tuple[float, float, float, float],
    names: Sequence[str],
    quantity: str,
    noise: float,
) -> Figure:
    """A map of private answers over two columns; with exact ones beside it where they may be seen."""
    title = f"Private answers, with a standard error of {noise:.2g}"
    maps = [("private", private)] if exact is None else [("exact: not private", exact), ("private", private)]
    figure, axes = new_figure(1, len(maps), title=title, width=4.9 * len(maps), height=4.2, grid=False)
    low, high = (min(m.min() for _, m in maps), max(m.max() for _, m in maps))
    for each, (name, values) in zip(axes, maps):
        shown = each.imshow(
            values.T, origin="lower", extent=extent, cmap=SEQUENTIAL, vmin=low, vmax=high, aspect="auto"
        )
        each.set(title=name if len(maps) > 1 else "", xlabel=names[0], ylabel=names[1])
    colour_bar(axes[-1], shown, quantity)
    return Figure(figure)


def profile_figure(
    values: Float64[np.ndarray, " q"],
    std: Float64[np.ndarray, " q"],
    exact: Float64[np.ndarray, " q"] | None,
    quantity: str,
) -> Figure:
    """Private answers in the order of their size, with two standard errors; and exact ones where they may be seen."""
    order = np.argsort(values)
    rank = np.arange(1, len(values) + 1)
    title = f"Answers from {values.min():.3g} to {values.max():.3g}, standard errors about {np.median(std):.2g}"
    figure, [axes] = new_figure(title=title, height=3.8)
    low, high = (values + sign * 2 * std for sign in (-1, 1))
    axes.fill_between(rank, low[order], high[order], color=PALETTE[0], alpha=0.2, lw=0, label="two standard errors")
    axes.plot(rank, values[order], color=PALETTE[0], lw=1.6, label="private answer")
    if exact is not None:
        axes.plot(rank, exact[order], "o", color=PALETTE[1], ms=3, label="exact: not private")
    axes.set(xlabel="queries, in the order of their answers", ylabel=quantity, xlim=(1, max(2, len(values))))
    legend(axes, loc="upper left")
    return Figure(figure)


def expected_figure(
    eps: Sequence[float],
    noise: Mapping[str, Sequence[float]],
    sampling: float,
    chosen: float,
    quantity: str,
    rows: float,
) -> Figure:
    """Error to expect by epsilon, known before anything is released."""
    figure, [axes] = new_figure(title=f"Error to expect from about {rows:,.0f} rows", height=3.8)
    for colour, style, (name, values) in zip(PALETTE, ("-", "--"), noise.items()):
        axes.plot(eps, values, color=colour, lw=2, ls=style, label=name)
    if sampling:
        axes.axhline(sampling, color=MUTED, ls="-.", lw=1.2, label="most that random features add")
    axes.axvline(chosen, color=INK, lw=1, ls=":", label=f"chosen: epsilon {chosen:g}")
    axes.set(xscale="log", yscale="log", xlabel="epsilon: less is more private", ylabel=f"error of {quantity}")
    _plain_ticks(axes)
    legend(axes, loc="upper right")
    return Figure(figure)


def accuracy_figure(
    eps: Sequence[float], accuracy: Mapping[str, Sequence[float]], open_accuracy: float, chance: float, chosen: float
) -> Figure:
    """Accuracy on held-out rows by epsilon."""
    figure, [axes] = new_figure(title="Accuracy on held-out rows by what privacy is spent", height=4.0)
    axes.axhline(100 * open_accuracy, color=INK, lw=1.2, ls="--", label="without privacy")
    for colour, (name, values) in zip(PALETTE, accuracy.items()):
        axes.plot(eps, 100 * np.array(values), color=colour, lw=2, marker="o", ms=4, label=name)
    axes.axhline(100 * chance, color=MUTED, lw=1.2, ls=":", label="most frequent class")
    axes.axvline(chosen, color=INK, lw=0.8, alpha=0.5)
    axes.set(xscale="log", xlabel="epsilon: less is more private", ylabel="accuracy (%)", ylim=(0, 103))
    _plain_ticks(axes, y=False)
    legend(axes, loc="lower right")
    return Figure(figure)


def confusion_figure(counts: np.ndarray, classes: Sequence[str], name: str) -> Figure:
    """Which class held-out rows have and which they are given, in percent of the class."""
    accuracy = np.trace(counts) / counts.sum()
    size = min(9.0, 3.4 + 0.3 * len(classes))
    title = f"{100 * accuracy:.1f}% get their {name}"
    figure, [axes] = new_figure(title=title, width=size + 0.8, height=size, grid=False)
    shares = 100 * counts / counts.sum(1, keepdims=True).clip(1)
    shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    labels = [str(value)[:14] for value in classes]
    axes.set_xticks(range(len(classes)), labels, rotation=90 if max(map(len, labels)) > 8 else 0)
    axes.set_yticks(range(len(classes)), labels)
    axes.set(xlabel="predicted", ylabel="observed")
    colour_bar(axes, shown, "share of the class (%)")
    return Figure(figure)


def prior_figure(
    distances: Compared, kernels: Compared, sizes: Sequence[int], times: Mapping[str, Sequence[float]]
) -> Figure:
    """Errors by epsilon beside the paper's structure and prior work, and the time of a query by number of rows."""
    figure, (first, second, third) = new_figure(1, 3, title="Beside what came before", width=13.0, height=4.0)
    for axes, found, label in (
        (first, distances, "mean relative error of l1 sums"),
        (second, kernels, "mean error of mean Gaussian kernels"),
    ):
        for colour, (name, errors) in zip(PALETTE, found.errors.items()):
            axes.plot(found.eps, errors, color=colour, lw=2, marker="o", ms=4, label=name)
        axes.set(xscale="log", yscale="log", xlabel="epsilon", ylabel=label)
        _plain_ticks(axes)
    for colour, (name, values) in zip((MUTED, PALETTE[1], PALETTE[0]), times.items()):
        third.plot(sizes, 1e6 * np.array(values), color=colour, lw=2, marker="o", ms=4, label=name)
    third.set(xscale="log", yscale="log", xlabel="private rows", ylabel="time of a query (µs)")
    for axes in (first, second, third):
        low, high = axes.get_ylim()
        axes.set_ylim(low, high * (high / low) ** 0.35)
        legend(axes, loc="upper left", fontsize=8.5)
    return Figure(figure)


def _plain_ticks(axes, y: bool = True) -> None:  # type: ignore[no-untyped-def]
    for axis in (axes.xaxis, axes.yaxis) if y else (axes.xaxis,):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
