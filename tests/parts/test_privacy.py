"""Samplers against their distributions, accounting against oracles."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, stats

from harmonia.parts.privacy import Charge, compose
from harmonia.parts.privacy.accounting import (
    calibrated_ratio,
    epsilon_of_rho,
    gaussian_delta,
    gaussian_ratio,
    rho_of_epsilon,
)
from harmonia.parts.privacy.noise import Randomness, discrete_gaussian, discrete_laplace, rounding_distance


def test_discrete_laplace_is_its_distribution():
    found = discrete_laplace(60_000, Randomness(seed=1), scale=3)
    theirs = stats.dlaplace(1 / 3)
    values = np.arange(-12, 13)
    counts = np.array([(found == v).sum() for v in values])
    assert (
        stats.chisquare(
            np.r_[counts, len(found) - counts.sum()],
            np.r_[theirs.pmf(values), 1 - theirs.pmf(values).sum()] * len(found),
        ).pvalue
        > 1e-3
    )


def test_discrete_gaussian_is_its_distribution():
    found = discrete_gaussian(60_000, Randomness(seed=2), scale=2)
    values = np.arange(-7, 8)
    mass = np.exp(-(np.arange(-40, 41) ** 2) / 8.0)
    expected = mass[33:48] / mass.sum()
    counts = np.array([(found == v).sum() for v in values])
    assert (
        stats.chisquare(
            np.r_[counts, len(found) - counts.sum()], np.r_[expected, 1 - expected.sum()] * len(found)
        ).pvalue
        > 1e-3
    )


@pytest.mark.parametrize(("sampler", "law"), [(discrete_laplace, stats.laplace), (discrete_gaussian, stats.norm)])
def test_fine_grids_are_continuous(sampler, law):
    assert stats.kstest(sampler(20_000, Randomness(seed=3)) / 2**24, law.cdf).pvalue > 1e-3


def test_numbers_below_are_uniform():
    found = Randomness(seed=0).below(np.full(50_000, 5))
    assert stats.chisquare(np.bincount(found, minlength=5)).pvalue > 1e-3
    secret = Randomness().below(np.full(50_000, 5))
    assert stats.chisquare(np.bincount(secret, minlength=5)).pvalue > 1e-6


def test_rounding_distance_bounds_the_truth():
    """At a coarse scale, where the exact distance can be summed; one number, whose bound is sqrt(1/32) / S^2."""
    for scale in (4, 8, 16):
        k = np.arange(-12 * scale, 12 * scale + 1)
        discrete = np.exp(-(k**2) / (2 * scale**2))
        rounded = stats.norm.cdf((k + 0.5) / scale) - stats.norm.cdf((k - 0.5) / scale)
        distance = np.abs(discrete / discrete.sum() - rounded).sum() / 2
        assert distance <= math.sqrt(1 / 32) / scale**2
    assert rounding_distance(10**7) < 1e-11


@pytest.mark.parametrize(("eps", "sigma"), [(0.1, 30.7496), (1.0, 3.73063), (4.0, 1.08116)])
def test_analytic_gaussian(eps, sigma):
    """Against the integral of its definition, and the classical rule where that is valid."""
    ratio = gaussian_ratio(eps, 1e-5)
    assert 1 / ratio == pytest.approx(sigma, rel=1e-5)
    integral, _ = integrate.quad(
        lambda x: max(0.0, stats.norm.pdf(x, ratio) - math.exp(eps) * stats.norm.pdf(x)),
        -20,
        20,
        limit=500,
        points=[eps / ratio + ratio / 2],
    )
    assert integral == pytest.approx(1e-5, rel=1e-4)
    if eps < 1:
        assert 1 / ratio < math.sqrt(2 * math.log(1.25e5)) / eps


def test_the_classical_rule_is_wrong_above_one():
    """With sigma = sqrt(2 log(1.25 / delta)) / eps the true delta at eps = 16 is many times the one asked for."""
    sigma = math.sqrt(2 * math.log(1.25 / 0.1)) / 16
    assert gaussian_delta(16.0, 1 / sigma) > 0.1


@given(st.floats(0.01, 20), st.floats(1e-10, 1e-2))
@settings(max_examples=30, deadline=None)
def test_concentrated_privacy_is_sound_and_close(eps, delta):
    rho = rho_of_epsilon(eps, delta)
    assert epsilon_of_rho(rho, delta) == pytest.approx(eps, rel=1e-6)
    exact = gaussian_ratio(eps, delta)
    assert math.sqrt(2 * rho) <= exact * (1 + 1e-6)
    assert math.sqrt(2 * rho) >= 0.6 * exact


def test_pure_privacy_is_concentrated():
    """Laplace's privacy loss is bounded by eps, so its divergence of order a is at most a eps^2 / 2: by quadrature."""
    eps = 0.7
    for order in (1.5, 2.0, 5.0, 20.0):
        log_moment = math.log(
            integrate.quad(
                lambda x, a=order: math.exp(-a * abs(x) * eps - (1 - a) * abs(x - 1) * eps) * eps / 2,
                -60,
                60,
                points=[0, 1],
            )[0]
        )
        assert log_moment / (order - 1) <= order * Charge("", "laplace", eps, eps, 0.0).rho + 1e-9


def test_composition():
    laplace = Charge("a", "laplace", 0.1, 0.1, 0.0)
    gaussian = Charge("b", "gaussian", gaussian_ratio(0.1, 1e-7), 0.1, 1e-7)
    assert compose([]).epsilon == 0
    assert compose([laplace] * 3).epsilon == pytest.approx(0.3)
    many = compose([laplace] * 1000, 1e-6)
    assert many.epsilon < 30
    assert many.epsilon == pytest.approx(epsilon_of_rho(1000 * 0.005, 1e-6))
    # Sixteen Gaussian releases are one of four times the ratio.
    sixteen = compose([gaussian] * 16, 1e-5)
    assert gaussian_delta(sixteen.epsilon, 4 * gaussian.ratio) == pytest.approx(1e-5, rel=1e-4)
    assert compose([laplace, gaussian], 1e-7).epsilon == pytest.approx(0.2)
    # A delta that is too small for what was released is raised to what holds.
    assert compose([gaussian], 0.0).delta == 1e-7
    disjoint = [replace(laplace, disjoint="x")] * 5
    assert compose(disjoint).epsilon == pytest.approx(0.1)
    assert compose([*disjoint, laplace]).epsilon == pytest.approx(0.2)


def test_exact_samplers_are_charged_for_their_distance():
    ratio = calibrated_ratio("gaussian", 1.0, 1e-5, 10**6)
    assert ratio < gaussian_ratio(1.0, 1e-5)
    assert ratio == pytest.approx(gaussian_ratio(1.0, 1e-5), rel=1e-4)
    charge = Charge("", "gaussian", ratio, 1.0, 1e-5, numbers=10**6)
    assert compose([charge], 1e-5).epsilon <= 1.0 + 1e-9
    # Where that would cost more than delta, the conversion that needs no distance is used.
    assert calibrated_ratio("gaussian", 40.0, 1e-6, 10**7) == pytest.approx(math.sqrt(2 * rho_of_epsilon(40.0, 1e-6)))


def test_rho_of_epsilon_is_the_inverse_found_by_bisection():
    for eps, delta in ((0.1, 1e-6), (1.0, 1e-5), (8.0, 1e-9)):
        by_bisection = optimize.brentq(lambda rho, e=eps, d=delta: epsilon_of_rho(rho, d) - e, 1e-9, eps)
        assert rho_of_epsilon(eps, delta) == pytest.approx(by_bisection, rel=1e-6)
