"""Pictures: the probing benchmark, the catalogue, a scaling law, a card."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars

from harmonia.media import Figure
from harmonia.media.figure import INK, MUTED, PALETTE, legend, new_figure

if TYPE_CHECKING:
    from harmonia.audio.music_fm_survey.benchmark import Report
    from harmonia.audio.music_fm_survey.catalogue import Catalogue
    from harmonia.audio.music_fm_survey.frame_probe import FrameCell
    from harmonia.audio.music_fm_survey.scaling import ScalingLaw
    from harmonia.audio.music_fm_survey.transparency import Finding, TransparencyCard

COLUMNS = 4
CHECKS = {
    "licence": "licences",
    "overlap": "overlap of training and test",
    "memorisation": "memorisation in outputs",
    "files": "checksums of files",
    "fields": "fields that are unknown",
}


def probing(report: Report) -> Figure:
    """Every score with its interval, task by task; the mean above chance; the layers of networks."""
    order = [each.encoder for each in report.versatility()]
    deep = [name for name in order if len(report.cell(name, report.tasks[0]).probed.curve) > 1][:COLUMNS]
    rows = -(-(len(report.tasks) + 1) // COLUMNS)
    heights = [0.9 + 0.28 * len(order)] * rows + [2.7] * bool(deep)
    figure, axes = new_figure(rows + bool(deep), COLUMNS, width=13.5, height=1.0 + sum(heights), height_ratios=heights)
    colours = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(sorted(order))}
    for axis, task in zip(axes, report.tasks, strict=False):
        _scores(axis, report, task, order, colours)
    last = axes[len(report.tasks)]
    means = {each.encoder: each.mean for each in report.versatility()}
    last.barh(range(len(order)), [means[name] for name in order], color=[colours[name] for name in order], height=0.6)
    last.axvline(0, color=MUTED, linewidth=1)
    last.set_title("all tasks: mean above chance", loc="left")
    last.set_xlabel("0: chance, 1: perfect")
    _names(last, order, len(report.tasks) % COLUMNS == 0)
    for spare in axes[len(report.tasks) + 1 : rows * COLUMNS]:
        spare.set_visible(False)
    below = axes[rows * COLUMNS :]
    for axis, name in zip(below, deep, strict=False):
        _layers(axis, report, name)
    for axis in below[len(deep) :]:
        axis.set_axis_off()
    if deep:
        names, lines = below[0].get_legend_handles_labels()[::-1]
        host = below[len(deep)] if len(deep) < COLUMNS else below[-1]
        legend(host, handles=lines, labels=names, loc="upper left" if len(deep) < COLUMNS else "best")
    tau = report.agreement()
    best = ", ".join(dict.fromkeys(order[:1]))
    title = f"{best} is best on average; tasks rank the encoders differently (mean Kendall tau {tau:.2f})"
    single = "Scores of frozen representations, probed"
    figure.suptitle(title if np.isfinite(tau) else single, x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK)
    return Figure(figure)


def _scores(axis: Any, report: Report, task: str, order: list[str], colours: dict[str, str]) -> None:
    cells = [report.cell(name, task) for name in order]
    for row, cell in enumerate(cells):
        score, low, high = cell.probed.score
        axis.plot([low, high], [row, row], color=colours[cell.encoder], linewidth=2.2, solid_capstyle="round")
        axis.plot(score, row, "o", color=colours[cell.encoder], markersize=6)
    chance = cells[0].task.chance
    axis.axvline(chance, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axis.text(chance, -0.75, " chance", color=MUTED, fontsize=8, va="center", ha="left")
    axis.set_title(task, loc="left")
    axis.set_xlabel(cells[0].task.score.name)
    lows = [cell.probed.score.low for cell in cells if np.isfinite(cell.probed.score.low)]
    axis.set_xlim(max(-0.5, min([chance, *lows]) - 0.06), 1.03)
    _names(axis, order, report.tasks.index(task) % COLUMNS == 0)


def _names(axis: Any, order: list[str], shown: bool) -> None:
    axis.set_ylim(len(order) - 0.4, -1.1)
    axis.set_yticks(range(len(order)), order if shown else [""] * len(order))
    axis.grid(False, axis="y")


def _layers(axis: Any, report: Report, name: str) -> None:
    for number, task in enumerate(report.tasks):
        cell = report.cell(name, task)
        curve = [(each.score - cell.task.chance) / (1 - cell.task.chance) for each in cell.probed.curve]
        axis.plot(range(len(curve)), curve, "o-", color=PALETTE[number % len(PALETTE)], markersize=3.5, label=task)
    axis.axhline(0, color=MUTED, linewidth=1)
    axis.set_title(f"layers of {name}", loc="left")
    axis.set_xlabel("layer (0: input of the first)")
    axis.set_ylabel("above chance")
    axis.set_xticks(range(len(curve)))
    axis.set_ylim(max(-0.3, axis.get_ylim()[0]), 1.03)


def over_time(cells: Sequence[FrameCell]) -> Figure:
    """Every score with its interval, task by task, between what is reached without listening and by the truth."""
    tasks = list(dict.fromkeys(cell.task.name for cell in cells))
    order = list(dict.fromkeys(cell.encoder for cell in cells))
    columns = min(3, len(tasks))
    rows = -(-len(tasks) // columns)
    height = 1.1 + 0.3 * len(order)
    figure, axes = new_figure(rows, columns, width=4.4 * columns + 0.6, height=0.9 + rows * (height + 0.2))
    for number, (axis, task) in enumerate(zip(axes, tasks, strict=False)):
        own = [cell for cell in cells if cell.task.name == task]
        for row, cell in enumerate(own):
            colour = PALETTE[order.index(cell.encoder) % len(PALETTE)]
            axis.plot([cell.score.low, cell.score.high], [row, row], color=colour, linewidth=2.2)
            axis.plot(cell.score.score, row, "o", color=colour, markersize=6)
        bounds = [cell.score.low for cell in own] + [own[0].floor]
        top = own[0].ceiling
        room = 0.06 * (top - min(bounds) + 1e-9)
        for value, words in ((own[0].floor, "without listening"), (top, "truth")):
            axis.axvline(value, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
            left = value > (top + min(bounds)) / 2
            axis.text(value, -0.8, f"{words} " if left else f" {words}", color=MUTED, fontsize=8, va="center",
                      ha="right" if left else "left")  # fmt: skip
        axis.set_xlim(min(bounds) - room, top + room)
        axis.set_title(task, loc="left")
        axis.set_xlabel(own[0].task.metric)
        _names(axis, [cell.encoder for cell in own], number % columns == 0)
    for spare in axes[len(tasks) :]:
        spare.set_visible(False)
    title = "Frozen representations over time: mean over songs with 95 % interval"
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK)
    return Figure(figure)


def catalogue(whole: Catalogue, found: polars.DataFrame) -> Figure:
    """Models of each paradigm that hear audio and read scores, what the data sets hold, the years of what matched."""
    figure, (left, middle, right) = new_figure(
        1, 3, width=13.5, height=4.4, width_ratios=(1.3, 1, 1), title=_gap(whole)
    )
    counts = whole.counts()
    places = np.arange(counts.height)
    for offset, side, colour in ((-0.2, "audio", PALETTE[0]), (0.2, "symbolic", PALETTE[1])):
        bars = left.barh(places + offset, counts[side], height=0.38, color=colour, label=side)
        left.bar_label(bars, padding=3, fontsize=8, color=INK)
    left.set_yticks(places, counts["paradigm"])
    left.invert_yaxis()
    left.set_title("models by training paradigm", loc="left")
    left.set_xlabel("models")
    legend(left, loc="lower right")
    kinds: dict[str, int] = {}
    for record in whole.datasets:
        for modality in record.modality:
            kinds[modality] = kinds.get(modality, 0) + 1
    names = sorted(kinds, key=lambda name: -kinds[name])
    bars = middle.barh(names, [kinds[name] for name in names], color=PALETTE[2], height=0.6)
    middle.bar_label(bars, padding=3, fontsize=8, color=INK)
    middle.invert_yaxis()
    middle.set_title("data sets by what they hold", loc="left")
    middle.set_xlabel("data sets")
    _years(right, whole, found)
    for axis in (left, middle):
        axis.grid(False, axis="y")
    return Figure(figure)


def _gap(whole: Catalogue) -> str:
    symbolic = sum("symbolic" in model.modality for model in whole.models)
    share = sum(not model.verified for model in whole.models) / len(whole.models)
    both = f"{symbolic} of {len(whole.models)} models read scores, the others hear audio"
    return f"{both}; {share:.0%} of the records are unverified"


def _years(axis: Any, whole: Catalogue, found: polars.DataFrame) -> None:
    every = [model.year for model in whole.models if model.year]
    years = list(range(min(every), max(every) + 1))
    axis.bar(years, [every.count(year) for year in years], color=MUTED, alpha=0.35, label="all models with a year")
    if "year" in found.columns:
        matched = found["year"].drop_nulls().to_list()
        axis.bar(years, [matched.count(year) for year in years], color=PALETTE[0], width=0.5, label="matching records")
    axis.set_xticks(years[::2])
    axis.set_title("years of the papers", loc="left")
    axis.set_ylabel("papers")
    axis.set_ylim(0, axis.get_ylim()[1] * 1.25)
    legend(axis, loc="upper left")


def scaling(law: ScalingLaw, unit: str = "notes") -> Figure:
    """The runs on the fitted law, its parameters, and the best use of a budget of computation."""
    figure, (left, middle, right) = new_figure(
        1, 3, width=13.5, height=4.2, width_ratios=(1.25, 1, 1), title=_equation(law)
    )
    amounts = np.unique(law.data_)
    shown = amounts if len(amounts) <= 6 else np.quantile(amounts, np.linspace(0, 1, 6), method="nearest")
    sizes = np.geomspace(law.size_.min(), law.size_.max(), 60)
    for number, amount in enumerate(shown):
        colour = PALETTE[number % len(PALETTE)]
        left.plot(sizes, law.predict(sizes, amount), color=colour, linewidth=1.4, label=_quantity(amount))
        if len(law.draws_):
            left.fill_between(sizes, *law.interval(sizes, amount), color=colour, alpha=0.15, linewidth=0)
        if len(amounts) <= 6:
            rows = law.data_ == amount
            left.plot(law.size_[rows], law.loss_[rows], "o", color=colour, markersize=4.5)
    if len(amounts) > 6:
        left.plot(law.size_, law.loss_, "o", color=INK, markersize=3, alpha=0.6)
    left.axhline(law.E_, color=MUTED, linestyle=(0, (4, 3)), linewidth=1)
    left.text(law.size_.max(), law.E_, "irreducible E", color=MUTED, fontsize=8, ha="right", va="bottom")
    left.set_xscale("log")
    left.set_yscale("log")
    _plain_ticks(left)
    left.set_xlabel("parameters N")
    left.set_ylabel("held-out loss")
    left.set_title(f"loss by size, for amounts of data ({unit})", loc="left")
    legend(left, loc="upper right", ncols=2, fontsize=8)
    _fit_quality(middle, law)
    budgets = np.geomspace((law.size_ * law.data_).min() * 6, (law.size_ * law.data_).max() * 600, 60)
    best = [law.optimal(float(budget)) for budget in budgets]
    right.plot(budgets, [each.params for each in best], color=PALETTE[0], label="parameters N")
    right.plot(budgets, [each.tokens for each in best], color=PALETTE[1], label=f"{unit} D")
    right.axvspan(budgets[0], (law.size_ * law.data_).max() * 6, color=MUTED, alpha=0.12, label="inside of the runs")
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_xlabel("computation C = 6 N D (operations)")
    right.set_title("the best split of a budget", loc="left")
    legend(right, loc="upper left", fontsize=8)
    return Figure(figure)


def _equation(law: ScalingLaw) -> str:
    return f"L = {law.E_:.3g} + {law.A_:.3g} N^-{law.a_:.3f} + {law.B_:.3g} D^-{law.b_:.3f}"


def _fit_quality(axis: Any, law: ScalingLaw) -> None:
    errors = 100 * (law.predict(law.size_, law.data_) / law.loss_ - 1)
    axis.axhline(0, color=MUTED, linewidth=1)
    dots = axis.scatter(law.loss_, errors, c=np.log10(law.size_), cmap="viridis", s=22)
    bar = axis.get_figure().colorbar(dots, ax=axis, fraction=0.05, pad=0.02)
    bar.outline.set_visible(False)
    bar.set_label("log10 N", color=INK, fontsize=9)
    axis.set_xlabel("measured loss")
    axis.set_ylabel("error of the law (%)")
    if len(law.draws_):
        parts = [f"{name} {low:.3g} to {high:.3g}" for name, (low, high) in law.confint().items() if name in "Eab"]
        axis.set_title("95 %: " + ", ".join(parts), loc="left", fontsize=9)


def _plain_ticks(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.yaxis.set_major_locator(MaxNLocator(6))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))


def _quantity(number: float) -> str:
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:.3g}"


def card(stated: TransparencyCard, findings: Sequence[Finding], unchecked: Collection[str] = ()) -> Figure:
    """What the checks found, check by check, which could not be made, and where the data come from."""
    figure, (left, right) = new_figure(1, 2, width=11, height=3.9, width_ratios=(1.6, 1), grid=False)
    total = f"{len(findings)} finding{'s' * (len(findings) != 1)}"
    figure.suptitle(f"{stated.name}: {total}", x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK)
    left.set_axis_off()
    left.set_title("checks", loc="left")
    height = 0.97
    for check, name in CHECKS.items():
        own = [finding for finding in findings if finding.check == check]
        colour = MUTED if check in unchecked else PALETTE[1] if own else PALETTE[2]
        words = "not checked, no pieces were given" if check in unchecked else f"{len(own) or 'nothing'} found"
        left.text(0.0, height, "●", color=colour, fontsize=12, va="top")
        left.text(0.05, height, f"{name}: {words}", color=INK, fontsize=10, va="top")
        height -= 0.085
        for finding in own[:3]:
            words = f"{finding.what}: {', '.join(finding.parts)}"
            for line in textwrap.wrap(words, 84)[:2]:
                left.text(0.05, height, line.replace("$", r"\$"), color=MUTED, fontsize=8.5, va="top")
                height -= 0.06
        if len(own) > 3:
            left.text(0.05, height, f"and {len(own) - 3} more", color=MUTED, fontsize=8.5, va="top")
            height -= 0.06
        height -= 0.03
    if stated.sources:
        hours = [source.hours or 0.0 for source in stated.sources]
        known = any(hours)
        names = [f"{source.name[:34]}\n{source.licence}" for source in stated.sources]
        right.barh(names, hours if known else [1.0] * len(names), color=PALETTE[0], height=0.55)
        right.invert_yaxis()
        right.set_xlabel("hours" if known else "sources (hours unknown)")
        if not known:
            right.set_xticks([])
        right.set_title("data and their licences", loc="left")
    else:
        right.set_axis_off()
        right.text(0.0, 0.9, "data: unknown", color=MUTED, fontsize=10)
    return Figure(figure)


def tools(schemas: Sequence[dict[str, Any]]) -> Figure:
    """Which tools take and give which media."""
    kinds = ["audio", "score", "table", "text", "image", "video", "series", "graph", "figure", "model"]
    takes = [{p["media"] for p in _properties(tool) if "media" in p} for tool in schemas]
    gives = [set(tool["gives"].values()) for tool in schemas]
    shown = [kind for kind in kinds if any(kind in each for each in (*takes, *gives))]
    figure, [axis] = new_figure(
        title=f"{len(schemas)} tools, what they take and give", width=9, height=1.2 + 0.22 * len(schemas)
    )
    for row in range(len(schemas)):
        for column, kind in enumerate(shown):
            if kind in takes[row]:
                axis.plot(column - 0.12, row, "o", color=PALETTE[0], markersize=5)
            if kind in gives[row]:
                axis.plot(column + 0.12, row, "s", color=PALETTE[1], markersize=5)
    axis.plot([], [], "o", color=PALETTE[0], label="takes")
    axis.plot([], [], "s", color=PALETTE[1], label="gives")
    axis.set_yticks(range(len(schemas)), [tool["name"] for tool in schemas])
    axis.set_xticks(range(len(shown)), shown)
    axis.tick_params(axis="x", labeltop=True, labelbottom=False)
    axis.set_ylim(len(schemas) - 0.4, -0.6)
    legend(axis, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return Figure(figure)


def _properties(tool: dict[str, Any]) -> list[dict[str, Any]]:
    return [each.get("items", each) for each in tool["input_schema"]["properties"].values()]
