"""The pictures of the report: criticality, flow through the layers, depth and width, a network before and after."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from harmonia.media import Figure
from harmonia.media.figure import DIVERGING, INK, MUTED, PALETTE, SEQUENTIAL, colour_bar, legend, new_figure
from harmonia.networks.effective_theory.activation import Pointwise
from harmonia.networks.effective_theory.criticality import CriticalityReport
from harmonia.networks.effective_theory.diagnosis import Diagnosis
from harmonia.networks.effective_theory.ensemble import Ensemble
from harmonia.networks.effective_theory.phase import Phase, gradient_growth
from harmonia.networks.effective_theory.recursion import LayerTable

_CLASSES = {
    "scale-invariant": "every variance is critical",
    "K* = 0": "the variance falls slowly, as 1/depth",
    "K* = 0, kinked": "the variance falls slowly, as a power of depth",
    "half-stable": "one variance is critical",
    "none": "no variance is critical",
}


def criticality_figure(activation: Pointwise, report: CriticalityReport, phase: Phase, gamma: float = 0.0) -> Figure:
    """The curve r(K) and the phase diagram of initialisations, with the one in use."""
    name = activation.name
    figure, (curve, plane) = new_figure(
        1, 2, title=f"{name}: {_CLASSES[report.universality]}", width=10.4, height=4.0, width_ratios=[1, 1.15]
    )
    curve.axhline(0, color=MUTED, lw=1)
    K, r = report.r_curve
    curve.semilogx(K, r, color=PALETTE[0], lw=1.8)
    known = np.clip(r[np.isfinite(r)], -1.5, 1.5)
    low, high = (float(known.min()), float(known.max())) if len(known) else (-1.0, 1.0)
    room = 0.12 * max(high - low, 0.1)
    curve.set_ylim(low - room, high + room)
    if report.universality == "half-stable":
        curve.plot(report.K_star, 0, "o", color=PALETTE[1], ms=8)
        text = f"K* = {report.K_star:.4g}"
        curve.annotate(text, (report.K_star, 0), (12, 10), textcoords="offset points", color=INK)
    elif report.universality.startswith("K* = 0"):
        curve.annotate("K* = 0", (K[0], 0), (28, -26), textcoords="offset points", color=INK, arrowprops=_arrow())
    curve.set(xlabel="variance K of preactivations", ylabel="r(K) = χ∥ / χ⊥ − 1")
    _headline(curve, "zeros are the candidates for criticality")
    _phase_plane(plane, activation, phase, report.with_skips(gamma), gamma)
    return Figure(figure)


def _phase_plane(axes: Axes, activation: Pointwise, phase: Phase, critical: tuple[float, float], gamma: float) -> None:
    C_b, C_W = critical
    is_critical = math.isfinite(C_W)
    known = [scale for scale in (C_W, phase.C_W) if math.isfinite(scale)]
    top = max(0.2, 2.2 * phase.C_b, 2.2 * C_b if is_critical else 0.0)
    weights = np.linspace(0.35 * min(known), 1.75 * max(known), 90)
    biases = np.linspace(0, top, 60)
    growth = gradient_growth(activation, list(biases), list(weights), gamma)
    axes.grid(False)
    image = axes.pcolormesh(weights, biases, growth, cmap=DIVERGING, vmin=-0.6, vmax=0.6, shading="gouraud")
    axes.contour(weights, biases, growth, levels=[0.0], colors=[INK], linewidths=1.0)
    colour_bar(axes, image, "log χ⊥: growth of gradients per layer")
    if is_critical:
        axes.plot(C_W, C_b, "*", color=PALETTE[4], ms=17, mec=INK, clip_on=False, zorder=5, ls="none")
    if (phase.C_b, phase.C_W) == critical:
        _headline(axes, f"critical: C_W = {C_W:.5g}, C_b = {C_b:.5g}")
    else:
        axes.plot(phase.C_W, phase.C_b, "X", color="white", ms=10, mec=INK, clip_on=False, zorder=5, ls="none")
        _headline(axes, f"{'star: critical; ' if is_critical else ''}cross: yours ({phase.verdict})")
    box = {"boxstyle": "round,pad=0.25", "fc": "white", "ec": "none", "alpha": 0.75}
    for x, side, text in ((0.03, "left", "gradients vanish"), (0.97, "right", "gradients explode")):
        axes.text(x, 0.95, text, transform=axes.transAxes, ha=side, va="top", color=INK, fontsize=9, bbox=box)
    axes.set(xlabel="C_W: variance of weights × fan-in", ylabel="C_b: variance of biases")


def flow_figure(table: LayerTable, measured: Sequence[Ensemble], near: Mapping[int, LayerTable]) -> Figure:
    """Kernels and finite-width tensors from layer to layer, predicted beside networks that were sampled.

    Arguments:
        table: Predictions, at the user's width.
        measured: Ensembles; the first that has a tensor shows it.
        near: Predictions at the widths of the ensembles, for what depends on it (K and Theta).
    """
    panels = [name for name in ("K", "Theta", "V", "A", "B", "D", "F", "T") if name in table.columns]
    labels = {
        "K": "kernel K",
        "Theta": "tangent kernel Θ",
        "V": "vertex V / K²: non-Gaussianity",
        "A": "A / Θ²: tangent kernel's fluctuation",
        "B": "B / Θ²: tangent kernel's off-diagonal",
        "D": "D / (K Θ): with the outputs' size",
        "F": "F / (K Θ): with the outputs' product",
        "T": "T: three-point vertex of the skips",
    }
    units = {"V": table["K"] ** 2, "A": table["Theta"] ** 2, "B": table["Theta"] ** 2}
    units |= dict.fromkeys(("D", "F"), table["K"] * table["Theta"])
    columns = 4 if len(panels) > 4 else len(panels)
    rows = math.ceil(len(panels) / columns)
    nets = ", ".join(f"{one.nets} of width {one.width}" for one in measured)
    figure, axes = new_figure(
        rows,
        columns,
        title=f"{table.activation}: theory (lines) beside random networks ({nets})",
        width=3.3 * columns,
        height=2.75 * rows + 0.5,
    )
    layers = np.arange(1, table.depth + 1)
    for axis, name in zip(axes, panels):
        unit = units.get(name, np.ones(table.depth))
        source = next((one for one in measured if name in one.mean), None)
        axis.plot(layers, table[name] / unit, color=PALETTE[0], lw=1.8, label="theory, leading order")
        if source is not None:
            if name in ("K", "Theta") and not table.gamma:
                close = near[source.width]
                corrected = close.kernel if name == "K" else close.tangent_kernel
                axis.plot(layers, corrected, color=PALETTE[2], lw=1.4, ls="--", label="with its 1/n correction")
            axis.errorbar(
                layers,
                source.mean[name] / unit,
                2 * source.error[name] / unit,
                fmt="o",
                ms=3.5,
                lw=1.1,
                color=PALETTE[1],
                label="networks ± 2 standard errors",
            )
        _headline(axis, labels[name])
        axis.set_xlabel("layer")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        low, high = axis.get_ylim()
        if high - low < 0.2 * abs(high):  # do not blow noise up
            middle = (low + high) / 2
            axis.set_ylim(middle - 0.15 * abs(middle), middle + 0.15 * abs(middle))
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    handles, names = axes[0].get_legend_handles_labels()
    style: dict[str, Any] = {"frameon": False, "fontsize": 9, "labelcolor": INK}
    if len(axes) > len(panels):
        axes[-1].legend(handles, names, loc="center", **style)
    else:
        figure.legend(handles, names, loc="outside lower center", ncols=3, **style)
    return Figure(figure)


def depth_figure(
    nu: float, width: int, depth: int, ratio: float, spreads: Mapping[int, tuple[LayerTable, Ensemble]]
) -> Figure:
    """How networks come to differ with depth, by width; the map of r_eff; and where this network stands."""
    r_eff = nu * depth / width
    best = max(1, round(ratio * width))
    zone = "shallow" if r_eff < 0.1 else "effectively deep" if r_eff < 1 else "chaotic"
    figure, (left, plane, gauge) = new_figure(
        1,
        3,
        title=f"At criticality width {width} carries {best} layers best; {depth} are {zone} (r_eff = {r_eff:.2g})",
        width=13.0,
        height=4.0,
        width_ratios=[1.1, 1.15, 0.62],
    )
    for colour, (n, (table, measured)) in zip(PALETTE, sorted(spreads.items())):
        layers, square = np.arange(1, table.depth + 1), table["K"] ** 2
        later, unit = slice(1, None), n * square[1:]
        left.plot(layers[later], table["V"][later] / unit, color=colour, lw=1.6)
        left.errorbar(
            layers[later],
            measured.mean["V"][later] / unit,
            2 * measured.error["V"][later] / unit,
            fmt="o",
            ms=3.5,
            lw=1,
            color=colour,
            label=f"width {n}",
        )
    left.set(xlabel="layer", ylabel="variance of K over networks / K²", yscale="log")
    left.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    _headline(left, "networks come to differ: theory (lines), sampled (dots)")
    legend(left, loc="lower right")
    _aspect_plane(plane, nu, width, depth, ratio)
    _gauge(gauge, r_eff, nu * ratio)
    return Figure(figure)


def _aspect_plane(axes: Axes, nu: float, width: int, depth: int, ratio: float) -> None:
    widths = np.geomspace(min(16, width / 2), max(4096, 2 * width), 120)
    depths = np.geomspace(1, max(200, 2 * depth), 120)
    r = nu * depths[:, None] / widths[None, :]
    axes.grid(False)
    shown = np.clip(np.log10(r), -3, 1)
    image = axes.pcolormesh(widths, depths, shown, cmap=SEQUENTIAL, vmin=-3, vmax=1, shading="gouraud")
    axes.set(xscale="log", yscale="log", xlabel="width", ylabel="depth")
    axes.plot(widths, ratio * widths, color="white", lw=2, label="best depth")
    axes.plot(widths, widths / nu, color="white", lw=1.2, ls="--", label="r_eff = 1")
    axes.plot(width, depth, "X", ms=11, color=PALETTE[5], mec=INK, ls="none", label="this network")
    axes.set(xlim=(widths[0], widths[-1]), ylim=(1, depths[-1]))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _headline(axes, "effective depth r_eff = ν · depth / width")
    axes.legend(
        fontsize=8.5, loc="upper left", facecolor="#3b2a5c", edgecolor="none", labelcolor="white", framealpha=0.8
    )
    bar = axes.get_figure().colorbar(image, ax=axes, fraction=0.04, pad=0.02)  # type: ignore[union-attr]
    bar.set_ticks([-3, -2, -1, 0, 1], labels=["0.001", "0.01", "0.1", "1", "10"])
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8.5, labelcolor=INK, length=3)


def _gauge(axes: Axes, r_eff: float, best: float) -> None:
    """A thermometer of r_eff with its three zones."""
    axes.grid(False)
    zones = (
        (1e-3, 0.1, PALETTE[5], "shallow: nearly\na kernel machine"),
        (0.1, 1.0, PALETTE[2], "effectively deep:\nlearns features"),
        (1.0, 10.0, PALETTE[1], "chaotic: networks\ndiffer wildly"),
    )
    for low, high, colour, text in zones:
        axes.fill_between([0, 0.34], low, high, color=colour, alpha=0.45, lw=0)
        axes.text(0.42, math.sqrt(low * high), text, va="center", fontsize=8.5, color=INK)
    axes.set(yscale="log", ylim=(1e-3, 10), xlim=(-0.32, 1.35))
    here = min(max(r_eff, 1.05e-3), 9.5)
    axes.plot([0, 0.34], [best, best], color=INK, lw=1.3, ls="--")
    axes.annotate(
        "best", (0, best), (-4, 0), textcoords="offset points", ha="right", va="center", fontsize=8.5, color=INK
    )
    axes.plot([0, 0.34], [here, here], color=INK, lw=3.2)
    near = abs(math.log10(here / best)) < 0.12
    axes.annotate(
        "this",
        (0, here),
        (-4, 11 if near else 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=8.5,
        color=INK,
    )
    axes.set_xticks([])
    axes.spines[["bottom"]].set_visible(False)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _headline(axes, "r_eff")


def diagnosis_figure(before: Diagnosis, after: Diagnosis | None) -> Figure:
    """Signal, susceptibility and gradient through the layers, as the network is and critically initialised."""
    figure, axes = new_figure(
        1,
        3,
        title=f"As it is: {before.verdict}" + (f"; critical: {after.verdict}" if after else ""),
        width=13.0,
        height=3.9,
    )
    cases = [(before, PALETTE[1], "as it is", "o")]
    if after is not None:
        cases.append((after, PALETTE[0], "critical initialisation", "s"))
    panels = (
        ("K", "size of outputs K", "signal, after each layer with weights"),
        ("chi", "factor per layer", "growth of perturbations from layer to layer"),
        ("gradient", "norm of the gradient", "gradient of each layer's weights"),
    )
    for axis, (column, label, headline) in zip(axes, panels):
        for case, colour, name, marker in cases:
            values = _steps(case) if column == "chi" else _of_layers(case, column)
            kept = np.where((values > 0) & np.isfinite(values), values, np.nan)
            size = 4.5 if len(values) < 30 else 2.8
            axis.semilogy(np.arange(1, len(kept) + 1), kept, marker=marker, ms=size, lw=1.3, color=colour, label=name)
        if column == "chi":
            axis.axhline(1, color=MUTED, lw=1)
        low, high = axis.get_ylim()
        if high / low < 30:
            middle = math.sqrt(low * high)
            axis.set_ylim(middle / 6, middle * 6)
        axis.set(xlabel="layer with weights", ylabel=label)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
        _headline(axis, headline)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, frameon=False, fontsize=9, labelcolor=INK)
    return Figure(figure)


def _of_layers(case: Diagnosis, column: str) -> np.ndarray:
    weighted = case.modules.filter(case.modules["gradient"].is_not_null())
    return weighted[column].to_numpy()


def _steps(case: Diagnosis) -> np.ndarray:
    """Product of ``chi_perp`` of the modules since the last layer with weights, that layer included."""
    found, product = [], 1.0
    names = case.modules["name"].to_list()
    for name, chi, gradient in zip(names, case.modules["chi_perp"], case.modules["gradient"]):
        if any(other.startswith(f"{name}.") for other in names):
            continue  # a block is the product of its parts
        product *= chi
        if gradient is not None:
            found.append(product)
            product = 1.0
    return np.array(found)


def _arrow() -> dict[str, object]:
    return {"arrowstyle": "->", "color": MUTED}


def _headline(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize=10, color=INK)
