"""A recommender trained on ratings people chose to give, corrected for which ones they chose: `DebiasedMF`."""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64, Int
from numpy import ndarray
from scipy.special import expit
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from harmonia.core.errors import InputError
from harmonia.tables.kernel_balancing.balancer import KernelBalancer
from harmonia.tables.kernel_balancing.factors import Factors, Observed, fit_factors, least_decay
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
            Bayes inverse propensities instead of equal weights.
        rating_range: Lowest and highest possible rating; those seen unless given.
        rounds: How often adaptive anchors are renewed with the errors of the recommender so far.
        random_state: Seed of the first factors and of the folds.

    Attributes:
        user_ids_, item_ids_: What users and items are called, in the order of the factors.
        factors_: The fitted `Factors`.
        balancer_: The fitted `KernelBalancer`; None for "naive".
        weights_: Of the training ratings (equal pairs once), of mean 1.
        weight_decay_: The one used.
        rating_range_: The range predictions lie in.

    Raises:
        InputError: (on fit) no two columns, ratings that are missing, outside the range or all equal, features that do
            not fit.

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
        propensity_prior: ndarray | None = None,
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
            user_features: A mapping from user to a vector of numbers, for all users there are, also silent ones; or a
                table whose row number is the user. What is learned from the ratings unless given.
            item_features: The same for items.
        """
        self._check()
        names, ratings = _pairs(X), np.asarray(y, dtype=np.float64)
        if ratings.shape != (len(names[0]),):
            raise InputError("pairs and ratings differ in length", f"{len(names[0])}, {ratings.shape}", "Pair them.")
        if not np.isfinite(ratings).all():
            raise InputError("a rating is missing", "NaN or infinity", "Drop pairs without a rating.")
        low, high = self.rating_range_ = self._range(ratings)
        self.n_features_in_ = 2
        self.user_ids_, by_user = _population(names[0], user_features, "user")
        self.item_ids_, by_item = _population(names[1], item_features, "item")
        users, items, values = _merged(_rows(self.user_ids_, names[0]), _rows(self.item_ids_, names[1]), ratings)
        self.users_, self.items_ = users, items
        shape = len(self.user_ids_), len(self.item_ids_)
        if self.loss == "dr" and shape[0] * shape[1] > _MOST_PAIRS:
            raise InputError("the doubly robust loss visits all pairs", f"{shape[0]} x {shape[1]}", 'Use loss="ips".')
        generator = np.random.default_rng(self.random_state)
        start = Factors.start(*shape, self.n_factors, generator)
        observed = Observed(users, items, (values - low) / (high - low), np.ones(len(values)))
        if self.loss == "naive":
            self.balancer_: KernelBalancer | None = None
            self.weights_ = observed.weights
            self.weight_decay_ = self._decay(start, observed)
            self.factors_ = fit_factors(start, observed, self.weight_decay_)
            return self
        base = np.ones(len(values))
        if self.propensity_prior is not None:
            base = naive_bayes_weights(values, np.asarray(self.propensity_prior, dtype=np.float64).ravel(), shape)
        found = fit_factors(start, observed, 1e-4)
        covariates = (
            _learned(found.users, found.user_bias, users) if by_user is None else by_user,
            _learned(found.items, found.item_bias, items) if by_item is None else by_item,
        )
        self._fit_balanced(start, found, observed, base, covariates)
        return self

    def _fit_balanced(
        self, start: Factors, found: Factors, observed: Observed, base: ndarray, covariates: tuple[ndarray, ndarray]
    ) -> None:
        """Balance, impute, fit; with adaptive anchors once more for the errors of what was fitted."""
        balancer: KernelBalancer = clone(self.balancer) if self.balancer is not None else KernelBalancer()
        adaptive = balancer.anchors == "adaptive"
        imputed: ndarray | None = None
        for turn in range(self.rounds if adaptive else 1):
            errors = self._errors(found, observed, imputed) if adaptive else None
            balancer.fit(observed.users, observed.items, *covariates, base_weights=base, errors=errors)
            observed = Observed(observed.users, observed.items, observed.labels, balancer.weights_)
            if turn == 0:
                self.weight_decay_ = self._decay(start, observed, balancer.pairs_)
            imputed = self._impute(observed, balancer.pairs_)
            if imputed is not None:
                self.weight_decay_ = max(self.weight_decay_, least_decay(observed, imputed))
            found = fit_factors(start, observed, self.weight_decay_, imputed=imputed)
        self.balancer_, self.weights_, self.factors_ = balancer, observed.weights, found

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

    def _decay(self, start: Factors, observed: Observed, pairs: PairKernel | None = None) -> float:
        """The weight decay with the least weighted loss on ratings left out."""
        if self.weight_decay != "auto":
            return float(self.weight_decay)
        n = len(observed.labels)
        fold = np.random.default_rng(self.random_state).permutation(np.arange(n) % min(_FOLDS, n))
        judging = np.unique(fold)[: 1 if n >= _PLENTY else _FOLDS]
        parts = [(observed.rows(fold != held), observed.rows(fold == held)) for held in judging]
        imputed = [self._impute(train, pairs) for train, _ in parts]
        least = [0.0 if y is None else least_decay(train, y) for (train, _), y in zip(parts, imputed)]
        self.decay_losses_: dict[float, float] = {}
        for decay in DECAYS:
            loss = 0.0
            for (train, test), labels, bound in zip(parts, imputed, least):
                # Not warm: factors that a strong decay has brought to 0 would stay there, where the gradient vanishes.
                z = fit_factors(start, train, max(decay, bound), imputed=labels).logits(test.users, test.items)
                loss += float(test.weights @ (np.logaddexp(0, z) - test.labels * z)) / n
            self.decay_losses_[decay] = loss
            if loss > 1.02 * min(self.decay_losses_.values()):
                break  # beyond its least value the loss only rises, and weaker decays take longest to fit
        return min(self.decay_losses_, key=self.decay_losses_.__getitem__)

    def predict(self, X: Any) -> Float64[ndarray, " n"]:
        """Expected ratings of pairs; of unknown users or items what is known of the other."""
        check_is_fitted(self)
        users, items = _pairs(X)
        z = self.factors_.logits(_rows(self.user_ids_, users), _rows(self.item_ids_, items))
        return self._rating(z)

    def predict_all(self) -> Float64[ndarray, "users items"]:
        """Expected ratings of all pairs, in the order of `user_ids_` and `item_ids_`."""
        check_is_fitted(self)
        return self._rating(self.factors_.all_logits())

    def recommend(self, user: Any, k: int = 10, *, exclude_rated: bool = True) -> list[tuple[Any, float]]:
        """The k items with the highest expected ratings for a user, with these.

        Raises:
            InputError: an unknown user, or k below 1.
        """
        check_is_fitted(self)
        row = int(_rows(self.user_ids_, _column([user]))[0])
        if row < 0 or k < 1:
            raise InputError("there is nobody to recommend to", f"user {user}, k = {k}", "Name a user that was seen.")
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
        low, high = self.rating_range or (float(ratings.min()), float(ratings.max()))
        if not low < high:
            raise InputError("all ratings are equal", low, "Pass ratings that differ, or the rating_range.")
        if ratings.min() < low or ratings.max() > high:
            got = f"{ratings.min():g} to {ratings.max():g}"
            raise InputError(f"a rating is outside {low:g} to {high:g}", got, "Mend it, or the rating_range.")
        return float(low), float(high)

    def _check(self) -> None:
        if self.loss not in ("naive", "ips", "dr"):
            raise InputError("there is no such loss", f"'{self.loss}'", "Use naive, ips or dr.")
        if self.n_factors < 1 or self.rounds < 1:
            raise InputError("there must be a factor and a round", f"{self.n_factors}, {self.rounds}", "Give >= 1.")
        if self.weight_decay != "auto" and not 0 <= self.weight_decay < np.inf:
            raise InputError("the weight decay cannot be negative", self.weight_decay, 'Give >= 0, or "auto".')


def _pairs(X: Any) -> tuple[ndarray, ndarray]:
    """The two columns of a table, each with a type of its own."""
    if hasattr(X, "iloc"):
        X = X.to_numpy(dtype=object)
    table = np.asarray(X) if hasattr(X, "shape") else np.array([list(row) for row in X], dtype=object)
    if table.ndim != 2 or table.shape[1] != 2 or not len(table):
        raise InputError("ratings are pairs of user and item", f"shape {table.shape}", "Pass two columns.")
    return _column(table[:, 0]), _column(table[:, 1])


def _column(values: Any) -> ndarray:
    """Names as whole numbers where they are, as words otherwise."""
    column = np.asarray(values)
    if column.dtype == object:
        column = np.array(column.tolist())
    if column.dtype.kind == "f":
        if not (np.isfinite(column).all() and (column == np.round(column)).all()):
            raise InputError("users and items are called by words or whole numbers", column[:3], "Mend their names.")
        return column.astype(np.int64)
    return column.astype(np.int64) if column.dtype.kind in "iub" else column.astype(str)


def _population(seen: ndarray, features: Any, of: str) -> tuple[ndarray, ndarray | None]:
    """Names of all users or items, in order, and their features."""
    if features is None:
        return np.unique(seen), None
    if not hasattr(features, "keys"):
        features = dict(enumerate(np.asarray(features, dtype=np.float64)))
    names = _column(list(features.keys()))
    order = np.argsort(names, kind="stable")
    table = np.array([np.asarray(row, dtype=np.float64).ravel() for row in features.values()])[order]
    if names.dtype.kind != seen.dtype.kind or not np.isin(seen, names).all():
        unknown = seen[~np.isin(seen, names)]
        got = unknown[0] if len(unknown) else f"names of another type than {names[0]!r}"
        raise InputError(f"a {of} has no features", got, f"Give features of every {of}.")
    return names[order], table


def _rows(ids: ndarray, names: ndarray) -> Int[ndarray, " n"]:
    """Place of each name among sorted ids; -1 for unknown ones."""
    if ids.dtype.kind != names.dtype.kind:
        return np.full(len(names), -1)
    place = np.minimum(np.searchsorted(ids, names), len(ids) - 1)
    return np.where(ids[place] == names, place, -1)


def _merged(users: ndarray, items: ndarray, ratings: ndarray) -> tuple[ndarray, ndarray, ndarray]:
    """Every pair once, with the mean of its ratings."""
    pairs, code = np.unique(np.stack([users, items], 1), axis=0, return_inverse=True)
    if len(pairs) < len(ratings):
        warnings.warn(f"{len(ratings) - len(pairs)} ratings are of pairs seen before: the mean is taken", stacklevel=3)
    code = code.ravel()
    return pairs[:, 0], pairs[:, 1], np.bincount(code, ratings) / np.bincount(code)


def _learned(factors: ndarray, bias: ndarray, index: ndarray) -> ndarray:
    """Covariates that the ratings themselves reveal: factors, level, and how many there are."""
    return np.column_stack([factors, bias, np.log1p(np.bincount(index, minlength=len(bias)))])
