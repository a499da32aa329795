"""How certain a score is, and whether two scores differ: bootstrap intervals and paired permutations."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from scipy.stats import rankdata

from harmonia.core.errors import InputError
from harmonia.parts.probing.scores import AveragePrecision, Metric, RocAuc, macro


class Interval(NamedTuple):
    """A score and the interval it lies in."""

    score: float
    low: float
    high: float


class Permutation(NamedTuple):
    """How much better the first of two is, and the chance of so large a difference if they were alike."""

    difference: float
    p_value: float


def bootstrap_interval(
    metric: Metric,
    truth: Any,
    predicted: Float64[ndarray, "items k"],
    *,
    groups: ndarray | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap of a score over the items, or over whole groups of them.

    Arguments:
        metric: The score.
        truth: What is true, as the metric takes it.
        predicted: What was predicted.
        groups: Items that are not independent, such as clips of one song, are drawn together.
        level: Probability of the interval.
        resamples: How many.
        seed: Of the draws.

    Example:
        >>> from harmonia.parts.probing import Gain
        >>> truth = np.arange(200) % 2
        >>> guesses = np.eye(2)[np.where(np.arange(200) < 160, truth, 1 - truth)]
        >>> score, low, high = bootstrap_interval(Gain(), truth, guesses)
        >>> score, round(low, 2), round(high, 2)
        (0.8, 0.75, 0.85)
    """
    if not 0 < level < 1 or resamples < 20:
        raise InputError("an interval needs a level in (0, 1) and 20 resamples", f"{level}, {resamples}", "Mend them.")
    drawn = macro(metric(truth, predicted, bootstrap_weights(len(predicted), groups, resamples, seed)))
    score = float(macro(metric(truth, predicted, np.ones((1, len(predicted)))))[0])
    if not np.isfinite(drawn).any():
        return Interval(score, np.nan, np.nan)
    low, high = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(score, float(low), float(high))


def bootstrap_weights(
    items: int, groups: ndarray | None, resamples: int, seed: int
) -> Float64[ndarray, "resamples items"]:
    """How often each item is drawn in each resample; items of a group are drawn together."""
    rng = np.random.default_rng(seed)
    if groups is None:
        return rng.multinomial(items, np.full(items, 1 / items), size=resamples).astype(np.float64)
    names, member = np.unique(groups, return_inverse=True)
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    return counts[:, member].astype(np.float64)


def paired_permutation(
    metric: Metric,
    truth: Any,
    first: Float64[ndarray, "items k"],
    second: Float64[ndarray, "items k"],
    *,
    groups: ndarray | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Permutation:
    """Whether two predictions of the same items differ: those of random items (groups) are swapped.

    ``p = (1 + #{|d*| >= |d|}) / (1 + resamples)``. Scores that only rank items are replaced by their ranks first, so
    that predictions on different scales can be swapped.

    Raises:
        InputError: predictions of different shapes.

    Example:
        >>> from harmonia.parts.probing import Gain
        >>> truth = np.arange(60) % 2
        >>> right, wrong = np.eye(2)[truth], np.eye(2)[np.where(np.arange(60) < 30, truth, 1 - truth)]
        >>> found = paired_permutation(Gain(), truth, right, wrong)
        >>> found.difference, found.p_value < 0.001
        (0.5, True)
    """
    if first.shape != second.shape:
        raise InputError("predictions differ in shape", f"{first.shape} and {second.shape}", "Predict the same items.")
    if isinstance(metric, (RocAuc, AveragePrecision)):
        first, second = rankdata(first, axis=0), rankdata(second, axis=0)
    rng, items = np.random.default_rng(seed), len(first)
    member = np.arange(items) if groups is None else np.unique(groups, return_inverse=True)[1]
    swapped = rng.random((resamples + 1, member.max() + 1)) < 0.5
    swapped[0] = False
    kept = np.where(swapped[:, member], 0.0, 1.0)
    both, twice = np.concatenate([first, second]), np.concatenate([truth, truth])
    differences = macro(metric(twice, both, np.concatenate([kept, 1 - kept], 1)))
    differences = differences - macro(metric(twice, both, np.concatenate([1 - kept, kept], 1)))
    observed = float(differences[0])
    as_large = np.abs(differences[1:]) >= abs(observed) - 1e-12
    return Permutation(observed, float((1 + as_large.sum()) / (1 + resamples)))
