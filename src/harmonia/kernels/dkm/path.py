"""How much learning of representations do the data want? Bound and held-out loss along the degrees of freedom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone

from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.kernels.dkm.estimators import DeepKernelMachineClassifier, DeepKernelMachineRegressor

DOFS = (math.inf, 1e3, 100.0, 10.0, 1.0, 0.1, 0.01)
"""From fixed kernels to almost free ones."""


class PathPoint(NamedTuple):
    """One stop: degrees of freedom, bound in nats a row, mean loss of held-out rows in nats, and what layers moved."""

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
        model: The estimator; its own `dof` is not used.
        train: Inputs and targets to learn from.
        test: Those held out.
        dofs: Degrees of freedom, falling.

    Raises:
        InputError: degrees of freedom that do not fall.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = DeepKernelMachineRegressor(n_inducing=10, max_iter=10, random_state=0)
        >>> path = learning_path(model, (X[:300], y[:300]), (X[300:], y[300:]), dofs=(1e3, 1.0))
        >>> [point.dof for point in path], path[1].elbo > path[0].elbo
        ([1000.0, 1.0], True)
    """
    if list(dofs) != sorted(dofs, reverse=True) or not len(dofs):
        raise InputError("the degrees of freedom of a path fall", list(dofs), "Sort them, the largest first.")
    moving = clone(model).set_params(warm_start=True)
    found = []
    for dof in track(list(dofs), "Path"):
        moving.set_params(dof=dof).fit(*train)
        found.append(PathPoint(dof, moving.elbo_, held_out_loss(moving, *test), moving.layer_divergences_))
    return found


def held_out_loss(model: DeepKernelMachineRegressor | DeepKernelMachineClassifier, X: Any, y: Any) -> float:
    """Minus the mean log density of targets, or log probability of labels, in nats."""
    if isinstance(model, DeepKernelMachineClassifier):
        shares = model.predict_proba(X)
        truth = np.searchsorted(model.classes_, y)
        return float(-np.log(shares[np.arange(len(truth)), truth].clip(1e-300)).mean())
    mean, std = model.predict(X, return_std=True)
    error = np.square((np.asarray(y) - mean) / std) + 2 * np.log(std) + math.log(2 * math.pi)
    return float(error.mean() / 2)
