"""A fair look at a table: the quantum kernel beside a Gaussian kernel, each tuned as much, judged on rows left out."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64
from numpy import ndarray
from sklearn.base import BaseEstimator, clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from harmonia.core.errors import InputError
from harmonia.core.progress import track
from harmonia.kernels.quantum_kernels.svm import QuantumSVC

BANDWIDTHS = (0.1, 0.25, 0.5, 1.0)
PENALTIES = (1.0, 10.0, 100.0, 1e4)
GAMMAS = (0.1, 0.5, 2.0, 8.0)
"""Of the Gaussian kernel, in units of one over the number of features."""

_JUDGED, _TUNED = 5, 4
"""Folds of the rows that are left out in turn, and of those that settings are chosen on."""


def quantum_search(features: int, qubits: int, *, angles: bool, seed: int, **options: Any) -> GridSearchCV:
    """A quantum kernel machine whose bandwidth and penalty are chosen by cross-validation.

    Arguments:
        features: Columns.
        qubits: Columns beyond this number are replaced by as many principal components.
        angles: Whether columns are angles already.
        seed: Of folds and shots.
        options: Further ones of `QuantumSVC`.
    """
    machine = QuantumSVC(scaling=None if angles else "minmax", random_state=seed, **options)
    model = with_components(machine, features, qubits, seed)
    return _search(model, {"machine__bandwidth": BANDWIDTHS, "machine__C": PENALTIES}, seed)


def gaussian_search(features: int, qubits: int, *, seed: int) -> GridSearchCV:
    """A machine with a Gaussian kernel on the same columns or components, of which as many settings are tried."""
    model = with_components(SVC(), features, qubits, seed)
    model.steps.insert(1, ("scaler", StandardScaler()))
    gammas = [gamma / min(features, qubits) for gamma in GAMMAS]
    return _search(model, {"machine__gamma": gammas, "machine__C": PENALTIES}, seed)


def with_components(model: BaseEstimator, features: int, qubits: int, seed: int) -> Pipeline:
    """`model` on the columns; on as many principal components as qubits, if there are more columns."""
    first = PCA(qubits, random_state=seed) if features > qubits else FunctionTransformer()
    return Pipeline([("components", first), ("machine", model)])


def _search(model: Pipeline, grid: dict[str, Any], seed: int) -> GridSearchCV:
    return GridSearchCV(model, grid, cv=StratifiedKFold(_TUNED, shuffle=True, random_state=seed))


def fewest_rows(rows: int) -> int:
    """Rows of the smallest training set when `leave_out` judges a search on `rows` of them.

    Example:
        >>> fewest_rows(10)
        6
    """
    for folds in (_JUDGED, _TUNED):
        rows -= -(-rows // folds)
    return rows


@dataclass(frozen=True)
class LeftOut:
    """Predictions of rows by models that did not see them.

    Attributes:
        labels: Predicted.
        decisions: Decision values, (rows,) for two classes or (rows, classes).
        right: Whether each is right.
        fold_accuracy: Accuracy in each fold.
    """

    labels: ndarray
    decisions: Float64[ndarray, "rows *classes"]
    right: Bool[ndarray, " rows"]
    fold_accuracy: Float64[ndarray, " folds"]

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())


def leave_out(model: BaseEstimator, X: Float64[ndarray, "n d"], y: ndarray, seed: int, label: str) -> LeftOut:
    """Five-fold cross-validation around whatever tuning the model does itself.

    Raises:
        InputError: a class with fewer than five rows.
    """
    classes, counts = np.unique(y, return_counts=True)
    if counts.min() < 5:
        rare = f"{counts.min()} of '{classes[counts.argmin()]}'"
        raise InputError("every class needs at least five rows", rare, "Merge it with another class or drop it.")
    labels = np.empty_like(y)
    decisions = np.empty((len(y), len(classes)) if len(classes) > 2 else len(y))
    folds = list(StratifiedKFold(_JUDGED, shuffle=True, random_state=seed).split(X, y))
    accuracy = np.empty(len(folds))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # concentration is reported once, by the caller
        for fold, (train, test) in enumerate(track(folds, label)):
            fitted = clone(model).fit(X[train], y[train])
            labels[test], decisions[test] = fitted.predict(X[test]), fitted.decision_function(X[test])
            accuracy[fold] = (labels[test] == y[test]).mean()
    return LeftOut(labels, decisions, labels == y, accuracy)


def probabilities(
    left_out: LeftOut, y: ndarray, decisions: Float64[ndarray, "rows *classes"]
) -> Float64[ndarray, "rows classes"]:
    """Classes' probabilities by a logistic regression on the decision values of rows left out (Platt 1999)."""
    table = left_out.decisions.reshape(len(y), -1)
    return LogisticRegression(C=1e3, max_iter=1000).fit(table, y).predict_proba(decisions.reshape(len(decisions), -1))
