"""Who sings when: the separated voice in windows, their timbres clustered, the most prevalent singer's stretches cut.

The embedding is plain: the mean cepstrum of the sung frames, which is the spectral envelope. It tells singers apart
whose voices differ clearly; a choir or a duet in unison is one singer to it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy.fft
import torch
from jaxtyping import Bool, Float64, Int64
from numpy import ndarray
from sklearn.cluster import AgglomerativeClustering

from harmonia.audio.s2cap.measures import HOP_S, PIECE, RATE, Sound, Voice
from harmonia.core.errors import InputError
from harmonia.parts.spectral import STFT, MelSpectrogram, mel_filterbank

WINDOW_S = 1.5
COEFFICIENTS = 16
APART = 1.7
"""Mean distance of cepstra, in nepers, from which two windows are two singers."""


class Stretch(NamedTuple):
    """A stretch of a song in seconds."""

    begin: float
    end: float


class Singers(NamedTuple):
    """Who sings when.

    Attributes:
        stretches: Of the most prevalent singer, in order.
        number: How many singers were told apart.
        share: Share of the sung windows that are the prevalent singer's.
    """

    stretches: tuple[Stretch, ...]
    number: int
    share: float


def embed(
    vocals: Sound, sung: Bool[ndarray, " frames"]
) -> tuple[Float64[ndarray, "windows dim"], Float64[ndarray, " windows"]]:
    """Mean cepstrum of the sung frames of each window of 1.5 s, and the middles of the windows in seconds.

    Windows of which less than a third is sung are left out.
    """
    filters = mel_filterbank(RATE, 512, 32, low_hz=80.0).float()
    log_mel = MelSpectrogram(STFT(512, round(HOP_S * RATE), pad_mode="constant"), filters, log_floor=1e-8)
    pieces = []
    for start in range(0, len(vocals), PIECE):
        sound = torch.from_numpy(np.ascontiguousarray(vocals[start : start + PIECE], dtype=np.float32))
        levels = log_mel(sound)[:, : PIECE // log_mel.stft.hop_length].numpy()
        pieces.append(scipy.fft.dct(levels, axis=0, norm="ortho")[1 : COEFFICIENTS + 1].T / np.float32(32**0.5))
    cepstra = np.concatenate(pieces)[: len(sung)]
    size = round(WINDOW_S / HOP_S)
    means, middles = [], []
    for start in range(0, max(1, len(sung) - size // 2), size // 2):
        part = slice(start, start + size)
        if sung[part].sum() >= size / 3:
            means.append(cepstra[part][sung[part]].mean(0, dtype=np.float64))
            middles.append((start + size / 2) * HOP_S)
    return np.array(means).reshape(-1, COEFFICIENTS), np.array(middles)


def cluster(embeddings: Float64[ndarray, "windows dim"], apart: float = APART) -> Int64[ndarray, " windows"]:
    """Number of the singer of each window, by average linkage; 0 is the most prevalent.

    Raises:
        InputError: a distance that is not positive.
    """
    if apart <= 0:
        raise InputError("singers lie a positive distance apart", apart, "Use about 1.")
    if len(embeddings) < 2:
        return np.zeros(len(embeddings), dtype=np.int64)
    found = AgglomerativeClustering(n_clusters=None, distance_threshold=apart, linkage="average")
    labels = found.fit_predict(embeddings)
    order = np.argsort(-np.bincount(labels), kind="stable")
    return np.argsort(order)[labels].astype(np.int64)


def find_singers(vocals: Sound, voice: Voice, gap: float = 1.5) -> Singers:
    """Stretches in which the most prevalent singer sings.

    Arguments:
        vocals: The separated voice, mono, at 16 kHz.
        voice: Its measures.
        gap: Rests up to this length, in seconds, don't end a stretch.
    """
    embeddings, middles = embed(vocals, voice.sung)
    if not len(middles):
        return Singers((), 0, 0.0)
    labels = cluster(embeddings)
    merged: list[list[float]] = []
    for middle in middles[labels == 0].tolist():
        begin, end = max(0.0, middle - WINDOW_S / 2), min(middle + WINDOW_S / 2, len(voice.sung) * HOP_S)
        if merged and begin - merged[-1][1] <= gap:
            merged[-1][1] = end
        else:
            merged.append([begin, end])
    kept = tuple(Stretch(begin, end) for begin, end in merged)
    sizes = np.bincount(labels)
    return Singers(kept, int((sizes >= max(2, 0.1 * len(labels))).sum()), float(sizes[0] / len(labels)))


def cut(stretches: tuple[Stretch, ...], shortest: float = 5.0, longest: float = 30.0) -> list[Stretch]:
    """Clips of `shortest` to `longest` seconds: long stretches in equal parts, short ones left out.

    Raises:
        InputError: lengths that do not rise.

    Example:
        >>> cut((Stretch(0, 4), Stretch(10, 50)))
        [Stretch(begin=10.0, end=30.0), Stretch(begin=30.0, end=50.0)]
    """
    if not 0 < shortest <= longest / 2:
        raise InputError(
            "the longest clip is at least twice the shortest", f"{shortest} and {longest} s", "Change them."
        )
    clips = []
    for begin, end in stretches:
        if end - begin < shortest:
            continue
        parts = int(np.ceil((end - begin) / longest - 1e-9))
        edges = np.linspace(begin, end, parts + 1).tolist()
        clips += [Stretch(a, b) for a, b in pairwise(edges)]
    return clips
