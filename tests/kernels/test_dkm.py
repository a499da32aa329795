"""Layers and machines against dense formulas, limits and other routes to the same numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch.distributions import MultivariateNormal, kl_divergence

from harmonia.core.errors import InputError
from harmonia.kernels.dkm import (
    ArcCosineGramKernel,
    DeepKernelMachine,
    DeepKernelMachineConfig,
    GramLayer,
    GramNorm,
    GramTriple,
    InducingOutput,
    LinearGramKernel,
    NormalizedGaussianGramKernel,
    SqExpGramKernel,
    gram_kl,
    load_official,
    solve_dkm,
)
from harmonia.kernels.dkm.collapsed import Sums, best_posterior, collapsed_bound
from harmonia.kernels.dkm.finite import bartlett_energy, posterior_means
from harmonia.kernels.dkm.fitting import normal_points
from harmonia.kernels.dkm.gram_layer import not_negative, taylor_divergence
from harmonia.kernels.dkm.official import official_names
from harmonia.kernels.dkm.optimise import minimise
from harmonia.kernels.dkm.output import categorical_expectation, categorical_prediction, gaussian_expectation
from harmonia.kernels.dkm.triple import triangle, untriangle
from harmonia.kernels.dkm.uci import read_split
from harmonia.parts.gram import ArcCosine, Marginals, SquaredExponential


def normal(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def spd(size, seed=0):
    root = normal(size, size, seed=seed)
    return root @ root.T / size + 0.3 * torch.eye(size, dtype=torch.float64)


def triple(size=6, rows=9, seed=0):
    whole = spd(size + rows, seed)
    return GramTriple(whole[:size, :size], whole[size:, :size], whole.diagonal()[size:])


@pytest.mark.parametrize(
    ("kernel", "features"),
    [
        (ArcCosineGramKernel(0.0, bias=1e-15), ArcCosine(1)),
        (SqExpGramKernel(0.0), SquaredExponential()),
        (LinearGramKernel(0.0), lambda a, b=None: a @ (a if b is None else b).T),
    ],
    ids=["relu", "sqexp", "linear"],
)
def test_kernels_of_gram_matrices_are_kernels_of_features(kernel, features):
    z, x = normal(5, 3), normal(7, 3, seed=1)
    found = kernel(GramTriple(z @ z.T, x @ z.T, x.square().sum(1)))
    torch.testing.assert_close(found.ii, features(z), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.ti, features(x, z), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.t, features(x).diagonal(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("make", [ArcCosineGramKernel, SqExpGramKernel, NormalizedGaussianGramKernel, LinearGramKernel])
def test_jitter_is_noise_on_every_point(make):
    given = triple()
    clean, noisy = make(0.0)(given), make(1e-3)(given)
    assert (noisy.t > clean.t).all()
    assert torch.linalg.eigvalsh(noisy.ii).min() > torch.linalg.eigvalsh(clean.ii).min()
    assert torch.autograd.gradcheck(lambda ii: make(1e-4).inducing((ii + ii.T) / 2)[0], given.ii.requires_grad_())


def test_the_arc_cosine_of_a_point_with_itself_has_a_gradient():
    x = torch.ones(2, 2, dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(ArcCosineGramKernel(0.0).inducing(x)[0].sum(), x)[0]
    assert slope.isfinite().all()


def test_a_point_without_length_has_the_kernel_of_its_neighbours():
    """The normalised Gaussian kernel of lengths that go to 0 goes to 0: no NaN there, in values or in gradients."""
    z = torch.tensor([[0.0, 0.0], [1.0, 2.0], [-1.0, 0.5]], dtype=torch.float64, requires_grad=True)
    kernel = NormalizedGaussianGramKernel(0.0)
    found, near = (kernel.inducing(x @ x.T)[0] for x in (z, z + 1e-9))
    torch.testing.assert_close(found, near, atol=1e-8, rtol=0)
    assert torch.linalg.eigvalsh(found.detach()).min() > -1e-12
    x = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    ti, t = kernel.points(x @ z.T, x.square().sum(1), z.square().sum(1))
    for value in (found, ti, t):
        slopes = torch.autograd.grad(value.sum(), [z, x], retain_graph=True, allow_unused=True)
        assert all(s.isfinite().all() for s in slopes if s is not None)


def test_a_layer_is_conditioning_on_its_inducing_points():
    size, rows = 6, 4
    whole = spd(size + rows)
    layer = GramLayer(size, dof=0.7)
    with torch.no_grad():
        layer.V.copy_(0.3 * normal(size, size, seed=2))
    found = layer(GramTriple(whole[:size, :size], whole[size:, :size], whole.diagonal()[size:]))
    gain = torch.linalg.solve(whole[:size, :size], whole[:size, size:]).T
    expected = whole[size:, size:] + gain @ (found.ii - whole[:size, :size]) @ gain.T
    torch.testing.assert_close(found.ti, gain @ found.ii)
    torch.testing.assert_close(found.t, expected.diagonal())
    zero = torch.zeros(size, dtype=torch.float64)
    kl = kl_divergence(MultivariateNormal(zero, found.ii), MultivariateNormal(zero, whole[:size, :size]))
    torch.testing.assert_close(layer.divergence(), 0.7 * kl)
    torch.testing.assert_close(gram_kl(found.ii, whole[:size, :size]), kl)


def test_both_parametrisations_start_at_the_kernel():
    given = triple()
    for relative in (True, False):
        layer = GramLayer(6, 1.0, relative=relative)
        found = layer(given)
        for ours, before in zip(found, given):
            torch.testing.assert_close(ours, before)
        assert float(layer.divergence().detach()) == pytest.approx(0, abs=1e-10)
        assert layer.V.isfinite().all()
    kept = layer.V.clone()
    layer(triple(seed=5))
    torch.testing.assert_close(layer.V, kept)  # only the first pass copies
    torch.testing.assert_close(triangle(untriangle(torch.linalg.cholesky(given.ii))), torch.linalg.cholesky(given.ii))


def test_taylor_is_the_divergence_to_second_order_where_matrices_commute():
    k = spd(5)
    for step in (1e-2, 1e-3):
        g = k + step * k @ k
        exact, close = gram_kl(g, k), taylor_divergence(torch.linalg.cholesky(g), k)
        assert abs(float(close / exact) - 1) < 10 * step
        other = k + step * spd(5, seed=3)
        assert taylor_divergence(torch.linalg.cholesky(other), k) > gram_kl(other, k)
    relative = torch.linalg.solve(g, k) - torch.eye(5, dtype=torch.float64)
    torch.testing.assert_close(close, relative.square().sum() / 4)


def test_wishart_noise_is_around_the_matrix_and_only_in_training():
    layer = GramLayer(5, 1.0, wishart=4.0, floor=0.1)
    k = spd(5)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer.train()
        draws = torch.stack([layer.inducing(k)[0] for _ in range(1500)]).detach()
    unit = torch.eye(5, dtype=torch.float64)
    torch.testing.assert_close(draws.mean(0), k + 0.1 * unit, rtol=0.05, atol=0.02)
    # Var W_ij = (G_ij^2 + G_ii G_jj) / columns
    expected = (k.square() + k.diagonal()[:, None] * k.diagonal()) / 20
    torch.testing.assert_close(draws.var(0), expected, rtol=0.2, atol=0.005)
    layer.eval()
    torch.testing.assert_close(layer.inducing(k)[0], k + 0.1 * unit)
    assert float(layer.divergence().detach()) == pytest.approx(0, abs=1e-10)  # the price is of the matrix without noise
    # ceil(P share) columns with fewer than P still give a positive definite matrix.
    low = GramLayer(5, 1.0, wishart=0.25).train()
    assert torch.linalg.eigvalsh(low.inducing(k)[0]).min() > 0.09


@pytest.mark.parametrize("t_norm", ["none", "inducing", "global", "local"])
@pytest.mark.parametrize("i_norm", ["none", "global"])
def test_norms_are_scalings_of_features(i_norm, t_norm):
    z, x = normal(6, 3), normal(9, 3, seed=1)
    given = GramTriple(z @ z.T, x @ z.T, x.square().sum(1))
    norm = GramNorm(i_norm, t_norm, "local", "global", size=6).train()
    with torch.no_grad():
        norm.i_logscale.copy_(torch.linspace(-1, 1, 6))
        norm.t_logscale.fill_(0.4)
    sizes = {"none": 1.0, "global": given.ii.diagonal().mean().sqrt()}
    a = z * norm.i_logscale.exp()[:, None] / sizes[i_norm]
    of = {
        "none": torch.ones(9),
        "inducing": torch.as_tensor(sizes[i_norm]).expand(9),
        "global": given.t.mean().sqrt().expand(9),
        "local": given.t.sqrt(),
    }[t_norm]
    b = x * math.exp(0.4) / of[:, None]
    found = norm(given)
    for ours, theirs in zip(found, (a @ a.T, b @ a.T, b.square().sum(1))):
        torch.testing.assert_close(ours, theirs)
    norm.eval()
    alone = norm(GramTriple(given.ii, given.ti[:1], given.t[:1]))
    torch.testing.assert_close(alone.ti, found.ti[:1])
    torch.testing.assert_close(alone.t, found.t[:1])


def test_statistics_of_the_batch_are_for_parity_and_are_refused_without_training():
    given = triple()
    fresh = GramNorm("global", "global").eval()
    with pytest.raises(InputError, match="never trained"):
        fresh(given)
    official = GramNorm("global", "global", batch_stats=True).eval()
    alone = official(GramTriple(given.ii, given.ti[:1], given.t[:1]))
    assert abs(alone.t[0] - official(given).t[0]) > 1e-3
    for options in ({"t_norm": "batch"}, {"i_norm": "local", "t_norm": "inducing"}):
        with pytest.raises(InputError):
            GramNorm(**options)


def test_the_collapsed_bound_is_the_best_of_all_posteriors():
    given = triple(5, 12)
    y, noise = normal(12, 2, seed=4), torch.tensor(0.2, dtype=torch.float64)
    output = InducingOutput(5, 2)
    whitening = output.inducing(given.ii).inverse
    features = given.ti @ whitening.T
    sums = Sums.of(features, given.t, y)
    best = float(collapsed_bound(sums, noise))

    def bound():
        known = output.inducing(given.ii)
        expected = gaussian_expectation(output.points(given.ti, given.t, known), y, noise).sum()
        return output.divergence() - expected

    found = minimise(bound, output.parameters(), 500, tolerance=1e-14)
    assert -found.value == pytest.approx(best, abs=1e-6)
    posterior = best_posterior(sums, noise, whitening)
    torch.testing.assert_close(output.mu.detach(), posterior.mean, rtol=1e-3, atol=1e-4)
    # Where the features explain everything the bound is the evidence.
    exact = Sums.of(features, features.square().sum(1), y)
    covariance = (features @ features.T + 0.2 * torch.eye(12)).detach().numpy()
    evidence = sum(multivariate_normal(cov=covariance).logpdf(column) for column in y.numpy().T)
    assert float(collapsed_bound(exact, noise)) == pytest.approx(evidence)
    parts = Sums.of(features[:5], given.t[:5], y[:5]) + Sums.of(features[5:], given.t[5:], y[5:])
    assert float(collapsed_bound(parts, noise)) == pytest.approx(best)


def test_expected_likelihoods():
    marginals = Marginals(normal(4, 3), normal(4, seed=1).square())
    y, noise = normal(4, 3, seed=2), torch.tensor(0.5, dtype=torch.float64)
    draws = normal_points(20_000, 3, seed=0)
    f = marginals.mean + marginals.variance.sqrt()[:, None] * draws
    sampled = torch.distributions.Normal(f, math.sqrt(0.5)).log_prob(y).mean(0).sum(1)
    torch.testing.assert_close(gaussian_expectation(marginals, y, noise), sampled, rtol=2e-3, atol=2e-3)
    labels = torch.tensor([0, 2, 1, 1])
    many = normal(200_000, 1, 3, seed=5)
    few = normal_points(32, 3, seed=0)
    torch.testing.assert_close(
        categorical_expectation(marginals, labels, few),
        categorical_expectation(marginals, labels, many),
        rtol=0.05,
        atol=0.03,
    )
    shares = categorical_prediction(marginals, many)
    torch.testing.assert_close(shares.sum(1), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(categorical_prediction(marginals, few), shares, rtol=0.1, atol=0.02)


def test_the_whole_objective_has_the_right_gradient():
    x = normal(7, 2)
    machine = DeepKernelMachine(DeepKernelMachineConfig(2, 1, 4, n_layers=1), x[:4])
    names, values = zip(*[(n, p.detach() + 0.1) for n, p in machine.named_parameters() if p.requires_grad])

    def objective(*parameters):
        found = torch.func.functional_call(machine, dict(zip(names, parameters)), (x,))
        return found.mean.sum(), found.variance.sum()

    assert torch.autograd.gradcheck(objective, [v.requires_grad_() for v in values], atol=1e-5)


def test_float32_works_with_the_official_jitter_and_noise():
    config = DeepKernelMachineConfig(3, 2, 20, objective="taylor", wishart=0.25, relative=False)
    machine = DeepKernelMachine(config, normal(20, 3)).float().train()
    found = machine(normal(30, 3, seed=1).float())
    assert found.mean.dtype == torch.float32
    assert found.variance.isfinite().all()


def test_negative_variances():
    assert float(not_negative(torch.tensor([1.0, -1e-9]), "a layer").min()) == 0
    with pytest.raises(InputError, match="became negative"):
        not_negative(torch.tensor([1.0, -0.1], dtype=torch.float64), "a layer")
    with pytest.raises(InputError, match="not positive definite"):
        GramLayer(2, 1.0).inducing(-torch.eye(2, dtype=torch.float64))
    machine = DeepKernelMachine(DeepKernelMachineConfig(2, 1, 3, n_layers=2), normal(3, 2))
    for number, layer in enumerate(machine.gram_layers(), 1):
        known = layer.inducing(spd(3))[1]
        with pytest.raises(InputError, match=f"layer {number}"):
            layer.points(normal(4, 3), -torch.ones(4, dtype=torch.float64), known)


def test_what_an_objective_refuses_at_its_start_is_told_in_its_words():
    def objective():
        raise InputError("the sizes do not fit", 3, "Change them.")

    with pytest.raises(InputError, match="the sizes do not fit"):
        minimise(objective, [torch.nn.Parameter(torch.zeros(1))], 5)


def test_machines_are_saved_and_loaded(tmp_path):
    config = DeepKernelMachineConfig(3, 2, 5, dof=math.inf, kernel="sqexp")
    machine = DeepKernelMachine(config, normal(5, 3))
    with torch.no_grad():
        machine.output.mu.copy_(normal(5, 2))
    machine.save_pretrained(tmp_path)
    again = DeepKernelMachine.from_pretrained(tmp_path)
    assert again.config == config
    x = normal(4, 3, seed=1)
    torch.testing.assert_close(again(x), machine(x), rtol=0, atol=0)
    with pytest.raises(InputError, match="depth"):
        DeepKernelMachine({"features": 3, "outputs": 1, "n_inducing": 5, "depth": 2})


def test_the_full_optimum_is_stationary_from_both_starts():
    x, y = normal(6, 2), normal(6, 1, seed=1)
    found = [solve_dkm(x, y, dof=[0.5, 2.0], start=start) for start in ("nngp", "geodesic")]
    assert found[0].objective == pytest.approx(found[1].objective, abs=1e-5)
    torch.testing.assert_close(found[0].top, found[1].top, rtol=1e-2, atol=1e-3)
    assert solve_dkm(x, y, dof=np.int64(1)).objective == solve_dkm(x, y, dof=1.0).objective
    free, dear = (solve_dkm(x, y, dof=dof).objective for dof in (0.1, 10.0))
    assert free > found[0].objective > dear
    for call in (
        lambda: solve_dkm(x, y[:4]),
        lambda: solve_dkm(x, y, noise=0.0),
        lambda: solve_dkm(x, y, dof=-1.0),
        lambda: solve_dkm(x, y, kernel="cubic"),
        lambda: solve_dkm(x, y, start="foo"),
        lambda: solve_dkm(x, y, n_layers=2, dof=[1.0, 1.0, 1.0]),
        lambda: solve_dkm(x, y, n_layers=-1),
        lambda: solve_dkm(x, y[:, 0]),
        lambda: solve_dkm(x[:, 0], y),
        lambda: solve_dkm(x * math.nan, y),
        lambda: solve_dkm(x, y * math.inf),
    ):
        with pytest.raises(InputError):
            call()


def test_bartletts_energy_is_the_wishart_density():
    """Ratios of densities of W = R R^T, with the Jacobian 2^p prod r_ii^(p - i + 1), and r_ii by its logarithm."""
    from scipy.stats import wishart

    width, values = 9, []
    for seed in range(3):
        v = 0.3 * normal(4, 4, seed=seed)
        r = triangle(v)
        logs = v.diagonal()
        powers = torch.arange(4, 0, -1, dtype=torch.float64)
        density = wishart(df=width, scale=np.eye(4) / width).logpdf((r @ r.T).numpy())
        values.append(float(bartlett_energy(v, width)) + density + float((powers * logs).sum() + logs.sum()))
    np.testing.assert_allclose(values, values[0], rtol=1e-10)


def test_prior_means_of_gram_matrices_are_the_kernel():
    """Without a likelihood E[G_1] = K(G_0), at any width."""
    first = spd(3)
    kernel = LinearGramKernel(0.0)
    found = posterior_means(
        first,
        kernel,
        lambda gram: gram.sum() * 0.0,
        1,
        6,
        start=[torch.zeros(3, 3, dtype=torch.float64)],
        draws=400,
        burn=60,
        steps=5,
        generator=torch.Generator().manual_seed(0),
    )
    torch.testing.assert_close(found.gram_matrices[0], first, rtol=0.2, atol=0.1)
    assert 0.6 < found.accepted < 0.99
    with pytest.raises(InputError, match="as many units"):
        posterior_means(first, kernel, lambda gram: gram.sum(), 1, 2, start=[], generator=torch.Generator())


def official_machine(**options):
    config = DeepKernelMachineConfig(
        2, 1, 3, n_layers=1, t_norm="global", t_scale="global", relative=False, batch_stats=True, **options
    )
    return DeepKernelMachine(config, normal(3, 2))


def test_official_state_dicts_load_strictly():
    machine = official_machine()
    state = {name: torch.full_like(value, 0.1 * i) for i, (name, value) in enumerate(official_names(machine))}
    assert set(state) == {
        "f2g.Xi",
        "kernels.0.log_bias_var",
        "kernels.0.log_weight_var",
        "grams.0.V",
        "norms.0.i_scale.i_logscale",
        "norms.0.t_scale.t_logscale",
        "kernels.1.log_bias_var",
        "kernels.1.log_weight_var",
        "output.mu",
        "output.V",
    }
    load_official(machine, {**state, "grams.0.latent_Gscale": torch.zeros(())})
    for name, value in official_names(machine):
        torch.testing.assert_close(value.detach(), state[name])
    kept = machine.gram_layers()[0].V.clone()
    machine.frozen()
    torch.testing.assert_close(machine.gram_layers()[0].V, kept)  # the first pass does not overwrite what was loaded
    with pytest.raises(InputError, match="unknown extra"):
        load_official(machine, {**state, "extra": torch.zeros(1)})
    with pytest.raises(InputError, match=r"missing grams\.0\.V"):
        load_official(machine, {k: v for k, v in state.items() if k != "grams.0.V"})
    with pytest.raises(InputError, match="another shape"):
        load_official(machine, {**state, "f2g.Xi": torch.ones(3, 2), "output.mu": torch.zeros(4, 1)})
    torch.testing.assert_close(machine.entry.Xi.detach(), state["f2g.Xi"])  # what is refused changes nothing
    with pytest.raises(InputError, match="scales of their own"):
        load_official(DeepKernelMachine(DeepKernelMachineConfig(2, 1, 3, n_layers=1, relative=False)), state)
    with pytest.raises(InputError, match="relative"):
        load_official(DeepKernelMachine(DeepKernelMachineConfig(2, 1, 3)), state)


def test_splits_are_read_in_the_published_layout(tmp_path):
    folder = tmp_path / "yacht"
    folder.mkdir()
    data = np.arange(20.0).reshape(5, 4)
    np.savetxt(folder / "data.txt", data)
    for name, values in (("features", [0, 1, 2]), ("target", [3]), ("train_0", [0, 1, 4]), ("test_0", [2, 3])):
        np.savetxt(folder / f"index_{name}.txt", values)
    split = read_split(tmp_path, "yacht", 0)
    np.testing.assert_array_equal(split.x, data[[0, 1, 4], :3])
    np.testing.assert_array_equal(split.y_test, [11.0, 15.0])
    with pytest.raises(InputError, match="not there"):
        read_split(tmp_path, "yacht", 1)
    np.savetxt(folder / "index_test_0.txt", [9])
    with pytest.raises(InputError, match="do not fit"):
        read_split(tmp_path, "yacht", 0)
    (folder / "data.txt").write_text("a b")
    with pytest.raises(InputError, match="no numbers"):
        read_split(tmp_path, "yacht", 0)


@pytest.mark.parametrize(
    "options",
    [{"features": 0}, {"n_layers": -1}, {"kernel": "cubic"}, {"dof": -1.0}, {"jitter": -1.0}, {"wishart": -0.1}],
    ids=lambda o: next(iter(o)),
)
def test_bad_sizes(options):
    with pytest.raises(InputError):
        DeepKernelMachine(DeepKernelMachineConfig(**{"features": 2, "outputs": 1, "n_inducing": 3, **options}))
    with pytest.raises(InputError, match="do not fit"):
        DeepKernelMachine(DeepKernelMachineConfig(2, 1, 3), normal(4, 2))
