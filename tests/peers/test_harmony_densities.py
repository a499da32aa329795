"""Splines and coupled flows beside zuko's, with the same numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harmonia.parts.flows import RealNVP, Spline

pytestmark = pytest.mark.peer
zuko = pytest.importorskip("zuko")


def test_splines_are_zukos():
    """Inside of the knots; zuko goes on with slope one outside, ours with the slope of the last knot."""
    generator = torch.Generator().manual_seed(0)
    ours = Spline(torch.randn(5, 25, generator=generator, dtype=torch.float64))
    theirs = zuko.transforms.MonotonicRQSTransform(torch.zeros(5, 8), torch.zeros(5, 8), torch.zeros(5, 7))
    # numbers become knots and slopes in another way there: the same knots and slopes
    theirs.horizontal, theirs.vertical, theirs.derivatives = ours._x, ours._y, ours._slopes
    x = 5.9 * torch.rand(7, 5, generator=generator, dtype=torch.float64) - 2.95
    y, log_slope = ours(x)
    torch.testing.assert_close(y, theirs(x), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(log_slope, theirs.log_abs_det_jacobian(x, y), rtol=1e-7, atol=1e-8)
    back, _ = ours.inverse(y)
    torch.testing.assert_close(back, theirs.inv(y), rtol=1e-6, atol=1e-8)


def test_the_density_of_a_flow_is_zukos():
    """Our couplings as zuko's affine transforms over a normal base."""
    generator = torch.Generator().manual_seed(0)
    flow = RealNVP(4, 8).double()
    for parameter in flow.parameters():
        parameter.data = 0.4 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)

    def coupled(layer):
        kept = layer.mask.bool()

        def meta(x):
            whole = x.new_zeros(*x.shape[:-1], 4)
            whole[..., kept] = x
            shift, scale = layer.translation_net(whole)[..., ~kept], layer.scale_net(whole)[..., ~kept]
            return zuko.transforms.DependentTransform(torch.distributions.AffineTransform(shift, scale.exp()), 1)

        return zuko.transforms.CouplingTransform(meta, kept)

    base = zuko.distributions.DiagNormal(torch.zeros(4).double(), torch.ones(4).double())
    composed = zuko.transforms.ComposedTransform(*(coupled(layer) for layer in flow.layers))
    theirs = zuko.distributions.NormalizingFlow(composed.inv, base)
    y = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    u, log_det = flow.inverse(y)
    ours = (-0.5 * u.square() - 0.5 * math.log(2 * math.pi)).sum(-1) + log_det
    np.testing.assert_allclose(ours.detach(), theirs.log_prob(y).detach(), rtol=1e-9)
