"""Accounting beside opendp and opacus, and private gradient descent."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harmonia.parts.privacy.accounting import epsilon_of_rho, gaussian_ratio

pytestmark = pytest.mark.peer


@pytest.mark.parametrize("rho", [0.001, 0.03, 0.5, 3.0])
@pytest.mark.parametrize("delta", [1e-9, 1e-5])
def test_concentrated_privacy_is_opendps(rho, delta):
    dp = pytest.importorskip("opendp.prelude")
    dp.enable_features("contrib")
    gaussian = dp.m.make_gaussian(dp.atom_domain(T=int), dp.absolute_distance(T=int), scale=1 / math.sqrt(2 * rho))
    profile = dp.c.make_zCDP_to_approxDP(gaussian).map(1)
    assert profile.epsilon(delta) == pytest.approx(epsilon_of_rho(rho, delta), rel=1e-5)


@pytest.mark.parametrize("eps", [0.5, 1.0, 4.0])
def test_gaussian_noise_is_no_more_than_opacus_needs(eps):
    utils = pytest.importorskip("opacus.accountants.utils")
    theirs = utils.get_noise_multiplier(
        target_epsilon=eps, target_delta=1e-5, sample_rate=1.0, steps=1, accountant="rdp"
    )
    assert 0.8 < (1 / gaussian_ratio(eps, 1e-5)) / theirs < 1.01


def test_private_gradient_descent_learns():
    pytest.importorskip("opacus")
    from harmonia.kernels.private_kde.descent import train_privately

    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 600)
    x = generator.standard_normal((600, 2)) + 3 * labels[:, None]
    predict = train_privately(x, labels, eps=8.0, delta=1e-4, epochs=3, seed=0, batch=100, rate=0.5)
    assert (predict(x) == labels).mean() > 0.8
