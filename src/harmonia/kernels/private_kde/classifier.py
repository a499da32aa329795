"""Classification by the average similarity to each class's private rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float64
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from harmonia.core.errors import InputError
from harmonia.kernels.private_kde.domain import Domain
from harmonia.kernels.private_kde.fourier import FourierSketch
from harmonia.kernels.private_kde.kde import draw_fourier
from harmonia.kernels.private_kde.moments import MomentSketch
from harmonia.kernels.private_kde.sketch import Sketch
from harmonia.kernels.private_kde.structure import PrivateEstimator, check_answers


class PrivateSimilarityClassifier(ClassifierMixin, PrivateEstimator):
    """Predict the class whose private rows are most similar on average; no training loop, one release.

    A row belongs to one class, so every class's sketch has the whole budget (parallel composition). Counts are noisy
    too. Rows that are scaled one by one (`sklearn.preprocessing.Normalizer`, a public encoder) keep the guarantee; a
    scaler that is fitted to private rows does not.

    Arguments:
        kernel: As of `PrivateKDE`; or ``dot``, the mean inner product, or ``sqeuclidean``, the nearest noisy mean.
        bandwidth: s of a kernel.
        eps, delta: The guarantee for adding or removing one labelled row.
        n_features: Random features of a kernel.
        project_dim: Project rows to so many numbers first.
        bounds: For ``dot`` and ``sqeuclidean``: a radius, or (lower, upper); from public knowledge.
        classes: The classes, from public knowledge. None: those in y, whose presence then is not private.
        directions, distance, neighbours, noise, secure, accountant, random_state, unsafe_reproducible: As of
            `PrivateKDE`.

    Attributes:
        classes_: The classes.
        released_: The noisy sums, one row a class: all that is kept.
        ledger_: What was spent.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> X, y = load_digits(return_X_y=True)
        >>> X = X / np.linalg.norm(X, axis=1, keepdims=True)
        >>> model = PrivateSimilarityClassifier(bandwidth=0.5, eps=4.0, delta=1e-5, random_state=0)
        >>> model = model.fit(X[:1500], y[:1500])
        >>> bool(model.score(X[1500:], y[1500:]) > 0.8)
        True
    """

    sketches = (FourierSketch, MomentSketch)

    def __init__(  # untyped: scikit-learn's constructors take anything, and `fit` checks
        self,
        kernel="gaussian",
        *,
        bandwidth=1.0,
        eps=1.0,
        delta=0.0,
        n_features=2000,
        project_dim=None,
        bounds=None,
        classes=None,
        directions="gaussian",
        distance="sqeuclidean",
        neighbours="add-remove",
        noise="auto",
        secure=True,
        accountant=None,
        random_state=None,
        unsafe_reproducible=False,
    ):
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.eps = eps
        self.delta = delta
        self.n_features = n_features
        self.project_dim = project_dim
        self.bounds = bounds
        self.classes = classes
        self.directions = directions
        self.distance = distance
        self.neighbours = neighbours
        self.noise = noise
        self.secure = secure
        self.accountant = accountant
        self.random_state = random_state
        self.unsafe_reproducible = unsafe_reproducible

    def fit(self, X: Any, y: Any) -> PrivateSimilarityClassifier:
        """Release a sketch of every class.

        Raises:
            InputError: unusable parameters, missing values, one class, or a budget that does not allow it; then nothing
                is spent, and what was released before stays.
        """
        with self._all_or_nothing():
            X, y = validate_data(self, X, y, dtype=np.float64)
            return self._start(X, y, self.classes)._release(X, y)

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> PrivateSimilarityClassifier:
        """Add labelled rows that no batch before held; the first call names all classes, if the constructor did not.

        Raises:
            InputError: as of `fit`, or rows of a class that was not named; nothing changes.
        """
        first = not hasattr(self, "sketch_")
        with self._all_or_nothing():
            X, y = validate_data(self, X, y, dtype=np.float64, reset=first)
            if first:
                self._start(X, y, self.classes if classes is None else classes)
            return self._release(X, y)

    def _start(self, X: np.ndarray, y: np.ndarray, classes: Any) -> PrivateSimilarityClassifier:
        check_classification_targets(y)
        self.classes_ = np.unique(y if classes is None else np.asarray(classes))
        if len(self.classes_) < 2:
            raise InputError(
                "a classifier needs two classes", f"{len(self.classes_)} class", "Pass rows of others too."
            )
        self._begin(X)
        self.released_ = np.zeros((len(self.classes_), self.sketch_.blocks.size))
        return self

    def _release(self, X: np.ndarray, y: np.ndarray) -> PrivateSimilarityClassifier:
        unknown = np.setdiff1d(y, self.classes_)
        if len(unknown):
            raise InputError("rows have a class that was not named", unknown[0], "Name all classes in 'classes'.")
        self._pay(f"{len(self.classes_)} classes in {X.shape[1]} columns, disjoint rows")
        steps, source = self.mechanism_.each_step(), self._source()
        noisy = [self.mechanism_.add_noise(self.sketch_.sums(X[y == label], steps), source) for label in self.classes_]
        self.released_ = self.released_ + np.stack(noisy)
        self.n_batches_ += 1
        self.prepared_ = self.released_
        return self

    def decision_function(self, X: Any) -> Float64[np.ndarray, "..."]:
        """Average similarity to each class, (rows, classes); of two classes the second's minus the first's.

        Raises:
            InputError: rows with missing values, of other columns, or so far away that an average overflows.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        assert isinstance(self.sketch_, (FourierSketch, MomentSketch))
        with np.errstate(over="ignore", invalid="ignore"):
            means = check_answers(self.sketch_.estimates(self.released_, X) / self.released_[:, 0].clip(1.0))
        means = -means if self.kernel == "sqeuclidean" else means
        return means[:, 1] - means[:, 0] if len(self.classes_) == 2 else means

    def predict(self, X: Any) -> np.ndarray:
        """The most similar class of every row."""
        scores = self.decision_function(X)
        return self.classes_[(scores > 0).astype(np.int64) if scores.ndim == 1 else scores.argmax(1)]

    def _prepare(self) -> Any:
        return self.released_

    def _draw_sketch(self, columns: int) -> Sketch:
        if self.kernel in ("dot", "sqeuclidean"):
            return MomentSketch(Domain.of(self.bounds, columns), products=self.kernel == "dot")
        return draw_fourier(self, columns)
