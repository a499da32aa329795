"""Closed forms beside actual refits, best weights beside searches, left-out errors beside models that leave out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize, minimize_scalar

from harmonia.core.errors import InputError
from harmonia.kernels.self_distillation import OptimalWeight, optimal_alpha, optimal_weight
from harmonia.kernels.self_distillation.basis import Basis, InitialFit
from harmonia.kernels.self_distillation.spectral import (
    Smoother,
    sparsification,
    target_shares,
    target_shares_along,
)
from harmonia.kernels.self_distillation.tuning import Folds, GeneralizedCV, LeaveOneOut, follow, follow_forever
from harmonia.kernels.self_distillation.weight import Mixture, optimal_alpha_of_log_loss


def problem(rows=25, outputs=2, seed=0):
    """A kernel matrix, its features, and targets with a mean."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(rows, 4, generator=generator, dtype=torch.float64)
    kernel = torch.exp(-torch.cdist(features, features).square() / 4)
    return kernel, features, torch.randn(rows, outputs, generator=generator, dtype=torch.float64) + 1.5


def intercept_ridge(kernel, targets, penalty):
    """Kernel ridge regression with an unpenalised constant, by its bordered linear system: weights and constant."""
    n = len(kernel)
    system = torch.ones(n + 1, n + 1, dtype=torch.float64)
    system[:n, :n] = kernel + penalty * torch.eye(n, dtype=torch.float64)
    system[n, n] = 0
    solved = torch.linalg.solve(system, torch.cat([targets, torch.zeros(1, targets.shape[1], dtype=torch.float64)]))
    return solved[:n], solved[n]


def refitted(kernel, cross, targets, penalty, alphas, intercept):
    """Predictions at other inputs of every step, by actually refitting."""
    soft, found = targets, []
    for alpha in [1.0, *alphas]:
        mixed = alpha * targets + (1 - alpha) * soft
        if intercept:
            weights, constant = intercept_ridge(kernel, mixed, penalty)
        else:
            weights = torch.linalg.solve(kernel + penalty * torch.eye(len(kernel), dtype=torch.float64), mixed)
            constant = 0.0
        soft = kernel @ weights + constant
        found.append(cross @ weights + constant)
    return torch.stack(found)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(alpha=st.floats(-1.5, 1.9), step=st.integers(1, 40), penalty=st.floats(0.01, 10))
def test_closed_form_is_the_recursion(alpha, step, penalty):
    gain = Smoother(penalty).gain(torch.tensor([3.0, 1.0, 0.1, 0.0], dtype=torch.float64))
    along = target_shares_along(gain, [alpha] * (step - 1))[-1]
    torch.testing.assert_close(target_shares(gain, alpha, step), along, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("intercept", [False, True])
def test_steps_are_actual_refits(intercept):
    kernel, _, targets = problem(30)
    train, rest = slice(20), slice(20, 30)
    alphas = [0.4, -0.3, 1.2, 0.0]
    expected = refitted(kernel[train, train], kernel[rest, train], targets[train], 0.3, alphas, intercept)
    fit = InitialFit.of(Basis.of_kernel(kernel[train, train], intercept), targets[train], Smoother(0.3))
    shares = target_shares_along(fit.gain, alphas)
    projected = fit.basis.project(kernel[rest, train])
    torch.testing.assert_close(fit.predict(projected, shares), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("intercept", [False, True])
def test_features_are_their_kernel(intercept):
    _, features, targets = problem(40)
    train, rest = slice(30), slice(30, 40)
    kernel = features @ features.T
    dense = InitialFit.of(Basis.of_kernel(kernel[train, train], intercept), targets[train], Smoother(0.5))
    thin = InitialFit.of(Basis.of_features(features[train], intercept), targets[train], Smoother(0.5))
    expected = dense.predict(dense.basis.project(kernel[rest, train]), target_shares(dense.gain, 0.4, 3))
    found = thin.predict(thin.basis.project(features[rest]), target_shares(thin.gain, 0.4, 3))
    torch.testing.assert_close(found, expected)
    for score in (0.0, 1.0, 2.5):
        one, other = (GeneralizedCV(fit, 30).start(Smoother(0.5)).mixture().score(score) for fit in (dense, thin))
        assert one == pytest.approx(other)


def test_early_stopping_is_gradient_descent_with_small_steps():
    kernel, _, targets = problem(12)
    smoother = Smoother(0.2, time=30.0, size=targets.numel())
    fit = InitialFit.of(Basis.of_kernel(kernel, False), targets, smoother)
    weights = torch.zeros_like(targets)
    for _ in range(60_000):
        weights -= 30 / 60_000 / targets.numel() * (kernel @ weights - targets + 0.2 * weights)
    found = fit.predict(fit.basis.project(kernel), torch.ones_like(fit.gain))
    torch.testing.assert_close(found, kernel @ weights, rtol=1e-4, atol=1e-5)
    # Without a penalty, to the end, everything that can be learnt is.
    gain = Smoother(0.0).gain(torch.tensor([2.0, 0.0]))
    assert gain.tolist() == [1.0, 0.0]


def test_limit_and_refusals():
    gain = Smoother(0.5).gain(torch.tensor([4.0, 1.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(target_shares(gain, 0.3, math.inf), target_shares(gain, 0.3, 2000))
    assert target_shares(gain, 1.0, 7).tolist() == [1.0, 1.0, 1.0]
    # A direction that is fitted completely never fades.
    assert target_shares(torch.ones(1), 0.0, 50).tolist() == [1.0]
    for alpha, message in ((0.0, "zero function"), (-0.5, "diverges"), (2.5, "diverges")):
        with pytest.raises(InputError, match=message):
            target_shares(gain, alpha, math.inf)
    for step in (0, 1.5, -2):
        with pytest.raises(InputError, match="whole number"):
            target_shares(gain, 0.5, step)
    with pytest.raises(InputError, match="penalty"):
        Smoother(-1.0)
    with pytest.raises(InputError, match="penalty"):
        Smoother(math.nan)
    with pytest.raises(InputError, match="time"):
        Smoother(1.0, time=0.0)


def test_sparsification_grows_when_truth_is_ignored():
    gain = Smoother(0.5).gain(torch.logspace(0, -2, 8, dtype=torch.float64))
    ratios = sparsification(gain * target_shares_along(gain, [0.0] * 5))
    assert (ratios.diff(dim=0) > 0).all()
    torch.testing.assert_close(ratios[5], (gain[:-1] / gain[1:]) ** 6)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000))
def test_best_weight_is_the_minimum_of_a_search(seed):
    generator = np.random.default_rng(seed)
    v, f, g = generator.standard_normal((3, 7, 2))
    found = optimal_alpha(v, f, g)
    searched = minimize_scalar(lambda a: np.square(v - a * f - (1 - a) * g).sum(), tol=1e-12).x
    assert found == pytest.approx(searched, abs=1e-5)
    slope = optimal_weight(v, f, g)
    x, y = (f - g).ravel(), (v - g).ravel()
    robust = np.sqrt(np.square(x * (y - slope.value * x)).sum()) / np.square(x).sum()
    assert slope.error == pytest.approx(robust)
    assert 0 <= optimal_alpha(v, f, g, clip=True) <= 1


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), dof=st.floats(0.05, 0.9), less=st.floats(0.01, 0.99))
def test_best_weight_of_generalised_cross_validation(seed, dof, less):
    first, pure = torch.from_numpy(np.random.default_rng(seed).standard_normal((2, 9, 1)))
    mixture = Mixture(first, pure, dof, dof * less)
    best = mixture.best().value
    grid = np.linspace(-50, 50, 1001)
    lowest = min(mixture.score(float(alpha)) for alpha in grid)
    if math.isfinite(best):
        assert mixture.score(best) <= lowest * (1 + 1e-9)
    else:  # it falls towards infinite weights
        assert mixture.score(-1e6) < lowest


def test_mean_of_the_error_of_the_weight_is_its_spread():
    """Monte Carlo: the standard error is that of the estimate over samples."""
    generator, found = np.random.default_rng(0), []
    for _ in range(400):
        x = generator.standard_normal(150)
        found.append(optimal_weight(1.7 * x + generator.standard_normal(150), x, np.zeros(150)))
    values = np.array([one.value for one in found])
    assert values.mean() == pytest.approx(1.7, abs=4 * values.std() / 20)
    assert np.mean([one.error for one in found]) == pytest.approx(values.std(), rel=0.15)


def test_weight_without_effect_and_bad_arrays():
    v = np.arange(4.0)
    assert optimal_alpha(v, v / 2, v / 2) == 1.0
    assert "no effect" in str(optimal_weight(v, v / 2, v / 2))
    assert optimal_weight(torch.tensor([1.0]), torch.tensor([1.0]), torch.tensor([0.0])).value == 1.0
    for arrays, message in (
        ((v, v[:3], v), "shape"),
        ((v[:0], v[:0], v[:0]), "no held-out"),
        ((v, v * np.nan, v), "not finite"),
    ):
        with pytest.raises(InputError, match=message):
            optimal_alpha(*arrays)


@pytest.mark.parametrize(
    ("value", "error", "reading"),
    [
        (2.0, 0.1, "over-regularised"),
        (0.1, 0.1, "under-regularised"),
        (2.0, 0.6, "about right"),
        (1.15, 0.01, "about right"),
        (math.nan, math.nan, "about right"),
        (-3.0, math.nan, "under-regularised"),
    ],
)
def test_reading(value, error, reading):
    assert OptimalWeight(value, error).reading == reading


def test_log_loss_weight_is_the_minimum_of_a_grid():
    generator = np.random.default_rng(3)
    teacher, student = generator.dirichlet(np.ones(4), (2, 60))
    labels = np.eye(4)[generator.integers(0, 4, 60)]
    grid = np.linspace(0, 1, 2001)
    losses = [-np.log(((a * teacher + (1 - a) * student) * labels).sum(1)).mean() for a in grid]
    assert optimal_alpha_of_log_loss(labels, teacher, student) == pytest.approx(grid[np.argmin(losses)], abs=1e-3)


@pytest.mark.parametrize("intercept", [False, True])
def test_leave_one_out_is_refitting_without_each_row(intercept):
    kernel, _, targets = problem(14)
    alphas = [0.3, -0.4, 0.8]
    expected = torch.zeros(4, 14, 2, dtype=torch.float64)
    for row in range(14):
        kept = [i for i in range(14) if i != row]
        cross = kernel[row][None, kept]
        expected[:, row] = refitted(kernel[kept][:, kept], cross, targets[kept], 0.4, alphas, intercept)[:, 0]
    fit = InitialFit.of(Basis.of_kernel(kernel, intercept), targets, Smoother(0.0))
    loo = LeaveOneOut(fit, targets)
    tuned = follow(loo, Smoother(0.4), alphas)
    np.testing.assert_allclose(tuned.scores, (targets - expected).square().mean((1, 2)), rtol=1e-9)
    limit = loo.start(Smoother(0.4)).limit(0.5)
    assert limit == pytest.approx(follow(loo, Smoother(0.8), []).score)
    with pytest.raises(InputError, match="ridge"):
        loo.start(Smoother(0.0))


def test_generalised_cross_validation_is_its_definition():
    kernel, _, targets = problem(20)
    fit = InitialFit.of(Basis.of_kernel(kernel, True), targets, Smoother(0.0))
    tuned = follow(GeneralizedCV(fit, 20), Smoother(0.5), [0.3, 0.6])
    hat = refitted(kernel, kernel, torch.eye(20, dtype=torch.float64), 0.5, [0.3, 0.6], True)
    unit = torch.eye(20, dtype=torch.float64)
    expected = [float(((unit - h) @ targets).square().mean() / (1 - h.trace() / 20) ** 2) for h in hat]
    np.testing.assert_allclose(tuned.scores, expected, rtol=1e-9)


def criteria():
    kernel, _, targets = problem(24)
    fit = InitialFit.of(Basis.of_kernel(kernel, True), targets, Smoother(0.0))
    order = np.random.default_rng(0).permutation(24)
    splits = [(np.delete(order, range(i, i + 6)), order[i : i + 6]) for i in range(0, 24, 6)]
    return {
        "folds": Folds.of(kernel, targets, splits, intercept=True),
        "gcv": GeneralizedCV(fit, 24),
        "loo": LeaveOneOut(fit, targets),
    }


@pytest.mark.parametrize("name", ["folds", "gcv", "loo"])
def test_greedy_weights_are_best_one_after_the_other(name):
    criterion = criteria()[name]
    tuned = follow(criterion, Smoother(0.2), [None] * 3)
    for step in range(3):
        before = list(tuned.alphas[:step])

        def score(alpha, before=before):
            return follow(criterion, Smoother(0.2), [*before, float(alpha[0])]).scores[-1]

        start = tuned.alphas[step]
        searched = minimize(score, [start + 0.3], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-14})
        assert searched.x[0] == pytest.approx(start, rel=1e-3, abs=1e-4)
        assert score([start]) == pytest.approx(tuned.scores[step + 1])
    assert tuned.score == min(tuned.scores)
    assert tuned.scores[1] <= tuned.scores[0] + 1e-12
    clipped = follow(criterion, Smoother(0.2), [None] * 3, clip=True)
    assert all(0 <= alpha <= 1 for alpha in clipped.alphas)


@pytest.mark.parametrize("name", ["folds", "gcv", "loo"])
def test_limit_of_the_best_weight_is_the_best_penalty(name):
    criterion = criteria()[name]
    tuned = follow_forever(criterion, Smoother(0.05), None, clip=True)
    amplified = [follow(criterion, Smoother(0.05 / float(a)), []).score for a in np.geomspace(1e-4, 1, 301)]
    assert tuned.score == pytest.approx(min(amplified), rel=1e-4)
    many = follow(criterion, Smoother(0.05), [tuned.alphas[0]] * 300)
    assert many.scores[-1] == pytest.approx(tuned.score, rel=1e-3)
