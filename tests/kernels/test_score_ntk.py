"""Closed forms, limits and invariances of the score regression, each against an independent route."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from sklearn.kernel_ridge import KernelRidge
from sklearn.utils.estimator_checks import parametrize_with_checks

from harmonia.core.errors import InputError
from harmonia.kernels.score_ntk import (
    GaussianOracle,
    KernelDiffusion,
    MixtureOracle,
    NTKScoreEstimator,
    Process,
    TwoLayerKernel,
    TwoLayerScoreNet,
    complexity_rule,
    dissect,
    draw_pairs,
    empirical_oracle,
    energy_distance,
    flow_gain,
    memorisation,
    three_gaussians,
)
from harmonia.kernels.score_ntk.flow import ExactDesign, NystromDesign
from harmonia.kernels.score_ntk.forms import GaussianForm, PaperForm
from harmonia.kernels.score_ntk.kernels import kernel_of
from harmonia.kernels.score_ntk.oracles import score_of
from harmonia.kernels.score_ntk.stopping import complexity, held_out_errors, leave_one_out_errors, path_errors

EYE = torch.eye(2, dtype=torch.float64)
REASON = "score is the gradient of a log-density, as in the literature, not scikit-learn's figure of merit"


@parametrize_with_checks(
    [NTKScoreEstimator(draws_per_point=1), NTKScoreEstimator("paper", draws_per_point=1, stop="loo", landmarks=10)],
    expected_failed_checks=lambda estimator: {
        "check_fit_score_takes_y": REASON,
        "check_pipeline_consistency": REASON,
        "check_n_features_in_after_fitting": REASON,
    },
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


def _pairs(n: int, seed: int = 0, draws: int = 1, spacing: str = "uniform"):
    generator, truth = torch.Generator().manual_seed(seed), three_gaussians()
    return draw_pairs(truth.process, truth.sample(n, generator), draws, (0.05, 3.0), spacing, generator)


@pytest.fixture(scope="module")
def fitted():
    data = three_gaussians().sample(60, torch.Generator().manual_seed(0)).numpy()
    return data, NTKScoreEstimator(draws_per_point=4, random_state=0).fit(data)


# The process


@pytest.mark.parametrize("schedule", ["vp", "linear"])
def test_clock_is_the_integral_of_the_rate(schedule):
    process = Process(schedule)
    rate = (lambda t: 1.0) if schedule == "vp" else (lambda t: 0.1 + 19.9 * t)
    for t in (1e-6, 0.02, 0.7):
        time = torch.tensor(t, dtype=torch.float64)
        assert float(process.clock(time)) == pytest.approx(quad(rate, 0, t)[0], rel=1e-12)
        assert float(process.time(process.clock(time))) == pytest.approx(t, rel=1e-12)
        assert float(process.alpha(time) ** 2 + process.h(time)) == pytest.approx(1, rel=1e-14)


def test_noisy_copies_have_the_marginals():
    data = torch.tensor([[2.0, -1.0]])
    pairs = draw_pairs(Process(), data, 40_000, (0.5, 0.5 + 1e-12), "log", torch.Generator().manual_seed(0))
    error = math.sqrt(float(Process().h(torch.tensor(0.5))) / 40_000)
    assert (pairs.x.mean(0) - math.exp(-0.25) * data[0]).abs().max() < 4 * error
    assert pairs.x.var(0) == pytest.approx(1 - math.exp(-0.5), rel=0.04)


# Oracles


def test_mixture_denoiser_is_the_posterior_mean_by_quadrature():
    oracle = MixtureOracle(torch.tensor([[-1.0], [2.0]]), 0.3, torch.tensor([0.3, 0.7]))
    for t, x in ((0.05, 0.4), (0.5, 1.0), (2.0, -1.5)):
        alpha, h = math.exp(-t / 2), 1 - math.exp(-t)

        def posterior(x0, power, x=x, alpha=alpha, h=h):
            prior = sum(w * math.exp(-((x0 - m) ** 2) / 0.18) for w, m in ((0.3, -1), (0.7, 2)))
            return x0**power * prior * math.exp(-((x - alpha * x0) ** 2) / (2 * h))

        above, below = (quad(posterior, -4, 5, args=(k,), points=[-1, 2], limit=200)[0] for k in (1, 0))
        found = oracle.denoise(torch.tensor([t]), torch.tensor([[x]]))
        assert float(found) == pytest.approx(above / below, rel=1e-6)


def test_tweedie_is_the_gradient_of_the_log_density():
    oracle = three_gaussians()
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    t = torch.linspace(0.1, 2, 20, dtype=torch.float64)
    alpha, h = oracle.process.alpha(t)[:, None], oracle.process.h(t)[:, None]
    v = alpha**2 * 0.15**2 + h
    distance = (x[:, None] - alpha[:, None] * oracle.means).square().sum(2)
    log_density = torch.logsumexp(-distance / (2 * v), 1) - v[:, 0].log()
    (gradient,) = torch.autograd.grad(log_density.sum(), x)
    torch.testing.assert_close(score_of(oracle.denoise(t, x.detach()), oracle.process, t, x.detach()), gradient)


def test_one_component_is_gaussian_and_no_scale_is_the_memoriser():
    t, x = torch.tensor([0.3, 1.0]), torch.randn(2, 2, generator=torch.Generator().manual_seed(0))
    one = MixtureOracle(torch.tensor([[1.0, 2.0]]), 0.5)
    gauss = GaussianOracle(torch.tensor([1.0, 2.0]), 0.25 * torch.eye(2))
    torch.testing.assert_close(one.denoise(t, x), gauss.denoise(t, x))
    data = torch.randn(30, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weights = torch.softmax(
        -(x[:, None] - Process().alpha(t)[:, None, None] * data).square().sum(2) / (2 * Process().h(t)[:, None]), 1
    )
    torch.testing.assert_close(empirical_oracle(data).denoise(t, x), weights.double() @ data, rtol=1e-6, atol=1e-6)


# Kernel and network


def test_kernel_is_the_mean_over_random_neurons():
    z = torch.tensor([[1.0, 0.5, -0.2], [0.3, -1.0, 0.7], [-1.0, -0.4, 0.1]], dtype=torch.float64)
    w = torch.randn(200_000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    active = (z @ w.T > 0).double()
    torch.testing.assert_close(TwoLayerKernel()(z), z @ z.T * (active @ active.T) / len(w), rtol=0.02, atol=0.004)


@given(scale=st.floats(0.01, 100))
@settings(max_examples=20, deadline=None)
def test_kernel_is_homogeneous(scale):
    z = torch.tensor([[1.0, 0.5], [0.3, -1.0]], dtype=torch.float64)
    torch.testing.assert_close(TwoLayerKernel()(scale * z, z), scale * TwoLayerKernel()(z, z))


def test_gram_of_a_network_is_that_of_its_gradients():
    net, z = TwoLayerScoreNet(16, 2), torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    rows = [torch.autograd.grad(net(z[p : p + 1])[0, i], net.weight)[0].flatten() for p in range(4) for i in range(2)]
    torch.testing.assert_close(net.gram(z), torch.stack(rows) @ torch.stack(rows).T)
    assert net(z).abs().max() < 1e-6  # paired neurons cancel


def test_first_step_of_the_network_is_gradient_descent():
    pairs, net, twin = _pairs(20), TwoLayerScoreNet(32, 2, seed=3), TwoLayerScoreNet(32, 2, seed=3)
    z = net.form.features(pairs.t, pairs.x).float()
    step = 0.5 / net.sharpness(z)
    loss = (twin(z) - pairs.x0.float()).square().sum() / 2
    loss.backward()
    assert net.fit(pairs, tau=step * 20, step=step) == 1
    torch.testing.assert_close(net.weight.data, twin.weight.data - step * twin.weight.grad, rtol=1e-4, atol=1e-5)
    assert net.score(pairs.t, pairs.x).shape == (20, 2)


# Flow


def test_flow_solves_its_differential_equation():
    pairs, form = _pairs(30), PaperForm(0.05, False)
    inputs = form.features(pairs.t, pairs.x)
    design = ExactDesign(TwoLayerKernel(), inputs)
    gram, f, tau = design.gram / 30, torch.zeros(30, 2, dtype=torch.float64), 5.0
    steps = 20_000
    for _ in range(steps):
        f = f - tau / steps * gram @ (f - pairs.x0)
    found = design.gram @ design.flow().coefficients(pairs.x0, [tau])[0]
    torch.testing.assert_close(found, f, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(design.flow().fitted(pairs.x0, tau), found)


@given(st.floats(1e-12, 10.0), st.floats(1e-3, 1e6))
@settings(max_examples=50, deadline=None)
def test_gain_is_the_integral_of_the_decay(value, tau):
    found = float(flow_gain(torch.tensor([value], dtype=torch.float64), tau)[0])
    assert found == pytest.approx(-math.expm1(-value * tau) / value, rel=1e-9)


def test_flow_interpolates_at_the_end_and_does_nothing_at_the_start():
    pairs = _pairs(40)
    flow = ExactDesign(TwoLayerKernel(), PaperForm(0.05, False).features(pairs.t, pairs.x)).flow()
    torch.testing.assert_close(flow.fitted(pairs.x0, math.inf), pairs.x0, rtol=1e-6, atol=1e-6)
    assert flow.fitted(pairs.x0, 1e-12).abs().max() < 1e-10


def test_all_landmarks_are_the_exact_kernel():
    pairs, form = _pairs(40, draws=2, spacing="log"), None
    form = GaussianForm.of(Process(), pairs.x0, bias=True)
    z, y = form.features(pairs.t, pairs.x), form.labels(pairs.t, pairs.x, pairs.x0)
    kernel = kernel_of("deep")
    exact, approximate = ExactDesign(kernel, z), NystromDesign(kernel, z, len(z), torch.Generator().manual_seed(0))
    rows, rest = torch.arange(50), torch.arange(50, 80)
    for tau in (1.0, 300.0):
        one, other = (d.cross(rest, rows) @ d.path(y[rows], [tau], rows)[0] for d in (exact, approximate))
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    one, other = (d.flow().fitted(y, 300.0) for d in (exact, approximate))
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        exact.flow().separate_coefficients(y, torch.tensor([3.0, 9.0])),
        torch.stack([exact.flow().coefficients(y, [tau])[0][:, k] for k, tau in enumerate((3.0, 9.0))], 1),
    )


# Stopping


def test_rule_is_at_the_crossing():
    values, n, sigma = torch.logspace(0, -6, 200, dtype=torch.float64), 200, 0.5
    tau = complexity_rule(values, n, sigma)
    assert complexity(values, n, tau**-0.5) == pytest.approx(1 / (2 * math.e * sigma * tau), rel=1e-9)
    assert complexity(values, n, (0.9 * tau) ** -0.5) < 1 / (2 * math.e * sigma * 0.9 * tau)
    assert complexity_rule(values, n, 0.0) == math.inf


def test_left_out_points_are_left_out():
    """Leaving data points out one by one equals folds of one, up to the change of N, for short and middle times."""
    pairs = _pairs(25, draws=2, spacing="log")
    form = GaussianForm.of(Process(), pairs.x0[::2], bias=True)
    z, y = form.features(pairs.t, pairs.x), form.labels(pairs.t, pairs.x, pairs.x0)
    design, taus = ExactDesign(kernel_of("deep"), z), [0.1, 1.0, 4.0]
    shortcut = leave_one_out_errors(design.flow(), y, 2, taus)
    folds = held_out_errors(design, y, pairs.source, taus, 25, torch.Generator().manual_seed(0))
    torch.testing.assert_close(shortcut, folds, rtol=0.05, atol=0)


def test_folds_keep_copies_together(monkeypatch):
    pairs = _pairs(10, draws=3)
    design = ExactDesign(TwoLayerKernel(), PaperForm(0.05, True).features(pairs.t, pairs.x))
    seen = []
    original = design.path
    monkeypatch.setattr(design, "path", lambda y, taus, rows: (seen.append(rows), original(y, taus, rows))[1])
    held_out_errors(design, pairs.x0, pairs.source, [1.0], 5, torch.Generator().manual_seed(0))
    for rows in seen:
        assert (pairs.source[rows].bincount(minlength=10) % 3 == 0).all()
    with pytest.raises(InputError, match="folds"):
        held_out_errors(design, pairs.x0, pairs.source, [1.0], 11, torch.Generator())


def test_ridge_on_the_same_spectrum_is_kernel_ridge():
    pairs = _pairs(50)
    z = PaperForm(0.05, True).features(pairs.t, pairs.x)
    flow = ExactDesign(TwoLayerKernel(), z).flow()
    ours = flow.vectors @ ((flow.values / (flow.values + 0.01))[:, None] * (flow.vectors.T @ pairs.x0))
    gram = TwoLayerKernel()(z).numpy()
    theirs = KernelRidge(alpha=0.01 * 50, kernel="precomputed").fit(gram, pairs.x0.numpy()).predict(gram)
    np.testing.assert_allclose(ours, theirs, atol=1e-8)


@pytest.mark.parametrize("stop", ["cv", "loo", "rule", "multi-noise", 7.0])
@pytest.mark.parametrize("landmarks", [None, 40])
def test_every_way_to_stop(stop, landmarks):
    data = three_gaussians().sample(30, torch.Generator().manual_seed(0)).numpy()
    model = NTKScoreEstimator(stop=stop, draws_per_point=3, landmarks=landmarks, random_state=0).fit(data)
    assert model.early_stop_.tau == (7.0 if stop == 7.0 else model.early_stop_.choices[stop])
    assert 0 < model.early_stop_.sigma < 2
    again = NTKScoreEstimator(stop=stop, draws_per_point=3, landmarks=landmarks, random_state=0).fit(data)
    np.testing.assert_array_equal(model.score(0.5, data), again.score(0.5, data))


def test_separate_times_of_equal_value_are_one_time(fitted):
    data, model = fitted
    np.testing.assert_allclose(model.stopped_at(model.early_stop_.tau).score(0.3, data), model.score(0.3, data))
    path = model.path_([model.early_stop_.tau, 1e4], 0.3, data)
    np.testing.assert_allclose(path[0], model.denoise(0.3, data), atol=1e-10)
    np.testing.assert_allclose(path[1], model.stopped_at(1e4).denoise(0.3, data), atol=1e-10)
    each = NTKScoreEstimator(draws_per_point=4, separate=True, random_state=0).fit(data)
    assert each.early_stop_.separate.shape == (2,)


# Forms and invariances


def test_labels_undo_denoised_and_have_unit_variance():
    pairs = _pairs(3000, spacing="log")
    form = GaussianForm.of(Process(), pairs.x0, bias=True)
    labels = form.labels(pairs.t, pairs.x, pairs.x0)
    torch.testing.assert_close(form.denoised(pairs.t, pairs.x, labels), pairs.x0)
    for part in labels[pairs.t.argsort()].split(1000):
        assert part.var(0) == pytest.approx(1, abs=0.15)
    isotropic = GaussianForm(Process(), *torch.zeros(1, 2, dtype=torch.float64), EYE, 0.5 * EYE[0] + 0.5 * EYE[1], True)
    t, x = torch.tensor([0.5], dtype=torch.float64), torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    v = math.exp(-0.5) * 0.5 + 1 - math.exp(-0.5)
    expected = torch.tensor([[3 / v**0.5, -6 / v**0.5, math.log(math.expm1(0.5)) / 2, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(isotropic.features(t, x), expected)


def test_shifts_and_rotations_of_the_data_move_the_score(fitted):
    data, model = fitted
    angle = np.array([[math.cos(1), -math.sin(1)], [math.sin(1), math.cos(1)]])
    form = model.form_
    t, x = model.pairs_.t, model.pairs_.x
    alpha = model.process_.alpha(t)[:, None]
    turn, shift = torch.from_numpy(angle), torch.tensor([0.3, -0.2], dtype=torch.float64)
    other = GaussianForm.of(model.process_, torch.from_numpy(data) @ turn + shift, True)
    moved = x @ turn + alpha * shift
    zero = torch.zeros_like(x)
    torch.testing.assert_close(
        other.denoised(t, moved, zero), form.denoised(t, x, zero) @ turn + shift, rtol=1e-8, atol=1e-8
    )
    torch.testing.assert_close(other.distance(t, moved), form.distance(t, x))


def test_far_away_the_score_is_gaussian_and_the_denoised_point_is_bounded(fitted):
    data, model = fitted
    far = 100 * np.ones((1, 2))
    t = 0.02
    assert np.linalg.norm(model.denoise(t, far) - data.mean(0)) <= model.radius_ * (1 + 1e-9)
    slow = NTKScoreEstimator(draws_per_point=4, radius=1e9, random_state=0).fit(data)
    gauss = GaussianOracle(torch.from_numpy(data.mean(0)), torch.from_numpy(np.cov(data.T, bias=True)))
    expected = gauss.denoise(torch.tensor([t]), torch.from_numpy(far))
    np.testing.assert_allclose(slow.denoise(t, far), expected, rtol=1e-6)


# Sampling


@pytest.mark.parametrize(("method", "steps"), [("sde", 100), ("ode", 50)])
def test_samplers_reach_a_known_gaussian(method, steps):
    covariance = torch.tensor([[1.0, 0.6], [0.6, 0.8]], dtype=torch.float64)
    truth = GaussianOracle(torch.tensor([0.5, -0.2], dtype=torch.float64), covariance)
    samples = KernelDiffusion(truth, (1e-3, 8.0)).sample(4000, steps, method, random_state=0)
    np.testing.assert_allclose(samples.mean(0), truth.mean, atol=0.06)
    np.testing.assert_allclose(np.cov(samples.T), covariance, atol=0.08)


def test_log_prob_of_a_known_gaussian():
    truth = GaussianOracle(torch.zeros(2, dtype=torch.float64), torch.diag(torch.tensor([0.5, 2.0])).double())
    x = truth.sample(20, torch.Generator().manual_seed(0))
    model = KernelDiffusion(truth, (0.01, 10.0))
    last = torch.distributions.MultivariateNormal(
        torch.zeros(2, dtype=torch.float64), math.exp(-0.01) * truth.covariance + (1 - math.exp(-0.01)) * torch.eye(2)
    )
    np.testing.assert_allclose(model.log_prob(x.numpy(), steps=100), last.log_prob(x), atol=5e-3)
    guess = model.log_prob(x.numpy(), steps=25, probes=200, random_state=0)
    np.testing.assert_allclose(guess, last.log_prob(x), atol=0.2)


def test_learnt_density_integrates_to_one(fitted):
    _, model = fitted
    axis = np.linspace(-2.4, 2.4, 31)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    mass = np.exp(KernelDiffusion(model).log_prob(grid, steps=40)).sum() * (axis[1] - axis[0]) ** 2
    assert mass == pytest.approx(1, abs=0.05)


def test_samples_repeat_and_differ_by_seed(fitted):
    data, model = fitted
    diffusion = KernelDiffusion(model)
    one, same, other = (diffusion.sample(50, 20, random_state=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).max() > 0.1
    assert diffusion.sample(3, 5, "ode", 0, denoise=True).shape == (3, 2)
    assert energy_distance(diffusion.sample(300, 50, random_state=0), data) < 0.15


def test_the_memoriser_returns_training_points():
    data = torch.randn(40, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fresh = torch.randn(40, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    samples = KernelDiffusion(empirical_oracle(data), (0.02, 4.0)).sample(50, 60, random_state=0, denoise=True)
    assert memorisation(samples, data.numpy(), fresh.numpy()).copies > 0.9
    assert memorisation(fresh.numpy(), data.numpy(), fresh.numpy()).copies == 0


# Dissection


def test_four_errors_bound_the_whole():
    for one in dissect(three_gaussians(), 80, [5.0, 200.0], [64], tests=400):
        parts = [one.coupling[64], one.label_mismatch, one.early_stopping, one.approximation]
        assert math.sqrt(one.network[64]) <= sum(map(math.sqrt, parts)) + 1e-9
        assert math.sqrt(one.kernel) <= sum(map(math.sqrt, parts[1:])) + 1e-9


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "best"}, "mode"),
        ({"kernel": "rbf"}, "kernel"),
        ({"schedule": "cosine"}, "schedule"),
        ({"t_range": (1.0, 0.5)}, "ascending"),
        ({"stop": "soon"}, "stop"),
        ({"stop": 0.0}, "positive"),
        ({"radius": -1.0}, "radius"),
        ({"draws_per_point": 0}, "draws_per_point"),
        ({"folds": 1}, "folds"),
    ],
)
def test_bad_parameters(options, message):
    with pytest.raises(InputError, match=message):
        NTKScoreEstimator(**options).fit(np.random.default_rng(0).standard_normal((20, 2)))


def test_bad_points(fitted):
    _, model = fitted
    with pytest.raises(ValueError, match="NaN"):
        NTKScoreEstimator().fit(np.array([[1.0], [np.nan]]))
    with pytest.raises(InputError, match="times must be"):
        model.score(100.0, np.zeros((1, 2)))
    with pytest.raises(InputError, match="differ in number"):
        model.score(np.array([0.5, 0.6]), np.zeros((3, 2)))
    with pytest.raises(InputError, match="rows of 2"):
        KernelDiffusion(model).log_prob(np.zeros((3, 5)))
    with pytest.raises(InputError, match="at least one"):
        KernelDiffusion(model).sample(0)
    with pytest.raises(InputError, match="sampler"):
        KernelDiffusion(model).sample(1, method="ancestral")
    with pytest.raises(InputError, match="t_range"):
        KernelDiffusion(three_gaussians())
    with pytest.raises(InputError, match="positive"):
        model.stopped_at(0.0)


def test_bad_networks():
    with pytest.raises(InputError, match="pairs"):
        TwoLayerScoreNet(3, 2)
    pairs, net = _pairs(10), TwoLayerScoreNet(8, 2)
    with pytest.raises(InputError, match="diverges"):
        net.fit(pairs, 1.0, step=1e6)
    with pytest.raises(InputError, match="training time"):
        net.fit(pairs, math.inf)


def test_warnings_name_what_is_wrong():
    generator = np.random.default_rng(0)
    with pytest.warns(UserWarning, match="few for"):
        NTKScoreEstimator(draws_per_point=1).fit(generator.standard_normal((15, 4)))
    heavy = generator.standard_normal((200, 1)) * 0.01
    heavy[0] = 3
    with pytest.warns(UserWarning, match="heavy tails"):
        NTKScoreEstimator(draws_per_point=1).fit(heavy)
    with pytest.warns(UserWarning, match="standardise"):
        NTKScoreEstimator(draws_per_point=1).fit(100 * generator.standard_normal((50, 1)))
    with pytest.warns(UserWarning, match="memorises"):
        NTKScoreEstimator(draws_per_point=1, stop=math.inf).fit(generator.standard_normal((30, 1)))


def test_duplicates_and_constants_do_not_break_it():
    data = np.repeat(np.random.default_rng(0).standard_normal((10, 2)), 5, axis=0)
    data = np.column_stack([data, np.ones(50)])
    model = NTKScoreEstimator(draws_per_point=2, random_state=0).fit(data)
    samples = KernelDiffusion(model).sample(20, 30, random_state=0, denoise=True)
    assert np.isfinite(samples).all()
    np.testing.assert_allclose(samples[:, 2], 1, atol=1e-3)


def test_path_errors_are_mean_squares():
    cross, coefficients = torch.randn(7, 5, dtype=torch.float64), torch.randn(3, 5, 2, dtype=torch.float64)
    targets = torch.randn(7, 2, dtype=torch.float64)
    expected = (torch.einsum("ma,tad->tmd", cross, coefficients) - targets).square().mean(1)
    torch.testing.assert_close(path_errors(cross, coefficients, targets), expected)
