"""The fast linear layer beside torch's, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from harmonia.parts import linear as module
from harmonia.parts.linear import Linear, linear, matmul

PLAIN = {"none": lambda x: x, "gelu": F.gelu, "relu": F.relu, "silu": F.silu, "tanh": torch.tanh}


@pytest.fixture(autouse=True)
def every_product_is_worth_a_call(monkeypatch):
    monkeypatch.setattr(module, "_WORTH_A_CALL", 1)


@pytest.mark.parametrize("activation", PLAIN)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (0, 5), (1, 1, 5)])
def test_values_and_gradients_agree_with_torch(activation, bias, shape):
    generator = torch.Generator().manual_seed(0)
    x, w, b = (torch.randn(s, generator=generator) for s in (shape, (7, 5), (7,)))
    results = []
    for function in (lambda *a: PLAIN[activation](F.linear(*a)), lambda *a: linear(*a, activation)):
        leaves = [t.clone().requires_grad_() for t in ((x, w, b) if bias else (x, w))]
        y = function(*leaves, *(() if bias else (None,)))
        y.square().sum().backward()
        with torch.no_grad():
            still = function(*leaves, *(() if bias else (None,)))
        results.append([y, still, *(leaf.grad for leaf in leaves)])
    for theirs, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_slices_and_transposes_of_larger_arrays_agree_with_torch():
    x = torch.randn(6, 9, 8, requires_grad=True)
    w = torch.randn(4, 8, requires_grad=True)
    y = linear(x[:, 3].transpose(0, 1).T, w).transpose(0, 1)
    expected = F.linear(x[:, 3], w).T
    torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-5)
    ours = torch.autograd.grad(y[::2].sum(), (x, w))
    theirs = torch.autograd.grad(expected[::2].sum(), (x, w))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_other_types_and_machines_take_the_plain_route(monkeypatch):
    for dtype in (torch.float64, torch.bfloat16):
        layer = Linear(8, 3, activation="gelu").to(dtype)
        x = torch.randn(4, 8, dtype=dtype)
        torch.testing.assert_close(layer(x), F.gelu(F.linear(x, layer.weight, layer.bias)))
    monkeypatch.setattr(module, "_ONEDNN", False)
    layer, x = Linear(8, 3), torch.randn(4, 8)
    assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))


def test_transformed_functions_take_the_plain_route():
    w, x = torch.randn(3, 8), torch.randn(4, 8)
    torch.testing.assert_close(torch.func.vmap(lambda row: linear(row, w))(x), F.linear(x, w))
    torch.testing.assert_close(torch.func.jacrev(lambda v: linear(v, w))(x[0]), w)
    torch.testing.assert_close(torch.func.jvp(lambda v: linear(v, w), (x,), (x,))[1], F.linear(x, w))
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, x)
        tangent = torch.autograd.forward_ad.unpack_dual(linear(dual, w)).tangent
    torch.testing.assert_close(tangent, F.linear(x, w))


def test_parameters_are_named_as_torchs():
    assert Linear(2, 3).state_dict().keys() == torch.nn.Linear(2, 3).state_dict().keys()


@pytest.mark.parametrize("turned", ["neither", "left", "right", "both"])
def test_matrix_products_agree_with_torch_in_any_layout(turned):
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(6, 5, generator=generator), torch.randn(5, 7, generator=generator)
    a = a.t().contiguous().t() if turned in ("left", "both") else a
    b = b.t().contiguous().t() if turned in ("right", "both") else b
    torch.testing.assert_close(matmul(a, b), a @ b)
    leaves = [a.clone().requires_grad_(), b.clone().requires_grad_()]
    ours = torch.autograd.grad(matmul(*leaves).square().sum(), leaves)
    torch.testing.assert_close(ours, torch.autograd.grad((leaves[0] @ leaves[1]).square().sum(), leaves))
    empty = matmul(torch.zeros(0, 5), b)
    assert empty.shape == (0, 7)
