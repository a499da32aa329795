"""The pictures of the report: spectrum, learning by principal component, kernels on a circle, growing width."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FuncFormatter, LogLocator
from torch import Tensor

from harmonia.kernels.ntk.dynamics import Spectrum, StoppingTime
from harmonia.kernels.ntk.empirical import empirical_ntk
from harmonia.kernels.ntk.finite import Comparison, train_full_batch
from harmonia.kernels.ntk.predict import GradientFlow, InfiniteEnsemble
from harmonia.media import Figure
from harmonia.media.figure import INK, MUTED, PALETTE, SEQUENTIAL, colour_bar, legend, new_figure
from harmonia.parts import infwidth


def spectrum_figure(spectra: Mapping[str, Spectrum]) -> Figure:
    """Eigenvalues of kernels, and how much of the targets their first components hold."""
    first = next(iter(spectra.values()))
    half = int((first.power.cumsum(0) < 0.5).sum()) + 1
    title = f"Half of the target lies in the first {half} of {len(first.power)} components of the kernel"
    figure, (left, right) = new_figure(1, 2, title=title)
    for colour, (name, spectrum) in zip(PALETTE, spectra.items()):
        index = np.arange(1, len(spectrum.eigenvalues) + 1)
        values = spectrum.eigenvalues.numpy()
        positive = values > 1e-14 * values[0]
        left.loglog(
            index[positive],
            values[positive],
            color=colour,
            label=f"{name}, effective rank {spectrum.effective_rank:.1f}",
        )
        right.semilogx(index, 100 * spectrum.power.cumsum(0).numpy(), color=colour, label=name)
    left.set(xlabel="principal component", ylabel="eigenvalue of the kernel matrix")
    right.set(xlabel="number of components", ylabel="share of the targets held (%)", ylim=(0, 102))
    legend(left)
    legend(right, loc="lower right")
    return Figure(figure)


def learning_figure(ensemble: InfiniteEnsemble, stop: StoppingTime, error: str = "root mean square error") -> Figure:
    """What is left to learn along principal components over time, and where left-out rows say to stop."""
    recommended = "train to the end" if math.isinf(stop.time) else f"stop at t = {stop.time:.3g}"
    figure, (left, right) = new_figure(1, 2, title=f"Large components are learnt first: {recommended}")
    times = stop.times.numpy()
    rates = (ensemble.eigen.values + ensemble.ridge) / ensemble.size
    n = len(rates)
    chosen = [c for c in (1, 2, 5, 20, 100, 500, 2000) if c <= n]
    for colour, c in zip(PALETTE, chosen):
        left.semilogx(times, 100 * torch.exp(-rates[c - 1] * stop.times).numpy(), color=colour, label=f"component {c}")
    left.set(xlabel="training time t (learning rate × steps)", ylabel="residual that is left (%)", ylim=(-2, 102))
    fitted = [ensemble.ntk @ ensemble.weights(GradientFlow(float(t))) - ensemble.targets for t in stop.times]
    seen = [float(residual.square().mean().sqrt()) for residual in fitted]
    right.semilogx(times, seen, color=PALETTE[0], label="rows it was trained on")
    right.semilogx(times, stop.errors.numpy(), color=PALETTE[1], label="rows left out")
    right.set(xlabel="training time t (learning rate × steps)", ylabel=error)
    right.set_ylim(bottom=0)
    if math.isfinite(stop.time):
        for axes in (left, right):
            axes.axvline(stop.time, color=MUTED, linestyle="--", linewidth=1)
        best = float(stop.errors.min())
        right.annotate(
            f"{best:.3g}", (stop.time, best), xytext=(6, -12), textcoords="offset points", color=INK, fontsize=9
        )
    legend(left, loc="lower left")
    legend(right)
    return Figure(figure)


def circle_figure(
    network: infwidth.Sequential, widths: Sequence[int] = (50, 500), *, inits: int = 5, steps: int = 200, seed: int = 0
) -> Figure:
    """The paper's Fig. 1: the kernel between (1, 0) and the circle, per network, before and after training."""
    angles = torch.linspace(-math.pi, math.pi, 121)
    circle = torch.stack([angles.cos(), angles.sin()], 1)
    origin = torch.tensor([[1.0, 0.0]])
    limit = network.kernel(circle.double(), origin.double(), get="ntk")[:, 0]
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(seed))
    y = x[:, :1] * x[:, 1:]
    figure, panels = new_figure(
        1,
        len(widths),
        title="Tangent kernels on the circle: random at small width, one fixed function at infinite",
        sharey=True,
    )
    ntk = network.kernel(x.double(), get="ntk")
    learning_rate = InfiniteEnsemble(ntk, y).largest_learning_rate / 2
    for axes, width in zip(panels, widths):
        for init in range(inits):
            model = network.to_torch(width, (2,), seed=seed + init)
            before = empirical_ntk(model, circle, origin)[:, 0]
            train_full_batch(model, x, y, steps, learning_rate)
            after = empirical_ntk(model, circle, origin)[:, 0]
            axes.plot(
                angles, before, color=PALETTE[0], lw=1, alpha=0.8, label="at initialisation" if not init else None
            )
            axes.plot(
                angles,
                after,
                color=PALETTE[1],
                lw=1,
                ls=(0, (3, 1.5)),
                label=f"after {steps} steps" if not init else None,
            )
        axes.plot(angles, limit, color=INK, lw=2, label="infinite width")
        _headline(axes, f"width {width}, {inits} networks")
        axes.set(xlabel="angle γ")
        axes.set_xticks([-math.pi, -math.pi / 2, 0, math.pi / 2, math.pi], ["−π", "−π/2", "0", "π/2", "π"])
    panels[0].set(ylabel="kernel of (1, 0) and (cos γ, sin γ)")
    panels[0].set_ylim(bottom=0, top=2.2 * float(limit.max()))
    legend(panels[0], loc="upper left")
    return Figure(figure)


def widths_figure(comparisons: Sequence[Comparison], unit: str = "target, standardised") -> Figure:
    """Trained networks of growing width beside the prediction for them."""
    figure, axes = new_figure(
        1,
        len(comparisons) + 1,
        title="Trained networks approach what the kernel predicts as they grow wider",
        width=2.9 * len(comparisons) + 5.6,
        width_ratios=[1.0] * len(comparisons) + [1.2],
    )
    bound = 1.08 * max(float(max(c.outputs[-1].abs().max(), c.predicted[-1].abs().max())) for c in comparisons)
    for panel, comparison in zip(axes, comparisons):
        panel.plot([-bound, bound], [-bound, bound], color=MUTED, lw=1)
        panel.scatter(
            comparison.predicted[-1].flatten(), comparison.outputs[-1].flatten(), s=9, alpha=0.6, lw=0, color=PALETTE[0]
        )
        _headline(panel, f"width {comparison.width}")
        panel.set(xlim=(-bound, bound), ylim=(-bound, bound), aspect="equal")
        panel.set_xlabel(f"predicted ({unit})")
    axes[0].set_ylabel(f"network after {comparisons[0].steps[-1]} steps")
    widths = [c.width for c in comparisons]
    last = axes[-1]
    rows = (
        ("distance to the predicted path", [c.distance for c in comparisons], "o"),
        ("kernel, initial error", [c.kernel_error for c in comparisons], "s"),
        ("kernel, drift in training", [c.kernel_drift for c in comparisons], "^"),
    )
    for colour, (label, values, marker) in zip(PALETTE, rows):
        last.loglog(widths, values, marker=marker, color=colour, label=label)
    guide = np.array([widths[0], widths[-1]], dtype=float)
    last.loglog(
        guide,
        1.3 * max(values[0] for _, values, _ in rows) * (guide / guide[0]) ** -0.5,
        color=MUTED,
        ls=":",
        label="width$^{-1/2}$",
    )
    _headline(last, "error by width")
    last.set(xlabel="width", ylabel="relative to kernel or target")
    last.set_xticks(widths, [str(w) for w in widths])
    last.xaxis.minorticks_off()
    last.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    last.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    last.yaxis.minorticks_off()
    legend(last, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return Figure(figure)


def _headline(axes: Axes, text: str) -> None:
    axes.set_title(text, fontsize=10.5, color=INK)


def regression_figure(observed: np.ndarray, predicted: np.ndarray, half: float, name: str, note: str) -> Figure:
    """Predictions of left-out rows beside what was observed, with the interval."""
    figure, [axes] = new_figure(title=f"Left-out predictions of {name}: {note}", width=6.4, height=4.6)
    low, high = min(observed.min(), predicted.min()), max(observed.max(), predicted.max())
    line = np.array([low, high])
    axes.fill_between(line, line - half, line + half, color=PALETTE[0], alpha=0.12, lw=0, label="90% interval")
    axes.plot(line, line, color=MUTED, lw=1)
    inside = np.abs(observed - predicted) <= half
    axes.scatter(
        predicted[inside],
        observed[inside],
        s=12,
        color=PALETTE[0],
        alpha=0.7,
        lw=0,
        label=f"inside ({100 * inside.mean():.0f}%)",
    )
    axes.scatter(predicted[~inside], observed[~inside], s=12, color=PALETTE[1], alpha=0.8, lw=0, label="outside")
    axes.set(xlabel=f"predicted {name}", ylabel=f"observed {name}")
    legend(axes, loc="upper left")
    return Figure(figure)


def confusion_figure(observed: np.ndarray, predicted: np.ndarray, classes: np.ndarray, name: str, note: str) -> Figure:
    """Which class left-out rows have and which they are given."""
    counts = np.array([[np.sum((observed == a) & (predicted == b)) for b in classes] for a in classes])
    shares = 100 * counts / counts.sum(1, keepdims=True).clip(1)
    size = min(9.0, 3.0 + 0.3 * len(classes))
    figure, [axes] = new_figure(
        title=f"Left-out predictions of {name}: {note}", width=size + 1.2, height=size, grid=False
    )
    image = axes.imshow(
        shares, cmap=LinearSegmentedColormap.from_list("share", ["white", PALETTE[0]]), vmin=0, vmax=100
    )
    labels = [str(value)[:14] for value in classes]
    axes.set_xticks(range(len(classes)), labels, rotation=90 if max(map(len, labels)) > 3 else 0)
    axes.set_yticks(range(len(classes)), labels)
    axes.set(xlabel="predicted", ylabel="observed")
    if len(classes) <= 12:
        for i, j in np.argwhere(counts):
            axes.text(
                j,
                i,
                str(counts[i, j]),
                ha="center",
                va="center",
                fontsize=8,
                color="white" if shares[i, j] > 50 else INK,
            )
    colour_bar(axes, image, "share of the observed class (%)")
    return Figure(figure)


def kernel_figure(kernel: Tensor, spectrum: Spectrum, title: str, order: str) -> Figure:
    """A kernel matrix as correlations, and its eigenvalues."""
    figure, (left, right) = new_figure(1, 2, title=title, height=4.2, width_ratios=[1.15, 1])
    scale = kernel.diagonal().sqrt()
    correlation = (kernel / (scale[:, None] * scale)).numpy()
    left.grid(False)
    low = min(float(np.quantile(correlation, 0.01)), 0.9)
    image = left.imshow(correlation, cmap=SEQUENTIAL, vmin=low, vmax=1)
    left.set(xlabel=order, ylabel=order)
    colour_bar(left, image, "kernel, scaled to a unit diagonal")
    values = spectrum.eigenvalues.numpy()
    positive = values > 1e-14 * values[0]
    right.loglog(np.arange(1, len(values) + 1)[positive], values[positive], color=PALETTE[0])
    right.set(xlabel="principal component", ylabel="eigenvalue of the kernel matrix")
    return Figure(figure)
