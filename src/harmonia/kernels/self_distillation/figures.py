"""The pictures of the report: fits step by step, what they keep of each component, where the best weights lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from harmonia.kernels.self_distillation.weight import Mixture
from harmonia.media import Figure
from harmonia.media.figure import INK, MUTED, PALETTE, SEQUENTIAL, legend, new_figure

MOST_BARS = 24


@dataclass(frozen=True)
class Steps:
    """What repeated distillation with one weight does.

    Attributes:
        alpha: The weight of the truth.
        curves: Fits along one input, (steps, points).
        limit: That of infinitely many steps, (points,).
        gains: What each step keeps along each eigenvector, (steps, rank).
        limit_gains: The same of infinitely many, (rank,).
    """

    alpha: float
    curves: np.ndarray
    limit: np.ndarray
    gains: np.ndarray
    limit_gains: np.ndarray

    @property
    def title(self) -> str:
        """Of its panel."""
        return "truth ignored: α = 0" if self.alpha == 0 else f"weight of the truth: α = {self.alpha:g}"

    @property
    def limit_label(self) -> str:
        """Of the limit, in the legend."""
        return "step ∞: nothing is left" if self.alpha == 0 else f"step ∞: ridge, penalty λ/{self.alpha:g}"


def fits_figure(
    steps: Sequence[Steps],
    at: np.ndarray,
    points: tuple[np.ndarray, np.ndarray],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    truth: np.ndarray | None = None,
) -> Figure:
    """Fits of each step along one input, beside the data; the paper's Fig. 1."""
    figure, panels = new_figure(1, len(steps), title=title, height=4.0, width=5.4 * len(steps), sharey=True)
    shown = np.concatenate([one.curves.ravel() for one in steps])
    low, high = np.quantile(points[1], [0.02, 0.98])
    low, high = min(low, shown.min()), max(high, shown.max())
    for axes, one in zip(panels, steps):
        size, opacity = (14, 0.45) if len(points[0]) > 50 else (30, 0.9)
        axes.scatter(*points, s=size, color=MUTED, alpha=opacity, lw=0, label="data", zorder=1)
        if truth is not None:
            axes.plot(at, truth, color=MUTED, lw=1, label="true function")
        for number, (colour, curve) in enumerate(zip(_shades(len(one.curves)), one.curves), start=1):
            axes.plot(at, curve, color=colour, lw=1.6, label=f"step {number}" + (": ordinary fit" * (number == 1)))
        axes.plot(at, one.limit, color=INK, lw=1.8, ls="--", label=one.limit_label)
        axes.set(xlabel=xlabel, xlim=(at.min(), at.max()), ylim=(low - 0.05 * (high - low), high + 0.05 * (high - low)))
        axes.set_title(one.title, fontsize=10.5, color=INK)
    panels[0].set_ylabel(ylabel)
    for axes in panels:
        legend(axes, fontsize=8, loc="upper left", bbox_to_anchor=(0.0, -0.16), ncols=3)
    return Figure(figure)


def filters_figure(steps: Sequence[Steps], title: str) -> Figure:
    """``diag(B)`` as bars: what each step keeps of the targets along each eigenvector; later steps in front."""
    figure, panels = new_figure(1, len(steps), title=title, height=3.8, width=5.4 * len(steps), sharey=True)
    for axes, one in zip(panels, steps):
        kept = np.flatnonzero(one.gains[0] > 0.01 * one.gains[0].max())
        chosen = np.unique(np.linspace(0, len(kept) - 1, min(MOST_BARS, len(kept))).round().astype(int))
        columns, places = kept[chosen], np.arange(len(chosen))
        for number, (colour, gain) in enumerate(zip(_shades(len(one.gains)), one.gains), start=1):
            axes.bar(places, gain[columns], width=0.85, color=colour, label=f"step {number}", zorder=2)
        if one.alpha > 0:
            left = (places - 0.42, places + 0.42)
            axes.hlines(one.limit_gains[columns], *left, color=INK, lw=1.6, label="step ∞", zorder=3)
        every = max(1, len(places) // 12)
        axes.set_xticks(places[::every], [str(column + 1) for column in columns[::every]])
        axes.set(xlabel="eigenvector of the kernel, by eigenvalue", ylim=(0, 1.02))
        axes.set_title(one.title, fontsize=10.5, color=INK)
        axes.grid(False, axis="x")
    panels[0].set_ylabel("share of the targets that is kept")
    for axes in panels:
        legend(axes, fontsize=8, loc="upper left", bbox_to_anchor=(0.0, -0.18), ncols=4)
    return Figure(figure)


def mixing_figure(mixtures: Sequence[tuple[str, Mixture]], given: float | None = None) -> Figure:
    """Held-out error of the first student by its weight, for several penalties; the best weights marked."""
    best = [mixture.best().value for _, mixture in mixtures]
    known = [value for value in best if math.isfinite(value)]
    low, high = max(-6.0, min([0.0, *known]) - 0.4), min(7.0, max([1.0, *known]) + 0.4)
    alphas = np.linspace(low, high, 301)
    figure, [axes] = new_figure(
        title="The best weight of the truth tells whether the penalty fits", width=9.6, height=4.2
    )
    axes.axvspan(0, 1, color=MUTED, alpha=0.10, lw=0)
    unit = min(mixture.score(1.0) for _, mixture in mixtures)
    top = 0.0
    for colour, (label, mixture), value in zip(PALETTE, mixtures, best):
        errors = np.array([mixture.score(float(alpha)) for alpha in alphas]) / unit
        top = max(top, mixture.score(0.0) / unit, mixture.score(1.0) / unit)
        axes.plot(alphas, errors, color=colour, label=f"{label}: α* = {value:.2f}")
        if low <= value <= high:
            axes.plot(value, mixture.score(value) / unit, marker="*", ms=15, color=colour, mec="white", zorder=5)
    axes.axvline(1, color=MUTED, lw=1, ls=":")
    if given is not None:
        axes.axvline(given, color=INK, lw=1, ls="--", label=f"given: α = {given:g}")
    floor = (
        min(mixture.score(value if math.isfinite(value) else 1.0) for (_, mixture), value in zip(mixtures, best)) / unit
    )
    axes.set(xlim=(low, high), ylim=(floor - 0.12 * (top - floor), top + 0.25 * (top - floor)))
    axes.set(xlabel="weight of the truth α", ylabel="held-out error / that of the best ordinary fit")
    _note(axes, 0.5, "the paper's domain")
    legend(axes, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return Figure(figure)


def penalties_figure(
    penalties: np.ndarray, errors: np.ndarray, weights: np.ndarray, chosen: float, unit: str = "held-out error"
) -> Figure:
    """Errors of the steps, and the best weight, over penalties.

    Arguments:
        penalties: Ascending.
        errors: Of the best step up to each, (steps, penalties).
        weights: The best weight of the first student.
        chosen: The penalty in use.
        unit: What the errors are.
    """
    figure, (left, right) = new_figure(1, 2, title="A student makes up for a wrong penalty", height=3.9, width=10.4)
    names = ["ordinary fit", "best weight, 1 student"] + [f"best weights, {n} students" for n in range(2, len(errors))]
    for colour, name, error in zip(PALETTE, names, errors):
        left.semilogx(penalties, error, color=colour, label=name)
    left.set(xlabel="penalty λ", ylabel=unit)
    best, top = float(errors.min()), float(min(errors.max(), errors[0].min() * 2.2))
    left.set_ylim(best - 0.45 * (top - best), top)  # room for the legend
    right.semilogx(penalties, weights, color=PALETTE[2])
    right.axhline(1, color=MUTED, lw=1)
    low, high = float(np.nanmin(weights)), float(np.nanmax(weights))
    low, high = min(0.0, max(low, -4.0)), max(2.0, min(high, 6.0))
    right.axhspan(1, high + 0.4, color=PALETTE[1], alpha=0.08, lw=0)
    right.axhspan(low - 0.4, 1, color=PALETTE[0], alpha=0.08, lw=0)
    right.set(xlabel="penalty λ", ylabel="best weight of the truth α*", ylim=(low - 0.4, high + 0.4))
    box = {"facecolor": "white", "alpha": 0.85, "lw": 0, "pad": 2}
    style: dict[str, Any] = {"transform": right.transAxes, "fontsize": 9, "bbox": box, "zorder": 5}
    right.text(0.02, 0.96, "over-regularised", va="top", color=PALETTE[1], **style)
    right.text(0.98, 0.04, "under-regularised", ha="right", color=PALETTE[0], **style)
    for axes in (left, right):
        axes.axvline(chosen, color=INK, lw=1, ls="--", label=f"in use: λ = {chosen:.3g}")
        axes.set_xlim(penalties[0], penalties[-1])
    legend(left, fontsize=8.5)
    return Figure(figure)


def _shades(count: int) -> list[tuple[float, float, float, float]]:
    """Colours of the steps, from light to dark."""
    colours = matplotlib.colormaps[SEQUENTIAL]
    return [colours(float(value)) for value in np.linspace(0.82, 0.22, count)]


def _note(axes: Axes, x: float, text: str) -> None:
    """A word at the foot of the picture."""
    axes.text(x, 0.02, text, transform=axes.get_xaxis_transform(), ha="center", fontsize=8.5, color=MUTED)
