"""With fixed kernels and no layers the machine is gpytorch's sparse Gaussian process: bound, gradients, predictions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harmonia.kernels.dkm import DeepKernelMachine, DeepKernelMachineConfig, DeepKernelMachineRegressor
from harmonia.kernels.dkm.collapsed import Sums, best_posterior, collapsed_bound
from harmonia.kernels.dkm.network import Frozen
from harmonia.parts.gram.gpytorch import as_gpytorch

gpytorch = pytest.importorskip("gpytorch")

pytestmark = pytest.mark.peer

FEATURES, NOISE = 3, 0.1


def data() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, at = (torch.randn(n, FEATURES, generator=generator, dtype=torch.float64) for n in (90, 20))
    return x, torch.sin(2 * x[:, 0]) + x[:, 1] * x[:, 2], at


def regression(kernel: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> torch.nn.Module:
    class Model(gpytorch.models.ExactGP):  # type: ignore[misc, name-defined]
        def __init__(self, likelihood: torch.nn.Module) -> None:
            super().__init__(x, y, likelihood)
            self.mean_module, self.covar_module = gpytorch.means.ZeroMean(), kernel

        def forward(self, rows: torch.Tensor) -> object:
            return gpytorch.distributions.MultivariateNormal(self.mean_module(rows), self.covar_module(rows))

    likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
    likelihood.noise = NOISE
    return Model(likelihood).double()


def test_bound_gradient_and_predictions_are_those_of_the_sparse_process() -> None:
    x, y, at = data()
    base = gpytorch.kernels.RBFKernel().double()
    base.lengthscale = FEATURES**0.5
    likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
    likelihood.noise = NOISE
    sparse = gpytorch.kernels.InducingPointKernel(base, x[:15].clone(), likelihood)
    model = regression(sparse, x, y)
    bound = gpytorch.mlls.ExactMarginalLogLikelihood(model.likelihood, model)(model(x), y)
    bound.backward()
    model.eval()
    # With the correction, its default, gpytorch predicts by another posterior (FITC) than that of the bound.
    with torch.no_grad(), gpytorch.settings.sgpr_diagonal_correction(False):
        mean = model(at).mean
    config = DeepKernelMachineConfig(FEATURES, 1, 15, n_layers=0, kernel="sqexp", jitter=0.0)
    machine = DeepKernelMachine(config, x[:15])
    frozen = machine.frozen()
    sums = Sums.of(*frozen.features(x), y[:, None])
    noise = torch.tensor(NOISE, dtype=torch.float64)
    ours = collapsed_bound(sums, noise)
    [slope] = torch.autograd.grad(ours, [machine.entry.get_parameter("Xi")])
    assert ours.item() / len(x) == pytest.approx(bound.item(), abs=1e-6)
    torch.testing.assert_close(slope / len(x), sparse.inducing_points.grad, atol=1e-6, rtol=1e-5)
    with torch.no_grad():
        found = Frozen(machine, frozen.known, best_posterior(sums, noise, frozen.posterior.inverse))(at).mean
    torch.testing.assert_close(found[:, 0], mean, atol=1e-5, rtol=0)


def test_a_learned_kernel_predicts_in_gpytorch_what_the_machine_does() -> None:
    x, y, at = data()
    y = (y - y.mean()) / y.std(correction=0)
    ours = DeepKernelMachineRegressor(n_inducing=20, max_iter=20, noise=NOISE, random_state=0).fit(x.numpy(), y.numpy())
    model = regression(as_gpytorch(ours.deep_kernel_), x, y).eval()
    with torch.no_grad():
        mean = model(at).mean
    np.testing.assert_allclose(ours.predict(at.numpy()), mean.numpy(), atol=1e-4)
