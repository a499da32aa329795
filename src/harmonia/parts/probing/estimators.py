"""Probes as scikit-learn estimators: ridge or logistic, with the penalty chosen by cross-validation."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
from numpy import ndarray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from harmonia.core.errors import InputError
from harmonia.parts.probing.folds import fold_numbers
from harmonia.parts.probing.layers import Probe, inner_scores
from harmonia.parts.probing.logistic import logistic_weights
from harmonia.parts.probing.ridge import ALPHAS, FoldMoments
from harmonia.parts.probing.targets import Targets


class _Probe(BaseEstimator):
    """The shared fit: folds, penalty, weights."""

    def _fit(self, features: ndarray, targets: Targets, probe: Any, groups: Any) -> None:
        if probe not in get_args(Probe):
            raise InputError("there is no such probe", repr(probe), f"Use one of {', '.join(get_args(Probe))}.")
        together = None if groups is None else np.asarray(groups)
        limit = len(features) if together is None else len(np.unique(together))
        folds = min(self.folds, limit)
        alphas = list(self.alphas)
        coded = targets.coded
        if folds < 2 or len(alphas) == 1:
            fold = np.zeros(len(features), dtype=np.int64)
            self.alpha_ = alphas[len(alphas) // 2]
            moments = FoldMoments(features, coded, fold)
        else:
            plain = Targets("regression", coded, coded, np.zeros(0))
            moments = FoldMoments(features, coded, fold_numbers(plain, folds, together, seed=self.random_state))
            scores = inner_scores(moments, -1, targets, targets.metric, probe, alphas)
            self.alpha_ = alphas[int(scores.argmax())]
        spectrum = moments.without()
        if probe == "ridge":
            weights, intercept = spectrum.weights([self.alpha_])[0], spectrum.centre
        else:
            exclusive = targets.goal == "multiclass"
            weights, intercept = logistic_weights(spectrum, features, coded, self.alpha_, exclusive)
        self.coef_ = weights / spectrum.standard.scale[:, None]
        self.intercept_ = intercept - spectrum.standard.mean @ self.coef_

    def _scores(self, X: Any) -> ndarray:
        check_is_fitted(self)
        return validate_data(self, X, reset=False, dtype=np.float64) @ self.coef_ + self.intercept_


class ProbeClassifier(ClassifierMixin, _Probe):
    """A linear probe for classes, or for several labels at once.

    Arguments:
        probe: ``ridge`` on +1 and -1, in closed form, or ``logistic``.
        alphas: Penalties to choose from, on standardised features.
        folds: Folds by which the penalty is chosen.
        random_state: Seed of the folds.

    Attributes:
        classes_: Names of the classes.
        alpha_: The penalty chosen.
        coef_, intercept_: ``[d, k]`` and ``[k]``.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> X = rng.normal(size=(80, 3))
        >>> y = np.where(X[:, 0] > 0, "up", "down")
        >>> bool(ProbeClassifier(probe="logistic").fit(X, y).score(X, y) > 0.95)
        True
    """

    # Untyped: scikit-learn's constructors take anything, and `fit` checks.
    def __init__(self, probe="ridge", alphas=ALPHAS, folds=5, random_state=0):
        self.probe = probe
        self.alphas = alphas
        self.folds = folds
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> ProbeClassifier:
        """Learn from features ``[n, d]`` and classes ``[n]`` or an indicator matrix ``[n, labels]``.

        Arguments:
            X: Features.
            y: Classes or labels.
            groups: What is never split between folds.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True)
        check_classification_targets(y)
        y = column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y
        targets = Targets.of(y, "multilabel" if y.ndim == 2 else "multiclass")
        self.multilabel_ = y.ndim == 2
        self.classes_ = np.arange(y.shape[1]) if self.multilabel_ else targets.classes
        self._fit(X, targets, self.probe, groups)
        return self

    def decision_function(self, X: Any) -> ndarray:
        """Scores of the classes ``[n, k]``; of two classes, that of the second ``[n]``."""
        scores = self._scores(X)
        two = not self.multilabel_ and scores.shape[1] == 2
        return scores[:, 1] - scores[:, 0] if two else scores

    def predict(self, X: Any) -> ndarray:
        """The classes, or an indicator matrix of the labels."""
        scores = self._scores(X)
        return (scores > 0).astype(np.int64) if self.multilabel_ else self.classes_[scores.argmax(1)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class ProbeRegressor(RegressorMixin, _Probe):
    """A ridge probe for numbers, one or several at once.

    Arguments:
        alphas: Penalties to choose from, on standardised features.
        folds: Folds by which the penalty is chosen.
        random_state: Seed of the folds.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(50, 2))
        >>> bool(ProbeRegressor().fit(X, 3 * X[:, 0]).score(X, 3 * X[:, 0]) > 0.999)
        True
    """

    # Untyped: scikit-learn's constructors take anything, and `fit` checks.
    def __init__(self, alphas=ALPHAS, folds=5, random_state=0):
        self.alphas = alphas
        self.folds = folds
        self.random_state = random_state

    def fit(self, X: Any, y: Any, groups: Any = None) -> ProbeRegressor:
        """Learn from features ``[n, d]`` and numbers ``[n]`` or ``[n, outputs]``.

        Arguments:
            X: Features.
            y: Numbers.
            groups: What is never split between folds.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        self.single_output_ = y.ndim == 1
        self._fit(X, Targets.of(y.astype(np.float64), "regression"), "ridge", groups)
        return self

    def predict(self, X: Any) -> ndarray:
        """The numbers."""
        scores = self._scores(X)
        return scores[:, 0] if self.single_output_ else scores

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
