"""Conjugate regression against quadrature, the chain rule of the evidence, and all data at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from harmonia.core.errors import InputError
from harmonia.parts.conjugate import NormalInverseGamma


def pairs(n=12, dim=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, dim, generator=generator).double()
    return x, x @ torch.arange(1.0, dim + 1).double() + 0.3 * torch.randn(n, generator=generator).double()


def one_by_one(prior, x, y):
    for row, value in zip(x, y):
        prior = prior.update(row, value)
    return prior


PRIOR = NormalInverseGamma.prior(3, mean=0.5, precision=2.0, shape=3.0, rate=1.5)


def test_all_at_once_is_one_by_one():
    x, y = pairs()
    once, steps = PRIOR.absorb(x, y), one_by_one(PRIOR, x, y)
    for name in ("mean", "covariance", "shape", "rate"):
        torch.testing.assert_close(getattr(once, name), getattr(steps, name), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("scale", [1e8, 1e160, torch.nan])
def test_what_rounding_would_hide_is_refused(scale):
    x, y = pairs()
    with pytest.raises(InputError, match="hides the noise"):
        PRIOR.prequential(scale * x, y)
    with pytest.raises(InputError, match="combinations of others"):
        PRIOR.absorb(scale * x[:, [0, 1, 0]], y)


def test_large_inputs_are_absorbed():
    x, y = pairs(n=40)
    flat = NormalInverseGamma.prior(3, precision=1e-16, shape=3.0, rate=1.5).absorb(x, y)
    large = NormalInverseGamma.prior(3, precision=1.0, shape=3.0, rate=1.5).absorb(1e8 * x, y)
    torch.testing.assert_close(1e8 * large.mean, flat.mean, rtol=1e-9, atol=0)
    torch.testing.assert_close(1e16 * large.covariance, flat.covariance, rtol=1e-9, atol=1e-12)


def test_prediction_is_quadrature_over_weight_and_noise():
    prior = NormalInverseGamma.prior(1, mean=1.0, precision=2.0, shape=3.0, rate=2.0)
    state = prior.update(torch.tensor([1.5]).double(), torch.tensor(2.0).double())

    w, log_variance = np.meshgrid(np.linspace(-8, 10, 1501), np.linspace(-4, 8, 1201))
    variance = np.exp(log_variance)
    joint = stats.norm.pdf(w, 1.0, np.sqrt(variance / 2)) * stats.invgamma.pdf(variance, 3, scale=2) * variance
    joint *= stats.norm.pdf(2.0, 1.5 * w, np.sqrt(variance))
    expected = (joint * stats.norm.pdf(0.4, 0.7 * w, np.sqrt(variance))).sum() / joint.sum()
    found = state.predict(torch.tensor([0.7]).double()).log_prob(torch.tensor(0.4).double()).exp()
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_predictions_multiply_to_the_evidence():
    x, y = pairs()
    state, total = PRIOR, 0.0
    for row, value in zip(x, y):
        total += state.predict(row).log_prob(value).item()
        state = state.update(row, value)
    shape = (1.5 / 3.0) * (torch.eye(len(x)).double() + x @ x.T / 2)
    evidence = stats.multivariate_t(loc=(x @ PRIOR.mean).numpy(), shape=shape.numpy(), df=6).logpdf(y.numpy())
    assert total == pytest.approx(evidence, abs=1e-9)


def test_batches_are_many_problems():
    x, y = pairs()
    wide = NormalInverseGamma.prior(3)
    both = wide.update(x[:2], y[:2])
    alone = wide.update(x[1], y[1])
    torch.testing.assert_close(both.mean[1], alone.mean)
    torch.testing.assert_close(both.rate[1], alone.rate)
    assert both.predict(x[:2]).location.shape == (2,)


def test_forgetting_everything_is_the_prior_and_nothing_is_no_change():
    x, y = pairs()
    state = PRIOR.absorb(x, y)
    torch.testing.assert_close(state.forget(1.0, PRIOR).mean, state.mean)
    faded = state
    for _ in range(400):
        faded = faded.forget(0.9, PRIOR)
    for name in ("mean", "covariance", "shape", "rate"):
        torch.testing.assert_close(getattr(faded, name), getattr(PRIOR, name), atol=1e-8, rtol=1e-8)


def test_with_forgetting_it_follows_a_change():
    x, y = pairs(400)
    changed = y + torch.where(torch.arange(400) < 200, 0.0, 2.0) * x[:, 0]
    state = fixed = PRIOR
    for row, value in zip(x, changed):
        state = state.forget(0.97, PRIOR).update(row, value)
        fixed = fixed.update(row, value)
    assert abs(state.mean[0] - 3).item() < 0.2 < 0.7 < abs(fixed.mean[0] - 3).item()


def test_draws_have_the_stated_moments():
    dist = PRIOR.absorb(*pairs()).predict(torch.ones(3).double())
    draws = dist.sample(100_000, torch.Generator().manual_seed(0))
    assert draws.mean().item() == pytest.approx(dist.location.item(), abs=0.01)
    assert draws.var().item() == pytest.approx(dist.variance.item(), rel=0.03)


def test_bad_input():
    with pytest.raises(InputError, match="positive"):
        NormalInverseGamma.prior(2, rate=0.0)
    with pytest.raises(InputError, match="precision"):
        NormalInverseGamma.prior(2, precision=0.0)
    with pytest.raises(InputError, match="finite"):
        PRIOR.update(torch.tensor([1.0, float("nan"), 0.0]).double(), torch.tensor(1.0).double())
    with pytest.raises(InputError, match="kept"):
        PRIOR.forget(0.0, PRIOR)
    with pytest.raises(InputError, match="do not fit"):
        NormalInverseGamma(
            torch.zeros(2).double(), torch.eye(3).double(), torch.ones(()).double(), torch.ones(()).double()
        )


def test_prequential_is_predict_then_update():
    x, y = pairs()
    known, state = PRIOR.prequential(x, y), PRIOR
    for t in range(len(x)):
        now = state.predict(x[t])
        for name in ("df", "location", "scale"):
            torch.testing.assert_close(getattr(known, name)[t], getattr(now, name), atol=1e-10, rtol=1e-10)
        state = state.update(x[t], y[t])


def test_prequential_does_not_see_its_own_target():
    x, y = pairs()
    before = PRIOR.prequential(x, y)
    after = PRIOR.prequential(x, torch.cat([y[:-1], y[-1:] + 1e6]))
    assert torch.equal(before.location, after.location)
    assert torch.equal(before.scale, after.scale)


def test_evidence_is_the_product_of_predictions():
    x, y = pairs()
    assert PRIOR.log_evidence(x, y).item() == pytest.approx(PRIOR.prequential(x, y).log_prob(y).sum().item(), abs=1e-9)


def test_expanded_belief_answers_each_of_a_batch():
    x, y = pairs()
    known = PRIOR.absorb(x, y)
    together = known.expand(4).predict(x[:4])
    torch.testing.assert_close(together.scale[2], known.predict(x[2]).scale)


@pytest.mark.parametrize("bound", [-8.0, 0.0, 3.0, 9.0])
def test_a_lower_bound_matches_moments_by_quadrature(bound):
    prior = NormalInverseGamma.prior(1, precision=0.5, shape=1e6, rate=2e6)  # noise of variance 2, known
    after = prior.update_above(torch.tensor([1.5]).double(), torch.tensor(bound).double())
    w = np.linspace(-30, 30, 200_001)
    density = stats.norm.pdf(w, 0, 2) * stats.norm.sf((bound - 1.5 * w) / np.sqrt(2))
    density /= density.sum()
    mean = (w * density).sum()
    assert after.mean.item() == pytest.approx(mean, abs=1e-6)
    assert 2 * after.covariance.item() == pytest.approx((w * w * density).sum() - mean**2, rel=1e-6)
    assert (after.shape, after.rate) == (prior.shape, prior.rate)


def test_lower_bounds_at_their_limits():
    prior, x = NormalInverseGamma.prior(2, shape=20.0, rate=20.0), torch.tensor([1.0, -1.0]).double()
    nothing = prior.update_above(x, torch.tensor(-1e3).double())
    torch.testing.assert_close(nothing.mean, prior.mean)
    torch.testing.assert_close(nothing.covariance, prior.covariance)
    far = torch.tensor(1e3).double()
    torch.testing.assert_close(prior.update_above(x, far).mean, prior.update(x, far).mean, rtol=1e-4, atol=0)
    with pytest.raises(InputError, match="not finite"):
        prior.update_above(x, torch.tensor(torch.inf).double())
