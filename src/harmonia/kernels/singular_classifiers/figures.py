"""The pictures of the report: where activations lie, errors by sample size, reliability, decisions in the plane."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float64
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy import ndarray

from harmonia.kernels.singular_classifiers.consistency import MAJORITY_VOTE, NEAREST_NEIGHBOUR, ErrorCurves
from harmonia.kernels.singular_classifiers.estimators import SingularKernelClassifier
from harmonia.kernels.singular_classifiers.taxonomy import Kind, Taxonomy
from harmonia.media import Figure
from harmonia.media.figure import INK, MUTED, PALETTE, legend, new_figure

_KINDS: dict[Kind, tuple[str, str]] = {
    "singular kernel": (PALETTE[0], "o"),
    "nearest neighbour": (PALETTE[1], "s"),
    "majority vote": (PALETTE[2], "^"),
    "flat": (PALETTE[7], "v"),
    "linear": (INK, "x"),
}


def taxonomy_figure(taxonomies: Mapping[str, tuple[Taxonomy, Taxonomy]], chosen: Taxonomy, title: str) -> Figure:
    """Where activations lie, as they are and without their mean, and the dimension each is optimal for.

    Arguments:
        taxonomies: Of well-known activations and of them without their mean.
        chosen: The user's, drawn larger.
        title: What is to be seen.
    """
    figure, (left, right) = new_figure(
        1,
        2,
        title=title,
        width=11.5,
        height=5.0,
        width_ratios=[1.0, 1.15],
    )
    _moments(left, taxonomies, chosen)
    _exponents(right, taxonomies, chosen)
    return Figure(figure)


def _moments(axes: Axes, taxonomies: Mapping[str, tuple[Taxonomy, Taxonomy]], chosen: Taxonomy) -> None:
    arc = np.linspace(0, math.pi / 2, 100)
    axes.plot(np.cos(arc), np.sin(arc), color=MUTED, lw=1, ls=":")
    axes.plot([0, 0], [0.02, 1], color=PALETTE[0], lw=5, alpha=0.25, solid_capstyle="butt")
    seen = set()
    for raw, _ in taxonomies.values():
        colour, marker = _KINDS[raw.kind]
        axes.scatter(
            raw.A, raw.A_prime, s=34, color=colour, marker=marker, label=None if raw.kind in seen else raw.kind
        )
        seen.add(raw.kind)
    together: dict[tuple[float, float], list[str]] = {}
    for name, (raw, _) in taxonomies.items():
        together.setdefault((round(raw.A, 1), round(raw.A_prime, 1)), []).append(name)
    for names in together.values():
        x, y = (float(np.mean([getattr(taxonomies[name][0], of) for name in names])) for of in ("A", "A_prime"))
        aside = {"tanh": (9, 11), "gaussian": (-6, -14), "cos": (-14, 9)}.get(names[0], (9, 5))
        axes.annotate(", ".join(names), (x, y), xytext=aside, textcoords="offset points", fontsize=8, color=INK)
    colour, marker = _KINDS[chosen.kind]
    axes.scatter(chosen.A, chosen.A_prime, s=150, color=colour, marker=marker, edgecolor=INK, lw=1.4, zorder=4)
    axes.scatter(0, 0, s=34, color=_KINDS["nearest neighbour"][0], marker="s", label="nearest neighbour", clip_on=False)
    axes.set(xlabel="|A| = |E φ|", ylabel="|A′| = |E φ′|", xlim=(-0.03, 1.15), ylim=(-0.07, 1.1))
    axes.set_title("as they are, scaled to E φ² = 1", fontsize=10.5, color=INK)
    legend(axes, loc="lower left", bbox_to_anchor=(0.02, 0.08), fontsize=8.5)


def _exponents(axes: Axes, taxonomies: Mapping[str, tuple[Taxonomy, Taxonomy]], chosen: Taxonomy) -> None:
    """In these coordinates, ``log(-log A')`` and ``log log B'``, exponents are parallel lines."""

    def place(slope: float, steepness: float) -> tuple[float, float]:
        return math.log10(-math.log(slope)), math.log10(math.log(steepness))

    (left, bottom), (right, top) = place(0.9945, 1.025), place(0.155, 3.2)
    for d in (1, 2, 3, 5, 10):
        offset = math.log10(4 / d)
        axes.plot([left, right], [left + offset, right + offset], color=MUTED, lw=1)
        axes.text(bottom - offset + 0.06, bottom + 0.03, f"α = {d}", fontsize=8.5, color=MUTED)
    kernels = {name: one for name, (_, one) in taxonomies.items() if one.kind == "singular kernel"}
    places = [(*place(one.A_prime, one.B_prime), f"{name} {one.alpha:.2f}") for name, one in kernels.items()]
    axes.scatter([x for x, _, _ in places], [y for _, y, _ in places], s=34, color=PALETTE[0])
    _labels(axes, places)
    best = [place(2.0 ** (-d / 4), 2.0) for d in range(1, 11)]
    axes.plot(*zip(*best), "D", ms=6, color=PALETTE[4], ls="none", label="optimal for d = 1, 2, ... 10")
    if chosen.kind == "singular kernel":
        axes.scatter(*place(chosen.A_prime, chosen.B_prime), s=150, color=PALETTE[0], edgecolor=INK, lw=1.4, zorder=4)
    slopes, steeps = (0.99, 0.97, 0.9, 0.8, 0.6, 0.4, 0.2), (1.03, 1.05, 1.1, 1.2, 1.5, 2.0, 3.0)
    axes.set_xticks([place(value, 2.0)[0] for value in slopes], [f"{value:g}" for value in slopes])
    axes.set_yticks([place(0.5, value)[1] for value in steeps], [f"{value:g}" for value in steeps])
    axes.set(xlabel="|A′| = |E φ′|", ylabel="B′ = E φ′²", xlim=(left, right), ylim=(bottom, top))
    axes.set_title("without their mean: the dimension α each is optimal for", fontsize=10.5, color=INK)
    legend(axes, loc="upper left", fontsize=8.5)


def _labels(axes: Axes, places: Sequence[tuple[float, float, str]]) -> None:
    """Names right of their points, or left where another point is in the way."""
    for x, y, name in places:
        crowded = any(0 < other_x - x < 0.25 and abs(other_y - y) < 0.05 for other_x, other_y, _ in places)
        axes.annotate(
            name,
            (x, y),
            xytext=(-7 if crowded else 7, 0),
            textcoords="offset points",
            fontsize=8,
            color=INK,
            ha="right" if crowded else "left",
            va="center",
        )


def curves_figure(curves: ErrorCurves, title: str, ours: str, *, best_known: bool = True) -> Figure:
    """Errors of several rules as the training set grows.

    Arguments:
        curves: The errors.
        title: What is to be seen.
        ours: The rule to draw boldly.
        best_known: Whether Bayes's error is known and drawn.
    """
    figure, [axes] = new_figure(title=title, width=8.2, height=4.4)
    styles = {NEAREST_NEIGHBOUR: (PALETTE[1], "s"), MAJORITY_VOTE: (PALETTE[2], "^")}
    others = iter((PALETTE[3], PALETTE[4], PALETTE[5], PALETTE[6]))
    for name, errors in curves.errors.items():
        colour, marker = (PALETTE[0], "o") if name == ours else styles.get(name) or (next(others), "d")
        axes.semilogx(
            curves.sizes,
            [100 * error for error in errors],
            color=colour,
            marker=marker,
            ms=5,
            lw=2.4 if name == ours else 1.4,
            label=name.replace("alpha", "α"),
        )
    if best_known:
        axes.axhline(100 * curves.best, color=INK, lw=1.2, ls="--", label="Bayes: no rule is better")
        axes.axhline(100 * curves.nearest, color=PALETTE[1], lw=1, ls=":", label="theory of 1-NN: 2 E η(1 − η)")
    axes.set(xlabel="training points", ylabel="error (%)")
    axes.set_xticks(curves.sizes, [f"{n:,}" for n in curves.sizes])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.minorticks_off()
    legend(axes, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return Figure(figure)


def reliability_figure(
    shares: Float64[ndarray, "n classes"], right: Bool[ndarray, " n"], classes: Sequence[str], observed: ndarray
) -> Figure:
    """How often predictions of a given confidence are right, and which classes are confused.

    Arguments:
        shares: Left-out probabilities.
        right: Whether the likeliest class is the true one.
        classes: Names.
        observed: Index of the true class of each row.
    """
    confidence = shares.max(1)
    gap, bins = _calibration(confidence, right)
    figure, (left, middle) = new_figure(
        1,
        2,
        title=f"Left-out predictions: {100 * right.mean():.1f}% right, calibration error {100 * gap:.1f}%",
        width=10.5,
        height=4.6,
    )
    left.plot([0, 100], [0, 100], color=MUTED, lw=1)
    for mean, share, count in bins:
        spread = 100 * math.sqrt(max(share * (1 - share), 0.25 / count) / count)
        left.errorbar(100 * mean, 100 * share, spread, color=PALETTE[0], lw=1.2, capsize=2)
        left.scatter(100 * mean, 100 * share, s=18 + 160 * count / len(right), color=PALETTE[0], zorder=3)
    start = 100 * min(0.98, max(0.0, confidence.min() - 0.03))
    left.set(xlabel="confidence of the prediction (%)", ylabel="how often it is right (%)", xlim=(start, 101.5))
    left.set_ylim(min(start, *(100 * share - 4 for _, share, _ in bins)), 103)
    left.set_title("larger dots stand for more rows; bars are standard errors", fontsize=9, color=MUTED)
    _confusion(middle, shares.argmax(1), observed, classes)
    return Figure(figure)


def _calibration(confidence: ndarray, right: ndarray, count: int = 8) -> tuple[float, list[tuple[float, float, int]]]:
    """Expected calibration error, and bins of equal numbers of rows: mean confidence, share right, rows."""
    order = np.argsort(confidence, kind="stable")
    bins, gap = [], 0.0
    for rows in np.array_split(order, min(count, max(1, len(order) // 8))):
        mean, share = float(confidence[rows].mean()), float(right[rows].mean())
        gap += abs(mean - share) * len(rows) / len(order)
        bins.append((mean, share, len(rows)))
    return gap, bins


def _confusion(axes: Axes, predicted: ndarray, observed: ndarray, classes: Sequence[str]) -> None:
    k = len(classes)
    counts = np.zeros((k, k), dtype=int)
    np.add.at(counts, (observed, predicted), 1)
    shares = 100 * counts / counts.sum(1, keepdims=True).clip(1)
    axes.grid(False)
    blue = np.array(to_rgb(PALETTE[0]))
    axes.imshow(1 - (1 - blue) * (shares[..., None] / 100), vmin=0, vmax=1)
    labels = [str(name)[:14] for name in classes]
    axes.set_xticks(range(k), labels, rotation=90 if k > 4 and max(map(len, labels)) > 3 else 0)
    axes.set_yticks(range(k), labels)
    axes.set(xlabel="predicted", ylabel="observed")
    if k <= 15:
        for i, j in np.argwhere(counts):
            colour = "white" if shares[i, j] > 50 else INK
            axes.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=8.5, color=colour)


def decision_figure(
    model: SingularKernelClassifier,
    points: Float64[ndarray, "n 2"],
    labels: ndarray,
    names: tuple[str, str],
    title: str,
    cells: int = 240,
) -> Figure:
    """Which class is given where, the paler the less sure; training points keep their own class.

    Arguments:
        model: Of two features.
        points: Training points.
        labels: Their classes.
        names: Of the features.
        title: What is to be seen.
        cells: Of the map, on each side.
    """
    low, high = points.min(0), points.max(0)
    margin = 0.06 * np.where(high > low, high - low, 1.0)
    across, up = (np.linspace(a, b, cells) for a, b in zip(low - margin, high + margin))
    grid = np.stack(np.meshgrid(across, up), -1).reshape(-1, 2)
    shares = model.predict_proba(grid)
    k = shares.shape[1]
    winner, sure = shares.argmax(1), (shares.max(1) - 1 / k) / (1 - 1 / k)
    colours = np.array([to_rgb(PALETTE[c % len(PALETTE)]) for c in range(k)])
    shade = 0.08 + 0.5 * sure[:, None]
    image = (1 - shade + shade * colours[winner]).reshape(cells, cells, 3)
    figure, [axes] = new_figure(title=title, width=7.6, height=5.2, grid=False)
    axes.imshow(image, origin="lower", extent=(across[0], across[-1], up[0], up[-1]), aspect="auto")
    for c, name in enumerate(model.classes_):
        own = labels == name
        axes.scatter(
            points[own, 0],
            points[own, 1],
            s=16,
            color=PALETTE[c % len(PALETTE)],
            edgecolor="white",
            lw=0.5,
            label=str(name)[:24],
        )
    axes.set(xlabel=names[0], ylabel=names[1], xlim=(across[0], across[-1]), ylim=(up[0], up[-1]))
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_major_formatter(plain)
    axes.yaxis.set_major_formatter(plain)
    legend(axes, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return Figure(figure)


def depth_figure(
    profiles: Mapping[str, ndarray], eps: Float64[ndarray, " points"], limit: ndarray | None, title: str
) -> Figure:
    """Tangent kernels of growing depth over the distance of the inputs, scaled to 1 at ``x.x' = 0.5``.

    Arguments:
        profiles: Logarithms of kernels, by name.
        eps: ``1 - x.x'``.
        limit: Logarithm of the limiting kernel, if there is one.
        title: What is to be seen.
    """
    figure, [axes] = new_figure(title=title, width=8.2, height=4.4)
    middle = int(np.argmin(np.abs(eps - 0.5)))
    for number, (name, values) in enumerate(profiles.items()):
        strength = 0.25 + 0.7 * number / max(1, len(profiles) - 1)
        scaled = (values - values[middle]) / math.log(10)
        axes.semilogx(eps, scaled, color=PALETTE[0], alpha=strength, lw=1.6, label=name)
    if limit is not None:
        axes.semilogx(eps, (limit - limit[middle]) / math.log(10), color=INK, lw=2, ls="--", label="infinite depth")
    axes.invert_xaxis()
    axes.set(xlabel="1 − x·x′: nearer and nearer inputs", ylabel="kernel, powers of ten, relative to x·x′ = 0.5")
    legend(axes, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return Figure(figure)
