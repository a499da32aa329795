"""The scikit-learn faces: conformance, gradients, shapes, and the variational bound against its formula."""

from __future__ import annotations

import math
import pickle
import warnings

import numpy as np
import pytest
import torch
from scipy import special
from scipy.optimize import approx_fprime
from sklearn.datasets import load_diabetes, load_iris
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.utils.estimator_checks import parametrize_with_checks

from harmonia.core.errors import InputError
from harmonia.kernels import infwidth
from harmonia.kernels.scale_mixtures import (
    BurrXII,
    HalfCauchy,
    Hyperparameters,
    InverseGamma,
    LogNormal,
    PointMass,
    ScaleMixtureGPClassifier,
    ScaleMixtureGPRegressor,
    SparseProcess,
    StudentTProcessRegressor,
    as_covariance,
)
from harmonia.kernels.scale_mixtures.search import FixedKernelObjective, Objective

SMALL = {"depth": 1, "n_inducing": 10, "epochs": 4, "batch_size": 20, "learning_rate": 0.3, "mc": 2, "mc_predict": 20}


@parametrize_with_checks(
    [
        StudentTProcessRegressor(depth=1, max_steps=3),
        ScaleMixtureGPRegressor(depth=1, prior=BurrXII(), optimize=False),
        ScaleMixtureGPClassifier(**SMALL),
    ]
)
def test_scikit_learn_conformance(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def diabetes():
    X, y = load_diabetes(return_X_y=True)
    return (X - X.mean(0)) / X.std(0), y


def build(w_std, b_std):
    return infwidth.Sequential(infwidth.Dense(w_std, b_std), infwidth.Erf(), infwidth.Dense())


COVARIANCES = {
    "mlp": lambda: as_covariance("nngp-mlp", depth=2),
    "resnet": lambda: as_covariance("nngp-resnet", depth=1, activation="erf"),
    "function": lambda: as_covariance(build),
    "without bias": lambda: as_covariance("nngp-mlp", depth=1, b_std=0.0),
    "sklearn": lambda: as_covariance(ConstantKernel(0.5) * RBF([1.0, 2.0, 3.0])),
    "fixed": lambda: as_covariance(build(1.0, 0.1)),
}


@pytest.mark.parametrize("covariance", COVARIANCES)
@pytest.mark.parametrize(
    "prior", [InverseGamma(1.5, 2.0), LogNormal(0.2, 0.8), PointMass(0.7)], ids=lambda p: type(p).__name__
)
def test_gradients_are_differences(diabetes, covariance, prior, monkeypatch):
    """Also over several tiles."""
    monkeypatch.setattr("harmonia.kernels.scale_mixtures.covariance.TILE", 7)
    x = torch.from_numpy(diabetes[0][:20, :3])
    y = torch.from_numpy(np.stack([np.sin(diabetes[0][:20, 0]), diabetes[0][:20, 4]], 1))
    objective = Objective(x, y, Hyperparameters(COVARIANCES[covariance](), 0.3, prior), learn_prior=True)
    at = objective.pack()
    value, slope = objective(at)
    np.testing.assert_allclose(slope, approx_fprime(at, lambda v: objective(v)[0], 1e-6), rtol=2e-4, atol=2e-5)
    if covariance == "fixed":
        spectral = FixedKernelObjective(x, y, objective.start, learn_prior=True)
        assert spectral(at)[0] == pytest.approx(value)
        np.testing.assert_allclose(spectral(at)[1], slope, rtol=1e-6, atol=1e-9)


def test_a_point_mass_is_scikit_learns_gaussian_process(diabetes):
    X, y = diabetes[0][:60], (diabetes[1][:60] - 150) / 80
    kernel = ConstantKernel(2.0) * RBF(3.0)
    theirs = GaussianProcessRegressor(kernel + WhiteKernel(0.3), optimizer=None).fit(X, y)
    ours = ScaleMixtureGPRegressor(kernel, prior=PointMass(1.0), noise=0.3, optimize=False, normalize_y=False).fit(X, y)
    assert ours.log_marginal_likelihood_ == pytest.approx(theirs.log_marginal_likelihood_value_)
    for ours_found, theirs_found in zip(
        ours.predict(diabetes[0][60:70], return_std=True), theirs.predict(diabetes[0][60:70], return_std=True)
    ):
        np.testing.assert_allclose(ours_found, theirs_found, rtol=1e-8)
    covariance = ours.predict(diabetes[0][60:70], return_cov=True)[1]
    np.testing.assert_allclose(covariance, theirs.predict(diabetes[0][60:70], return_cov=True)[1], rtol=1e-7)


def test_student_predictions(diabetes):
    X, y = diabetes
    model = StudentTProcessRegressor(depth=1, a=2.5, b=2.0, optimize=False, noise=0.5).fit(X[:80], y[:80])
    dist = model.predict(X[80:100], return_dist=True)
    assert float(dist.df) == 5 + 80
    mean, std = model.predict(X[80:100], return_std=True)
    np.testing.assert_allclose(mean, dist.mean)
    np.testing.assert_allclose(std, dist.std)
    np.testing.assert_allclose(std**2, np.diag(model.predict(X[80:100], return_cov=True)[1]))
    _, function_std = model.predict(X[80:100], return_std=True, of="function")
    assert (function_std < std).all()
    rescaled = StudentTProcessRegressor(depth=1, a=2.5, b=2.0, optimize=False, noise=0.5).fit(X[:80], 1 - 7 * y[:80])
    np.testing.assert_allclose(rescaled.predict(X[80:100], return_std=True)[1], 7 * std)
    assert rescaled.log_marginal_likelihood_ == pytest.approx(model.log_marginal_likelihood_ - 80 * math.log(7))
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X[:5]), model.predict(X[:5]))
    assert model.loo_log_density().shape == (80,)


def test_many_targets(diabetes):
    X, y = diabetes
    both = np.stack([y, X[:, 1] ** 2], 1)
    model = StudentTProcessRegressor(depth=1, optimize=False, noise=0.5).fit(X[:50], both[:50])
    dist = model.predict(X[50:53], return_dist=True)
    assert dist.mean.shape == dist.quantile(0.1).shape == (3, 2)
    assert float(dist.df) == 4 + 100
    assert model.predict(X[50:53], return_cov=True)[1].shape == (3, 3, 2)
    assert model.loo_log_density().shape == (50, 2)
    assert model.sample_y(X[50:53], 4).shape == (3, 2, 4)
    mixture = ScaleMixtureGPRegressor(depth=1, prior=BurrXII(), optimize=False).fit(X[:50], both[:50])
    assert mixture.predict(X[50:53], return_dist=True).quantile([0.1, 0.9]).shape == (2, 3, 2)


def test_draws_share_their_scale():
    """With few data |draws| of far-away points are correlated through s2; the official sampler loses this."""
    X, y = np.array([[0.0], [1.0]]), np.array([1.0, -1.0])
    model = StudentTProcessRegressor(RBF(0.01), a=1.0, b=1.0, noise=1e-6, optimize=False).fit(X, y)
    far = np.array([[5.0], [9.0]])
    draws = model.sample_y(far, 20_000, random_state=0)
    alone = model.sample_y(far, 20_000, random_state=0, shared_scale=False)
    dist = model.predict(far, return_dist=True, of="function")
    for sample, correlated in ((draws, True), (alone, False)):
        np.testing.assert_allclose((dist.quantile(0.9) > sample.T).mean(0), 0.9, atol=0.01)
        rank = np.corrcoef(np.argsort(np.argsort(np.abs(sample), axis=1), axis=1))[0, 1]
        assert (abs(rank) > 0.1) == correlated


def test_learning_improves_the_evidence(diabetes):
    X, y = diabetes
    start = StudentTProcessRegressor(depth=1, optimize=False).fit(X[:150], y[:150])
    learned = StudentTProcessRegressor(depth=1).fit(X[:150], y[:150])
    assert learned.log_marginal_likelihood_ > start.log_marginal_likelihood_ + 10
    fixed = StudentTProcessRegressor(build(1.5, 0.3), noise=10.0).fit(X[:150], y[:150])
    assert 0.01 < fixed.noise_ < 9
    gaussian = ScaleMixtureGPRegressor(depth=1, prior=PointMass(), learn_prior=True).fit(X[:150], y[:150])
    assert gaussian.log_marginal_likelihood_ == pytest.approx(learned.log_marginal_likelihood_, abs=8)
    assert -learned.loo_log_density().mean() < 5.6


def test_many_rows_start_from_a_few(diabetes, monkeypatch):
    monkeypatch.setattr("harmonia.kernels.scale_mixtures.search.MANY_ROWS", 100)
    monkeypatch.setattr("harmonia.kernels.scale_mixtures.search.FEW_ROWS", 60)
    X, y = diabetes
    warm = StudentTProcessRegressor(depth=1).fit(X[:150], y[:150]).log_marginal_likelihood_
    monkeypatch.undo()
    assert warm == pytest.approx(
        StudentTProcessRegressor(depth=1).fit(X[:150], y[:150]).log_marginal_likelihood_, abs=0.2
    )


def test_importance_sampling_is_for_parity(diabetes):
    X, y = diabetes
    options = {"depth": 1, "prior": BurrXII(), "optimize": False, "noise": 0.5}
    exact = ScaleMixtureGPRegressor(**options).fit(X[:20], y[:20])
    sampled = ScaleMixtureGPRegressor(**options, inference="is").fit(X[:20], y[:20])
    np.testing.assert_allclose(
        sampled.predict(X[:5], return_std=True)[1], exact.predict(X[:5], return_std=True)[1], rtol=0.1
    )
    options["prior"] = HalfCauchy()
    with pytest.warns(UserWarning, match="quadrature is used"):
        many = ScaleMixtureGPRegressor(**options, inference="is").fit(X, y)
    np.testing.assert_allclose(many.process_.posterior.weights.sum(), 1)


def test_infinite_variance_is_said():
    X, y = np.array([[0.0]]), np.array([1.0])
    model = StudentTProcessRegressor(RBF(), a=0.4, b=1.0, optimize=False).fit(X, y)
    with pytest.warns(UserWarning, match="infinite"):
        _, scale = model.predict(X, return_std=True)
    assert np.isfinite(scale).all()
    with pytest.warns(UserWarning, match="infinite"):
        np.testing.assert_allclose(model.predict(X, return_cov=True)[1], scale[:, None] ** 2)


def test_convolutional_networks_read_rows_as_images():
    X = np.random.default_rng(0).standard_normal((20, 16))
    net = infwidth.Sequential(infwidth.Conv2d(3, 1.4), infwidth.ReLU(), infwidth.Flatten(), infwidth.Dense())
    model = StudentTProcessRegressor(net, input_shape=(1, 4, 4)).fit(X, X[:, 0])
    assert model.predict(X[:3]).shape == (3,)
    with pytest.raises(InputError, match="input_shape"):
        StudentTProcessRegressor(net, input_shape=(1, 4, 5)).fit(X, X[:, 0])
    classifier = ScaleMixtureGPClassifier(net, input_shape=(1, 4, 4), n_inducing=5, epochs=1).fit(X, X[:, 0] > 0)
    assert classifier.predict_proba(X).shape == (20, 2)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (ScaleMixtureGPRegressor(inference="mcmc"), "inference"),
        (ScaleMixtureGPRegressor(noise=-1.0), "noise"),
        (ScaleMixtureGPRegressor(noise="loud"), "noise"),
        (ScaleMixtureGPRegressor(prior="gamma"), "prior"),
        (ScaleMixtureGPRegressor("rbf"), "kernel"),
        (StudentTProcessRegressor(a=-1.0), "positive"),
        (StudentTProcessRegressor(activation="swish?"), "activation"),
        (ScaleMixtureGPClassifier(epochs=0), "epochs"),
        (ScaleMixtureGPClassifier(learning_rate=-1), "learning rate"),
        (ScaleMixtureGPClassifier(prior=BurrXII()), "inverse-gamma"),
        (ScaleMixtureGPClassifier(RBF()), "network"),
    ],
)
def test_bad_parameters(model, message):
    X = np.arange(10.0).reshape(5, 2)
    with pytest.raises(InputError, match=message):
        model.fit(X, np.array([0, 1, 0, 1, 1]))


def test_bad_requests(diabetes):
    X, y = diabetes[0][:20], diabetes[1][:20]
    model = StudentTProcessRegressor(depth=1, optimize=False).fit(X, y)
    with pytest.raises(InputError, match="at a time"):
        model.predict(X, return_std=True, return_cov=True)
    with pytest.raises(InputError, match="rows"):
        StudentTProcessRegressor(depth=1).fit(X[:1], y[:1])
    with pytest.raises(ValueError, match="NaN"):
        model.fit(np.full((3, 2), np.nan), y[:3])


def test_too_many_rows_are_refused_before_they_fill_the_memory(monkeypatch):
    monkeypatch.setattr("harmonia.kernels.scale_mixtures.regressor.free_memory", lambda: 1000.0)
    with pytest.raises(InputError, match="memory"):
        StudentTProcessRegressor().fit(np.zeros((20, 2)), np.arange(20.0))


@pytest.fixture
def sparse():
    """A process with posterior values of no special form."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(5, 2, dtype=torch.float64, generator=generator)
    model = SparseProcess(build, {"w_std": 1.5, "b_std": 0.3}, z, 3, InverseGamma(2.0, 1.5), full_covariance=True)
    with torch.no_grad():
        for p in (model.mean, model.log_std, model.lower, model.log_scale):
            p.add_(0.5 * torch.randn(p.shape, dtype=torch.float64, generator=generator))
    return model


def lower_triangles(model):
    diagonal = np.stack([np.diag(s) for s in model.log_std.detach().exp().numpy()])
    return np.tril(model.lower.detach().numpy(), -1) + diagonal


def test_divergence_is_the_papers(sparse):
    """KL in the values u = L v themselves, as the paper and the official code write it."""
    net = build(1.5, 0.3)
    k = net.kernel(sparse.inducing.detach(), get="nngp").numpy()
    k = k + sparse.jitter * np.diag(k).mean() * np.eye(5)
    half = np.linalg.cholesky(k)
    a, b = sparse.log_scale.detach().exp().numpy()
    root = np.tril(sparse.lower.detach().numpy(), -1) + np.stack(
        [np.diag(s) for s in sparse.log_std.detach().exp().numpy()]
    )
    m, s = sparse.mean.detach().numpy() @ half.T, half @ root @ root.transpose(0, 2, 1) @ half.T
    inverse, (a0, b0) = np.linalg.inv(k), (2.0, 1.5)
    gaussian = 3 * np.linalg.slogdet(k)[1] - np.linalg.slogdet(s)[1].sum() - 15
    gaussian += np.einsum("ij,cji->", inverse, s) + a / b * np.einsum("ci,ij,cj->", m, inverse, m)
    expected = gaussian / 2 + a0 * np.log(b / b0) - special.gammaln(a) + special.gammaln(a0)
    expected += (a - a0) * special.digamma(a) + (b0 - b) * a / b
    assert float(sparse.divergence().detach()) == pytest.approx(expected, abs=1e-5)


def test_divergence_is_what_samples_say(sparse):
    """KL = E log q/p under draws from q, for the scale and the values together."""
    generator = np.random.default_rng(0)
    a, b = sparse.log_scale.detach().exp().numpy()
    s2 = InverseGamma(float(a), float(b)).sample(40_000, generator)
    root = torch.tril(sparse.lower.detach(), -1).numpy() + np.stack(
        [np.diag(s) for s in sparse.log_std.detach().exp().numpy()]
    )
    noise = generator.standard_normal((len(s2), 3, 5))
    v = sparse.mean.detach().numpy() + np.sqrt(s2)[:, None, None] * np.einsum("cij,scj->sci", root, noise)
    log_q = InverseGamma(float(a), float(b)).log_density(s2) - np.square(noise).sum((1, 2)) / 2
    log_q -= float(sparse.log_std.detach().sum())
    log_p = InverseGamma(2.0, 1.5).log_density(s2) - np.square(v).sum((1, 2)) / (2 * s2)
    ratio = log_q - log_p
    assert abs(ratio.mean() - float(sparse.divergence().detach())) < 4 * ratio.std() / math.sqrt(len(s2))


def test_marginals_are_the_formula(sparse):
    """Mean A m and variance A S A^T + k - A k, in the values u."""
    x = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    net, z = build(1.5, 0.3), sparse.inducing.detach()
    k = net.kernel(z, get="nngp").numpy()
    k = k + sparse.jitter * np.diag(k).mean() * np.eye(5)
    half = np.linalg.cholesky(k)
    cross = net.kernel(x, z, get="nngp").numpy() @ np.linalg.inv(k)
    root = half @ lower_triangles(sparse)
    rest = net.diagonal(x, get="nngp").numpy() - np.einsum("ij,ij->i", cross, cross @ k)
    variance = np.square(cross @ root).sum(2) + rest
    found = sparse.marginals(x)
    np.testing.assert_allclose(found.mean.detach(), sparse.mean.detach().numpy() @ half.T @ cross.T, rtol=1e-6)
    np.testing.assert_allclose(found.variance.detach(), variance, rtol=1e-6)


def test_nodes_of_the_scale_are_a_quadrature(sparse):
    s2, weights = (v.detach().numpy() for v in sparse.scale_nodes())
    exact = InverseGamma(*map(float, sparse.log_scale.detach().exp()))
    assert weights @ (1 / s2) == pytest.approx(float(exact.mean_precision()), rel=1e-3)
    assert weights @ np.exp(-s2) == pytest.approx(
        float(exact.update(0, 0.0).frozen.expect(lambda v: np.exp(-v))), rel=1e-3
    )


def test_classes_share_their_scale(sparse):
    """Probabilities against brute force: one s2 for all classes, or one for each."""
    x = torch.randn(2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    mean, variance = (v.detach().numpy() for v in sparse.marginals(x))
    generator = np.random.default_rng(0)
    exact = InverseGamma(*map(float, sparse.log_scale.detach().exp()))
    for shared in (True, False):
        found = sparse.probabilities(x, 4000, torch.Generator().manual_seed(0), shared_scale=shared).numpy()
        s2 = exact.sample(40_000 * (1 if shared else 6), generator).reshape(40_000, *((1, 1) if shared else (3, 2)))
        f = mean + np.sqrt(s2 * variance) * generator.standard_normal((40_000, 3, 2))
        np.testing.assert_allclose(found, special.softmax(f, axis=1).mean(0).T, atol=0.01)
        np.testing.assert_allclose(found.sum(1), 1)


def test_diagonal_is_a_special_case_of_full():
    z = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    both = [
        SparseProcess(build, {"w_std": 1.5, "b_std": 0.0}, z, 2, PointMass(2.0), full_covariance=f)
        for f in (False, True)
    ]
    for model in both:
        with torch.no_grad():
            model.log_std.add_(0.3)
    x = torch.ones(3, 2, dtype=torch.float64)
    torch.testing.assert_close(both[0].marginals(x).variance, both[1].marginals(x).variance)
    torch.testing.assert_close(both[0].divergence(), both[1].divergence())
    assert both[0].fixed == {"b_std": 0.0}


def test_flowers():
    X, y = load_iris(return_X_y=True)
    X, names = (X - X.mean(0)) / X.std(0), np.array(["a", "b", "c"])[y]
    found = []
    for prior in (None, PointMass()):
        model = ScaleMixtureGPClassifier(
            prior=prior, full_covariance=True, **{**SMALL, "n_inducing": 20, "epochs": 40, "learning_rate": 0.1}
        )
        model.fit(X[::2], names[::2])
        found.append(model.predict_proba(X[1::2]))
        assert model.elbo_[-1] > model.elbo_[0] + 0.5
        assert model.score(X[1::2], names[1::2]) > 0.9
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.set_params(shared_scale=False).predict(X[:3])
    assert not np.allclose(found[0], found[1], atol=1e-3)
