"""Scores of predictions under weights of the items: accuracy, ROC area, average precision, R2.

Weights of ones give the score itself; counts drawn with replacement give a bootstrap resample. All resamples are one
call, since items are sorted once and then only summed.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from harmonia.core.errors import InputError

Weights = Float64[ndarray, "resamples items"]
Scores = Float64[ndarray, "resamples outputs"]

_BLOCK = 2_000_000
"""Numbers of one block of resamples times items."""


class Metric(ABC):
    """A score of predictions; larger is better."""

    name: str

    @abstractmethod
    def __call__(self, truth: Any, predicted: Float64[ndarray, "items k"], weights: Weights) -> Scores:
        """A score per resample and output; NaN where it is not defined.

        Arguments:
            truth: Class numbers ``[items]`` or a matrix ``[items, k]``, as `Targets.values`.
            predicted: Scores of the classes, or numbers.
            weights: Of the items; every row is one resample.
        """


def macro(scores: Float64[ndarray, "resamples outputs"]) -> Float64[ndarray, " resamples"]:
    """Mean over the outputs that are defined; NaN where none is.

    Example:
        >>> macro(np.array([[0.5, np.nan, 0.7], [np.nan, np.nan, np.nan]]))
        array([0.6, nan])
    """
    known = np.isfinite(scores)
    count = known.sum(1)
    total = np.where(known, scores, 0.0).sum(1)
    return np.divide(total, count, out=np.full(len(scores), np.nan), where=count > 0)


@dataclass(frozen=True, eq=False)
class Gain(Metric):
    """Mean gain of the predicted class; accuracy when there is no table of gains.

    ``sum_i w_i G[c_i, argmax_c s_ic] / sum_i w_i``

    Arguments:
        gains: ``[k, k]`` gain of predicting the column where the row is true; the identity when None.
        name: What the score is called.

    Example:
        >>> Gain()(np.array([0, 1]), np.array([[0.9, 0.1], [0.8, 0.2]]), np.ones((1, 2)))
        array([[0.5]])
    """

    gains: Float64[ndarray, "k k"] | None = None
    name: str = "accuracy"

    def __call__(self, truth: Any, predicted: Float64[ndarray, "items k"], weights: Weights) -> Scores:
        chosen = predicted.argmax(1)
        gained = (chosen == truth).astype(np.float64) if self.gains is None else self.gains[truth, chosen]
        return (weights @ gained / weights.sum(1))[:, None]


@dataclass(frozen=True)
class RocAuc(Metric):
    """Area under the ROC curve of each label: the chance that a positive scores above a negative, ties half.

    Labels that are all positive or all negative give NaN and a warning, not zero.
    """

    name: str = "ROC-AUC"

    def __call__(self, truth: Any, predicted: Float64[ndarray, "items k"], weights: Weights) -> Scores:
        return _by_label(truth, predicted, weights, _roc_auc)


@dataclass(frozen=True)
class AveragePrecision(Metric):
    """Mean of the precision at every positive of each label, in scikit-learn's definition."""

    name: str = "average precision"

    def __call__(self, truth: Any, predicted: Float64[ndarray, "items k"], weights: Weights) -> Scores:
        return _by_label(truth, predicted, weights, _average_precision)


@dataclass(frozen=True)
class R2(Metric):
    """Share of the variance explained, ``1 - sum w (y - p)^2 / sum w (y - mean)^2``, for each output."""

    name: str = "R2"

    def __call__(self, truth: Any, predicted: Float64[ndarray, "items k"], weights: Weights) -> Scores:
        mean = weights @ truth / weights.sum(1, keepdims=True)
        centred = truth - truth.mean(0)
        shift = mean - truth.mean(0)
        spread = weights @ centred**2 - weights.sum(1, keepdims=True) * shift**2
        error = weights @ (truth - predicted) ** 2
        varied = spread > 1e-12 * np.maximum(1e-300, (truth**2).sum(0))
        return 1 - np.divide(error, spread, out=np.full_like(error, np.nan), where=varied)


def check_weights(weights: Weights, items: int) -> None:
    """Refuse weights that are not one per item."""
    if weights.ndim != 2 or weights.shape[1] != items:
        raise InputError("there is one weight for each item", weights.shape, f"Pass [resamples, {items}].")


def _by_label(truth: Any, predicted: ndarray, weights: Weights, score: Any) -> Scores:
    check_weights(weights, len(predicted))
    truth = np.asarray(truth, dtype=bool)
    out = np.full((len(weights), truth.shape[1]), np.nan)
    # Items first: an item's weights in all resamples lie side by side, and are moved and added up as one.
    step = max(1, _BLOCK // len(predicted))
    blocks = [slice(start, start + step) for start in range(0, len(weights), step)]
    by_item = [np.ascontiguousarray(weights[block].T) for block in blocks]
    varied = truth.any(0) & ~truth.all(0)
    for label in np.flatnonzero(varied):
        order = np.argsort(predicted[:, label], kind="stable")
        values, positive = predicted[order, label], truth[order, label]
        first = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
        for block, drawn in zip(blocks, by_item):
            out[block, label] = score(positive, first, drawn[order])
    if not varied.all():
        left_out = f"{int((~varied).sum())} of {len(varied)} labels"
        warnings.warn(f"{left_out} have one class only and are left out", stacklevel=3)
    return out


def _tied_sums(first: ndarray, weights: ndarray) -> ndarray:
    """Sums over items of equal score; every score occurs once, as a rule."""
    return weights if len(first) == len(weights) else np.add.reduceat(weights, first, axis=0)


def _roc_auc(positive: ndarray, first: ndarray, weights: ndarray) -> ndarray:
    if len(first) == len(weights):
        up = weights[positive]
        weights[positive] = 0.0
        below = np.cumsum(weights, 0, out=weights)
        return _ratio(np.einsum("ij,ij->j", up, below[positive]), up.sum(0) * below[-1])
    up = _tied_sums(first, weights * positive[:, None])
    down = _tied_sums(first, weights * ~positive[:, None])
    below = np.cumsum(down, 0) - 0.5 * down
    return _ratio((up * below).sum(0), up.sum(0) * down.sum(0))


def _average_precision(positive: ndarray, first: ndarray, weights: ndarray) -> ndarray:
    up = _tied_sums(first, weights * positive[:, None])[::-1]
    every = _tied_sums(first, weights)[::-1]
    precision = _ratio(np.cumsum(up, 0), np.cumsum(every, 0))
    return _ratio(np.nansum(up * precision, 0), up.sum(0))


def _ratio(above: ndarray, below: ndarray) -> ndarray:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
