"""Parity with scikit-ntk and with the torch tutorial on empirical kernels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev, vmap

from harmonia.kernels.ntk import empirical_ntk
from harmonia.parts import infwidth

pytestmark = pytest.mark.peer


@pytest.mark.parametrize("depth", [1, 3, 6])
def test_scikit_ntk(depth):
    """It adds bias to the tangent kernel only, so the two agree without bias, up to its factor 1 / (depth + 1)."""
    skntk = pytest.importorskip("skntk")
    x, z = np.random.default_rng(0).standard_normal((2, 8, 5))
    hidden = [layer for _ in range(depth) for layer in (infwidth.ReLU(), infwidth.Dense(2**0.5))]
    net = infwidth.Sequential(infwidth.Dense(5**0.5), *hidden)
    theirs = skntk.NeuralTangentKernel(depth, bias=0.0, bias_bounds="fixed")
    for other in (None, z):
        ours = net.kernel(torch.from_numpy(x), None if other is None else torch.from_numpy(other), get="ntk")
        # Its arccos of rounded cosines loses half of the digits where inputs are parallel.
        np.testing.assert_allclose(ours.numpy() / (depth + 1), theirs(x, other), rtol=1e-6)


@pytest.mark.parametrize("method", ["layers", "jacobian", "vectors", "auto"])
def test_torch_tutorial(method):
    """Jacobian contraction as in pytorch.org's neural tangent kernel tutorial, on its convolutional network."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 4 * 4, 5)
    ).eval()
    x, z = torch.randn(4, 3, 8, 8), torch.randn(3, 3, 8, 8)
    parameters = {name: p.detach() for name, p in net.named_parameters()}

    def jacobian(at):
        return vmap(jacrev(lambda p, one: functional_call(net, p, (one[None],))[0]), (None, 0))(parameters, at)

    left, right = jacobian(x), jacobian(z)
    theirs = sum(torch.einsum("Naf,Mbf->NMab", left[k].flatten(2), right[k].flatten(2)) for k in parameters)
    torch.testing.assert_close(empirical_ntk(net, x, z, outputs="full", method=method), theirs, rtol=1e-4, atol=1e-4)
