"""The spectral mixture kernel and the basis it makes: derivatives, spectrum, boundary conditions, gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from torch import Tensor

from harmonia.core.errors import InputError
from harmonia.kernels.gp_hm import SpectralMixtureKernel1D
from harmonia.kernels.gp_hm.basis import AxisBasis, Lags
from harmonia.kernels.gp_hm.boundary import Neumann, Periodic, rows_of
from harmonia.kernels.gp_hm.learning import Spectra, adjoint, evidence

X = torch.linspace(0, 2, 30, dtype=torch.float64)


def mixture(envelope: str = "gaussian", seed: int = 0, q: int = 4) -> SpectralMixtureKernel1D:
    generator = torch.Generator().manual_seed(seed)
    weight, rate, frequency = (torch.randn(q, generator=generator, dtype=torch.float64) for _ in range(3))
    return SpectralMixtureKernel1D(q, envelope).with_parameters(weight - 1, rate + 1, 2 * frequency.abs())


def differentiated(kernel: SpectralMixtureKernel1D, lag: Tensor, order: int) -> Tensor:
    lag = lag.clone().requires_grad_()
    value = kernel.k(lag)
    for _ in range(order):
        [value] = torch.autograd.grad(value.sum(), lag, create_graph=True)
    return value.detach()


@pytest.mark.parametrize("envelope", ["gaussian", "matern52"])
@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
def test_derivatives_are_those_of_automatic_differentiation(envelope: str, order: int) -> None:
    lag = torch.tensor([-1.2, -0.3, 0.2, 0.9], dtype=torch.float64)
    kernel = mixture(envelope)
    torch.testing.assert_close(kernel.k(lag, order), differentiated(kernel, lag, order), rtol=1e-8, atol=1e-8)
    assert kernel.k(torch.zeros(1, dtype=torch.float64), order).isfinite().all()


def test_one_component_at_frequency_zero_is_the_squared_exponential() -> None:
    kernel = SpectralMixtureKernel1D(1, freq_scale=0.0, rate=0.5 / 0.3**2).on(10, 1.0)
    torch.testing.assert_close(kernel.k(X), torch.exp(-0.5 * (X / 0.3) ** 2))


@pytest.mark.parametrize("envelope", ["gaussian", "matern52"])
def test_the_spectrum_is_the_fourier_transform_of_the_kernel(envelope: str) -> None:
    kernel = mixture(envelope)
    whole = quad(lambda s: float(kernel.density(np.array([s]))[0]), 0, np.inf, limit=400)[0]
    assert whole == pytest.approx(float(kernel.k(torch.zeros(1, dtype=torch.float64))), rel=1e-6)
    lag = 0.37
    inverse = quad(
        lambda s: float(kernel.density(np.array([s]))[0]) * math.cos(2 * math.pi * s * lag), 0, 60, limit=800
    )[0]
    assert inverse == pytest.approx(float(kernel.k(torch.tensor([lag], dtype=torch.float64))), abs=1e-5)


def test_peaks_are_lines_of_the_spectrum() -> None:
    values = torch.log(torch.tensor([1.0, 0.5, 0.4], dtype=torch.float64))
    narrow = torch.full((3,), math.log(2.0), dtype=torch.float64)
    kernel = SpectralMixtureKernel1D(3).with_parameters(values, narrow, torch.tensor([3.0, -9.0, 9.02]).double())
    first, second = kernel.peaks()
    assert first == pytest.approx(3.0, abs=0.02) or first == pytest.approx(9.01, abs=0.02)
    assert {round(first), round(second)} == {3, 9}
    assert kernel.components()[1].frequency == 9.0


@settings(deadline=None, max_examples=15, derandomize=True)
@given(seed=st.integers(0, 10**6), order=st.integers(0, 3), shift=st.floats(-50, 50))
def test_a_uniform_grid_is_no_special_case(seed: int, order: int, shift: float) -> None:
    kernel = mixture(seed=seed)
    uniform, other = Lags(X + shift), Lags(X)
    other.uniform, other.values = False, (X[:, None] - X).reshape(-1)
    assert uniform.uniform
    torch.testing.assert_close(uniform.matrix(kernel, order), other.matrix(kernel, order), rtol=1e-7, atol=1e-7)
    weights = torch.randn(30, 30, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = (weights * kernel.k(X[:, None] - X)).sum()
    torch.testing.assert_close(uniform.gradient(kernel, weights), expected)
    torch.testing.assert_close(other.gradient(kernel, weights), expected)


def test_the_basis_is_the_process_conditioned_on_its_boundary() -> None:
    kernel = mixture()
    basis = AxisBasis(Lags(X), kernel, rows_of(0.0, [X]), jitter=1e-14)
    values = basis.on_grid() @ basis.free
    matrix = kernel.k(X[:, None] - X)
    ends = matrix[:, [0, -1]]
    conditioned = matrix - ends @ torch.linalg.solve(matrix[[0, -1]][:, [0, -1]], ends.T)
    torch.testing.assert_close(values @ values.T, conditioned, atol=1e-7, rtol=1e-7)
    q, r = basis.orthonormal
    torch.testing.assert_close(q @ r, values)
    torch.testing.assert_close(q.T @ q, torch.eye(q.shape[1], dtype=torch.float64))
    assert q[[0, -1]].abs().max() < 1e-8


@pytest.mark.parametrize("sides", [{"left": 0.0}, {"left": Neumann(2.0), "right": 1.0}, {"right": Periodic()}])
def test_conditions_hold(sides: dict) -> None:
    basis = AxisBasis(Lags(X), mixture(), rows_of(sides, [X]))
    generator = torch.Generator().manual_seed(0)
    free = basis.free @ torch.randn(basis.free.shape[1], generator=generator, dtype=torch.float64)
    z = free + basis.lift @ torch.stack([row.values for row in basis.rows])
    ends = {order: basis.at(X[[0, -1]], order) @ z for order in (0, 1)}
    for row in basis.rows:
        found = sum(sign * ends[order][end] for end, order, sign in row.terms)
        assert float(found) == pytest.approx(float(row.values), abs=1e-6)


@pytest.mark.parametrize("envelope", ["gaussian", "matern52"])
def test_the_gradient_of_the_evidence_is_that_of_the_dense_formula(envelope: str) -> None:
    x = [torch.linspace(0, 1, 6, dtype=torch.float64), torch.tensor([0.0, 0.3, 0.5, 1.1], dtype=torch.float64)]
    kernels = [
        mixture(envelope, seed).with_parameters(*(p / 3 for p in mixture(envelope, seed).parameters)) for seed in (1, 2)
    ]
    u = torch.randn(6, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    jitter = 1e-13
    bases = [AxisBasis(Lags(points), kernel, [], jitter) for points, kernel in zip(x, kernels)]
    z = bases[0].coordinates(u) @ bases[1].scale
    leaves = [tuple(p.clone().requires_grad_() for p in kernel.parameters) for kernel in kernels]
    dense = [
        kernel.with_parameters(*leaf).k(points[:, None] - points) for kernel, leaf, points in zip(kernels, leaves, x)
    ]
    whole = torch.kron(*dense)
    value = 0.5 * (torch.linalg.slogdet(whole)[1] + u.reshape(-1) @ torch.linalg.solve(whole, u.reshape(-1)))
    assert evidence(bases, z) == pytest.approx(float(value.detach()), rel=1e-6)
    expected = torch.autograd.grad(value, [leaf for each in leaves for leaf in each])
    found = []
    for axis, (kernel, leaf) in enumerate(zip(kernels, leaves)):
        loss = bases[axis].lags.gradient(kernel.with_parameters(*leaf), adjoint(bases, axis, z))
        found += torch.autograd.grad(loss, leaf)
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_learning_lowers_the_evidence_and_rescaling_is_exact() -> None:
    u = torch.sin(2 * math.pi * 3.3 * X)
    spectra = Spectra([SpectralMixtureKernel1D(12, freq_scale=6.0).on(30, 2.0)], [2.0])
    found = []
    for step in range(25):
        bases = [AxisBasis(Lags(X), spectra.kernels[0], [])]
        z = bases[0].coordinates(u)
        found.append(evidence(bases, z))
        spectra.rescale(bases, z) if step == 0 else spectra.step(bases, z)
    assert found[1] < found[0]
    assert found[-1] < found[1] - 5
    assert spectra.kernels[0].peaks()[0] == pytest.approx(3.3, abs=0.15)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"q": 0}, "between 1 and 1000"),
        ({"freq_scale": -1.0}, "frequency >= 0"),
        ({"freq_scale": "high"}, "frequency >= 0"),
        ({"rate": 0.0}, "'rate' is a number > 0"),
        ({"freq_scale": math.nan}, "max_frequency"),
    ],
)
def test_bad_kernels(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SpectralMixtureKernel1D(**arguments)


def test_a_kernel_without_parameters() -> None:
    with pytest.raises(InputError, match="no parameters yet"):
        SpectralMixtureKernel1D().k(X)
    with pytest.raises(InputError, match="length"):
        SpectralMixtureKernel1D().on(5, 0.0)
