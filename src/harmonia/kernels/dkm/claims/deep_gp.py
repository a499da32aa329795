"""The rival: a deep Gaussian process of gpytorch with two layers, as its tutorial builds one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from harmonia.core.errors import require


def fit_deep_gp(x: np.ndarray, y: np.ndarray, inducing: int, steps: int, classes: int, seed: int) -> Any:
    """Train on all rows by Adam with a learning rate of 0.01.

    Arguments:
        x: Standardised inputs.
        y: Standardised targets, or labels from 0.
        inducing: Inducing points of each layer.
        steps: Of Adam.
        classes: 0 for regression.
        seed: Of the start and of the draws.

    Returns:
        A function of inputs: mean and variance of a new target, or class probabilities.
    """
    gpytorch = require("gpytorch", extra="peers")
    deep = gpytorch.models.deep_gps
    with torch.random.fork_rng():
        torch.manual_seed(seed)

        class Layer(deep.DeepGPLayer):  # type: ignore[name-defined]
            def __init__(self, inputs: int, outputs: int | None, linear: bool) -> None:
                batch = torch.Size([]) if outputs is None else torch.Size([outputs])
                points = torch.randn(*batch, inducing, inputs)
                posterior = gpytorch.variational.CholeskyVariationalDistribution(inducing, batch_shape=batch)
                strategy = gpytorch.variational.VariationalStrategy(self, points, posterior)
                super().__init__(strategy, inputs, outputs)
                means = gpytorch.means
                self.mean_module = means.LinearMean(inputs) if linear else means.ConstantMean(batch_shape=batch)
                kernel = gpytorch.kernels.RBFKernel(batch_shape=batch, ard_num_dims=inputs)
                self.covar_module = gpytorch.kernels.ScaleKernel(kernel, batch_shape=batch)

            def forward(self, rows: Tensor) -> Any:
                return gpytorch.distributions.MultivariateNormal(self.mean_module(rows), self.covar_module(rows))

        class DeepGP(deep.DeepGP):  # type: ignore[name-defined]
            def __init__(self) -> None:
                super().__init__()
                hidden = min(x.shape[1], 5)
                self.hidden, self.last = Layer(x.shape[1], hidden, True), Layer(hidden, classes or None, False)

            def forward(self, rows: Tensor) -> Any:
                return self.last(self.hidden(rows))

        likelihoods = gpytorch.likelihoods
        if classes:
            likelihood = likelihoods.SoftmaxLikelihood(num_classes=classes, mixing_weights=False)
        else:
            likelihood = likelihoods.GaussianLikelihood()
        model = DeepGP().double()
        likelihood = likelihood.double()
        rows, targets = torch.from_numpy(x), torch.from_numpy(y)
        bound = gpytorch.mlls.DeepApproximateMLL(gpytorch.mlls.VariationalELBO(likelihood, model, len(x)))
        optimizer = torch.optim.Adam([*model.parameters(), *likelihood.parameters()], 0.01)
        with gpytorch.settings.num_likelihood_samples(10):
            for _ in range(steps):
                optimizer.zero_grad()
                (-bound(model(rows), targets)).backward()
                optimizer.step()
        model.eval()

    def predict(at: np.ndarray) -> Any:
        with torch.no_grad(), torch.random.fork_rng(), gpytorch.settings.num_likelihood_samples(50):
            torch.manual_seed(seed)
            found = likelihood(model(torch.from_numpy(at)))
            if classes:
                return found.probs.reshape(-1, len(at), classes).mean(0).numpy()
            mean = found.mean.mean(0)
            return mean.numpy(), (found.variance.mean(0) + found.mean.var(0)).numpy()

    return predict
