"""How good is a ranking: NDCG, recall, precision and F1 at k by user, and the area under the ROC curve over all rows.

Every metric takes the rows of a test set: whose they are (`groups`, such as users), how relevant each is, and the score
by which it is ranked. Ties keep the order of the rows. Only the rows that are there are ranked, never all items.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.stats import rankdata

from harmonia.core.errors import InputError

Empty = Literal["one", "zero", "skip"]


class RankingScores(NamedTuple):
    """Means over groups. F1 is that of the mean precision and the mean recall."""

    ndcg: float
    recall: float
    precision: float
    f1: float


def auc(relevance: Float[ndarray, " n"], scores: Float[ndarray, " m"]) -> float:
    """Probability that a relevant row scores above another one, ties counting half, over all rows together.

    Raises:
        InputError: rows that do not fit, or of which all or none are relevant.

    Example:
        >>> auc(np.array([0.0, 1.0, 1.0]), np.array([0.2, 0.1, 0.9]))
        0.5
    """
    positive = _checked(relevance, scores) > 0
    n, total = int(positive.sum()), len(positive)
    if n in (0, total):
        raise InputError("AUC needs rows of both kinds", f"{n} of {total} relevant", "Choose another threshold.")
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (total - n)))


def ranking_scores(
    groups: Int[ndarray, " n"],
    relevance: Float[ndarray, " m"],
    scores: Float[ndarray, " rows"],
    k: int,
    *,
    empty: Empty = "skip",
    short: Literal["own", "k"] = "own",
) -> RankingScores:
    """NDCG, recall, precision and F1 among the k best rows of each group.

    ``DCG = sum_r relevance_r / log2(1 + r)`` over ranks r up to k; NDCG divides by that of the best order.

    Arguments:
        groups: Whose each row is, as whole numbers.
        relevance: At least 0; 0 or 1 for recall and precision to be shares.
        scores: Rows are ranked from the highest.
        k: How many are recommended.
        empty: What the NDCG of a group without relevant rows is; "skip" leaves the group out of all means.
        short: Whether precision divides by the rows there are, in groups of less than k, or always by k.

    Raises:
        InputError: rows that do not fit, negative relevance, k below 1, or no group with anything relevant to be left.

    Example:
        >>> groups, relevance = np.array([7, 7, 7]), np.array([0.0, 1.0, 0.0])
        >>> round(ranking_scores(groups, relevance, np.array([3.0, 2.0, 1.0]), k=2).ndcg, 4)
        0.6309
    """
    relevance = _checked(relevance, scores)
    if len(groups) != len(relevance) or k < 1:
        raise InputError("groups and rows do not fit", f"{len(groups)} groups, k = {k}", "Pass one group a row.")
    if relevance.min() < 0:
        raise InputError("relevance cannot be negative", relevance.min(), "Shift or clip it.")
    _, code, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    found, best = _gains(code, sizes, relevance, scores, k), _gains(code, sizes, relevance, relevance, k)
    total = np.bincount(code, relevance)
    some = total > 0
    ndcg = np.where(some, found.dcg / np.where(some, best.dcg, 1), float(empty == "one"))
    recall = found.hits / np.where(some, total, 1)
    precision = found.hits / (np.minimum(sizes, k) if short == "own" else k)
    kept = some if empty == "skip" else np.ones_like(some)
    if not kept.any():
        raise InputError("no group has a relevant row", f"{len(sizes)} groups", "Choose another threshold.")
    at, r, p = (float(values[kept].mean()) for values in (ndcg, recall, precision))
    return RankingScores(at, r, p, 2 * r * p / max(r + p, 1e-300))


class _Gains(NamedTuple):
    dcg: ndarray
    hits: ndarray


def _gains(code: ndarray, sizes: ndarray, relevance: ndarray, scores: ndarray, k: int) -> _Gains:
    """Discounted and plain sums of relevance among the k best of each group."""
    order = np.lexsort((-scores, code))  # stable: ties keep their order
    rank = np.arange(len(code)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    top = rank < k
    group, gain = code[order][top], relevance[order][top]
    counts = len(sizes)
    return _Gains(np.bincount(group, gain / np.log2(2 + rank[top]), counts), np.bincount(group, gain, counts))


def _checked(relevance: ndarray, scores: ndarray) -> ndarray:
    if relevance.shape != scores.shape or not relevance.size:
        raise InputError("relevance and scores differ in shape", f"{relevance.shape}, {scores.shape}", "Pair them.")
    if not (np.isfinite(relevance).all() and np.isfinite(scores).all()):
        raise InputError("relevance and scores must be finite", "NaN or infinity", "Drop such rows.")
    return relevance.astype(np.float64)
