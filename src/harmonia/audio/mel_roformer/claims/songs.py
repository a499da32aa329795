"""The songs that claims are measured on, networks with random weights, and the simplest transcription.

All songs are rendered (`harmonia.data.render`): voices of speech synthesisers singing over a synthesised band. Numbers
on them are not comparable with those on MUSDB18-HQ or MIR-ST500; directions are.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import nn

from harmonia.audio.mel_roformer.stems import Stems
from harmonia.core.errors import MissingDependency
from harmonia.data import Song

M = TypeVar("M", bound=nn.Module)
RENDERED = "rendered songs, not recordings"


def rendered(split: Literal["train", "test"], count: int, rate: int, channels: int = 2) -> list[Stems] | None:
    """Songs from the renderer's cache; None where its programs or voices are not installed.

    They are rendered at 44.1 kHz and resampled, so that all claims share them.
    """
    from harmonia.data.render import corpus

    try:
        return [
            Stems.of(f"{split} {number}", *_sides(song, rate, channels), song.notes)
            for number, song in enumerate(corpus(split, count))
        ]
    except MissingDependency:
        return None


def periodicity_notes(samples: np.ndarray, rate: int) -> list[tuple[float, float, float]]:
    """The simplest transcription: the strongest autocorrelation of each frame; a note is a pitch that stays 100 ms."""
    size, hop = 2048, rate // 50
    starts = range(0, max(1, len(samples) - size), hop)
    shortest, longest = int(rate / 1000), int(rate / 80)
    pitches = []
    for start in starts:
        spectrum = np.fft.rfft(samples[start : start + size], 2 * size)
        correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:longest]
        lag = shortest + int(np.argmax(correlation[shortest:]))
        heard = correlation[lag] > 0.5 * correlation[0] > 0
        pitches.append(round(69 + 12 * np.log2(rate / lag / 440)) if heard else -1)
    borders = [0, *(np.flatnonzero(np.diff(pitches)) + 1).tolist(), len(pitches)]
    spans = pairwise(borders)
    return [(a / 50, b / 50, float(pitches[a])) for a, b in spans if b - a >= 5 and pitches[a] >= 0]


def random_network(make: Callable[[Any], M], shape: Any, seed: int) -> M:
    """A network with the initial weights of a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make(shape)


def _sides(song: Song, rate: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    parts = (song.sound("vocals").resampled(rate), song.instrumental.resampled(rate))
    return tuple((part.mono() if channels == 1 else part.stereo()).samples for part in parts)
