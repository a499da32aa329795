"""Ratings that were not missing at random, made here so that the truth is known.

Covariates of users and items are normal; what is liked, and what is rated, are functions of both, so that pairs that
are liked are observed more often and observed errors mislead. The recipe is that of this method's specification.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars
from jaxtyping import Bool, Float64, Int
from numpy import ndarray
from scipy.special import expit

from harmonia.media import Table


@dataclass(frozen=True)
class SemiSynthetic:
    """Everything about all pairs, observed or not.

    Attributes:
        user_features, item_features: Covariates.
        liking: How much each user likes each item.
        propensity: Probability that the pair is observed.
        observed: Which pairs are.
        errors: The error of some recommender at every pair; its mean is the ideal loss.
    """

    user_features: Float64[ndarray, "users p"]
    item_features: Float64[ndarray, "items q"]
    liking: Float64[ndarray, "users items"]
    propensity: Float64[ndarray, "users items"]
    observed: Bool[ndarray, "users items"]
    errors: Float64[ndarray, "users items"]

    @property
    def users(self) -> Int[ndarray, " n"]:
        """User of each observed pair."""
        return np.nonzero(self.observed)[0]

    @property
    def items(self) -> Int[ndarray, " n"]:
        """Item of each observed pair."""
        return np.nonzero(self.observed)[1]


def semi_synthetic(
    seed: int = 0,
    users: int = 200,
    items: int = 200,
    errors: Literal["smooth", "noise"] = "smooth",
    activity: float = -2.7,
) -> SemiSynthetic:
    """**Synthetic** ratings of which about 9 % are observed, more of what is liked.

    Arguments:
        seed: Random seed.
        users, items: How many.
        errors: "smooth": a function of what is liked, with a little noise, as of a model that misjudges some users and
            items; "noise": squared errors of coin flips, which no covariate explains and no weighting can mend.
        activity: Log odds of rating a pair that is neither liked nor disliked.

    Example:
        >>> truth = semi_synthetic()
        >>> truth.errors.shape, bool(0.07 < truth.observed.mean() < 0.12)
        ((200, 200), True)
    """
    generator = np.random.default_rng(seed)
    x, z = generator.standard_normal((users, 4)), generator.standard_normal((items, 4))
    a, b = 0.6 * generator.standard_normal((2, 4))
    liking = np.outer(np.sin(x @ a), np.cos(z @ b)) + 0.7 * np.tanh(x @ z.T / 2)
    propensity = expit(activity + 1.3 * liking + 0.4 * (x[:, :1] + z[:, 1]))
    observed = generator.random((users, items)) < propensity
    if errors == "smooth":
        made = expit(2 * liking) + 0.1 * generator.standard_normal((users, items))
    else:
        clicks = generator.random((users, items)) < 0.5
        made = np.square(clicks - 0.5 - 0.05 * np.tanh(liking))
    return SemiSynthetic(x, z, liking, propensity, observed, made)


def demo_ratings() -> Table:
    """**Synthetic** ratings from 1 to 5 of 200 users and 150 items, of which some were shown at random.

    Columns: ``user``, ``item``, ``rating``, ``exposure`` (chosen, or random), and covariates of user and item.

    Example:
        >>> demo_ratings().names[:4]
        ['user', 'item', 'rating', 'exposure']
    """
    truth = semi_synthetic(seed=1, users=200, items=150, activity=-1.5)
    generator = np.random.default_rng(1)
    ratings = np.clip(np.round(3 + 1.5 * truth.liking + 0.7 * generator.standard_normal(truth.liking.shape)), 1, 5)
    shown = ~truth.observed & (generator.random(truth.observed.shape) < 0.06)
    frames = []
    for exposure, chosen in (("chosen", truth.observed), ("random", shown)):
        u, i = np.nonzero(chosen)
        columns = {"user": u + 1, "item": i + 1, "rating": ratings[chosen].astype(np.int64)}
        frame = polars.DataFrame(columns).with_columns(polars.lit(exposure).alias("exposure"))
        for of, traits, rows in (("user", truth.user_features, u), ("item", truth.item_features, i)):
            named = {f"{of}_trait_{j + 1}": traits[rows, j].round(3) for j in range(traits.shape[1])}
            frame = frame.with_columns(**{name: polars.Series(values) for name, values in named.items()})
        frames.append(frame)
    return Table(polars.concat(frames))
