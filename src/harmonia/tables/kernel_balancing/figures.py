"""Pictures of balance: love plot, maps of imbalance, what ratings look like before and after, curves over decays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray
from scipy.sparse.linalg import eigsh, svds

from harmonia.media import Figure
from harmonia.media.figure import DIVERGING, INK, MUTED, PALETTE, colour_bar, legend, new_figure
from harmonia.parts.gram import EigenCache, Kernel, kernel_matrix
from harmonia.tables.kernel_balancing.balancer import KernelBalancer

_FUNCTIONS = 16
_DRAWN = 2000
_SEEN = 800
"""Rows of a Gram matrix that is decomposed, and of a map, at most."""


def principal_imbalance(balancer: KernelBalancer, count: int = _FUNCTIONS) -> list[Float64[ndarray, " functions"]]:
    """Imbalance before and after of the kernel's leading eigenfunctions, in their deviations over all pairs.

    Eigenfunctions of a product kernel are products ``v_a(u) w_b(i)``; those of large eigenvalues are smooth.
    """
    pairs = balancer.pairs_
    users, items = _smoothest(pairs.user_kernel, pairs.users, count), _smoothest(pairs.item_kernel, pairs.items, count)
    values = np.outer(users[0], items[0])
    a, b = np.unravel_index(np.argsort(-values, axis=None)[:count], values.shape)
    found = []
    for weights in (balancer.base_weights_, balancer.weights_):
        excess = pairs.excess(balancer.users_, balancer.items_, weights)
        found.append((users[1].T @ excess @ items[1])[a, b])
    return found


def _smoothest(kernel: Kernel, x: torch.Tensor, count: int) -> tuple[ndarray, ndarray]:
    """The largest eigenvalues of a Gram matrix, and their eigenfunctions at all rows, of mean square 1.

    Of many rows some are drawn, and the eigenfunctions of those continued to all (Nystrom).
    """
    drawn = x
    if len(x) > _DRAWN:
        drawn = x[torch.from_numpy(np.random.default_rng(0).choice(len(x), _DRAWN, replace=False))]
    gram = kernel_matrix(kernel, drawn)
    if len(gram) > 4 * count:
        # Always the same start, for the same picture.
        values, vectors = eigsh(gram.numpy(), k=count, v0=np.ones(len(gram)))
    else:
        cache = EigenCache(gram)
        values, vectors = cache.values.numpy(), cache.vectors.numpy()
    functions = vectors if drawn is x else kernel(x, drawn).numpy() @ vectors
    return values, functions / np.sqrt(np.square(functions).mean(0))


def balance_figure(balancer: KernelBalancer) -> Figure:
    """Love plot over the smoothest functions, and maps of where imbalance was and is."""
    before, after = principal_imbalance(balancer)
    maps = balancer.witness()
    mmd = balancer.mmd()
    figure, (love, left, right) = new_figure(
        1,
        3,
        title=f"Rated against all pairs: largest imbalance of any function {mmd[0]:.3f} before, {mmd[1]:.4f} after",
        width=13.5,
        height=4.6,
        width_ratios=[1.15, 1, 1],
    )
    places = np.arange(len(before))[::-1]
    love.axvspan(-0.1, 0.1, color=MUTED, alpha=0.13, linewidth=0)
    love.hlines(places, before, after, color=MUTED, linewidth=1)
    love.plot(before, places, "o", color=PALETTE[1], label="unweighted")
    love.plot(after, places, "o", color=PALETTE[0], label="balanced")
    love.set_yticks(places, [str(j + 1) for j in range(len(before))])
    love.set_xlabel("difference of means (standard deviations)")
    love.set_ylabel("function, smoothest first")
    love.set_title("Rated pairs less all pairs; grey: below 0.1")
    legend(love, loc="best")
    left_order, right_order = _order(maps[0])
    limit = float(np.abs(maps[0]).max())
    names = ("Rated too often or too rarely: unweighted", "balanced, in the same colours")
    for axes, values, name in zip((left, right), maps, names):
        shown, extent = values[np.ix_(left_order, right_order)], (0, values.shape[1], values.shape[0], 0)
        picture = axes.imshow(shown, cmap=DIVERGING, vmin=-limit, vmax=limit, aspect="auto", extent=extent)
        axes.grid(False)
        axes.set_title(name)
        axes.set_xlabel("items")
    left.set_ylabel("users (both sorted by the first pattern)")
    colour_bar(right, picture, "mean of k(., pair): rated less all")
    return Figure(figure)


def _order(values: ndarray) -> tuple[ndarray, ndarray]:
    """Rows and columns sorted by the leading pattern of a map; evenly spaced ones where they are more than is seen."""
    if min(values.shape) < 3:
        rows, _, columns = np.linalg.svd(values, full_matrices=False)
    else:
        rows, _, columns = svds(values, k=1, v0=np.ones(min(values.shape)))
    orders = np.argsort(rows[:, 0]), np.argsort(columns[0])
    first, second = (order[np.linspace(0, len(order) - 1, min(len(order), _SEEN)).astype(int)] for order in orders)
    return first, second


def ratings_figure(
    ratings: Float64[ndarray, " n"],
    weights: Float64[ndarray, " n"],
    at_random: Float64[ndarray, " m"] | None,
    ess: float,
) -> Figure:
    """How ratings are distributed as they came, weighted, and at random where that is known; and the weights."""
    figure, (left, right) = new_figure(
        1, 2, title="What people chose to rate, and what they would think of everything", width=11, height=3.9
    )
    edges = _edges(ratings)
    centres = (edges[1:] + edges[:-1]) / 2
    shown = [("as rated", ratings, None, PALETTE[1]), ("weighted", ratings, weights, PALETTE[0])]
    if at_random is not None:
        shown.append(("shown at random", at_random, None, PALETTE[2]))
    width = 0.8 * float(np.diff(edges).min()) / len(shown)
    for j, (name, values, w, colour) in enumerate(shown):
        share = np.histogram(values, edges, weights=w)[0] / (len(values) if w is None else w.sum())
        mean = np.average(values, weights=w)
        left.bar(
            centres + width * (j - (len(shown) - 1) / 2), share, width, color=colour, label=f"{name} (mean {mean:.2f})"
        )
    left.set_xlabel("rating")
    left.set_ylabel("share of ratings")
    left.set_ylim(0, left.get_ylim()[1] * 1.28)
    legend(left, loc="upper left", ncols=1 if len(shown) < 3 else 2)
    right.hist(
        weights, bins=np.geomspace(max(weights.min(), 1e-3), weights.max() * 1.001, 40).tolist(), color=PALETTE[0]
    )
    right.axvline(1, color=INK, linewidth=1, linestyle="--")
    right.set_xscale("log")
    right.set_xlabel("weight of a rating (mean 1)")
    right.set_ylabel("ratings")
    right.set_title(f"{ess:,.0f} effective ratings of {len(weights):,} ({100 * ess / len(weights):.0f} %)")
    return Figure(figure)


def _edges(ratings: ndarray) -> ndarray:
    """Borders between the values of ratings where they are few, equal bins otherwise."""
    values = np.unique(ratings)
    if len(values) > 11:
        return np.linspace(values[0], values[-1], 11)
    middle = (values[1:] + values[:-1]) / 2
    first, last = (values[1] - values[0]) / 2, (values[-1] - values[-2]) / 2
    return np.concatenate([[values[0] - first], middle, [values[-1] + last]])


def quality_figure(scores: Mapping[str, Mapping[str, float]], rows: int) -> Figure:
    """Scores at pairs that were shown at random: one panel a score, one bar a model."""
    names = list(next(iter(scores.values())))
    figure, axes = new_figure(
        1, len(names), title=f"Judged on {rows:,} ratings of pairs shown at random", width=4.2 * len(names), height=3.4
    )
    for panel, name in zip(axes, names):
        values = [score[name] for score in scores.values()]
        panel.barh(range(len(values)), values, color=[MUTED, PALETTE[1], PALETTE[0]])
        panel.set_yticks(range(len(values)), list(scores))
        panel.invert_yaxis()
        panel.grid(False, axis="y")
        panel.axvline(0, color=INK, linewidth=0.8)
        low, high = min(0.0, *values), max(0.0, *values)
        span = high - low or 1.0
        panel.set_xlim(low - 0.2 * span * (low < 0), high + 0.2 * span)
        for j, value in enumerate(values):
            side = "left" if value >= 0 else "right"
            panel.text(
                value + (0.02 if value >= 0 else -0.02) * span, j, f"{value:.3f}", va="center", ha=side, fontsize=9
            )
        panel.set_title(name)
    return Figure(figure)


def estimates_figure(errors: Mapping[str, Sequence[float]]) -> Figure:
    """Relative errors of the estimated ideal loss by method, a point a draw."""
    draws = len(next(iter(errors.values())))
    figure, [axes] = new_figure(
        title=f"How far estimates of the mean error over all pairs are off, {draws} draws", width=9, height=4.4
    )
    for place, values in enumerate(errors.values()):
        shares = 100 * np.asarray(values)
        colour = MUTED if place < 3 else PALETTE[0]
        spread = np.linspace(-0.22, 0.22, len(shares)) if len(shares) > 1 else np.zeros(1)
        axes.plot(shares, place + spread, "o", color=colour, markersize=4, alpha=0.55)
        axes.plot([shares.mean()] * 2, [place - 0.34, place + 0.34], color=INK, linewidth=2)
        axes.annotate(
            f"{np.abs(shares).mean():.1f} %",
            (1.01, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
            color=INK,
        )
    axes.set_yticks(range(len(errors)), list(errors))
    axes.invert_yaxis()
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_xlabel("estimate less truth (% of the truth); bar: mean; right: mean size")
    return Figure(figure)


def scale_figure(decays: Sequence[float], curves: Mapping[str, Sequence[float]], measure: str) -> Figure:
    """A score by weight decay for weights of several scales."""
    figure, [axes] = new_figure(title="Larger weights act as a weaker weight decay", width=8.5, height=4.2)
    for j, (name, values) in enumerate(curves.items()):
        colour = PALETTE[j // 2]
        axes.plot(decays, values, "-" if j % 2 == 0 else "--", marker="o", markersize=4, color=colour, label=name)
    axes.set_xscale("log")
    axes.set_xlabel("weight decay")
    axes.set_ylabel(measure)
    legend(axes, loc="best")
    return Figure(figure)
