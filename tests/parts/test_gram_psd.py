"""Repair, divergences and geodesics against torch.distributions, scipy and the definitions."""

from __future__ import annotations

import pytest
import torch
from scipy.linalg import fractional_matrix_power
from torch.distributions import MultivariateNormal, kl_divergence

from harmonia.core.errors import InputError
from harmonia.parts.gram import gaussian_kl, gaussian_kl_of_factors, geodesic, nearest_psd


def matrices(count: int, size: int = 5) -> list[torch.Tensor]:
    roots = torch.randn(count, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return list(roots @ roots.mT + 0.1 * torch.eye(size, dtype=torch.float64))


def test_the_nearest_matrix_is_a_projection():
    a = torch.randn(3, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    repaired = nearest_psd(a)
    assert torch.linalg.eigvalsh(repaired).min() > -1e-12
    torch.testing.assert_close(nearest_psd(repaired), repaired)
    good = matrices(1)[0]
    torch.testing.assert_close(nearest_psd(good), good)
    # No other positive semi-definite matrix is nearer: the residual makes no acute angle with any direction inside.
    away = (a + a.mT) / 2 - repaired
    for other in matrices(10):
        assert ((other - repaired) * away).sum((1, 2)).max() < 1e-10
    assert torch.linalg.eigvalsh(nearest_psd(a, floor=0.2)).min() > 0.2 - 1e-12


def test_the_divergence_is_torchs():
    g, k = matrices(2)
    zero = torch.zeros(5, dtype=torch.float64)
    theirs = kl_divergence(MultivariateNormal(zero, g), MultivariateNormal(zero, k))
    torch.testing.assert_close(gaussian_kl(g, k), theirs)
    factors = torch.linalg.cholesky(g), torch.linalg.cholesky(k)
    torch.testing.assert_close(gaussian_kl_of_factors(*factors), theirs)
    assert float(gaussian_kl(g, g)) == pytest.approx(0, abs=1e-12)
    assert torch.autograd.gradcheck(lambda m: gaussian_kl(m @ m.T, k), torch.linalg.cholesky(g).requires_grad_())


def test_geodesics():
    a, b = matrices(2)
    for t in (0.0, 0.3, 1.0, 2.0):
        power = torch.from_numpy(fractional_matrix_power(torch.linalg.solve(a, b).numpy(), t).real)
        torch.testing.assert_close(geodesic(a, b, t), a @ power)
        torch.testing.assert_close(geodesic(a, b, t), geodesic(b, a, 1 - t), rtol=1e-6, atol=1e-9)
    q = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64))[0]
    torch.testing.assert_close(geodesic(q @ a @ q.T, q @ b @ q.T, 0.4), q @ geodesic(a, b, 0.4) @ q.T)


def test_bad_input():
    good, bad = torch.eye(2), torch.full((2, 2), torch.nan)
    for call in (
        lambda: nearest_psd(bad),
        lambda: nearest_psd(good, -1.0),
        lambda: gaussian_kl(good, -good),
        lambda: geodesic(good, torch.eye(3), 0.5),
    ):
        with pytest.raises(InputError):
            call()
