"""Deep kernel machines as scikit-learn estimators for tables."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
import torch
from sklearn.base import ClassifierMixin, MultiOutputMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from harmonia.core.errors import InputError
from harmonia.kernels.dkm.base import DeepKernelEstimator
from harmonia.kernels.dkm.fitting import Noise, fit_classes, fit_regression, normal_points
from harmonia.kernels.dkm.output import categorical_prediction
from harmonia.parts.gram import Marginals
from harmonia.parts.spread import spread_of

PREDICTION_DRAWS = 256
"""Quasi-random points of class probabilities."""


class DeepKernelMachineRegressor(MultiOutputMixin, RegressorMixin, DeepKernelEstimator):
    """Regression by a deep kernel machine: a deep Gaussian process in the limit where it learns its kernels.

    Between inducing points every layer has a learned Gram matrix G_l instead of weights (Yang et al. 2023,
    arXiv:2108.13097). With the kernel ``K(G)`` of an infinitely wide layer they maximise

        log P(y | G_L) - dof sum_l KL(N(0, G_l) || N(0, K(G_{l-1})))

    The output is solved for, so that the objective is smooth in everything that is left; it is maximised by L-BFGS.
    Inputs and targets are standardised inside.

    Arguments:
        n_layers: Learned Gram matrices; 0 for a sparse Gaussian process.
        n_inducing: Inducing points; at most one a row, more are warned of.
        dof: Price of learning, in the theory degrees of freedom: the more, the closer kernels stay to fixed ones. 0:
            they are free; infinity: that of an infinitely wide network (NNGP). It is weighed against the likelihood of
            all rows, so twice the data halves its effect. A few hundred noisy rows want 10 to 100, or the fit is
            perfect and predictions are poor; `learning_path` tries many.
        kernel: ``"relu"``, ``"normalized-gaussian"``, ``"sqexp"`` or ``"linear"``.
        norm: What Gram matrices are divided by: ``"inducing"``: the mean squared length of inducing points;
            ``"local"``: of each point its own; ``"none"``.
        objective: ``"kl"``, or its expansion ``"taylor"``.
        lr: Learning rate of Adam, if there is a batch size.
        max_iter: Most steps.
        batch_size: None: L-BFGS on all rows, whose number enters time linearly and memory not at all. A number: Adam
            on minibatches.
        learn_inducing: Whether inducing points move.
        warm_start: Whether `fit` goes on from what the last one of the same sizes found; from fixed kernels to learned
            ones it starts at the former.
        noise: Variance of the noise, relative to the targets' variance; None to learn it.
        random_state: Seed of the choice of inducing points and of minibatches.

    Attributes:
        gram_matrices_: Learned Gram matrices, from the input on (P, P).
        replaced_kernels_: The kernel that each of them took the place of.
        layer_divergences_: KL of each from it, in nats.
        inducing_points_: In the units of the inputs, without columns that do not vary (P, d).
        elbo_: The objective in nats per row, for targets in their own units.
        elbo_path_: The same by evaluation.
        n_iter_: How many evaluations there were.
        noise_: Variance of the noise, in squared units of the targets, (k,) for k of them.
        deep_kernel_: The learned kernel as a function ``(X, Y=None)``, e.g. for ``SVC(kernel=...)``.
        machine_: The network (`DeepKernelMachine`).

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = DeepKernelMachineRegressor(n_inducing=30, max_iter=30, random_state=0).fit(X[:300], y[:300])
        >>> mean, std = model.predict(X[300:], return_std=True)
        >>> bool(model.score(X[300:], y[300:]) > 0.4), len(model.gram_matrices_)
        (True, 2)
    """

    def __init__(
        self,
        n_layers=2,
        n_inducing=256,
        dof=1.0,
        kernel="relu",
        *,
        norm="inducing",
        objective="kl",
        lr=1e-2,
        max_iter=200,
        batch_size=None,
        learn_inducing=True,
        warm_start=False,
        noise=None,
        random_state=None,
    ):
        super().__init__(
            n_layers,
            n_inducing,
            dof,
            kernel,
            norm=norm,
            objective=objective,
            lr=lr,
            max_iter=max_iter,
            batch_size=batch_size,
            learn_inducing=learn_inducing,
            warm_start=warm_start,
            random_state=random_state,
        )
        self.noise = noise

    def fit(self, X: Any, y: Any) -> DeepKernelMachineRegressor:
        """Learn Gram matrices, inducing points, kernels' variances and noise.

        Raises:
            InputError: parameters out of range; inputs or targets that are no finite numbers, or too large to be
                squared.
        """
        X, y = self._training_data(X, y, multi_output=True, y_numeric=True)
        columns = np.asarray(y, dtype=np.float64).reshape(len(X), -1)
        if not np.isfinite(columns).all():
            raise InputError("targets are finite numbers", "NaN or infinity", "Drop rows without a target.")
        if self.noise is not None and (not isinstance(self.noise, Real) or not 0 < float(self.noise) < math.inf):
            raise InputError("'noise' is a positive number", repr(self.noise), "Give e.g. 0.1, or None to learn it.")
        scale = spread_of(columns)
        x = self._start(X, columns.shape[1])
        self._flat = np.ndim(y) == 1
        self.y_mean_, self.y_scale_ = columns.mean(0), scale
        targets = torch.from_numpy((columns - self.y_mean_) / self.y_scale_)
        start: float = getattr(self, "_noise", 0.1) if self.warm_start else 0.1
        noise = Noise(start if self.noise is None else float(self.noise), learned=self.noise is None)
        path = fit_regression(self.machine_, x, targets, noise, self._schedule())
        self.elbo_path_ = path - float(np.log(self.y_scale_).sum())
        self.elbo_ = float(self.elbo_path_[-1])
        self._noise = float(noise().detach())
        self.noise_ = self._noise * self._shaped(self.y_scale_[None] ** 2)[0]
        self._finish()
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Mean prediction, (n,) or (n, k); with `return_std` also the standard deviation of a new target."""
        found = self._marginals(X)
        mean = self._shaped(found.mean.numpy() * self.y_scale_ + self.y_mean_)
        if not return_std:
            return mean
        std = (found.variance + self._noise).sqrt().numpy()[:, None] * self.y_scale_
        return mean, self._shaped(std)

    def _shaped(self, columns: np.ndarray) -> np.ndarray:
        return columns[:, 0] if self._flat else columns


class DeepKernelMachineClassifier(ClassifierMixin, DeepKernelEstimator):
    """Classification by a deep kernel machine: `DeepKernelMachineRegressor` with one function per class and a softmax.

    Arguments:
        n_layers, n_inducing, dof, kernel, norm, objective, lr, max_iter, batch_size, learn_inducing,
            warm_start, random_state: As of `DeepKernelMachineRegressor`.

    Attributes:
        classes_: Labels.
        gram_matrices_, replaced_kernels_, layer_divergences_, inducing_points_, elbo_, elbo_path_, n_iter_,
            deep_kernel_, machine_: As of `DeepKernelMachineRegressor`.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = DeepKernelMachineClassifier(n_inducing=20, max_iter=30, random_state=0).fit(X[::2], y[::2])
        >>> bool(model.score(X[1::2], y[1::2]) > 0.9)
        True
    """

    def fit(self, X: Any, y: Any) -> DeepKernelMachineClassifier:
        """Learn Gram matrices, inducing points, kernels' variances and the classes' functions.

        Raises:
            InputError: parameters out of range, inputs that are no finite numbers, or one class only.
        """
        X, y = self._training_data(X, y)
        check_classification_targets(y)
        classes, index = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise InputError("a classifier needs at least two classes", "one class", "Pass labels that vary.")
        x = self._start(X, len(classes))
        self.classes_ = classes
        self.elbo_path_ = fit_classes(self.machine_, x, torch.from_numpy(index), self._schedule())
        self.elbo_ = float(self.elbo_path_[-1])
        self._finish()
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Class probabilities (n, C)."""
        found = self._marginals(X)
        draws = normal_points(PREDICTION_DRAWS, len(self.classes_), self._seed)
        parts = zip(found.mean.split(1024), found.variance.split(1024), strict=True)
        shares = torch.cat([categorical_prediction(Marginals(*part), draws) for part in parts])
        return (shares / shares.sum(1, keepdim=True)).numpy()

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class."""
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(1)]
