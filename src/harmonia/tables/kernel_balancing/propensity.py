"""Inverse propensities from how ratings are distributed: the weights that balancing starts from."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float64, Int
from numpy import ndarray

from harmonia.core.errors import InputError


def naive_bayes_weights(
    ratings: Float64[ndarray, " n"],
    random_ratings: Float64[ndarray, " m"],
    shape: tuple[int, int],
    *,
    users: Int[ndarray, " n"] | None = None,
    items: Int[ndarray, " n"] | None = None,
    compat: Literal["official"] | None = None,
) -> Float64[ndarray, " n"]:
    """``1 / P(observed | y)`` by Bayes' rule, ``P(o | y) = P(y | o) P(o) / P(y)``.

    Arguments:
        ratings: Values y of the observed pairs, few different ones.
        random_ratings: Values at pairs that were shown at random, for P(y). Leave them out of what is evaluated.
        shape: Numbers of users and items, for P(o).
        users, items: Indices of the observed pairs; the official code's P(o) is made of their largest.
        compat: "official" takes ``P(o) = n / (max u * max i)``, off by one in both, and needs users and items.

    Raises:
        InputError: ratings that are missing, or an observed value that the random sample lacks: nothing says how often
            it should be seen.

    Example:
        >>> naive_bayes_weights(np.array([0.0, 1.0, 1.0, 1.0]), np.array([0.0, 1.0]), (4, 2))
        array([4.        , 1.33333333, 1.33333333, 1.33333333])
    """
    if not random_ratings.size:
        raise InputError("the random sample is empty", "0 ratings", "Pass ratings of pairs shown at random, or none.")
    if not (np.isfinite(ratings).all() and np.isfinite(random_ratings).all()):
        raise InputError("a rating is missing", "NaN or infinity", "Drop pairs without a rating.")
    values, code, counts = np.unique(ratings, return_inverse=True, return_counts=True)
    at_random = (random_ratings[:, None] == values).mean(0)
    if (at_random == 0).any():
        missing = values[at_random == 0][0]
        raise InputError(
            "the random sample lacks a rating", missing, "Pass a larger sample, or put ratings in classes."
        )
    size = shape[0] * shape[1]
    if compat == "official":
        if users is None or items is None:
            raise InputError("the official share observed needs indices", "none", "Pass users and items.")
        size = int(users.max()) * int(items.max())
    return (at_random * size / counts)[code]
