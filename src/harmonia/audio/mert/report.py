"""Pictures of what a model hears in a song, of songs among each other, and of a pre-training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch.nn import functional as F

from harmonia.audio.mert.summary import Summary
from harmonia.core.progress import say
from harmonia.media import Audio, Figure
from harmonia.media.figure import (
    DIVERGING,
    INK,
    MUTED,
    PALETTE,
    SEQUENTIAL,
    colour_bar,
    new_figure,
    style_axes,
    time_axis,
)
from harmonia.parts.constant_q import C1_HZ, ConstantQ

RATE = 24000
HOP = 320
COLUMNS = 1200
_PIECE, _MARGIN = 3000, 75
"""Frames of the spectrum that are computed at once, and around them: 40 s, and 1 s on either side."""
POINTS = 80
RANGE_DB = 60.0
LABELS = {
    "loss": "training loss",
    "held_out_ce": "cross-entropy of held-out codes (nats)",
    "held_out_accuracy": "accuracy of held-out codes",
    "held_out_cqt": "constant-Q error (mean square)",
}


def song(sound: Audio, summary: Summary, layers: Sequence[int]) -> Figure:
    """A song as its notes and as layers hear it: what resembles what, where it changes, and the way it takes.

    Arguments:
        sound: The song.
        summary: What was gathered of its frames.
        layers: Numbers of their layers.
    """
    windows = summary.windows
    figure, _ = new_figure(width=10, height=12.5)
    figure.clear()
    shown = _spread(len(layers), 3)
    grid = figure.add_gridspec(4, 6, height_ratios=(1.5, 2.35, 0.45 + 0.12 * len(layers), 2.1))
    _notes(_axes(figure, grid[0, :]), sound)
    width = 6 // len(shown)
    similarity = None
    for place, number in enumerate(shown):
        axes = _axes(figure, grid[1, place * width : (place + 1) * width])
        similarity = axes.imshow(
            _similarity(windows[number]),
            origin="lower",
            extent=(0, sound.seconds, 0, sound.seconds),
            cmap=DIVERGING,
            vmin=-1,
            vmax=1,
        )
        _title(axes, f"Self-similarity, layer {layers[number]}")
        time_axis(axes, sound.seconds)
        if place == 0:
            axes.set_ylabel("time (s)")
    colour_bar(axes, similarity, "cosine, mean removed")
    _changes(_axes(figure, grid[2, :]), windows, summary.step, sound.seconds, layers)
    _norms(_axes(figure, grid[3, :3], grid=True), summary, layers)
    _path(_axes(figure, grid[3, 3:], grid=True), windows[shown[-1]], sound.seconds, layers[shown[-1]])
    return Figure(figure)


def songs(names: Sequence[str], features: Float[ndarray, "songs layers dim"], layers: Sequence[int]) -> Figure:
    """Songs among each other: cosine similarity in a low, a middle and a high layer."""
    shown = _spread(len(layers), 3)
    size = 2.2 + 0.22 * len(names)
    figure, axes = new_figure(1, len(shown), width=1.8 + size * len(shown), height=1.4 + size, grid=False)
    short = [name if len(name) <= 18 else f"{name[:17]}…" for name in names]
    for place, (axis, number) in enumerate(zip(axes, shown, strict=True)):
        picture = axis.imshow(_similarity(features[:, number]), cmap=DIVERGING, vmin=-1, vmax=1)
        _title(axis, f"Layer {layers[number]}")
        axis.set_xticks(range(len(names)), short, rotation=90)
        axis.set_yticks(range(len(names)), short if place == 0 else [""] * len(names))
    colour_bar(axes[-1], picture, "cosine, mean removed")
    return Figure(figure)


def run(history: Sequence[Mapping[str, float | int]]) -> Figure:
    """Loss and held-out scores over the steps of a pre-training run."""
    names = [name for name in LABELS if history and name in history[-1]]
    figure, axes = new_figure(1, max(1, len(names)), width=3.6 * max(2, len(names)), height=3.2)
    for number, (axis, name) in enumerate(zip(axes, names, strict=False)):
        axis.plot([r["step"] for r in history], [r[name] for r in history], "o-", color=PALETTE[number], markersize=3)
        axis.set_xlabel("step")
        axis.set_title(LABELS[name], fontsize=9.5)
    return Figure(figure)


def _axes(figure: Any, place: Any, grid: bool = False) -> Any:
    axes = figure.add_subplot(place)
    style_axes(axes, grid=grid)
    return axes


def _notes(axes: Any, sound: Audio) -> None:
    """Constant-Q spectrum in decibels, with the octaves named."""
    mono = torch.from_numpy(sound.mono().resampled(RATE).samples[0])
    spectrum = ConstantQ(RATE, HOP, C1_HZ, 7 * 36, 36, tolerance=1e-3)
    # Piece by piece, with what the longest windows reach into; only the loudest moment of each column is kept.
    every = max(1, -(-len(mono) // (HOP * COLUMNS)))
    size = -(-_PIECE // every) * every
    pieces = []
    for start in range(0, -(-len(mono) // HOP), size):
        low = max(0, start - _MARGIN)
        part = spectrum(mono[low * HOP : (start + size + _MARGIN) * HOP]).abs()[:, start - low :]
        kept = min(size, -(-len(mono) // HOP) - start)
        pieces.append(F.max_pool1d(part[:, :kept], every, ceil_mode=True))
    level = torch.cat(pieces, 1).numpy()
    decibels = 20 * np.log10(np.maximum(level / max(float(level.max()), 1e-9), 10 ** (-RANGE_DB / 20)))
    picture = axes.imshow(
        decibels,
        origin="lower",
        aspect="auto",
        extent=(0, sound.seconds, 0, 7),
        cmap=SEQUENTIAL,
        vmin=-RANGE_DB,
        vmax=0,
    )
    axes.set_yticks(range(8), [f"C{octave}" for octave in range(1, 9)])
    axes.set_ylabel("pitch")
    _title(axes, "Constant-Q spectrum of the song")
    colour_bar(axes, picture, "dB below maximum")
    time_axis(axes, sound.seconds)


def _changes(axes: Any, windows: ndarray, step: float, seconds: float, layers: Sequence[int]) -> None:
    """How different the second after each moment is from the second before, in every layer."""
    reach = max(1, round(1.0 / step))
    count = windows.shape[1]
    if count <= 2 * reach:
        say("The song is too short to show where it changes.")
        axes.set_axis_off()
        return
    sums = np.cumsum(np.concatenate([np.zeros_like(windows[:, :1]), windows - windows.mean(1, keepdims=True)], 1), 1)
    means = (sums[:, reach:] - sums[:, :-reach]) / reach
    before, after = means[:, :-reach], means[:, reach:]
    norms = np.linalg.norm(before, axis=-1) * np.linalg.norm(after, axis=-1)
    change = 1 - (before * after).sum(-1) / np.maximum(norms, 1e-9)
    picture = axes.imshow(
        change,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(reach * step, (count - reach + 1) * step, -0.5, len(layers) - 0.5),
        cmap=SEQUENTIAL,
        vmin=0,
        vmax=2,
    )
    every = max(1, len(layers) // 9)
    axes.set_yticks(range(0, len(layers), every), [str(layers[n]) for n in range(0, len(layers), every)])
    axes.set_ylabel("layer")
    _title(axes, "Where the song changes: the second after a moment beside the second before")
    colour_bar(axes, picture, "1 - cosine")
    time_axis(axes, seconds)


def _norms(axes: Any, summary: Summary, layers: Sequence[int]) -> None:
    """Lengths of the frames' vectors, and how much of them is the same throughout the song."""
    low, middle, high = np.quantile(summary.lengths, (0.1, 0.5, 0.9), axis=1)
    still = np.linalg.norm(summary.mean, axis=-1)
    places = np.arange(len(layers))
    axes.bar(places, middle, width=0.6, color=PALETTE[0])
    axes.errorbar(places, middle, [middle - low, high - middle], fmt="none", ecolor=INK, elinewidth=1, capsize=3)
    axes.plot(places, still, "o", color=PALETTE[1], markersize=5)
    axes.set_ylim(0, 1.25 * max(float(high.max()), 1e-9))
    every = max(1, len(layers) // 13)
    axes.set_xticks(places[::every], [str(layer) for layer in layers][::every])
    axes.set_xlabel("layer")
    _title(axes, "Length of a frame's vector")
    axes.text(
        0.02, 0.97, "bars: median, 10 to 90 %", color=PALETTE[0], fontsize=8.5, transform=axes.transAxes, va="top"
    )
    axes.text(
        0.98,
        0.97,
        "dots: mean over the song",
        color=PALETTE[1],
        fontsize=8.5,
        transform=axes.transAxes,
        va="top",
        ha="right",
    )


def _path(axes: Any, windows: ndarray, seconds: float, layer: int) -> None:
    """The two main directions of a layer, as a path through time."""
    every = max(1, len(windows) // POINTS)
    rows = windows[: len(windows) // every * every].reshape(-1, every, windows.shape[1]).mean(1)
    centred = rows - rows.mean(0)
    _, strength, directions = np.linalg.svd(centred, full_matrices=False)
    share = np.square(strength) / max(float(np.square(strength).sum()), 1e-12)
    flat = centred @ directions[:2].T
    if flat.shape[1] < 2:
        flat = np.pad(flat, ((0, 0), (0, 2 - flat.shape[1])))
        share = np.pad(share, (0, 2))
    axes.plot(*flat.T, color=MUTED, linewidth=0.6, alpha=0.6)
    times = np.linspace(0, seconds, len(flat))
    points = axes.scatter(*flat.T, c=times, cmap="viridis", s=14, zorder=3)
    axes.set_xlabel(f"first direction ({share[0]:.0%} of the variance)")
    axes.set_ylabel(f"second ({share[1]:.0%})")
    _title(axes, f"Path of the song in layer {layer}")
    colour_bar(axes, points, "time (s)")


def _title(axes: Any, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=10.5, color=INK)


def _similarity(rows: Float[ndarray, "n dim"]) -> Float[ndarray, "n n"]:
    """Cosines between rows from which their mean was taken."""
    centred = rows - rows.mean(0)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
    return unit @ unit.T


def _spread(count: int, wanted: int) -> list[int]:
    """So many places from the first to the last."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, wanted))})
