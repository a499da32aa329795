"""The picture of a sound: waveform above, spectrogram with mel-spaced frequencies below.

A picture has about 1,400 columns however long the sound is, so only that many frames are analysed: an hour is drawn
as fast as a minute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from harmonia.media.figure import INK, PALETTE, SEQUENTIAL, colour_bar, new_figure, time_axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MatplotlibFigure

COLUMNS = 1400
BANDS = 160
RANGE_DB = 80.0
TICKS_HZ = (100, 300, 1_000, 3_000, 10_000, 20_000)


def draw(samples: Float[np.ndarray, "channels time"], rate: int) -> MatplotlibFigure:
    """Waveform (envelope of all channels) and spectrogram (mean power of all channels, dB below its maximum)."""
    seconds = samples.shape[1] / rate
    figure, (wave, picture) = new_figure(2, 1, width=9, height=4.8, height_ratios=(1, 2.6), sharex=True)

    low, high = envelope(samples)
    at = np.linspace(0, seconds, len(low))
    wave.fill_between(at, low, high, color=PALETTE[0], linewidth=0.6, edgecolor=PALETTE[0])
    limit = max(1e-4, float(np.abs([low, high]).max()) * 1.08)
    wave.set_ylim(-limit, limit)
    wave.set_ylabel("amplitude")

    decibels = mel_decibels(samples, rate)
    top = mel(rate / 2)
    image = picture.imshow(
        decibels,
        origin="lower",
        aspect="auto",
        extent=(0, seconds, 0, top),
        cmap=SEQUENTIAL,
        vmin=-RANGE_DB,
        vmax=0,
        interpolation="bilinear",
    )
    picture.grid(False)
    ticks = [t for t in TICKS_HZ if t < rate / 2]
    picture.set_yticks([mel(t) for t in ticks], [f"{t // 1000}k" if t >= 1000 else str(t) for t in ticks])
    picture.set_ylabel("frequency (Hz)")
    time_axis(picture, seconds)
    colour_bar(picture, image, "dB below maximum")
    wave.text(
        1.0,
        1.03,
        f"{_length(seconds)} · {rate:,} Hz · {_channels(samples.shape[0])}",
        transform=wave.transAxes,
        ha="right",
        color=INK,
        fontsize=9,
    )
    return figure


def envelope(samples: Float[np.ndarray, "channels time"]) -> Float[np.ndarray, "2 columns"]:
    """Lowest and highest sample over all channels in at most `COLUMNS` stretches of time."""
    edges = np.linspace(0, samples.shape[1], min(COLUMNS, samples.shape[1]) + 1).astype(np.int64)[:-1]
    low = np.minimum.reduceat(samples, edges, axis=1).min(0)
    high = np.maximum.reduceat(samples, edges, axis=1).max(0)
    return np.stack([low, high])


def mel_decibels(samples: Float[np.ndarray, "channels time"], rate: int) -> Float[np.ndarray, "bands columns"]:
    """Power in mel bands at up to `COLUMNS` moments, in dB below the largest, down to ``-RANGE_DB``."""
    return below_maximum(mel_power(samples, rate))


def below_maximum(power: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Powers in dB below the largest of them, down to ``-RANGE_DB``."""
    decibels = 10 * np.log10(np.maximum(power, 1e-20))
    return np.maximum(decibels - decibels.max(), -RANGE_DB)


def mel_power(samples: Float[np.ndarray, "channels time"], rate: int) -> Float[np.ndarray, "bands columns"]:
    """Power of all channels in mel bands at up to `COLUMNS` moments."""
    size = 1 << max(6, round(np.log2(0.046 * rate)))
    length = samples.shape[1]
    columns = max(1, min(COLUMNS, length // max(1, size // 8)))
    centres = ((np.arange(columns) + 0.5) * length / columns).astype(np.int64)
    at = centres[:, None] + np.arange(-size // 2, size // 2)
    inside = (at >= 0) & (at < length)
    window = np.hanning(size).astype(np.float32)
    power = np.zeros((columns, size // 2 + 1))
    for channel in samples:
        frames = np.where(inside, channel[at.clip(0, length - 1)], 0) * window
        power += np.abs(np.fft.rfft(frames)) ** 2
    return (power @ _bands(size, rate).T).T


def mel(hertz: float) -> float:
    """O'Shaughnessy's mel scale, ``2595 log10(1 + f / 700)``."""
    return 2595.0 * float(np.log10(1 + hertz / 700.0))


def _bands(size: int, rate: int) -> Float[np.ndarray, "bands bins"]:
    """Triangles on the mel scale; a band narrower than a bin takes its nearest bins by interpolation."""
    bins = np.arange(size // 2 + 1) * rate / size
    centres = 700 * (10 ** (np.linspace(0, mel(rate / 2), BANDS + 2) / 2595) - 1)
    width = np.maximum(np.diff(centres), rate / size)
    rise = 1 - (centres[1:-1, None] - bins) / width[:-1, None]
    fall = 1 - (bins - centres[1:-1, None]) / width[1:, None]
    weights = np.maximum(0, np.minimum(rise, fall))
    return weights / weights.sum(1, keepdims=True)


def _length(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 60 else f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"


def _channels(count: int) -> str:
    return {1: "mono", 2: "stereo"}.get(count, f"{count} channels")
