"""Whether two collections share recordings: landmarks of the spectrum (Wang 2003).

Peaks of the spectrum are paired into landmarks (frequency, frequency, time between). Two recordings match, whole or in
part, when many common landmarks lie at one offset in time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Int64
from numpy import ndarray
from scipy.ndimage import maximum_filter

from harmonia.audio.music_fm_survey.overlap import Match
from harmonia.core.errors import InputError
from harmonia.media import Audio
from harmonia.parts.spectral import STFT

_RATE, _N_FFT, _HOP = 11025, 1024, 256
_FAN, _REACH = 8, 63
_NEIGHBOURHOOD = (25, 15)
_PEAKS_A_SECOND = 30


def landmarks(sound: Audio) -> Int64[ndarray, "landmarks 2"]:
    """Pairs of spectral peaks as (hash of both frequencies and the time between, frame of the first)."""
    samples = torch.from_numpy(sound.mono().resampled(_RATE).samples[0])
    if len(samples) < _N_FFT:
        raise InputError("the sound is too short to be recognised", f"{sound.seconds:.2f} s", "Pass half a second.")
    level = STFT(_N_FFT, _HOP, pad_mode="constant")(samples).abs().clamp(min=1e-5).log().numpy()
    peaks = np.argwhere((level == maximum_filter(level, _NEIGHBOURHOOD)) & (level > level.max() - 7.0))
    most = int(_PEAKS_A_SECOND * max(1.0, sound.seconds))
    strongest = peaks[np.argsort(-level[tuple(peaks.T)], kind="stable")[:most]]
    bins, frames = strongest[np.lexsort((strongest[:, 0], strongest[:, 1]))].T
    pairs = []
    for first, frame in enumerate(frames):
        last = min(len(frames), int(np.searchsorted(frames, frame + _REACH, side="right")))
        for second in range(first + 1, min(last, first + 1 + _FAN)):
            gap = frames[second] - frame
            if gap > 0:
                pairs.append(((int(bins[first]) << 16) | (int(bins[second]) << 6) | int(gap), int(frame)))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def shared_sounds(
    first: Mapping[str, Audio], second: Mapping[str, Audio], *, threshold: float = 0.1, fewest: int = 8
) -> list[Match]:
    """Recordings that occur in both collections, whole or in part, most alike first.

    Arguments:
        first: Names and sounds, such as the training set.
        second: Names and sounds, such as the test set or what a model generated.
        threshold: Least share of a sound's landmarks that lie at one offset in another.
        fewest: Least number of such landmarks.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> noise = Audio(0.1 * rng.standard_normal(22050), 11025)
        >>> shared_sounds({"a": noise}, {"part": noise.cut(0.5, 1.5)})[0][:2]
        ('a', 'part')
    """
    index: dict[int, list[tuple[str, int]]] = defaultdict(list)
    for name, sound in first.items():
        for key, frame in landmarks(sound).tolist():
            index[key].append((name, frame))
    found = []
    for name, sound in second.items():
        marks = landmarks(sound).tolist()
        offsets: Counter[tuple[str, int]] = Counter()
        for key, frame in marks:
            for other, at in index.get(key, ()):
                offsets[other, at - frame] += 1
        aligned: dict[str, int] = defaultdict(int)
        for (other, offset), _ in offsets.items():
            together = sum(offsets.get((other, offset + near), 0) for near in (-1, 0, 1))
            aligned[other] = max(aligned[other], together)
        for other, count in aligned.items():
            share = min(1.0, count / max(1, len(marks)))
            if share >= threshold and count >= fewest:
                found.append(Match(other, name, share))
    return sorted(found, key=lambda match: (-match.share, match.first, match.second))
