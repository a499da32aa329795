"""Our kernels inside gpytorch: the same numbers as its own, and hyperparameters that learn."""

from __future__ import annotations

import pytest
import torch

from harmonia.parts.gram import Matern, Nystrom, SquaredExponential, as_gpytorch

gpytorch = pytest.importorskip("gpytorch")


def test_it_is_theirs_with_gradients():
    x = torch.randn(12, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ours = as_gpytorch(1.7 * Matern(0.6, 1.5))
    theirs = gpytorch.kernels.ScaleKernel(gpytorch.kernels.MaternKernel(nu=1.5)).double()
    theirs.outputscale, theirs.base_kernel.lengthscale = 1.7, 0.6
    torch.testing.assert_close(ours(x).to_dense(), theirs(x).to_dense())
    torch.testing.assert_close(ours(x[:5], x[5:]).to_dense(), theirs(x[:5], x[5:]).to_dense())
    torch.testing.assert_close(ours(x, diag=True), theirs(x, diag=True))
    torch.testing.assert_close(ours(x[:6], x[6:], diag=True), theirs(x[:6], x[6:]).to_dense().diagonal())
    for kernel in (ours, theirs):
        kernel(x).to_dense().sum().backward()
    torch.testing.assert_close(ours.raw_first_value.grad, theirs.raw_outputscale.grad)
    torch.testing.assert_close(
        ours.raw_second_lengthscale.grad, theirs.base_kernel.raw_lengthscale.grad.squeeze(), rtol=1e-6, atol=1e-8
    )


def test_any_kernel_and_active_dimensions():
    x = torch.randn(9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    seen = Nystrom(SquaredExponential(), x[:4, :2])
    ours = as_gpytorch(seen, active_dims=[0, 1])
    torch.testing.assert_close(ours(x).to_dense(), seen(x[:, :2]))
    assert not list(ours.parameters())
