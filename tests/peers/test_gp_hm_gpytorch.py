"""The mixture kernel, its derivatives, and solutions beside gpytorch and scipy's collocation for boundary values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_bvp

from harmonia.kernels.gp_hm import GPPDESolver, SpectralMixtureKernel1D
from harmonia.parts.gram import Cholesky

gpytorch = pytest.importorskip("gpytorch")

pytestmark = pytest.mark.peer


def ours() -> SpectralMixtureKernel1D:
    generator = torch.Generator().manual_seed(0)
    weight, rate, frequency = (torch.randn(4, generator=generator, dtype=torch.float64) for _ in range(3))
    return SpectralMixtureKernel1D(4).with_parameters(weight, rate + 2, frequency.abs())


def theirs(kernel: SpectralMixtureKernel1D) -> torch.nn.Module:
    """The same mixture: its lines have the standard deviation ``sqrt(a / 2) / pi``."""
    assert kernel.parameters is not None
    weight, rate, frequency = kernel.parameters
    found = gpytorch.kernels.SpectralMixtureKernel(num_mixtures=len(weight)).double()
    found.mixture_weights = weight.exp()
    found.mixture_means = frequency[:, None, None]
    found.mixture_scales = ((rate.exp() / 2).sqrt() / math.pi)[:, None, None]
    return found


def test_kernel_matrices_agree() -> None:
    x, z = torch.linspace(0, 3, 40, dtype=torch.float64), torch.linspace(-1, 2, 23, dtype=torch.float64)
    kernel = ours()
    with torch.no_grad():
        expected = theirs(kernel)(x[:, None], z[:, None]).to_dense()
    torch.testing.assert_close(kernel.k(x[:, None] - z), expected, atol=1e-12, rtol=1e-10)


def test_posteriors_agree() -> None:
    generator = torch.Generator().manual_seed(1)
    x, z = torch.linspace(0, 3, 40, dtype=torch.float64), torch.linspace(0.01, 2.9, 17, dtype=torch.float64)
    y = torch.sin(5 * x) + 0.1 * torch.randn(40, generator=generator, dtype=torch.float64)
    kernel = ours()

    class Model(gpytorch.models.ExactGP):  # type: ignore[misc, name-defined]
        def __init__(self, likelihood: torch.nn.Module) -> None:
            super().__init__(x[:, None], y, likelihood)
            self.mean_module, self.covar_module = gpytorch.means.ZeroMean(), theirs(kernel)

        def forward(self, rows: torch.Tensor) -> object:
            return gpytorch.distributions.MultivariateNormal(self.mean_module(rows), self.covar_module(rows))

    likelihood = gpytorch.likelihoods.GaussianLikelihood().double()
    likelihood.noise = 0.01
    model = Model(likelihood).double().eval()
    with torch.no_grad():
        found = model(z[:, None])
    solved, cross = Cholesky(kernel.k(x[:, None] - x), 0.01), kernel.k(z[:, None] - x)
    torch.testing.assert_close(cross @ solved.solve(y), found.mean, atol=1e-8, rtol=0)
    variance = kernel.k(torch.zeros(1, dtype=torch.float64)) - solved.whiten(cross.T).square().sum(0)
    torch.testing.assert_close(variance, found.variance, atol=1e-8, rtol=0)


def test_derivatives_are_those_of_the_kernel_with_gradients() -> None:
    """One wave of frequency 0 is the squared exponential kernel, of which gpytorch has values, slopes and curvatures.

    Theirs are covariances of both points' derivatives: those by the second have the sign ``(-1)^order``.
    """
    x = torch.tensor([[0.0], [0.4], [1.1]], dtype=torch.float64)
    rate = 1.7
    single = SpectralMixtureKernel1D(1, freq_scale=0.0, rate=rate).on(9, 1.0)
    kernel = gpytorch.kernels.RBFKernelGradGrad().double()
    kernel.lengthscale = torch.tensor(1 / math.sqrt(2 * rate), dtype=torch.float64)
    with torch.no_grad():
        whole = kernel(x).to_dense().reshape(3, 3, 3, 3)  # row, its derivative, column, its derivative
    lag = x - x.T
    for i in range(3):
        for j in range(3):
            torch.testing.assert_close((-1) ** j * single.k(lag, i + j), whole[:, i, :, j], atol=1e-12, rtol=1e-10)


def test_a_nonlinear_equation_is_solved_as_by_collocation() -> None:
    """``u_xx - u^3 = f``, of which no solution is known in closed form, and not more than one exists."""
    end = 2.0

    def source(x: np.ndarray) -> np.ndarray:
        return 300 * np.sin(25 * x) * np.exp(-x) + 5.0 * x

    def system(x: np.ndarray, u: np.ndarray) -> np.ndarray:
        return np.stack([u[1], source(x) + u[0] ** 3])

    x = np.linspace(0, end, 150)
    found = solve_bvp(
        system, lambda a, b: np.array([a[0] - 0.5, b[0] + 1]), x, np.zeros((2, 150)), tol=1e-8, max_nodes=20_000
    )
    assert found.success
    solver = GPPDESolver(lambda u, x: u[2] - u[0] ** 3, [x], {"left": 0.5, "right": -1.0}, max_iter=3).fit(source(x))
    at = np.linspace(0, end, 301)
    mean, std = solver.predict(at, return_std=True)
    truth = found.sol(at)
    np.testing.assert_allclose(mean, truth[0], atol=1e-4)
    np.testing.assert_allclose(solver.predict(at, deriv=1), truth[1], atol=2e-2)
    assert (np.abs(mean - truth[0]) <= 5 * std + 1e-9).mean() > 0.9
