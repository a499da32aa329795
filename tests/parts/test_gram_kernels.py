"""Kernel functions against scikit-learn's, sampled networks and each other; their algebra; their gradients."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.gaussian_process import kernels as sk
from sklearn.metrics.pairwise import laplacian_kernel

from harmonia.core.errors import InputError
from harmonia.parts import gram
from harmonia.parts.gram import (
    ArcCosine,
    Constant,
    Laplace,
    Linear,
    Matern,
    Polynomial,
    RationalQuadratic,
    SquaredExponential,
    kernel_matrix,
)

KERNELS = {
    "squared exponential": SquaredExponential(0.7),
    "rational quadratic": RationalQuadratic(0.7, 1.5),
    "matern 1/2": Matern(0.7, 0.5),
    "matern 3/2": Matern(0.7, 1.5),
    "matern 5/2": Matern(0.7, 2.5),
    "laplace": Laplace(0.7),
    "linear": Linear(),
    "polynomial": Polynomial(3, 0.5, 2.0),
    "arc-cosine 0": ArcCosine(0),
    "arc-cosine 1": ArcCosine(1),
    "arc-cosine 2": ArcCosine(2),
    "constant": Constant(0.3),
    "sum and product": 2.0 * SquaredExponential(0.5) * Linear() + Matern() + 1,
}


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(rows, 3, generator=generator, dtype=torch.float64) for rows in (9, 5))


@pytest.mark.parametrize("name", KERNELS)
def test_matrices_agree_with_each_other(name, inputs):
    kernel, (x, z) = KERNELS[name], inputs
    matrix = kernel(x)
    assert matrix.dtype == torch.float64
    torch.testing.assert_close(matrix, matrix.mT, rtol=0, atol=0)
    torch.testing.assert_close(matrix, kernel(x, x), rtol=1e-7, atol=2e-7 if name == "arc-cosine 0" else 1e-12)
    torch.testing.assert_close(matrix.diagonal(), kernel.diagonal(x), rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(kernel(x, z), kernel(z, x).mT, rtol=1e-12, atol=1e-12)
    assert torch.linalg.eigvalsh(matrix).min() > -1e-12 * torch.linalg.eigvalsh(matrix).max()
    torch.testing.assert_close(kernel_matrix(kernel, x, block=4), matrix, rtol=1e-7, atol=2e-7)
    batched = kernel(torch.stack([x[:5], z]), torch.stack([z, x[:5]]))
    torch.testing.assert_close(batched[1], kernel(z, x[:5]), rtol=1e-12, atol=1e-12)
    assert kernel(x.float(), z.float()).dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("squared exponential", sk.RBF(0.7)),
        ("rational quadratic", sk.RationalQuadratic(0.7, 1.5)),
        ("matern 1/2", sk.Matern(0.7, nu=0.5)),
        ("matern 3/2", sk.Matern(0.7, nu=1.5)),
        ("matern 5/2", sk.Matern(0.7, nu=2.5)),
        ("linear", sk.DotProduct(0.0)),
        ("constant", sk.ConstantKernel(0.3)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_scikit_learns(name, theirs, inputs):
    x, z = inputs
    torch.testing.assert_close(KERNELS[name](x, z), torch.from_numpy(theirs(x.numpy(), z.numpy())))


def test_laplace_and_lengthscales_by_feature(inputs):
    x, z = inputs
    theirs = torch.from_numpy(laplacian_kernel(x.numpy(), z.numpy(), gamma=1 / 0.7))
    torch.testing.assert_close(KERNELS["laplace"](x, z), theirs)
    scales = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    torch.testing.assert_close(SquaredExponential(scales)(x, z), SquaredExponential()(x / scales, z / scales))


@pytest.mark.parametrize("order", [0, 1, 2])
def test_arc_cosine_kernels_are_random_layers(order):
    """Cho & Saul's integral over angles in the plane of both inputs, by a fine rule."""
    x = torch.tensor([[1.0, 0.0], [0.6, 1.1]], dtype=torch.float64)
    angle = (torch.arange(400_000, dtype=torch.float64) + 0.5) * (2 * math.pi / 400_000)
    w = torch.stack([angle.cos(), angle.sin()], 1)
    units = (w @ x.T).clamp(min=0) ** order if order else (w @ x.T > 0).double()
    radial = {0: 1.0, 1: 2.0, 2: 8.0}[order]  # E |w|^(2 order) in two dimensions
    torch.testing.assert_close(ArcCosine(order)(x), 2 * radial * units.T @ units / len(w), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", KERNELS)
def test_gradients_are_differences(name, inputs):
    kernel, (x, z) = KERNELS[name], inputs
    x.requires_grad_()
    assert torch.autograd.gradcheck(kernel, (x, z), atol=1e-5)
    # Of x with itself pairs coincide on the diagonal; what is not differentiable there stays finite.
    slope = torch.autograd.grad(kernel(x).sum(), x)[0] if kernel(x).requires_grad else torch.zeros(1)
    assert slope.isfinite().all()


def test_hyperparameters_are_named_replaced_and_differentiated(inputs):
    kernel, (x, z) = KERNELS["sum and product"], inputs
    found = kernel.hyperparameters()
    assert list(found) == [
        "first.first.first.first.value",
        "first.first.first.second.lengthscale",
        "first.second.lengthscale",
        "second.value",
    ]

    def of(*values):
        return kernel.with_hyperparameters(dict(zip(found, values)))(x, z)

    values = [torch.tensor(float(v), dtype=torch.float64, requires_grad=True) for v in found.values()]
    assert torch.autograd.gradcheck(of, values)
    torch.testing.assert_close(of(*found.values()), kernel(x, z))
    with pytest.raises(InputError, match="no such hyperparameter"):
        kernel.with_hyperparameters({"lengthscale": 1.0})


@pytest.mark.parametrize(
    "make",
    [
        lambda: SquaredExponential(0.0),
        lambda: Matern(nu=2.0),
        lambda: RationalQuadratic(alpha=-1.0),
        lambda: Polynomial(0),
        lambda: Polynomial(2, offset=-1.0),
        lambda: ArcCosine(3),
        lambda: Constant(math.nan),
        lambda: Linear()(torch.ones(3)),
        lambda: Linear()(torch.ones(3, 2), torch.ones(3, 1)),
    ],
    ids=range(9),
)
def test_bad_input(make):
    with pytest.raises(InputError):
        make()


def test_they_are_kernels():
    assert all(isinstance(kernel, gram.Kernel) for kernel in KERNELS.values())
