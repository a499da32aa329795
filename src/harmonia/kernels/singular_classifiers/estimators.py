"""The infinitely wide and infinitely deep network as scikit-learn estimators: nothing is trained, nothing is tuned."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from sklearn.base import ClassifierMixin, MultiOutputMixin, RegressorMixin
from sklearn.utils import Tags, compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.singular_classifiers.base import SphereEstimator, limiting_kernel
from harmonia.kernels.singular_classifiers.neighbours import NeighbourSums
from harmonia.kernels.singular_classifiers.smoothing import LogWeight, PowerLaw, SingularSums

_AROUND = tuple(2.0**exponent for exponent in np.arange(-1, 1.01, 0.25))
"""What ``dim="loo"`` tries, as shares of the intrinsic dimension."""


class _Smoother(SphereEstimator, ABC):
    """What classification and regression share: the kernel, its sums, the choice of the dimension."""

    def _fit_sums(self, points: ndarray, sizes: list[int], weights: ndarray | None, targets: ndarray) -> None:
        for name, number in (("block size", self.block_size), ("number of neighbours", self.neighbours)):
            if number is not None and number < 1:
                raise InputError(f"the {name} is at least 1", number, "Leave it out.")
        self._targets = torch.from_numpy(targets).to(self._device())
        self._points = torch.from_numpy(points).to(self._device())
        self._sizes = sizes
        self._log_v = None if weights is None else torch.from_numpy(np.log(weights)).to(self._device())
        dimension = self._dimension(points)
        if self.dim == "loo":
            losses = {}
            for share in _AROUND:
                self._use(share * dimension)
                losses[share * dimension] = self._loss_left_out()
            dimension = min(losses, key=lambda d: (losses[d], abs(math.log(d / dimension))))
        self._use(dimension)

    def _use(self, dimension: float) -> None:
        kernel: LogWeight
        if isinstance(self.activation, str) and self.activation == "hilbert":
            kernel, self.taxonomy_, self.alpha_ = PowerLaw(dimension), None, dimension
        else:
            kernel, found = limiting_kernel(self._dual(dimension))
            self.taxonomy_, self.alpha_ = found, found.alpha
        self.dimension_ = dimension
        neighbours = 1 if self.alpha_ == math.inf else self.neighbours
        self.sums_: SingularSums | NeighbourSums
        if neighbours is None:
            self.sums_ = SingularSums(self._points, self._sizes, kernel, self._log_v, self.block_size)
        else:
            self.sums_ = NeighbourSums(self._points, self._sizes, kernel, self._log_v, neighbours)

    @abstractmethod
    def _loss_left_out(self) -> float:
        """Mean loss of every point predicted from all others: log loss of classes, squares of numbers."""


class SingularKernelClassifier(ClassifierMixin, _Smoother):
    """The classifier that an infinitely wide and infinitely deep network is.

    A new point is given the class with the largest sum of weights ``g(x.x_i)`` over the training points on the sphere;
    g has a singularity of order ``|x - x_i|^-alpha``, so training points keep their labels (`koenigs`). It is
    consistent if alpha is the dimension of the data, which the default activation sees to.

    Where the dimension is far above ``log n``, the nearest point decides; ``dim="mle"`` measures the dimension that
    the data really have.

    Arguments:
        dim: For which dimension the activation is made: ``"features"``, their number; ``"mle"``, the intrinsic
            dimension of the data (`intrinsic_dimension`); ``"loo"``, between half and twice that, by the exact
            leave-one-out likelihood; or a number.
        feature_map: How features come to the sphere: ``"sphere"``, ``"softplus"`` or ``"raw"``, see `SphereMap`.
        activation: ``"optimal"``: `optimal_activation`; ``"hilbert"``: no network, but the pure power law
            ``|x - x_i|^-dim``; or any activation, which then decides the rule (`activation_taxonomy`) whatever `dim`.
        class_weight: None: classes count as often as they occur; ``"balanced"``, or a weight for each class.
        neighbours: How many of the nearest training points count; all unless given. A few hundred are much faster
            where there are very many points of at most eight dimensions; `neglected_share` bounds the difference.
        block_size: Pairs of points that are looked at at once; memory is about 100 bytes for each.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.

    Attributes:
        classes_: Labels.
        alpha_: Exponent of the kernel.
        dimension_: The dimension for which the activation was made.
        taxonomy_: The verdict on the activation; None for ``"hilbert"``.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = SingularKernelClassifier(dim="mle").fit(X, y)
        >>> bool(model.score(X, y) == 1.0), bool(model.loo_score() > 0.93)
        (True, True)
    """

    def __init__(  # untyped: scikit-learn's constructors take anything, and `fit` checks
        self,
        dim="features",
        *,
        feature_map="sphere",
        activation="optimal",
        class_weight=None,
        neighbours=None,
        block_size=None,
        device="auto",
    ):
        self.dim = dim
        self.feature_map = feature_map
        self.activation = activation
        self.class_weight = class_weight
        self.neighbours = neighbours
        self.block_size = block_size
        self.device = device

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SingularKernelClassifier:
        """Remember the training points.

        Arguments:
            X: ``(n, d)`` features.
            y: ``(n,)`` labels of any kind.
            sample_weight: ``(n,)``, not negative; by how much each point counts.
        """
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        weights = _weights(sample_weight, X)
        self.classes_, index = np.unique(y, return_inverse=True)
        if self.class_weight is not None:
            weights = np.ones(len(y)) if weights is None else weights
            if self.class_weight == "balanced":
                weights = weights / np.bincount(index, weights).clip(1e-300)[index]
            else:
                weights = weights * compute_sample_weight(self.class_weight, y)
        if weights is not None:
            X, index, weights = X[weights > 0], index[weights > 0], weights[weights > 0]
        _warn_of_conflicts(X, index)
        order = np.argsort(index, kind="stable")
        self._order = np.argsort(order)
        sizes = np.bincount(index, minlength=len(self.classes_)).tolist()
        points = self._fit_sphere(X)[order]
        self._fit_sums(points, sizes, None if weights is None else weights[order], index[order])
        return self

    def decision_function(self, X: Any) -> ndarray:
        """Logarithms of the classes' weights (m, classes); for two classes their difference (m,).

        Infinite on a training point.
        """
        scores = self._scores(X).cpu().numpy()
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_proba(self, X: Any) -> ndarray:
        """Shares of the classes in the weights (m, classes); on training points, in the labels of those points."""
        return self._scores(X).softmax(1).cpu().numpy()

    def predict(self, X: Any) -> ndarray:
        """The class with the largest weight."""
        check_is_fitted(self)
        return self.classes_[self._scores(X).argmax(1).cpu().numpy()]

    def predict_proba_left_out(self) -> ndarray:
        """Shares of the classes at every training point, as if it had not been there: exact, without a new fit.

        Points of weight 0 are left out of the rows.
        """
        return self._scores_left_out().softmax(1).cpu().numpy()[self._order]

    def loo_score(self) -> float:
        """Exact leave-one-out accuracy."""
        return float((self._scores_left_out().argmax(1) == self._targets).double().mean())

    def predict_set(self, X: Any, coverage: float = 0.9) -> ndarray:
        """For each class whether it may be the true one (m, classes), by conformal prediction.

        A class may, if its probability is not below those that all but a share ``1 - coverage`` of the training points
        give their own class when they are left out. The true class is in the set about that often.

        Arguments:
            X: Inputs.
            coverage: Above 0 and below 1.
        """
        if not 0 < coverage < 1:
            raise InputError("coverage is a fraction between 0 and 1", coverage, "Give e.g. 0.9.")
        own = self._scores_left_out().softmax(1).gather(1, self._targets[:, None])[:, 0].sort().values
        rank = math.floor((len(own) + 1) * (1 - coverage))
        threshold = float(own[rank - 1]) if rank else 0.0
        return self.predict_proba(X) >= threshold

    def neglected_share(self, X: Any) -> ndarray:
        """With `neighbours`, by how much at most each probability could change if all training points counted (m,)."""
        check_is_fitted(self)
        x = self._on_sphere(X)
        return self.sums_.neglected(x).numpy() if isinstance(self.sums_, NeighbourSums) else np.zeros(len(x))

    def _scores(self, X: Any) -> Tensor:
        check_is_fitted(self)
        return self.sums_.log_sums(self._on_sphere(X))

    def _scores_left_out(self) -> Tensor:
        check_is_fitted(self)
        _refuse_single(len(self._targets))
        return self.sums_.log_sums()

    def _loss_left_out(self) -> float:
        own = self._scores_left_out().log_softmax(1).gather(1, self._targets[:, None])
        return float(-own.clamp(min=math.log(1e-6)).mean())

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = False
        return tags


class SingularKernelRegressor(MultiOutputMixin, RegressorMixin, _Smoother):
    """Hilbert regression: the mean of the training targets, weighted by the singular kernel.

    Without the normalisation, the infinitely deep network itself predicts 0 everywhere but on its training points: as
    regression the limit is trivial (`DeepNTKClassifier` shows it at any depth). Normalised weights interpolate the
    targets and are consistent.

    Arguments:
        dim: As of `SingularKernelClassifier`; ``"loo"`` minimises the leave-one-out squared error.
        feature_map, activation, neighbours, block_size, device: As of `SingularKernelClassifier`.

    Attributes:
        alpha_, dimension_, taxonomy_: As of `SingularKernelClassifier`.

    Example:
        >>> X = np.linspace(0, 1, 100)[:, None]
        >>> model = SingularKernelRegressor().fit(X, np.sin(6 * X[:, 0]))
        >>> bool(model.score(X, np.sin(6 * X[:, 0])) > 0.999999), bool(model.loo_score() > 0.9)
        (True, True)
    """

    def __init__(  # untyped: scikit-learn's constructors take anything, and `fit` checks
        self,
        dim="features",
        *,
        feature_map="sphere",
        activation="optimal",
        neighbours=None,
        block_size=None,
        device="auto",
    ):
        self.dim = dim
        self.feature_map = feature_map
        self.activation = activation
        self.neighbours = neighbours
        self.block_size = block_size
        self.device = device

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SingularKernelRegressor:
        """Remember the training points."""
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        weights = _weights(sample_weight, X)
        y = np.asarray(y, dtype=np.float64)
        if weights is not None:
            X, y, weights = X[weights > 0], y[weights > 0], weights[weights > 0]
        self._flat = y.ndim == 1
        self._fit_sums(self._fit_sphere(X), [len(X)], weights, y.reshape(len(y), -1))
        return self

    def predict(self, X: Any) -> ndarray:
        """Weighted means."""
        check_is_fitted(self)
        return self._shaped(self.sums_.means(self._on_sphere(X), self._targets))

    def predict_left_out(self) -> ndarray:
        """Weighted means at the training points, as if each had not been there."""
        return self._shaped(self._left_out())

    def loo_score(self) -> float:
        """Exact leave-one-out R2, the mean over outputs."""
        residual, spread = self._left_out() - self._targets, self._targets - self._targets.mean(0)
        return float((1 - residual.square().sum(0) / spread.square().sum(0).clamp(min=1e-300)).mean())

    def _left_out(self) -> Tensor:
        check_is_fitted(self)
        _refuse_single(len(self._targets))
        return self.sums_.means(None, self._targets)

    def _loss_left_out(self) -> float:
        return float((self._left_out() - self._targets).square().mean())

    def _shaped(self, values: Tensor) -> ndarray:
        columns = values.cpu().numpy()
        return columns[:, 0] if self._flat else columns


def _warn_of_conflicts(X: ndarray, index: ndarray) -> None:
    rows = [row.tobytes() for row in X]
    if len(set(zip(rows, index.tolist()))) > len(set(rows)):
        warnings.warn("equal rows have different labels; there, their mix is predicted", stacklevel=3)


def _weights(sample_weight: Any, X: ndarray) -> ndarray | None:
    if sample_weight is None:
        return None
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if not weights.any():
        raise InputError("Sample weights must contain at least one non-zero number", "only zeros", "Leave them out.")
    return weights


def _refuse_single(rows: int) -> None:
    if rows < 2:
        raise InputError("leaving one out needs two training points", rows, "Fit more.")
