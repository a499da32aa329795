"""The pictures of the report: the solution with what is known about its error, and the learned spectrum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from harmonia.kernels.gp_hm.kernel import SpectralMixtureKernel1D
from harmonia.kernels.gp_hm.solver import Step
from harmonia.media import Figure
from harmonia.media.figure import DIVERGING, INK, MUTED, PALETTE, SEQUENTIAL, colour_bar, legend, new_figure

Grid = Float64[np.ndarray, "..."]
_ZOOM = 8
"""A line is also shown over one part in so many of its domain."""


def solution_figure(
    title: str,
    names: Sequence[str],
    axes: Sequence[Float64[np.ndarray, "_"]],
    mean: Grid,
    std: Grid,
    exact: Grid | None,
    where: str = "",
    measured: Float64[np.ndarray, "m columns"] | None = None,
) -> Figure:
    """The solution on a line or a plane, and beside it its error, or its standard deviation where that is unknown.

    Arguments:
        title: What is to be seen.
        names: Of the coordinates shown.
        axes: Their points.
        mean, std: Of the solution.
        exact: The truth, if known.
        where: At which value of the other coordinates the plane lies.
        measured: Points of measurements in these coordinates, and their values in the last column.
    """
    if len(axes) == 1:
        return _line(title, names[0], axes[0], mean, std, exact, measured)
    figure, (left, right) = new_figure(1, 2, title=title, width=10.4, height=4.4, grid=False)
    error = std if exact is None else np.abs(mean - exact)
    most = float(np.abs(mean).max()) or 1.0
    extent = (axes[0][0], axes[0][-1], axes[1][0], axes[1][-1])
    shown = left.imshow(mean.T, origin="lower", extent=extent, aspect="auto", cmap=DIVERGING, vmin=-most, vmax=most)
    colour_bar(left, shown, "u")
    if measured is not None:
        across, up, values = measured[:, 0], measured[:, 1], measured[:, -1]
        look: dict[str, Any] = {"cmap": DIVERGING, "vmin": -most, "vmax": most, "edgecolors": INK}
        left.scatter(across, up, c=values, s=18, lw=0.7, label="measured", **look)
        legend(left, loc="upper right", bbox_to_anchor=(1.0, 1.1))
    left.set_title(f"solution{where}")
    floor = max(float(error.max()) * 1e-6, 1e-16)
    image = np.log10(np.maximum(error, floor))
    low, high = np.percentile(image, 1), image.max()
    shown = right.imshow(
        image.T, origin="lower", extent=extent, aspect="auto", cmap=SEQUENTIAL, vmin=low, vmax=max(high, low + 0.1)
    )
    colour_bar(right, shown, "log10")
    right.set_title("standard deviation of u" if exact is None else "absolute error of u")
    for panel in (left, right):
        panel.set(xlabel=names[0], ylabel=names[1])
    return Figure(figure)


def _line(
    title: str, name: str, x: np.ndarray, mean: Grid, std: Grid, exact: Grid | None, measured: np.ndarray | None
) -> Figure:
    figure, (whole, part, error) = new_figure(3, 1, title=title, width=9.6, height=7.6)
    middle = (x[0] + x[-1]) / 2
    half = (x[-1] - x[0]) / _ZOOM / 2
    for panel in (whole, part):
        if exact is not None:
            panel.plot(x, exact, color=MUTED, lw=3.2, alpha=0.6, label="exact")
        panel.plot(x, mean, color=PALETTE[0], lw=1.2, label="solution")
        if measured is not None:
            panel.plot(*measured.T, "o", color=INK, ms=3.5, label="measured")
        panel.set(ylabel="u")
    part.fill_between(x, mean - 2 * std, mean + 2 * std, color=PALETTE[0], alpha=0.18, lw=0, label="two deviations")
    whole.set(xlim=(x[0], x[-1]), xlabel=name)
    whole.axvspan(middle - half, middle + half, color=PALETTE[4], alpha=0.25, lw=0, label="shown below")
    part.set(xlim=(middle - half, middle + half), xlabel=name)
    legend(whole, loc="upper right", ncols=4, bbox_to_anchor=(1.0, 1.18))
    legend(part, loc="upper right", ncols=4, bbox_to_anchor=(1.0, 1.18))
    error.plot(x, np.maximum(std, 1e-16), color=PALETTE[1], lw=1.2, label="standard deviation")
    if exact is not None:
        error.plot(x, np.maximum(np.abs(mean - exact), 1e-16), color=INK, lw=0.8, label="absolute error")
    narrow = exact is None and std.max() < 10 * std.min()
    error.set(yscale="linear" if narrow else "log", xlim=(x[0], x[-1]), xlabel=name, ylabel="of u")
    legend(error, loc="upper right", ncols=2, bbox_to_anchor=(1.0, 1.18))
    return Figure(figure)


def spectrum_figure(
    names: Sequence[str], kernels: Sequence[SpectralMixtureKernel1D], history: Sequence[Step], highest: Sequence[float]
) -> Figure:
    """The learned power spectrum of each axis, and how the residual fell while it was learned.

    Arguments:
        names: Of the axes.
        kernels: Learned.
        history: Steps of learning.
        highest: What the grid of each axis can hold, in cycles per unit.
    """
    lines = [f"{frequencies(kernel)} along {name}" for name, kernel in zip(names, kernels)]
    title = f"Frequencies found, in cycles per unit: {'; '.join(lines)}"
    count = len(names) + 1
    figure, panels = new_figure(1, count, title=title, width=max(4.4 * count, 8.0), height=3.7)
    for panel, name, kernel, nyquist in zip(panels, names, kernels, highest):
        _spectrum(panel, name, kernel, nyquist)
    last = panels[-1]
    values = [max(step.residual, 1e-16) for step in history]
    last.plot(range(len(values)), values, color=PALETTE[2], marker="o", ms=3.5, lw=1.4)
    last.set(yscale="log", xlabel="iteration", ylabel="residual of the equation, relative")
    last.xaxis.set_major_locator(MaxNLocator(integer=True))
    last.margins(y=0.15)
    last.set_title("learning")
    return Figure(figure)


def frequencies(kernel: SpectralMixtureKernel1D) -> str:
    """The three highest peaks of a spectrum, in words."""
    peaks = kernel.peaks()
    waves = [f"{peak:.4g}" for peak in peaks if peak > 0]
    return ", ".join(waves[:3]) or ("none, a slow change" if peaks else "a broad band")


def _spectrum(panel: Axes, name: str, kernel: SpectralMixtureKernel1D, nyquist: float) -> None:
    components = kernel.components()
    known = [c.frequency for c in components if c.weight > 1e-3 * components[0].weight]
    end = min(nyquist, 1.15 * max(known) + 3 * components[0].width)
    frequency = np.union1d(np.linspace(0, end, 2000), [c.frequency for c in components if c.frequency <= end])
    density = kernel.density(frequency)
    floor = float(density.max()) * 1e-5
    panel.fill_between(frequency, np.maximum(density, floor), floor, color=PALETTE[0], alpha=0.3, lw=0)
    panel.plot(frequency, np.maximum(density, floor), color=PALETTE[0], lw=1.2)
    for peak in [peak for peak in kernel.peaks() if peak > 0][:4]:
        height = float(kernel.density(np.array([peak]))[0])
        panel.annotate(
            f"{peak:.4g}",
            (peak, height),
            (0, 5),
            textcoords="offset points",
            ha="center",
            fontsize=8.5,
            color=PALETTE[1],
        )
    panel.set(yscale="log", xlim=(0, end), ylim=(floor, 8 * density.max()))
    panel.set(xlabel=f"frequency along {name} (cycles per unit)", ylabel="power density")
    panel.set_title(f"spectrum along {name}")
