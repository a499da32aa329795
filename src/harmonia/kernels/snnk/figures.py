"""The pictures of the report: accuracy by parameters and time, errors by width, functions and their estimates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64
from numpy import ndarray

from harmonia.kernels.snnk.comparison import FOURIER, LINEAR, NARROW, ONE, TWO, Trial
from harmonia.kernels.snnk.compression import Compressed
from harmonia.media import Figure
from harmonia.media.figure import INK, MUTED, PALETTE, SEQUENTIAL, colour_bar, legend, new_figure

_STYLE: dict[str, dict[str, Any]] = {
    ONE: {"color": PALETTE[0], "marker": "o"},
    TWO: {"color": PALETTE[5], "marker": "s"},
    NARROW: {"color": PALETTE[1], "marker": "^", "ls": "--"},
    FOURIER: {"color": PALETTE[2], "marker": "v", "ls": ":"},
    LINEAR: {"color": MUTED, "marker": "D", "ls": ""},
}


def tradeoff_figure(trials: Sequence[Trial], score: str) -> Figure:
    """Score by trainable parameters and by seconds of the fit."""
    figure, axes = new_figure(
        1, 2, title="What trainable parameters and time buy, on rows left out", width=10.5, height=4.4, sharey=True
    )
    floor = _floor([one.score for one in trials])
    for name, style in _STYLE.items():
        some = [one for one in trials if one.model == name]
        scores = [one.score for one in some]
        axes[0].plot([one.parameters for one in some], scores, label=name, ms=5, lw=1.6, **style)
        axes[1].plot([one.seconds for one in some], scores, ms=5, lw=1.6, **style)
    for each, label in zip(axes, ("trainable parameters", "processor seconds to fit")):
        each.set(xscale="log", xlabel=label, ylim=(floor, None))
    axes[0].set_ylabel(f"{score} on rows left out")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    return Figure(figure)


def _floor(scores: Sequence[float]) -> float:
    """Low enough for most, without the few that would flatten all others."""
    low, high = float(np.quantile(scores, 0.12)), max(scores)
    return low - 0.15 * (high - low) - 1e-3


def widths_figure(errors: Mapping[str, Mapping[int, float]], chosen: tuple[str, int]) -> Figure:
    """Leave-one-out error by width and depth, with the model that was taken."""
    figure, [axes] = new_figure(title="Leave-one-out error chooses width and depth", width=6.6, height=4.0)
    for name, by_width in errors.items():
        axes.plot(list(by_width), list(by_width.values()), ms=5, label=name, **_STYLE.get(name, _STYLE[ONE]))
    axes.plot([chosen[1]], [errors[chosen[0]][chosen[1]]], "o", ms=15, mfc="none", mec=INK, label="taken")
    axes.set(xscale="log", xlabel="features of each layer", ylabel="error of rows left out, over that of the mean")
    widths = sorted({width for by_width in errors.values() for width in by_width})
    axes.set_xticks(widths, [str(width) for width in widths])
    axes.minorticks_off()
    legend(axes)
    return Figure(figure)


def prediction_figure(y: Float64[ndarray, " n"], left_out: Float64[ndarray, " n"], name: str) -> Figure:
    """Predictions of rows left out beside their targets."""
    figure, [axes] = new_figure(title="Every row, predicted by all others", width=5.6, height=5.2)
    low, high = float(min(y.min(), left_out.min())), float(max(y.max(), left_out.max()))
    axes.plot([low, high], [low, high], color=MUTED, lw=1)
    axes.scatter(y, left_out, s=14, alpha=0.6, color=PALETTE[0], lw=0)
    axes.set(xlabel=f"{name}: measured", ylabel=f"{name}: predicted", aspect="equal")
    return Figure(figure)


def confusion_figure(confusion: Int64[ndarray, "k k"], classes: Sequence[str], name: str) -> Figure:
    """How often each class is taken for each, of rows left out."""
    size = max(5.2, 0.42 * len(classes) + 2.4)
    figure, [axes] = new_figure(title="Every row, classified by all others", width=size + 0.6, height=size, grid=False)
    shares = confusion / confusion.sum(1, keepdims=True).clip(1)
    image = axes.imshow(shares, cmap=SEQUENTIAL, vmin=0, vmax=1)
    short = [label if len(label) < 14 else f"{label[:12]}…" for label in classes]
    long = max(map(len, short)) > 4
    axes.set_xticks(range(len(short)), short, rotation=45 if long else 0, ha="right" if long else "center")
    axes.set_yticks(range(len(short)), short)
    axes.set(xlabel="predicted", ylabel=name)
    if len(classes) <= 20:
        for (i, j), count in np.ndenumerate(confusion):
            if count:
                shade = INK if shares[i, j] > 0.6 else "white"
                axes.text(j, i, str(count), ha="center", va="center", fontsize=8, color=shade)
    colour_bar(axes, image, "share of the class")
    return Figure(figure)


def kernel_figure(
    z: Float64[ndarray, " n"],
    exact: Float64[ndarray, " n"],
    mean: Float64[ndarray, " n"],
    std: Float64[ndarray, " n"],
    errors: Mapping[str, tuple[Sequence[int], Sequence[float], Sequence[float]]],
    name: str,
    told: str,
) -> Figure:
    """A function with its estimate, and the error by features of every way: measured and predicted."""
    figure, (left, right) = new_figure(1, 2, title=f"{name} by random features", width=10.5, height=4.4)
    left.fill_between(z, mean - std, mean + std, color=PALETTE[0], alpha=0.2, lw=0, label="± one deviation")
    left.plot(z, mean, color=PALETTE[0], label=f"mean estimate: {told}")
    left.plot(z, exact, color=INK, ls="--", lw=1.2, label=f"{name}(z)")
    left.set(xlabel="z = w · x", ylabel=f"{name}(z)")
    legend(left)
    for colour, (way, (counts, measured, predicted)) in zip(PALETTE, errors.items()):
        right.plot(counts, measured, "o-", color=colour, ms=5, label=way)
        right.plot(counts, predicted, ":", color=colour)
    right.plot([], [], ":", color=INK, label="bound known before")
    right.set(xscale="log", yscale="log", xlabel="features", ylabel="root mean square error")
    right.set_xticks(counts, [str(count) for count in counts])
    right.minorticks_off()
    tops = [max(measured) for _, measured, _ in errors.values()]
    right.set_ylim(top=8 * max(tops))
    legend(right)
    return Figure(figure)


def compression_figure(found: Sequence[Compressed], score: str) -> Figure:
    """Score by parameters of the compressed network and of narrow ones, and what each layer lost."""
    whole, rest = found[0], found[1:]
    figure, (left, right) = new_figure(
        1, 2, title="A trained network, its hidden layers replaced in closed form", width=10.5, height=4.4
    )
    parameters = [one.parameters for one in rest]
    left.axhline(whole.score, color=MUTED, ls=":", label=f"as trained: {whole.parameters:,} parameters")
    left.plot(parameters, [one.score for one in rest], label="replaced and bundled", ms=5, **_STYLE[ONE])
    left.plot(
        parameters, [one.narrow for one in rest], label="narrow MLP, trained from scratch", ms=5, **_STYLE[NARROW]
    )
    left.set(xscale="log", xlabel="trainable parameters", ylabel=f"{score} on rows left out")
    left.set_xticks(parameters, [f"{count:,}" for count in parameters])
    left.minorticks_off()
    legend(left, loc="lower right")
    for number, colour in zip(range(len(rest[0].errors)), PALETTE):
        errors = [one.errors[number] for one in rest]
        right.plot([one.features for one in rest], errors, "o-", ms=5, color=colour, label=f"hidden layer {number + 1}")
    legend(right)
    right.set(xscale="log", xlabel="features of each layer", ylabel="relative error of its outputs", ylim=(0, None))
    right.set_xticks([one.features for one in rest], [str(one.features) for one in rest])
    right.minorticks_off()
    return Figure(figure)
