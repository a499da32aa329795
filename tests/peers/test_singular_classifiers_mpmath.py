"""The Koenigs function and deep kernels against arithmetic with a hundred digits."""

from __future__ import annotations

import numpy as np
import pytest

from harmonia.kernels.singular_classifiers import Koenigs, dual_of, optimal_activation
from harmonia.kernels.singular_classifiers.deep import log_deep_ntk

pytestmark = pytest.mark.peer


@pytest.fixture
def mp():
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(100):
        yield mpmath


def coefficients(mp, d):
    """Of the dual, in high precision: the two equations solved again."""
    a = mp.mpf(2) ** (-mp.mpf(d) / 2)
    if d >= 2:
        return {1: a, 2: 1 - 2 * a, 3: a}
    return {1: a, 2: 1 - a - a / 5, 7: a / 5}


@pytest.mark.parametrize("d", [1, 2, 3, 5, 12])
@pytest.mark.parametrize("eps", ["0.5", "0.1", "0.01", "0.0001", "1e-9", "1e-20"])
def test_koenigs(mp, d, eps):
    """By its definition as a limit, to sixty digits."""
    c = coefficients(mp, d)
    xi, layers = 1 - mp.mpf(eps), 0
    while xi > mp.mpf(10) ** -60:
        xi = sum(value * xi**k for k, value in c.items())
        layers += 1
    expected = mp.log(xi) - layers * mp.log(c[1])
    found = Koenigs(dual_of(optimal_activation(d))).log(np.array([float(eps)]))[0]
    assert found == pytest.approx(float(expected), rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("depth", [3, 60, 400])
def test_deep_kernels(mp, depth):
    c = coefficients(mp, 3)
    for eps in ("0.9", "0.3", "1e-3", "1e-12"):
        sigma = kernel = 1 - mp.mpf(eps)
        for _ in range(depth):
            slope = sum(k * value * sigma ** (k - 1) for k, value in c.items())
            sigma = sum(value * sigma**k for k, value in c.items())
            kernel = sigma + kernel * slope
        number = np.array([float(eps)])
        found = log_deep_ntk(dual_of(optimal_activation(3)), number, 1 - number, depth)[0]
        assert found == pytest.approx(float(mp.log(kernel)), rel=1e-12, abs=1e-12)
