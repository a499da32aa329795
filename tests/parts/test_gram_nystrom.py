"""Landmarks: exact where they lie, Gaussian conditioning elsewhere, and choices that cover the inputs."""

from __future__ import annotations

import itertools

import pytest
import torch

from harmonia.core.errors import InputError
from harmonia.parts.gram import (
    Linear,
    Matern,
    Nystrom,
    SquaredExponential,
    choose_landmarks,
    pivoted_cholesky,
)


@pytest.fixture
def x():
    return torch.randn(40, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_landmarks_are_exact_and_the_rest_is_below(x):
    kernel = Matern(1.3, 1.5)
    seen = Nystrom(kernel, x[:15])
    torch.testing.assert_close(seen(x[:15], x), kernel(x[:15], x))
    assert seen.residual(x[:15]).max() < 1e-12
    assert torch.linalg.eigvalsh(kernel(x) - seen(x)).min() > -1e-12
    torch.testing.assert_close(seen.diagonal(x), seen(x).diagonal())

    def without_diagonal(x1, x2=None):
        return kernel(x1, x2)

    torch.testing.assert_close(Nystrom(without_diagonal, x[:15]).residual(x), seen.residual(x))


def test_conditionals_are_gaussian_conditioning(x):
    kernel, z, at = SquaredExponential(0.8), x[:8], x[8:13]
    mean = torch.sin(z)
    root = 0.2 * torch.tril(torch.ones(8, 8, dtype=torch.float64))
    gain = torch.linalg.solve(kernel(z), kernel(z, at)).T
    prior = kernel(at) - gain @ kernel(z, at)
    found = Nystrom(kernel, z).conditional(at, mean, root)
    torch.testing.assert_close(found.mean, gain @ mean)
    torch.testing.assert_close(found.variance, (prior + gain @ root @ root.T @ gain.T).diagonal())
    known = Nystrom(kernel, z).conditional(at, mean)
    torch.testing.assert_close(known.variance, prior.diagonal())


def test_features_can_be_differentiated(x):
    def of(z, lengthscale):
        return Nystrom(SquaredExponential(lengthscale), z).features(x[:4])

    scale = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(of, (x[10:14].clone().requires_grad_(), scale))


def test_pivoting_is_the_cholesky_factor_of_the_chosen_rows(x):
    kernel = SquaredExponential(0.7)
    rows, factor = pivoted_cholesky(kernel, x, 12)
    assert len(set(rows.tolist())) == 12
    torch.testing.assert_close(factor @ factor.T, Nystrom(kernel, x[rows])(x), rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(factor[rows], torch.linalg.cholesky(kernel(x[rows])), rtol=1e-8, atol=1e-10)
    left = [float((1 - factor[:, :k].square().sum(1)).max()) for k in range(13)]
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(left))
    assert pivoted_cholesky(Linear(), x, 10).factor.shape == (40, 2)


@pytest.mark.parametrize("choice", ["random", "kmeans++", "pivoted"])
def test_choices(x, choice):
    rows = choose_landmarks(x, 10, choice, SquaredExponential(), seed=3)
    assert len(set(rows.tolist())) == 10
    torch.testing.assert_close(rows, choose_landmarks(x, 10, choice, SquaredExponential(), seed=3))
    repeated = x[:2].repeat(10, 1)
    found = choose_landmarks(repeated, 5, choice, SquaredExponential())
    assert len(set(found.tolist())) == (2 if choice == "pivoted" else 5)


def test_spread_landmarks_cover(x):
    clusters = torch.cat([x[:10] / 100 + centre for centre in (-5.0, 0.0, 5.0)])
    rows = choose_landmarks(clusters, 3, "kmeans++")
    assert sorted((rows // 10).tolist()) == [0, 1, 2]


def test_bad_input(x):
    for call in (
        lambda: choose_landmarks(x, 0),
        lambda: choose_landmarks(x, 41),
        lambda: choose_landmarks(x, 3, "pivoted"),
        lambda: pivoted_cholesky(Linear(), x, 0),
        lambda: Nystrom(lambda a, b=None: -torch.eye(len(a)), x[:3]),
    ):
        with pytest.raises(InputError):
            call()
