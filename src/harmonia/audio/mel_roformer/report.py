"""Pictures of a separation, of a transcription and of a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from harmonia.audio.mel_roformer.decoding import NoteList
from harmonia.media import Audio, Figure
from harmonia.media.figure import MUTED, PALETTE, SEQUENTIAL, colour_bar, legend, new_figure, time_axis
from harmonia.parts.spectral import STFT, MelSpectrogram, hz_to_mel, mel_filterbank

COLUMNS = 1400
BANDS = 128
N_FFT = 2048
RANGE_DB = 80.0
TICKS_HZ = (100, 300, 1_000, 3_000, 10_000)
NAMES = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
LABELS = {
    "loss": "training loss",
    "si_sdr": "SI-SDR of held-out vocals (dB)",
    "gain": "SI-SDR gain over the mixture (dB)",
    "con": "F1: onset",
    "conp": "F1: onset, pitch",
    "conpoff": "F1: onset, pitch, offset",
}


def separation(mixture: Audio, vocals: Audio, instrumental: Audio, melody: NoteList) -> Figure:
    """Spectrogram of the mixture with the notes found, share of the voice, what is left, and loudness of all three.

    Arguments:
        mixture: The song.
        vocals: Its voice, at the same rate and of the same length.
        instrumental: The rest.
        melody: Notes to draw at their fundamental frequency.
    """
    powers = [_mel_power(sound) for sound in (mixture, vocals, instrumental)]
    loudest = max(float(powers[0].max()), 1e-12)
    figure, axes = new_figure(4, 1, width=10, height=10.5, height_ratios=(2, 2, 2, 1), sharex=True, grid=False)
    share = powers[1] / np.maximum(powers[1] + powers[2], 1e-9 * loudest)
    pictures = (
        ("Mixture, and the notes that were found", _decibels(powers[0], loudest), -RANGE_DB, 0.0, "dB below maximum"),
        ("Share of the voice", share, 0.0, 1.0, "of the power"),
        ("Instrumental", _decibels(powers[2], loudest), -RANGE_DB, 0.0, "dB below maximum"),
    )
    for axis, (title, picture, low, high, unit) in zip(axes, pictures, strict=False):
        _spectrogram(axis, picture, mixture, low, high, unit)
        axis.set_title(title, loc="left")
    _note_roll(axes[0], melody)
    for sound, name, colour in zip(
        (mixture, vocals, instrumental), ("mixture", "vocals", "instrumental"), (MUTED, *PALETTE[1:3]), strict=True
    ):
        times, level = _loudness(sound)
        axes[3].plot(times, level, color=colour, label=name, linewidth=1.2)
    axes[3].set_ylabel("level (dBFS)")
    axes[3].set_ylim(-70, 3)
    axes[3].grid(True, alpha=0.4)
    legend(axes[3], ncols=3, loc="lower right")
    time_axis(axes[3], mixture.seconds)
    return Figure(figure)


def transcription(
    mixture: Audio,
    melody: NoteList,
    probabilities: tuple[Float[ndarray, " frames"], Float[ndarray, "frames 89"], Float[ndarray, " frames"]],
) -> Figure:
    """What the network believes, frame by frame, and the notes decoded from it."""
    onset, pitch, times = probabilities
    figure, axes = new_figure(3, 1, width=10, height=8.5, height_ratios=(2, 2, 0.8), sharex=True, grid=False)
    power = _mel_power(mixture)
    _spectrogram(axes[0], _decibels(power, max(float(power.max()), 1e-12)), mixture, -RANGE_DB, 0.0, "dB below maximum")
    _note_roll(axes[0], melody)
    axes[0].set_title("Mixture, and the notes that were found", loc="left")
    low, high = (int(melody.midi.min()) - 4, int(melody.midi.max()) + 5) if len(melody) else (40, 84)
    extent = (float(times[0]), float(times[-1]), 20.5, 108.5)
    belief = axes[1].imshow(
        pitch[:, :-1].T, origin="lower", aspect="auto", extent=extent, cmap=SEQUENTIAL, vmin=0, vmax=1
    )
    for start, stop, midi in melody:
        axes[1].plot([start, stop], [midi, midi], color=PALETTE[5], linewidth=2, solid_capstyle="butt")
    axes[1].set_ylim(low, high)
    thirds = [midi for midi in range(24, 109, 4) if low <= midi <= high]
    axes[1].set_yticks(thirds, [f"{NAMES[midi % 12]}{midi // 12 - 1}" for midi in thirds])
    axes[1].set_ylabel("pitch")
    axes[1].set_title("Probability of each pitch", loc="left")
    colour_bar(axes[1], belief, "probability")
    axes[2].plot(times, onset, color=PALETTE[1], linewidth=1.0)
    axes[2].set_ylim(0, 1.02)
    axes[2].set_ylabel("onset")
    time_axis(axes[2], mixture.seconds)
    return Figure(figure)


def run(history: Sequence[Mapping[str, float | int]]) -> Figure:
    """Loss and held-out scores over the steps of a training run."""
    names = [name for name in LABELS if history and name in history[-1]]
    figure, axes = new_figure(1, max(1, len(names)), width=3.4 * max(2, len(names)), height=3.2)
    for number, (axis, name) in enumerate(zip(axes, names, strict=False)):
        axis.plot([r["step"] for r in history], [r[name] for r in history], "o-", color=PALETTE[number], markersize=3)
        axis.set_xlabel("step")
        axis.set_title(LABELS[name])
    return Figure(figure)


def _mel_power(sound: Audio) -> Float[ndarray, "bands columns"]:
    samples = torch.from_numpy(sound.samples)
    hop = max(N_FFT // 4, samples.shape[-1] // COLUMNS)
    samples = torch.nn.functional.pad(samples, (0, max(0, N_FFT - samples.shape[-1])))
    filters = mel_filterbank(sound.rate, N_FFT, BANDS, scale="htk", norm=None)
    spectrogram = MelSpectrogram(STFT(N_FFT, hop, pad_mode="constant"), filters)
    return sum(spectrogram(channel) for channel in samples).numpy()  # type: ignore[union-attr]


def _decibels(power: Float[ndarray, "*shape"], loudest: float) -> Float[ndarray, "*shape"]:
    return 10 * np.log10(np.maximum(power / loudest, 10 ** (-RANGE_DB / 10)))


def _spectrogram(axis: Any, picture: ndarray, sound: Audio, low: float, high: float, unit: str) -> None:
    top = _mel(sound.rate / 2)
    image = axis.imshow(
        picture, origin="lower", aspect="auto", extent=(0, sound.seconds, 0, top), cmap=SEQUENTIAL, vmin=low, vmax=high
    )
    ticks = [hz for hz in TICKS_HZ if hz < sound.rate / 2]
    axis.set_yticks([_mel(hz) for hz in ticks], [f"{hz // 1000}k" if hz >= 1000 else str(hz) for hz in ticks])
    axis.set_ylabel("frequency (Hz)")
    colour_bar(axis, image, unit)


def _note_roll(axis: Any, melody: NoteList) -> None:
    for start, stop, midi in melody:
        height = _mel(440 * 2 ** ((midi - 69) / 12))
        axis.plot([start, stop], [height, height], color=PALETTE[5], linewidth=2, solid_capstyle="butt")


def _mel(hertz: float | int) -> float:
    return float(hz_to_mel(torch.tensor(float(hertz)), "htk"))


def _loudness(sound: Audio, window_s: float = 0.4) -> tuple[ndarray, ndarray]:
    """Level of windows in dB below full scale."""
    size = min(max(1, round(window_s * sound.rate)), sound.samples.shape[1])
    count = max(1, sound.samples.shape[1] // size)
    power = np.square(sound.samples[:, : count * size]).mean(0).reshape(count, size).mean(1)
    return (np.arange(count) + 0.5) * size / sound.rate, 10 * np.log10(np.maximum(power, 1e-9))
