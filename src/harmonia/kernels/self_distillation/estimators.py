"""Kernel ridge regression that is distilled into itself, as scikit-learn estimators."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, MultiOutputMixin, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from harmonia.kernels.self_distillation.base import SelfDistilledKernel, Weights


class SelfDistilledKernelRidge(MultiOutputMixin, RegressorMixin, SelfDistilledKernel):
    """Kernel ridge regression, refitted on mixtures of its own predictions and the true targets.

    Step 1 is ordinary kernel ridge regression. Step t + 1 fits ``alpha y + (1 - alpha) y_t`` with the predictions
    ``y_t`` of step t (arXiv:2102.13088). All steps, infinitely many too, come from one eigendecomposition.

    Arguments:
        kernel: A name of ``sklearn.metrics.pairwise`` ("rbf", "linear", "laplacian", ...), ``"precomputed"``, a
            function ``k(X, Z)`` that gives the matrix (any kernel of ``sklearn.gaussian_process`` is one), or an
            infinitely wide network (`harmonia.kernels.infwidth`), which stands for training it with an l2 penalty.
        lam: Weight of the penalty, as scikit-learn's ``alpha`` of `KernelRidge`: absolute, not per row; or ``"opt"`` to
            choose it together with the weights and the step.
        alpha: Weight of the truth: one number, one for each of steps 2, 3, ..., or ``"opt"`` for the best one at each
            step. Between 0 and 1 in the paper; any number here.
        steps: Fits in all, the ordinary one included; ``math.inf`` for the limit, which with a weight ``alpha > 0`` is
            ridge regression with the penalty ``lam / alpha``.
        tune: Where the best weights are sought: ``"cv"``, folds; ``"val"``, the first fold only; ``"gcv"``, generalised
            cross-validation, the cheapest; ``"loo"``, every row left out once, exact.
        cv: Number of folds, or a splitter of scikit-learn.
        clip: Whether to keep best weights between 0 and 1.
        fit_intercept: Whether a constant is fitted without penalty (by centring the kernel).
        gamma, degree, coef0: Of kernels by name, as in ``sklearn.metrics.pairwise``.
        time: Training time of a wide network that is stopped early, as `NTKRegressor` counts it; with or without a
            penalty.
        landmarks: Rows that the kernel is approximated from (Nystrom), for very many rows.
        random_state: Seed of folds and of that choice.

    Attributes:
        lam_: The penalty.
        alphas_: Weights of steps 2, 3, ...; of infinitely many steps the one weight.
        step_: The step that `predict` uses: the last one, or, if weights were tuned, the one with the least error.
        scores_: Error of each step by `tune`; by generalised cross-validation where nothing is tuned.
        best_weight_: The best weight of step 2 (`OptimalWeight`): above 1 if `lam_` is too large, below 1 if too small.
        effective_dof_: Degrees of freedom of each step, ``tr(B)`` and one for an intercept.
        spectrum_: Eigenvalues, and what each step keeps along their eigenvectors (`DistilledSpectrum`).
        fit_: The ordinary fit in the eigenbasis.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = SelfDistilledKernelRidge(gamma=20.0, lam=0.01).fit(X[:300], y[:300])
        >>> model.best_weight_.reading
        'under-regularised'
        >>> plain, distilled = (np.square(y[300:] - model.predict(X[300:], step)).mean() for step in (1, 2))
        >>> bool(distilled < 0.9 * plain)
        True
    """

    def fit(self, X: Any, y: Any) -> SelfDistilledKernelRidge:
        """Fit all steps."""
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        y = np.asarray(y, dtype=np.float64)
        self._flat = y.ndim == 1
        self._fit_steps(X, y.reshape(len(y), -1))
        return self

    def predict(self, X: Any, step: float | int | None = None, alpha: float | int | None = None) -> np.ndarray:
        """Predictions of a step.

        Arguments:
            X: Inputs; rows ``k(x, X)`` for a precomputed kernel.
            step: 1 is the ordinary fit; `step_` unless given. With one weight for all steps any step, or ``math.inf``.
            alpha: Another weight for all steps; needs no new fit.
        """
        X = self._validated(X)
        return self._shaped(self._predicted(X, self._shares_of(step, alpha)))

    def path(self, X: Any, alpha: Weights | None = None) -> np.ndarray:
        """Predictions of all steps that were taken, (steps, m) or (steps, m, k); of infinitely many their limit.

        Arguments:
            X: Inputs.
            alpha: Another weight for all steps, or several: then (weights, steps, m) or (weights, steps, m, k). Needs
                no new fit.
        """
        X = self._validated(X)
        return self._shaped(self._predicted(X, self._path_shares(alpha)))

    def _shaped(self, columns: np.ndarray) -> np.ndarray:
        return columns[..., 0] if self._flat else columns


class SelfDistilledKernelClassifier(ClassifierMixin, SelfDistilledKernel):
    """Classification by self-distilled kernel ridge regression on centred one-hot labels.

    Arguments: see `SelfDistilledKernelRidge`.

    Attributes:
        classes_: Labels.
        lam_, alphas_, step_, scores_, best_weight_, effective_dof_, spectrum_, fit_: as of `SelfDistilledKernelRidge`.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> X, y = load_digits(return_X_y=True)
        >>> model = SelfDistilledKernelClassifier(gamma=1e-3, lam=0.1, tune="gcv").fit(X[:400], y[:400])
        >>> bool(model.score(X[400:], y[400:]) > 0.93)
        True
    """

    def fit(self, X: Any, y: Any) -> SelfDistilledKernelClassifier:
        """Fit all steps."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, index = np.unique(y, return_inverse=True)
        onehot = np.eye(len(self.classes_))[index]
        self.prior_ = onehot.mean(0)
        self._fit_steps(X, onehot - self.prior_)
        return self

    def decision_function(
        self, X: Any, step: float | int | None = None, alpha: float | int | None = None
    ) -> np.ndarray:
        """Score of each class (m, classes), for two classes their difference (m,); `step`, `alpha` as of regression."""
        X = self._validated(X)
        scores = self._predicted(X, self._shares_of(step, alpha)) + self.prior_
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Any, step: float | int | None = None, alpha: float | int | None = None) -> np.ndarray:
        """The class with the largest score at a step."""
        scores = self.decision_function(X, step, alpha)
        return self.classes_[(scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(1)]

    def path(self, X: Any, alpha: Weights | None = None) -> np.ndarray:
        """Scores of the classes at all steps that were taken, (steps, m, classes)."""
        X = self._validated(X)
        return self._predicted(X, self._path_shares(alpha)) + self.prior_

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = False
        return tags
