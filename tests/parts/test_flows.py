"""Flows invert, their log-determinants are those of autograd's Jacobian, and their densities integrate to one."""

from __future__ import annotations

import pytest
import torch

from harmonia.core.errors import InputError
from harmonia.parts.flows import RealNVP, Spline


def trained(dim, seed=0):
    """A flow whose last layers are not zero, in float64."""
    generator = torch.Generator().manual_seed(seed)
    flow = RealNVP(dim, 8).double()
    for parameter in flow.parameters():
        parameter.data = 0.5 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return flow


@pytest.mark.parametrize("dim", [2, 5, 6])
class TestRealNVP:
    def test_it_inverts(self, dim):
        u = torch.randn(10, dim, generator=torch.Generator().manual_seed(1)).double()
        y, forward = trained(dim)(u)
        back, backward = trained(dim).inverse(y)
        assert not torch.allclose(y, u)
        torch.testing.assert_close(back, u, atol=1e-9, rtol=0)
        torch.testing.assert_close(backward, -forward, atol=1e-9, rtol=0)

    def test_log_determinant(self, dim):
        flow = trained(dim)
        u = torch.randn(dim, generator=torch.Generator().manual_seed(2)).double()
        jacobian = torch.autograd.functional.jacobian(lambda v: flow(v)[0], u)
        torch.testing.assert_close(flow(u)[1], torch.linalg.slogdet(jacobian)[1])

    def test_every_number_is_changed(self, dim):
        y, _ = trained(dim)(torch.zeros(dim).double())
        assert (y != 0).all()

    def test_it_starts_as_the_identity(self, dim):
        u = torch.randn(4, dim)
        y, log_det = RealNVP(dim, 8)(u)
        assert torch.equal(y, u)
        assert not log_det.any()


def test_a_single_number_has_no_coupling():
    with pytest.raises(InputError, match="two numbers"):
        RealNVP(1, 8)


def parameters(seed=0, bins=8):
    return 2 * torch.randn(3 * bins + 1, generator=torch.Generator().manual_seed(seed)).double()


class TestSpline:
    @pytest.mark.parametrize("seed", range(3))
    def test_it_inverts_within_and_beyond_the_knots(self, seed):
        spline = Spline(parameters(seed))
        u = torch.linspace(-6, 6, 401).double()
        y, forward = spline(u)
        assert (y.diff() > 0).all()
        back, backward = spline.inverse(y)
        torch.testing.assert_close(back, u, atol=1e-8, rtol=0)
        torch.testing.assert_close(backward, -forward, atol=1e-6, rtol=0)

    def test_slope_is_autograds(self):
        spline = Spline(parameters())
        u = torch.linspace(-5, 5, 60).double().requires_grad_()
        y, log_slope = spline(u)
        (slope,) = torch.autograd.grad(y.sum(), u)
        torch.testing.assert_close(log_slope.exp(), slope)

    def test_density_integrates_to_one(self):
        spline = Spline(0.3 * parameters(4))
        y, _ = spline(torch.linspace(-8, 8, 40_001).double())
        u, log_slope = spline.inverse(y)
        density = (-0.5 * u.square() + log_slope).exp() / (2 * torch.pi) ** 0.5
        assert torch.trapezoid(density, y).item() == pytest.approx(1, abs=1e-5)

    def test_gradients_reach_all_parameters_by_finite_differences(self):
        start = parameters(1, bins=3).requires_grad_()
        at = torch.tensor([-3.5, -1.0, 0.2, 2.0, 4.0]).double()

        def values(p):
            spline = Spline(p)
            return torch.cat([*spline(at), *spline.inverse(at)])

        assert torch.autograd.gradcheck(values, (start,), atol=1e-6)

    def test_zeros_are_the_identity_and_batches_have_their_own_splines(self):
        u = torch.linspace(-5, 5, 11).double()
        torch.testing.assert_close(Spline(torch.zeros(25).double())(u)[0], u)
        many = torch.stack([parameters(0), parameters(1)])
        both = Spline(many[:, None])(u.expand(2, -1))[0]
        torch.testing.assert_close(both[1], Spline(many[1])(u)[0])

    def test_wrong_number_of_parameters(self):
        with pytest.raises(InputError, match="3 bins"):
            Spline(torch.zeros(24))
