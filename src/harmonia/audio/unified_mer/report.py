"""Pictures: a song on the plane of valence and arousal with its tags, chords and curve; scores; a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from harmonia.audio.unified_mer.features import HeardSong
from harmonia.media import Figure
from harmonia.media.figure import (
    INK,
    MUTED,
    PALETTE,
    colour_bar,
    legend,
    new_figure,
    style_axes,
    time_axis,
)
from harmonia.parts.harmony import Chord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from harmonia.audio.unified_mer.result import EmotionResult

TOP = 10
CENTRE = 5.0
_QUADRANTS = (
    ("tense, angry", 1.25, 8.75),
    ("excited, happy", 8.75, 8.75),
    ("sad, gloomy", 1.25, 1.25),
    ("calm, serene", 8.75, 1.25),
)


def song(whole: EmotionResult, curve: EmotionResult, heard: HeardSong, chords_by: str, seconds: float) -> Figure:
    """What was found in one song.

    Arguments:
        whole: Emotion of the song, one row.
        curve: Emotions of its windows.
        heard: Chords, key and windows.
        chords_by: The chord recogniser, for the title.
        seconds: Length of the song.
    """
    figure, axes = new_figure(3, 2, width=11, height=9.6, height_ratios=(3.4, 1.5, 0.5), width_ratios=(1.15, 1))
    plane, tags = axes[:2]
    grid = plane.get_gridspec()
    assert grid is not None
    for spare in axes[2:]:
        spare.remove()
    lines, lane = figure.add_subplot(grid[1, :]), figure.add_subplot(grid[2, :])
    style_axes(lines)
    style_axes(lane, grid=False)
    _plane(plane, whole, curve)
    _tags(tags, whole)
    _lines(lines, curve, seconds)
    key = "without a key" if heard.key is None else f"in {heard.key.name}"
    _chord_lane(lane, heard.chords, seconds)
    lane.set_title(f"Chords {key.replace('#', '♯')}, heard by {chords_by}", loc="left")
    return Figure(figure)


def _plane(axes: Axes, whole: EmotionResult, curve: EmotionResult) -> None:
    axes.axhline(CENTRE, color=MUTED, linewidth=0.8)
    axes.axvline(CENTRE, color=MUTED, linewidth=0.8)
    for name, x, y in _QUADRANTS:
        sides = ("left" if x < CENTRE else "right", "bottom" if y < CENTRE else "top")
        axes.text(x, y, name, color=MUTED, fontsize=9, ha=sides[0], va=sides[1])
    valence, arousal = np.clip(curve.valence, 1, 9), np.clip(curve.arousal, 1, 9)
    times = curve.times if curve.times is not None else np.arange(len(valence))
    axes.plot(valence, arousal, color=MUTED, linewidth=1, alpha=0.7, zorder=2)
    points = axes.scatter(valence, arousal, c=times, cmap="viridis", s=34, zorder=3, edgecolors="white", linewidths=0.5)
    colour_bar(axes, points, "middle of the window (s)")
    place = (float(np.clip(whole.valence[0], 1, 9)), float(np.clip(whole.arousal[0], 1, 9)))
    axes.scatter(*place, marker="*", s=260, color=PALETTE[1], edgecolors="white", zorder=4)
    # Away from the nearest borders.
    aside = (-14 if place[0] > CENTRE else 14, -14 if place[1] > CENTRE else 14)
    note = axes.annotate("whole song", place, aside, textcoords="offset points", color=PALETTE[1], fontsize=9.5)
    note.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.8})
    note.set_horizontalalignment("right" if place[0] > CENTRE else "left")
    note.set_verticalalignment("top" if place[1] > CENTRE else "bottom")
    axes.set(xlim=(1, 9), ylim=(1, 9), xlabel="valence: unpleasant to pleasant", ylabel="arousal: calm to excited")
    axes.set_aspect("equal")
    axes.set_title(f"Valence {whole.valence[0]:.1f}, arousal {whole.arousal[0]:.1f}", loc="left")


def _tags(axes: Axes, whole: EmotionResult) -> None:
    order = np.argsort(-whole.proba[0])[:TOP]
    names = [whole.vocabulary[tag] for tag in order]
    found = whole.proba[0][order]
    axes.barh(names, found, color=[PALETTE[0] if p > 0.5 else PALETTE[5] for p in found], height=0.7)
    for row, value in enumerate(found):
        axes.text(value + 0.01, row, f"{value:.2f}", va="center", fontsize=8.5, color=INK)
    axes.invert_yaxis()
    axes.axvline(0.5, color=MUTED, linewidth=0.8)
    axes.set(xlim=(0, 1.08), xlabel="score; above 0.5: likelier than for most music")
    axes.grid(False, axis="y")
    axes.set_title("Mood tags", loc="left")


def _lines(axes: Axes, curve: EmotionResult, seconds: float) -> None:
    times = curve.times if curve.times is not None else np.arange(len(curve.valence))
    for values, name, colour in ((curve.valence, "valence", PALETTE[0]), (curve.arousal, "arousal", PALETTE[1])):
        axes.plot(times, np.clip(values, 1, 9), color=colour, marker="o", markersize=3.5, label=name)
    axes.axhline(CENTRE, color=MUTED, linewidth=0.8)
    axes.set(ylim=(0.7, 9.3), yticks=(1, 3, 5, 7, 9), ylabel="rating (1 to 9)")
    axes.set_title("Over the song", loc="left")
    legend(axes, ncols=2, loc="upper right", bbox_to_anchor=(1, 1.22))
    time_axis(axes, seconds)
    axes.set_xlabel("")


def _chord_lane(axes: Axes, chords: Sequence[Chord], seconds: float) -> None:
    """Coloured bars: the hue tells the root's place on the circle of fifths, paleness minor and diminished."""
    from matplotlib.colors import hsv_to_rgb

    for chord in chords:
        dark = chord.quality in ("min", "min7", "min6", "minmaj7", "dim", "dim7", "hdim7")
        hue = 0.0 if chord.root is None else 7 * chord.root % 12 / 12
        colour = "#F0F1F4" if chord.root is None else tuple(hsv_to_rgb((hue, 0.32, 0.78 if dark else 0.98)))
        width = chord.offset - chord.onset
        axes.broken_barh([(chord.onset, width)], (0, 1), facecolors=[colour], edgecolors="white", linewidth=0.6)
        label = _short(chord)
        if chord.root is not None and width / seconds > 0.0085 * len(label) + 0.004:
            axes.text(chord.onset + width / 2, 0.5, label, ha="center", va="center", fontsize=8, color=INK)
    axes.set(ylim=(0, 1), yticks=())
    axes.spines[["left"]].set_visible(False)
    time_axis(axes, seconds)


def _short(chord: Chord) -> str:
    """A chord as musicians write it.

    Example:
        >>> from harmonia.parts.harmony import parse_chord
        >>> [_short(parse_chord(label)) for label in ("C#:min7", "G:maj", "F:hdim7")]
        ['C♯m7', 'G', 'Fø7']
    """
    if chord.root is None:
        return ""
    ends = {"maj": "", "min": "m", "min6": "m6", "maj6": "6", "min7": "m7", "minmaj7": "mM7", "maj7": "M7"}
    ends |= {"hdim7": "ø7", "dim": "°", "dim7": "°7", "aug": "+"}
    root = chord.label.split(":")[0].replace("#", "♯")
    return root + ends.get(chord.quality, chord.quality)


def agreement(pairs: Mapping[str, tuple[Float32[ndarray, "n 2"], Float32[ndarray, "n 2"]]]) -> Figure:
    """Ratings beside what was found, one row of pictures for each set.

    Arguments:
        pairs: By set: ratings, and what the network says.
    """
    figure, axes = new_figure(len(pairs), 2, height=3.9 * len(pairs))
    for row, (name, (truth, found)) in enumerate(pairs.items()):
        for column, what in enumerate(("valence", "arousal")):
            each = axes[2 * row + column]
            each.scatter(truth[:, column], found[:, column], s=12, alpha=0.6, color=PALETTE[column])
            each.plot((1, 9), (1, 9), color=MUTED, linewidth=1)
            each.set(xlim=(1, 9), ylim=(1, 9), xlabel=f"rated {what}", ylabel=f"found {what}")
            each.set_aspect("equal")
            each.set_title(f"{name}: {what} of {len(truth)} songs", loc="left")
    return Figure(figure)


def bars(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Scores of tags, by set."""
    figure, [axes] = new_figure(height=0.6 + 0.5 * len(rows))
    axes.barh([f"{row['set']}: {row['score'].replace('_', ' ')}" for row in rows], [row["value"] for row in rows])
    axes.invert_yaxis()
    axes.set(xlim=(0, 1), xlabel="mean over tags")
    axes.grid(False, axis="y")
    return Figure(figure)


def run(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Losses of a training run."""
    names = [key for key in history[-1] if key.startswith("validation_")]
    figure, axes = new_figure(1, 1 + len(names), width=4.4 * (1 + len(names)), height=3.6)
    steps = [record["step"] for record in history]
    for each, key, colour in zip(axes, ("loss", *names), PALETTE, strict=False):
        each.plot(steps, [record[key] for record in history], color=colour)
        title = "training loss" if key == "loss" else f"loss on held-out songs of {key.removeprefix('validation_')}"
        each.set_title(title, loc="left")
        each.set_xlabel("step")
    return Figure(figure)
