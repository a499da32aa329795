"""Scale mixtures of Gaussian processes as scikit-learn regressors."""

from __future__ import annotations

import math
import warnings
from numbers import Real
from typing import Any, Literal

import numpy as np
import torch
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.scale_mixtures.covariance import as_covariance
from harmonia.kernels.scale_mixtures.predictive import Predictive
from harmonia.kernels.scale_mixtures.process import Conditional, ScaleMixtureProcess, importance_sampled
from harmonia.kernels.scale_mixtures.scales import FromDensity, InverseGamma, ScaleDistribution
from harmonia.kernels.scale_mixtures.search import Hyperparameters, maximise_marginal_likelihood
from harmonia.parts.gram import free_memory

Of = Literal["target", "function"]


class ScaleMixtureGPRegressor(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Regression by a scale mixture of Gaussian processes: the limit of networks whose output scale is random.

    ``y | s2 ~ N(0, s2 (K + noise))`` with a prior on s2 (arXiv:2107.01408): the scale of the outputs is inferred, not
    assumed, so error bars survive a wrong one; with few data they are heavy-tailed. Every prior is integrated exactly.
    Inputs should be standardised.

    Arguments:
        kernel: ``"nngp-mlp"``, ``"nngp-resnet"``, an infinitely wide network, a function ``(w_std, b_std)`` to one, or
            a kernel of scikit-learn or gpytorch: see `as_covariance`.
        prior: Distribution of s2: `InverseGamma`, `BurrXII`, `LogNormal`, `HalfCauchy`, ..., or its log density; by
            default InverseGamma(2, 2).
        depth: Hidden layers of the named networks.
        activation: Of the named networks.
        w_std: Scale of their weights, or where it starts; by default the activation's own.
        b_std: The same of their biases.
        noise: Variance of the noise relative to the kernel, or where it starts.
        optimize: Whether noise and the kernel's hyperparameters maximise the marginal likelihood.
        learn_prior: Whether the prior's parameters do, too; see `maximise_marginal_likelihood` before you do.
        inference: ``"quadrature"``: exact; ``"is"``: importance sampling with 1000 draws, as the official code.
        normalize_y: Whether targets are standardised before.
        input_shape: Channels and positions of each row, for convolutional networks.
        max_steps: Most steps of L-BFGS.
        random_state: Seed of the rows of the first, coarse search (with more than 1000 rows) and of ``"is"``.

    Attributes:
        covariance_: The kernel with its learned hyperparameters (``covariance_.describe()``).
        noise_: Variance of the noise relative to the kernel.
        prior_: The prior of s2.
        scale_posterior_: The posterior of s2, for standardised targets.
        log_marginal_likelihood_: ``log p(y)`` in nats, for targets in their own units.
        process_: The posterior process (`ScaleMixtureProcess`).

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> X, y = load_diabetes(return_X_y=True)
        >>> X = (X - X.mean(0)) / X.std(0)
        >>> model = ScaleMixtureGPRegressor(depth=2).fit(X[:150], y[:150])
        >>> dist = model.predict(X[150:], return_dist=True)
        >>> low, high = dist.interval(0.9)
        >>> bool(0.84 < ((low < y[150:]) & (y[150:] < high)).mean() < 0.96)
        True
    """

    def __init__(  # untyped: scikit-learn's constructors take anything, and `fit` checks
        self,
        kernel="nngp-mlp",
        *,
        prior=None,
        depth=4,
        activation="relu",
        w_std=None,
        b_std=None,
        noise=0.1,
        optimize=True,
        learn_prior=False,
        inference="quadrature",
        normalize_y=True,
        input_shape=None,
        max_steps=50,
        random_state=0,
    ):
        self.kernel = kernel
        self.prior = prior
        self.depth = depth
        self.activation = activation
        self.w_std = w_std
        self.b_std = b_std
        self.noise = noise
        self.optimize = optimize
        self.learn_prior = learn_prior
        self.inference = inference
        self.normalize_y = normalize_y
        self.input_shape = input_shape
        self.max_steps = max_steps
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> ScaleMixtureGPRegressor:
        """Learn the hyperparameters and condition on the targets.

        Raises:
            InputError: parameters out of range, rows that do not fit into memory.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, multi_output=True, y_numeric=True)
        self._check_parameters(len(X))
        columns = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        self._flat = np.ndim(y) == 1
        self.y_mean_ = columns.mean(0) if self.normalize_y else np.zeros(columns.shape[1])
        scale = columns.std(0) if self.normalize_y else np.ones(columns.shape[1])
        self.y_scale_ = np.where(scale > 0, scale, 1.0)
        targets = torch.from_numpy((columns - self.y_mean_) / self.y_scale_)
        x = self._tensor(X)
        self.X_train_ = X
        covariance = as_covariance(self.kernel, self.depth, self.activation, self.w_std, self.b_std)
        start = Hyperparameters(covariance, float(self.noise), self._prior())
        if self.optimize:
            generator = torch.Generator().manual_seed(self._seed())
            start = maximise_marginal_likelihood(
                x, targets, start, learn_prior=self.learn_prior, max_steps=self.max_steps, generator=generator
            )
        self.covariance_, self.noise_, self.prior_ = start
        self.process_ = ScaleMixtureProcess(self.covariance_.matrix(x), targets, self.prior_, self.noise_)
        if self.inference == "is":
            self._sample_posterior()
        self.scale_posterior_ = self.process_.posterior
        change_of_units = len(X) * float(np.log(self.y_scale_).sum())
        self.log_marginal_likelihood_ = self.process_.log_marginal_likelihood - change_of_units
        return self

    def predict(
        self,
        X: Any,
        return_std: bool = False,
        return_cov: bool = False,
        return_dist: bool = False,
        of: Of = "target",
    ) -> Any:
        """Mean prediction, and how uncertain it is.

        Arguments:
            X: Inputs.
            return_std: Also return the standard deviation, in the shape of the mean.
            return_cov: Also return the covariance, (m, m) or (m, m, k) for k targets.
            return_dist: Return the predictive distributions instead (`Predictive`): mean, quantiles, log density.
            of: What is predicted: a new ``"target"``, noise included, or the ``"function"`` behind it.

        Raises:
            InputError: more than one of them.
        """
        if return_std + return_cov + return_dist > 1:
            raise InputError("one uncertainty at a time", "several", "Choose one of return_std, _cov and _dist.")
        if of not in ("target", "function"):
            raise InputError("no such prediction", repr(of), "Use 'target' or 'function'.")
        condition = self._condition(X, full=return_cov)
        noise = self.noise_ if of == "target" else 0.0
        mean = self._shaped(condition.mean.numpy() * self.y_scale_ + self.y_mean_)
        if return_cov:
            unit = condition.covariance.numpy() + noise * np.eye(len(mean))
            return mean, self._shaped((self._factor() * unit)[..., None] * self.y_scale_**2)
        if not (return_std or return_dist):
            return mean
        found = self.process_.marginal(*condition, noise).rescaled(self.y_scale_, self.y_mean_)
        dist = found[..., 0] if self._flat else found
        if return_dist:
            return dist
        if np.isfinite(dist.variance).all():
            return mean, dist.std
        _warn_of_infinite_variance()
        return mean, dist.scale

    def predict_left_out(self) -> Predictive:
        """Predictive distributions of the training targets, each by all other rows; hyperparameters stay."""
        check_is_fitted(self)
        found = self.process_.left_out().rescaled(self.y_scale_, self.y_mean_)
        return found[..., 0] if self._flat else found

    def loo_log_density(self) -> np.ndarray:
        """Log density of each training target given all other rows: calibration without a test set."""
        dist = self.predict_left_out()
        y = self.process_.targets.numpy() * self.y_scale_ + self.y_mean_
        return dist.log_prob(self._shaped(y))

    def sample_y(
        self,
        X: Any,
        n_samples: int = 1,
        random_state: int = 0,
        of: Of = "function",
        shared_scale: bool = True,
    ) -> np.ndarray:
        """Joint draws at all inputs (m, n_samples), or (m, k, n_samples) for k targets.

        Arguments:
            X: Inputs.
            n_samples: Number of draws.
            random_state: Seed.
            of: ``"function"`` or ``"target"``.
            shared_scale: One s2 per draw, as the process has it. False: independent ones per row and output, as the
                official code; its draws have the right marginals only where rows are independent.
        """
        check_is_fitted(self)
        mean, covariance = self._condition(X, full=True)
        noise = self.noise_ if of == "target" else 0.0
        rows, outputs = mean.shape
        unit = covariance.numpy() + noise * np.eye(rows)
        values, vectors = np.linalg.eigh((unit + unit.T) / 2)
        root = vectors * np.sqrt(values.clip(0))
        generator = np.random.default_rng(random_state)
        independent = n_samples if shared_scale else n_samples * rows * outputs
        s2 = self.scale_posterior_.sample(independent, generator)
        s2 = s2 if shared_scale else s2.reshape(n_samples, rows, outputs)
        spread = np.sqrt(s2.reshape(n_samples, *s2.shape[1:] or (1, 1)))
        draws = mean.numpy() + root @ (spread * generator.standard_normal((n_samples, rows, outputs)))
        return np.moveaxis(self._shaped(draws * self.y_scale_ + self.y_mean_), 0, -1)

    def _condition(self, X: Any, full: bool) -> Conditional:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        x, train = self._tensor(X), self._tensor(self.X_train_)
        prior = self.covariance_.matrix(x) if full else self.covariance_.diagonal(x)
        return self.process_.condition(self.covariance_.matrix(x, train), prior)

    def _factor(self) -> float:
        """E[s2], or where that is infinite the squared scale of Student's t."""
        mean = float(self.scale_posterior_.mean())
        if math.isfinite(mean):
            return mean
        _warn_of_infinite_variance()
        return float(self.scale_posterior_.mix(0.0, 1.0).scale) ** 2

    def _sample_posterior(self) -> None:
        process = self.process_
        found, effective = importance_sampled(self.prior_, process.count, process.q, seed=101 + self._seed())
        if effective < 0.1:
            warnings.warn(
                f"only {100 * effective:.1f}% of the samples of the scale count; quadrature is used instead",
                stacklevel=3,
            )
            return
        process.posterior = found

    def _check_parameters(self, rows: int) -> None:
        if self.inference not in ("quadrature", "is"):
            raise InputError("no such inference", repr(self.inference), "Use 'quadrature' or 'is'.")
        for name, value, lowest in (("noise", self.noise, 0.0), ("max_steps", self.max_steps, 1)):
            if not isinstance(value, Real) or not lowest <= float(value) < math.inf:
                raise InputError(f"'{name}' is a number >= {lowest:g}", repr(value), "Change it.")
        needed, free = 5 * 8 * rows**2, free_memory()
        if needed > free:
            raise InputError(
                f"{rows} rows need matrices that do not fit into memory",
                f"{needed / 2**30:.1f} GiB needed, {free / 2**30:.1f} GiB free",
                "Pass fewer rows.",
            )

    def _prior(self) -> ScaleDistribution:
        if self.prior is None:
            return InverseGamma(2.0, 2.0)
        if isinstance(self.prior, ScaleDistribution):
            return self.prior
        if callable(self.prior):
            return FromDensity(self.prior)
        mend = "Use e.g. InverseGamma(2, 2), or a function."
        raise InputError("a prior is a distribution of s2 or its log density", repr(self.prior), mend)

    def _seed(self) -> int:
        state = self.random_state
        return int(state) if isinstance(state, (int, np.integer)) else int(check_random_state(state).randint(2**31))

    def _tensor(self, X: np.ndarray) -> Tensor:
        x = torch.tensor(X, dtype=torch.float64)
        if self.input_shape is None:
            return x
        if math.prod(self.input_shape) != x.shape[1]:
            got = f"{x.shape[1]} numbers for {self.input_shape}"
            raise InputError("the rows do not fill 'input_shape'", got, "Change it.")
        return x.reshape(-1, *self.input_shape)

    def _shaped(self, columns: np.ndarray) -> np.ndarray:
        return columns[..., 0] if self._flat else columns


class StudentTProcessRegressor(ScaleMixtureGPRegressor):
    """Regression by a Student-t process: `ScaleMixtureGPRegressor` with an inverse-gamma prior of s2, all closed form.

    After n targets predictions are Student's t with 2a + n degrees of freedom: heavy tails are for small n; with many
    data what remains of the prior is that the scale is learned (arXiv:2107.01408; Shah et al. 2014).

    Arguments:
        kernel: As of `ScaleMixtureGPRegressor`.
        a: Shape of the prior; 2a are the degrees of freedom before data.
        b: Rate of the prior; for standardised targets about a.
        depth, activation, w_std, b_std, noise, optimize, learn_prior, normalize_y, input_shape, max_steps,
            random_state: As of `ScaleMixtureGPRegressor`.

    Attributes: see `ScaleMixtureGPRegressor`.

    Example:
        >>> from sklearn.gaussian_process.kernels import RBF
        >>> X = np.linspace(-3, 3, 12)[:, None]
        >>> model = StudentTProcessRegressor(RBF(), noise=1e-4).fit(X, 5 * np.sin(X[:, 0]))
        >>> dist = model.predict([[0.5]], return_dist=True)
        >>> float(dist.df), bool(abs(dist.mean[0] - 5 * np.sin(0.5)) < 0.1)
        (16.0, True)
    """

    def __init__(  # untyped: scikit-learn's constructors take anything, and `fit` checks
        self,
        kernel="nngp-mlp",
        *,
        a=2.0,
        b=2.0,
        depth=4,
        activation="relu",
        w_std=None,
        b_std=None,
        noise=0.1,
        optimize=True,
        learn_prior=False,
        normalize_y=True,
        input_shape=None,
        max_steps=50,
        random_state=0,
    ):
        super().__init__(
            kernel,
            depth=depth,
            activation=activation,
            w_std=w_std,
            b_std=b_std,
            noise=noise,
            optimize=optimize,
            learn_prior=learn_prior,
            normalize_y=normalize_y,
            input_shape=input_shape,
            max_steps=max_steps,
            random_state=random_state,
        )
        self.a = a
        self.b = b

    def _prior(self) -> ScaleDistribution:
        return InverseGamma(float(self.a), float(self.b))


def _warn_of_infinite_variance() -> None:
    warnings.warn(
        "the predictive variance is infinite (at most two degrees of freedom); the scale is returned", stacklevel=3
    )
