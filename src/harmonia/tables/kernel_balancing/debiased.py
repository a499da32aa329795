"""A recommender trained on ratings people chose to give, corrected for which ones they chose: `DebiasedMF`."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from numpy.typing import ArrayLike
from scipy.special import expit
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from harmonia.core.checks import as_numbers
from harmonia.core.errors import InputError
from harmonia.tables.kernel_balancing.balancer import KernelBalancer
from harmonia.tables.kernel_balancing.factors import Factors, Observed, fit_factors, least_decay
from harmonia.tables.kernel_balancing.names import named_pairs, names_of, population, rows_of
from harmonia.tables.kernel_balancing.pairs import PairKernel
from harmonia.tables.kernel_balancing.propensity import naive_bayes_weights
from harmonia.tables.kernel_balancing.regression import regress

Loss = Literal["naive", "ips", "dr"]

DECAYS = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
"""Weight decays that "auto" tries, strongest first."""

_FOLDS = 3
_PLENTY = 100_000
"""With so many ratings one fold says enough of a weight decay."""

_MOST_PAIRS = 100_000_000


class _Fitted(NamedTuple):
    balancer: KernelBalancer | None
    weights: Float64[ndarray, " n"]
    decay: float
    losses: dict[float, float]
    factors: Factors


class DebiasedMF(RegressorMixin, BaseEstimator):
    """Matrix factorisation on the balanced loss: what users would think of *any* item, not of those they picked.

    The weights of a `KernelBalancer` make the observed pairs stand for all pairs; the factorisation minimises the
    weighted (IPS) or the doubly robust loss. Weights have mean 1, so that they change what is learned and not how
    strongly it is regularised, and the weight decay is chosen by the weighted loss of ratings left out.

    Arguments:
        loss: "ips", weighted; "dr", doubly robust: labels for all pairs are imputed besides, by kernel ridge regression
            on the covariates, and ratings correct them; "naive", unweighted. The doubly robust loss has a minimum only
            with enough weight decay, which is raised to it (`least_decay`).
        balancer: How weights are found; ``KernelBalancer()`` unless given.
        n_factors: Dimension of the factors.
        weight_decay: ``decay / 2`` times the squares of all parameters but the mean is added to the mean loss; "auto"
            chooses among `DECAYS` by cross-validation.
        propensity_prior: Ratings of pairs that were shown at random, of any length: balancing then starts from naive
            Bayes inverse propensities instead of equal weights; a pair that was rated repeatedly from their mean.
        rating_range: Lowest and highest possible rating; those seen unless given.
        rounds: How often adaptive anchors are renewed with the errors of the recommender so far.
        random_state: Seed of the first factors and of the folds.

    Attributes:
        user_ids_, item_ids_: What users and items are called, in the order of the factors.
        factors_: The fitted `Factors`.
        balancer_: The fitted `KernelBalancer`; None for "naive".
        weights_: Of the training ratings (equal pairs once), of mean 1.
        weight_decay_: The one used.
        decay_losses_: Of every weight decay tried the loss of ratings left out; empty for a given one.
        rating_range_: The range predictions lie in.

    Raises:
        InputError: (on fit) no two columns, names or ratings that are missing, ratings outside the range or all equal,
            features that do not fit, options out of range.

    References:
        H. Li, C. Zheng, Y. Xiao, P. Wu, Z. Geng, X. Chen, P. Cui. Debiased Collaborative Filtering with Kernel-Based
        Causal Balancing, 2024. https://arxiv.org/abs/2404.19596

    Example:
        >>> pairs = [["ada", "tea"], ["ada", "rye"], ["max", "tea"], ["max", "jam"], ["eva", "rye"], ["eva", "jam"]]
        >>> model = DebiasedMF("naive", weight_decay=1e-2).fit(pairs, [5.0, 1.0, 4.0, 2.0, 1.0, 2.0])
        >>> [name for name, rating in model.recommend("eva", k=1)]
        ['tea']
    """

    def __init__(
        self,
        loss: Loss = "ips",
        *,
        balancer: KernelBalancer | None = None,
        n_factors: int = 4,
        weight_decay: float | Literal["auto"] = "auto",
        propensity_prior: ArrayLike | None = None,
        rating_range: tuple[int | float, int | float] | None = None,
        rounds: int = 2,
        random_state: int = 0,
    ) -> None:
        self.loss = loss
        self.balancer = balancer
        self.n_factors = n_factors
        self.weight_decay = weight_decay
        self.propensity_prior = propensity_prior
        self.rating_range = rating_range
        self.rounds = rounds
        self.random_state = random_state

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        return tags

    def fit(self, X: Any, y: Any, *, user_features: Any = None, item_features: Any = None) -> DebiasedMF:
        """Learn from observed ratings.

        Arguments:
            X: (n, 2): user and item of each rating, called anything.
            y: (n,): the ratings.
            user_features: A mapping from user to a vector of numbers, for all users there are, also silent ones; a
                pandas frame whose index is the user; or a table whose row number is the user. What is learned from the
                ratings unless given.
            item_features: The same for items.
        """
        self._check()
        names, ratings = named_pairs(X), as_numbers(y, "ratings")
        if ratings.shape != (len(names[0]),):
            raise InputError("pairs and ratings differ in length", f"{len(names[0])}, {ratings.shape}", "Pair them.")
        if not np.isfinite(ratings).all():
            raise InputError("a rating is missing", "NaN or infinity", "Drop pairs without a rating.")
        low, high = self._range(ratings)
        user_ids, by_user = population(names[0], user_features, "user")
        item_ids, by_item = population(names[1], item_features, "item")
        shape = len(user_ids), len(item_ids)
        if self.loss == "dr" and shape[0] * shape[1] > _MOST_PAIRS:
            raise InputError("the doubly robust loss visits all pairs", f"{shape[0]} x {shape[1]}", 'Use loss="ips".')
        base = np.ones(len(ratings))
        if self.propensity_prior is not None and self.loss != "naive":
            base = naive_bayes_weights(ratings, as_numbers(self.propensity_prior, "the prior's ratings").ravel(), shape)
        users, items, (values, base) = _merged(rows_of(user_ids, names[0]), rows_of(item_ids, names[1]), ratings, base)
        if self.weight_decay == "auto" and len(values) < 2:
            raise InputError("a weight decay is chosen by ratings left out", "1 pair", "Give the weight_decay.")
        start = Factors.start(*shape, self.n_factors, np.random.default_rng(self.random_state))
        observed = Observed(users, items, (values - low) / (high - low), np.ones(len(values)))
        if self.loss == "naive":
            decay, losses = self._decay(start, observed)
            fitted = _Fitted(None, observed.weights, decay, losses, fit_factors(start, observed, decay))
        else:
            found = fit_factors(start, observed, 1e-4)
            covariates = (
                _learned(found.users, found.user_bias, users) if by_user is None else by_user,
                _learned(found.items, found.item_bias, items) if by_item is None else by_item,
            )
            fitted = self._fit_balanced(start, found, observed, base, covariates)
        self.n_features_in_, self.rating_range_ = 2, (low, high)
        self.user_ids_, self.item_ids_, self.users_, self.items_ = user_ids, item_ids, users, items
        self.balancer_, self.weights_, self.weight_decay_, self.decay_losses_, self.factors_ = fitted
        return self

    def _fit_balanced(
        self, start: Factors, found: Factors, observed: Observed, base: ndarray, covariates: tuple[ndarray, ndarray]
    ) -> _Fitted:
        """Balance, impute, fit; with adaptive anchors once more for the errors of what was fitted."""
        balancer: KernelBalancer = clone(self.balancer) if self.balancer is not None else KernelBalancer()
        adaptive = balancer.anchors == "adaptive"
        imputed: ndarray | None = None
        for turn in range(self.rounds if adaptive else 1):
            errors = self._errors(found, observed, imputed) if adaptive else None
            balancer.fit(observed.users, observed.items, *covariates, base_weights=base, errors=errors)
            observed = Observed(observed.users, observed.items, observed.labels, balancer.weights_)
            if turn == 0:
                decay, losses = self._decay(start, observed, balancer.pairs_)
            imputed = self._impute(observed, balancer.pairs_)
            if imputed is not None:
                decay = max(decay, least_decay(observed, imputed))
            found = fit_factors(start, observed, decay, imputed=imputed)
        return _Fitted(balancer, observed.weights, decay, losses, found)

    def _impute(self, observed: Observed, pairs: PairKernel | None) -> ndarray | None:
        """Labels for all pairs, for the doubly robust loss: a smooth function of the covariates.

        Cross-entropies are linear in the label, ``e - e' = (y' - y) z``: imputed errors are as good as imputed labels.
        """
        if self.loss != "dr" or pairs is None:
            return None
        fitted = regress(pairs, observed.users, observed.items, observed.labels, observed.weights)
        return np.clip(fitted.everywhere(), 0.0, 1.0)

    def _errors(self, found: Factors, observed: Observed, imputed: ndarray | None) -> ndarray:
        """Cross-entropy at each rating, less the imputed one where there is one."""
        z = found.logits(observed.users, observed.items)
        labels = observed.labels
        if imputed is None:
            return np.logaddexp(0, z) - labels * z
        return (imputed[observed.users, observed.items] - labels) * z

    def _decay(
        self, start: Factors, observed: Observed, pairs: PairKernel | None = None
    ) -> tuple[float, dict[float, float]]:
        """The weight decay with the least weighted loss on ratings left out, and the losses of those tried."""
        if self.weight_decay != "auto":
            return float(self.weight_decay), {}
        n = len(observed.labels)
        fold = np.random.default_rng(self.random_state).permutation(np.arange(n) % min(_FOLDS, n))
        judging = np.unique(fold)[: 1 if n >= _PLENTY else _FOLDS]
        parts = [(observed.rows(fold != held), observed.rows(fold == held)) for held in judging]
        imputed = [self._impute(train, pairs) for train, _ in parts]
        least = [0.0 if y is None else least_decay(train, y) for (train, _), y in zip(parts, imputed)]
        losses: dict[float, float] = {}
        for decay in DECAYS:
            loss = 0.0
            for (train, test), labels, bound in zip(parts, imputed, least):
                # Not warm: factors that a strong decay has brought to 0 would stay there, where the gradient vanishes.
                z = fit_factors(start, train, max(decay, bound), imputed=labels).logits(test.users, test.items)
                loss += float(test.weights @ (np.logaddexp(0, z) - test.labels * z)) / n
            losses[decay] = loss
            if loss > 1.02 * min(losses.values()):
                break  # beyond its least value the loss only rises, and weaker decays take longest to fit
        return min(losses, key=losses.__getitem__), losses

    def predict(self, X: Any) -> Float64[ndarray, " n"]:
        """Expected ratings of pairs; of unknown users or items what is known of the other.

        Names are compared as they read: a model that was fitted with 5 knows "5".

        Raises:
            InputError: no two columns, or names that are missing.
        """
        check_is_fitted(self)
        users, items = named_pairs(X)
        z = self.factors_.logits(rows_of(self.user_ids_, users), rows_of(self.item_ids_, items))
        return self._rating(z)

    def predict_all(self) -> Float64[ndarray, "users items"]:
        """Expected ratings of all pairs, in the order of `user_ids_` and `item_ids_`."""
        check_is_fitted(self)
        return self._rating(self.factors_.all_logits())

    def recommend(self, user: Any, k: int = 10, *, exclude_rated: bool = True) -> list[tuple[Any, float]]:
        """The k items with the highest expected ratings for a user, with these.

        Raises:
            InputError: an unknown user, or k that is no whole number of at least 1.
        """
        check_is_fitted(self)
        if not isinstance(k, Integral) or k < 1:
            raise InputError("at least one item must be recommended", f"k = {k}", "Give a whole number k >= 1.")
        row = int(rows_of(self.user_ids_, names_of([user]))[0])
        if row < 0:
            mend = f"Name a user that was seen, such as {self.user_ids_[0]}."
            raise InputError("there is nobody to recommend to", f"unknown user {user}", mend)
        items = np.arange(len(self.item_ids_))
        if exclude_rated:
            items = np.setdiff1d(items, self.items_[self.users_ == row])
        ratings = self._rating(self.factors_.logits(np.full(len(items), row), items))
        best = np.argsort(-ratings, kind="stable")[:k]
        return [(self.item_ids_[items[j]].item(), float(ratings[j])) for j in best]

    def _rating(self, z: ndarray) -> ndarray:
        low, high = self.rating_range_
        return low + (high - low) * expit(z)

    def _range(self, ratings: ndarray) -> tuple[float, float]:
        if self.rating_range is None:
            low, high = float(ratings.min()), float(ratings.max())
        else:
            ends = as_numbers(self.rating_range, "the ends of the rating_range")
            if ends.shape != (2,) or not np.isfinite(ends).all() or ends[0] > ends[1]:
                mend = "Give two numbers, the lower one first."
                raise InputError("the rating_range is the lowest and the highest rating", self.rating_range, mend)
            low, high = ends.tolist()
        if low == high:
            raise InputError("all ratings are equal", low, "Pass ratings that differ, or the rating_range.")
        if ratings.min() < low or ratings.max() > high:
            got = f"{ratings.min():g} to {ratings.max():g}"
            raise InputError(f"a rating is outside {low:g} to {high:g}", got, "Mend it, or the rating_range.")
        return low, high

    def _check(self) -> None:
        if self.loss not in ("naive", "ips", "dr"):
            raise InputError("there is no such loss", f"'{self.loss}'", "Use naive, ips or dr.")
        if not all(isinstance(count, Integral) and count >= 1 for count in (self.n_factors, self.rounds)):
            got = f"{self.n_factors}, {self.rounds}"
            raise InputError("there must be a factor and a round", got, "Give whole numbers >= 1.")
        decay = self.weight_decay
        if decay != "auto" and not (isinstance(decay, Real) and 0 <= decay < np.inf):
            raise InputError("the weight decay cannot be negative", decay, 'Give a number >= 0, or "auto".')


def _merged(users: ndarray, items: ndarray, *columns: ndarray) -> tuple[ndarray, ndarray, list[ndarray]]:
    """Every pair once, with the means of its columns."""
    pairs, code = np.unique(np.stack([users, items], 1), axis=0, return_inverse=True)
    if len(pairs) < len(users):
        warnings.warn(f"{len(users) - len(pairs)} ratings are of pairs seen before: the mean is taken", stacklevel=3)
    code = code.ravel()
    counts = np.bincount(code)
    return pairs[:, 0], pairs[:, 1], [np.bincount(code, column) / counts for column in columns]


def _learned(factors: ndarray, bias: ndarray, index: ndarray) -> ndarray:
    """Covariates that the ratings themselves reveal: factors, level, and how many there are."""
    return np.column_stack([factors, bias, np.log1p(np.bincount(index, minlength=len(bias)))])
