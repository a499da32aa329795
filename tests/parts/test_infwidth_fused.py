"""Fused derivatives of activations against finite differences, and against the formula step by step."""

from __future__ import annotations

import pytest
import torch

from harmonia.parts import infwidth


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(7, 4, dtype=torch.float64, generator=generator)
    covariance = root @ root.T
    q1, q2 = covariance.diagonal()[:4, None], covariance.diagonal()[None, 4:]
    return [t.clone().requires_grad_() for t in (covariance[:4, 4:], q1, q2)]


@pytest.mark.parametrize("activation", [infwidth.ReLU(), infwidth.LeakyReLU(0.2), infwidth.Abs()], ids=repr)
def test_first_and_second_derivatives(activation, inputs):
    def dual(k, q1, q2):
        return activation.dual(k, q1, q2, derivative=False)[0]

    assert torch.autograd.gradcheck(dual, inputs)
    assert torch.autograd.gradgradcheck(dual, inputs)
    slow = activation.dual(*inputs, derivative=True)[0]
    fast = dual(*inputs)
    torch.testing.assert_close(fast, slow)
    for a, b in zip(torch.autograd.grad(fast.sum(), inputs), torch.autograd.grad(slow.sum(), inputs)):
        torch.testing.assert_close(a, b)


def test_equal_and_vanishing_inputs_have_finite_derivatives():
    k = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    q1 = torch.tensor([[1.0], [1.0]], dtype=torch.float64, requires_grad=True)
    q2 = torch.tensor([[1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    value = infwidth.ReLU().dual(k, q1, q2, derivative=False)[0]
    torch.testing.assert_close(value, torch.tensor([[0.5, 0.0], [0.0, 0.0]], dtype=torch.float64))
    for slope in torch.autograd.grad(value.sum(), (k, q1, q2)):
        assert slope.isfinite().all()


def test_other_transforms_still_work(inputs):
    k, q1, q2 = (t.detach() for t in inputs)

    def dual(k):
        return infwidth.ReLU().dual(k, q1, q2, derivative=False)[0]

    _, pushed = torch.func.jvp(dual, (k,), (torch.ones_like(k),))
    reverse = torch.autograd.grad(dual(inputs[0]).sum(), inputs[0])[0]
    torch.testing.assert_close(pushed, reverse)
