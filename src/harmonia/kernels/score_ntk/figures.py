"""Pictures of a fit: when to stop and why, what is like what, and how far it is from copying."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars
import torch

from harmonia.kernels.score_ntk.codec import Numbers, TableCodec
from harmonia.kernels.score_ntk.dissection import Dissection
from harmonia.kernels.score_ntk.estimator import NTKScoreEstimator
from harmonia.kernels.score_ntk.quality import COPY, Memorisation
from harmonia.kernels.score_ntk.stopping import EarlyStop
from harmonia.media import Figure
from harmonia.media.figure import INK, MUTED, PALETTE, legend, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WAYS = {"cv": "cross-validation", "loo": "leave one out", "multi-noise": "many noises", "rule": "the paper's rule"}
_COLOURS = {"cv": PALETTE[0], "multi-noise": PALETTE[0], "loo": PALETTE[2], "rule": PALETTE[1]}


def _legend(axes: Axes, **options: Any) -> None:
    """A legend that lines do not run through."""
    legend(axes, **{"frameon": True, "framealpha": 0.9, "edgecolor": "none", "fontsize": 8, **options})


def stopping_figure(stop: EarlyStop, dimensions: int) -> Figure:
    """Error over training time with the choices of the stopping time; and the directions one by one."""
    each = stop.by_output
    several = dimensions > 2
    title = "Labels are noisy: training must stop early"
    figure, axes = new_figure(1, 2 if several else 1, title=title, height=3.9, width=10.5 if several else 7.5)
    left = axes[0]
    taus = stop.taus.numpy()
    for name, curve in stop.curves.items():
        left.plot(taus, curve / dimensions, color=_COLOURS[name], label=f"error by {_WAYS[name]}")
    low = min(float(curve.min()) for curve in stop.curves.values()) / dimensions
    start = float(stop.curve[0]) / dimensions
    left.set(xscale="log", xlabel="training time τ", ylabel="error per coordinate, with label noise")
    left.set_ylim(low - 0.15 * max(start - low, 0.02), start + 0.9 * max(start - low, 0.1))
    for (name, tau), style in zip(stop.choices.items(), ("--", ":", "-.", "-")):
        if math.isfinite(tau):
            left.axvline(tau, color=_COLOURS[name], ls=style, lw=1.4, label=f"stop by {_WAYS[name]}: {tau:.3g}")
    _legend(left, loc="upper left")
    if several:
        right = axes[1]
        relative = (each / each[0]).numpy()
        learnt = np.argsort(relative.min(0))[:4]
        for place, k in enumerate(learnt):
            best = int(relative[:, k].argmin())
            label = f"principal direction {dimensions - k}"
            right.plot(taus, relative[:, k], color=PALETTE[place], label=label)
            right.plot(taus[best], relative[best, k], "o", color=PALETTE[place], ms=6)
        right.axhline(1, color=MUTED, lw=1)
        bottom = float(relative.min())
        right.set(xscale="log", xlabel="training time τ", ylabel="error, relative to normal data")
        right.set_ylim(bottom - 0.15 * (1 - bottom) - 0.01, 1 + 0.9 * (1 - bottom) + 0.02)
        right.set_title("where there is more to learn than covariance", color=INK, fontsize=10)
        _legend(right, loc="upper left")
    return Figure(figure)


def spectrum_figure(values: torch.Tensor, stop: EarlyStop) -> Figure:
    """Eigenvalues of the kernel, and down to which of them training goes."""
    learnt = int((values * stop.tau > 1).sum())
    title = f"At τ = {stop.tau:.3g} about {learnt} of {len(values):,} components are learnt"
    figure, [axes] = new_figure(title=title, width=7.5, height=3.9)
    positive = values[values > 1e-14 * values[0]].numpy()
    order = np.arange(1, len(positive) + 1)
    axes.loglog(order, positive, color=PALETTE[0], label="eigenvalues of K/N")
    axes.fill_between(order, positive, 1 / stop.tau, where=positive >= 1 / stop.tau, color=PALETTE[0], alpha=0.15, lw=0)
    for name, tau in stop.choices.items():
        if math.isfinite(tau):
            label = f"1/τ by {_WAYS[name]}"
            axes.axhline(1 / tau, color=_COLOURS[name], lw=1.2, ls="--", label=label)
    axes.set(xlabel="principal component of the kernel", ylabel="eigenvalue")
    axes.set_ylim(max(positive[-1], 1e-3 / stop.taus[-1].item()) / 2, 4 * max(positive[0], 1 / float(stop.taus[0]) / 4))
    _legend(axes, loc="lower left")
    return Figure(figure)


def pair_figure(real: polars.DataFrame, synthetic: polars.DataFrame, codec: TableCodec) -> Figure:
    """Pairs of the most related columns: real rows below the diagonal, synthetic ones above."""
    names = related(real, [column.name for column in codec.columns if isinstance(column, Numbers)])
    if len(names) < 2:
        return _bars_figure(real, synthetic, codec)
    count = len(names)
    figure, axes = new_figure(
        count, count, title="Real rows below the diagonal, synthetic rows above", width=2.3 * count, height=2.2 * count
    )
    frames = [_as_numbers(frame, names).head(1000) for frame in (real, synthetic)]
    limits = {}
    for name in names:
        values = np.concatenate([frame[name].drop_nulls().to_numpy() for frame in frames])
        low, high = np.quantile(values, [0.002, 0.998])
        limits[name] = (low - 0.05 * (high - low), high + 0.05 * (high - low))
    for place, one in enumerate(axes):
        row, column = divmod(place, count)
        y, x = names[row], names[column]
        if row == column:
            bins = np.linspace(*limits[x], 22).tolist()
            for frame, colour, label in zip(frames, PALETTE, ("real", "synthetic")):
                one.hist(frame[x].drop_nulls().to_numpy(), bins, density=True, color=colour, alpha=0.55, label=label)
            one.set_yticks([])
            if row == 0:
                _legend(one, loc="upper right")
        else:
            which = int(column > row)
            one.scatter(frames[which][x], frames[which][y], s=6, lw=0, alpha=0.55, color=PALETTE[which])
            one.set_ylim(limits[y])
        one.set_xlim(limits[x])
        one.tick_params(labelsize=7.5)
        one.locator_params(axis="x", nbins=4)
        if row != column:
            one.locator_params(axis="y", nbins=4)
        if row < count - 1:
            one.set_xticklabels([])
        else:
            one.set_xlabel(_short(x), fontsize=8.5)
        if column and row != column:
            one.set_yticklabels([])
        if column == 0:
            one.set_ylabel(_short(y), fontsize=8.5)
    return Figure(figure)


def _bars_figure(real: polars.DataFrame, synthetic: polars.DataFrame, codec: TableCodec) -> Figure:
    """Tables without two columns of numbers: shares of the values of the first columns."""
    names = [column.name for column in codec.columns if column.width][:4]
    figure, axes = new_figure(1, len(names), title="Shares of values, real and synthetic", width=1 + 3.2 * len(names))
    for one, name in zip(axes, names):
        words = [frame[name].cast(polars.String).fill_null("missing") for frame in (real, synthetic)]
        values = words[0].value_counts(sort=True).head(8)[name].to_list()
        for k, label in enumerate(("real", "synthetic")):
            shares = [float((words[k] == value).mean() or 0) for value in values]
            one.bar(np.arange(len(values)) + 0.4 * k - 0.2, shares, 0.4, color=PALETTE[k], label=label)
        one.set_xticks(range(len(values)), [_short(value, 10) for value in values], rotation=30, ha="right")
        one.set_title(_short(name), color=INK, fontsize=10)
        one.set_ylim(0, 1.25 * one.get_ylim()[1])
    _legend(axes[0], loc="upper right")
    return Figure(figure)


def _as_numbers(frame: polars.DataFrame, names: Sequence[str]) -> polars.DataFrame:
    return frame.select(polars.col(list(names)).to_physical().cast(polars.Float64))


def related(frame: polars.DataFrame, names: list[str], count: int = 4) -> list[str]:
    """Columns with the strongest correlations to others, in the order of the table."""
    if len(names) <= count:
        return names
    numbers = _as_numbers(frame, names).fill_null(strategy="mean").to_numpy()
    strength = np.abs(np.nan_to_num(np.corrcoef(numbers.T))).sum(0)
    return [names[k] for k in sorted(np.argsort(-strength)[:count])]


def _short(name: str, most: int = 18) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def memorisation_figure(
    found: Memorisation, taus: Sequence[float], along: Sequence[Memorisation], chosen: float
) -> Figure:
    """How near samples come to training rows, and how that grows with training time."""
    title = f"{100 * found.copies:.1f}% of the synthetic rows are copies of training rows"
    figure, (left, right) = new_figure(1, 2, title=title, width=10.5, height=3.9)
    usual = float(np.median(found.held_out))
    top = float(np.quantile(np.concatenate([found.samples, found.held_out]), 0.995)) / usual
    bins = np.linspace(0, top, 36).tolist()
    both = (found.held_out, found.samples)
    for values, colour, label in zip(both, PALETTE, ("real, held out", "synthetic")):
        left.hist(values / usual, bins, density=True, color=colour, alpha=0.55, label=label)
    left.axvline(COPY, color=INK, lw=1.2, ls="--", label="copies are left of this")
    left.set(xlabel="distance to the nearest training row, median held-out row = 1", ylabel="density")
    left.set_ylim(0, 1.3 * left.get_ylim()[1])
    _legend(left, loc="upper left")
    medians = [float(np.median(one.samples) / np.median(one.held_out)) for one in along]
    right.plot(taus, medians, "o-", color=PALETTE[1], label="median distance of samples")
    right.plot(taus, [one.copies for one in along], "s-", color=PALETTE[3], label="share of copies")
    right.axhline(1, color=PALETTE[0], lw=1.2, label="held-out rows")
    right.axvline(chosen, color=INK, lw=1.2, ls="--", label="where training stops")
    right.set(xscale="log", xlabel="training time τ", ylabel="distance, held-out = 1; share")
    right.set_ylim(-0.05, max(1.15, 1.1 * max(medians)) + 0.55)
    _legend(right, loc="upper left", ncols=2)
    return Figure(figure)


def field_figure(model: NTKScoreEstimator, samples: np.ndarray, data: np.ndarray, names: Sequence[str]) -> Figure:
    """The score at three times as arrows, with the data on their way into noise; and samples."""
    clock = model.process_.clock(torch.tensor(model.t_range_, dtype=torch.float64)).log()
    times = model.process_.time(
        torch.exp(torch.tensor([0.85, 0.5, 0.0], dtype=torch.float64) * (clock[1] - clock[0]) + clock[0])
    ).tolist()
    figure, axes = new_figure(1, 4, title="The score leads from noise to the data", width=14, height=3.9)
    low, high = np.quantile(data, [0.01, 0.99], axis=0)
    margin = 0.35 * (high - low)
    grid = np.stack(
        np.meshgrid(*(np.linspace(low[k] - margin[k], high[k] + margin[k], 17) for k in range(2))), -1
    ).reshape(-1, 2)
    generator = np.random.default_rng(0)
    for one, t in zip(axes, times):
        time = torch.tensor(t, dtype=torch.float64)
        noisy = float(model.process_.alpha(time)) * data
        noisy = noisy + math.sqrt(float(model.process_.h(time))) * generator.standard_normal(data.shape)
        score = model.score(t, grid)
        length = np.linalg.norm(score, axis=1, keepdims=True)
        arrows = score / np.maximum(length, 1e-12) * np.sqrt(length / max(float(length.max()), 1e-12))
        one.scatter(noisy[:600, 0], noisy[:600, 1], s=5, lw=0, color=PALETTE[0], alpha=0.45)
        one.quiver(*grid.T, *arrows.T, color=INK, alpha=0.75, width=0.004, scale=18)
        one.set_title(f"t = {t:.2g}", color=INK, fontsize=10)
    axes[3].scatter(data[:600, 0], data[:600, 1], s=6, lw=0, color=PALETTE[0], alpha=0.5, label="data")
    axes[3].scatter(samples[:600, 0], samples[:600, 1], s=6, lw=0, color=PALETTE[1], alpha=0.5, label="samples")
    axes[3].set_title("new points", color=INK, fontsize=10)
    _legend(axes[3], loc="upper right", markerscale=2.5)
    for one in axes:
        one.set(xlim=(low[0] - margin[0], high[0] + margin[0]), ylim=(low[1] - margin[1], high[1] + 1.4 * margin[1]))
        one.set_xlabel(f"{_short(names[0])}, standardised")
    axes[0].set_ylabel(f"{_short(names[1])}, standardised")
    return Figure(figure)


def dissection_figure(found: Sequence[Dissection]) -> Figure:
    """The four errors over training time, and trained networks beside the kernel."""
    figure, (left, right) = new_figure(1, 2, title="Why to stop: four errors, two of which grow", width=11, height=4.1)
    taus = [one.tau for one in found]
    terms = {
        "label mismatch": [one.label_mismatch for one in found],
        "early stopping": [one.early_stopping for one in found],
        "approximation": [one.approximation for one in found],
    }
    widths = sorted(found[0].coupling)
    if widths:
        terms[f"coupling, {widths[-1]:,} neurons"] = [one.coupling[widths[-1]] for one in found]
    for place, (name, values) in enumerate(terms.items()):
        left.loglog(taus, np.maximum(values, 1e-12), color=PALETTE[place], label=name)
    left.loglog(taus, [one.kernel for one in found], color=INK, lw=2.2, label="error of the kernel regression")
    left.set(xlabel="training time τ", ylabel="mean squared error")
    top = max(max(values) for values in terms.values())
    left.set_ylim(None, 40 * top)
    _legend(left, loc="upper left", ncols=2)
    right.semilogx(taus, [one.kernel for one in found], color=INK, lw=2.2, label="kernel regression")
    for place, m in enumerate(widths):
        right.semilogx(taus, [one.network[m] for one in found], "o", ms=4, color=PALETTE[place], label=f"{m:,} neurons")
    right.set(xlabel="training time τ", ylabel="mean squared error to the truth")
    right.set_ylim(0, 1.5 * max(max(one.kernel, *one.network.values(), 0) for one in found))
    right.set_title("trained networks follow the kernel", color=INK, fontsize=10)
    _legend(right, loc="upper right", ncols=2)
    return Figure(figure)
