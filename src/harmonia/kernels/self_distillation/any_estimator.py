"""Self-distillation around any scikit-learn regressor or classifier."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import KFold, StratifiedKFold, check_cv
from sklearn.utils import Tags, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, has_fit_parameter, validate_data

from harmonia.core.errors import InputError
from harmonia.kernels.self_distillation.weight import OptimalWeight, optimal_weight, usable


class SelfDistilledEstimator(MetaEstimatorMixin, BaseEstimator):
    """Refit a model on mixtures of its own predictions and the truth, with the estimated best weight.

    A regressor is refitted on ``alpha y + (1 - alpha) f(X)``. A classifier is refitted on probabilities: every row
    counts for each class with the weight ``alpha [y = c] + (1 - alpha) p_c(x)``, which for the log loss is exactly the
    mixture of both losses. Models need not be linear in their targets, so the weight is an estimate: see
    `SelfDistiller`.

    Arguments:
        estimator: A regressor, or a classifier with ``predict_proba`` that takes ``sample_weight``. Put pipelines
            outside: ``make_pipeline(StandardScaler(), SelfDistilledEstimator(LogisticRegression()))``.
        alpha: Weight of the truth: a number, one for each of steps 2, 3, ..., or ``"opt"`` to estimate it on rows that
            are held out, at two more fits per fold and step.
        steps: Fits in all, the ordinary one included.
        cv: Number of folds, or a splitter of scikit-learn.
        random_state: Seed of the folds.

    Attributes:
        estimators_: The fitted model of each step.
        alphas_: Weights of steps 2, 3, ..., between 0 and 1.
        scores_: Held-out mean squared error of each step, for a classifier of its probabilities; empty if `alpha` is
            given.
        step_: The step that `predict` uses: the last one, or, if weights were estimated, the one with the least error.
        best_weight_: The best weight of step 2, not clipped (`OptimalWeight`); None if `alpha` is given.
        classes_: Labels, for a classifier.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.tree import DecisionTreeRegressor
        >>> X, y = load_diabetes(return_X_y=True)
        >>> tree = DecisionTreeRegressor(max_depth=6, random_state=0)
        >>> model = SelfDistilledEstimator(tree, alpha=0.5, steps=3).fit(X, y)
        >>> len(model.estimators_), model.predict(X[:2], step=1).shape
        (3, (2,))
    """

    estimator: Any
    alpha: float | Sequence[float] | Literal["opt"]
    steps: int
    cv: Any
    random_state: int | np.random.RandomState | None

    def __init__(self, estimator, *, alpha="opt", steps=2, cv=5, random_state=0):  # untyped, as scikit-learn's are
        self.estimator = estimator
        self.alpha = alpha
        self.steps = steps
        self.cv = cv
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> SelfDistilledEstimator:
        """Fit all steps."""
        weights = self._check_parameters()
        if is_classifier(self):
            X, y = validate_data(self, X, y, dtype=np.float64)
            check_classification_targets(y)
            self.classes_, self._codes = np.unique(y, return_inverse=True)
            truth = np.eye(len(self.classes_))[self._codes]
        else:
            X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
            truth = np.asarray(y, dtype=np.float64)
        self._shape = truth.shape[1:]
        self.best_weight_: OptimalWeight | None = None
        self.scores_ = np.empty(0)
        if weights is None:
            weights = self._estimated(X, truth)
        models = [self._fitted(X, truth)]
        for alpha in weights:
            models.append(self._fitted(X, alpha * truth + (1 - alpha) * self._outputs(models[-1], X)))
        self.estimators_, self.alphas_ = models, np.array(weights)
        self.step_ = int(np.argmin(self.scores_)) + 1 if len(self.scores_) else len(models)
        return self

    def _check_parameters(self) -> list[float] | None:
        """Weights of the steps; None if they are to be estimated."""
        if not isinstance(self.steps, Integral) or self.steps < 1:
            raise InputError("'steps' is a whole number of at least 1", self.steps, "Give e.g. steps=2.")
        if is_classifier(self) and not (
            hasattr(self.estimator, "predict_proba") and has_fit_parameter(self.estimator, "sample_weight")
        ):
            raise InputError(
                "a classifier is distilled by its probabilities and by weights of rows",
                f"{type(self.estimator).__name__} without predict_proba or sample_weight",
                "Use one that has both; put pipelines outside of SelfDistilledEstimator.",
            )
        if isinstance(self.alpha, str):
            if self.alpha != "opt":
                raise InputError("'alpha' is a number, a sequence of numbers, or 'opt'", repr(self.alpha), "Change it.")
            return None
        count = self.steps - 1
        weights = [float(self.alpha)] * count if isinstance(self.alpha, Real) else [float(a) for a in self.alpha]
        if len(weights) != count or not all(0 <= alpha <= 1 for alpha in weights):
            raise InputError(
                "weights of the truth lie between 0 and 1, one for each of steps 2, 3, ...",
                self.alpha,
                f"Give {count}, or one number.",
            )
        return weights

    def _fitted(self, X: np.ndarray, targets: np.ndarray) -> Any:
        model = clone(self.estimator)
        if not is_classifier(self):
            return model.fit(X, targets)
        rows, codes = np.nonzero(targets > 0)
        return model.fit(X[rows], self.classes_[codes], sample_weight=targets[rows, codes])

    def _outputs(self, model: Any, X: np.ndarray) -> np.ndarray:
        if not is_classifier(self):
            return np.asarray(model.predict(X), dtype=np.float64).reshape(len(X), *self._shape)
        probabilities = np.zeros((len(X), len(self.classes_)))
        probabilities[:, np.searchsorted(self.classes_, model.classes_)] = model.predict_proba(X)
        return probabilities

    def _estimated(self, X: np.ndarray, truth: np.ndarray) -> list[float]:
        """The best weight of each step on held-out rows, those before it given; sets the scores."""
        splits = self._splits(X)
        held_truth = np.concatenate([truth[held] for _, held in splits])

        def held_outputs(models: Sequence[Any]) -> np.ndarray:
            return np.concatenate([self._outputs(model, X[held]) for model, (_, held) in zip(models, splits)])

        def students(teachers: Sequence[Any], alpha: float) -> list[Any]:
            mixed = (
                alpha * truth[kept] + (1 - alpha) * self._outputs(model, X[kept])
                for model, (kept, _) in zip(teachers, splits)
            )
            return [self._fitted(X[kept], targets) for targets, (kept, _) in zip(mixed, splits)]

        current = [self._fitted(X[kept], truth[kept]) for kept, _ in splits]
        first = held_outputs(current)
        weights, scores = [], [float(np.square(held_truth - first).mean())]
        for step in range(2, self.steps + 1):
            pure = students(current, 0.0)
            weight = optimal_weight(held_truth, first, held_outputs(pure))
            if step == 2:
                self.best_weight_ = weight
            weights.append(usable(weight.value, clip=True))
            current = pure if weights[-1] == 0 else students(current, weights[-1])
            scores.append(float(np.square(held_truth - held_outputs(current)).mean()))
        self.scores_ = np.array(scores)
        return weights

    def _splits(self, X: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        if len(X) < 2:
            raise InputError("tuning needs rows to hold out", "n_samples = 1", "Give two rows or more, or fix alpha.")
        if not isinstance(self.cv, Integral):
            return list(check_cv(self.cv).split(X, getattr(self, "_codes", None)))
        if not is_classifier(self):
            return list(KFold(min(self.cv, len(X)), shuffle=True, random_state=self.random_state).split(X))
        rarest = int(np.bincount(self._codes).min())
        if rarest < 2:
            got = f"one row of class {self.classes_[np.bincount(self._codes).argmin()]}"
            raise InputError("tuning needs two rows of every class", got, "Add rows, or fix alpha.")
        folds = StratifiedKFold(min(self.cv, rarest), shuffle=True, random_state=self.random_state)
        return list(folds.split(X, self._codes))

    def _model(self, step: int | None) -> Any:
        check_is_fitted(self)
        if step is not None and not 1 <= step <= len(self.estimators_):
            raise InputError("there is no such step", step, f"Steps 1 to {len(self.estimators_)} were taken.")
        return self.estimators_[(self.step_ if step is None else step) - 1]

    def predict(self, X: Any, step: int | None = None) -> np.ndarray:
        """Predictions of a step; of `step_` unless given."""
        model = self._model(step)
        return model.predict(validate_data(self, X, dtype=np.float64, reset=False))

    @available_if(is_classifier)
    def predict_proba(self, X: Any, step: int | None = None) -> np.ndarray:
        """Probabilities of the classes at a step; of `step_` unless given."""
        model = self._model(step)
        return self._outputs(model, validate_data(self, X, dtype=np.float64, reset=False))

    def score(self, X: Any, y: Any) -> float:
        """Accuracy of a classifier, R2 of a regressor."""
        return float((accuracy_score if is_classifier(self) else r2_score)(y, self.predict(X)))

    def __sklearn_tags__(self) -> Tags:
        tags, own = super().__sklearn_tags__(), get_tags(self.estimator)
        tags.estimator_type = own.estimator_type
        tags.classifier_tags, tags.regressor_tags = own.classifier_tags, own.regressor_tags
        tags.target_tags = own.target_tags
        if tags.classifier_tags is not None:
            tags.classifier_tags.multi_label = False
            tags.target_tags.multi_output = False
        return tags
