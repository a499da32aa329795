"""Exact references against quadrature, scikit-learn, refitting and enumeration; the loss and its minimiser."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.utils.estimator_checks import parametrize_with_checks

from harmonia.core.errors import InputError
from harmonia.networks.icl_uq import FinitePoolBayes, NIGRegression, TaskPrior, bayes, gaussian_nll, ridge


def prompts(dim=3, tasks=3, length=12, seed=0, **options):
    return TaskPrior(dim=dim, **options).sample(tasks, length, torch.Generator().manual_seed(seed))


def test_bayes_is_the_paper_s_recursion():
    drawn = prompts()
    found = bayes(TaskPrior(3), drawn.xs, drawn.ys)
    for task in range(3):
        precision, mean, a, b = np.eye(3), np.ones(3), 20.0, 20.0
        for t in range(12):
            x, y = drawn.xs[task, t].double().numpy(), drawn.ys[task, t].item()
            variance = b / (a - 1) * (1 + x @ np.linalg.inv(precision) @ x)
            assert found.mean[task, t].item() == pytest.approx(mean @ x, abs=1e-9)
            assert found.std[task, t].item() == pytest.approx(variance**0.5, rel=1e-9)
            grown = precision + np.outer(x, x)
            moved = np.linalg.solve(grown, precision @ mean + y * x)
            b += 0.5 * (y**2 + mean @ precision @ mean - moved @ grown @ moved)
            precision, mean, a = grown, moved, a + 0.5


def test_bayes_is_calibrated_and_the_best():
    drawn = prompts(dim=2, tasks=4000, length=16)
    exact = bayes(TaskPrior(2), drawn.xs, drawn.ys)
    z = (drawn.ys - exact.mean) / exact.std
    assert z.square().mean().item() == pytest.approx(1, abs=0.02)

    def loss(mean, std):
        return gaussian_nll(mean, std.square(), drawn.ys.double()).mean(0)

    best = loss(*exact)
    for scale in (0.9, 1.1):
        assert (loss(exact.mean, scale * exact.std) > best).all()
    for alpha in (0.1, 0.0):
        assert (loss(*ridge(drawn.xs, drawn.ys, alpha)) > best).all()


def test_ridge_is_scikit_learn_s_refitted():
    drawn = prompts()
    found = ridge(drawn.xs, drawn.ys, 0.1)
    x, y = drawn.xs[1].double().numpy(), drawn.ys[1].double().numpy()
    for t in (1, 2, 5, 11):
        model = Ridge(alpha=0.1, fit_intercept=False).fit(x[:t], y[:t])
        rss = np.square(y[:t] - model.predict(x[:t])).sum()
        assert found.mean[1, t].item() == pytest.approx(model.predict(x[t : t + 1])[0], abs=1e-9)
        assert found.std[1, t].item() == pytest.approx((rss / max(1, t - 4)) ** 0.5, rel=1e-7)


@pytest.mark.parametrize("t", [1, 2, 3, 6, 11])
def test_least_squares_is_numpy_s_shortest_solution(t):
    drawn = prompts()
    x, y = drawn.xs[0].double().numpy(), drawn.ys[0].double().numpy()
    expected = np.linalg.lstsq(x[:t], y[:t], rcond=None)[0] @ x[t]
    assert ridge(drawn.xs, drawn.ys, 0.0).mean[0, t].item() == pytest.approx(expected, rel=1e-6)


def test_without_pairs_nothing_is_known():
    drawn = prompts()
    for alpha in (0.0, 0.1):
        first = ridge(drawn.xs, drawn.ys, alpha)
        assert not first.mean[:, 0].any()


def test_a_large_pool_s_posterior_is_nearly_the_prior_s():
    prior = TaskPrior(dim=1, pool_size=20_000)
    drawn = prior.sample(20, 5, torch.Generator().manual_seed(1))
    pool = FinitePoolBayes(*prior.pool()).predict_all_prefixes(drawn.xs, drawn.ys)
    exact = bayes(TaskPrior(dim=1), drawn.xs, drawn.ys)
    torch.testing.assert_close(pool.mean, exact.mean, atol=0.1, rtol=0.05)
    torch.testing.assert_close(pool.std, exact.std, atol=0.05, rtol=0.05)


def test_long_prompts_leave_one_task_of_a_pool():
    prior = TaskPrior(dim=2, pool_size=10)
    drawn = prior.sample(5, 400, torch.Generator().manual_seed(0))
    found = FinitePoolBayes(*prior.pool()).predict_all_prefixes(drawn.xs, drawn.ys)
    assert torch.isfinite(found.std).all()
    torch.testing.assert_close(found.std[:, -1], drawn.sigmas.double(), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(found.mean[:, -1], drawn.means[:, -1].double(), atol=1e-5, rtol=1e-5)


def test_the_official_clipping_keeps_dead_tasks_alive():
    """Two tasks and pairs of the first: the clipped posterior of the second stays at 1e-8 instead of vanishing."""
    pool = (torch.tensor([[0.0], [30.0]]), torch.tensor([1.0, 1.0]))
    xs, ys = torch.ones(1, 6, 1), torch.zeros(1, 6)
    right = FinitePoolBayes(*pool).predict_all_prefixes(xs, ys)
    clipped = FinitePoolBayes(*pool, compat="icl-uq").predict_all_prefixes(xs, ys)
    density = (2 * np.pi) ** -0.5
    share = 1e-8 / (density * 0.5 + 1e-8)
    assert clipped.mean[0, 1].item() == pytest.approx(30 * share, rel=1e-6)
    assert right.mean[0, 1].item() == pytest.approx(0, abs=1e-12)
    assert clipped.mean[0, 0].item() == right.mean[0, 0].item() == 15.0


@pytest.mark.parametrize("bad", [(torch.zeros(2, 1), torch.zeros(2)), (torch.zeros(2, 1), -torch.ones(2))])
def test_pools_that_do_not_fit_are_refused(bad):
    with pytest.raises(InputError, match="positive noise level"):
        FinitePoolBayes(*bad)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize(
    "reference",
    [
        lambda xs, ys: bayes(TaskPrior(1), xs, ys),
        ridge,
        FinitePoolBayes(torch.tensor([[1.0], [-1.0]]), torch.ones(2)).predict_all_prefixes,
    ],
)
def test_references_refuse_what_is_not_finite(reference, bad):
    xs, ys = torch.ones(1, 3, 1), torch.tensor([[1.0, bad, 2.0]])
    for pairs in ((xs, ys), (ys[..., None], xs[..., 0])):
        with pytest.raises(InputError, match="not finite"):
            reference(*pairs)


def test_references_refuse_what_they_do_not_know(untyped):
    xs, ys = torch.ones(1, 3, 1), torch.ones(1, 3)
    with pytest.raises(InputError, match="linear tasks only"):
        bayes(TaskPrior(1, "tree"), xs, ys)
    with pytest.raises(InputError, match="do not fit"):
        bayes(TaskPrior(2), xs, ys)
    with pytest.raises(InputError, match="penalty"):
        ridge(xs, ys, -1.0)
    with pytest.raises(InputError, match="no such release"):
        FinitePoolBayes(torch.zeros(2, 1), torch.ones(2), compat="2024")
    with pytest.raises(InputError, match="weights are finite"):
        FinitePoolBayes(torch.tensor([[0.0], [torch.nan]]), torch.ones(2))


def test_nll_is_torch_s_with_its_floor():
    generator = torch.Generator().manual_seed(0)
    mean, y = torch.randn(50, generator=generator), torch.randn(50, generator=generator)
    variance = torch.rand(50, generator=generator) * 0.05
    expected = torch.nn.GaussianNLLLoss(eps=1e-2, reduction="none")(mean, y, variance)
    torch.testing.assert_close(gaussian_nll(mean, variance, y), expected)


def test_no_gradient_passes_the_floor():
    variance = torch.tensor([0.005, 0.5], requires_grad=True)
    gaussian_nll(torch.zeros(2), variance, torch.ones(2)).sum().backward()
    assert variance.grad[0] == 0
    assert variance.grad[1] != 0


@parametrize_with_checks([NIGRegression()])
def test_nig_follows_scikit_learn(estimator, check):
    check(estimator)


def test_nig_agrees_with_all_prefixes():
    drawn = prompts(length=9)
    xs, ys = drawn.xs.double().numpy(), drawn.ys.double().numpy()
    model = NIGRegression(mu0=1.0, a0=20, b0=20)
    mean, std = model.predict_all_prefixes(xs, ys)
    model.fit(xs[2, :4], ys[2, :4]).partial_fit(xs[2, 4:8], ys[2, 4:8])
    last = model.predict(xs[2, 8:], return_std=True)
    assert last[0][0] == pytest.approx(mean[2, 8], abs=1e-9)
    assert last[1][0] == pytest.approx(std[2, 8], rel=1e-9)


def test_nig_evidence_does_not_depend_on_the_order_of_parts():
    drawn = prompts(length=20)
    x, y = drawn.xs[0].double().numpy(), drawn.ys[0].double().numpy()
    whole = NIGRegression().fit(x, y).log_marginal_likelihood_
    parts = NIGRegression().fit(x[12:], y[12:]).partial_fit(x[:12], y[:12]).log_marginal_likelihood_
    assert whole == pytest.approx(parts, abs=1e-8)


def test_nig_intervals_hold_what_they_state():
    drawn = prompts(dim=2, tasks=200, length=110, a=3.0, b=1.0)
    inside = []
    for x, y in zip(drawn.xs.double().numpy(), drawn.ys.double().numpy(), strict=True):
        low, high = NIGRegression(mu0=1.0, a0=3.0, b0=1.0).fit(x[:10], y[:10]).predict_interval(x[10:], 0.8)
        inside.append((low <= y[10:]) & (y[10:] <= high))
    assert np.mean(inside) == pytest.approx(0.8, abs=0.02)


def test_nig_takes_a_matrix_of_precisions():
    precision = np.array([[2.0, 0.5], [0.5, 1.0]])
    model = NIGRegression(mu0=[1.0, -1.0], Lambda0=precision).fit(np.zeros((3, 2)), np.zeros(3))
    np.testing.assert_allclose(model.posterior_.covariance.numpy(), np.linalg.inv(precision))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"a0": 1.0}, "finite variance"),
        ({"Lambda0": -1.0}, "positive"),
        ({"Lambda0": np.eye(3)}, "positive definite"),
        ({"Lambda0": [[1.0, 5.0], [0.0, 1.0]]}, "positive definite"),
        ({"mu0": [1.0, 2.0, 3.0]}, "one for each input"),
        ({"mu0": np.nan}, "one for each input"),
    ],
)
def test_nig_refuses_impossible_priors(options, message):
    with pytest.raises(InputError, match=message):
        NIGRegression(**options).fit(np.ones((4, 2)), np.arange(4.0))


def test_nig_refuses_what_rounding_would_hide():
    generator = np.random.default_rng(0)
    x, y = 1e8 * generator.standard_normal((40, 2)), generator.standard_normal(40)
    twice = x[:, [0, 0]]
    with pytest.raises(InputError, match="hides the noise"):
        NIGRegression().predict_all_prefixes(x[None], y[None])
    model = NIGRegression().fit(x, y)
    assert np.isfinite(model.predict(x, return_std=True)).all()
    before = vars(model).copy()
    for use in (model.fit, NIGRegression().fit):
        with pytest.raises(InputError, match="combinations of others"):
            use(twice, y)
    assert vars(model) == before
    same = NIGRegression().fit(1e-8 * twice, y).predict(1e-8 * twice)
    np.testing.assert_allclose(same, NIGRegression(Lambda0=0.5).fit(1e-8 * x[:, :1], y).predict(1e-8 * x[:, :1]))


@pytest.mark.parametrize(
    ("xs", "ys", "message"),
    [
        (np.zeros((2, 3)), np.zeros((2, 3)), "do not fit"),
        (np.zeros((0, 3, 1)), np.zeros((0, 3)), "do not fit"),
        (np.full((1, 3, 1), np.nan), np.zeros((1, 3)), "not finite"),
    ],
)
def test_nig_refuses_bad_batches(xs, ys, message):
    with pytest.raises(InputError, match=message):
        NIGRegression().predict_all_prefixes(xs, ys)
    with pytest.raises(InputError, match="coverage"):
        NIGRegression().fit(np.ones((3, 1)), np.arange(3.0)).predict_interval([[1.0]], 1.5)
