"""Pictures of a described song and of a training run."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harmonia.audio.s2cap.analysis import Described, Heard
from harmonia.audio.s2cap.attributes import LEXICON
from harmonia.audio.s2cap.captioner import NOBODY
from harmonia.audio.s2cap.measures import HOP_S, Reference
from harmonia.media import Figure
from harmonia.media.figure import INK, MUTED, PALETTE, new_figure, time_axis

BANDS = {"low": PALETTE[5], "normal": PALETTE[2], "high": PALETTE[4]}
TICKS_HZ = (65, 100, 150, 200, 300, 450, 700, 1000)
LABELS = {
    "loss": "training loss",
    "attribute_f1": "F1 of stated attributes",
    "hallucination": "stated but wrong",
    "cider_d": "CIDEr-D",
}


def description(heard: Heard, clips: Sequence[Described], reference: Reference) -> Figure:
    """The clips of a song with their captions, the pitch over its bands, the level, and what was believed."""
    shown = [clip for clip in clips if clip.text != NOBODY]
    lines = [textwrap.wrap(f"{number}  {clip.text}", 118) for number, clip in enumerate(shown[:4], 1)] or [[NOBODY]]
    text_height = 0.21 * sum(map(len, lines)) + 0.25
    ratios = (0.5, 2.4, 1.3, 2.2)
    figure, axes = new_figure(
        4, 1, width=10, height=8.2 + text_height, height_ratios=(*ratios[:3], ratios[3]), grid=False
    )
    timeline, pitch, level, bars = axes
    pitch.sharex(timeline)
    level.sharex(timeline)
    _timeline(timeline, heard, clips)
    _pitch(pitch, heard, clips, reference)
    _level(level, heard, reference)
    if shown:
        _bars(bars, shown[0])
    else:
        bars.set_axis_off()
    if len(shown) > 1:
        bars.set_title("What is believed of clip 1", loc="left")
    more = f"\n… and {len(shown) - 4} clips more" if len(shown) > 4 else ""
    said = "\n".join("\n     ".join(wrapped) for wrapped in lines) + more
    figure.suptitle(said, x=0.01, ha="left", fontsize=10.5, color=INK, linespacing=1.35)
    return Figure(figure)


def _timeline(axis: Any, heard: Heard, clips: Sequence[Described]) -> None:
    number = 0
    for clip in clips:
        begin, end = clip.stretch
        sung = clip.text != NOBODY
        number += sung
        colour = PALETTE[0] if sung else MUTED
        axis.barh(0, end - begin, left=begin, height=0.8, color=colour, alpha=0.85 if sung else 0.35, edgecolor="white")
        if end - begin > 0.03 * heard.seconds:
            words = str(number) if sung else "no voice" if end - begin > 0.1 * heard.seconds else ""
            axis.text((begin + end) / 2, 0, words, ha="center", va="center", color="white", fontsize=9)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.tick_params(labelbottom=False)
    singers = heard.singers
    several = (
        f"; {singers.number} singers told apart, this is {100 * singers.share:.0f} %" if singers.number > 1 else ""
    )
    axis.set_title(f"Clips of the lead singer{several}" if number else "Clips, none of them sung", loc="left")


def _pitch(axis: Any, heard: Heard, clips: Sequence[Described], reference: Reference) -> None:
    voice = heard.voice
    f0 = np.where(voice.sung, voice.pitch.f0, np.nan)
    heights = f0[np.isfinite(f0)]
    gender = next((clip.attributes["gender"] for clip in clips if "gender" in clip.attributes), "female")
    levels = reference.pitch[gender]
    low, high = (np.percentile(heights, [1, 99]) if len(heights) else (100.0, 400.0)) * np.array([0.8, 1.25])
    low, high = min(low, 0.85 * levels.low), max(high, 1.15 * levels.high)
    edges = (low, levels.low, levels.high, high)
    for (name, colour), bottom, top in zip(BANDS.items(), edges, edges[1:]):
        axis.axhspan(bottom, top, color=colour, alpha=0.13, linewidth=0)
        axis.text(
            1.005, np.sqrt(bottom * top), name, transform=axis.get_yaxis_transform(), va="center", fontsize=9, color=INK
        )
    axis.plot(voice.pitch.times, f0, color=PALETTE[0], linewidth=1.4)
    for clip in clips:
        if np.isfinite(clip.f0) and clip.attributes:
            axis.plot(clip.stretch, [clip.f0, clip.f0], color=PALETTE[1], linewidth=1.6, linestyle="--")
    axis.set_yscale("log")
    axis.set_ylim(low, high)
    axis.minorticks_off()
    ticks = [hz for hz in TICKS_HZ if low <= hz <= high]
    axis.set_yticks(ticks, [str(hz) for hz in ticks])
    axis.set_ylabel("F0 (Hz)")
    axis.tick_params(labelbottom=False)
    axis.set_title(f"Pitch, and its median in each clip (dashed); bands for a {gender} voice", loc="left")


def _level(axis: Any, heard: Heard, reference: Reference) -> None:
    size = max(1, len(heard.voice.level_db) // 900)
    count = len(heard.voice.level_db) // size
    power = 10 ** (heard.voice.level_db[: count * size].reshape(count, size) / 10)
    level = 10 * np.log10(power.mean(1))
    floor = max(-75.0, float(level.max()) - 50)
    axis.fill_between((np.arange(count) + 0.5) * size * HOP_S, floor, level.clip(floor), color=PALETTE[0], alpha=0.35)
    for value, name in ((reference.volume.low, "low | normal"), (reference.volume.high, "normal | high")):
        if floor < value < max(0.0, float(level.max())):
            axis.axhline(value, color=PALETTE[1], linewidth=0.9, linestyle=":")
            axis.text(1.005, value, name, transform=axis.get_yaxis_transform(), va="center", fontsize=8.5, color=INK)
    axis.set_ylim(floor, min(3.0, float(level.max()) + 4))
    axis.set_ylabel("level (dBFS)")
    axis.set_title("Level of the voice", loc="left")
    time_axis(axis, heard.seconds)


def _bars(axis: Any, clip: Described) -> None:
    """For each attribute its values side by side, as long as they are believed in; the one stated is dark."""
    names = [name for name in LEXICON if clip.attributes.get(name)]
    for row, name in enumerate(names):
        left = 0.0
        odds = clip.belief[name]
        measured = clip.scores[name] == 1.0
        for value, share in sorted(odds.items(), key=lambda item: -item[1]):
            chosen = value == clip.attributes[name]
            axis.barh(row, share, left=left, color=PALETTE[0] if chosen else "#D5DAE3", edgecolor="white", height=0.78)
            if share > 0.12:
                note = " (measured)" if measured else f" {share:.2f}"
                axis.text(left + 0.01, row, value + note, va="center", fontsize=8.5, color="white" if chosen else INK)
            left += share
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set_xlim(0, 1)
    axis.set_xlabel("probability")
    axis.set_title("What is believed", loc="left")


def run(history: Sequence[Mapping[str, float | int]]) -> Figure:
    """Loss and held-out scores over the steps of a training run."""
    names = [name for name in LABELS if history and name in history[-1]]
    figure, axes = new_figure(1, max(1, len(names)), width=3.3 * max(2, len(names)), height=3.2)
    for number, (axis, name) in enumerate(zip(axes, names, strict=False)):
        axis.plot([r["step"] for r in history], [r[name] for r in history], "o-", color=PALETTE[number], markersize=3)
        axis.set_xlabel("step")
        axis.set_title(LABELS[name])
    return Figure(figure)


def population(frame: Mapping[str, Sequence[str]]) -> Figure:
    """How often each value of each attribute occurs in a data set."""
    names = [name for name in LEXICON if name in frame]
    figure, axes = new_figure(3, 3, width=10, height=6.4)
    for axis, name in zip(axes, names, strict=False):
        values = list(LEXICON[name])
        counts = [sum(value == other for other in frame[name]) for value in values]
        axis.bar(values, counts, color=PALETTE[0])
        axis.set_title(name, loc="left")
        axis.grid(False, axis="x")
        axis.tick_params(axis="x", labelsize=8)
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    axes[0].set_ylabel("clips")
    return Figure(figure)
