"""Parity of the scan with mambapy's, forwards and backwards."""

from __future__ import annotations

import pytest
import torch

from harmonia.parts.recurrence import linear_scan

pytestmark = pytest.mark.peer
pscan = pytest.importorskip("mambapy.pscan").pscan


@pytest.mark.parametrize("length", [1, 7, 64, 300])
def test_scan_is_mambapys(length):
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(2, length, 3, 4, generator=generator).requires_grad_()
    x = torch.randn(2, length, 3, 4, generator=generator).requires_grad_()
    weight = torch.randn(2, length, 3, 4, generator=generator)
    ours, theirs = linear_scan(a, x), pscan(a, x)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    gradients = [torch.autograd.grad((found * weight).sum(), (a, x)) for found in (ours, theirs)]
    for one, other in zip(*gradients):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_selective_scan_is_mambapys():
    """Mamba's recurrence with its Euler input: h_t = e^{dt_t A} h_{t-1} + dt_t B_t x_t, y_t = C_t h_t + D x_t."""
    mamba = pytest.importorskip("mambapy.mamba")
    config = mamba.MambaConfig(d_model=4, n_layers=1, d_state=6, expand_factor=2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        block = mamba.MambaBlock(config)
        x, dt = torch.randn(2, 33, 8), torch.rand(2, 33, 8)
        b, c = torch.randn(2, 33, 6), torch.randn(2, 33, 6)
    a = -torch.exp(block.A_log)
    states = linear_scan(torch.exp(dt[..., None] * a), (dt * x)[..., None] * b[:, :, None])
    ours = torch.einsum("btdn,btn->btd", states, c) + block.D * x
    torch.testing.assert_close(ours, block.selective_scan(x, dt, a, b, c, block.D), atol=1e-5, rtol=1e-5)
