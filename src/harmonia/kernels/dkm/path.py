"""How much learning of representations do the data want? Bound and held-out loss by `dof`, the price of learning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import column_or_1d

from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.kernels.dkm.estimators import DeepKernelMachineClassifier, DeepKernelMachineRegressor

DOFS = (math.inf, 1e3, 100.0, 10.0, 1.0, 0.1, 0.01)
"""From fixed kernels to almost free ones."""


class PathPoint(NamedTuple):
    """One stop: price of learning, bound in nats a row, mean loss of held-out rows in nats, and what layers moved."""

    dof: float
    elbo: float
    loss: float
    divergences: np.ndarray


def learning_path(
    model: DeepKernelMachineRegressor | DeepKernelMachineClassifier,
    train: tuple[Any, Any],
    test: tuple[Any, Any],
    dofs: Sequence[float] = DOFS,
) -> list[PathPoint]:
    """Fit from the fixed kernel towards free ones, each from where the last one ended.

    Arguments:
        model: The estimator; its own `dof`, the price of learning, is not used.
        train: Inputs and targets to learn from.
        test: Those held out.
        dofs: Prices of learning, falling: from kernels that are fixed to kernels that are free.

    Raises:
        InputError: prices that do not fall, or what `held_out_loss` refuses.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = DeepKernelMachineRegressor(n_inducing=10, max_iter=10, random_state=0)
        >>> path = learning_path(model, (X[:300], y[:300]), (X[300:], y[300:]), dofs=(1e3, 1.0))
        >>> [point.dof for point in path], path[1].elbo > path[0].elbo
        ([1000.0, 1.0], True)
    """
    if list(dofs) != sorted(dofs, reverse=True) or not len(dofs):
        raise InputError("the prices of learning along a path fall", list(dofs), "Sort them, the largest first.")
    if isinstance(model, DeepKernelMachineClassifier):
        _places(np.unique(train[1]), test[1])
    moving = clone(model).set_params(warm_start=True)
    found = []
    for dof in track(list(dofs), "Path"):
        moving.set_params(dof=dof).fit(*train)
        found.append(PathPoint(dof, moving.elbo_, held_out_loss(moving, *test), moving.layer_divergences_))
    return found


def held_out_loss(model: DeepKernelMachineRegressor | DeepKernelMachineClassifier, X: Any, y: Any) -> float:
    """Minus the mean log density of targets, or log probability of labels, in nats.

    Raises:
        InputError: labels that the model was not trained on; targets of another shape than predictions, or not finite.
    """
    if isinstance(model, DeepKernelMachineClassifier):
        truth = _places(model.classes_, y)
        shares = model.predict_proba(X)
        return float(-np.log(shares[np.arange(len(truth)), truth].clip(1e-300)).mean())
    mean, std = model.predict(X, return_std=True)
    targets = np.asarray(y, dtype=np.float64)
    if targets.shape != mean.shape or not np.isfinite(targets).all():
        raise InputError("held-out targets are finite, one a row", targets.shape, f"Pass {mean.shape}, without NaN.")
    error = np.square((targets - mean) / std) + 2 * np.log(std) + math.log(2 * math.pi)
    return float(error.mean() / 2)


def _places(classes: np.ndarray, y: Any) -> np.ndarray:
    """Of labels among the sorted classes of the training."""
    labels = column_or_1d(y)
    unseen = labels[~np.isin(labels, classes)]
    if len(unseen):
        raise InputError("a held-out label is not in the training data", unseen[0], "Split otherwise.")
    return np.searchsorted(classes, labels)
