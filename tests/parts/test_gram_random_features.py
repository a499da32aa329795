"""Projections and features against what they approximate, with bounds from their own sampling errors."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from harmonia.core.errors import InputError
from harmonia.parts.gram import Laplace, Linear, Matern, RationalQuadratic, SquaredExponential
from harmonia.parts.gram.random_features import (
    FourierFeatures,
    StructuredProjection,
    draw_directions,
    johnson_lindenstrauss,
    radius_quantile,
)

KERNELS = {
    "gaussian": SquaredExponential(1.3),
    "exponential": Matern(1.3, nu=0.5),
    "matern-3/2": Matern(1.3, nu=1.5),
    "matern-5/2": Matern(1.3, nu=2.5),
    "rational quadratic": RationalQuadratic(1.3, alpha=0.7),
    "laplace": Laplace(1.3),
    "one lengthscale a feature": SquaredExponential(torch.tensor([0.5, 1.0, 2.0, 4.0], dtype=torch.float64)),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(n: int = 8, d: int = 4) -> torch.Tensor:
    return torch.randn(n, d, dtype=torch.float64, generator=seeded(7))


@pytest.mark.parametrize("phases", [False, True], ids=["pairs", "phases"])
@pytest.mark.parametrize("name", KERNELS)
def test_features_are_unbiased(name, phases):
    """Within four standard errors; the spread over features tells the standard error."""
    kernel, x = KERNELS[name], points()
    count = 40_000
    phi = FourierFeatures.draw(kernel, 4, count, generator=seeded(), phases=phases)(x)
    products = phi[:, None] * phi[None, :] * count
    if not phases:
        products = (products[..., : count // 2] + products[..., count // 2 :]) / 2
    error = products.std(-1) / math.sqrt(products.shape[-1])
    assert ((products.mean(-1) - kernel(x)).abs() <= 4 * error + 1e-12).all()
    if not phases:
        torch.testing.assert_close(phi.square().sum(1), torch.ones(8, dtype=torch.float64))


@pytest.mark.parametrize("kind", ["orthogonal", "sorf"])
def test_orthogonal_directions_lower_the_variance(kind):
    x = points(2, 32) / 5
    exact = SquaredExponential()(x)[0, 1]
    found = {}
    for directions in ("gaussian", kind):
        draws = (
            FourierFeatures.draw(SquaredExponential(), 32, 64, generator=seeded(s), directions=directions)(x)
            for s in range(400)
        )
        found[directions] = torch.stack([phi[0] @ phi[1] for phi in draws]) - exact
    assert found[kind].square().mean() < 0.7 * found["gaussian"].square().mean()
    bias_allowed = 0.02 if kind == "sorf" else 0.0  # SORF is biased at order 1/inputs
    assert abs(found[kind].mean()) < 4 * found[kind].std() / 20 + bias_allowed


def test_directions_are_gaussian():
    """Norms of orthogonal ones are chi; blocks are orthogonal; independent between blocks."""
    w = draw_directions(6, 6000, "orthogonal", generator=seeded()).weight.numpy()
    assert stats.kstest(w[::6, 0], "norm").pvalue > 0.01
    assert stats.kstest(np.linalg.norm(w[::6], axis=1), stats.chi(6).cdf).pvalue > 0.01
    gram = w[:6] @ w[:6].T
    np.testing.assert_allclose(gram - np.diag(np.diag(gram)), 0, atol=1e-12)


def test_structured_projection_is_its_matrix():
    """Rows of a block are orthogonal and of norm sqrt(8); padding and cutting do not matter."""
    project = draw_directions(8, 16, "sorf", generator=seeded())
    matrix = project(torch.eye(8, dtype=torch.float64)).T
    np.testing.assert_allclose(matrix[:8] @ matrix[:8].T, 8 * np.eye(8), atol=1e-12)
    x = points(5, 8)
    torch.testing.assert_close(project(x), x @ matrix.T)
    factors = torch.arange(16.0, dtype=torch.float64)
    torch.testing.assert_close(project.scaled(factors)(x), (x @ matrix.T) * factors)
    short = draw_directions(5, 3, "sorf", generator=seeded())
    assert isinstance(short, StructuredProjection)
    assert short(points(2, 5)).shape == (2, 3)
    with pytest.raises(InputError, match="rows of one length"):
        short(points(2, 4))


@pytest.mark.parametrize("kind", ["gaussian", "orthogonal", "sorf"])
def test_lengths_are_kept(kind):
    x = points(1, 50)
    ratios = (
        torch.stack([johnson_lindenstrauss(50, 20, kind, generator=seeded(s))(x).square().sum() for s in range(300)])
        / x.square().sum()
    )
    assert abs(ratios.mean() - 1) < 4 * ratios.std() / math.sqrt(300)


def test_radii_are_quantiles():
    u = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    np.testing.assert_allclose(radius_quantile(Matern(nu=1.5), u), stats.invgamma(1.5, scale=1.5).ppf(u) ** 0.5)
    np.testing.assert_allclose(
        radius_quantile(RationalQuadratic(alpha=2.0), u), stats.gamma(2, scale=0.5).ppf(u) ** 0.5
    )


def test_seed_and_dtype():
    first, again = (
        FourierFeatures.draw(Matern(nu=0.5), 3, 10, generator=seeded(3), dtype=torch.float32) for _ in range(2)
    )
    x = points(4, 3).float()
    assert first(x).dtype == torch.float32
    torch.testing.assert_close(first(x), again(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FourierFeatures.draw(SquaredExponential(), 3, 7, generator=seeded()), "pairs"),
        (lambda: FourierFeatures.draw(Linear(), 3, 8, generator=seeded()), "not known"),
        (lambda: FourierFeatures.draw(Laplace(), 3, 8, generator=seeded(), directions="sorf"), "independent"),
        (lambda: draw_directions(3, 0, generator=seeded()), "inputs and outputs"),
    ],
    ids=["odd", "kernel", "laplace", "empty"],
)
def test_bad_input(call, message):
    with pytest.raises(InputError, match=message):
        call()
