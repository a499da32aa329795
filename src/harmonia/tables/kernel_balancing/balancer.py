"""Weights that make observed ratings look like all pairs of users and items: `KernelBalancer`."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from harmonia.core.errors import InputError
from harmonia.parts.gram import Kernel, mean_embedding
from harmonia.tables.kernel_balancing.anchors import Anchors, adaptive_anchors, random_anchors, worst_anchors
from harmonia.tables.kernel_balancing.dual import Balanced, balance_moments, effective_sample_size
from harmonia.tables.kernel_balancing.functions import balance_functions
from harmonia.tables.kernel_balancing.pairs import PairKernel, scaled_kernel
from harmonia.tables.kernel_balancing.regression import regress

_FEW = 0.1
"""Effective sample sizes below this share of the ratings are warned of."""


class BiasBound(NamedTuple):
    """What weighting does to the mean of some errors, as far as they are a function of the covariates.

    Attributes:
        before: Estimated bias of the unweighted mean.
        after: Estimated bias of the weighted mean.
        norm: Norm of the fitted error function in the kernel's space.
        bound_before, bound: ``norm * MMD``: no function of that norm can be biased more.
        explained: Share of the errors' variance that is a function of the covariates; weighting cannot mend the rest.
    """

    before: float
    after: float
    norm: float
    bound_before: float
    bound: float
    explained: float


class KernelBalancer(BaseEstimator):
    """Weights ``w ~ 1 / P(observed)`` found by balance, with no model of who rates what (arXiv 2404.19596).

    The observed pairs (u, i), weighted, get the same mean of ``k(., x_j)`` as all pairs, for every anchor x_j; of all
    such weights those nearest to `base_weights` are taken. Errors that are a combination ``sum_j a_j k(., x_j)`` then
    have a weighted mean that is off their mean over all pairs by at most ``tol * sum_j |a_j|``.

    Arguments:
        kernel: "gaussian" or "exponential", a product over users and items; or a kernel object for both as it is.
        bandwidth: Lengthscale of a named kernel, in median distances of users, and of items.
        n_anchors: How many functions are balanced.
        anchors: "random"; "worst": the pairs worst out of balance, found exactly over all pairs; "adaptive": those that
            the errors of a model are made of; "all": every function of the kernel's space, with no anchors.
        tol: Largest accepted imbalance of a function, the paper's C; for "all" only the ridge counts.
        ridge: Lets imbalances exceed `tol` at the cost of their squares over it; 0 for constraints that must hold.
        clip: Quantile at which weights are cut off; 1 for not at all.
        random_state: Seed of the anchors.

    Attributes:
        weights_: One for each observed pair, of mean 1.
        base_weights_: Those to be near to, of mean 1.
        anchors_: Pairs (user, item), (J, 2); for "all" none.
        imbalance_, imbalance_before_: Of each anchor's function, with `weights_` and with `base_weights_`.
        infeasible_: Anchors that no weights can balance along with the others.
        ess_: Effective sample size of `weights_`.
        gap_: Certificate of the solver: nats by which feasible weights could be nearer.
        n_iter_: Steps of the solver.

    Raises:
        InputError: (on fit) rows that do not fit, indices without features, features that are not finite or all equal.

    References:
        H. Li, C. Zheng, Y. Xiao, P. Wu, Z. Geng, X. Chen, P. Cui. Debiased Collaborative Filtering with Kernel-Based
        Causal Balancing, 2024. https://arxiv.org/abs/2404.19596

    Example:
        >>> from harmonia.tables.kernel_balancing import semi_synthetic
        >>> truth = semi_synthetic(seed=0)
        >>> balancer = KernelBalancer().fit(truth.users, truth.items, truth.user_features, truth.item_features)
        >>> observed, ideal = truth.errors[truth.users, truth.items], truth.errors.mean()
        >>> naive, weighted = observed.mean() - ideal, (balancer.weights_ * observed).mean() - ideal
        >>> bool(abs(weighted) < abs(naive) / 2)
        True
    """

    def __init__(
        self,
        kernel: str | Kernel = "gaussian",
        *,
        bandwidth: float = 1.0,
        n_anchors: int = 200,
        anchors: Anchors = "random",
        tol: float = 0.0,
        ridge: float = 1e-5,
        clip: float = 1.0,
        random_state: int = 0,
    ) -> None:
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.n_anchors = n_anchors
        self.anchors = anchors
        self.tol = tol
        self.ridge = ridge
        self.clip = clip
        self.random_state = random_state

    def fit(
        self,
        users: Int[ndarray, " n"],
        items: Int[ndarray, " m"],
        user_features: Float[ndarray, "users p"],
        item_features: Float[ndarray, "items q"],
        *,
        base_weights: Float[ndarray, " rows"] | None = None,
        errors: Float[ndarray, " errors"] | None = None,
    ) -> KernelBalancer:
        """Balance observed pairs against all pairs.

        Arguments:
            users: Row of `user_features` of each observed pair.
            items: Row of `item_features` of each.
            user_features: Covariates of all users, also of those who rated nothing.
            item_features: Covariates of all items.
            base_weights: Positive weights to stay near to, such as inverse propensities; 1 unless given.
            errors: The model's error at each observed pair; needed for adaptive anchors.
        """
        self._check()
        base = _checked_pairs(users, items, len(user_features), len(item_features), base_weights)
        self.pairs_ = PairKernel.of(
            self.kernel, self.bandwidth, standardised(user_features, "user"), standardised(item_features, "item")
        )
        self.users_, self.items_, self.base_weights_ = users, items, base
        self._witness: tuple[ndarray, ndarray] | None = None
        if self.anchors == "all":
            found = balance_functions(self.pairs_, users, items, base, self.ridge)
            self.anchors_ = np.empty((0, 2), dtype=np.int64)
            self.imbalance_ = self.imbalance_before_ = np.empty(0)
            self._finish(found.weights, np.empty(0, dtype=np.int64), found.gap, found.steps)
            return self
        self.anchors_, balanced = self._anchored(users, items, base, errors)
        self._take(balanced)
        return self

    def _anchored(
        self, users: ndarray, items: ndarray, base: ndarray, errors: ndarray | None
    ) -> tuple[ndarray, Balanced]:
        pairs, generator = self.pairs_, np.random.default_rng(self.random_state)
        if self.anchors == "worst":
            return worst_anchors(pairs, users, items, base, self.n_anchors, self.tol, self.ridge)
        if self.anchors == "random":
            chosen = random_anchors(pairs, self.n_anchors, generator)
        else:
            if errors is None or errors.shape != users.shape or not np.isfinite(errors).all():
                got = "none" if errors is None else f"shape {errors.shape}"
                raise InputError("adaptive anchors need the model's errors", got, f"Pass {len(users)} finite numbers.")
            chosen = adaptive_anchors(pairs, users, items, errors, base, self.n_anchors, generator)
        return chosen, balance_moments(
            pairs.features(users, items, chosen), pairs.mean(chosen), base_weights=base, tol=self.tol, ridge=self.ridge
        )

    def balance(
        self,
        sample: Float[ndarray, "n features"],
        target: Float[ndarray, "m others"],
        *,
        base_weights: Float[ndarray, " rows"] | None = None,
    ) -> Float[ndarray, " n"]:
        """Weights under which one sample looks like another: covariate shift in general.

        Arguments:
            sample: Rows to be weighted.
            target: Rows of the population meant, with the same columns; anchors are drawn from them.
            base_weights: Positive weights to stay near to.

        Returns:
            Weights of mean 1, which are also `weights_`.

        Raises:
            InputError: tables that do not fit, or anchors other than random ones.
        """
        self._check()
        if self.anchors != "random":
            raise InputError("two samples are balanced with random anchors", self.anchors, 'Use anchors="random".')
        if sample.ndim != 2 or target.ndim != 2 or sample.shape[1] != target.shape[1] or not len(sample):
            raise InputError("the tables do not fit", f"{sample.shape}, {target.shape}", "Pass the same columns.")
        both = standardised(np.concatenate([target, sample]), "sample")
        x, population = torch.from_numpy(both[len(target) :]), torch.from_numpy(both[: len(target)])
        kernel = scaled_kernel(self.kernel, self.bandwidth, both[: len(target)])
        generator = np.random.default_rng(self.random_state)
        chosen = generator.choice(len(target), min(self.n_anchors, len(target)), replace=False)
        anchors = population[torch.from_numpy(chosen)]
        self.__dict__.pop("pairs_", None)  # what is said of pairs of users and items holds no longer
        self.anchors_, self.base_weights_ = chosen, _checked_weights(base_weights, len(sample))
        self._take(
            balance_moments(
                kernel(x, anchors).numpy(),
                mean_embedding(kernel, population, anchors).numpy(),
                base_weights=self.base_weights_,
                tol=self.tol,
                ridge=self.ridge,
            )
        )
        return self.weights_

    def mmd(self) -> tuple[float, float]:
        """Largest imbalance over all functions of norm 1, with the base weights and with `weights_`."""
        check_is_fitted(self, "pairs_")
        both = zip((self.base_weights_, self.weights_), self.witness())
        before, after = (self.pairs_.mmd(self.users_, self.items_, weights, found) for weights, found in both)
        return before, after

    def witness(self) -> tuple[Float[ndarray, "users items"], Float[ndarray, "users items"]]:
        """Imbalance of the function at every pair, with the base weights and with `weights_`."""
        check_is_fitted(self, "pairs_")
        if self._witness is None:
            both = (self.base_weights_, self.weights_)
            before, after = (self.pairs_.witness(self.users_, self.items_, weights) for weights in both)
            self._witness = before, after
        return self._witness

    def bias_bound(self, errors: Float[ndarray, " n"], n_anchors: int = 300) -> BiasBound:
        """How biased the mean of a model's errors was and is, as far as it can be seen; and what bounds it.

        The errors are fitted by weighted kernel ridge regression; the fit's mean over all pairs is known exactly.

        Arguments:
            errors: One for each observed pair.
            n_anchors: Terms of the fit.
        """
        check_is_fitted(self, "pairs_")
        if errors.shape != self.users_.shape or not np.isfinite(errors).all():
            raise InputError("the errors do not fit", errors.shape, f"Pass {len(self.users_)} finite numbers.")
        w = self.weights_
        f = regress(self.pairs_, self.users_, self.items_, errors, w, n_anchors=n_anchors, random_state=1)
        fitted = f.at(self.users_, self.items_)
        before, after = self.mmd()
        spread = float((w * np.square(errors - f.centre)).mean())
        left = float((w * np.square(errors - fitted)).mean())
        return BiasBound(
            before=float((self.base_weights_ * fitted).mean()) - f.mean,
            after=float((w * fitted).mean()) - f.mean,
            norm=f.norm,
            bound_before=f.norm * before,
            bound=f.norm * after,
            explained=max(0.0, 1 - left / spread) if spread else 0.0,
        )

    def _check(self) -> None:
        if self.anchors not in ("random", "worst", "adaptive", "all"):
            raise InputError("there are no such anchors", f"'{self.anchors}'", "Use random, worst, adaptive or all.")
        if self.n_anchors < 1:
            raise InputError("at least one function must be balanced", self.n_anchors, "Give n_anchors >= 1.")
        if not 0 < self.clip <= 1:
            raise InputError("clip is a quantile", self.clip, "Give 0 < clip <= 1.")

    def _take(self, balanced: Balanced) -> None:
        self.imbalance_, self.imbalance_before_ = balanced.imbalance, balanced.before
        self._finish(balanced.weights, balanced.infeasible, balanced.gap, balanced.steps)

    def _finish(self, weights: ndarray, infeasible: ndarray, gap: float, steps: int) -> None:
        if self.clip < 1:
            weights = np.minimum(weights, np.quantile(weights, self.clip))
            weights /= weights.mean()
        self.weights_, self.infeasible_, self.gap_, self.n_iter_ = weights, infeasible, gap, steps
        self.ess_ = effective_sample_size(weights)
        if len(infeasible):
            warnings.warn(
                f"{len(infeasible)} of {self.n_anchors} functions cannot be balanced within {self.tol:g}: these users "
                "rated too little of what they stand for. Give a larger tol, or a ridge.",
                stacklevel=4,
            )
        if self.ess_ < _FEW * len(weights):
            warnings.warn(
                f"the weights leave {self.ess_:.0f} effective ratings of {len(weights)}: estimates will vary. Give a "
                "larger ridge, fewer anchors, or clip.",
                stacklevel=4,
            )


def standardised(features: Float[ndarray, "n p"], of: str) -> Float[ndarray, "n q"]:
    """Columns of mean 0 and variance 1, in float64; those that do not vary are dropped.

    Raises:
        InputError: no table, values that are not finite, or nothing that varies.
    """
    if features.ndim != 2 or not len(features):
        raise InputError(f"{of} features are a table", features.shape, "Pass one row for each.")
    x = features.astype(np.float64)
    if not np.isfinite(x).all():
        raise InputError(f"{of} features must be finite", "NaN or infinity", "Fill or drop such values.")
    x = x - x.mean(0)
    scale = x.std(0)
    varies = scale > 1e-12 * (1 + np.abs(features).max(0))
    if not varies.any():
        raise InputError("the covariates carry no information", f"constant {of} features", "Pass some that differ.")
    return x[:, varies] / scale[varies]


def _checked_pairs(users: ndarray, items: ndarray, n_users: int, n_items: int, base_weights: ndarray | None) -> ndarray:
    if users.shape != items.shape or not len(users):
        raise InputError("users and items are of different length", f"{users.shape} and {items.shape}", "Pair them.")
    for name, index, count in (("user", users, n_users), ("item", items, n_items)):
        if index.min() < 0 or index.max() >= count:
            got = f"index {index.min() if index.min() < 0 else index.max()} of {count}"
            raise InputError(f"a {name} has no features", got, f"Number the {name}s from 0 and give a row for each.")
    return _checked_weights(base_weights, len(users))


def _checked_weights(base_weights: ndarray | None, n: int) -> ndarray:
    if base_weights is None:
        return np.ones(n)
    if base_weights.shape != (n,) or not (np.isfinite(base_weights).all() and (base_weights > 0).all()):
        raise InputError("base weights must be positive, one a row", base_weights.shape, f"Pass {n} positive numbers.")
    return base_weights / base_weights.mean()
