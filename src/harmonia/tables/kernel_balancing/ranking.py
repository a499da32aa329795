"""How the paper judges recommenders: the scores of `harmonia.parts.ranking` under its conventions."""

from __future__ import annotations

from jaxtyping import Float, Int
from numpy import ndarray

from harmonia.parts.ranking import auc as auc_all
from harmonia.parts.ranking import ranking_scores

__all__ = ["auc_all", "ndcg_at_k"]


def ndcg_at_k(
    users: Int[ndarray, " n"], relevance: Float[ndarray, " m"], scores: Float[ndarray, " rows"], k: int = 5
) -> float:
    """Mean NDCG of each user's k best rows; 1 for users without anything relevant, as in the paper's tables.

    Arguments:
        users: (n,) whole numbers: whose each row is.
        relevance: (n,), at least 0.
        scores: (n,): rows are ranked from the highest.
        k: How many are recommended.

    Raises:
        InputError: rows that do not fit, negative relevance, or k below 1.

    Example:
        >>> import numpy as np
        >>> round(ndcg_at_k(np.array([7, 7, 8]), np.array([0.0, 1.0, 0.0]), np.array([3.0, 2.0, 1.0])), 4)
        0.8155
    """
    return ranking_scores(users, relevance, scores, k, empty="one").ndcg
