"""The bundled network as a regressor and as a classifier."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.snnk.bundled import BundledSNNK
from harmonia.parts.probing.logistic import logistic_predictions, logistic_weights
from harmonia.parts.probing.ridge import ALPHAS, FoldMoments


class BundledSNNKRegressor(RegressorMixin, BundledSNNK):
    """Regression by a network without backpropagation: deep random features, and ridge regression on them.

    A stack of scalable layers collapses into ``y = Psi Phi_L(... Phi_1(x)) + b`` with Phi fixed; Psi minimises
    ``|y - Psi Phi|^2 + alpha |Psi|^2``, and alpha the exact leave-one-out error.

    Arguments:
        n_features: Features of each layer; one number, or one a layer.
        depth: Layers, when one number is given.
        order: Of the arc-cosine kernel: 0 steps, 1 ReLU, 2 squared ReLU.
        directions: ``orthogonal``; ``gaussian``; ``sorf``: faster for rows of 1000 numbers or more.
        bias: Whether layers see a constant.
        standardize: Whether columns get mean 0 and variance 1 (of the first batch, with `partial_fit`).
        alpha: The penalty, or ``"loo"``.
        solver: ``rows``: all features in memory, exact leave-one-out errors; ``sums``: one pass in constant memory,
            alpha by generalised cross-validation; ``auto``: rows up to 1 GiB of features.
        random_state: Seed of the features.

    Attributes:
        layers_: The features.
        alpha_: The penalty.
        n_parameters_: Trainable numbers.
        solved_: The fit, with errors of rows left out.

    Example:
        >>> X = np.random.default_rng(0).uniform(-2, 2, (400, 2))
        >>> model = BundledSNNKRegressor(256, random_state=0).fit(X[:300], np.sin(X[:300]).prod(1))
        >>> model.score(X[300:], np.sin(X[300:]).prod(1)) > 0.98, model.n_parameters_
        (True, 257)
    """

    def __init__(  # untyped: scikit-learn's constructors take anything, and `fit` checks
        self,
        n_features=512,
        *,
        depth=None,
        order=1,
        directions="orthogonal",
        bias=True,
        standardize=True,
        alpha="loo",
        solver="auto",
        random_state=None,
    ):
        self.n_features = n_features
        self.depth = depth
        self.order = order
        self.directions = directions
        self.bias = bias
        self.standardize = standardize
        self.alpha = alpha
        self.solver = solver
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> BundledSNNKRegressor:
        """Fit from scratch.

        Arguments:
            X: ``(n, d)``; in float32 features are computed in float32, sums in float64.
            y: ``(n,)`` or ``(n, k)``.
        """
        X, y = self._new_rows(X, y, first=True)
        self._flat = np.ndim(y) == 1
        self._fit_targets(X, self._targets(y))
        return self

    def partial_fit(self, X: Any, y: Any) -> BundledSNNKRegressor:
        """Add rows; the result is that of all rows at once, with the scale of columns of the first batch."""
        return self._update(X, y, 1)

    def forget(self, X: Any, y: Any) -> BundledSNNKRegressor:
        """Take rows away that `fit` or `partial_fit` was given: as if they had never been seen.

        With ``standardize=True`` what remains is the scale of the columns, which is that of the first batch.

        Raises:
            InputError: more rows than there are.
        """
        return self._update(X, y, -1)

    def _update(self, X: Any, y: Any, sign: int) -> BundledSNNKRegressor:
        first = not hasattr(self, "layers_")
        if sign < 0:
            check_is_fitted(self)
        X, y = self._new_rows(X, y, first=first)
        if first:
            self._flat, self._sums = np.ndim(y) == 1, None
            self._start(X)
        self._add_targets(X, self._targets(y), sign)
        return self

    def predict(self, X: Any) -> Float64[ndarray, "n *k"]:
        """Numbers."""
        y = self._linear(X).numpy()
        return y[:, 0] if self._flat else y

    @property
    def left_out_predictions_(self) -> Float64[ndarray, "n *k"]:
        """Of every row by the model of all others; after `fit` with rows in memory."""
        y = self._left_out().numpy()
        return y[:, 0] if self._flat else y

    def _targets(self, y: Any) -> Tensor:
        return torch.from_numpy(np.array(y, dtype=np.float64).reshape(len(y), -1))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class BundledSNNKClassifier(ClassifierMixin, BundledSNNK):
    """Classification by a network without backpropagation: deep random features, and a closed-form last layer.

    With ``loss="squared"`` every class has a target of 1 or 0, fitted by ridge regression; probabilities are a softmax
    of the answers, whose temperature makes answers to rows that were left out likeliest. With ``loss="logistic"`` the
    penalised logistic loss is minimised on the same features, from that solution.

    Arguments:
        n_features, depth, order, directions, bias, standardize, alpha, solver, random_state: See
            `BundledSNNKRegressor`.
        loss: ``squared`` or ``logistic``; the latter keeps all rows.

    Attributes:
        classes_: Labels.
        alpha_, n_parameters_, solved_: See `BundledSNNKRegressor`.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> X, y = load_digits(return_X_y=True)
        >>> model = BundledSNNKClassifier(256, standardize=False, random_state=0).fit(X[:1200], y[:1200])
        >>> model.score(X[1200:], y[1200:]) > 0.93, model.n_parameters_
        (True, 2570)
    """

    _temperature: _Temperature | None = None

    def __init__(  # untyped: scikit-learn's constructors take anything, and `fit` checks
        self,
        n_features=512,
        *,
        depth=None,
        order=1,
        directions="orthogonal",
        bias=True,
        standardize=True,
        alpha="loo",
        loss="squared",
        solver="auto",
        random_state=None,
    ):
        self.n_features = n_features
        self.depth = depth
        self.order = order
        self.directions = directions
        self.bias = bias
        self.standardize = standardize
        self.alpha = alpha
        self.loss = loss
        self.solver = solver
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> BundledSNNKClassifier:
        """Fit from scratch.

        Arguments:
            X: ``(n, d)``.
            y: ``(n,)`` labels of any kind.

        Raises:
            InputError: an unknown loss or parameter, or one class alone.
        """
        if self.loss not in ("squared", "logistic"):
            raise InputError("no such loss", repr(self.loss), "Use 'squared' or 'logistic'.")
        X, y = self._new_labels(X, y, first=True)
        self.classes_ = unique_labels(y)
        if len(self.classes_) < 2:
            raise InputError("a classifier needs two classes", f"1 class: {self.classes_[0]}", "Pass more labels.")
        targets = self._coded(y)
        self._fit_targets(X, targets)
        self._temperature = None
        if self.loss == "logistic":
            self._fit_logistic(X, targets)
        elif self._found is not None:
            self._temperature = _Temperature(self._left_out().numpy(), targets.numpy())
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> BundledSNNKClassifier:
        """Add rows; the first call must name all classes, unless it holds them all."""
        return self._update(X, y, classes, 1)

    def forget(self, X: Any, y: Any) -> BundledSNNKClassifier:
        """Take rows away that `fit` or `partial_fit` was given: answers are as if they had never been seen.

        What remains is the scale of the columns with ``standardize=True``, and `temperature_`, which is that of `fit`:
        sums know none.
        """
        return self._update(X, y, None, -1)

    def _update(self, X: Any, y: Any, classes: Any, sign: int) -> BundledSNNKClassifier:
        if self.loss != "squared":
            raise InputError("rows come and go with the squared loss", repr(self.loss), "Use loss='squared'.")
        first = not hasattr(self, "layers_")
        if sign < 0:
            check_is_fitted(self)
        X, y = self._new_labels(X, y, first=first)
        if first:
            self.classes_ = unique_labels(y if classes is None else classes)
            self._sums = None
            self._start(X)
        self._add_targets(X, self._coded(y), sign)
        if self._temperature is not None:
            self._temperature.settle()  # rows that are forgotten are not kept for it
        return self

    def decision_function(self, X: Any) -> Float64[ndarray, " n *classes"]:
        """A number for each class; of two classes, the second one's less the first one's."""
        decisions = self._decisions(X)
        return decisions[:, 1] - decisions[:, 0] if len(self.classes_) == 2 else decisions

    def predict(self, X: Any) -> ndarray:
        """Labels."""
        best = self._decisions(X).argmax(1)
        return self.classes_[best]

    def predict_proba(self, X: Any) -> Float64[ndarray, "n classes"]:
        """Probabilities of the classes; without a `temperature_` answers are clipped to [0, 1]."""
        decisions = self._decisions(X)
        if self.loss == "logistic":
            return softmax(decisions, axis=1)
        if self._temperature is not None:
            return softmax(decisions / self._temperature.value, axis=1)
        clipped = decisions.clip(1e-6, 1)
        return clipped / clipped.sum(1, keepdims=True)

    @property
    def temperature_(self) -> float:
        """By which answers are divided before the softmax; that of the likeliest answers to rows left out.

        It is that of the last `fit` with rows in memory and the squared loss, also when rows came and went since; sums
        alone know none.
        """
        if self._temperature is None:
            check_is_fitted(self)
            mend = "Fit with solver='rows' and the squared loss."
            raise InputError("answers to rows left out make the temperature", f"solver={self.solver!r}", mend)
        return self._temperature.value

    @property
    def left_out_probabilities_(self) -> Float64[ndarray, "n classes"]:
        """Of every row by the model of all others; after `fit` with rows in memory and the squared loss."""
        return softmax(self._left_out().numpy() / self.temperature_, axis=1)

    def _decisions(self, X: Any) -> Float64[ndarray, "n classes"]:
        return self._linear(X).numpy()

    def _fit_logistic(self, X: ndarray, targets: Tensor) -> None:
        """The penalised logistic loss on the same features; of penalties the best on a fifth of the rows."""
        features, coded = self._phi(X).double().numpy(), targets.numpy() * 2 - 1
        folds = np.random.default_rng(0).permutation(len(X)) % 5
        moments = FoldMoments(features, coded, folds)
        alpha = self._penalty / len(X) if self._penalty is not None else _logistic_penalty(moments, features, coded)
        spectrum = moments.without()
        weights, constant = logistic_weights(spectrum, features, coded, alpha, exclusive=True)
        weights = weights / spectrum.standard.scale[:, None]
        constant = constant - spectrum.standard.mean @ weights
        self._found = replace(
            self.solved_,
            weights=torch.from_numpy(weights),
            constant=torch.from_numpy(constant),
            penalty=alpha * len(X),
            left_out=None,
        )

    def _new_labels(self, X: Any, y: Any, *, first: bool) -> tuple[ndarray, ndarray]:
        X, y = validate_data(self, X, y, dtype=(np.float64, np.float32), reset=first)
        check_classification_targets(y)
        return X, column_or_1d(y)

    def _coded(self, y: ndarray) -> Tensor:
        index = np.searchsorted(self.classes_, y)
        if (index >= len(self.classes_)).any() or (self.classes_[index.clip(max=len(self.classes_) - 1)] != y).any():
            unknown = sorted(set(y.tolist()) - set(self.classes_.tolist()))[:3]
            raise InputError("labels that were not named before", unknown, "Name all classes in the first call.")
        return torch.from_numpy(np.eye(len(self.classes_))[index])


def _logistic_penalty(moments: FoldMoments, features: ndarray, coded: ndarray) -> float:
    """By the log loss of the first fold, from fits of the others."""
    held = moments.fold == 0
    train = (features[~held], coded[~held])
    logits = logistic_predictions(moments.without(0), train, features[held], ALPHAS, exclusive=True)
    losses = -(log_softmax(logits, axis=2) * (coded[held] > 0)).sum((1, 2))
    return ALPHAS[int(losses.argmin())]


class _Temperature:
    """By which the likelihood of the true classes is largest; found when it is first asked for, and then kept."""

    def __init__(self, decisions: Float64[ndarray, "n k"], targets: Float64[ndarray, "n k"]) -> None:
        self._rows = (decisions, targets)

    @cached_property
    def value(self) -> float:
        decisions, targets = self._rows

        def loss(log_temperature: float) -> float:
            return -float((log_softmax(decisions / np.exp(log_temperature), axis=1) * targets).sum())

        return float(np.exp(minimize_scalar(loss, bounds=(-8.0, 3.0), method="bounded").x))

    def settle(self) -> None:
        """Keep the number, and no row."""
        _ = self.value
        self._rows = (np.empty((0, 0)), np.empty((0, 0)))
