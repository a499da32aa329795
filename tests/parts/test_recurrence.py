"""The recurrence engine against plain loops, dense linear algebra and numpy, forwards and backwards."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from harmonia.parts.recurrence import (
    DiagonalSystem,
    accumulate,
    bilinear,
    diagonal_kernel,
    expm1_ratio,
    fft_convolve,
    linear_scan,
    zero_order_hold,
)

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
KINDS = [torch.float32, torch.float64, torch.complex64, torch.complex128]


@pytest.fixture(params=DEVICES)
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return request.param


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64, device: str = "cpu") -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype).to(device)


def poles(heads: int, modes: int, dtype: torch.dtype = torch.complex128, seed: int = 0) -> torch.Tensor:
    """Logarithms of multipliers inside of the unit circle."""
    real = -0.3 * draw(heads, modes, seed=seed).abs() - 0.001
    if not dtype.is_complex:
        return real.to(dtype)
    return torch.complex(real, 3 * draw(heads, modes, seed=seed + 1)).to(dtype)


def system(heads: int, modes: int, dtype: torch.dtype = torch.complex128, channels: int = 2) -> DiagonalSystem:
    drive, readout = draw(heads, modes, seed=5, dtype=dtype), draw(channels, heads, modes, seed=6, dtype=dtype)
    return DiagonalSystem(poles(heads, modes, dtype), drive, readout)


def tolerance(dtype: torch.dtype) -> float:
    return 1e-5 if dtype in (torch.float32, torch.complex64) else 1e-10


def close(a: torch.Tensor, b: torch.Tensor, dtype: torch.dtype) -> None:
    scale = max(1.0, float(b.abs().max()))
    assert float((a - b).abs().max()) <= tolerance(dtype) * scale


def real(x: torch.Tensor) -> torch.Tensor:
    return x.real if x.is_complex() else x


# ---------------------------------------------------------------------------------------------------- discretisation


@pytest.mark.parametrize("dtype", KINDS, ids=str)
def test_expm1_ratio_keeps_its_digits(dtype):
    z = torch.tensor([0, 1e-12, 1e-7, 1e-5, 1e-4, 3e-3, 9.9e-3, 1.01e-2, 0.3, -2], dtype=torch.complex128)
    z = z * (complex(0.6, -0.8) if dtype.is_complex else 1)
    # The power series loses nothing.
    exact = [sum(complex(v) ** k / math.factorial(k + 1) for k in range(40)) for v in z.tolist()]
    expected = torch.tensor(exact, dtype=torch.complex128)
    found = expm1_ratio((z if dtype.is_complex else z.real).to(dtype)).to(torch.complex128)
    assert float(((found - expected) / expected).abs().max()) < (
        3e-7 if dtype in (torch.float32, torch.complex64) else 1e-14
    )


def test_expm1_ratio_has_gradients_at_zero():
    z = torch.tensor([0.0, 1e-9, 0.5], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(expm1_ratio(z).sum(), z)
    assert gradient[:2].tolist() == pytest.approx([0.5, 0.5])
    assert torch.autograd.gradcheck(expm1_ratio, torch.tensor([0.3 + 0.2j, -1 + 1j, 1e-3j]).cdouble().requires_grad_())


def test_zero_order_hold_is_the_matrix_exponential():
    """Of the state augmented by a held input (Van Loan)."""
    pole, step = -0.7 + 4j, 0.3
    block = expm(step * np.array([[pole, 1], [0, 0]]))
    found = zero_order_hold(torch.tensor([pole]), torch.tensor([step], dtype=torch.float64))
    assert found.log_multiplier.exp().item() == pytest.approx(block[0, 0])
    assert found.gain.item() == pytest.approx(block[0, 1])


def test_bilinear_is_the_trapezoidal_rule():
    """s' - s = step (a (s' + s) / 2 + u), solved for s'."""
    pole, step = torch.tensor([-0.7 + 4j]).cdouble(), torch.tensor([0.3]).double()
    found, s, u = bilinear(pole, step), torch.tensor([0.4 - 1j]).cdouble(), 1.7
    new = found.log_multiplier.exp() * s + found.gain * u
    torch.testing.assert_close(new - s, step * (pole * (new + s) / 2 + u))


# ------------------------------------------------------------------------------------------- kernel and accumulation


@pytest.mark.parametrize("dtype", KINDS, ids=str)
@pytest.mark.parametrize("length", [1, 2, 3, 17, 64, 100, 1000])
def test_kernel_is_the_sum_of_exponentials(length, dtype, device):
    m, weights = poles(3, 5, dtype), draw(2, 3, 5, seed=4, dtype=dtype)
    lags = torch.arange(length, dtype=torch.float64)
    exact = torch.einsum("chn,hnl->chl", weights.cdouble(), torch.exp(m.cdouble()[..., None] * lags)).real
    found = diagonal_kernel(weights.to(device), m.to(device), length)
    assert found.dtype == real(weights).dtype
    close(found.double().cpu(), exact, dtype)


def test_kernel_keeps_the_phase_of_fast_modes_at_long_lags():
    """A float32 angle of 130 rad a step, 16384 steps on; a plain float32 product is wrong by a tenth."""
    m = torch.tensor([[complex(-1e-5, 130.0)]], dtype=torch.complex64)
    found = diagonal_kernel(torch.ones(1, 1, dtype=torch.complex64), m, 16384)
    lags = torch.arange(16384, dtype=torch.float64)
    exact = torch.exp(m.cdouble() * lags).real
    assert float((found.double() - exact).abs().max()) < 1e-5


@pytest.mark.parametrize("dtype", KINDS, ids=str)
@pytest.mark.parametrize("length", [1, 5, 64, 333])
def test_accumulate_is_the_recurrence(length, dtype, device):
    m, u = poles(3, 4, dtype), draw(2, 3, length, dtype=real(torch.zeros(1, dtype=dtype)).dtype)
    state = torch.zeros(2, 3, 4, dtype=torch.complex128)
    for t in range(length):
        state = torch.exp(m.cdouble()) * state + u[:, :, t, None].double()
    close(accumulate(u.to(device), m.to(device)).cpu().cdouble(), state, dtype)


@pytest.mark.parametrize("kind", [torch.float64, torch.complex128], ids=str)
def test_kernel_and_accumulate_have_right_gradients(kind):
    m, weights, u = poles(2, 3, kind), draw(2, 2, 3, seed=4, dtype=kind), draw(1, 2, 10)
    assert torch.autograd.gradcheck(
        lambda w, a: diagonal_kernel(w, a, 11), (weights.requires_grad_(), m.requires_grad_())
    )
    assert torch.autograd.gradcheck(accumulate, (u.requires_grad_(), m))


# -------------------------------------------------------------------------------------------------------- convolution


@settings(deadline=None, max_examples=40)
@given(
    length=st.one_of(st.integers(1, 16), st.integers(17, 150)),
    lags=st.integers(1, 200),
    ahead=st.one_of(st.none(), st.integers(0, 200)),
    seed=st.integers(0, 99),
)
def test_convolution_is_numpys(length, lags, ahead, seed):
    u, kernel = draw(2, 3, length, seed=seed), draw(2, 3, lags, seed=seed + 1)
    future = None if ahead is None else draw(2, 3, ahead, seed=seed + 2)
    found = fft_convolve(u, kernel, future)
    for b, c, h in np.ndindex(2, 2, 3):
        expected = np.convolve(u[b, h], kernel[c, h])[:length]
        if future is not None and ahead and length > 1:
            # On reversed time the next input comes one step after the present one.
            expected = expected + np.convolve(u[b, h].flip(0), np.r_[0.0, future[c, h].numpy()])[:length][::-1]
        np.testing.assert_allclose(found[b, c, h], expected, atol=1e-10)


@pytest.mark.parametrize("length", [5, 30])
@pytest.mark.parametrize("channels", [1, 2])
def test_convolution_has_right_gradients(channels, length):
    u, kernel, future = draw(2, 2, length), draw(channels, 2, 7, seed=1), draw(channels, 2, 9, seed=2)
    assert torch.autograd.gradcheck(fft_convolve, [t.requires_grad_() for t in (u, kernel, future)])


# --------------------------------------------------------------------------------------------------------------- scan


@pytest.mark.parametrize("dtype", KINDS, ids=str)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("length", [1, 2, 5, 16, 99])
def test_scan_is_the_loop(length, reverse, dtype, device):
    a, x, h = (
        0.9 * draw(2, length, 3, 2, dtype=dtype),
        draw(2, length, 3, 2, seed=1, dtype=dtype),
        draw(2, 3, 2, dtype=dtype),
    )
    a = a / a.abs().clamp(min=1)
    states, state = {}, h
    for t in range(length - 1, -1, -1) if reverse else range(length):
        state = states[t] = a[:, t] * state + x[:, t]
    expected = torch.stack([states[t] for t in range(length)], 1)
    close(linear_scan(a.to(device), x.to(device), h.to(device), reverse).cpu(), expected, dtype)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", [torch.float64, torch.complex128], ids=str)
def test_scan_has_right_gradients_of_both_orders(kind, reverse):
    a, x, h = (0.5 * draw(1, 7, 2, seed=s, dtype=kind) for s in (0, 1, 2))
    inputs = (a.requires_grad_(), x.requires_grad_(), h[:, 0].clone().requires_grad_())
    assert torch.autograd.gradcheck(lambda *v: linear_scan(*v, reverse), inputs)
    assert torch.autograd.gradgradcheck(lambda *v: linear_scan(*v, reverse), inputs)


def test_scan_broadcasts_a_constant_multiplier_with_its_gradient():
    a, x = torch.full((1, 1, 3), 0.5, dtype=torch.float64, requires_grad=True), draw(2, 20, 3)
    found = linear_scan(a, x)
    assert torch.autograd.grad(found.sum(), a)[0].shape == a.shape
    torch.testing.assert_close(found, linear_scan(a.expand(2, 20, 3), x))


def test_scan_is_associative_over_pieces():
    a, x = 0.9 * draw(1, 50, 4).tanh(), draw(1, 50, 4, seed=1)
    whole = linear_scan(a, x)
    first = linear_scan(a[:, :17], x[:, :17])
    torch.testing.assert_close(torch.cat([first, linear_scan(a[:, 17:], x[:, 17:], first[:, -1])], 1), whole)


def test_scan_resets_where_the_multiplier_is_zero():
    """Exact zeros, which no logarithm survives."""
    a, x = torch.ones(1, 10, 1), torch.ones(1, 10, 1)
    a[:, 5] = 0
    assert linear_scan(a, x).flatten().tolist() == [1, 2, 3, 4, 5, 1, 2, 3, 4, 5]


# ------------------------------------------------------------------------------------------------------------- system


@pytest.mark.parametrize("dtype", KINDS, ids=str)
def test_convolution_scan_step_and_pieces_agree(dtype, device):
    bank = system(3, 4, dtype)
    bank = DiagonalSystem(bank.log_multiplier.to(device), bank.drive.to(device), bank.readout.to(device))
    u = draw(2, 3, 200, dtype=real(torch.zeros(1, dtype=dtype)).dtype, device=device)
    whole, last = bank.run(u, bank.rest(2))

    stepped, state = [], bank.rest(2)
    for t in range(u.shape[-1]):
        y, state = bank.step(u[:, :, t], state)
        stepped.append(y)
    close(torch.stack(stepped, -1), whole, dtype)
    close(state, last, dtype)

    pieces, state = [], bank.rest(2)
    for piece in u.split([1, 70, 64, 65], -1):
        y, state = bank.run(piece, state)
        pieces.append(y)
    close(torch.cat(pieces, -1), whole, dtype)
    close(state, last, dtype)

    states = linear_scan(bank.log_multiplier.exp()[None, None], bank.drive * u.transpose(1, 2).unsqueeze(-1))
    close(real(torch.einsum("bthn,chn->bcht", states, bank.readout)), whole, dtype)
    close(states[:, -1], last, dtype)


def test_gradients_of_convolution_and_scan_agree():
    bank = system(2, 3)
    leaves = [t.clone().requires_grad_() for t in (bank.log_multiplier, bank.drive, bank.readout)]
    u, weight = draw(1, 2, 90), draw(1, 2, 2, 90, seed=9)
    y, _ = DiagonalSystem(*leaves).run(u, bank.rest(1))
    states = linear_scan(leaves[0].exp()[None, None], leaves[1] * u.transpose(1, 2).unsqueeze(-1))
    z = torch.einsum("bthn,chn->bcht", states, leaves[2]).real
    for ours, theirs in zip(
        torch.autograd.grad((y * weight).sum(), leaves), torch.autograd.grad((z * weight).sum(), leaves)
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_a_one_mode_system_is_an_exponential_average():
    decay = 0.9
    bank = DiagonalSystem(
        *(torch.tensor(v, dtype=torch.float64) for v in ([[math.log(decay)]], [[1 - decay]], [[[1.0]]]))
    )
    u, average, expected = draw(1, 1, 100), 0.0, []
    for value in u.flatten().tolist():
        average = decay * average + (1 - decay) * value
        expected.append(average)
    np.testing.assert_allclose(bank.run(u, bank.rest(1))[0].flatten(), expected, atol=1e-12)
