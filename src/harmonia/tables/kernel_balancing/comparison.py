"""Balancing beside what people use instead, where the truth is known: errors of estimates of the ideal loss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from harmonia.tables.kernel_balancing.balancer import KernelBalancer
from harmonia.tables.kernel_balancing.dual import balance_moments
from harmonia.tables.kernel_balancing.ideal_loss import estimate_ideal_loss
from harmonia.tables.kernel_balancing.regression import regress
from harmonia.tables.kernel_balancing.semi_synthetic import SemiSynthetic


def logistic_weights(truth: SemiSynthetic) -> Float64[ndarray, " n"]:
    """Inverse propensities of a logistic regression of being observed on the covariates of user and item."""
    from sklearn.linear_model import LogisticRegression

    users, items = truth.observed.shape
    u, i = np.divmod(np.arange(users * items), items)
    x = np.concatenate([truth.user_features[u], truth.item_features[i]], 1)
    model = LogisticRegression(C=1e4, max_iter=500).fit(x, truth.observed.ravel())
    return 1 / model.predict_proba(x)[truth.observed.ravel(), 1]


def moment_weights(truth: SemiSynthetic) -> Float64[ndarray, " n"]:
    """Weights that balance means and squares of all covariates exactly."""
    by_user, by_item = (np.concatenate([x, np.square(x)], 1) for x in (truth.user_features, truth.item_features))
    features = np.concatenate([by_user[truth.users], by_item[truth.items]], 1)
    return balance_moments(features, np.concatenate([by_user.mean(0), by_item.mean(0)]), tol=0.0).weights


def balanced(truth: SemiSynthetic, **options: object) -> KernelBalancer:
    """A fitted `KernelBalancer`; adaptive anchors are given the errors."""
    model = KernelBalancer(**options)  # type: ignore[arg-type]
    errors = truth.errors[truth.observed] if model.anchors == "adaptive" else None
    return model.fit(truth.users, truth.items, truth.user_features, truth.item_features, errors=errors)


def _plain(weights: Callable[[SemiSynthetic], ndarray | None]) -> Callable[[SemiSynthetic], float]:
    return lambda truth: estimate_ideal_loss(truth.errors[truth.observed], weights(truth))


def _doubly_robust(truth: SemiSynthetic) -> float:
    model, errors = balanced(truth), truth.errors[truth.observed]
    guess = regress(model.pairs_, truth.users, truth.items, errors, model.weights_)
    imputed = guess.at(truth.users, truth.items)
    return estimate_ideal_loss(errors, model.weights_, imputed=imputed, imputed_mean=guess.mean)


ESTIMATORS: dict[str, Callable[[SemiSynthetic], float]] = {
    "naive mean": _plain(lambda truth: None),
    "logistic propensities": _plain(logistic_weights),
    "balanced moments": _plain(moment_weights),
    "kernel balancing": _plain(lambda truth: balanced(truth).weights_),
    "worst-case anchors": _plain(lambda truth: balanced(truth, anchors="worst").weights_),
    "adaptive anchors": _plain(lambda truth: balanced(truth, anchors="adaptive").weights_),
    "all functions": _plain(lambda truth: balanced(truth, anchors="all").weights_),
    "doubly robust": _doubly_robust,
}
"""Estimates of the ideal loss, by name."""


def relative_error(truth: SemiSynthetic, name: str) -> float:
    """``estimate / mean_D e - 1``.

    Example:
        >>> from harmonia.tables.kernel_balancing import semi_synthetic
        >>> truth = semi_synthetic()
        >>> abs(relative_error(truth, "kernel balancing")) < 0.5 * abs(relative_error(truth, "naive mean"))
        True
    """
    return ESTIMATORS[name](truth) / float(truth.errors.mean()) - 1
