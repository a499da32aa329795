"""Scale mixtures against closed forms, scipy's distributions, Monte Carlo, and each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate as scipy_integrate
from scipy import special, stats

from harmonia.core.errors import InputError
from harmonia.kernels import infwidth
from harmonia.kernels.scale_mixtures import (
    BetaPrime,
    BurrXII,
    Discrete,
    FromDensity,
    Gamma,
    HalfCauchy,
    InverseGamma,
    LogNormal,
    NormalMixture,
    PointMass,
    ScaleMixtureEnsemble,
    ScaleMixtureProcess,
    StudentT,
    as_covariance,
    nngp_trained_limit,
    read_uci,
)
from harmonia.kernels.scale_mixtures.finite import random_erf_networks
from harmonia.kernels.scale_mixtures.process import importance_sampled

PRIORS = [
    InverseGamma(1.5, 3.0),
    Gamma(2.0, 1.0),
    BurrXII(1.5, 2.0),
    BetaPrime(2.0, 3.0, 0.5),
    LogNormal(0.3, 0.7),
    HalfCauchy(2.0),
]


def by_name(value):
    return type(value).__name__


@pytest.mark.parametrize("prior", PRIORS, ids=by_name)
@pytest.mark.parametrize(("count", "q"), [(1, 0.5), (7, 20.0), (400, 300.0)])
def test_evidence_is_the_integral(prior, count, q):
    """Against scipy's adaptive quadrature in s2 itself, rescaled at the likelihood's peak."""
    peak = q / count

    def integrand(u):
        s2 = peak * np.exp(u)
        ratio = -count / 2 * u - q / 2 * (1 / s2 - 1 / peak)
        return np.exp(prior.frozen.logpdf(s2) + ratio) * s2

    found = scipy_integrate.quad(integrand, -30, 40, points=[-1, 0, 1, 5], epsabs=0, epsrel=1e-11, limit=500)[0]
    expected = math.log(found) - count / 2 * math.log(2 * math.pi * peak) - q / (2 * peak)
    assert float(prior.log_marginal(count, q)) == pytest.approx(expected, rel=1e-9)
    assert float(prior.log_marginal(0, 0.0)) == pytest.approx(0, abs=1e-12)


def test_gamma_prior_is_a_bessel_function():
    """``int x^(a-1-n/2) exp(-r x - q / 2x) dx = 2 (q / 2r)^((a - n/2) / 2) K_(a - n/2)(sqrt(2 r q))``."""
    a, r, count, q = 2.5, 1.7, 3, 4.0
    order = a - count / 2
    integral = 2 * (q / (2 * r)) ** (order / 2) * special.kv(order, math.sqrt(2 * r * q))
    expected = a * math.log(r) - special.gammaln(a) - count / 2 * math.log(2 * math.pi) + math.log(integral)
    assert float(Gamma(a, r).log_marginal(count, q)) == pytest.approx(expected, abs=1e-12)


def test_half_cauchy_is_of_s():
    draws = np.sqrt(HalfCauchy(2.0).sample(20_000, np.random.default_rng(0)))
    assert stats.kstest(draws, stats.halfcauchy(scale=2.0).cdf).pvalue > 0.01


def test_one_target_by_hand():
    """n = 1: a = b = 2, k = 1, noise 0.5, y = 3: q = 6, posterior IG(2.5, 5), t_5 with squared scale 2 (1 - 2/3)."""
    one = torch.ones(1, 1, dtype=torch.float64)
    process = ScaleMixtureProcess(one, 3 * one, InverseGamma(2.0, 2.0), noise=0.5)
    dist = process.marginal(*process.condition(one, one[0]), noise=0.0)
    assert (process.posterior.a, round(process.posterior.b, 12)) == (2.5, 5.0)
    assert float(dist.df) == 5
    np.testing.assert_allclose([dist.mean, dist.scale**2], [[[2.0]], [[2 / 3]]])
    expected = stats.t(4, scale=math.sqrt(1.5)).logpdf(3)
    assert process.log_marginal_likelihood == pytest.approx(expected, abs=1e-12)


@pytest.fixture(scope="module")
def problem():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(14, 3, dtype=torch.float64, generator=generator)
    kernel = infwidth.Sequential(infwidth.Dense(1.5, 0.3), infwidth.Erf(), infwidth.Dense()).kernel(x, get="nngp")
    return kernel, torch.randn(14, 2, dtype=torch.float64, generator=generator)


def test_outputs_share_the_scale(problem):
    """Two outputs are one multivariate t of twice the size, with a block-diagonal shape."""
    kernel, y = problem
    process = ScaleMixtureProcess(kernel[:10, :10], y[:10], InverseGamma(2.0, 3.0), noise=0.2)
    shifted = (kernel[:10, :10] + 0.2 * torch.eye(10, dtype=torch.float64)).numpy()
    shape = 1.5 * np.kron(np.eye(2), shifted)
    expected = stats.multivariate_t(shape=shape, df=4).logpdf(y[:10].T.numpy().ravel())
    assert process.log_marginal_likelihood == pytest.approx(expected, abs=1e-10)
    assert process.posterior.a == 2 + 20 / 2


@pytest.mark.parametrize("prior", [InverseGamma(2.0, 2.0), BurrXII(2.0, 1.5), PointMass(0.7)], ids=by_name)
def test_left_out_rows_are_what_the_others_predict(problem, prior):
    kernel, y = problem
    whole = ScaleMixtureProcess(kernel, y, prior, noise=0.1)
    dist = whole.left_out()
    for i in (0, 5, 13):
        rest = torch.arange(14) != i
        part = ScaleMixtureProcess(kernel[rest][:, rest], y[rest], prior, noise=0.1)
        own = kernel[i, i].reshape(1)
        alone = part.marginal(*part.condition(kernel[i : i + 1, rest], own), noise=0.1)
        np.testing.assert_allclose(dist.log_prob(y.numpy())[i], alone.log_prob(y[i : i + 1].numpy())[0], rtol=1e-8)
        np.testing.assert_allclose(dist.quantile(0.9)[i], alone.quantile(0.9)[0], rtol=1e-7)
    other = ScaleMixtureProcess(kernel, 3 * y, prior, noise=0.1)
    assert whole.with_targets(3 * y).log_marginal_likelihood == pytest.approx(other.log_marginal_likelihood)
    assert whole.log_marginal_likelihood != pytest.approx(other.log_marginal_likelihood)


def test_chain_rule_of_the_evidence(problem):
    """The evidence is the product of one-step-ahead predictions, for a prior without closed form too."""
    kernel, y = problem
    y, prior, total = y[:, :1], LogNormal(0.2, 0.9), 0.0
    for i in range(6):
        process = ScaleMixtureProcess(kernel[:i, :i], y[:i], prior, noise=0.1)
        ahead = process.marginal(*process.condition(kernel[i : i + 1, :i], kernel[i, i].reshape(1)), noise=0.1)
        total += ahead.log_prob(y[i].numpy()).item()
    process = ScaleMixtureProcess(kernel[:6, :6], y[:6], prior, noise=0.1)
    assert process.log_marginal_likelihood == pytest.approx(total, abs=1e-9)


def test_gaussian_in_the_limit(problem):
    kernel, y = problem
    found = [
        ScaleMixtureProcess(kernel, y, p, 0.1).log_marginal_likelihood for p in (InverseGamma(1e8, 1e8), PointMass())
    ]
    assert found[0] == pytest.approx(found[1], abs=1e-4)


def test_importance_sampling_loses_its_samples(problem):
    prior = BurrXII(2.0, 2.0)
    sampled, share = importance_sampled(prior, 10, 12.0, samples=200_000)
    exact = prior.update(10, 12.0)
    error = math.sqrt(float(np.square(sampled.weights) @ np.square(1 / sampled.values - sampled.mean_precision())))
    assert abs(float(sampled.mean_precision() - exact.mean_precision())) < 4 * error
    assert share > 0.3
    assert importance_sampled(prior, 100_000, 1e5)[1] < 0.02


def test_discrete_posteriors_are_bayes_rule():
    posterior = Discrete([1.0, 4.0], [0.25, 0.75]).update(2, 6.0)
    likelihood = [stats.norm(0, s).pdf(math.sqrt(3)) ** 2 for s in (1, 2)]
    expected = np.array([0.25 * likelihood[0], 0.75 * likelihood[1]])
    np.testing.assert_allclose(posterior.weights, expected / expected.sum())
    many = Discrete([1.0, 4.0], [0.25, 0.75]).update(2, np.array([6.0, 0.1]))
    np.testing.assert_allclose(many.weights[0], posterior.weights)
    assert posterior.sample(5, np.random.default_rng(0)).shape == (5,)


def test_constant_targets():
    zero = torch.zeros(3, 1, dtype=torch.float64)
    kernel = torch.eye(3, dtype=torch.float64)
    assert ScaleMixtureProcess(kernel, zero, InverseGamma(2.0, 2.0)).posterior == InverseGamma(3.5, 2.0)
    with pytest.raises(InputError, match="no posterior"):
        _ = ScaleMixtureProcess(kernel, zero, Gamma(1.0, 1.0)).posterior


@pytest.mark.parametrize(
    "make",
    [
        lambda: InverseGamma(0.0, 1.0),
        lambda: LogNormal(0.0, -1.0),
        lambda: Gamma(math.nan, 1.0),
        lambda: Discrete([]),
        lambda: Discrete([1.0, -1.0]),
        lambda: Discrete([1.0, 2.0], [0.0, 0.0]),
        lambda: StudentT(0.0, -1.0, 3.0),
        lambda: StudentT(0.0, 1.0, 3.0).quantile(1.0),
        lambda: FromDensity(lambda s2: 0 * s2).log_marginal(0, 0.0),
    ],
)
def test_what_is_no_distribution(make):
    with pytest.raises(InputError):
        make()


DISTS = [
    StudentT([0.5, -1.0], [2.0, 0.3], 3.5),
    StudentT([0.5, -1.0], [2.0, 0.3], [3.0, 30.0]),
    NormalMixture([0.5, -1.0], [2.0, 0.1], [0.3, 1.0, 5.0], [0.2, 0.5, 0.3]),
    NormalMixture([0.5, -1.0], [2.0, 0.1], [[0.3, 1.0], [2.0, 4.0]], [[0.2, 0.8], [0.5, 0.5]]),
]


@pytest.mark.parametrize("dist", DISTS)
def test_predictive_distributions_are_consistent(dist):
    for row in range(2):
        one = dist[row]
        low, high = -80.0, 80.0
        centre = float(one.mean)

        def density(v, one=one):
            return float(np.exp(one.log_prob(v)))

        def tail(v, one=one):
            return float(one.cdf(v)) ** 2

        mass = scipy_integrate.quad(density, low, 1.3, points=[centre], limit=200)[0]
        assert mass == pytest.approx(float(one.cdf(1.3)), abs=3e-4)
        y = centre + 0.7
        crps = scipy_integrate.quad(tail, low, y, points=[centre], limit=200)[0]
        crps += scipy_integrate.quad(lambda v: (1 - float(one.cdf(v))) ** 2, y, high, limit=200)[0]  # noqa: B023
        assert float(one.crps(y)) == pytest.approx(crps, abs=2e-3)
    probabilities = np.array([0.01, 0.4, 0.975])
    quantiles = dist.quantile(probabilities)
    assert quantiles.shape == (3, 2)
    np.testing.assert_allclose(dist.cdf(quantiles), np.broadcast_to(probabilities[:, None], (3, 2)), atol=1e-9)
    draws = dist.sample(40_000, random_state=1)
    np.testing.assert_allclose((draws < dist.quantile(0.8)).mean(0), 0.8, atol=0.01)
    moved = dist.rescaled(-2.0, 1.0)
    np.testing.assert_allclose(moved.log_prob(1 - 2 * draws[0]), dist.log_prob(draws[0]) - math.log(2))
    np.testing.assert_allclose(moved.std, 2 * dist.std)


def test_student_is_scipys():
    dist, same = StudentT(1.0, 2.0, 4.5), stats.t(4.5, 1.0, 2.0)
    y = np.linspace(-10, 10, 9)
    np.testing.assert_allclose(dist.log_prob(y), same.logpdf(y))
    np.testing.assert_allclose(dist.cdf(y), same.cdf(y))
    assert float(dist.variance) == pytest.approx(same.var())
    assert float(StudentT(0.0, 1.0, 2.0).variance) == math.inf


@settings(max_examples=25, deadline=None)
@given(st.floats(0.6, 20), st.floats(0.1, 10), st.floats(-5, 5), st.floats(0.1, 4))
def test_a_mixture_over_inverse_gamma_nodes_is_student(a, b, z, v):
    prior, y = InverseGamma(a, b), z * math.sqrt(b / a * v)
    nodes = FromDensity(prior.log_density).mix(0.0, v)
    assert float(nodes.log_prob(y)) == pytest.approx(float(prior.mix(0.0, v).log_prob(y)), abs=1e-9)
    assert float(nodes.cdf(y)) == pytest.approx(float(prior.mix(0.0, v).cdf(y)), abs=1e-9)


def test_sampled_networks_have_the_law_of_finite_networks():
    """Drawing layer by layer from the features' covariance is drawing weight matrices."""
    x = torch.tensor([[0.3], [1.0]], dtype=torch.float64)
    fast = random_erf_networks(x, 4000, width=16, depth=2, generator=torch.Generator().manual_seed(0)).outputs
    h, fan_in = x.T.expand(4000, 1, 2), 1
    generator = torch.Generator().manual_seed(1)
    for _ in range(2):
        weights = torch.randn(4000, 16, fan_in, dtype=torch.float64, generator=generator)
        bias = torch.randn(4000, 16, 1, dtype=torch.float64, generator=generator)
        h, fan_in = torch.erf(8 / math.sqrt(fan_in) * weights @ h + 0.05 * bias), 16
    slow = (torch.randn(4000, 1, 16, dtype=torch.float64, generator=generator) @ h)[:, 0] / 4
    for column in range(2):
        assert stats.ks_2samp(fast[:, column].numpy(), slow[:, column].numpy()).pvalue > 0.01
    product = [outputs.prod(1) for outputs in (fast, slow)]
    assert stats.ks_2samp(*(p.numpy() for p in product)).pvalue > 0.01


@pytest.mark.parametrize("layers", ["last", "all"])
def test_trained_limit_is_the_formula(layers):
    net = infwidth.Sequential(infwidth.Dense(1.5, 0.3), infwidth.ReLU(), infwidth.Dense())
    x = np.random.default_rng(0).standard_normal((6, 2))
    y = np.sin(x[:4, 0])
    limit = nngp_trained_limit(net, x[:4], y, InverseGamma(3.0, 1.5), layers).predict(x[4:])
    nngp, ntk = (k.numpy() for k in net.kernel(torch.from_numpy(x)))
    theta = nngp if layers == "last" else ntk
    a = theta[4:, :4] @ np.linalg.inv(theta[:4, :4])
    joint = a @ nngp[:4, 4:]
    covariance = nngp[4:, 4:] + a @ nngp[:4, :4] @ a.T - joint - joint.T
    np.testing.assert_allclose(limit.mean[:, 0], a @ y, rtol=1e-6)
    np.testing.assert_allclose(limit.scale[:, 0] ** 2, 0.5 * np.diag(covariance), rtol=1e-6)
    assert float(limit.df) == 6


def test_ensemble_members_train_alone():
    """Side by side they are what each is by itself; their scales are draws of the prior."""
    net = infwidth.Sequential(infwidth.Dense(1.5, 0.3), infwidth.ReLU(), infwidth.Dense())
    x = torch.linspace(-1, 1, 12)[:, None]
    labels = (x[:, 0] > 0).long()

    def build(seed):
        return net.to_torch(8, (1,), outputs=2, seed=seed)

    prior = PointMass(4.0)
    together = ScaleMixtureEnsemble(build, prior, 3, epochs=5, batch_size=12, random_state=7).fit(x, labels)
    alone = ScaleMixtureEnsemble(build, prior, 1, epochs=5, batch_size=12, random_state=7).fit(x, labels)
    torch.testing.assert_close(together.outputs(x)[0], alone.outputs(x)[0], rtol=1e-4, atol=1e-5)
    assert together.scales_.tolist() == [2.0] * 3
    assert together.predict_proba(x).shape == (12, 2)
    with pytest.raises(InputError, match="member"):
        ScaleMixtureEnsemble(build, prior, 0)


def test_named_kernels_have_unit_readouts():
    x = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mlp = as_covariance("nngp-mlp", depth=1, activation="erf", w_std=1.3, b_std=0.2)
    expected = infwidth.Sequential(infwidth.Dense(1.3, 0.2), infwidth.Erf(), infwidth.Dense()).kernel(x, get="nngp")
    torch.testing.assert_close(mlp.matrix(x), expected)
    torch.testing.assert_close(mlp.diagonal(x), expected.diagonal())
    resnet = as_covariance("nngp-resnet", depth=2)
    assert mlp.describe() == pytest.approx({"w_std": 1.3, "b_std": 0.2})
    assert (torch.linalg.eigvalsh(resnet.matrix(x)) > 0).all()
    for bad in ("rbf", 3, lambda x: x):
        with pytest.raises(InputError):
            as_covariance(bad)


def test_uci_tables_are_read(tmp_path):
    rows = np.arange(24.0).reshape(2, 12)
    header = ";".join(f'"c{i}"' for i in range(12))
    np.savetxt(tmp_path / "winequality-red.csv", rows, delimiter=";", header=header, comments="")
    (tmp_path / "yacht").mkdir()
    np.savetxt(tmp_path / "yacht" / "yacht_hydrodynamics.data", rows[:, :7])
    wine, yacht = read_uci(tmp_path, "wine-red"), read_uci(tmp_path, "yacht")
    assert wine.x.shape == (2, 11)
    assert wine.y.tolist() == [11.0, 23.0]
    assert yacht.x.shape == (2, 6)
    np.savetxt(tmp_path / "Concrete_Data.csv", rows[:, :9], delimiter=",", header="a", comments="")
    assert read_uci(tmp_path, "concrete").y.tolist() == [8.0, 20.0]
    (tmp_path / "airfoil_self_noise.dat").write_text("a b c")
    for name in ("naval", "iris", "airfoil"):
        with pytest.raises(InputError):
            read_uci(tmp_path, name)
