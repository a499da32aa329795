"""Predictions of infinite ensembles against brute force and golden values of neural-tangents 0.6.5."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harmonia.core.errors import InputError
from harmonia.kernels.ntk.dynamics import function_space_flow, kernel_alignment, ntk_spectrum, stopping_time
from harmonia.kernels.ntk.networks import mlp
from harmonia.kernels.ntk.predict import GradientDescent, GradientFlow, InfiniteEnsemble


def positive(n: int, seed: int, floor: float = 0.3) -> torch.Tensor:
    root = torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return root @ root.T / n + floor * torch.eye(n, dtype=torch.float64)


@pytest.fixture
def problem():
    """Kernels of 12 training and 3 test points, and two outputs."""
    nngp, ntk = positive(15, 0), 3 * positive(15, 1)
    y = torch.randn(12, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return nngp, ntk, y


def test_golden_values_of_neural_tangents():
    """D-Erf-D with W_std 1.5 and b_std 0.3, neural-tangents 0.6.5 in float64."""
    x = torch.sin(torch.arange(1, 13, dtype=torch.float64)).reshape(3, 4)
    at = torch.cos(torch.arange(1, 9, dtype=torch.float64)).reshape(2, 4)
    y = torch.tensor([1.0, -1.0, 0.5])
    net = mlp(1, "erf")
    (nngp, ntk), (cross_nngp, cross_ntk) = net.kernel(x), net.kernel(at, x)
    tangent, bayesian = InfiniteEnsemble(nngp, y, ntk), InfiniteEnsemble(nngp, y)
    mean, covariance = tangent.predict(cross_ntk, cross_nngp, net.kernel(at, get="nngp"))
    for ours, theirs in (
        (mean, [0.6294163452, 0.3663599203]),
        (covariance, [0.009004128, 0.0169138171, 0.0169138171, 0.1607727517]),
        (tangent.predict(cross_ntk, training=GradientFlow(1.0)).mean, [0.5358429735, 0.2320647615]),
        (bayesian.predict(cross_nngp).mean, [0.6376757753, 0.3958560095]),
        (bayesian.predict(cross_nngp, training=GradientFlow(10.0)).mean, [0.6439436317, 0.3870939645]),
    ):
        np.testing.assert_allclose(ours.flatten(), theirs, atol=1e-9)


def rollout(ntk, start, y, steps, learning_rate, momentum=0.0, ridge=0.0):
    """f = start + Theta alpha trained by explicit steps on (1/2N)|f - y|^2 + (ridge/2N) |alpha|_Theta^2."""
    n, size = len(y), y.numel()
    alpha = torch.zeros_like(y)
    velocity = torch.zeros_like(y)
    for _ in range(steps):
        gradient = ((start + ntk @ alpha)[:n] - y + ridge * alpha) / size
        velocity = momentum * velocity + gradient
        alpha = alpha - learning_rate * velocity
    return start + ntk @ alpha


@pytest.mark.parametrize("momentum", [0.0, 0.8])
@pytest.mark.parametrize("ridge", [0.0, 0.5])
def test_gradient_descent_is_the_rollout(problem, momentum, ridge):
    nngp, ntk, y = problem
    training = GradientDescent(25, 3.0, momentum)
    ensemble = InfiniteEnsemble(nngp[:12, :12], y, ntk[:12, :12], ridge=ridge, ridge_mode="absolute")
    mean, _ = ensemble.predict(ntk[12:, :12], training=training)
    expected = rollout(ntk[:, :12], torch.zeros(15, 2, dtype=torch.float64), y, 25, 3.0, momentum, ridge)
    torch.testing.assert_close(mean, expected[12:], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("training", [GradientFlow(), GradientFlow(7.0), GradientDescent(9, 2.0, 0.5)])
def test_covariance_is_that_of_sampled_networks(problem, training):
    """f_t(x) = f_0(x) + A (y - f_0(X)) is linear in f_0 ~ N(0, K), so the covariance is B K B^T with B = [-A, I]."""
    nngp, ntk, y = problem
    ensemble = InfiniteEnsemble(nngp[:12, :12], y, ntk[:12, :12])
    mean, covariance = ensemble.predict(ntk[12:, :12], nngp[12:, :12], nngp[12:, 12:], training)
    basis = InfiniteEnsemble(nngp[:12, :12], torch.eye(12), ntk[:12, :12])
    time = training if not isinstance(training, GradientFlow) else GradientFlow(training.time * 6)  # N is 12 * 12 here
    if isinstance(training, GradientDescent):
        time = GradientDescent(training.steps, training.learning_rate * 6, training.momentum)
    a, _ = basis.predict(ntk[12:, :12], training=time)
    b = torch.cat([-a, torch.eye(3, dtype=torch.float64)], 1)
    torch.testing.assert_close(covariance, b @ nngp @ b.T, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(mean, a @ y, rtol=1e-9, atol=1e-10)
    _, variance = ensemble.predict(ntk[12:, :12], nngp[12:, :12], nngp[12:, 12:].diagonal(), training)
    torch.testing.assert_close(variance, covariance.diagonal(), rtol=1e-9, atol=1e-10)


def test_last_layer_at_infinity_is_gaussian_process_regression(problem):
    nngp, _, y = problem
    ensemble = InfiniteEnsemble(nngp[:12, :12], y, ridge=0.3, ridge_mode="absolute")
    mean, covariance = ensemble.predict(nngp[12:, :12], prior=nngp[12:, 12:])
    inverse = torch.linalg.inv(nngp[:12, :12] + 0.3 * torch.eye(12, dtype=torch.float64))
    torch.testing.assert_close(mean, nngp[12:, :12] @ inverse @ y)
    torch.testing.assert_close(covariance, nngp[12:, 12:] - nngp[12:, :12] @ inverse @ nngp[:12, 12:])
    normal = torch.distributions.MultivariateNormal(torch.zeros(12), nngp[:12, :12] + 0.3 * torch.eye(12))
    assert ensemble.log_marginal_likelihood() == pytest.approx(float(normal.log_prob(y.T).sum()), rel=1e-6)


def test_gradient_flow_is_the_limit_of_small_steps(problem):
    nngp, ntk, y = problem
    ensemble = InfiniteEnsemble(nngp[:12, :12], y, ntk[:12, :12])
    flow = ensemble.weights(GradientFlow(20.0))
    steps = ensemble.weights(GradientDescent(200_000, 1e-4))
    torch.testing.assert_close(flow, steps, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(ensemble.weights(GradientFlow(1e9)), ensemble.weights(), rtol=1e-9, atol=1e-12)
    assert ensemble.weights(GradientFlow(0.0)).abs().max() == 0


def test_relative_ridge_is_a_multiple_of_the_mean_diagonal(problem):
    nngp, ntk, y = problem
    relative = InfiniteEnsemble(nngp[:12, :12], y, ntk[:12, :12], ridge=0.1)
    absolute = float(ntk[:12, :12].diagonal().mean()) * 0.1
    assert relative.ridge == pytest.approx(absolute)


def test_leave_one_out_is_leaving_one_out(problem):
    nngp, ntk, y = problem
    ensemble = InfiniteEnsemble(nngp[:12, :12], y, ntk[:12, :12], ridge=0.2, ridge_mode="absolute")
    bayesian = InfiniteEnsemble(nngp[:12, :12], y, ridge=0.2, ridge_mode="absolute")
    ours, single = ensemble.leave_one_out(), bayesian.leave_one_out()
    for i in range(12):
        rest = [j for j in range(12) if j != i]
        without = InfiniteEnsemble(nngp[rest][:, rest], y[rest], ntk[rest][:, rest], ridge=0.2, ridge_mode="absolute")
        mean, variance = without.predict(ntk[i : i + 1, rest], nngp[i : i + 1, rest], nngp[i : i + 1, i])
        torch.testing.assert_close(ours.mean[i], mean[0])
        torch.testing.assert_close(ours.covariance[i], variance[0])
        prior = InfiniteEnsemble(nngp[rest][:, rest], y[rest], ridge=0.2, ridge_mode="absolute")
        mean, variance = prior.predict(nngp[i : i + 1, rest], prior=nngp[i : i + 1, i])
        torch.testing.assert_close(single.mean[i], mean[0])
        torch.testing.assert_close(single.covariance[i], variance[0])


def test_divergent_learning_rate_names_the_largest(problem):
    nngp, ntk, y = problem
    ensemble = InfiniteEnsemble(nngp[:12, :12], y, ntk[:12, :12])
    limit = ensemble.largest_learning_rate
    ensemble.weights(GradientDescent(5, 0.99 * limit))
    with pytest.raises(InputError, match="diverges"):
        ensemble.weights(GradientDescent(5, 1.01 * limit))
    ensemble.weights(GradientDescent(5, 1.5 * limit, momentum=0.9))


def test_contradicting_rows_are_named():
    kernel = torch.tensor([[2.0, 1.0, 2.0], [1.0, 2.0, 1.0], [2.0, 1.0, 2.0]])
    with pytest.raises(InputError, match="rows 0 and 2"):
        InfiniteEnsemble(kernel, torch.tensor([1.0, 0.0, -1.0])).weights()
    agreeing = InfiniteEnsemble(kernel, torch.tensor([1.0, 0.0, 1.0]))
    torch.testing.assert_close(agreeing.predict(kernel).mean.flatten(), torch.tensor([1.0, 0.0, 1.0]).double())
    InfiniteEnsemble(kernel, torch.tensor([1.0, 0.0, -1.0]), ridge=1e-3).weights()
    early = InfiniteEnsemble(kernel, torch.tensor([1.0, 0.0, -1.0])).weights(GradientFlow(1.0))
    assert early.isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ridge": -1.0}, "ridge"),
        ({"nngp": torch.full((3, 3), torch.nan)}, "not finite"),
        ({"nngp": torch.eye(4)}, "does not fit"),
    ],
)
def test_bad_ensembles(arguments, message):
    nngp = arguments.pop("nngp", torch.eye(3))
    with pytest.raises(InputError, match=message):
        InfiniteEnsemble(nngp, torch.ones(3), **arguments)


def test_bad_training():
    with pytest.raises(InputError, match="time"):
        GradientFlow(-1.0)
    with pytest.raises(InputError, match="gradient descent"):
        GradientDescent(1, 0.1, 1.0)
    with pytest.raises(InputError, match="both kernels"):
        InfiniteEnsemble(torch.eye(2), torch.ones(2), torch.eye(2)).predict(torch.eye(2), prior=torch.ones(2))


def test_function_space_flow_agrees_with_the_closed_form(problem):
    nngp, ntk, y = problem
    ensemble = InfiniteEnsemble(nngp[:12, :12], y, ntk[:12, :12])
    times = [0.0, 1.0, 5.0, 20.0]
    train, test = function_space_flow(
        lambda f: (f - y).square().sum() / (2 * y.numel()),
        torch.zeros_like(y),
        ntk[:12, :12],
        times,
        start_elsewhere=torch.zeros(3, 2),
        cross_ntk=ntk[12:, :12],
    )
    for step, time in enumerate(times):
        expected = ensemble.predict(ntk[:, :12], training=GradientFlow(time)).mean
        torch.testing.assert_close(torch.cat([train[step], test[step]]), expected, rtol=1e-4, atol=1e-5)


def test_function_space_flow_of_cross_entropy_separates_classes():
    kernel = torch.tensor([[1.0, 0.1], [0.1, 1.0]])
    labels = torch.tensor([0, 1])
    path, _ = function_space_flow(
        lambda f: torch.nn.functional.cross_entropy(f, labels), torch.zeros(2, 2), kernel, [0.0, 10.0, 100.0]
    )
    assert (path[-1].argmax(1) == labels).all()
    assert path[-1].softmax(1).amax(1).min() > 0.95
    with pytest.raises(InputError, match="ascend"):
        function_space_flow(lambda f: f.sum(), torch.zeros(2, 1), kernel, [1.0, 0.5])


def test_spectrum_and_alignment():
    kernel = positive(8, 5)
    y = torch.randn(8, generator=torch.Generator().manual_seed(0))
    spectrum = ntk_spectrum(kernel, y)
    rebuilt = spectrum.components * spectrum.eigenvalues @ spectrum.components.T
    torch.testing.assert_close(rebuilt, kernel)
    assert float(spectrum.power.sum()) == pytest.approx(1)
    assert spectrum.condition == pytest.approx(float(np.linalg.cond(kernel.numpy())))
    assert ntk_spectrum(torch.eye(5)).effective_rank == pytest.approx(5)
    assert ntk_spectrum(torch.zeros(2, 2)).condition == math.inf
    assert -1e-9 <= kernel_alignment(kernel, y) <= 1
    with pytest.raises(InputError, match="symmetric"):
        ntk_spectrum(torch.tensor([[1.0, 2.0], [0.0, 1.0]]))
    with pytest.raises(InputError, match="length"):
        ntk_spectrum(torch.eye(3), torch.ones(2))


def test_clean_targets_need_no_early_stop_and_noise_does():
    kernel = positive(30, 3)
    top = ntk_spectrum(kernel).components[:, :1]
    clean = stopping_time(InfiniteEnsemble(kernel, kernel @ top))
    assert clean.time == math.inf
    assert clean.errors.shape == clean.times.shape == (50,)
    noise = torch.randn(30, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert stopping_time(InfiniteEnsemble(kernel, kernel @ top + 3 * noise)).time < math.inf


def test_out_of_fold_is_retraining(problem):
    nngp, ntk, y = problem
    ensemble = InfiniteEnsemble(nngp[:12, :12], y, ntk[:12, :12], ridge=0.1, ridge_mode="absolute")
    every = ensemble.out_of_fold([GradientFlow(), GradientFlow(3.0)], folds=12, variance=True)
    torch.testing.assert_close(every.mean[0], ensemble.leave_one_out().mean)
    torch.testing.assert_close(every.covariance[0], ensemble.leave_one_out().covariance)
    rest = list(range(1, 12))
    without = InfiniteEnsemble(nngp[rest][:, rest], y[rest], ntk[rest][:, rest], ridge=0.1, ridge_mode="absolute")
    torch.testing.assert_close(every.mean[1, 0], without.predict(ntk[:1, rest], training=GradientFlow(3.0)).mean[0])
    with pytest.raises(InputError, match="folds"):
        ensemble.out_of_fold([GradientFlow()], folds=13)


def test_both_solvers_agree(problem):
    nngp, ntk, y = problem
    direct = InfiniteEnsemble(nngp[:12, :12], y, ntk[:12, :12], ridge=0.2, ridge_mode="absolute")
    by_eigenvalues = InfiniteEnsemble(nngp[:12, :12], y, ntk[:12, :12]).with_ridge(0.2)
    for ours, theirs in zip(
        direct.predict(ntk[12:, :12], nngp[12:, :12], nngp[12:, 12:]),
        by_eigenvalues.predict(ntk[12:, :12], nngp[12:, :12], nngp[12:, 12:]),
    ):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(direct.leave_one_out().mean, by_eigenvalues.leave_one_out().mean)
