"""Pictures of a separation and of a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from harmonia.audio.mossformer2.activity import FRAME_S, Activity, level_db, residual_db
from harmonia.audio.mossformer2.separator import Separation
from harmonia.media import Figure
from harmonia.media.figure import INK, MUTED, PALETTE, SEQUENTIAL, colour_bar, legend, new_figure, time_axis
from harmonia.media.spectrogram import RANGE_DB, below_maximum, mel, mel_power

TICKS_HZ = (100, 300, 1_000, 3_000, 7_000)
UNSURE = 0.2
LABELS = {
    "loss": "training loss (negative SI-SNR, dB)",
    "si_sdr": "SI-SDR of held-out speakers (dB)",
    "gain": "SI-SDR gain over the mixture (dB)",
}


def separation(result: Separation, activity: Activity) -> Figure:
    """Spectrograms of recording and speakers, who talks when, how sure the joints are, and what is left over.

    Arguments:
        result: What the recording was separated into.
        activity: Who talks when in it.
    """
    count = len(result.speakers)
    ratios = (*[1.5] * (count + 1), 0.3 + 0.22 * count, 0.8, 0.9)
    figure, axes = new_figure(
        len(ratios), 1, width=10, height=1.35 * sum(ratios) + 0.8, height_ratios=ratios, sharex=True
    )
    seconds = len(result.mixture) / result.rate
    names = ["Recording", *(f"Speaker {number}" for number in range(1, count + 1))]
    # One after the other in one picture, so that all have the same 0 dB.
    powers = [mel_power(sound[None], result.rate) for sound in (result.mixture, *result.speakers)]
    pictures = np.array_split(below_maximum(np.concatenate(powers, axis=1)), count + 1, axis=1)
    for axis, name, picture in zip(axes, names, pictures, strict=False):
        _spectrogram(axis, picture, result.rate, seconds)
        axis.set_title(name, loc="left")
    _timeline(axes[count + 1], activity, count)
    _joints(axes[count + 2], result, seconds)
    _residual(axes[count + 3], result)
    time_axis(axes[-1], seconds)
    return Figure(figure)


def run(history: Sequence[Mapping[str, float | int]]) -> Figure:
    """Loss and held-out scores over the steps of a training run."""
    names = [name for name in LABELS if history and name in history[-1]]
    figure, axes = new_figure(1, max(1, len(names)), width=3.6 * max(2, len(names)), height=3.2)
    for number, (axis, name) in enumerate(zip(axes, names, strict=False)):
        axis.plot([r["step"] for r in history], [r[name] for r in history], "o-", color=PALETTE[number], markersize=3)
        axis.set_xlabel("step")
        axis.set_title(LABELS[name])
    return Figure(figure)


def _spectrogram(axis: Any, picture: ndarray, rate: int, seconds: float) -> None:
    extent = (0, seconds, 0, mel(rate / 2))
    image = axis.imshow(
        picture, origin="lower", aspect="auto", extent=extent, cmap=SEQUENTIAL, vmin=-RANGE_DB, vmax=0.0
    )
    ticks = [hz for hz in TICKS_HZ if hz < rate / 2]
    axis.set_yticks([mel(hz) for hz in ticks], [f"{hz // 1000}k" if hz >= 1000 else str(hz) for hz in ticks])
    axis.set_ylabel("frequency (Hz)")
    axis.grid(False)
    colour_bar(axis, image, "dB below maximum")


def _timeline(axis: Any, activity: Activity, count: int) -> None:
    for start, stop, number in activity.turns:
        axis.barh(number, stop - start, left=start, height=0.62, color=PALETTE[number - 1])
    axis.set_ylim(count + 0.6, 0.4)
    axis.set_yticks(range(1, count + 1), [f"speaker {number}" for number in range(1, count + 1)])
    axis.set_title("Who talks when", loc="left")


def _joints(axis: Any, result: Separation, seconds: float) -> None:
    axis.set_title("How sure it is who is who where two pieces meet", loc="left")
    axis.set_ylim(0, 1.08)
    axis.set_ylabel("confidence")
    if not result.joints:
        axis.text(
            seconds / 2,
            0.5,
            "no pieces were matched",
            ha="center",
            va="center",
            color=MUTED,
            fontsize=9,
        )
        return
    at = np.array([joint.seconds for joint in result.joints])
    sure = np.array([joint.confidence for joint in result.joints])
    swapped = np.array([joint.swapped for joint in result.joints])
    axis.axhline(UNSURE, color=MUTED, linestyle=":", linewidth=1)
    axis.vlines(at, 0, sure, color=MUTED, linewidth=1)
    groups = (("order kept", ~swapped & (sure >= UNSURE), PALETTE[2], "o"), ("reordered", swapped, PALETTE[0], "D"))
    for label, chosen, colour, marker in groups:
        axis.plot(at[chosen], sure[chosen], marker, color=colour, markersize=5, label=label, linestyle="none")
    doubtful = ~swapped & (sure < UNSURE)
    if doubtful.any():
        axis.plot(at[doubtful], sure[doubtful], "x", color=PALETTE[1], markersize=6, label="in doubt", linestyle="none")
    legend(axis, ncols=3, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.1)


def _residual(axis: Any, result: Separation) -> None:
    sounds = (result.mixture, *result.speakers, result.mixture - result.speakers.sum(0))
    levels = np.concatenate([level_db(sound[None], result.rate) for sound in sounds])
    width = 8
    levels = np.stack([np.convolve(10 ** (row / 10), np.ones(width) / width, "same") for row in levels])
    times = (np.arange(levels.shape[1]) + 0.5) * FRAME_S
    left = f"in no output ({max(0.0, -residual_db(result.mixture, result.speakers)):.0f} dB below)"
    names = ["recording", *(f"speaker {number}" for number in range(1, len(sounds) - 1)), left]
    colours = [MUTED, *PALETTE[: len(sounds) - 2], INK]
    for row, name, colour in zip(levels, names, colours, strict=True):
        line = "--" if name == left else "-"
        axis.plot(times, 10 * np.log10(row + 1e-9), line, color=colour, linewidth=1.1, label=name)
    axis.set_ylabel("level (dBFS)")
    axis.set_ylim(-75, 3)
    axis.set_title("Levels", loc="left")
    legend(axis, ncols=len(names), loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.1)
