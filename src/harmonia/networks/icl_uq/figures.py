"""Pictures of in-context regression: predictions and their calibration, shifts, flips, a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars
from jaxtyping import Float64
from numpy import ndarray

from harmonia.media import Figure
from harmonia.media.figure import INK, MUTED, PALETTE, legend, new_figure
from harmonia.networks.icl_uq.comparison import EXACT, IN_CONTEXT, MEAN, PROCESS, RIDGE, STATED, Compared
from harmonia.networks.icl_uq.shifts import BAYES, INFORMED, NETWORK
from harmonia.parts.calibration import central_coverage

COLOURS = {
    IN_CONTEXT: PALETTE[0],
    STATED: PALETTE[5],
    EXACT: PALETTE[1],
    RIDGE: PALETTE[2],
    PROCESS: PALETTE[3],
    MEAN: MUTED,
    NETWORK: PALETTE[0],
    BAYES: PALETTE[1],
    INFORMED: INK,
    "ridge": PALETTE[2],
    "least squares": PALETTE[3],
}
_SHOWN = 150
"""Rows drawn with their intervals; more would hide each other."""


def prediction_figure(compared: Compared, y: Float64[ndarray, " rows"], target: str, coverage: float) -> Figure:
    """Left-out rows with their intervals, and the loss of every method."""
    score = compared.scores[IN_CONTEXT]
    title = f"{score.coverage:.0%} of the left-out rows lie inside of their {coverage:.0%} intervals"
    figure, (left, right) = new_figure(1, 2, title=title, width=11, height=4.4, width_ratios=(1.25, 1))
    answer = compared.answers[IN_CONTEXT]
    rows = np.linspace(0, len(y) - 1, min(len(y), _SHOWN)).astype(int)
    inside = (answer.low <= y) & (y <= answer.high)
    for kept, colour, label in ((inside, PALETTE[0], "inside"), (~inside, PALETTE[1], "outside")):
        some = rows[kept[rows]]
        mean = answer.mean[some]
        ends = np.stack([mean - answer.low[some], answer.high[some] - mean])
        left.errorbar(
            mean, y[some], xerr=ends, fmt="o", ms=3, color=colour, ecolor=colour, elinewidth=0.6, alpha=0.7, label=label
        )
    reach = (min(y.min(), answer.low.min()), max(y.max(), answer.high.max()))
    left.plot(reach, reach, color=MUTED, lw=1)
    left.set_xlabel(f"predicted {target} with its {coverage:.0%} interval")
    left.set_ylabel(f"observed {target}")
    left.set_title("Rows that were left out" + ("" if len(y) <= _SHOWN else f", {len(rows)} of {len(y)} shown"))
    legend(left, loc="upper left")
    names = [name for name in compared.scores if name != STATED]
    losses = [compared.scores[name].nll for name in names]
    best = min(losses)
    right.barh(names, [loss - best for loss in losses], color=[COLOURS[name] for name in names])
    for index, name in enumerate(names):
        text = f"  {losses[index]:.3f} nats, RMSE {compared.scores[name].rmse:.4g}"
        right.text(losses[index] - best, index, text, va="center", fontsize=8.5, color=INK)
    right.set_xlim(0, 2.2 * max(max(losses) - best, 1e-6))
    right.invert_yaxis()
    right.grid(False, axis="y")
    right.set_xlabel("negative log-likelihood above the best (nats a row)")
    right.set_title("Who predicts the left-out rows best")
    return Figure(figure)


def calibration_figure(compared: Compared) -> Figure:
    """Whether distributions hold what they state, and how far the network is from the exact answer."""
    exact = bool(np.isfinite(compared.gap).all())
    title = "Are the error bars true" + (", and is the network Bayesian here?" if exact else "?")
    figure, axes = new_figure(1, 2 if exact else 1, title=title, width=11 if exact else 6, height=4.2)
    levels = np.linspace(0.02, 0.98, 49)
    axes[0].plot([0, 1], [0, 1], color=MUTED, lw=1)
    for name, answer in compared.answers.items():
        if name != MEAN:
            axes[0].plot(levels, central_coverage(answer.pit, levels), color=COLOURS[name], label=name)
    axes[0].set_xlabel("probability stated")
    axes[0].set_ylabel("share of left-out rows inside")
    legend(axes[0], loc="upper left", fontsize=8.5)
    if exact:
        axes[1].hist(compared.gap, bins=30, color=PALETTE[0])
        middle = float(np.median(compared.gap))
        axes[1].axvline(middle, color=INK, lw=1)
        axes[1].text(middle, axes[1].get_ylim()[1], f" median {middle:.2f}", va="top", fontsize=9, color=INK)
        axes[1].set_xlabel("distance from the exact Bayesian mean (its standard deviations)")
        axes[1].set_ylabel("rows")
        axes[1].set_xlim(left=0)
    return Figure(figure)


def shift_figure(table: polars.DataFrame) -> Figure:
    """The curves of `shift_suite`: in distribution, and under three kinds of shift."""
    figure, axes = new_figure(2, 3, title="Near Bayes where it was trained, and where that ends", width=13, height=7.4)
    home = table.filter(polars.col("experiment") == "in distribution")
    for name in (NETWORK, BAYES, "ridge", "least squares"):
        _draw(axes[0], home, name, "mse")
        if name in (NETWORK, BAYES):
            _draw(axes[1], home, name, "std")
    ceiling = 1.3 * float(home.filter(polars.col("method") == BAYES)["mse"].max())  # type: ignore[arg-type]
    axes[0].set_ylim(0, 2 * ceiling)
    axes[0].set_title("In distribution")
    axes[0].set_ylabel("squared error")
    axes[1].set_title("In distribution")
    axes[1].set_ylabel("predicted standard deviation")
    for axis, condition in ((axes[2], "huge"),):
        some = table.filter((polars.col("experiment") == "noise") & (polars.col("condition") == condition))
        for name in (NETWORK, BAYES, INFORMED):
            _draw(axis, some, name, "std")
        axis.set_ylim(bottom=0)
        axis.set_title("Noise of four times the standard deviation")
        axis.set_ylabel("predicted standard deviation")
    for quantity, axis in (("mean_gap", axes[3]), ("std_gap", axes[4])):
        _draw(axis, home, NETWORK, quantity, "as trained", MUTED)
        some = table.filter(polars.col("experiment") == "covariates")
        for index, condition in enumerate(some["condition"].unique(maintain_order=True)):
            each = some.filter(polars.col("condition") == condition)
            _draw(axis, each, NETWORK, quantity, condition, PALETTE[index])
        axis.set_ylim(bottom=0)
        axis.set_title("Other covariates")
        axis.set_ylabel(f"distance of {'means' if quantity == 'mean_gap' else 'deviations'} from Bayes")
    some = table.filter(polars.col("experiment") == "length")
    for name in (NETWORK, BAYES):
        _draw(axes[5], some, name, "nll")
    axes[5].axvline(home["pairs"].max(), color=MUTED, lw=1, ls=":")  # type: ignore[arg-type]
    axes[5].set_title("Longer prompts than in training (dotted)")
    axes[5].set_ylabel("negative log-likelihood (nats)")
    for axis in axes:
        axis.set_xlabel("pairs seen")
        legend(axis, fontsize=8.5)
    return Figure(figure)


def _draw(axis, table: polars.DataFrame, method: str, quantity: str, label: str = "", colour: str = "") -> None:  # type: ignore[no-untyped-def]
    some = table.filter(polars.col("method") == method)
    axis.plot(some["pairs"], some[quantity], color=colour or COLOURS[method], label=label or method, lw=1.6)


def flip_figure(history: Sequence[Mapping[str, float | int]], pairs: int) -> Figure:
    """Accuracy and prior share over a training run, in distribution and with the pairing swapped."""
    title = "Reading the noise from the pairs, or from the sign it went with in training"
    figure, (left, right) = new_figure(1, 2, title=title, width=10, height=3.8, sharey=True)
    steps = [record["step"] for record in history]
    for axis, name, heading in ((left, "trained", "Pairing as in training"), (right, "swapped", "Pairing swapped")):
        axis.plot(steps, [r[f"{name}_accuracy"] for r in history], "o-", ms=3, color=PALETTE[0], label="true interval")
        if name == "swapped":
            shares = [r["swapped_prior_share"] for r in history]
            axis.plot(steps, shares, "o-", ms=3, color=PALETTE[1], label="interval that the sign suggests")
        axis.set_title(f"{heading}, {pairs} pairs seen")
        axis.set_xlabel("optimizer steps")
        axis.set_ylim(0, 1)
        legend(axis)
    left.set_ylabel("share of predicted deviations")
    return Figure(figure)


def training_figure(history: Sequence[Mapping[str, float | int]]) -> Figure:
    """Held-out loss over a run."""
    known = "excess" in history[-1]
    title = "Loss above the exact Bayesian answer, on unseen tasks" if known else "Loss on unseen tasks"
    figure, [axes] = new_figure(title=title)
    steps = [record["step"] for record in history]
    axes.plot(steps, [record["excess" if known else "nll"] for record in history], "o-", ms=3, color=PALETTE[0])
    if known:
        axes.set_ylim(bottom=0)
    axes.set_xlabel("optimizer steps")
    axes.set_ylabel("excess (nats per target)" if known else "negative log-likelihood (nats per target)")
    return Figure(figure)
