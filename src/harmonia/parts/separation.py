"""Separated sources that come in no order: which estimate is which source, in training, in scoring and over time.

A network that separates alike sources (speakers) may give them in any order. Its loss is taken over the best order
(permutation-invariant training, arXiv 1607.00325), and where a long recording is separated in overlapping chunks each
chunk's sources must be put into the order of those before.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.parts.spectral import STFT, MelSpectrogram, mel_filterbank

_EPS = 1e-8


class Order(NamedTuple):
    """Which estimate belongs to which source.

    Attributes:
        permutation: ``permutation[i]`` is the estimate of source i.
        margin: Half of how far the score of the best order is above that of the second best; the second best
            exchanges at least two, so scores of 0 and 1 give margins of 0 to 1.
    """

    permutation: Int[ndarray, " sources"]
    margin: float


def best_order(score: Float[ndarray, "sources estimates"]) -> Order:
    """The one-to-one assignment with the largest sum of scores.

    Arguments:
        score: Entry (i, j) says how well estimate j fits source i.

    Example:
        >>> order = best_order(np.array([[0.1, 0.9], [0.8, 0.0]]))
        >>> order.permutation.tolist(), round(order.margin, 2)
        ([1, 0], 0.8)
    """
    if score.ndim != 2 or score.shape[0] != score.shape[1] or not np.isfinite(score).all():
        raise InputError("scores of an order form a square", f"shape {score.shape}", "Pass finite scores, n by n.")
    rows, best = linear_sum_assignment(score, maximize=True)
    count, total = len(rows), float(score[rows, best].sum())
    # The second best order differs from the best in at least one pair: forbid each in turn.
    rivals = []
    for row in rows if count > 1 else []:
        without = score.astype(np.float64)
        without[row, best[row]] = score.min() - count * (score.max() - score.min() + 1.0)
        columns = linear_sum_assignment(without, maximize=True)[1]
        rivals.append(float(score[rows, columns].sum()))
    return Order(best.astype(np.int64), (total - max(rivals)) / 2 if rivals else float("inf"))


def pairwise_si_snr(
    estimate: Float[Tensor, "batch sources time"], reference: Float[Tensor, "batch references length"]
) -> Float[Tensor, "batch sources sources"]:
    """Scale-invariant signal-to-noise ratio in dB of every estimate (last axis) for every reference.

    With means removed, ``10 log10(|a s|^2 / |e - a s|^2)`` where ``a = <e, s> / |s|^2`` (arXiv 1811.02508), and 1e-8
    added to either energy.

    Example:
        >>> s = torch.eye(2, 8)[None] - 0.125
        >>> pairwise_si_snr(s.flip(1), s).round()[0].fill_diagonal_(0)
        tensor([[ 0., 79.],
                [79.,  0.]])
    """
    if estimate.shape != reference.shape:
        got = f"{tuple(estimate.shape)} and {tuple(reference.shape)}"
        raise InputError("estimates and references differ in shape", got, "Pass as many, of the same length.")
    e = estimate - estimate.mean(-1, keepdim=True)
    s = reference - reference.mean(-1, keepdim=True)
    # |e - a s|^2 = |e|^2 - a^2 |s|^2 would cancel, so what is left of each pair is written out.
    scale = (s @ e.transpose(1, 2)) / (s.square().sum(-1, keepdim=True) + _EPS)
    target = scale.unsqueeze(-1) * s.unsqueeze(2)
    power = target.square().sum(-1)
    noise = (e.unsqueeze(1) - target).square().sum(-1)
    return 10 * torch.log10((power + _EPS) / (noise + _EPS))


def pit_si_snr(
    estimate: Float[Tensor, "batch sources time"], reference: Float[Tensor, "batch references length"]
) -> tuple[Float[Tensor, ""], Int[Tensor, "batch sources"]]:
    """Negative SI-SNR in dB, mean over sources under the best order of each utterance, mean over the batch.

    Returns:
        The loss, and the order: entry i of an utterance is the estimate of source i.

    Example:
        >>> s = torch.randn(1, 2, 800, generator=torch.Generator().manual_seed(0))
        >>> loss, order = pit_si_snr(s.flip(1), s)
        >>> bool(loss < -60), order.tolist()
        (True, [[1, 0]])
    """
    score = pairwise_si_snr(estimate, reference)
    found = [best_order(each).permutation for each in score.detach().cpu().double().numpy()]
    order = torch.from_numpy(np.stack(found)).to(score.device)
    return -score.gather(2, order.unsqueeze(2)).mean(), order


def mixture_gains(
    mixture: Float[ndarray, " time"], estimates: Float[ndarray, "sources time"], ridge: float = 1e-6
) -> Float[ndarray, " sources"]:
    """Gains under which the sum of the estimates is nearest to the mixture: ``min_a |x - sum_i a_i y_i|^2``.

    Estimates of a scale-invariant loss have any scale and any sign; this brings both back: a source correlates with a
    mixture it is part of. Where estimates are so alike that one would be subtracted from another all the same, each
    gets the gain that fits it to the mixture alone, and all of them one more that fits their sum.

    Arguments:
        mixture: What was separated.
        estimates: What came out.
        ridge: Penalty on the gains of estimates of unit power, so that of copies none gets an infinite gain; an
            estimate of nothing but zeros gets 0.

    Example:
        >>> a, b = np.sin(np.arange(100.0)), np.cos(0.3 * np.arange(100.0))
        >>> mixture_gains(a + b, np.stack([2 * a, -b])).round(3)
        array([ 0.5, -1. ])
    """
    y, x = estimates.astype(np.float64), mixture.astype(np.float64)
    norms = np.linalg.norm(y, axis=1)
    gains = np.zeros(len(y))
    heard = norms > 0
    if not heard.any():
        return gains
    unit = y[heard] / norms[heard, None]
    alone = unit @ x
    share = np.linalg.solve(unit @ unit.T + ridge * np.eye(len(unit)), alone)
    if (share * alone < 0).any():
        total = alone @ unit
        share = alone * (total @ x) / max(float(total @ total), 1e-30)
    gains[heard] = share / norms[heard]
    return gains


class Stitcher:
    """Puts the sources of overlapping chunks, given from left to right, into one order.

    The order of a chunk is that whose sources correlate most with those before over the overlap, source by source;
    a source that is silent there says nothing. Where this leaves the order open (pauses in the overlap), the chunk's
    long-term mel spectra are compared with those of the sources so far: nothing is learnt about voices, but a deep
    voice is not taken for a high one.

    Arguments:
        sources: Their number.
        rate: Sampling rate in hertz.
        silence_db: What is so far below the loudest source of an overlap is silent.
        clear: Margin of mean correlation from which on the overlap decides alone.

    Example:
        >>> a, b = np.random.default_rng(0).normal(size=(2, 8000))
        >>> stitcher = Stitcher(sources=2, rate=8000)
        >>> first = stitcher.place(0, np.stack([a[:5000], b[:5000]]))
        >>> second = stitcher.place(4000, np.stack([b[4000:], a[4000:]]))
        >>> second.permutation.tolist()
        [1, 0]
    """

    def __init__(self, sources: int, rate: int, *, silence_db: float = -40.0, clear: float = 0.1) -> None:
        self.sources, self.silence_db, self.clear = sources, silence_db, clear
        size = 512 if rate >= 8000 else 256
        filters = mel_filterbank(rate, size, 24, scale="htk", norm=None)
        self._spectrum = MelSpectrogram(STFT(size, size // 2, pad_mode="constant"), filters)
        self._start = 0
        self._last: Float[ndarray, "sources time"] = np.zeros((sources, 0), dtype=np.float32)
        self._power = np.zeros((sources, 24))

    def place(self, start: int, estimates: Float[ndarray, "sources time"]) -> Order:
        """The order of a chunk that starts at sample `start`; the first chunk keeps its own, with margin 1.

        Raises:
            InputError: another number of sources, or chunks that do not follow one another.
        """
        if estimates.shape[0] != self.sources or start < self._start:
            got = f"{estimates.shape[0]} sources at sample {start}"
            raise InputError(f"chunks of {self.sources} sources come from left to right", got, "Keep that order.")
        power = self._mel_power(estimates)
        order = Order(np.arange(self.sources), 1.0)
        if self._last.shape[1]:
            order = self._order(start, estimates, power)
        placed = estimates[order.permutation]
        self._start, self._last = start, placed.copy()
        self._power = 0.8 * self._power + power[order.permutation]
        return order

    def _order(self, start: int, estimates: ndarray, power: ndarray) -> Order:
        before = self._last[:, start - self._start :].astype(np.float64)
        now = estimates[:, : before.shape[1]].astype(np.float64)
        before = before[:, : now.shape[1]]
        order = best_order(_correlation(before, now, self.silence_db))
        if order.margin >= self.clear:
            return Order(order.permutation, min(1.0, order.margin))
        likeness = _likeness(self._power, power, self.silence_db)
        order = best_order(_correlation(before, now, self.silence_db) + likeness)
        # Long-term spectra can be alike by chance: such an order is never as sure as one from the waveform.
        return Order(order.permutation, min(0.5, order.margin))

    def _mel_power(self, estimates: ndarray) -> Float[ndarray, "sources bands"]:
        return self._spectrum(torch.from_numpy(estimates.astype(np.float32))).mean(-1).double().numpy()


def _correlation(a: ndarray, b: ndarray, silence_db: float) -> Float[ndarray, "sources sources"]:
    """Correlation of either sign of sources over an overlap, tending to zero below the level of silence."""
    norms = [np.linalg.norm(each, axis=1) for each in (a, b)]
    floor = 10 ** (silence_db / 20) * max(norms[0].max(initial=0.0), norms[1].max(initial=0.0))
    if floor == 0:
        return np.zeros((len(a), len(b)))
    return np.abs(a @ b.T) / np.outer(*(np.maximum(norm, floor) for norm in norms))


def _likeness(a: ndarray, b: ndarray, silence_db: float) -> Float[ndarray, "sources sources"]:
    """Likeness of long-term spectra in (0, 1], by their mean distance in dB; 0 where either source is silent."""
    heard = [each.sum(1) > 10 ** (silence_db / 10) * max(each.sum(1).max(), 1e-30) for each in (a, b)]
    shapes = [10 * np.log10(each / np.maximum(each.sum(1, keepdims=True), 1e-30) + 1e-6) for each in (a, b)]
    distance = np.abs(shapes[0][:, None] - shapes[1][None]).mean(-1)
    return np.where(np.outer(*heard), np.exp(-distance / 10), 0.0)
