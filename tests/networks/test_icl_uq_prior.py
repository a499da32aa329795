"""Priors: moments of what they draw, pools, families, shifted covariances, flipped pairings, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harmonia.core.errors import InputError
from harmonia.networks.icl_uq import FlippedPrior, TaskPrior, shifted_covariance


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_moments_are_those_of_the_prior():
    prior = TaskPrior(dim=3)
    tasks = prior.linear_tasks(40_000, generator())
    assert tasks.sigmas.pow(-2).mean().item() == pytest.approx(1.0, rel=0.01)  # a / b
    assert tasks.sigmas.square().mean().item() == pytest.approx(20 / 19, rel=0.01)  # b / (a - 1)
    assert tasks.weights.mean().item() == pytest.approx(1.0, abs=0.01)
    standardised = (tasks.weights - 1) / tasks.sigmas[:, None]
    assert standardised.std().item() == pytest.approx(1.0, rel=0.01)


def test_targets_are_mean_plus_noise():
    prompts = TaskPrior(dim=2).sample(2000, 50, generator())
    noise = (prompts.ys - prompts.means) / prompts.sigmas[:, None]
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    assert noise.std().item() == pytest.approx(1, rel=0.01)


def test_precision_shrinks_weights():
    tasks = TaskPrior(dim=2, mean=0.0, precision=4.0).linear_tasks(20_000, generator())
    assert (tasks.weights / tasks.sigmas[:, None]).std().item() == pytest.approx(0.5, rel=0.02)


def test_a_pool_holds_the_same_tasks_always():
    prior = TaskPrior(dim=2, pool_size=3, pool_seed=5)
    pool = prior.pool()
    prompts = prior.sample(100, 4, generator(1))
    assert {round(s, 5) for s in prompts.sigmas.tolist()} <= {round(s, 5) for s in pool.sigmas.tolist()}
    assert torch.equal(pool.weights, prior.pool().weights)
    with pytest.raises(InputError, match="infinitely many"):
        TaskPrior(dim=2).pool()


@pytest.mark.parametrize("family", ["relu_net", "tree"])
def test_nonlinear_functions_have_the_spread_of_linear_ones(family):
    prior = TaskPrior(dim=3, family=family, mean=0.0)
    prompts = prior.sample(4000, 30, generator())
    spread = (prompts.means / prompts.sigmas[:, None]).square().mean().item()
    assert spread == pytest.approx(3.0, rel=0.1)
    assert not prior.is_linear


def test_a_tree_takes_at_most_eight_values():
    prompts = TaskPrior(dim=3, family="tree").sample(20, 400, generator())
    assert all(1 < len(task.unique()) <= 8 for task in prompts.means)


def test_mixtures_hold_their_shares():
    prior = TaskPrior(dim=2, family={"linear": 0.25, "tree": 0.75})
    prompts = prior.sample(2000, 40, generator())
    trees = sum(len(task.unique()) <= 8 for task in prompts.means) / 2000
    assert trees == pytest.approx(0.75, abs=0.03)


def test_dropped_inputs_are_zero_and_the_first_stays():
    xs = TaskPrior(dim=4, drop_inputs=True).sample(2000, 5, generator()).xs
    used = (xs != 0).any(1).sum(1)
    assert used.min() == 1
    assert used.max() == 4
    assert used.float().mean().item() == pytest.approx(2.5, abs=0.1)
    assert (xs[..., 0] != 0).all()


def test_scaled_covariates_have_variance_one_on_average():
    xs = TaskPrior(dim=2, covariates="scaled").sample(5000, 40, generator()).xs
    each = xs.square().mean(1)
    assert each.mean().item() == pytest.approx(1.0, rel=0.03)
    assert each.std().item() > 0.4


def test_correlated_covariates_keep_variance_one():
    xs = TaskPrior(dim=4, covariates="correlated").sample(200, 4000, generator()).xs
    assert xs.square().mean(1).sub(1).abs().max().item() < 0.15
    correlation = (xs[..., 0] * xs[..., 1]).mean(1).abs()
    assert correlation.mean().item() > 0.15


def test_covariance_matrices_are_those_of_the_paper():
    assert shifted_covariance("large", 2) == ((4.0, 0.0), (0.0, 4.0))
    shrinking = torch.tensor(shifted_covariance("shrinking", 8)).diagonal()
    torch.testing.assert_close(shrinking, 8 / torch.arange(1.0, 9).square())
    rotated = torch.tensor(shifted_covariance("rotated", 8, seed=3), dtype=torch.float64)
    expected = (8 / torch.arange(1.0, 9).double()).sort().values
    torch.testing.assert_close(torch.linalg.eigvalsh(rotated), expected, atol=1e-6, rtol=1e-6)
    xs = TaskPrior(dim=2, covariates=shifted_covariance("decreasing", 2)).sample(200, 500, generator()).xs
    torch.testing.assert_close(xs.square().mean((0, 1)), torch.tensor([2.0, 1.0]), atol=0.05, rtol=0.05)


@pytest.mark.parametrize("swapped", [False, True])
def test_flipped_tasks_pair_sign_and_noise(swapped):
    prompts = FlippedPrior(dim=2, swapped=swapped).sample(500, 400, generator())
    slope = (prompts.xs * prompts.means[..., None]).mean((1, 2))
    tenths = (prompts.sigmas * 10).floor().long()
    odd = (tenths - 1) // 2 % 2 == 1
    assert ((slope < 0) == (odd != swapped)).all()
    assert prompts.sigmas.min() >= 0.1
    assert prompts.sigmas.max() <= 0.9


def test_a_pool_is_drawn_once(monkeypatch):
    prior, drawn = TaskPrior(dim=2, pool_size=50), []
    tasks = TaskPrior.linear_tasks
    monkeypatch.setattr(TaskPrior, "linear_tasks", lambda *given: drawn.append(0) or tasks(*given))
    first = prior.sample(4, 3, generator())
    assert torch.equal(first.ys, prior.sample(4, 3, generator()).ys)
    assert len(drawn) == 1
    assert prior == TaskPrior(dim=2, pool_size=50)


@pytest.mark.parametrize("make", [np.array, torch.tensor, lambda rows: rows])
def test_covariances_may_be_arrays(make):
    rows = ((2.0, 0.5), (0.5, 1.0))
    prior = TaskPrior(dim=2, covariates=make(rows))
    assert prior == TaskPrior(dim=2, covariates=rows)
    assert prior.sample(2, 3, generator()).xs.shape == (2, 3, 2)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 9), st.integers(0, 2**31 - 1))
def test_shapes_and_seeds(dim, batch, length, seed):
    prior = TaskPrior(dim=dim, covariates="correlated", drop_inputs=True)
    first, again = (prior.sample(batch, length, generator(seed)) for _ in range(2))
    assert first.xs.shape == (batch, length, dim)
    assert first.ys.shape == first.means.shape == (batch, length)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert torch.isfinite(first.ys).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 0}, "at least one input"),
        ({"dim": 2, "a": 1.0}, "no finite variance"),
        ({"dim": 2, "b": -1.0}, "positive"),
        ({"dim": 2, "family": {"spline": 1.0}}, "no such family"),
        ({"dim": 2, "family": {"linear": 0.0}}, "no such family"),
        ({"dim": 2, "covariates": ((1.0,),)}, "does not fit"),
        ({"dim": 2, "covariates": np.eye(3)}, "does not fit"),
        ({"dim": 2, "covariates": ((1.0, 2.0), (2.0, 1.0))}, "positive definite"),
        ({"dim": 2, "covariates": ((1.0, 0.5), (0.0, 1.0))}, "symmetric"),
        ({"dim": 2, "covariates": ((1.0, np.nan), (np.nan, 1.0))}, "positive definite"),
        ({"dim": 2, "family": "tree", "pool_size": 4}, "pool"),
    ],
)
def test_impossible_priors_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        TaskPrior(**options)
