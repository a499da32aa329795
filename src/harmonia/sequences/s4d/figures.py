"""Pictures: what a model heard and when, its kernels and eigenvalues, a training run, a forecast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from harmonia.media import Audio, Figure, Series
from harmonia.media.figure import INK, MUTED, PALETTE, SEQUENTIAL, colour_bar, concise_dates, legend, new_figure
from harmonia.sequences.s4d.kernel import S4DKernel
from harmonia.sequences.s4d.network import S4DModel

SHOWN = ("slowest head", "middle", "fastest")
"""Kernels drawn a layer, by their step."""


def listening(
    sound: Audio,
    running: Float[np.ndarray, "time classes"],
    classes: Sequence[str],
    windows: Sequence[tuple[float, float, str, float]],
) -> Figure:
    """The sound with what was heard in each window, and how sure the model was after every sample.

    Arguments:
        sound: As the model hears it.
        running: Probability of each class, given the window up to each moment.
        classes: Their names.
        windows: Start and end in seconds, class, probability.
    """
    title = f"Heard: {' '.join(word for _, _, word, _ in windows[:12])}{' …' if len(windows) > 12 else ''}"
    figure, (top, bottom) = new_figure(
        2, 1, title=title, width=10, height=2.4 + 0.24 * len(classes), height_ratios=(1, 1.6), sharex=True, grid=False
    )
    wave = sound.mono().samples[0]
    points = min(len(wave), 4000)
    edges = np.linspace(0, len(wave), points + 1).astype(int)
    low, high = (reduce.reduceat(wave, edges[:-1]) for reduce in (np.minimum, np.maximum))
    top.fill_between(edges[:-1] / sound.rate, low, high, color=PALETTE[0], linewidth=0)
    top.set_ylabel("amplitude")
    reach = 1.25 * max(float(np.abs(wave).max()), 1e-6)
    top.set_ylim(-reach, reach * 1.25)
    for start, end, word, sure in windows:
        top.axvline(start, color=MUTED, linewidth=0.8)
        if len(windows) <= 24:
            label = f"{word}\n{sure:.0%}" if len(windows) <= 12 else word
            top.text((start + end) / 2, reach * 1.2, label, ha="center", va="top", fontsize=9, color=INK)
    step = max(1, len(running) // 2000)
    picture = bottom.imshow(
        running[::step].T,
        aspect="auto",
        origin="lower",
        cmap=SEQUENTIAL,
        vmin=0,
        vmax=1,
        extent=(0, sound.seconds, -0.5, len(classes) - 0.5),
        interpolation="nearest",
    )
    for start, *_ in windows:
        bottom.axvline(start, color="white", linewidth=0.6)
    bottom.set_yticks(range(len(classes)), list(classes))
    bottom.set_xlabel("time (s)")
    bottom.set_xlim(0, sound.seconds)
    colour_bar(bottom, picture, "probability so far")
    return Figure(figure)


def model_kernels(model: S4DModel, rate_hz: float = 0.0) -> Figure:
    """Kernels, eigenvalues and step responses of every layer.

    Arguments:
        model: The network.
        rate_hz: Sampling rate it was trained at, for axes in seconds and hertz; 0 counts samples.
    """
    kernels: list[S4DKernel] = [layer.kernel for layer in model.layers]  # type: ignore[misc]
    unit = 1 / rate_hz if rate_hz else 1.0
    figure, axes = new_figure(
        len(kernels), 3, title="What each layer remembers, and at which pitch", width=13, height=2.6 * len(kernels)
    )
    with torch.no_grad():
        for row, (kernel, left, middle, right) in enumerate(zip(kernels, axes[::3], axes[1::3], axes[2::3])):
            dt = kernel.step_size()
            pole = dt * kernel.pole()
            memory = -1 / pole.real
            length = int(min(4 * float(memory.quantile(0.9)), 20_000)) + 16
            chosen = dt[:, 0].argsort()[torch.linspace(0, len(dt) - 1, len(SHOWN)).long()]
            responses = kernel.kernel(length)[0, chosen].cpu().numpy()
            lags = np.arange(length) * unit
            for name, response in zip(SHOWN, responses):
                scale = np.abs(response).max() or 1.0
                left.plot(lags, response / scale, linewidth=1, label=name)
                total = np.cumsum(response)
                right.plot(lags, total / (np.abs(total).max() or 1.0), linewidth=1)
            turns = pole.imag.abs() / (2 * np.pi * unit)
            middle.scatter(memory.flatten() * unit, turns.flatten(), s=7, alpha=0.35, linewidth=0, color=PALETTE[0])
            middle.axhline(0.5 / unit, color=MUTED, linewidth=1, linestyle="--")
            middle.set_xscale("log")
            middle.set_yscale("symlog", linthresh=0.5 / unit / 100)
            middle.set_ylim(bottom=-0.05 / unit / 100)
            left.set_ylabel(f"layer {row + 1}")
            for axis in (left, right):
                axis.set_xscale("symlog", linthresh=max(unit * 10, lags[-1] / 200))
                axis.set_xlim(0, lags[-1])
    clock = "s" if rate_hz else "samples"
    axes[0].set_title("Kernels, the largest weight at 1", loc="left")
    axes[1].set_title("Eigenvalues (dashed: Nyquist rate)", loc="left")
    axes[2].set_title("Answer to a step, the largest at 1", loc="left")
    legend(axes[0], loc="lower right", fontsize=8)
    axes[-3].set_xlabel(f"lag ({clock})")
    axes[-2].set_xlabel(f"memory ({clock})")
    axes[-1].set_xlabel(f"time after the step ({clock})")
    for axis in axes[1::3]:
        axis.set_ylabel("frequency (Hz)" if rate_hz else "cycles a sample")
    return Figure(figure)


def training(
    history: Sequence[Mapping[str, Any]], confusion: Float[np.ndarray, "k k"] | None, names: Sequence[str]
) -> Figure:
    """Loss over the run and, for classes, which were taken for which in the held-out part."""
    if confusion is None:
        figure, [left] = new_figure(title="Training")
    else:
        title = f"{np.trace(confusion) / max(confusion.sum(), 1):.1%} of held-out sequences are right"
        figure, (left, right) = new_figure(1, 2, title=title, width=11, height=4.6)
        share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
        picture = right.imshow(share, cmap="Blues", vmin=0, vmax=1)
        right.grid(False)
        shown = range(len(names)) if len(names) <= 20 else range(0, len(names), len(names) // 10)
        right.set_xticks(list(shown), [names[i] for i in shown], rotation=60, ha="right")
        right.set_yticks(list(shown), [names[i] for i in shown])
        right.set_xlabel("predicted")
        right.set_ylabel("true")
        colour_bar(right, picture, "share of the true class")
    left.plot([each["step"] for each in history], [each["loss"] for each in history], marker="o", markersize=3)
    left.set_xlabel("step")
    left.set_ylabel("training loss")
    left.set_ylim(bottom=0)
    return Figure(figure)


def forecasts(
    past: Series,
    quantiles: Float[np.ndarray, "3 horizon variables"],
    ahead: np.ndarray,
    rivals: Mapping[str, float],
) -> Figure:
    """The end of a series, what comes next with its 90% interval, and how good that was on the held-out end.

    Arguments:
        past: The series.
        quantiles: 5%, 50% and 95% of what comes next.
        ahead: Its times.
        rivals: Score of each forecaster on the held-out end, the best the lowest.
    """
    shown = min(past.values.shape[1], 3)
    figure, axes = new_figure(
        shown, 2, title="What comes next", width=11.5, height=max(3.2, 2.6 * shown), width_ratios=(2.2, 1)
    )
    tail = slice(max(0, len(past) - 5 * len(ahead)), None)
    for i in range(shown):
        axis = axes[2 * i]
        axis.plot(past.times[tail], past.values[tail, i], color=INK, linewidth=1.1, label="past")
        axis.fill_between(ahead, quantiles[0, :, i], quantiles[2, :, i], color=PALETTE[0], alpha=0.2, linewidth=0)
        axis.plot(ahead, quantiles[1, :, i], color=PALETTE[0], linewidth=1.6, label="forecast, with 90% interval")
        axis.set_ylabel(past.names[i])
        if past.times.dtype.kind == "M":
            concise_dates(axis)
        if i:
            axes[2 * i + 1].set_visible(False)
    legend(axes[0], loc="upper left")
    axes[2 * (shown - 1)].set_xlabel("time")
    names = sorted(rivals, key=lambda name: -rivals[name])
    colours = [PALETTE[0] if name == "S4D" else MUTED for name in names]
    axes[1].barh(names, [rivals[name] for name in names], color=colours)
    axes[1].set_xlabel("CRPS, held-out end (lower is better)")
    return Figure(figure)
