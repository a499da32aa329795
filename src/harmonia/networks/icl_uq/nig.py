"""Bayesian linear regression with unknown noise as a scikit-learn estimator: exact, updated pair by pair."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from harmonia.core.errors import InputError
from harmonia.parts.conjugate import NormalInverseGamma, StudentT


class NIGRegression(RegressorMixin, BaseEstimator):
    """Linear regression under a normal-inverse-gamma prior.

    ``y = w . x + sigma e``, ``1/sigma^2 ~ Gamma(a0, rate b0)``, ``w | sigma ~ N(mu0, sigma^2 Lambda0^-1)``. After n
    pairs a new y is Student-t with ``2 a0 + n`` degrees of freedom (`harmonia.parts.conjugate`). There is no
    intercept: centre the target, or add a column of ones.

    Arguments:
        mu0: Prior mean of the weights, a number or one for each.
        Lambda0: Prior precision of the weights over that of the noise: a positive number, or a matrix.
        a0: Shape; above 1, or the noise has no finite variance.
        b0: Rate.

    Attributes:
        posterior_: The `NormalInverseGamma` after all pairs.
        log_marginal_likelihood_: Log density of all targets under the prior, in nats.
        n_features_in_: Number of inputs.

    Raises:
        InputError: an impossible prior, or inputs that are combinations of others beside what the prior says.
        ValueError: In `fit` and `predict`, what scikit-learn refuses.

    Example:
        >>> x = np.array([[1.0], [2.0], [3.0]])
        >>> model = NIGRegression().fit(x, [2.0, 4.0, 6.0])
        >>> mean, std = model.predict([[4.0]], return_std=True)
        >>> mean.round(2).tolist(), bool(std[0] < 2)
        ([7.47], True)
    """

    def __init__(self, mu0=0.0, Lambda0=1.0, a0=2.0, b0=1.0):  # untyped: `fit` checks
        self.mu0 = mu0
        self.Lambda0 = Lambda0
        self.a0 = a0
        self.b0 = b0

    def fit(self, X: Any, y: Any) -> NIGRegression:
        """Start from the prior and take in all pairs."""
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        return self._absorb(self._prior(X.shape[1]), 0.0, X, y)

    def partial_fit(self, X: Any, y: Any) -> NIGRegression:
        """Take in further pairs; the result is that of one `fit` on all."""
        if not hasattr(self, "posterior_"):
            return self.fit(X, y)
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True, reset=False)
        return self._absorb(self.posterior_, self.log_marginal_likelihood_, X, y)

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Mean of every row, and its standard deviation if wanted."""
        known = self.predictive(X)
        mean = known.location.numpy()
        return (mean, known.variance.sqrt().numpy()) if return_std else mean

    def predictive(self, X: Any) -> StudentT:
        """The Student-t distribution of every row's target."""
        check_is_fitted(self, "posterior_")
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return self.posterior_.expand(len(X)).predict(torch.from_numpy(X))

    def predict_interval(
        self, X: Any, coverage: float = 0.9
    ) -> tuple[Float64[ndarray, " rows"], Float64[ndarray, " rows"]]:
        """Central intervals of the Student-t."""
        from scipy.stats import t

        if not 0 < coverage < 1:
            raise InputError("the coverage of an interval lies in (0, 1)", coverage, "Pass for instance 0.9.")
        known = self.predictive(X)
        half = t.ppf(0.5 + coverage / 2, known.df.numpy()) * known.scale.numpy()
        return known.location.numpy() - half, known.location.numpy() + half

    def predict_all_prefixes(
        self, xs: ArrayLike, ys: ArrayLike
    ) -> tuple[Float64[ndarray, "batch length"], Float64[ndarray, "batch length"]]:
        """Mean and standard deviation of every target of many data sets, each from the pairs before it; no fit needed.

        Arguments:
            xs: Inputs, [batch, length, dim].
            ys: Targets, [batch, length].

        Raises:
            InputError: shapes that do not fit, values that are not finite, or inputs so large that they hide the noise.
        """
        x, y = np.array(xs, dtype=np.float64), np.array(ys, dtype=np.float64)
        if x.ndim != 3 or y.shape != x.shape[:2] or not x.size:
            got = f"shapes {x.shape} and {y.shape}"
            raise InputError("the data sets do not fit", got, "Pass [batch, length, dim] and [batch, length].")
        if not (np.isfinite(x).all() and np.isfinite(y).all()):
            raise InputError("the data sets hold values that are not finite", "NaN or infinity", "Repair them first.")
        known = self._prior(x.shape[-1]).prequential(torch.from_numpy(x), torch.from_numpy(y))
        return known.location.numpy(), known.variance.sqrt().numpy()

    def _prior(self, dim: int) -> NormalInverseGamma:
        mean = np.asarray(self.mu0, dtype=np.float64)
        if mean.shape not in ((), (dim,)) or not np.isfinite(mean).all():
            got = f"shape {mean.shape} for {dim} inputs" if mean.ndim else mean
            raise InputError("mu0 is a number or one for each input", got, "Pass finite numbers.")
        precision = np.asarray(self.Lambda0, dtype=np.float64)
        precision = precision if precision.ndim else precision * np.eye(dim)
        if not self.a0 > 1:
            raise InputError("with a0 <= 1 the noise has no finite variance", self.a0, "Pass a larger a0.")
        fits = precision.shape == (dim, dim) and np.allclose(precision, precision.T)
        if not (fits and (np.linalg.eigvalsh(precision) > 0).all()):
            got = f"shape {precision.shape}{', not symmetric or not positive' if precision.shape == (dim, dim) else ''}"
            raise InputError("Lambda0 is a positive number or a positive definite matrix", got, "Pass such a one.")
        covariance = torch.from_numpy(np.linalg.inv(precision))
        shape, rate = (torch.tensor(float(value), dtype=torch.float64) for value in (self.a0, self.b0))
        return NormalInverseGamma(torch.from_numpy(np.full(dim, mean)), covariance, shape, rate)

    def _absorb(self, before: NormalInverseGamma, evidence: float, X: ndarray, y: ndarray) -> NIGRegression:
        x, targets = torch.from_numpy(np.array(X)), torch.from_numpy(np.array(y, dtype=np.float64))
        posterior = before.absorb(x, targets)
        self.log_marginal_likelihood_ = evidence + before.log_evidence(x, targets).item()
        self.posterior_ = posterior
        return self
