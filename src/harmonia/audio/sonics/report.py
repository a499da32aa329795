"""Pictures of a verdict, of costs, of an evaluation, of a song made again, of a training run."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Float32, Int64
from numpy import ndarray

from harmonia.audio.sonics.efficiency import Cost, crossover
from harmonia.audio.sonics.front_end import RATE
from harmonia.audio.sonics.network import CLIPS
from harmonia.audio.sonics.verdict import WARNING, Verdict
from harmonia.media import Audio, Figure
from harmonia.media.figure import (
    DIVERGING,
    INK,
    MUTED,
    PALETTE,
    SEQUENTIAL,
    colour_bar,
    legend,
    new_figure,
    time_axis,
)
from harmonia.media.spectrogram import COLUMNS, RANGE_DB, mel, mel_decibels
from harmonia.parts.calibration import reliability
from harmonia.parts.sound_stream import SoundSource
from harmonia.parts.spectral import mel_corners

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure

REAL, FAKE = PALETTE[0], PALETTE[1]
TICKS_HZ = (100, 300, 1_000, 3_000, 7_000)
_MOMENT = 1024
"""Samples at 16 kHz that a column of `mel_decibels` is made of."""

LABELS = {"loss": "training loss", "auc": "AUC on held-out songs", "balanced_accuracy": "balanced accuracy on them"}


def detection(
    song: SoundSource, verdict: Verdict, evidence: Float[ndarray, "bands frames"] | None, start: float
) -> Figure:
    """The song, the probability along it, and where in its most suspicious window the evidence lies.

    Arguments:
        song: The song.
        verdict: What was said of it.
        evidence: Share of every point of a window's spectrogram in its logit; None where nothing sounds.
        start: Where that window begins, in seconds.
    """
    figure, axes = new_figure(3, 1, width=10, height=8.6, height_ratios=(1.5, 1, 1.5), grid=False)
    image = axes[0].imshow(
        mel_decibels(_moments(song), RATE),
        origin="lower",
        aspect="auto",
        extent=(0, song.seconds, 0, mel(RATE / 2)),
        cmap=SEQUENTIAL,
        vmin=-RANGE_DB,
        vmax=0,
    )
    axes[0].set_yticks([mel(hz) for hz in TICKS_HZ], [_hertz(hz) for hz in TICKS_HZ])
    axes[0].set_ylabel("frequency (Hz)")
    colour_bar(axes[0], image, "dB below maximum")
    time_axis(axes[0], song.seconds)
    axes[0].set_title(_wrapped(verdict.sentence, 100), loc="left", fontweight="bold")
    _curve(axes[1], verdict)
    if evidence is None:
        axes[2].set_axis_off()
        axes[2].text(0, 0.5, "No window sounds enough to be explained.", color=INK)
    else:
        _evidence(axes[2], evidence, start, verdict.window)
        axes[0].axvspan(start, start + verdict.window, fill=False, edgecolor="white", linestyle="--", linewidth=1)
    notes = " ".join([*verdict.notes, f"Trained on: {verdict.trained_on}.", WARNING])
    figure.supxlabel(_wrapped(notes, 130), x=0.01, ha="left", fontsize=8.5, color=INK)
    return Figure(figure)


def _moments(song: SoundSource) -> Float32[ndarray, "one time"]:
    """What a picture shows of a song: all of it, or of a long one a moment for each column."""
    with song.opened(RATE) as reader:
        if reader.total <= COLUMNS * _MOMENT:
            return reader.read(0, reader.total).mean(0, keepdims=True)
        starts = ((np.arange(COLUMNS) + 0.5) * reader.total / COLUMNS).astype(int) - _MOMENT // 2
        return np.concatenate([reader.read(a, a + _MOMENT).mean(0, keepdims=True) for a in starts.tolist()], axis=1)


def timeline(verdict: Verdict) -> MatplotlibFigure:
    """Probability over time."""
    figure, [axes] = new_figure(1, 1, width=9, height=3.2, title=verdict.sentence, grid=False)
    _curve(axes, verdict)
    return figure


def _curve(axes: Any, verdict: Verdict) -> None:
    middles = np.minimum(verdict.starts + verdict.window / 2, verdict.seconds)
    threshold = float(verdict.calibration.probability(np.array(verdict.calibration.threshold)))
    for number, (begin, end) in enumerate(verdict.flagged):
        axes.axvspan(begin, end, color=FAKE, alpha=0.13, linewidth=0, label="flagged" if number == 0 else None)
    axes.plot(middles, verdict.probabilities, "o-", color=FAKE, markersize=4, linewidth=1.3, label="windows")
    axes.axhline(threshold, color=MUTED, linestyle="--", linewidth=1, label="threshold")
    if np.isfinite(verdict.probability):
        axes.axhline(verdict.probability, color=REAL, linewidth=1.3, label="whole song")
    axes.set_ylim(-0.04, 1.04)
    axes.set_ylabel("P(synthetic)")
    axes.set_title(f"Score of windows of {verdict.window:g} s, drawn at their middle", loc="left")
    time_axis(axes, verdict.seconds)
    legend(axes, loc="center left", bbox_to_anchor=(1.01, 0.5))


def _evidence(axes: Any, evidence: Float[ndarray, "bands frames"], start: float, window: float) -> None:
    limit = float(np.quantile(np.abs(evidence), 0.998)) or 1.0
    corners = mel_corners(len(evidence), 20.0, 8000.0, "htk").numpy()[1:-1]
    extent = (start, start + window, -0.5, len(evidence) - 0.5)
    image = axes.imshow(evidence, origin="lower", aspect="auto", extent=extent, cmap=DIVERGING, vmin=-limit, vmax=limit)
    axes.set_yticks([float(np.interp(hz, corners, np.arange(len(corners)))) for hz in TICKS_HZ])
    axes.set_yticklabels([_hertz(hz) for hz in TICKS_HZ])
    axes.set_ylabel("frequency (Hz)")
    axes.set_xlabel("time (s)")
    axes.set_title(
        "Evidence in the window with the highest score (dashed above): red for synthetic, blue for real", loc="left"
    )
    colour_bar(axes, image, "share of the logit")


def efficiency(costs: Sequence[Cost]) -> Figure:
    """Time and memory of each network over the length of a window, with the crossovers beside the ViT."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    figure, (left, right) = new_figure(
        1, 2, width=11, height=4.4, title="Fewer tokens pay for long windows, and not for short ones"
    )
    names = list(dict.fromkeys(cost.name for cost in costs))
    for number, name in enumerate(names):
        own = [cost for cost in costs if cost.name == name]
        windows = [cost.window for cost in own]
        style: dict[str, Any] = {"color": PALETTE[number], "label": name, "marker": "o", "markersize": 4}
        style["linestyle"] = "-" if name in CLIPS else "--"
        left.plot(windows, [cost.seconds for cost in own], **style)
        right.plot(windows, [cost.memory / 1e6 for cost in own], **style)
    for axes, label in ((left, "seconds a window, forward"), (right, "MB kept for the backward pass")):
        axes.set_xscale("log")
        axes.set_yscale("log")
        ticks = sorted({cost.window for cost in costs})
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.minorticks_off()
        axes.set_xlabel("length of a window (s)")
        axes.set_ylabel(label)
    legend(right)
    if {"alpha", "ViT"} <= set(names):
        longest = max(cost.window for cost in costs)
        told = [f"{name}: {_from(crossover(costs, name, 'ViT'), longest)}" for name in names if name in CLIPS]
        left.set_title("faster than the ViT:  " + ",  ".join(told), loc="left")
    return Figure(figure)


def _from(seconds: float, longest: float) -> str:
    return f"not up to {longest:g} s" if np.isinf(seconds) else f"from {seconds:.0f} s"


def evaluation(labels: Int64[ndarray, " songs"], probabilities: Float[ndarray, " songs"]) -> Figure:
    """Scores of real and synthetic songs, and how often songs of a score are synthetic."""
    figure, (left, right) = new_figure(1, 2, width=10, height=3.8)
    bins = np.linspace(0, 1, 21).tolist()
    for kind, name, colour in ((0, "real", REAL), (1, "synthetic", FAKE)):
        left.hist(probabilities[labels == kind], bins=bins, color=colour, alpha=0.65, label=name)
    left.set_xlabel("P(synthetic)")
    left.set_ylabel("songs")
    legend(left, loc="upper center")
    found = reliability(np.stack([1 - probabilities, probabilities], 1).astype(np.float64), labels)
    right.plot([0.5, 1], [0.5, 1], color=MUTED, linestyle="--", label="perfect")
    right.plot(found.confidence, found.accuracy, "o-", color=PALETTE[2], label="here")
    right.set_xlabel("stated probability of the predicted kind")
    right.set_ylabel("share that is right")
    right.set_title(f"calibration error {found.error:.3f}", loc="left")
    legend(right)
    return Figure(figure)


def made_again(before: Audio, after: Audio, kind: str) -> Figure:
    """Spectrograms of a song and of what a machine made of it."""
    figure, axes = new_figure(2, 1, width=10, height=6, sharex=True, grid=False)
    for each, sound, name in zip(axes, (before, after), ("the song", f"made again by {kind}"), strict=True):
        extent = (0, sound.seconds, 0, mel(sound.rate / 2))
        picture = mel_decibels(sound.samples, sound.rate)
        image = each.imshow(
            picture, origin="lower", aspect="auto", extent=extent, cmap=SEQUENTIAL, vmin=-RANGE_DB, vmax=0
        )
        each.set_yticks([mel(hz) for hz in TICKS_HZ], [_hertz(hz) for hz in TICKS_HZ])
        each.set_ylabel("frequency (Hz)")
        each.set_title(name, loc="left")
        colour_bar(each, image, "dB below maximum")
    axes[0].set_xlabel("")
    time_axis(axes[1], before.seconds)
    return Figure(figure)


def run(history: Sequence[Mapping[str, float | int]]) -> Figure:
    """Loss and held-out scores over the steps of a training run."""
    names = [name for name in LABELS if history and name in history[-1]]
    figure, axes = new_figure(1, max(1, len(names)), width=3.4 * max(2, len(names)), height=3.2)
    for number, (each, name) in enumerate(zip(axes, names, strict=False)):
        each.plot([r["step"] for r in history], [r[name] for r in history], "o-", color=PALETTE[number], markersize=3)
        each.set_xlabel("step")
        each.set_title(LABELS[name])
    return Figure(figure)


def _hertz(hz: int) -> str:
    return f"{hz // 1000}k" if hz >= 1000 else str(hz)


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width))
