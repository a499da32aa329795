"""Infinitely wide networks as scikit-learn estimators: fit is one linear solve, uncertainty comes with it."""

from __future__ import annotations

import math
import os
from numbers import Real
from typing import Any, Literal

import numpy as np
import torch
from scipy.special import ndtr
from sklearn.base import BaseEstimator, ClassifierMixin, MultiOutputMixin, RegressorMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from harmonia.core.errors import InputError
from harmonia.kernels.ntk.dynamics import stopping_time
from harmonia.kernels.ntk.large import ridge_by_conjugate_gradients
from harmonia.kernels.ntk.networks import as_network, warn_of_lost_signals
from harmonia.kernels.ntk.predict import GradientFlow, InfiniteEnsemble, Prediction
from harmonia.parts import infwidth
from harmonia.parts.gram import KernelOperator

KernelName = Literal["ntk", "nngp"]

_RIDGES = tuple(10.0**exponent for exponent in np.arange(-8, 1.01, 0.5))


class _InfiniteNetwork(BaseEstimator):
    """What regression and classification share: parameters, kernels, choice of ridge and time."""

    net: str | infwidth.Sequential | nn.Module
    depth: int
    activation: str
    w_std: float | None
    b_std: float | None
    kernel: KernelName
    time: float | Literal["cv"]
    ridge: float | Literal["loo"]
    solver: Literal["auto", "direct", "cg"]
    input_shape: tuple[int, ...] | None
    random_state: int | np.random.RandomState | None

    def __init__(  # untyped: scikit-learn's constructors take anything, and `fit` checks
        self,
        net="mlp",
        *,
        depth=3,
        activation="relu",
        w_std=None,
        b_std=None,
        kernel="ntk",
        time=math.inf,
        ridge=1e-6,
        solver="auto",
        input_shape=None,
        random_state=0,
    ):
        self.net = net
        self.depth = depth
        self.activation = activation
        self.w_std = w_std
        self.b_std = b_std
        self.kernel = kernel
        self.time = time
        self.ridge = ridge
        self.solver = solver
        self.input_shape = input_shape
        self.random_state = random_state

    def _fit_ensemble(self, X: np.ndarray, targets: np.ndarray) -> None:
        self._check_parameters()
        self.network_ = as_network(self.net, self.depth, self.activation, self.w_std, self.b_std)
        self.X_train_ = X
        x, y = self._tensor(X), torch.from_numpy(np.ascontiguousarray(targets))
        warn_of_lost_signals(self.network_, x)
        solver = self.solver
        if solver == "auto":
            solver = "cg" if bytes_of_direct_solve(len(x)) > physical_memory() else "direct"
        self.ensemble_: InfiniteEnsemble | None = None
        if solver == "cg":
            self._fit_without_matrix(x, y)
            return
        refuse_too_large(len(x))
        ridge = 0.0 if self.ridge == "loo" else float(self.ridge)
        if self.kernel == "ntk":
            nngp, ntk = self.network_.kernel(x)
            ensemble = InfiniteEnsemble(nngp, y, ntk, ridge=ridge)
        else:
            ensemble = InfiniteEnsemble(self.network_.kernel(x, get="nngp"), y, ridge=ridge)
        self.ensemble_ = self._least_left_out_error(ensemble) if self.ridge == "loo" else ensemble
        self.ridge_ = self.ensemble_.ridge
        self.time_ = self._stopping_time(self.ensemble_) if self.time == "cv" else float(self.time)

    def _check_parameters(self) -> None:
        if self.kernel not in ("ntk", "nngp"):
            raise InputError("no such kernel", repr(self.kernel), "Use 'ntk' (all layers train) or 'nngp' (the last).")
        if self.solver not in ("auto", "direct", "cg"):
            raise InputError("no such solver", repr(self.solver), "Use 'auto', 'direct' or 'cg'.")
        for name, word in (("time", "cv"), ("ridge", "loo")):
            value = getattr(self, name)
            if value != word and not (isinstance(value, Real) and float(value) >= 0):
                raise InputError(f"'{name}' is a number >= 0 or '{word}'", repr(value), "Change it.")

    def _fit_without_matrix(self, x: Tensor, y: Tensor) -> None:
        if self.ridge == "loo" or self.time != math.inf:
            raise InputError(
                "conjugate gradients train to the end, with a given ridge",
                f"time={self.time!r}, ridge={self.ridge!r}",
                "Use solver='direct' on fewer rows, or time=inf and a ridge above 0.",
            )
        kernel = infwidth.NetworkKernel(self.network_, self.kernel)
        self.time_ = math.inf
        self.ridge_ = float(self.ridge) * float(kernel.diagonal(x).mean())
        operator = KernelOperator(kernel, x)
        self._weights = ridge_by_conjugate_gradients(operator, y, self.ridge_, generator=self._generator())

    def _solved(self) -> InfiniteEnsemble:
        check_is_fitted(self)
        if self.ensemble_ is None:
            raise InputError(
                "conjugate gradients give the mean at infinite time only", "solver 'cg'", "Use solver='direct'."
            )
        return self.ensemble_

    @staticmethod
    def _least_left_out_error(ensemble: InfiniteEnsemble) -> InfiniteEnsemble:
        unit = float(ensemble.ntk.diagonal().mean())
        candidates = [ensemble.with_ridge(ridge * unit) for ridge in _RIDGES]
        return min(candidates, key=lambda e: float((e.leave_one_out(variance=False).mean - e.targets).square().mean()))

    def _stopping_time(self, ensemble: InfiniteEnsemble) -> float:
        n = len(self.X_train_)
        return stopping_time(ensemble, folds=min(5, n), generator=self._generator()).time if n > 1 else math.inf

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(int(check_random_state(self.random_state).randint(2**31)))

    def _tensor(self, X: np.ndarray) -> Tensor:
        x = torch.tensor(X, dtype=torch.float64)
        if self.input_shape is None:
            return x
        if math.prod(self.input_shape) != x.shape[1]:
            raise InputError(
                "the rows do not fill 'input_shape'", f"{x.shape[1]} numbers for {self.input_shape}", "Change it."
            )
        return x.reshape(-1, *self.input_shape)

    def _posterior(
        self, X: Any, time: float | None, prior: Literal["none", "diagonal", "full"]
    ) -> tuple[Tensor, Tensor]:
        """Mean (m, k) and covariance (none, (m,) or (m, m)) in the units of the targets that were fitted."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        x, train = self._tensor(X), self._tensor(self.X_train_)
        if prior == "none" and time is None and self.ensemble_ is None:
            kernel = infwidth.NetworkKernel(self.network_, self.kernel)
            return KernelOperator(kernel, x, train) @ self._weights, torch.zeros(0)
        ensemble = self._solved()
        training = GradientFlow(self.time_ if time is None else float(time))
        if prior == "none":
            cross = self.network_.kernel(x, train, get=self.kernel)
            return ensemble.predict(cross, training=training).mean, torch.zeros(0)
        nngp, ntk = self.network_.kernel(x, train)
        start = self.network_.kernel(x, get="nngp") if prior == "full" else self.network_.diagonal(x, get="nngp")
        cross = ntk if self.kernel == "ntk" else nngp
        mean, covariance = ensemble.predict(cross, nngp, start, training)
        assert covariance is not None
        return mean, covariance

    def _left_out(self, variance: bool = True) -> Prediction:
        """Predictions of the training rows by networks that did not see them: one by one, or at finite time by fold."""
        ensemble = self._solved()
        if math.isinf(self.time_):
            return ensemble.leave_one_out(variance)
        folds = min(10, len(self.X_train_))
        training = GradientFlow(self.time_)
        mean, spread = ensemble.out_of_fold([training], folds, self._generator(), variance)
        return Prediction(mean[0], None if spread is None else spread[0])


class NTKRegressor(MultiOutputMixin, RegressorMixin, _InfiniteNetwork):
    """Regression by infinitely wide networks trained by gradient descent.

    The mean over an ensemble of such networks is kernel regression with the tangent kernel,
    ``Theta(x, X) Theta^{-1} (I - e^{-Theta t / N}) y`` (arXiv:1806.07572), and their spread is its uncertainty.
    Inputs should be standardised; targets are standardised inside.

    Arguments:
        net: ``"mlp"``, an `harmonia.kernels.infwidth.Sequential`, or a torch module made of common layers.
        depth: Hidden layers of the MLP.
        activation: Activation of the MLP: relu, leaky_relu, elu, gelu, silu, softplus, abs, erf, tanh, sin, gaussian.
        w_std: Scale of the weights; by default sqrt 2 for ReLU-like activations, else 1.5.
        b_std: Scale of the biases; by default 0.1 and 0.3.
        kernel: ``"ntk"``: all layers train; ``"nngp"``: only the last does, at infinite time a Gaussian process.
        time: Training time (learning rate times steps for the loss ``|f - y|^2 / 2N``), or ``"cv"`` to stop where
            cross-validation says so.
        ridge: Pull towards initialisation, relative to the mean of the kernel's diagonal, or ``"loo"`` to choose it
            by the exact leave-one-out error.
        solver: ``"direct"``: one decomposition, everything offered; ``"cg"``: conjugate gradients on a kernel matrix
            that is never stored, means only; ``"auto"``: the first as long as the matrix fits into memory.
        input_shape: Channels and positions of each row, such as (1, 8, 8), for convolutional networks.
        random_state: Seed of the splits of ``time="cv"``.

    Attributes:
        network_: The infinitely wide network.
        ensemble_: The trained ensemble (`harmonia.kernels.ntk.InfiniteEnsemble`), in standardised units of y; None if
            solved by conjugate gradients.
        ridge_: Absolute ridge.
        time_: Training time.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.model_selection import cross_val_score
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = make_pipeline(StandardScaler(), NTKRegressor(ridge="loo"))
        >>> bool(cross_val_score(model, X, y).mean() > 0.47)
        True
    """

    def fit(self, X: Any, y: Any) -> NTKRegressor:
        """Fit by one decomposition of the kernel matrix."""
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        y = np.asarray(y, dtype=np.float64)
        self._flat = y.ndim == 1
        columns = y.reshape(len(y), -1)
        self.y_mean_ = columns.mean(0)
        scale = columns.std(0)
        self.y_scale_ = np.where(scale > 0, scale, 1.0)
        self._fit_ensemble(X, (columns - self.y_mean_) / self.y_scale_)
        return self

    def predict(
        self, X: Any, return_std: bool = False, return_cov: bool = False, time: float | None = None
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Mean prediction, and how much networks of the ensemble differ.

        Arguments:
            X: Inputs.
            return_std: Also return the standard deviation over the ensemble, in the shape of the mean.
            return_cov: Also return the covariance, (m, m) or (m, m, k) for k targets.
            time: Another training time than `time_`; needs no new fit.
        """
        if return_std and return_cov:
            raise InputError("one uncertainty at a time", "return_std and return_cov", "Choose one.")
        prior: Literal["none", "diagonal", "full"] = "full" if return_cov else "diagonal" if return_std else "none"
        mean, covariance = self._posterior(X, time, prior)
        value = mean.numpy() * self.y_scale_ + self.y_mean_
        if prior == "none":
            return self._shaped(value)
        if return_std:
            return self._shaped(value), self._shaped(covariance.sqrt().numpy()[:, None] * self.y_scale_)
        return self._shaped(value), self._shaped(covariance.numpy()[..., None] * self.y_scale_**2)

    def predict_interval(self, X: Any, coverage: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """Bounds that hold a new target with the given probability, whatever its distribution.

        The half-width is the conformal quantile of the errors on training rows that were left out (jackknife).

        Arguments:
            X: Inputs.
            coverage: Share of new targets inside, above 0 and below 1.
        """
        if not 0 < coverage < 1:
            raise InputError("coverage is a fraction between 0 and 1", coverage, "Give e.g. 0.9.")
        mean = np.asarray(self.predict(X))
        errors = (self._left_out(variance=False).mean - self._solved().targets).abs().numpy()
        rank = min(1.0, math.ceil((len(errors) + 1) * coverage) / len(errors))
        half = np.quantile(errors, rank, axis=0, method="higher") * self.y_scale_
        half = half[0] if self._flat else half
        return mean - half, mean + half

    def predict_left_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation for the training rows, by networks that did not see them."""
        mean, variance = self._left_out()
        assert variance is not None
        value = mean.numpy() * self.y_scale_ + self.y_mean_
        return self._shaped(value), self._shaped(variance.sqrt().numpy()[:, None] * self.y_scale_)

    def _shaped(self, columns: np.ndarray) -> np.ndarray:
        return columns[..., 0] if self._flat else columns


class NTKClassifier(ClassifierMixin, _InfiniteNetwork):
    """Classification by infinitely wide networks: least squares on centred one-hot labels.

    Arguments: see `NTKRegressor`.

    Attributes:
        classes_: Labels.
        network_, ensemble_, ridge_, time_: as of `NTKRegressor`.

    Example:
        >>> from sklearn.datasets import load_digits
        >>> X, y = load_digits(return_X_y=True)
        >>> X = (X - X.mean(0)) / 16
        >>> model = NTKClassifier().fit(X[:500], y[:500])
        >>> bool(model.score(X[500:], y[500:]) > 0.93)
        True
    """

    def fit(self, X: Any, y: Any) -> NTKClassifier:
        """Fit by one decomposition of the kernel matrix."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, index = np.unique(y, return_inverse=True)
        onehot = np.eye(len(self.classes_))[index]
        self.prior_ = onehot.mean(0)
        self._fit_ensemble(X, onehot - self.prior_)
        return self

    def decision_function(self, X: Any, time: float | None = None) -> np.ndarray:
        """Mean output per class (m, k); for two classes the difference (m,)."""
        scores = self._posterior(X, time, "none")[0].numpy() + self.prior_
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Any, time: float | None = None) -> np.ndarray:
        """The class with the largest mean output."""
        check_is_fitted(self)
        scores = self._posterior(X, time, "none")[0].numpy() + self.prior_
        return self.classes_[scores.argmax(1)]

    def predict_proba(self, X: Any, time: float | None = None) -> np.ndarray:
        """Share of the networks of the ensemble whose largest output is each class.

        Outputs are independent Gaussians of equal variance ``s^2``, so with ``z`` normal the share of class c is
        ``E prod_{j != c} Phi(z + (m_c - m_j) / s)``, one integral per class, done by quadrature: no sampling noise.
        """
        return self._shares(*self._posterior(X, time, "diagonal"))

    def predict_proba_left_out(self) -> np.ndarray:
        """Shares of the classes for the training rows, by networks that did not see them."""
        mean, variance = self._left_out()
        assert variance is not None
        return self._shares(mean, variance)

    def _shares(self, mean: Tensor, variance: Tensor) -> np.ndarray:
        deviation = np.sqrt(np.maximum(variance.numpy(), 1e-12))
        return winning_shares((mean.numpy() + self.prior_) / deviation[:, None])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = False
        return tags


def winning_shares(scores: np.ndarray, nodes: int = 64) -> np.ndarray:
    """Probability that each of k independent unit normals with the given means is the largest.

    Example:
        >>> winning_shares(np.array([[0.0, 0.0], [3.0, 0.0]])).round(4).tolist()
        [[0.5, 0.5], [0.9831, 0.0169]]
    """
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights = weights / weights.sum()
    shares = np.zeros_like(scores)
    for c in range(scores.shape[1]):
        ahead = scores[:, [c]] - np.delete(scores, c, axis=1)
        shares[:, c] = ndtr(points[:, None, None] + ahead).prod(2).T @ weights
    return shares / shares.sum(1, keepdims=True)


def refuse_too_large(rows: int) -> None:
    """Refuse a dense solve that cannot fit into memory, before it starts.

    Raises:
        InputError: with the memory it needs.
    """
    needed, physical = bytes_of_direct_solve(rows), physical_memory()
    if needed > physical:
        raise InputError(
            f"{rows} rows need kernel matrices that do not fit into memory",
            f"{needed / 2**30:.1f} GiB needed, {physical / 2**30:.1f} GiB installed",
            "Use solver='cg', fewer rows, or infwidth.kernel_matrix(..., out='kernel.npy') to keep it on disk.",
        )


def bytes_of_direct_solve(rows: int) -> int:
    """Both kernels in float64, the factor, and room to make them."""
    return 5 * 8 * rows**2


def physical_memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
