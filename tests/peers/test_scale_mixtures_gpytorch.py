"""Parity with gpytorch: the Gaussian special case, its kernels as ours, their gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import approx_fprime

from harmonia.kernels.scale_mixtures import (
    Hyperparameters,
    InverseGamma,
    PointMass,
    ScaleMixtureGPRegressor,
    StudentTProcessRegressor,
    as_covariance,
)
from harmonia.kernels.scale_mixtures.search import Objective

pytestmark = pytest.mark.peer
gpytorch = pytest.importorskip("gpytorch")


@pytest.fixture
def data():
    x = np.random.default_rng(0).standard_normal((40, 3))
    return x, np.sin(x[:, 0]) + 0.1 * x[:, 1]


def matern():
    kernel = gpytorch.kernels.ScaleKernel(gpytorch.kernels.MaternKernel(nu=1.5, ard_num_dims=3)).double()
    kernel.outputscale, kernel.base_kernel.lengthscale = 0.8, torch.tensor([[1.0, 2.0, 3.0]])
    return kernel


def test_exact_gp(data):
    x, y = data
    likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
    likelihood.noise = 0.2

    class Model(gpytorch.models.ExactGP):
        def __init__(self):
            super().__init__(torch.from_numpy(x[:30]), torch.from_numpy(y[:30]), likelihood)
            self.mean_module, self.covar_module = gpytorch.means.ZeroMean(), matern()

        def forward(self, at):
            return gpytorch.distributions.MultivariateNormal(self.mean_module(at), self.covar_module(at))

    theirs = Model().double()
    evidence = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, theirs)
    ours = ScaleMixtureGPRegressor(matern(), prior=PointMass(1.0), noise=0.2, optimize=False, normalize_y=False)
    ours.fit(x[:30], y[:30])
    found = evidence(theirs(torch.from_numpy(x[:30])), torch.from_numpy(y[:30]))
    assert ours.log_marginal_likelihood_ == pytest.approx(30 * float(found.detach()), rel=1e-8)
    theirs.eval(), likelihood.eval()
    with torch.no_grad():
        prediction = likelihood(theirs(torch.from_numpy(x[30:])))
    mean, std = ours.predict(x[30:], return_std=True)
    np.testing.assert_allclose(mean, prediction.mean, rtol=1e-6)
    np.testing.assert_allclose(std, prediction.stddev, rtol=1e-6)


def test_its_kernels_are_learned(data):
    x, y = data
    covariance = as_covariance(matern())
    assert covariance.describe()["outputscale"] == pytest.approx(0.8)
    start = Hyperparameters(covariance, 0.2, InverseGamma(2.0, 2.0))
    objective = Objective(torch.from_numpy(x), torch.from_numpy(y)[:, None], start)
    at = objective.pack()
    np.testing.assert_allclose(objective(at)[1], approx_fprime(at, lambda v: objective(v)[0], 1e-6), atol=1e-5)
    model = StudentTProcessRegressor(matern()).fit(x, y)
    assert model.score(x, y) > 0.95
