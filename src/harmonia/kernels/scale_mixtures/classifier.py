"""Scale mixtures of Gaussian processes as a scikit-learn classifier, for any number of rows."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.core.progress import say, track
from harmonia.kernels.scale_mixtures.covariance import NetworkCovariance, as_covariance
from harmonia.kernels.scale_mixtures.scales import InverseGamma, PointMass
from harmonia.kernels.scale_mixtures.variational import SparseProcess, first_of_each_class


class ScaleMixtureGPClassifier(ClassifierMixin, BaseEstimator):
    """Classification by a Student-t process of an infinitely wide network, with inducing points.

    One latent function per class, all with one random scale s2 (arXiv:2107.01408, Sec. 3.3); trained by minibatches.
    Inputs should be standardised.

    Arguments:
        kernel: ``"nngp-mlp"``, ``"nngp-resnet"``, an infinitely wide network, or a function ``(w_std, b_std)`` to one.
        prior: InverseGamma, by default (2, 2); PointMass() gives the Gaussian process.
        depth: Hidden layers of the named networks.
        activation: Of the named networks.
        w_std: Where the scale of their weights starts; by default the activation's own.
        b_std: The same of their biases.
        n_inducing: Inducing points, at most one a row.
        full_covariance: Whether the inducing values of a class may be correlated.
        epochs: Passes over the data.
        batch_size: Rows of a step.
        learning_rate: Of Adam; falls to 0 along half a cosine.
        mc: Draws of the latent functions in a training step, for each node of s2.
        mc_predict: The same for predictions.
        shared_scale: False predicts as the official code does, with an independent scale per class.
        input_shape: Channels and positions of each row, for convolutional networks.
        random_state: Seed.

    Attributes:
        classes_: Labels.
        model_: The variational posterior (`SparseProcess`).
        elbo_: Evidence lower bound per row, by epoch, in nats.
        scale_posterior_: The variational posterior of s2.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> X = (X - X.mean(0)) / X.std(0)
        >>> model = ScaleMixtureGPClassifier(depth=1, n_inducing=20, batch_size=25).fit(X, y)
        >>> bool(model.score(X, y) > 0.9)
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
        n_inducing=200,
        full_covariance=False,
        epochs=50,
        batch_size=100,
        learning_rate=0.05,
        mc=4,
        mc_predict=200,
        shared_scale=True,
        input_shape=None,
        random_state=0,
    ):
        self.kernel = kernel
        self.prior = prior
        self.depth = depth
        self.activation = activation
        self.w_std = w_std
        self.b_std = b_std
        self.n_inducing = n_inducing
        self.full_covariance = full_covariance
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.mc = mc
        self.mc_predict = mc_predict
        self.shared_scale = shared_scale
        self.input_shape = input_shape
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> ScaleMixtureGPClassifier:
        """Maximise the evidence lower bound.

        Raises:
            InputError: parameters out of range, or a kernel that is no network.
        """
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, index = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError("a classifier needs at least two classes", "one class", "Pass labels that vary.")
        self._check_parameters()
        covariance = as_covariance(self.kernel, self.depth, self.activation, self.w_std, self.b_std)
        if not isinstance(covariance, NetworkCovariance):
            raise InputError("this classifier takes kernels of networks", repr(self.kernel), "Use e.g. 'nngp-mlp'.")
        prior = InverseGamma(2.0, 2.0) if self.prior is None else self.prior
        x, labels = self._tensor(X), torch.from_numpy(index)
        inducing = x[torch.from_numpy(first_of_each_class(index, self.n_inducing))]
        self.model_ = SparseProcess(
            covariance.build,
            covariance.scales,
            inducing,
            len(self.classes_),
            prior,
            full_covariance=self.full_covariance,
        )
        self.elbo_ = self._train(x, labels, self._generator())
        values = self.model_.log_scale.detach().exp().tolist()
        self.scale_posterior_ = PointMass(*values) if isinstance(prior, PointMass) else InverseGamma(*values)
        return self

    def _train(self, x: Tensor, labels: Tensor, generator: torch.Generator) -> np.ndarray:
        model, n = self.model_, len(x)
        optimizer = torch.optim.Adam(model.parameters(), self.learning_rate)
        steps = math.ceil(n / self.batch_size)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs * steps)
        bound = []
        for _ in track(range(self.epochs), "Training"):
            losses = []
            for rows in torch.randperm(n, generator=generator).split(self.batch_size):
                loss = model.loss(x[rows], labels[rows], n, self.mc, generator)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                losses.append(float(loss.detach()) * len(rows))
            bound.append(-sum(losses) / n)
        say(f"Evidence lower bound {bound[-1]:.3f} nats per row after {self.epochs} epochs.")
        return np.array(bound)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Class probabilities (m, C)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        return self.model_.probabilities(
            self._tensor(X), self.mc_predict, self._generator(), bool(self.shared_scale)
        ).numpy()

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class."""
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(1)]

    def _check_parameters(self) -> None:
        for name in ("n_inducing", "epochs", "batch_size", "mc", "mc_predict"):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)) or value < 1:
                raise InputError(f"'{name}' is a whole number >= 1", repr(value), "Change it.")
        if not isinstance(self.learning_rate, Real) or not 0 < float(self.learning_rate) < math.inf:
            raise InputError("the learning rate is positive", repr(self.learning_rate), "Give e.g. 0.01.")
        if self.prior is not None and not isinstance(self.prior, (InverseGamma, PointMass)):
            raise InputError(
                "the classifier's scale has an inverse-gamma prior", repr(self.prior), "Use InverseGamma or PointMass."
            )

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(int(check_random_state(self.random_state).randint(2**31)))

    def _tensor(self, X: np.ndarray) -> Tensor:
        x = torch.tensor(X, dtype=torch.float64)
        if self.input_shape is None:
            return x
        if math.prod(self.input_shape) != x.shape[1]:
            got = f"{x.shape[1]} numbers for {self.input_shape}"
            raise InputError("the rows do not fill 'input_shape'", got, "Change it.")
        return x.reshape(-1, *self.input_shape)
