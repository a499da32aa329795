"""Weights that make observed ratings look like all pairs of users and items: `KernelBalancer`."""

from __future__ import annotations

import warnings
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy import ndarray
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from harmonia.core.checks import as_numbers
from harmonia.core.errors import InputError
from harmonia.parts.gram import Kernel, mean_embedding
from harmonia.parts.spread import varies
from harmonia.tables.kernel_balancing.anchors import Anchors, adaptive_anchors, random_anchors, worst_anchors
from harmonia.tables.kernel_balancing.dual import Balanced, balance_moments, effective_sample_size
from harmonia.tables.kernel_balancing.functions import balance_functions
from harmonia.tables.kernel_balancing.inputs import finite, finite_table, indices, positive_weights
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
        infeasible_: Anchors left out of balance because no weights can do better: nothing observed is like them, or,
            without a ridge, they cannot be balanced along with the others.
        ess_: Effective sample size of `weights_`.
        gap_: Certificate of the solver: nats by which feasible weights could be nearer.
        n_iter_: Steps of the solver.

    Raises:
        InputError: (on fit) options out of range, rows that do not fit, indices without features, features that are
            not finite or all equal.

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
        users: ArrayLike,
        items: ArrayLike,
        user_features: ArrayLike,
        item_features: ArrayLike,
        *,
        base_weights: ArrayLike | None = None,
        errors: ArrayLike | None = None,
    ) -> KernelBalancer:
        """Balance observed pairs against all pairs.

        Arguments:
            users: (n,): row of `user_features` of each observed pair.
            items: (n,): row of `item_features` of each.
            user_features: (users, p) covariates of all users, also of those who rated nothing: an array, a list of rows
                or a data frame, whose rows are counted from 0.
            item_features: (items, q) covariates of all items.
            base_weights: (n,) positive weights to stay near to, such as inverse propensities; 1 unless given.
            errors: (n,): the model's error at each observed pair; needed for adaptive anchors.
        """
        self._check()
        tables = standardised(user_features, "user"), standardised(item_features, "item")
        u, i = indices(users, len(tables[0]), "user"), indices(items, len(tables[1]), "item")
        if u.ndim != 1 or u.shape != i.shape or not u.size:
            raise InputError("users and items are of different length", f"{u.shape} and {i.shape}", "Pair them.")
        base = positive_weights(base_weights, len(u))
        pairs = PairKernel.of(self.kernel, self.bandwidth, *tables)
        if self.anchors == "all":
            found = balance_functions(pairs, u, i, base, self.ridge)
            none, anchors = np.empty(0), np.empty((0, 2), dtype=np.int64)
            balanced = Balanced(found.weights, none, none, none, found.divergence, found.gap, none, found.steps)
        else:
            anchors, balanced = self._anchored(pairs, u, i, base, errors)
        self.pairs_, self.users_, self.items_ = pairs, u, i
        self._witness: tuple[ndarray, ndarray] | None = None
        self._take(balanced, anchors, base)
        return self

    def _anchored(
        self, pairs: PairKernel, users: ndarray, items: ndarray, base: ndarray, errors: ArrayLike | None
    ) -> tuple[ndarray, Balanced]:
        generator = np.random.default_rng(self.random_state)
        if self.anchors == "worst":
            return worst_anchors(pairs, users, items, base, self.n_anchors, self.tol, self.ridge)
        if self.anchors == "random":
            chosen = random_anchors(pairs, self.n_anchors, generator)
        else:
            if errors is None:
                mend = f"Pass {len(users)} finite numbers."
                raise InputError("adaptive anchors need the model's errors", "none", mend)
            known = finite(errors, users.shape, "the model's errors")
            chosen = adaptive_anchors(pairs, users, items, known, base, self.n_anchors, generator)
        return chosen, balance_moments(
            pairs.features(users, items, chosen), pairs.mean(chosen), base_weights=base, tol=self.tol, ridge=self.ridge
        )

    def balance(
        self,
        sample: ArrayLike,
        target: ArrayLike,
        *,
        base_weights: ArrayLike | None = None,
    ) -> Float64[ndarray, " n"]:
        """Weights under which one sample looks like another: covariate shift in general.

        Where nothing in the sample is like an anchor no weights balance it: a warning says how many there are, and
        `infeasible_` which.

        Arguments:
            sample: (n, p) rows to be weighted.
            target: (m, p) rows of the population meant, with the same columns; anchors are drawn from them.
            base_weights: (n,) positive weights to stay near to.

        Returns:
            Weights of mean 1, which are also `weights_`.

        Raises:
            InputError: tables that do not fit, or anchors other than random ones.
        """
        self._check()
        if self.anchors != "random":
            raise InputError("two samples are balanced with random anchors", self.anchors, 'Use anchors="random".')
        rows, others = as_numbers(sample, "the sample"), as_numbers(target, "the target")
        if rows.ndim != 2 or others.ndim != 2 or rows.shape[1] != others.shape[1] or not len(rows):
            raise InputError("the tables do not fit", f"{rows.shape}, {others.shape}", "Pass the same columns.")
        base = positive_weights(base_weights, len(rows))
        both = standardised(np.concatenate([others, rows]), "sample")
        x, population = torch.from_numpy(both[len(others) :]), torch.from_numpy(both[: len(others)])
        kernel = scaled_kernel(self.kernel, self.bandwidth, both[: len(others)])
        generator = np.random.default_rng(self.random_state)
        chosen = generator.choice(len(others), min(self.n_anchors, len(others)), replace=False)
        anchors = population[torch.from_numpy(chosen)]
        balanced = balance_moments(
            kernel(x, anchors).numpy(),
            mean_embedding(kernel, population, anchors).numpy(),
            base_weights=base,
            tol=self.tol,
            ridge=self.ridge,
        )
        self.__dict__.pop("pairs_", None)  # what is said of pairs of users and items holds no longer
        self._take(balanced, chosen, base)
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

    def bias_bound(self, errors: ArrayLike, n_anchors: int = 300) -> BiasBound:
        """How biased the mean of a model's errors was and is, as far as it can be seen; and what bounds it.

        The errors are fitted by weighted kernel ridge regression; the fit's mean over all pairs is known exactly.

        Arguments:
            errors: (n,): one for each observed pair.
            n_anchors: Terms of the fit.

        Raises:
            InputError: other than n finite numbers.
        """
        check_is_fitted(self, "pairs_")
        e, w = finite(errors, self.users_.shape, "the errors"), self.weights_
        f = regress(self.pairs_, self.users_, self.items_, e, w, n_anchors=n_anchors, random_state=1)
        fitted = f.at(self.users_, self.items_)
        before, after = self.mmd()
        spread = float((w * np.square(e - f.centre)).mean())
        left = float((w * np.square(e - fitted)).mean())
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
        if not isinstance(self.n_anchors, Integral) or self.n_anchors < 1:
            mend = "Give a whole number n_anchors >= 1."
            raise InputError("at least one function must be balanced", self.n_anchors, mend)
        if not 0 < self.clip <= 1:
            raise InputError("clip is a quantile", self.clip, "Give 0 < clip <= 1.")

    def _take(self, balanced: Balanced, anchors: ndarray, base_weights: ndarray) -> None:
        weights = balanced.weights
        if self.clip < 1:
            weights = np.minimum(weights, np.quantile(weights, self.clip))
            weights /= weights.mean()
        self.anchors_, self.base_weights_, self.weights_ = anchors, base_weights, weights
        self.imbalance_, self.imbalance_before_ = balanced.imbalance, balanced.before
        self.infeasible_, self.gap_, self.n_iter_ = balanced.infeasible.astype(np.int64), balanced.gap, balanced.steps
        self.ess_ = effective_sample_size(weights)
        if len(self.infeasible_):
            warnings.warn(
                f"{len(self.infeasible_)} of {len(anchors)} functions cannot be balanced within {self.tol:g} by any "
                "weights: too little observed is like what they stand for. Conclude nothing about that part, or give "
                "a larger tol.",
                stacklevel=3,
            )
        if self.ess_ < _FEW * len(weights):
            warnings.warn(
                f"the weights leave {self.ess_:.0f} effective ratings of {len(weights)}: estimates will vary. Give a "
                "larger ridge, fewer anchors, or clip.",
                stacklevel=3,
            )


def standardised(features: Any, of: str) -> Float64[ndarray, "n q"]:
    """Columns of mean 0 and variance 1, in float64; those that do not vary are dropped.

    Raises:
        InputError: no table of numbers, values that are not finite, or nothing that varies.
    """
    x = finite_table(features, of)
    largest = np.abs(x).max(0)
    x = np.ldexp(x, -np.frexp(largest)[1])  # exact: squares of features of any size are finite
    used = varies(x)
    if not used.any():
        raise InputError("the covariates carry no information", f"constant {of} features", "Pass some that differ.")
    x = x[:, used] - x[:, used].mean(0)
    return x / x.std(0)
