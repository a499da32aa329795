"""How the bins of a spectrum are grouped into bands.

A band is a range of neighbouring bins. Mel bands (arXiv 2310.01809) overlap by half, so a bin has one or two owners;
the other two splits share nothing. Only membership matters: the heights of the mel triangles are never used.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Literal

import numpy as np
from jaxtyping import Float

from harmonia.core.errors import InputError
from harmonia.parts.spectral import mel_corners

Split = Literal["mel", "heuristic", "uniform"]
SPLITS: tuple[Split, ...] = ("mel", "heuristic", "uniform")

# The 60 mel bands of every public 44.1 kHz checkpoint (n_fft 2048): first and last bin of each. A constant, since the
# shapes of the layers depend on it and must not move with the last bit of somebody's logarithm; a test derives it.
MEL_44100_2048_60: tuple[tuple[int, int], ...] = (
    (0, 6), (4, 9), (7, 12), (10, 15), (13, 18), (16, 21), (19, 24), (22, 27),
    (25, 30), (28, 33), (31, 36), (34, 39), (37, 42), (40, 45), (43, 48), (46, 52),
    (49, 55), (53, 59), (56, 64), (60, 68), (65, 73), (69, 78), (74, 83), (79, 89),
    (84, 96), (90, 102), (97, 109), (103, 117), (110, 125), (118, 134), (126, 144), (135, 154),
    (145, 164), (155, 176), (165, 188), (177, 202), (189, 216), (203, 231), (217, 247), (232, 264),
    (248, 283), (265, 303), (284, 324), (304, 347), (325, 371), (348, 397), (372, 425), (398, 454),
    (426, 486), (455, 520), (487, 557), (521, 596), (558, 637), (597, 682), (638, 730), (683, 781),
    (731, 835), (782, 894), (836, 957), (895, 1024),
)  # fmt: skip

# BS-RoFormer (arXiv 2309.02612, sec. 4): bins per band at 44.1 kHz, n_fft 2048: finer at the bottom, 62 bands.
_HEURISTIC_BINS = (2,) * 24 + (4,) * 12 + (12,) * 8 + (24,) * 8 + (48,) * 8 + (128, 129)
_HEURISTIC_HZ_PER_BIN = 44100 / 2048


def bands(split: Split, num_bands: int, sample_rate: int, n_fft: int) -> tuple[range, ...]:
    """The bins of each band, low to high; together they cover every bin.

    Arguments:
        split: ``mel``: the strict insides of the triangles of a Slaney mel filterbank, with bin 0 and the Nyquist
            bin given to the first and last band. ``heuristic``: BS-RoFormer's hand-made split (exactly its 62 bands
            at 44.1 kHz and n_fft 2048), its edges in hertz resampled to `num_bands`. ``uniform``: equal widths.
        num_bands: Number of bands.
        sample_rate: In hertz.
        n_fft: Length of the transform.

    Raises:
        InputError: more bands than the spectrum can fill.

    Example:
        >>> bands("mel", 60, 44100, 2048)[:2]
        (range(0, 7), range(4, 10))
        >>> bands("uniform", 4, 8000, 16)
        (range(0, 2), range(2, 4), range(4, 7), range(7, 9))
    """
    bins = n_fft // 2 + 1
    if not 1 <= num_bands <= bins:
        raise InputError(f"{bins} bins cannot make so many bands", num_bands, f"Ask for 1 to {bins}.")
    if split == "mel" and (sample_rate, n_fft, num_bands) == (44100, 2048, 60):
        ranges = tuple(range(first, last + 1) for first, last in MEL_44100_2048_60)
    elif split == "mel":
        ranges = mel_bands(num_bands, sample_rate, n_fft)
    elif split == "heuristic":
        ranges = _between(_heuristic_edges(num_bands, sample_rate, n_fft))
    elif split == "uniform":
        ranges = _between(np.linspace(0, bins, num_bands + 1))
    else:
        raise InputError("there is no such band split", split, f"Use one of {', '.join(SPLITS)}.")
    if not all(ranges) or set().union(*ranges) != set(range(bins)):
        raise InputError(
            f"these {split} bands leave bins without a band or bands without a bin",
            f"{num_bands} bands of {bins} bins",
            "Use fewer bands or a longer n_fft.",
        )
    return ranges


def mel_bands(num_bands: int, sample_rate: int, n_fft: int) -> tuple[range, ...]:
    """The bins strictly inside each triangle of a Slaney mel filterbank; the ends get bin 0 and the Nyquist bin."""
    hz_per_bin = sample_rate / n_fft
    position = mel_corners(num_bands, 0.0, sample_rate / 2).numpy() / hz_per_bin
    # A bin on a corner (to rounding) is outside the open triangle.
    first = np.floor(position[:-2] + 1e-9).astype(int) + 1
    last = np.ceil(position[2:] - 1e-9).astype(int) - 1
    first[0], last[-1] = 0, n_fft // 2
    return tuple(range(a, b + 1) for a, b in zip(first.tolist(), last.tolist(), strict=True))


def _heuristic_edges(num_bands: int, sample_rate: int, n_fft: int) -> Float[np.ndarray, " edges"]:
    bins = n_fft // 2 + 1
    reference = np.array([0, *accumulate(_HEURISTIC_BINS)]) * (_HEURISTIC_HZ_PER_BIN * n_fft / sample_rate)
    band = np.arange(len(reference))
    top = np.interp(bins, reference, band)
    return np.append(np.interp(np.linspace(0, top, num_bands + 1)[:-1], band, reference), bins)


def _between(edges: Float[np.ndarray, " edges"]) -> tuple[range, ...]:
    return tuple(range(a, b) for a, b in pairwise(np.rint(edges).astype(int).tolist()))
